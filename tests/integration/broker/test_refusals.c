/* What becomes of calls when the server is there and does not run them: redis/words.c. */
#include "tests/integration/broker/rig.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int open_rig(void **state)
{
    static const char *const extras[] = {"--enable-protected-configs",
                                         "local",
                                         "--enable-debug-command",
                                         "local",
                                         "--busy-reply-threshold",
                                         "20",
                                         NULL};
    struct rig *rig = calloc(1, sizeof(*rig));
    signal(SIGPIPE, SIG_IGN);
    *state = rig;
    return rig && redis_server_open(&rig->server, extras) ? 0 : -1;
}

static void start_push(struct rig *rig, const char *text, double seconds, struct outcome *outcome)
{
    const struct broker_message message = {.queue = QUEUE, .bytes = str_of(text)};
    *outcome = (struct outcome){0};
    assert_int_equal(
        broker_push(rig->broker, &message, 1, in_seconds(seconds), NULL, on_done, outcome), 0);
}

static int push(struct rig *rig, double seconds, struct outcome *outcome)
{
    start_push(rig, "x", seconds, outcome);
    rig_run(rig, outcome);
    return outcome->status;
}

static void start_fire(struct rig *rig, double seconds, struct outcome *outcome)
{
    static usec_t slot = USEC_PER_SEC;
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    *outcome = (struct outcome){0};
    slot += USEC_PER_SEC;
    assert_int_equal(broker_fire(rig->broker, STR("e"), slot, USEC_PER_SEC, &message,
                                 in_seconds(seconds), on_done, outcome),
                     0);
}

static int fire(struct rig *rig, double seconds, struct outcome *outcome)
{
    start_fire(rig, seconds, outcome);
    rig_run(rig, outcome);
    return outcome->status;
}

static void expect(const char *reply, const char *expected)
{
    if (strncmp(reply, expected, strlen(expected)) != 0)
        fail_msg("\"%s\", not \"%s\"", reply, expected);
}

static void expect_in(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("\"%s\" without \"%s\"", text, words);
}

/* A command that is not answered soon: its reply is not waited for. */
static int begin_command(struct rig *rig, const char *line)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig->server.socket);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_true(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
    return fd;
}

/* The refusal lasts: the call waits until its deadline and is told the words. */
static void expect_refused(struct rig *rig, const char *words)
{
    struct outcome outcome;
    usec_t before = clock_mono();
    assert_int_equal(push(rig, 0.4, &outcome), -ETIMEDOUT);
    assert_in_range(clock_mono() - before, 400000, 1500000);
    expect_in(outcome.err.text, words);
    assert_int_equal(fire(rig, 0.2, &outcome), -ETIMEDOUT);
    expect_in(outcome.err.text, words);
}

/* --- another server, or another moment -------------------------------------------------------- */

static void a_replica_runs_nothing_and_is_left(void **state)
{
    struct rig *rig = *state;
    struct outcome pushed, fired;
    assert_int_equal(push(rig, 5, &pushed), 0);
    assert_int_equal(fire(rig, 5, &fired), 0);
    expect(server_says(rig, "REPLICAOF 127.0.0.1 1"), "+OK");
    expect_refused(rig, "READONLY");
    start_push(rig, "y", 20, &pushed);
    start_fire(rig, 20, &fired);
    rig_spend(rig, 0.3);
    assert_int_equal(pushed.calls + fired.calls, 0);
    expect(server_says(rig, "REPLICAOF NO ONE"), "+OK");
    rig_run(rig, &pushed);
    if (!fired.calls)
        rig_run(rig, &fired);
    assert_int_equal(pushed.status, 0);
    assert_int_equal(fired.status, 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 4);
}

static void a_changing_role_neither_loses_nor_repeats_nor_reorders(void **state)
{
    enum { ROUNDS = 30, EACH = 10, COUNT = ROUNDS * EACH };
    static struct outcome outcomes[COUNT], claimed;
    struct rig *rig = *state;
    int failed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        expect(server_says(rig, round % 2 ? "REPLICAOF NO ONE" : "REPLICAOF 127.0.0.1 1"), "+OK");
        for (int i = 0; i < EACH; i++) {
            char text[16];
            snprintf(text, sizeof(text), "%d", round * EACH + i);
            start_push(rig, text, 20, &outcomes[round * EACH + i]);
            if (i % 3 == 0)
                uv_run(&rig->loop, UV_RUN_NOWAIT);
        }
        rig_spend(rig, 0.01);
    }
    expect(server_says(rig, "REPLICAOF NO ONE"), "+OK");
    for (int i = 0; i < COUNT; i++) {
        if (!outcomes[i].calls)
            rig_run(rig, &outcomes[i]);
        failed += outcomes[i].status != 0;
    }
    assert_int_equal(failed, 0);
    assert_int_equal(server_number(rig, "LLEN celery"), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        claim_into(rig, QUEUE, 1, &claimed);
        assert_string_equal(claimed.claimed[0].bytes, text);
    }
}

static void a_wait_goes_on_when_the_role_changes(void **state)
{
    struct rig *rig = *state;
    struct outcome waited = {0}, claimed;
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_done, &waited), 0);
    usec_t end = in_seconds(10);
    while (!strstr(server_says(rig, "INFO clients"), "blocked_clients:4")) {
        assert_true(clock_mono() < end);
        rig_spend(rig, 0.005);
    }
    expect(server_says(rig, "REPLICAOF 127.0.0.1 1"), "+OK"); /* answers them -UNBLOCKED */
    rig_spend(rig, 0.3);
    assert_int_equal(waited.calls, 0);
    expect(server_says(rig, "REPLICAOF NO ONE"), "+OK");
    expect(server_says(rig, "LPUSH celery late"), ":1");
    usec_t before = clock_mono();
    rig_run(rig, &waited);
    assert_int_equal(waited.status, 0);
    assert_true(clock_mono() - before < 2 * USEC_PER_SEC);
    claim_into(rig, QUEUE, 1, &claimed);
    assert_string_equal(claimed.claimed[0].bytes, "late");
}

static void a_replica_without_its_master_is_left(void **state)
{
    struct rig *rig = *state;
    struct outcome pushed, got = {0};
    assert_int_equal(push(rig, 5, &pushed), 0);
    server_says(rig, "CONFIG SET replica-serve-stale-data no");
    expect(server_says(rig, "REPLICAOF 127.0.0.1 1"), "+OK");
    expect_refused(rig, "MASTERDOWN");
    assert_int_equal(broker_get_result(rig->broker, STR("id"), in_seconds(20), on_result, &got), 0);
    rig_spend(rig, 0.2);
    assert_int_equal(got.calls, 0);
    expect(server_says(rig, "REPLICAOF NO ONE"), "+OK");
    rig_run(rig, &got);
    assert_int_equal(got.status, 0);
}

static void a_server_that_loads_its_data_is_waited_for(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    assert_int_equal(push(rig, 5, &outcome), 0);
    expect(server_says(rig, "DEBUG POPULATE 3000"), "+OK");
    expect(server_says(rig, "CONFIG SET loading-process-events-interval-bytes 1024"), "+OK");
    expect(server_says(rig, "CONFIG SET key-load-delay 500"), "+OK");
    int fd = begin_command(rig, "DEBUG RELOAD\r\n");
    usec_t end = in_seconds(10);
    while (strncmp(server_says(rig, "PING"), "-LOADING", 8) != 0)
        assert_true(clock_mono() < end);
    assert_int_equal(push(rig, 0.2, &outcome), -ETIMEDOUT);
    expect_in(outcome.err.text, "LOADING");
    assert_int_equal(push(rig, 20, &outcome), 0);
    close(fd);
    server_says(rig, "CONFIG SET key-load-delay 0");
    assert_int_equal(server_number(rig, "LLEN celery"), 2);
}

/* --- a pause ---------------------------------------------------------------------------------- */

static void a_busy_server_is_asked_again(void **state)
{
    struct rig *rig = *state;
    struct outcome pushed, fired;
    assert_int_equal(push(rig, 5, &pushed), 0);
    int64_t connections = server_number(rig, "CLIENT ID");
    int fd = begin_command(rig, "EVAL \"while true do end\" 0\r\n");
    usec_t end = in_seconds(10);
    while (strncmp(server_says(rig, "PING"), "-BUSY", 5) != 0)
        assert_true(clock_mono() < end);
    expect_refused(rig, "BUSY");
    start_push(rig, "y", 20, &pushed);
    start_fire(rig, 20, &fired);
    rig_spend(rig, 0.2);
    assert_int_equal(pushed.calls + fired.calls, 0);
    expect(server_says(rig, "SCRIPT KILL"), "+OK");
    rig_run(rig, &pushed);
    if (!fired.calls)
        rig_run(rig, &fired);
    close(fd);
    assert_int_equal(pushed.status, 0);
    assert_int_equal(fired.status, 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 3);
    /* ours was kept: only those from beside are new */
    assert_true(server_number(rig, "CLIENT ID") > connections);
    expect_in(server_says(rig, "CLIENT LIST ID %lld", (long long)connections - 1), "id=");
}

static void missing_replicas_are_waited_for(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    assert_int_equal(push(rig, 5, &outcome), 0);
    expect(server_says(rig, "CONFIG SET min-replicas-to-write 1"), "+OK");
    expect_refused(rig, "NOREPLICAS");
    start_fire(rig, 20, &outcome);
    rig_spend(rig, 0.1);
    assert_int_equal(outcome.calls, 0);
    expect(server_says(rig, "CONFIG SET min-replicas-to-write 0"), "+OK");
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 2);
}

/* --- told at once ----------------------------------------------------------------------------- */

static void expect_told(struct rig *rig, const char *words, const char *advice)
{
    struct outcome outcome;
    usec_t before = clock_mono();
    for (int i = 0; i < 2; i++) {
        int status = i ? fire(rig, 20, &outcome) : push(rig, 20, &outcome);
        assert_int_equal(status, CEL_E_SERVER);
        expect_in(outcome.err.text, words);
        expect_in(outcome.err.text, "nothing was written");
        expect_in(outcome.err.text, advice);
    }
    assert_true(clock_mono() - before < 5 * USEC_PER_SEC);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
}

static void full_memory_is_told_with_advice(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    assert_int_equal(push(rig, 5, &outcome), 0);
    expect(server_says(rig, "CONFIG SET maxmemory 1"), "+OK");
    expect_told(rig, "OOM", "raise it");
    expect(server_says(rig, "CONFIG SET maxmemory 0"), "+OK");
    assert_int_equal(push(rig, 5, &outcome), 0);
}

static void a_server_that_cannot_save_is_told_with_advice(void **state)
{
    static const char *const saves[] = {"CONFIG", "SET", "save", "3600 100000", NULL};
    struct rig *rig = *state;
    struct outcome outcome;
    char folder[96], reply[64];
    snprintf(folder, sizeof(folder), "%s/gone", rig->server.folder);
    assert_int_equal(push(rig, 5, &outcome), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    expect(server_says(rig, "CONFIG SET dir %s", folder), "+OK");
    assert_int_equal(rmdir(folder), 0);
    assert_true(redis_server_command(&rig->server, reply, sizeof(reply), saves));
    expect(server_says(rig, "BGSAVE"), "+Background");
    usec_t end = in_seconds(10);
    while (!strstr(server_says(rig, "INFO persistence"), "rdb_last_bgsave_status:err"))
        assert_true(clock_mono() < end);
    expect_told(rig, "MISCONF", "disk");
    expect(server_says(rig, "CONFIG SET dir %s", rig->server.folder), "+OK");
    expect(server_says(rig, "BGSAVE"), "+Background");
    while (!strstr(server_says(rig, "INFO persistence"), "rdb_last_bgsave_status:ok"))
        assert_true(clock_mono() < end);
    assert_int_equal(push(rig, 5, &outcome), 0);
}

static void on_dead(void *data,
                    int status,
                    const struct broker_dead_entry *entries,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    (void)entries, (void)count, (void)cursor;
    on_done(data, status, err);
}

static void on_delayed(void *data,
                       int status,
                       const struct broker_delayed *delayed,
                       size_t count,
                       struct str cursor,
                       const struct cel_error *err)
{
    (void)delayed, (void)count, (void)cursor;
    on_done(data, status, err);
}

static void on_revocations(void *data,
                           int status,
                           const struct broker_revocations *found,
                           const struct cel_error *err)
{
    (void)found;
    on_done(data, status, err);
}

/* Each of these looks at the key that is in the way. */
static int begin_call(struct rig *rig, unsigned number, struct outcome *outcome)
{
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    const struct broker_delayed_range any = {.to_wall = USEC_NEVER};
    const struct broker_revocation revocation = {.id = STR("id")};
    struct broker *broker = rig->broker;
    usec_t soon = in_seconds(5);
    switch (number) {
    case 0:
        return broker_push(broker, &message, 1, soon, NULL, on_done, outcome);
    case 1:
        return broker_fire(broker, STR("e"), 1, USEC_PER_SEC, &message, soon, on_done, outcome);
    case 2:
        return broker_claim(broker, QUEUE, 1, soon, on_claim, outcome);
    case 3:
        return broker_purge(broker, QUEUE, false, soon, NULL, on_done, outcome);
    case 4:
        return broker_queues(broker, &QUEUE, 1, soon, on_stats, outcome);
    case 5:
        return broker_unstage(broker, QUEUE, soon, on_done, outcome);
    case 6:
        return broker_list_dead(broker, QUEUE, STR_NONE, false, soon, on_dead, outcome);
    case 7:
        return broker_list_delayed(broker, QUEUE, STR_NONE, &any, soon, on_delayed, outcome);
    case 8:
        return broker_purge(broker, QUEUE, true, soon, NULL, on_done, outcome);
    case 9:
        return broker_revoke(broker, &revocation, 1, USEC_PER_SEC, soon, on_done, outcome);
    case 10:
        return broker_revocations(broker, (struct broker_revocation_id){0}, soon, on_revocations,
                                  outcome);
    case 11:
        return broker_leave(broker, QUEUE, soon, on_done, outcome);
    default:
        return -1;
    }
}

static void what_is_in_the_way_is_named(void **state)
{
    static const char *const keys[] = {
        "celery",
        "celery",
        "celery",
        "celery",
        "celery",
        "celeriac:staging:{celery}:node@host:1",
        "celeriac:dead:{celery}",
        "celeriac:delayed:{celery}",
        "celeriac:delayed:{celery}",
        "celeriac:revoked",
        "celeriac:revoked",
        "celeriac:nodes:{celery}",
    };
    struct rig *rig = *state;
    join(rig, QUEUE);
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        struct outcome outcome = {0};
        char words[128];
        server_says(rig, "DEL %s", keys[i]);
        expect(server_says(rig, "SET %s text", keys[i]), "+OK");
        assert_int_equal(begin_call(rig, i, &outcome), 0);
        rig_run(rig, &outcome);
        if (outcome.status != CEL_E_SERVER)
            fail_msg("call %u: %d", i, outcome.status);
        snprintf(words, sizeof(words), "WRONGTYPE %s is a string and no ", keys[i]);
        expect_in(outcome.err.text, words);
        assert_int_equal(server_number(rig, "DEL %s", keys[i]), 1);
    }
}

/* --- another password ------------------------------------------------------------------------- */

static void a_user_that_goes_and_comes_is_greeted_anew(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    struct broker_options options = rig_options(rig);
    char url[256];
    expect(server_says(rig, "ACL SETUSER shop on >secret ~* &* +@all"), "+OK");
    snprintf(url, sizeof(url), "unix://shop:secret@%s", rig->server.socket);
    rig_close_broker(rig);
    options.url = url;
    rig_new_broker(rig, &options);
    assert_int_equal(push(rig, 5, &outcome), 0);
    expect(server_says(rig, "ACL DELUSER shop"), ":1");
    usec_t before = clock_mono();
    int status = push(rig, 20, &outcome);
    if (status == CEL_E_UNCERTAIN) /* it was written before the end was noticed */
        status = push(rig, 20, &outcome);
    assert_int_equal(status, CEL_E_AUTH);
    assert_true(clock_mono() - before < 5 * USEC_PER_SEC);
    expect_in(outcome.err.text, "WRONGPASS");
    assert_null(strstr(outcome.err.text, "secret"));
    expect(server_says(rig, "ACL SETUSER shop on >secret ~* &* +@all"), "+OK");
    assert_int_equal(push(rig, 5, &outcome), 0);
}

/* Whatever a test has left behind, the next one finds a master with room. */
static int teardown(void **state)
{
    struct rig *rig = *state;
    server_says(rig, "REPLICAOF NO ONE");
    server_says(rig, "CONFIG SET replica-serve-stale-data yes");
    server_says(rig, "CONFIG SET maxmemory 0 min-replicas-to-write 0 key-load-delay 0");
    server_says(rig, "SCRIPT KILL");
    return rig_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_replica_runs_nothing_and_is_left),
        TEST(a_changing_role_neither_loses_nor_repeats_nor_reorders),
        TEST(a_wait_goes_on_when_the_role_changes),
        TEST(a_replica_without_its_master_is_left),
        TEST(a_server_that_loads_its_data_is_waited_for),
        TEST(a_busy_server_is_asked_again),
        TEST(missing_replicas_are_waited_for),
        TEST(full_memory_is_told_with_advice),
        TEST(a_server_that_cannot_save_is_told_with_advice),
        TEST(what_is_in_the_way_is_named),
        TEST(a_user_that_goes_and_comes_is_greeted_anew),
    };
    return cmocka_run_group_tests(tests, open_rig, rig_close);
}
