/* The task's database in a real pool process on a real server: what becomes of transactions,
 * errors, lost connections and the soft time limit. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/json.h"
#include "tests/integration/pg/child_rig.h"

#define SERIALIZATION_FAILURE "DO $$ BEGIN RAISE EXCEPTION 'raced' USING ERRCODE = '40001'; END $$"

static void start_child(struct child_process *child, usec_t max_age)
{
    char refused[256];
    postgres_server_uri(&server, "somebody", "S3cr3tWord", refused, sizeof(refused));
    const struct frame_pair databases[] = {
        {STR("default"), str_of(server.uri), STR_NONE},
        {STR("analytics"), str_of(server.uri), STR_NONE},
        {STR("away"), STR("postgresql://u:S3cr3tWord@/x?host=%2Fnowhere"), STR_NONE},
        {STR("refused"), str_of(refused), STR_NONE}};
    rig_start_child(child, STR(MODULES "/probe.so"), databases, ARRAY_SIZE(databases), max_age);
}

static int64_t kept_rows(void)
{
    return int_of("SELECT count(*) AS n FROM kept");
}

static const struct frame_outcome *call(const char *name, const char *args)
{
    return run_task(name, args, "{}");
}

/* tests.script with a list of steps that ends with NULL. */
static const struct frame_outcome *script(const char *task, const char *const *steps)
{
    CLEANUP(buf_deinit) struct buf args = BUF_INIT(65536);
    buf_add_c(&args, "[[");
    for (size_t i = 0; steps[i]; i++) {
        buf_add_c(&args, i ? ", " : "");
        json_add_text(&args, str_of(steps[i]));
    }
    buf_add_c(&args, "]]");
    assert_int_equal(buf_status(&args), 0);
    return call(task, args.ptr);
}

#define SCRIPT(...)  script("tests.script", (const char *const[]){__VA_ARGS__, NULL})
#define WRAPPED(...) script("tests.script_in_transaction", (const char *const[]){__VA_ARGS__, NULL})

/* --- connections ------------------------------------------------------------------------------ */

static void a_task_has_the_database_and_others_by_name(void **state)
{
    (void)state;
    check_value(call("tests.sql", "[\"SELECT 6 * 7 AS value\"]"), "\"42\"");
    check_value(call("tests.sql", "[\"SELECT NULL AS value\", \"analytics\"]"), "null");
    check_value(call("tests.sql", "[\"SELECT 1.10 AS value\", \"analytics\"]"), "\"1.10\"");
}

static void the_connection_is_kept_from_task_to_task(void **state)
{
    (void)state;
    const char *args = "[\"SELECT pg_backend_pid() AS value\"]";
    char first[40];
    const struct frame_outcome *outcome = call("tests.sql", args);
    snprintf(first, sizeof(first), "%.*s", STR_ARGS(outcome->result_json));
    check_value(call("tests.sql", args), first);
}

static void an_old_connection_is_replaced(void **state)
{
    (void)state;
    struct child_process kept = process;
    start_child(&process, 1000);
    const char *args = "[\"SELECT pg_backend_pid() AS value\"]";
    char first[40];
    const struct frame_outcome *outcome = call("tests.sql", args);
    snprintf(first, sizeof(first), "%.*s", STR_ARGS(outcome->result_json));
    nanosleep(&(struct timespec){.tv_nsec = 2 * 1000 * 1000}, NULL);
    outcome = call("tests.sql", args);
    expect_success(outcome);
    assert_false(str_equal(outcome->result_json, str_of(first)));
    child_process_end(&process);
    process = kept;
}

static void a_database_that_cannot_be_had_is_a_retry_with_a_reason(void **state)
{
    (void)state;
    expect_exception(call("tests.sql", "[\"SELECT 1\", \"away\"]"), OUTCOME_RETRY,
                     "OperationalError", "database \"away\": cannot connect: ");
    expect_exception(call("tests.sql", "[\"SELECT 1\", \"nobody_knows\"]"), OUTCOME_RETRY,
                     "OperationalError",
                     "database \"nobody_knows\": it is not configured (section [database])");
    const struct frame_outcome *outcome = call("tests.sql", "[\"SELECT 1\", \"refused\"]");
    expect_exception(outcome, OUTCOME_RETRY, "OperationalError",
                     "password authentication failed for user");
    assert_null(memmem(outcome->result_json.ptr, outcome->result_json.len, "S3cr3tWord", 10));
    char *log = child_process_log(&process);
    assert_null(strstr(log, "S3cr3tWord"));
    free(log);
}

static void a_call_that_is_none_fails_the_task_alone(void **state)
{
    (void)state;
    expect_exception(SCRIPT("DB SEND NOTHING"), OUTCOME_FAILURE, "MemoryError",
                     "cel_db_send: there is no call");
}

/* The task does not look; its commit does. */
static void a_backend_that_goes_unnoticed_in_its_transaction_is_a_retry(void **state)
{
    (void)state;
    expect_exception(WRAPPED("-SELECT pg_terminate_backend(pg_backend_pid())"), OUTCOME_RETRY,
                     "OperationalError", "connection was lost before");
    check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
}

static void a_terminated_backend_is_a_retry_and_the_next_task_runs(void **state)
{
    (void)state;
    expect_exception(SCRIPT("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"),
                     OUTCOME_RETRY, "OperationalError", "the connection is lost");
    expect_exception(SCRIPT("BEGIN", "-SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1"),
                     OUTCOME_RETRY, "OperationalError", "connection was lost before");
    check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
}

static void a_restart_of_the_server_between_tasks_is_not_noticed(void **state)
{
    (void)state;
    check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
    postgres_server_stop(&server);
    expect_exception(call("tests.sql", "[\"SELECT 1\"]"), OUTCOME_RETRY, "OperationalError",
                     "cannot connect");
    expect_exception(WRAPPED("SELECT 1"), OUTCOME_RETRY, "OperationalError", "cannot connect");
    assert_true(postgres_server_start(&server));
    check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
    postgres_server_stop(&server);
    assert_true(postgres_server_start(&server));
    check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
}

/* --- errors ----------------------------------------------------------------------------------- */

static void errors_have_the_names_of_pythons_drivers(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *type, *words;
    } cases[] = {
        {"INSERT INTO kept VALUES (-1)", "IntegrityError",
         "violates check constraint \"kept_v_check\" (SQLSTATE 23514); constraint \"kept_v_check\";"
         " schema \"public\"; table \"kept\"; Failing row contains (-1)."},
        {"INSERT INTO kept VALUES (NULL)", "IntegrityError",
         "(SQLSTATE 23502); schema \"public\"; table \"kept\"; column \"v\"; Failing row"},
        {"SELECT 1/0", "DataError", "division by zero (SQLSTATE 22012)"},
        {"SELEC 1", "ProgrammingError", "(SQLSTATE 42601)"},
        {"SELECT * FROM nowhere", "ProgrammingError", "(SQLSTATE 42P01)"},
        {"COPY kept TO STDOUT", "NotSupportedError", "COPY"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        expect_exception(SCRIPT(cases[i].sql), OUTCOME_FAILURE, cases[i].type, cases[i].words);
        check_value(call("tests.sql", "[\"SELECT 1 AS value\"]"), "\"1\"");
    }
}

static void what_a_later_run_can_mend_is_a_retry(void **state)
{
    (void)state;
    expect_exception(SCRIPT(SERIALIZATION_FAILURE), OUTCOME_RETRY, "OperationalError",
                     "raced (SQLSTATE 40001)");
    pg_reset(own);
    assert_int_equal(pg_exec(own, "BEGIN; LOCK TABLE kept", NULL), 0);
    expect_exception(SCRIPT("BEGIN", "SET LOCAL lock_timeout = '20ms'", "SELECT * FROM kept"),
                     OUTCOME_RETRY, "OperationalError", "(SQLSTATE 55P03)");
    expect_exception(SCRIPT("BEGIN", "LOCK TABLE kept NOWAIT"), OUTCOME_RETRY, "OperationalError",
                     "(SQLSTATE 55P03)");
    pg_reset(own);
}

static void conflicts_are_tried_again_soon_and_then_less_soon(void **state)
{
    (void)state;
    static const struct {
        const char *retries;
        usec_t least, most;
    } cases[] = {
        {", \"celeriac_conflicts\": 1", 100 * USEC_PER_MSEC, 200 * USEC_PER_MSEC},
        {", \"retries\": 1, \"celeriac_conflicts\": 1", 200 * USEC_PER_MSEC, 400 * USEC_PER_MSEC},
        {", \"celeriac_conflicts\": 999999999999", 5 * USEC_PER_SEC, 10 * USEC_PER_SEC},
        {", \"celeriac_conflicts\": 9223372036854775776", 5 * USEC_PER_SEC, 10 * USEC_PER_SEC},
        {", \"retries\": 32, \"celeriac_conflicts\": 9223372036854775807", 5 * USEC_PER_SEC,
         10 * USEC_PER_SEC},
        {", \"retries\": 999999999999", 5 * USEC_PER_SEC, 10 * USEC_PER_SEC}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *message =
            message_of("tests.script", "[[\"" SERIALIZATION_FAILURE "\"]]", "{}", cases[i].retries);
        const struct frame_outcome *outcome = child_process_call(&process, message);
        free(message);
        assert_int_equal(outcome->kind, OUTCOME_RETRY);
        assert_true(outcome->conflict);
        assert_in_range(outcome->countdown_usec, cases[i].least, cases[i].most);
    }
}

static void a_deadlock_is_a_retry(void **state)
{
    (void)state;
    /* Each of the two waits for the other's row; the child waits last and finds the circle first.
     */
    static const char steps[] =
        "[[\"BEGIN\", \"UPDATE kept SET v = v WHERE v = 2\", \"SELECT pg_advisory_xact_lock(7)\","
        " \"DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP"
        " PERFORM pg_sleep(0.005); END LOOP; END $$\", \"UPDATE kept SET v = v WHERE v = 1\"]]";
    exec_own("TRUNCATE kept; INSERT INTO kept VALUES (1), (2); SET deadlock_timeout = '20s'");
    char *message = message_of("tests.script", steps, "{}", "");
    child_process_run(&process, message);
    free(message);
    while (int_of("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'") == 0)
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    exec_own("BEGIN; UPDATE kept SET v = v WHERE v = 1; UPDATE kept SET v = v WHERE v = 2");
    pg_reset(own);
    assert_int_equal(child_process_read(&process, 20000), 0);
    expect_exception(&process.frame.outcome, OUTCOME_RETRY, "OperationalError", "(SQLSTATE 40P01)");
}

static void the_next_success_clears_a_failure(void **state)
{
    (void)state;
    check_value(SCRIPT("-SELECT 1/0", "SELECT 1"), "\"\"");
    check_value(SCRIPT("SELECT 1", "-SELECT 1/0"), "\"22012\"");
    expect_exception(SCRIPT("-SELECT 1/0", "SELECT 1", "PLAIN FAIL"), OUTCOME_FAILURE,
                     "RuntimeError", "without cel_fail()");
    expect_exception(SCRIPT("-SELECT 1/0", "PLAIN FAIL"), OUTCOME_FAILURE, "DataError", "22012");
    expect_exception(SCRIPT("-SELECT 1/0", "PLAIN RETRY"), OUTCOME_RETRY, "DataError", "22012");
    expect_exception(SCRIPT("-" SERIALIZATION_FAILURE, "PLAIN FAIL"), OUTCOME_FAILURE,
                     "OperationalError", "40001");
    expect_exception(SCRIPT("BEGIN", "-SELECT 1/0", "ROLLBACK", "PLAIN FAIL"), OUTCOME_FAILURE,
                     "DataError", "22012");
    expect_exception(SCRIPT("-SELECT 1/0", "FAIL"), OUTCOME_FAILURE, "ValueError", "asked for");
}

static void an_overlooked_serialization_failure_is_a_retry_all_the_same(void **state)
{
    (void)state;
    expect_exception(SCRIPT("BEGIN", "-" SERIALIZATION_FAILURE, "SELECT 1"), OUTCOME_RETRY,
                     "OperationalError", "40001");
    expect_exception(SCRIPT("BEGIN", "-" SERIALIZATION_FAILURE, "COMMIT"), OUTCOME_RETRY,
                     "OperationalError", "40001");
    expect_exception(WRAPPED("-" SERIALIZATION_FAILURE), OUTCOME_RETRY, "OperationalError",
                     "40001");
    expect_exception(WRAPPED("-SELECT 1/0"), OUTCOME_FAILURE, "DataError", "22012");
}

/* --- transactions ----------------------------------------------------------------------------- */

static void transactions_and_savepoints_do_what_they_say(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_success(SCRIPT("BEGIN", "INSERT INTO kept VALUES (1)", "SAVEPOINT before card",
                          "INSERT INTO kept VALUES (2)", "-INSERT INTO kept VALUES (-1)",
                          "ROLLBACK TO before card", "INSERT INTO kept VALUES (4)",
                          "RELEASE before card", "COMMIT"));
    assert_int_equal(int_of("SELECT sum(v) AS n FROM kept"), 5);
    expect_success(SCRIPT("BEGIN", "INSERT INTO kept VALUES (8)", "ROLLBACK"));
    assert_int_equal(int_of("SELECT sum(v) AS n FROM kept"), 5);
}

/* It is seen before the task's own is committed. */
static void a_transaction_left_open_elsewhere_takes_the_tasks_own_back(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_exception(WRAPPED("INSERT INTO kept VALUES (1)", "ANALYTICS BEGIN"), OUTCOME_FAILURE,
                     "RuntimeError", "left a transaction open on database \"analytics\"");
    assert_int_equal(kept_rows(), 0);
    expect_success(WRAPPED("INSERT INTO kept VALUES (1)"));
    assert_int_equal(kept_rows(), 1);
}

static void a_replacement_that_is_not_returned_commits_nothing(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_exception(WRAPPED("INSERT INTO kept VALUES (1)", "REPLACE", "FAIL"), OUTCOME_FAILURE,
                     "ValueError", "asked for");
    assert_int_equal(kept_rows(), 0);
}

static void a_transaction_left_open_fails_the_task_and_is_rolled_back(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    static const char words[] =
        "the task left a transaction open on database \"default\"; it was rolled back";
    expect_exception(SCRIPT("BEGIN", "INSERT INTO kept VALUES (1)"), OUTCOME_FAILURE,
                     "RuntimeError", words);
    expect_exception(SCRIPT("BEGIN", "INSERT INTO kept VALUES (1)", "IGNORE"), OUTCOME_FAILURE,
                     "RuntimeError", words);
    assert_int_equal(kept_rows(), 0);
    expect_exception(call("tests.sql", "[\"BEGIN\", \"analytics\"]"), OUTCOME_FAILURE,
                     "RuntimeError", "on database \"analytics\"");
    /* a task that fails or retries leaves it open by nature, and says something else */
    expect_exception(SCRIPT("BEGIN", "INSERT INTO kept VALUES (1)", "FAIL"), OUTCOME_FAILURE,
                     "ValueError", "asked for");
    const struct frame_outcome *outcome = SCRIPT("BEGIN", "INSERT INTO kept VALUES (1)", "RETRY");
    assert_int_equal(outcome->kind, OUTCOME_RETRY);
    assert_int_equal(outcome->countdown_usec, 1000000);
    assert_int_equal(kept_rows(), 0);
    assert_int_equal(
        int_of("SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in%'"), 0);
}

static void the_transaction_around_a_task_ends_with_it(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_success(WRAPPED("INSERT INTO kept VALUES (1)"));
    assert_int_equal(kept_rows(), 1);
    expect_exception(WRAPPED("INSERT INTO kept VALUES (2)", "FAIL"), OUTCOME_FAILURE, "ValueError",
                     "asked for");
    assert_int_equal(WRAPPED("INSERT INTO kept VALUES (2)", "RETRY")->kind, OUTCOME_RETRY);
    assert_int_equal(WRAPPED("INSERT INTO kept VALUES (2)", "IGNORE")->kind, OUTCOME_IGNORE);
    expect_exception(WRAPPED("INSERT INTO kept VALUES (2)", "SELECT 1/0"), OUTCOME_FAILURE,
                     "DataError", "22012");
    expect_exception(WRAPPED("INSERT INTO kept VALUES (2)", "-SELECT 1/0"), OUTCOME_FAILURE,
                     "DataError", "22012");
    assert_int_equal(kept_rows(), 1);
    expect_success(
        WRAPPED("SAVEPOINT a", "-SELECT 1/0", "ROLLBACK TO a", "INSERT INTO kept VALUES (2)"));
    assert_int_equal(kept_rows(), 2);
}

static void a_task_cannot_end_the_transaction_around_it(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    static const char *const verbs[] = {"BEGIN", "COMMIT", "ROLLBACK"};
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        expect_exception(WRAPPED("INSERT INTO kept VALUES (1)", verbs[i]), OUTCOME_FAILURE,
                         "RuntimeError", "the task runs in a transaction of its own");
    assert_int_equal(kept_rows(), 0);
    expect_exception(WRAPPED("commit"), /* as a statement of its own */
                     OUTCOME_FAILURE, "RuntimeError",
                     "the task ended the transaction that it runs in");
}

static void a_deferred_constraint_fails_at_the_commit(void **state)
{
    (void)state;
    exec_own("DROP TABLE IF EXISTS late; CREATE TABLE late (v int UNIQUE DEFERRABLE INITIALLY "
             "DEFERRED)");
    expect_exception(WRAPPED("INSERT INTO late VALUES (1)", "INSERT INTO late VALUES (1)"),
                     OUTCOME_FAILURE, "IntegrityError", "(SQLSTATE 23505)");
    expect_exception(
        SCRIPT("BEGIN", "INSERT INTO late VALUES (1)", "INSERT INTO late VALUES (1)", "COMMIT"),
        OUTCOME_FAILURE, "IntegrityError", "(SQLSTATE 23505)");
    assert_int_equal(int_of("SELECT count(*) AS n FROM late"), 0);
}

/* --- the soft time limit ---------------------------------------------------------------------- */

static int64_t sleepers(void)
{
    return int_of("SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active'"
                  " AND query LIKE '%pg_sleep(66)%' AND pid <> pg_backend_pid()");
}

/* Runs a task that sleeps on the server, strikes, and waits for its outcome. */
static const struct frame_outcome *strike(const char *task, const char *steps)
{
    char *message = message_of(task, steps, "{}", "");
    child_process_run(&process, message);
    free(message);
    usec_t end = clock_mono() + 10 * USEC_PER_SEC;
    while (sleepers() == 0 && clock_mono() < end)
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    assert_int_equal(sleepers(), 1);
    kill(process.pid, SIGUSR1);
    assert_int_equal(child_process_read(&process, 10000), 0);
    assert_int_equal(process.frame.type, FRAME_OUTCOME);
    assert_int_equal(sleepers(), 0);
    return &process.frame.outcome;
}

static void the_soft_limit_ends_a_statement_on_the_server(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_soft_limit(strike("tests.script", "[[\"SELECT pg_sleep(66)\"]]"));
    expect_soft_limit(strike("tests.script_in_transaction",
                             "[[\"INSERT INTO kept VALUES (1)\", \"SELECT pg_sleep(66)\"]]"));
    expect_soft_limit(strike("tests.script", "[[\"-SELECT pg_sleep(66)\", \"PLAIN FAIL\"]]"));
    expect_soft_limit(strike("tests.script", "[[\"-SELECT pg_sleep(66)\", \"PLAIN RETRY\"]]"));
    expect_soft_limit(strike("tests.script", "[[\"-SELECT pg_sleep(66)\", \"SELECT 1/0\"]]"));
    assert_int_equal(kept_rows(), 0);
}

static void a_soft_limit_that_was_caught_leaves_the_database_usable(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    const struct frame_outcome *outcome =
        strike("tests.script", "[[\"-SELECT pg_sleep(66)\", \"INSERT INTO kept VALUES (1)\"]]");
    expect_success(outcome);
    assert_int_equal(kept_rows(), 1);
    outcome = strike("tests.script_in_transaction",
                     "[[\"SAVEPOINT a\", \"-SELECT pg_sleep(66)\", \"ROLLBACK TO a\","
                     " \"INSERT INTO kept VALUES (2)\"]]");
    expect_success(outcome);
    assert_int_equal(kept_rows(), 2);
}

static int start(void **state)
{
    (void)state;
    if (rig_open("CREATE TABLE kept (v int NOT NULL CHECK (v > 0));"
                 "CREATE ROLE somebody LOGIN PASSWORD 'another'"))
        return -1;
    start_child(&process, 600 * USEC_PER_SEC);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_has_the_database_and_others_by_name),
        cmocka_unit_test(the_connection_is_kept_from_task_to_task),
        cmocka_unit_test(an_old_connection_is_replaced),
        cmocka_unit_test(a_database_that_cannot_be_had_is_a_retry_with_a_reason),
        cmocka_unit_test(a_call_that_is_none_fails_the_task_alone),
        cmocka_unit_test(a_backend_that_goes_unnoticed_in_its_transaction_is_a_retry),
        cmocka_unit_test(a_terminated_backend_is_a_retry_and_the_next_task_runs),
        cmocka_unit_test(a_restart_of_the_server_between_tasks_is_not_noticed),
        cmocka_unit_test(errors_have_the_names_of_pythons_drivers),
        cmocka_unit_test(what_a_later_run_can_mend_is_a_retry),
        cmocka_unit_test(conflicts_are_tried_again_soon_and_then_less_soon),
        cmocka_unit_test(a_deadlock_is_a_retry),
        cmocka_unit_test(the_next_success_clears_a_failure),
        cmocka_unit_test(an_overlooked_serialization_failure_is_a_retry_all_the_same),
        cmocka_unit_test(transactions_and_savepoints_do_what_they_say),
        cmocka_unit_test(a_transaction_left_open_elsewhere_takes_the_tasks_own_back),
        cmocka_unit_test(a_replacement_that_is_not_returned_commits_nothing),
        cmocka_unit_test(a_transaction_left_open_fails_the_task_and_is_rolled_back),
        cmocka_unit_test(the_transaction_around_a_task_ends_with_it),
        cmocka_unit_test(a_task_cannot_end_the_transaction_around_it),
        cmocka_unit_test(a_deferred_constraint_fails_at_the_commit),
        cmocka_unit_test(the_soft_limit_ends_a_statement_on_the_server),
        cmocka_unit_test(a_soft_limit_that_was_caught_leaves_the_database_usable),
    };
    return cmocka_run_group_tests(tests, start, rig_close);
}
