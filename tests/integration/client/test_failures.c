/* What a client answers when Redis is not there, goes away, falls silent or refuses. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker_priv.h"
#include "client/handle.h"
#include "core/mem.h"
#include "tests/integration/client/fixture.h"

static int send_one(struct cel_client *client, struct cel_error *err)
{
    struct cel_call *call = cel_call_new("a.b");
    int status = cel_send(client, call, NULL, err);
    cel_call_free(call);
    return status;
}

static void assert_quick(usec_t begun, usec_t limit)
{
    assert_true(clock_mono() - begun < limit);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct cel_error err = {0};
    struct cel_client *client = open_client(
        (struct cel_client_options){.broker_url = "redis://127.0.0.1:1/0", .timeout_ms = 2000});
    usec_t begun = clock_mono();
    assert_int_equal(send_one(client, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.text, "Not sent: "));
    assert_quick(begun, 4 * USEC_PER_SEC); /* it tries again until its time limit */
    assert_non_null(strstr(err.text, "127.0.0.1"));
    cel_client_close(client);
}

static void there_is_no_such_socket(void **state)
{
    (void)state;
    struct cel_error err = {0};
    struct cel_client *client = open_client((struct cel_client_options){
        .broker_url = "redis+socket:///nonexistent/redis.sock", .timeout_ms = 500});
    assert_int_equal(send_one(client, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/redis.sock"));
    cel_client_close(client);
}

static void a_host_without_address_is_named(void **state)
{
    (void)state;
    struct cel_error err = {0};
    struct cel_client *client = open_client((struct cel_client_options){
        .broker_url = "redis://no-such-host.invalid/0", .timeout_ms = 3000});
    usec_t begun = clock_mono();
    assert_true(send_one(client, &err) < 0);
    assert_quick(begun, 5 * USEC_PER_SEC);
    assert_non_null(strstr(err.text, "no-such-host.invalid"));
    cel_client_close(client);
}

static void a_password_that_is_wrong_or_missing_is_denied(void **state)
{
    (void)state;
    static const char *const extras[] = {"--requirepass", "correct-horse", NULL};
    struct redis_server guarded;
    char url[256];
    assert_true(redis_server_open(&guarded, extras));
    struct cel_client *client =
        open_client((struct cel_client_options){.broker_url = guarded.url, .timeout_ms = 2000});
    struct cel_error err = {0};
    assert_int_equal(send_one(client, &err), CEL_E_AUTH);
    cel_client_close(client);
    snprintf(url, sizeof(url), "redis+socket://:hunter2@%s", guarded.socket);
    client = open_client((struct cel_client_options){.broker_url = url, .timeout_ms = 2000});
    assert_int_equal(send_one(client, &err), CEL_E_AUTH);
    assert_non_null(strstr(err.text, "Not sent: "));
    assert_null(strstr(err.text, "hunter2"));
    cel_client_close(client);
    snprintf(url, sizeof(url), "redis+socket://:correct-horse@%s", guarded.socket);
    client = open_client((struct cel_client_options){.broker_url = url, .timeout_ms = 2000});
    assert_int_equal(send_one(client, &err), 0);
    cel_client_close(client);
    redis_server_close(&guarded);
}

static void a_server_that_came_back_is_met_with_a_new_connection(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL); /* as in any program */
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 2000});
    struct cel_error err = {0};
    assert_int_equal(send_one(client, NULL), 0);
    redis_server_stop(&server, SIGKILL);
    assert_true(redis_server_start(&server));
    if (send_one(client, &err))
        fail_msg("%s", err.text);
    redis_server_stop(&server, SIGKILL);
    int status = send_one(client, &err);
    assert_true(status == -ECONNREFUSED || status == -ENOENT);
    assert_true(redis_server_start(&server));
    if (send_one(client, &err))
        fail_msg("%s", err.text);
    cel_client_close(client);
}

static void kill_server(uv_timer_t *timer)
{
    redis_server_stop(timer->data, SIGKILL);
    uv_close((uv_handle_t *)timer, NULL);
}

/* The server takes the command into its socket, never reads it, and dies: a client cannot know. */
static void a_server_killed_in_the_middle_leaves_it_uncertain(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 10000});
    assert_int_equal(send_one(client, NULL), 0); /* connected */
    uv_timer_t timer = {.data = &server};
    uv_timer_init(&client->loop, &timer);
    uv_timer_start(&timer, kill_server, 50, 0);
    redis_server_freeze(&server);
    struct cel_error err = {0};
    size_t sent = 7;
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b")};
    assert_int_equal(cel_send_bulk(client, calls, 2, NULL, &sent, &err), CEL_E_UNCERTAIN);
    assert_int_equal(sent, 0);
    assert_non_null(strstr(err.text, "the first 0 were sent, the next 2 may have arrived"));
    cel_call_free(calls[0]);
    cel_call_free(calls[1]);
    cel_client_close(client);
    assert_true(redis_server_start(&server));
}

/* Looks again until something is under way. */
static void kill_and_restart(uv_timer_t *timer)
{
    const struct cel_client *client = timer->data;
    if (client->broker->main->pipeline.sent.count == 0)
        return;
    redis_server_stop(&server, SIGKILL);
    redis_server_start(&server);
    uv_close((uv_handle_t *)timer, NULL);
}

/* More than the socket takes: a part was never written, and must not go to the new server behind
 * the back of a caller who is told that it was not sent. */
static void what_is_told_as_not_sent_does_not_arrive_later(void **state)
{
    (void)state;
    enum { COUNT = 40, SIZE = 50000 };
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 10000});
    struct cel_call *call = cel_call_new("a.b"), *calls[COUNT];
    char *text = mem_alloc(SIZE), reply[64];
    assert_non_null(text);
    memset(text, 'x', SIZE - 1);
    cel_call_arg(call, cel_text(text));
    for (size_t i = 0; i < COUNT; i++)
        calls[i] = call;
    assert_int_equal(send_one(client, NULL), 0);
    uv_timer_t timer = {.data = client};
    uv_timer_init(&client->loop, &timer);
    uv_timer_start(&timer, kill_and_restart, 10, 10);
    redis_server_freeze(&server);
    struct cel_error err = {0};
    size_t sent = 7;
    assert_int_equal(cel_send_bulk(client, calls, COUNT, NULL, &sent, &err), CEL_E_UNCERTAIN);
    assert_int_equal(sent, 0);
    assert_non_null(strstr(err.text, "the others were not sent"));
    assert_int_equal(send_one(client, NULL), 0); /* what comes after it arrives alone */
    const char *const count[] = {"LLEN", "celery", NULL};
    assert_true(redis_server_command(&server, reply, sizeof(reply), count));
    assert_string_equal(reply, ":1\r\n");
    mem_free(text);
    cel_call_free(call);
    cel_client_close(client);
}

static void a_silent_server_ends_the_call_at_its_time_limit(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 300});
    assert_int_equal(send_one(client, NULL), 0);
    redis_server_freeze(&server);
    struct cel_error err = {0};
    usec_t begun = clock_mono();
    int status = send_one(client, &err);
    usec_t took = clock_mono() - begun;
    assert_int_equal(status, CEL_E_UNCERTAIN); /* it was written, and may yet be read */
    assert_non_null(strstr(err.text, "It may have arrived"));
    assert_true(took >= 290 * USEC_PER_MSEC && took < 3 * USEC_PER_SEC);
    /* The next call opens a connection, which the frozen server's kernel accepts: nothing of the
     * message can have been taken in unless it was written, so both answers are honest. */
    begun = clock_mono();
    status = send_one(client, &err);
    assert_true(status == CEL_E_UNCERTAIN || status == -ETIMEDOUT);
    assert_quick(begun, 3 * USEC_PER_SEC);
    redis_server_thaw(&server);
    struct cel_result *result;
    if (cel_result_get(client, "some-id", &result, &err))
        fail_msg("%s", err.text);
    cel_result_free(result);
    cel_client_close(client);
}

static void an_error_reply_is_handed_up(void **state)
{
    (void)state;
    char reply[64];
    const char *const set[] = {"SET", "occupied", "text", NULL};
    assert_true(redis_server_command(&server, reply, sizeof(reply), set));
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 2000});
    struct cel_call *call = cel_call_new("a.b");
    cel_call_queue(call, "occupied");
    struct cel_error err = {0};
    assert_int_equal(cel_send(client, call, NULL, &err), CEL_E_SERVER);
    assert_non_null(strstr(err.text, "WRONGTYPE"));
    assert_int_equal(send_one(client, NULL), 0); /* the connection is as good as before */
    cel_call_free(call);
    cel_client_close(client);
}

static void command(const char *a, const char *b, const char *c, const char *d)
{
    char reply[64];
    const char *const words[] = {a, b, c, d, NULL};
    assert_true(redis_server_command(&server, reply, sizeof(reply), words));
    assert_true(reply[0] != '-');
}

static void a_server_that_takes_nothing_has_not_got_it(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 2000});
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b")};
    struct cel_error err = {0};
    size_t sent = 7;
    command("CONFIG", "SET", "maxmemory", "1");
    assert_int_equal(send_one(client, &err), CEL_E_SERVER);
    assert_non_null(strstr(err.text, "Not sent: "));
    assert_non_null(strstr(err.text, "OOM"));
    assert_int_equal(cel_send_bulk(client, calls, 2, NULL, &sent, &err), CEL_E_SERVER);
    assert_int_equal(sent, 0);
    command("CONFIG", "SET", "maxmemory", "0");
    /* a replica may be made the master in time, so it is tried until the time is over */
    command("REPLICAOF", "127.0.0.1", "1", NULL);
    assert_int_equal(send_one(client, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "Not sent: "));
    assert_non_null(strstr(err.text, "READONLY"));
    command("REPLICAOF", "NO", "ONE", NULL);
    assert_int_equal(send_one(client, NULL), 0);
    cel_call_free(calls[0]);
    cel_call_free(calls[1]);
    cel_client_close(client);
}

/* One queue refuses, another takes: the code must not let the caller send all of them again. */
static void a_bulk_that_arrived_in_part_is_uncertain(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 2000});
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b"), cel_call_new("a.b")};
    struct cel_error err = {0};
    size_t sent = 7;
    command("SET", "taken", "text", NULL);
    cel_call_queue(calls[1], "taken");
    assert_int_equal(cel_send_bulk(client, calls, 3, NULL, &sent, &err), CEL_E_UNCERTAIN);
    assert_int_equal(err.code, CEL_E_UNCERTAIN);
    assert_int_equal(sent, 1);
    assert_non_null(strstr(err.text, "the first 1 were sent, the next 2 may have arrived"));
    assert_non_null(strstr(err.text, "WRONGTYPE"));
    assert_int_equal(cel_send_bulk(client, calls, 2, NULL, &sent, &err), CEL_E_SERVER);
    assert_int_equal(sent, 1);
    assert_non_null(strstr(err.text, "the first 1 were sent, the others were not"));
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        cel_call_free(calls[i]);
    cel_client_close(client);
}

/* Somebody listens and never says a word. */
static void connecting_and_greeting_count_too(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d/0", ntohs(address.sin_port));
    const struct cel_client_options options[] = {
        {.broker_url = url, .timeout_ms = 300},
        {.broker_url = url, .timeout_ms = 300, .dedupe_ms = 60000},
        {.broker_url = url, .timeout_ms = 300, .confirm_replicas = 1, .confirm_disk = true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        struct cel_client *client = open_client(options[i]);
        struct cel_error err = {0};
        usec_t begun = clock_mono();
        assert_int_equal(send_one(client, &err), -ETIMEDOUT);
        assert_true(clock_mono() - begun >= 290 * USEC_PER_MSEC);
        assert_quick(begun, 600 * USEC_PER_MSEC);
        assert_non_null(strstr(err.text, "Not sent: "));
        cel_client_close(client);
    }
    close(fd);
}

/* What fails for want of memory fails alone: the client and its connection stay good. */
static void short_memory_costs_one_call(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 2000});
    struct cel_call *call = cel_call_new("a.b");
    cel_call_arg(call, cel_text("text"));
    size_t refused = 0;
    for (size_t n = 1; n <= 60; n++) {
        struct cel_result *result = NULL;
        mem_fail_after(n);
        int sent = cel_send(client, call, NULL, NULL);
        int looked = cel_result_get(client, "id", &result, NULL);
        mem_fail_after(0);
        cel_result_free(result);
        refused += sent == -ENOMEM || looked == -ENOMEM;
        assert_true(sent == 0 || sent == -ENOMEM || sent == CEL_E_UNCERTAIN);
        assert_true(looked == 0 || looked == -ENOMEM);
        assert_int_equal(send_one(client, NULL), 0);
    }
    assert_true(refused > 3);
    cel_call_free(call);
    cel_client_close(client);
}

static void a_client_may_be_closed_at_any_time(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.timeout_ms = 100});
    redis_server_freeze(&server);
    assert_true(send_one(client, NULL) < 0);
    cel_client_close(client);
    redis_server_thaw(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(there_is_no_such_socket),
        cmocka_unit_test(a_host_without_address_is_named),
        cmocka_unit_test(a_password_that_is_wrong_or_missing_is_denied),
        cmocka_unit_test(a_server_that_came_back_is_met_with_a_new_connection),
        cmocka_unit_test(a_server_killed_in_the_middle_leaves_it_uncertain),
        cmocka_unit_test(what_is_told_as_not_sent_does_not_arrive_later),
        cmocka_unit_test(a_silent_server_ends_the_call_at_its_time_limit),
        cmocka_unit_test(an_error_reply_is_handed_up),
        cmocka_unit_test(a_server_that_takes_nothing_has_not_got_it),
        cmocka_unit_test(a_bulk_that_arrived_in_part_is_uncertain),
        cmocka_unit_test(connecting_and_greeting_count_too),
        cmocka_unit_test(short_memory_costs_one_call),
        cmocka_unit_test(a_client_may_be_closed_at_any_time),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
