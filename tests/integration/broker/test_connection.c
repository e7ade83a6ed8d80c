/* What becomes of calls when the server is not there, goes away, says nothing or says no. */
#include "tests/integration/broker/rig.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void reopen(struct rig *rig, const char *url)
{
    struct broker_options options = rig_options(rig);
    rig_close_broker(rig);
    options.url = url;
    rig_new_broker(rig, &options);
}

static int ping(struct rig *rig, double seconds, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    assert_int_equal(broker_ping(rig->broker, in_seconds(seconds), on_done, outcome), 0);
    assert_int_equal(outcome->calls, 0);
    rig_run(rig, outcome);
    return outcome->status;
}

static int push(struct rig *rig, double seconds, struct outcome *outcome)
{
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    *outcome = (struct outcome){0};
    assert_int_equal(
        broker_push(rig->broker, &message, 1, in_seconds(seconds), NULL, on_done, outcome), 0);
    assert_int_equal(outcome->calls, 0);
    rig_run(rig, outcome);
    return outcome->status;
}

static void a_server_that_is_there_answers(void **state)
{
    struct outcome outcome;
    assert_int_equal(ping(*state, 5, &outcome), 0);
}

static void a_missing_server_is_named_at_the_deadline(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char expected[256];
    redis_server_stop(&rig->server, SIGTERM);
    usec_t before = clock_mono();
    int status = push(rig, 0.3, &outcome);
    assert_in_range(clock_mono() - before, 300000, 900000);
    assert_true(status == -ENOENT || status == -ECONNREFUSED);
    snprintf(expected, sizeof(expected), "unix://%s", rig->server.socket);
    assert_non_null(strstr(outcome.err.text, expected));
}

static void a_command_waits_for_a_server_that_comes_in_time(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    redis_server_stop(&rig->server, SIGTERM);
    assert_int_equal(broker_ping(rig->broker, in_seconds(20), on_done, &outcome), 0);
    rig_spend(rig, 0.2);
    assert_int_equal(outcome.calls, 0);
    assert_true(redis_server_start(&rig->server));
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void a_deadline_in_the_past_ends_without_sleeping(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    reopen(rig, rig->server.url); /* on a connection that is there a quick answer may come first */
    assert_int_equal(broker_ping(rig->broker, 1, on_done, &outcome), 0);
    for (int i = 0; i < 3 && !outcome.calls; i++)
        uv_run(&rig->loop, UV_RUN_ONCE);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(outcome.status, -ETIMEDOUT);
}

/* Sent, and the server ends before it answers: nobody knows. */
static void a_command_under_way_is_uncertain(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    assert_int_equal(ping(rig, 5, &outcome), 0);
    redis_server_freeze(&rig->server);
    outcome = (struct outcome){0};
    assert_int_equal(broker_push(rig->broker, &message, 1, in_seconds(5), NULL, on_done, &outcome),
                     0);
    rig_spend(rig, 0.05);
    assert_int_equal(outcome.calls, 0);
    redis_server_stop(&rig->server, SIGKILL);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
    assert_true(redis_server_start(&rig->server));
    assert_int_equal(push(rig, 5, &outcome), 0);
}

static void a_silent_server_costs_the_connection_at_the_deadline(void **state)
{
    struct rig *rig = *state;
    struct outcome sent, repeated = {0};
    assert_int_equal(ping(rig, 5, &sent), 0);
    int64_t received = server_number(rig, "CLIENT ID");
    redis_server_freeze(&rig->server);
    usec_t before = clock_mono();
    assert_int_equal(push(rig, 0.3, &sent), CEL_E_UNCERTAIN);
    assert_in_range(clock_mono() - before, 300000, 900000);
    assert_non_null(strstr(sent.err.text, "no answer in time"));
    /* a question that may be asked twice is asked again on the new connection */
    assert_int_equal(broker_ping(rig->broker, in_seconds(20), on_done, &repeated), 0);
    rig_spend(rig, 0.1);
    redis_server_thaw(&rig->server);
    rig_run(rig, &repeated);
    assert_int_equal(repeated.status, 0);
    assert_true(server_number(rig, "CLIENT ID") >= received + 2);
}

static void silence_costs_the_connection_before_the_deadline(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    struct broker_options options = rig_options(rig);
    rig_close_broker(rig);
    options.silence = USEC_PER_SEC / 5;
    rig_new_broker(rig, &options);
    assert_int_equal(ping(rig, 5, &outcome), 0);
    int64_t received = server_number(rig, "CLIENT ID");
    rig_spend(rig, 0.5);
    assert_int_equal(ping(rig, 5, &outcome), 0);
    /* nothing was awaited: it lived on */
    assert_int_equal(server_number(rig, "CLIENT ID"), received + 1);
    redis_server_freeze(&rig->server);
    usec_t before = clock_mono();
    assert_int_equal(push(rig, 20, &outcome), CEL_E_UNCERTAIN);
    assert_in_range(clock_mono() - before, 200000, 900000);
    assert_non_null(strstr(outcome.err.text, "no answer in time"));
    redis_server_thaw(&rig->server);
    assert_int_equal(push(rig, 20, &outcome), 0);
}

/* Whoever waits idly learns from the silence on another connection that its own may be dead. */
static void silence_on_one_connection_costs_the_idle_ones(void **state)
{
    struct rig *rig = *state;
    struct outcome waited = {0}, outcome;
    struct broker_options options = rig_options(rig);
    rig_close_broker(rig);
    options.silence = USEC_PER_SEC / 2;
    rig_new_broker(rig, &options);
    assert_int_equal(ping(rig, 5, &outcome), 0);
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_done, &waited), 0);
    rig_spend(rig, 1.2); /* each of its connections was heard more than a second ago */
    assert_int_equal(waited.calls, 0);
    redis_server_freeze(&rig->server);
    usec_t before = clock_mono();
    assert_int_equal(push(rig, 20, &outcome), CEL_E_UNCERTAIN);
    if (!waited.calls)
        rig_run(rig, &waited);
    assert_int_equal(waited.status, CEL_E_UNCERTAIN);
    assert_in_range(clock_mono() - before, 500000, 1400000); /* and not 3 s */
    redis_server_thaw(&rig->server);
}

static void a_server_that_does_not_greet_is_given_up(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    char url[192];
    snprintf(url, sizeof(url), "%s?socket_connect_timeout=0.2", rig->server.url);
    reopen(rig, url);
    redis_server_freeze(&rig->server);
    int status = push(rig, 0.7, &outcome);
    assert_int_equal(status, -ETIMEDOUT);
    assert_non_null(strstr(outcome.err.text, "greeting"));
    assert_int_equal(
        broker_ping(rig->broker, in_seconds(20), on_done, memset(&outcome, 0, sizeof(outcome))), 0);
    redis_server_thaw(&rig->server);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void calls_survive_a_restart(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(push(rig, 5, &outcome), 0);
        redis_server_stop(&rig->server, SIGKILL);
        assert_true(redis_server_start(&rig->server));
        rig_spend(rig, 0.01);
    }
    assert_int_equal(push(rig, 5, &outcome), 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
}

static void lost_scripts_are_loaded_again(void **state)
{
    enum { COUNT = 50 };
    struct rig *rig = *state;
    static struct outcome outcomes[COUNT];
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    for (int round = 0; round < 2; round++) {
        memset(outcomes, 0, sizeof(outcomes));
        for (int i = 0; i < COUNT; i++) {
            usec_t slot = (usec_t)(round * COUNT + i + 1) * USEC_PER_SEC;
            assert_int_equal(broker_fire(rig->broker, STR("e"), slot, USEC_PER_SEC, &message,
                                         in_seconds(5), on_done, &outcomes[i]),
                             0);
        }
        for (int i = 0; i < COUNT; i++) {
            if (!outcomes[i].calls)
                rig_run(rig, &outcomes[i]);
            assert_true(outcomes[i].calls == 1 && outcomes[i].status == 0);
        }
        assert_int_equal(server_number(rig, "LLEN celery"), COUNT * (round + 1));
        server_says(rig, "SCRIPT FLUSH");
    }
}

static void a_script_that_is_forbidden_is_an_error(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    char url[256];
    server_says(rig, "ACL SETUSER plain on >pw ~* &* +@all -eval -evalsha -script");
    snprintf(url, sizeof(url), "unix://plain:pw@%s", rig->server.socket);
    reopen(rig, url);
    assert_int_equal(broker_claim(rig->broker, QUEUE, 1, in_seconds(5), on_claim, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_AUTH);
    assert_non_null(strstr(outcome.err.text, "NOPERM"));
}

static void a_wrong_password_is_told_at_once(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char url[256];
    server_says(rig, "ACL SETUSER shop on >secret ~* &* +@all");
    snprintf(url, sizeof(url), "unix://shop:wr0ng@%s", rig->server.socket);
    reopen(rig, url);
    usec_t before = clock_mono();
    assert_int_equal(push(rig, 20, &outcome), CEL_E_AUTH);
    assert_true(clock_mono() - before < 5 * USEC_PER_SEC);
    assert_non_null(strstr(outcome.err.text, "WRONGPASS"));
    assert_null(strstr(outcome.err.text, "wr0ng"));
    snprintf(url, sizeof(url), "unix://shop:%%73ecret@%s", rig->server.socket);
    reopen(rig, url);
    assert_int_equal(push(rig, 5, &outcome), 0);
}

static void a_missing_password_is_told_at_once(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    server_says(rig, "CONFIG SET requirepass secret");
    reopen(rig, rig->server.url);
    int status = push(rig, 20, &outcome);
    char url[256];
    snprintf(url, sizeof(url), "unix://:secret@%s", rig->server.socket);
    reopen(rig, url);
    struct outcome with;
    int with_status = push(rig, 5, &with);
    rig->server.password = "secret";
    const char *const open_again[] = {"CONFIG", "SET", "requirepass", "", NULL};
    char reply[64];
    assert_true(redis_server_command(&rig->server, reply, sizeof(reply), open_again));
    rig->server.password = NULL;
    assert_int_equal(status, CEL_E_AUTH);
    assert_int_equal(with_status, 0);
}

static void the_database_is_selected(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char url[256];
    snprintf(url, sizeof(url), "redis+socket://%s?virtual_host=3", rig->server.socket);
    reopen(rig, url);
    assert_int_equal(push(rig, 5, &outcome), 0);
    assert_non_null(strstr(server_says(rig, "INFO keyspace"), "db3:keys=2"));
    snprintf(url, sizeof(url), "redis+socket://%s?virtual_host=300", rig->server.socket);
    reopen(rig, url);
    assert_int_equal(push(rig, 20, &outcome), CEL_E_SERVER);
    assert_non_null(strstr(outcome.err.text, "DB index"));
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* What the C library would say of a host with two addresses: the first fails without waiting. */
static int two_addresses_port;

__attribute__((visibility("default"))) int getaddrinfo(const char *host,
                                                       const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
    static struct sockaddr_in nowhere, here;
    static struct addrinfo last, first;
    (void)service;
    (void)hints;
    if (strcmp(host, "two.addresses.test") != 0)
        return EAI_NONAME;
    nowhere = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)two_addresses_port),
                                   .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
    here = nowhere;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    last = (struct addrinfo){.ai_addr = (struct sockaddr *)&here, .ai_addrlen = sizeof(here)};
    first = (struct addrinfo){
        .ai_addr = (struct sockaddr *)&nowhere, .ai_addrlen = sizeof(nowhere), .ai_next = &last};
    *ret = &first;
    return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *info)
{
    (void)info;
}

static void an_address_that_fails_at_once_is_followed_by_the_next(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char url[64];
    two_addresses_port = free_port();
    assert_string_equal(server_says(rig, "CONFIG SET port %d", two_addresses_port), "+OK\r\n");
    snprintf(url, sizeof(url), "redis://two.addresses.test:%d", two_addresses_port);
    reopen(rig, url);
    int status = ping(rig, 1, &outcome);
    server_says(rig, "CONFIG SET port 0");
    assert_string_equal(outcome.err.text, "");
    assert_int_equal(status, 0);
}

static void tcp_connects_by_name_and_number(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    struct rig *rig = *state;
    struct outcome outcome;
    char url[64];
    int port = free_port();
    server_says(rig, "CONFIG SET port %d", port);
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        snprintf(url, sizeof(url), "redis://%s:%d/0", hosts[i], port);
        reopen(rig, url);
        assert_int_equal(push(rig, 5, &outcome), 0);
    }
    snprintf(url, sizeof(url), "redis://no-such-host.invalid:%d/0", port);
    reopen(rig, url);
    assert_int_equal(push(rig, 1, &outcome), -EHOSTUNREACH);
    server_says(rig, "CONFIG SET port 0");
    snprintf(url, sizeof(url), "redis://localhost:%d/0", port);
    reopen(rig, url);
    assert_int_equal(push(rig, 0.3, &outcome), -ECONNREFUSED);
}

/* Somebody else answers on the socket. */
static void a_stranger_is_recognised(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char url[256], path[108];
    static const char greeting[] = "SSH-2.0-OpenSSH_9.2\r\n";
    snprintf(path, sizeof(path), "%s/stranger", rig->server.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 5), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            int peer = accept(fd, NULL, NULL);
            if (peer < 0 || write(peer, greeting, sizeof(greeting) - 1) < 0)
                _exit(0);
        }
    }
    close(fd);
    snprintf(url, sizeof(url), "unix://%s", path);
    reopen(rig, url);
    int status = push(rig, 0.3, &outcome);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(status, CEL_E_FORMAT);
    assert_non_null(strstr(outcome.err.text, "does not speak the Redis protocol"));
}

static void closing_tells_everything_that_is_pending(void **state)
{
    struct rig *rig = *state;
    static struct outcome outcomes[12];
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    const struct broker_claim claim = {.queue = QUEUE, .tag = 1};
    const struct broker_completion completion = {.claim = claim};
    for (int is_frozen = 0; is_frozen < 2; is_frozen++) {
        struct broker *broker = rig->broker;
        int count = 0;
        memset(outcomes, 0, sizeof(outcomes));
        if (is_frozen) {
            assert_int_equal(ping(rig, 5, &outcomes[0]), 0);
            memset(outcomes, 0, sizeof(outcomes));
            redis_server_freeze(&rig->server);
        }
        usec_t soon = in_seconds(20);
#define CALL(call) assert_int_equal(call, 0)
        CALL(broker_ping(broker, soon, on_done, &outcomes[count++]));
        CALL(broker_push(broker, &message, 1, soon, NULL, on_done, &outcomes[count++]));
        CALL(broker_claim(broker, QUEUE, 1, soon, on_claim, &outcomes[count++]));
        CALL(broker_wait(broker, QUEUE, on_done, &outcomes[count++]));
        CALL(broker_ack(broker, &claim, soon, on_done, &outcomes[count++]));
        CALL(broker_complete(broker, &completion, soon, on_done, &outcomes[count++]));
        CALL(broker_park(broker, &claim, 1, soon, on_done, &outcomes[count++]));
        CALL(broker_promote(broker, QUEUE, 1, soon, on_promote, &outcomes[count++]));
        CALL(broker_await_result(broker, STR("id"), NULL, soon, on_result, &outcomes[count++]));
        CALL(broker_queues(broker, NULL, 0, soon, on_stats, &outcomes[count++]));
        CALL(broker_get_result(broker, STR("id"), soon, on_result, &outcomes[count++]));
        if (is_frozen)
            rig_spend(rig, 0.05);
        CALL(broker_ack(broker, &claim, soon, on_done, &outcomes[count++]));
        rig_close_broker(rig);
        for (int i = 0; i < count; i++) {
            if (outcomes[i].calls != 1 || outcomes[i].status != -ECANCELED)
                fail_msg("call %d: %d times, %d", i, outcomes[i].calls, outcomes[i].status);
        }
        struct broker_options options = rig_options(rig);
        redis_server_thaw(&rig->server);
        rig_new_broker(rig, &options);
    }
}

struct closer {
    struct rig *rig;
    struct outcome outcome;
    int status_inside;
    bool closed;
};

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void on_claim_then_close(void *data,
                                int status,
                                const struct broker_claimed *claimed,
                                size_t count,
                                const struct cel_error *err)
{
    struct closer *closer = data;
    broker_close(closer->rig->broker, on_closed, &closer->closed);
    closer->status_inside =
        broker_ping(closer->rig->broker, in_seconds(5), on_done, &closer->outcome);
    on_claim(&closer->outcome, status, claimed, count, err); /* still borrowed */
}

static void a_callback_may_close_the_broker(void **state)
{
    struct rig *rig = *state;
    struct closer closer = {.rig = rig};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    assert_int_equal(
        broker_claim(rig->broker, QUEUE, 2, in_seconds(5), on_claim_then_close, &closer), 0);
    while (!closer.closed)
        uv_run(&rig->loop, UV_RUN_ONCE);
    rig->broker = NULL;
    assert_int_equal(closer.outcome.calls, 1);
    assert_int_equal(closer.outcome.count, 2);
    assert_string_equal(closer.outcome.claimed[1].bytes, "two");
    assert_int_equal(closer.status_inside, -ECANCELED);
}

static void urls_that_cannot_be_used_are_refused(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *url, *result_url, *words;
        int status;
    } cases[] = {
        {"amqp://localhost", NULL, "redis://", -EINVAL},
        {"rediss://localhost", NULL, "TLS", CEL_E_UNSUPPORTED},
        {"sentinel://a;b", NULL, "master_name", -EINVAL},
        {"redis://localhost", "sentinel://a", "Result backend", -EINVAL},
        {"redis://localhost", "db+sqlite:///x", "Result backend", -EINVAL},
        {NULL, NULL, "URL", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct broker *broker = NULL;
        struct cel_error err = {0};
        const struct broker_options options = {.url = cases[i].url,
                                               .result_url = cases[i].result_url};
        assert_int_equal(broker_new(&rig->loop, &options, &broker, &err), cases[i].status);
        assert_null(broker);
        assert_non_null(strstr(err.text, cases[i].words));
        assert_int_equal(broker_new(&rig->loop, &options, &broker, NULL), cases[i].status);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_that_is_there_answers),
        TEST(an_address_that_fails_at_once_is_followed_by_the_next),
        TEST(a_missing_server_is_named_at_the_deadline),
        TEST(a_command_waits_for_a_server_that_comes_in_time),
        TEST(a_deadline_in_the_past_ends_without_sleeping),
        TEST(a_command_under_way_is_uncertain),
        TEST(a_silent_server_costs_the_connection_at_the_deadline),
        TEST(silence_costs_the_connection_before_the_deadline),
        TEST(silence_on_one_connection_costs_the_idle_ones),
        TEST(a_server_that_does_not_greet_is_given_up),
        TEST(calls_survive_a_restart),
        TEST(lost_scripts_are_loaded_again),
        TEST(a_script_that_is_forbidden_is_an_error),
        TEST(a_wrong_password_is_told_at_once),
        TEST(a_missing_password_is_told_at_once),
        TEST(the_database_is_selected),
        TEST(tcp_connects_by_name_and_number),
        TEST(a_stranger_is_recognised),
        TEST(closing_tells_everything_that_is_pending),
        TEST(a_callback_may_close_the_broker),
        TEST(urls_that_cannot_be_used_are_refused),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
