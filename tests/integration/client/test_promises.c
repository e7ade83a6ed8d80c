/* Sending once, and sending with confirmation, to a real Redis with real replicas. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker_priv.h"
#include "client/handle.h"
#include "core/mem.h"
#include "tests/integration/client/fixture.h"

enum { BULK = 3000, PARTS = 500, LARGE = 60000 };

static char reply[65536];

#define ASK(of, ...)                                                                               \
    assert_true(                                                                                   \
        redis_server_command(of, reply, sizeof(reply), (const char *const[]){__VA_ARGS__, NULL}))

static void assert_length(const char *list, int expected)
{
    ASK(&server, "LLEN", list);
    assert_int_equal(reply[0], ':');
    assert_int_equal(atoi(reply + 1), expected);
}

static int empty(void **state)
{
    (void)state;
    ASK(&server, "FLUSHALL");
    return 0;
}

static int
send_id(struct cel_client *client, const char *queue, const char *id, struct cel_error *err)
{
    struct cel_call *call = cel_call_new("a.b");
    if (id)
        cel_call_id(call, id);
    cel_call_queue(call, queue);
    int status = cel_send(client, call, NULL, err);
    cel_call_free(call);
    return status;
}

static void assert_sent(struct cel_client *client, const char *queue, const char *id)
{
    struct cel_error err = {0};
    if (send_id(client, queue, id, &err))
        fail_msg("%s", err.text);
}

/* Something that happens on the client's loop while the client waits, as soon as `fn` finds that it
 * is time for it and says that it is done. */
struct happening {
    uv_timer_t timer;
    struct cel_client *client;
    bool (*fn)(const struct cel_client *client);
};

static void on_time(uv_timer_t *timer)
{
    struct happening *happening = (struct happening *)timer;
    if (happening->fn(happening->client))
        uv_close((uv_handle_t *)timer, NULL);
}

static void will_happen(struct cel_client *client,
                        struct happening *happening,
                        uint64_t ms,
                        bool (*fn)(const struct cel_client *client))
{
    happening->client = client;
    happening->fn = fn;
    uv_timer_init(&client->loop, &happening->timer);
    uv_timer_start(&happening->timer, on_time, ms, 10);
}

static bool kill_and_restart(void)
{
    redis_server_stop(&server, SIGKILL);
    return redis_server_start(&server);
}

static bool kill_when_asked(const struct cel_client *client)
{
    return client->broker->main->pipeline.sent.count > 0 && kill_and_restart();
}

static bool kill_when_pushed(const struct cel_client *client)
{
    static const char *const length[] = {"LLEN", "celery", NULL};
    (void)client;
    return redis_server_command(&server, reply, sizeof(reply), length) &&
           strcmp(reply, ":1\r\n") == 0 && kill_and_restart();
}

/* Some of the parts have been answered, and others have not. */
static bool kill_in_the_middle(const struct cel_client *client)
{
    const struct redis_pipeline *pipeline = &client->broker->main->pipeline;
    size_t open = pipeline->sent.count + pipeline->waiting.count;
    return open > PARTS / 10 && open < PARTS - PARTS / 10 && kill_and_restart();
}

static struct redis_server replica;

/* Looks after the broker has read: when all of the first slice is answered. */
struct first_slice {
    uv_check_t check;
    const struct redis_pipeline *pipeline;
    bool is_sent;
};

static void freeze_replica_after_first_slice(uv_check_t *check)
{
    struct first_slice *slice = (struct first_slice *)check;
    bool is_open = slice->pipeline->sent.count + slice->pipeline->waiting.count > 0;
    slice->is_sent |= is_open;
    if (!slice->is_sent || is_open)
        return;
    redis_server_freeze(&replica);
    uv_close((uv_handle_t *)check, NULL);
}

static bool thaw(const struct cel_client *client)
{
    (void)client;
    redis_server_thaw(&server);
    return true;
}

/* --- once ------------------------------------------------------------------------------------- */

static const struct cel_client_options once = {.timeout_ms = 3000, .dedupe_ms = 60000};

static void the_same_id_arrives_once_a_queue(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    for (int i = 0; i < 3; i++) {
        assert_sent(client, "celery", "the-id");
        assert_sent(client, "mail", "the-id");
    }
    assert_length("celery", 1);
    assert_length("mail", 1);
    assert_sent(client, "celery", "other-id");
    assert_sent(client, "celery", NULL);
    assert_sent(client, "celery", NULL);
    assert_length("celery", 4);
    ASK(&server, "PTTL", "celeriac:sent:{celery}:the-id");
    assert_in_range(atoi(reply + 1), 50000, 60000);
    cel_client_close(client);
    client = open_client((struct cel_client_options){0});
    assert_sent(client, "celery", "the-id"); /* who has no window sends as ever */
    assert_length("celery", 5);
    cel_client_close(client);
}

static void an_id_is_new_again_after_the_window(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 2000, .dedupe_ms = 2001});
    assert_sent(client, "celery", "the-id");
    ASK(&server, "PEXPIRE", "celeriac:sent:{celery}:the-id", "300");
    assert_sent(client, "celery", "the-id"); /* does not make the mark live longer */
    assert_length("celery", 1);
    usec_t end = clock_mono() + 5 * USEC_PER_SEC;
    do {
        ASK(&server, "EXISTS", "celeriac:sent:{celery}:the-id");
    } while (reply[1] == '1' && clock_mono() < end);
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 2);
    cel_client_close(client);
}

static void a_bulk_arrives_once_and_in_order(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    struct cel_call **calls = mem_array(BULK, sizeof(*calls));
    struct cel_error err;
    size_t sent = 0;
    assert_non_null(calls);
    for (int i = 0; i < BULK; i++) {
        char id[32];
        snprintf(id, sizeof(id), "call-%d", i - i % 3); /* three of each */
        calls[i] = cel_call_new("a.b");
        cel_call_id(calls[i], id);
    }
    for (int i = 0; i < 2; i++) {
        if (cel_send_bulk(client, calls, BULK, NULL, &sent, &err))
            fail_msg("%zu sent: %s", sent, err.text);
        assert_int_equal(sent, BULK);
        assert_length("celery", BULK / 3);
    }
    ASK(&server, "LINDEX", "celery", "-2");
    assert_non_null(strstr(reply, "\"call-3\""));
    for (int i = 0; i < BULK; i++)
        cel_call_free(calls[i]);
    mem_free(calls);
    cel_client_close(client);
}

/* Read by the frozen server or not, the message was gone with it: only the repetition is there. */
static void what_a_killed_server_took_along_is_sent_again(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    struct happening happening;
    assert_sent(client, "celery", NULL); /* connected */
    redis_server_freeze(&server);
    will_happen(client, &happening, 10, kill_when_asked);
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 1);
    cel_client_close(client);
}

/* The server reads both sendings, the first from a connection that was given up. */
static void a_server_that_slept_gets_it_once(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    struct happening happening;
    ASK(&server, "CONFIG", "RESETSTAT");
    assert_sent(client, "celery", NULL);
    redis_server_freeze(&server);
    will_happen(client, &happening, 1500, thaw); /* the client gives up after a third of 3000 */
    usec_t begun = clock_mono();
    assert_sent(client, "celery", "the-id");
    assert_true(clock_mono() - begun >= 1400 * USEC_PER_MSEC);
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 2);
    ASK(&server, "INFO", "commandstats");
    const char *calls = strstr(reply, "cmdstat_evalsha:calls=");
    assert_non_null(calls);
    assert_int_equal(atoi(calls + strlen("cmdstat_evalsha:calls=")), 4); /* it did come twice */
    cel_client_close(client);
}

static void what_stays_unknown_says_so(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 600, .dedupe_ms = 60000});
    struct cel_error err = {0};
    assert_sent(client, "celery", NULL);
    redis_server_freeze(&server);
    usec_t begun = clock_mono();
    assert_int_equal(send_id(client, "celery", "the-id", &err), CEL_E_UNCERTAIN);
    usec_t took = clock_mono() - begun;
    assert_true(took >= 590 * USEC_PER_MSEC && took < 900 * USEC_PER_MSEC);
    assert_non_null(strstr(err.text, "may have arrived"));
    redis_server_thaw(&server);
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 2);
    cel_client_close(client);
}

static void a_key_of_another_type_refuses_before_anything_is_written(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    struct cel_error err = {0};
    ASK(&server, "SET", "celery", "text");
    assert_int_equal(send_id(client, "celery", "the-id", &err), CEL_E_SERVER);
    assert_non_null(strstr(err.text, "Not sent"));
    assert_non_null(strstr(err.text, "WRONGTYPE celery"));
    ASK(&server, "DEL", "celery");
    ASK(&server, "RPUSH", "celeriac:sent:{celery}:bad-id", "x");
    assert_int_equal(send_id(client, "celery", "bad-id", &err), CEL_E_SERVER);
    assert_length("celery", 0);
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 1);
    cel_client_close(client);
}

static void memory_at_its_limit_leaves_no_mark(void **state)
{
    (void)state;
    struct cel_client *client = open_client(once);
    struct cel_error err = {0};
    assert_sent(client, "celery", NULL);
    ASK(&server, "CONFIG", "SET", "maxmemory", "1");
    assert_int_equal(send_id(client, "celery", "the-id", &err), CEL_E_SERVER);
    assert_non_null(strstr(err.text, "OOM"));
    ASK(&server, "CONFIG", "SET", "maxmemory", "0");
    assert_sent(client, "celery", "the-id");
    assert_length("celery", 2);
    cel_client_close(client);
}

/* --- confirmed -------------------------------------------------------------------------------- */

static char port[8];
static const char *const master_extras[] = {
    "--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", NULL};
static const char *const replica_extras[] = {"--replicaof", "127.0.0.1", port, NULL};

/* A port that was free a moment ago. */
static void choose_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    snprintf(port, sizeof(port), "%d", ntohs(address.sin_port));
}

static int start_both(void **state)
{
    (void)state;
    choose_port();
    if (!redis_server_open(&server, master_extras) || !redis_server_open(&replica, replica_extras))
        return -1;
    usec_t end = clock_mono() + 20 * USEC_PER_SEC;
    do {
        ASK(&server, "WAIT", "1", "100"); /* 1 once the replica is in step */
    } while (strcmp(reply, ":1\r\n") != 0 && clock_mono() < end);
    return strcmp(reply, ":1\r\n") == 0 ? 0 : -1;
}

static int stop_both(void **state)
{
    (void)state;
    redis_server_close(&replica);
    redis_server_close(&server);
    return 0;
}

static void a_replica_confirms(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 5000, .confirm_replicas = 1});
    for (int i = 0; i < 3; i++) {
        assert_sent(client, "celery", NULL);
        ASK(&replica, "LLEN", "celery");
        assert_int_equal(atoi(reply + 1), i + 1);
    }
    cel_client_close(client);
}

static void a_replica_that_is_missing_is_counted(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 800, .confirm_replicas = 2});
    struct cel_error err = {0};
    usec_t begun = clock_mono();
    assert_int_equal(send_id(client, "celery", NULL, &err), CEL_E_UNCONFIRMED);
    usec_t took = clock_mono() - begun;
    assert_true(took >= 600 * USEC_PER_MSEC && took < 1200 * USEC_PER_MSEC);
    assert_non_null(strstr(err.text, "It was sent"));
    assert_non_null(strstr(err.text, "twice"));
    assert_non_null(strstr(err.text, "only 1 of 2 replicas"));
    assert_length("celery", 1);
    cel_client_close(client);
}

static void a_replica_that_is_stopped_does_not_confirm(void **state)
{
    (void)state;
    struct cel_client *client = open_client(
        (struct cel_client_options){.timeout_ms = 800, .confirm_replicas = 1, .dedupe_ms = 60000});
    struct cel_error err = {0};
    size_t sent = 0;
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b")};
    cel_call_id(calls[0], "one");
    cel_call_id(calls[1], "two");
    redis_server_freeze(&replica);
    assert_int_equal(cel_send_bulk(client, calls, 2, NULL, &sent, &err), CEL_E_UNCONFIRMED);
    assert_int_equal(sent, 2);
    assert_non_null(strstr(err.text, "only 0 of 1 replicas"));
    assert_null(strstr(err.text, "twice"));
    assert_length("celery", 2);
    redis_server_thaw(&replica);
    assert_int_equal(cel_send_bulk(client, calls, 2, NULL, &sent, &err), 0);
    assert_length("celery", 2);
    cel_call_free(calls[0]);
    cel_call_free(calls[1]);
    cel_client_close(client);
}

/* It is told as sent, what follows does not leave, and sending it again asks for all of it. */
static void a_slice_that_is_not_confirmed_ends_a_bulk(void **state)
{
    (void)state;
    struct cel_client *client = open_client(
        (struct cel_client_options){.timeout_ms = 8000, .dedupe_ms = 60000, .confirm_replicas = 1});
    struct cel_call **calls = mem_array(BULK, sizeof(*calls));
    struct first_slice first = {.pipeline = &client->broker->main->pipeline};
    struct cel_error err = {0};
    size_t sent = 0;
    assert_non_null(calls);
    for (int i = 0; i < BULK; i++) {
        char id[32];
        snprintf(id, sizeof(id), "call-%d", i);
        calls[i] = cel_call_new("a.b");
        cel_call_id(calls[i], id);
    }
    assert_sent(client, "mail", NULL); /* connected */
    uv_check_init(&client->loop, &first.check);
    uv_check_start(&first.check, freeze_replica_after_first_slice);
    assert_int_equal(cel_send_bulk(client, calls, BULK, NULL, &sent, &err), CEL_E_UNCONFIRMED);
    assert_int_equal(sent, 2048);
    assert_non_null(strstr(err.text, "first 2048 were sent, the others were not"));
    assert_non_null(strstr(err.text, "only 0 of 1 replicas"));
    assert_length("celery", 2048);
    redis_server_thaw(&replica);
    if (cel_send_bulk(client, calls, BULK, NULL, &sent, &err))
        fail_msg("%zu sent: %s", sent, err.text);
    assert_length("celery", BULK);
    for (int i = 0; i < BULK; i++)
        cel_call_free(calls[i]);
    mem_free(calls);
    cel_client_close(client);
}

/* What is there already, sent by another connection, must be confirmed too. */
static void a_repetition_waits_for_what_the_first_sending_wrote(void **state)
{
    (void)state;
    struct cel_client *plain = open_client(once),
                      *strict = open_client((struct cel_client_options){
                          .timeout_ms = 800, .confirm_replicas = 1, .dedupe_ms = 60000});
    struct cel_error err = {0};
    redis_server_freeze(&replica);
    assert_sent(plain, "celery", "the-id");
    assert_int_equal(send_id(strict, "celery", "the-id", &err), CEL_E_UNCONFIRMED);
    redis_server_thaw(&replica);
    assert_sent(strict, "celery", "the-id");
    assert_length("celery", 1);
    ASK(&replica, "LLEN", "celery");
    assert_string_equal(reply, ":1\r\n");
    cel_client_close(plain);
    cel_client_close(strict);
}

static void a_server_killed_while_it_waits_confirms_nothing(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 4000, .confirm_replicas = 2});
    struct happening happening;
    struct cel_error err = {0};
    redis_server_freeze(&replica); /* or it would take the empty data of the new server */
    will_happen(client, &happening, 10, kill_when_pushed);
    usec_t begun = clock_mono();
    assert_int_equal(send_id(client, "celery", NULL, &err), CEL_E_UNCONFIRMED);
    assert_true(clock_mono() - begun < 3 * USEC_PER_SEC);
    assert_non_null(strstr(err.text, "no confirmation came"));
    cel_client_close(client);
    redis_server_thaw(&replica);
}

/* The first parts went with the server that was killed. The confirmation speaks of the present one,
 * so they must be with it as well. */
static void what_is_confirmed_is_with_one_server_as_a_whole(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){
        .timeout_ms = 20000, .dedupe_ms = 60000, .confirm_replicas = 1});
    struct cel_call **calls = mem_array(PARTS, sizeof(*calls));
    char *text = mem_alloc(LARGE + 1);
    struct happening happening;
    struct cel_error err;
    size_t sent = 0;
    assert_true(calls && text);
    memset(text, 'x', LARGE);
    for (int i = 0; i < PARTS; i++) { /* each is a part of its own */
        calls[i] = cel_call_new("a.b");
        cel_call_arg(calls[i], cel_text(text));
    }
    assert_sent(client, "mail", NULL); /* connected */
    will_happen(client, &happening, 1, kill_in_the_middle);
    if (cel_send_bulk(client, calls, PARTS, NULL, &sent, &err))
        fail_msg("%zu sent: %s", sent, err.text);
    assert_true(uv_is_closing((uv_handle_t *)&happening.timer));
    assert_int_equal(sent, PARTS);
    assert_length("celery", PARTS);
    ASK(&replica, "LLEN", "celery");
    assert_int_equal(atoi(reply + 1), PARTS);
    for (int i = 0; i < PARTS; i++)
        cel_call_free(calls[i]);
    mem_free(calls);
    mem_free(text);
    cel_client_close(client);
}

/* Redis 7.0 has no WAITAOF: that is told before anything is sent. One that has it confirms, or says
 * that its file is switched off. */
static void the_disk_is_confirmed_or_refused_before_sending(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.timeout_ms = 4000, .confirm_disk = true});
    struct cel_error err = {0};
    ASK(&server, "COMMAND", "INFO", "WAITAOF");
    if (strcmp(reply, "*1\r\n*-1\r\n") == 0 || strcmp(reply, "*1\r\n$-1\r\n") == 0) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(send_id(client, "celery", NULL, &err), CEL_E_UNSUPPORTED);
            assert_non_null(strstr(err.text, "Not sent"));
            assert_non_null(strstr(err.text, "WAITAOF"));
        }
        assert_length("celery", 0);
    } else {
        assert_int_equal(send_id(client, "celery", NULL, &err), CEL_E_UNCONFIRMED);
        ASK(&server, "CONFIG", "SET", "appendonly", "yes");
        assert_sent(client, "celery", NULL);
        assert_length("celery", 2);
    }
    cel_client_close(client);
}

static void short_memory_costs_one_call(void **state)
{
    (void)state;
    struct cel_client *client = open_client(
        (struct cel_client_options){.timeout_ms = 4000, .dedupe_ms = 60000, .confirm_replicas = 1});
    struct cel_call *call = cel_call_new("a.b");
    size_t refused = 0;
    for (size_t n = 1; n <= 40; n++) {
        mem_fail_after(n);
        struct cel_error err = {0};
        int status = cel_send(client, call, NULL, &err);
        mem_fail_after(0);
        if (status && status != -ENOMEM)
            fail_msg("allocation %zu: %s", n, err.text);
        refused += status == -ENOMEM;
    }
    assert_true(refused > 3 && refused < 40);
    cel_call_free(call);
    assert_sent(client, "celery", NULL);
    cel_client_close(client);
}

int main(void)
{
    const struct CMUnitTest sent_once[] = {
        cmocka_unit_test_setup(the_same_id_arrives_once_a_queue, empty),
        cmocka_unit_test_setup(an_id_is_new_again_after_the_window, empty),
        cmocka_unit_test_setup(a_bulk_arrives_once_and_in_order, empty),
        cmocka_unit_test_setup(what_a_killed_server_took_along_is_sent_again, empty),
        cmocka_unit_test_setup(a_server_that_slept_gets_it_once, empty),
        cmocka_unit_test_setup(what_stays_unknown_says_so, empty),
        cmocka_unit_test_setup(a_key_of_another_type_refuses_before_anything_is_written, empty),
        cmocka_unit_test_setup(memory_at_its_limit_leaves_no_mark, empty),
    };
    const struct CMUnitTest confirmed[] = {
        cmocka_unit_test_setup(a_replica_confirms, empty),
        cmocka_unit_test_setup(a_replica_that_is_missing_is_counted, empty),
        cmocka_unit_test_setup(a_replica_that_is_stopped_does_not_confirm, empty),
        cmocka_unit_test_setup(a_repetition_waits_for_what_the_first_sending_wrote, empty),
        cmocka_unit_test_setup(the_disk_is_confirmed_or_refused_before_sending, empty),
        cmocka_unit_test_setup(short_memory_costs_one_call, empty),
        cmocka_unit_test_setup(what_is_confirmed_is_with_one_server_as_a_whole, empty),
        cmocka_unit_test_setup(a_slice_that_is_not_confirmed_ends_a_bulk, empty),
        cmocka_unit_test_setup(a_server_killed_while_it_waits_confirms_nothing, empty),
    };
    int failed = cmocka_run_group_tests(sent_once, start_server, stop_server);
    return failed + cmocka_run_group_tests(confirmed, start_both, stop_both);
}
