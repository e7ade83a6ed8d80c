/* The helpers of a task's database in a real pool process on a real server: columns, nested
 * transactions, cursors and COPY; what failures leave behind, and how much memory a million rows
 * take. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/json.h"
#include "tests/integration/pg/child_rig.h"

#define PRICES(count)                                                                              \
    "SELECT g AS id, md5(g::text) AS name, mod(g, 7) AS price FROM generate_series(1, " count      \
    ") g WHERE g >= $1"

static int64_t kept_sum(void)
{
    return int_of("SELECT coalesce(sum(v), 0) AS n FROM kept");
}

static void start_child(void)
{
    const struct frame_pair database = {STR("default"), str_of(server.uri), STR_NONE};
    rig_start_child(&process, STR(MODULES "/tables.so"), &database, 1, 600 * USEC_PER_SEC);
}

/* Arguments by name; a statement in SQL has no quotes of JSON's. */
static const struct frame_outcome *call(const char *name, const char *kwargs)
{
    return run_task(name, "[]", kwargs);
}

static void expect_failure(const struct frame_outcome *outcome, const char *type, const char *words)
{
    expect_exception(outcome, OUTCOME_FAILURE, type, words);
}

static void expect_quiet(void)
{
    assert_int_equal(
        int_of("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
               " AND pid <> pg_backend_pid() AND state <> 'idle'"),
        0);
}

/* --- columns ---------------------------------------------------------------------------------- */

static void a_column_that_cannot_be_read_fails_the_task_with_a_reason(void **state)
{
    (void)state;
    check_value(
        call("tables.read_column",
             "{\"type\": \"time\", \"sql\": \"SELECT '1970-01-02+00'::timestamptz AS value\"}"),
        "86400000000");
    check_value(call("tables.read_column",
                     "{\"type\": \"json\", \"sql\": \"SELECT '[1, true]'::jsonb AS value\"}"),
                "[1, true]");
    check_value(call("tables.read_column",
                     "{\"type\": \"json\", \"sql\": \"SELECT NULL::jsonb AS value\"}"),
                "null");
    check_value(call("tables.read_column",
                     "{\"type\": \"bytes\", \"sql\": \"SELECT 'abc'::bytea AS value\"}"),
                "\"abc\"");
    check_value(call("tables.read_column",
                     "{\"type\": \"array\", \"sql\": \"SELECT ARRAY[1, NULL] AS value\"}"),
                "[\"1\", null]");
    expect_failure(
        call("tables.read_column", "{\"type\": \"json\", \"sql\": \"SELECT 1 AS value\"}"),
        "DataError", "database \"default\": column \"value\" is of another type");
    expect_failure(
        call("tables.read_column", "{\"type\": \"bytes\", \"sql\": \"SELECT 1 AS other\"}"),
        "DataError", "row 0 has no column \"value\"");
    expect_failure(
        call("tables.read_column", "{\"type\": \"array\", \"sql\": \"SELECT 1 AS value\"}"),
        "DataError", "is no array of one dimension");
}

/* --- transactions ----------------------------------------------------------------------------- */

#define INSERT(n) "\"INSERT INTO kept VALUES (" #n ")\""

static void nested_transactions_keep_what_ended_well(void **state)
{
    (void)state;
    static const struct {
        const char *steps;
        int64_t sum;
    } cases[] = {
        {"[[" INSERT(1) "]]", 1},
        {"[[" INSERT(1) ", [" INSERT(2) ", [" INSERT(4) "]]]]", 7},
        {"[[" INSERT(1) ", [\"-\", " INSERT(2) ", \"FAIL\"], " INSERT(4) "]]", 5},
        {"[[" INSERT(1) ", [\"-\", " INSERT(2) ", \"IGNORE\"], " INSERT(4) "]]", 5},
        {"[[" INSERT(1) ", [\"-\", " INSERT(2) ", \"SELECT 1/0\"], " INSERT(4) "]]", 5},
        {"[[" INSERT(1) ", [\"-\", " INSERT(2) ", [\"-\", " INSERT(4) ", \"FAIL\"], " INSERT(
             8) ", \"FAIL\"], " INSERT(16) "]]",
         17},
        {"[[" INSERT(1) ", [\"-\", " INSERT(2) ", [" INSERT(4) "], \"FAIL\"], [" INSERT(8) "]]]",
         9},
        {"[[\"-\", " INSERT(1) ", \"FAIL\"], " INSERT(2) "]", 2},
    };
    static const char *const tasks[] = {"tables.nest", "tables.nest_in_transaction"};
    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        char kwargs[1024];
        exec_own("TRUNCATE kept");
        snprintf(kwargs, sizeof(kwargs), "{\"steps\": %s}", cases[i / 2].steps);
        check_value(call(tasks[i % 2], kwargs), "");
        assert_int_equal(kept_sum(), cases[i / 2].sum);
    }
    expect_quiet();
}

static void the_failure_of_a_nested_transaction_is_the_tasks(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    expect_failure(
        call("tables.nest", "{\"steps\": [[" INSERT(1) ", [" INSERT(2) ", \"SELECT 1/0\"]]]}"),
        "DataError", "22012");
    expect_failure(call("tables.nest", "{\"steps\": [[" INSERT(1) ", [\"FAIL\"]]]}"), "ValueError",
                   "asked for");
    expect_failure(call("tables.nest", "{\"steps\": [[" INSERT(1) ", \"COMMIT\"]]}"),
                   "RuntimeError", "the function ended the transaction that it runs in");
    assert_int_equal(kept_sum(), 1); /* that the function committed itself */
    exec_own("TRUNCATE kept");
    /* a failure that was overlooked */
    expect_failure(
        call("tables.nest",
             "{\"steps\": [[" INSERT(
                 1) ", [\"-\", [\"-\", \"SELECT 1/0\"], \"SELECT 1/0\"], \"SELECT 1/0\"]]}"),
        "DataError", "22012");
    exec_own("DROP TABLE IF EXISTS late; CREATE TABLE late (v int UNIQUE DEFERRABLE INITIALLY "
             "DEFERRED)");
    expect_failure(call("tables.nest", "{\"steps\": [[\"INSERT INTO late VALUES (1), (1)\"]]}"),
                   "IntegrityError", "23505");
    expect_exception(
        call("tables.nest", "{\"steps\": [[[\"SELECT pg_terminate_backend(pg_backend_pid())\"]]]}"),
        OUTCOME_RETRY, "OperationalError", "the connection is lost");
    assert_int_equal(kept_sum(), 0);
    expect_quiet();
}

static void the_soft_limit_does_not_keep_a_rollback_from_being_done(void **state)
{
    (void)state;
    static const char caught[] = "{\"steps\": [[" INSERT(1) ", [\"-\", " INSERT(
        2) ","
           " \"STRIKE\", \"FAIL\"], [\"-\", \"SELECT pg_sleep(66)\"], " INSERT(4) "]]}";
    static const char not_caught[] = "{\"steps\": [[" INSERT(8) ", [\"-\", " INSERT(
        16) ","
            " \"STRIKE\", \"FAIL\"], \"SELECT pg_sleep(66)\"]]}";
    exec_own("TRUNCATE kept");
    check_value(call("tables.nest", caught), "");
    assert_int_equal(kept_sum(), 5);
    expect_soft_limit(call("tables.nest", not_caught));
    assert_int_equal(kept_sum(), 5);
}

static void a_read_only_task_reads(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    check_value(call("tables.read_only", "{\"steps\": [\"SELECT * FROM kept\", [\"SELECT 1\"]]}"),
                "");
    expect_failure(call("tables.read_only", "{\"steps\": [" INSERT(1) "]}"), "InternalError",
                   "cannot execute INSERT in a read-only transaction (SQLSTATE 25006)");
    check_value(call("tables.nest", "{\"steps\": [" INSERT(1) "]}"), "");
    assert_int_equal(kept_sum(), 1);
}

/* --- cursors ---------------------------------------------------------------------------------- */

static void a_cursor_gives_every_row_once(void **state)
{
    (void)state;
    static const char *const chunks[] = {"0", "1", "7", "99", "100", "101"};
    for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
        char kwargs[256];
        snprintf(kwargs, sizeof(kwargs),
                 "{\"chunk\": %s, \"least\": 1, \"sql\": \"" PRICES("100") "\"}", chunks[i]);
        check_value(call("tables.add_up", kwargs), "297");
    }
    check_value(call("tables.add_up", "{\"least\": 99, \"sql\": \"" PRICES("100") "\"}"), "3");
    check_value(call("tables.add_up", "{\"least\": 101, \"sql\": \"" PRICES("100") "\"}"), "0");
    check_value(call("tables.merge", "{}"), "[11, 24, 39, 0]");
}

static void statements_between_the_rows_may_fail(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    check_value(call("tables.add_up_writing",
                     "{\"chunk\": 9, \"between\": " INSERT(1) ", \"sql\": \"" PRICES("100") "\"}"),
                "297");
    assert_int_equal(kept_sum(), 12);
    check_value(call("tables.add_up_writing",
                     "{\"chunk\": 9, \"between\": \"SELECT 1/0\", \"sql\": \"" PRICES("100") "\"}"),
                "297");
}

static void the_failure_of_a_cursor_is_the_tasks(void **state)
{
    (void)state;
    expect_failure(call("tables.add_up_outside", "{\"sql\": \"" PRICES("100") "\"}"),
                   "InternalError", "DECLARE CURSOR can only be used in transaction blocks");
    expect_failure(call("tables.add_up", "{\"sql\": \"SELEC $1\"}"), "ProgrammingError", "42601");
    expect_failure(call("tables.add_up", "{\"chunk\": 10, \"sql\": \"SELECT 1 / (50 - g) AS price "
                                         "FROM generate_series(1, 100) g WHERE g > $1\"}"),
                   "DataError", "22012");
    expect_exception(
        call("tables.add_up",
             "{\"chunk\": 1, \"between\": \"SELECT pg_terminate_backend(pg_backend_pid())\", "
             "\"sql\": \"" PRICES("100") "\"}"),
        OUTCOME_RETRY, "OperationalError", "the connection");
    check_value(call("tables.add_up", "{\"sql\": \"" PRICES("100") "\"}"), "297");
    expect_quiet();
}

/* --- COPY ------------------------------------------------------------------------------------- */

#define GOODS  "\"sql\": \"COPY goods FROM STDIN\""
#define THINGS "\"sql\": \"COPY things FROM STDIN\""

static void rows_of_every_type_are_copied_in(void **state)
{
    (void)state;
    exec_own("TRUNCATE goods");
    check_value(call("tables.copy_in", "{\"how\": \"goods\", \"rows\": 5000, " GOODS "}"), "5000");
    assert_int_equal(int_of("SELECT count(*) AS n FROM goods WHERE"
                            " name = E'tab\\t line\\n back\\\\slash \\\\N ' || id AND price = "
                            "12345678901234567890.10"
                            " AND born = to_timestamp(id) AND image = '\\x005c090a0d'"
                            " AND tags = ARRAY['a,b', NULL, E'\\\\\"\\t\\n']"
                            " AND extra = jsonb_build_object('id', id, 'say', E'\"x\"\\n')"
                            " AND flag AND weight = 0.1::float8 AND nothing IS NULL"),
                     5000);
}

static void text_is_copied_in_as_it_is(void **state)
{
    (void)state;
    exec_own("TRUNCATE things");
    check_value(call("tables.copy_in",
                     "{\"how\": \"csv\", \"sql\": \"COPY things FROM STDIN WITH (FORMAT csv)\"}"),
                "2");
    assert_int_equal(int_of("SELECT count(*) AS n FROM things WHERE name = E'a\\nb' OR name = 'x'"),
                     2);
    exec_own("TRUNCATE things");
    check_value(call("tables.copy_in", "{\"how\": \"large\", \"rows\": 3000000, " THINGS "}"), "1");
    assert_int_equal(int_of("SELECT length(name) AS n FROM things"), 3000001);
    check_value(call("tables.copy_in", "{\"rows\": 0, " THINGS "}"), "0");
}

static const struct {
    const char *kwargs, *type, *words;
} broken_copies[] = {
    {"\"how\": \"stop\", \"rows\": 20000, " THINGS, "ValueError", "half-way"},
    {"\"how\": \"stop\", \"rows\": 0, " THINGS, "ValueError", "half-way"},
    {"\"how\": \"json\", " THINGS, "DataError", "row 1 has a value that cannot be written"},
    {"\"how\": \"overlooked\", " THINGS, "DataError", "row 1 has a value that cannot be written"},
    {"\"how\": \"query\", " THINGS, "OperationalError", "a COPY is under way on this connection"},
    {"\"rows\": 200000, \"sql\": \"COPY kept FROM STDIN\"", "DataError", "extra data after last"},
    {"\"rows\": 9, \"sql\": \"COPY few FROM STDIN\"", "IntegrityError", "23514"},
    {"\"sql\": \"COPY nowhere FROM STDIN\"", "ProgrammingError", "42P01"},
    {"\"sql\": \"SELECT 1\"", "ProgrammingError", "no COPY FROM STDIN"},
};

static void a_copy_that_fails_half_way_keeps_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(broken_copies); i++) {
        char kwargs[512];
        exec_own("TRUNCATE things, kept, few");
        snprintf(kwargs, sizeof(kwargs), "{%s}", broken_copies[i].kwargs);
        expect_failure(call("tables.copy_in", kwargs), broken_copies[i].type,
                       broken_copies[i].words);
        expect_failure(call("tables.copy_in_transaction", kwargs), broken_copies[i].type,
                       broken_copies[i].words);
        /* caught: outside of a transaction, and in one that goes on */
        snprintf(kwargs, sizeof(kwargs), "{\"may_fail\": true, %s}", broken_copies[i].kwargs);
        check_value(call("tables.copy_in", kwargs), "0");
        snprintf(kwargs, sizeof(kwargs), "{\"may_fail\": true, \"nested\": true, %s}",
                 broken_copies[i].kwargs);
        check_value(call("tables.copy_in_transaction", kwargs), "0");
        assert_int_equal(kept_sum(), 2000);
        assert_int_equal(
            int_of("SELECT (SELECT count(*) FROM things) + (SELECT count(*) FROM few) AS n"), 0);
    }
    expect_quiet();
}

static void a_failed_copy_fails_its_transaction(void **state)
{
    (void)state;
    exec_own("TRUNCATE things, kept");
    expect_failure(
        call("tables.copy_in_transaction", "{\"may_fail\": true, \"how\": \"stop\", " THINGS "}"),
        "ValueError", "half-way");
    assert_int_equal(kept_sum(), 0);
}

static void rows_are_copied_out_until_the_reader_stops(void **state)
{
    (void)state;
    exec_own("TRUNCATE kept");
    check_value(
        call("tables.copy_out", "{\"sql\": \"COPY (SELECT generate_series(1, 50000)) TO STDOUT\"}"),
        "50000");
    check_value(call("tables.copy_out", "{\"sql\": \"COPY (SELECT 1 WHERE false) TO STDOUT\"}"),
                "0");
    static const struct {
        const char *kwargs, *type, *words;
    } cases[] = {
        {"\"how\": \"stop\", \"sql\": \"COPY (SELECT generate_series(1, 2000000000)) TO STDOUT\"",
         "ValueError", "half-way"},
        {"\"how\": \"stop\", \"sql\": \"COPY (SELECT generate_series(1, 3)) TO STDOUT\"",
         "ValueError", "half-way"},
        {"\"how\": \"query\", \"sql\": \"COPY (SELECT generate_series(1, 2000000000)) TO STDOUT\"",
         "OperationalError", "a COPY is under way"},
        {"\"sql\": \"COPY (SELECT 1 / (500 - g) FROM generate_series(1, 1000) g) TO STDOUT\"",
         "DataError", "22012"},
        {"\"sql\": \"SELECT 1\"", "ProgrammingError", "no COPY TO STDOUT"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char kwargs[512];
        snprintf(kwargs, sizeof(kwargs), "{%s}", cases[i].kwargs);
        expect_failure(call("tables.copy_out", kwargs), cases[i].type, cases[i].words);
        expect_failure(call("tables.copy_out_transaction", kwargs), cases[i].type, cases[i].words);
        snprintf(kwargs, sizeof(kwargs), "{\"may_fail\": true, \"nested\": true, %s}",
                 cases[i].kwargs);
        check_value(call("tables.copy_out_transaction", kwargs), "0");
        assert_int_equal(kept_sum(), 1000 * (int64_t)(i + 1));
        expect_quiet();
    }
    expect_failure(call("tables.copy_out", "{" THINGS "}"), "NotSupportedError", "COPY needs");
    expect_failure(call("tables.copy_in", "{\"sql\": \"COPY things TO STDOUT\"}"),
                   "NotSupportedError", "COPY needs");
    check_value(call("tables.copy_in", "{\"rows\": 0, " THINGS "}"), "0");
}

/* --- strikes ---------------------------------------------------------------------------------- */

static const char endless_in[] = "{\"rows\": 2000000000, " THINGS "%s}";
static const char stuck_in[] = "{\"rows\": 2000000000, \"sql\": \"COPY stuck FROM STDIN\"%s}";
static const char endless_out[] =
    "{\"sql\": \"COPY (SELECT generate_series(1, 2000000000)) TO STDOUT\", \"rows\": -1%s}";

/* Begins a task and waits until its COPY is well under way. */
static void begin_copy(const char *task, const char *format, const char *more, int64_t tuples)
{
    char kwargs[512], sql[160];
    snprintf(kwargs, sizeof(kwargs), format, more);
    char *message = message_of(task, "[]", kwargs, "");
    child_process_run(&process, message);
    free(message);
    snprintf(sql, sizeof(sql),
             "SELECT count(*) AS n FROM pg_stat_progress_copy WHERE tuples_processed >= %lld",
             (long long)tuples);
    usec_t end = clock_mono() + 20 * USEC_PER_SEC;
    while (int_of(sql) == 0 && clock_mono() < end)
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    assert_int_equal(int_of(sql), 1);
}

static const struct frame_outcome *read_outcome(void)
{
    assert_int_equal(child_process_read(&process, 20000), 0);
    assert_int_equal(process.frame.type, FRAME_OUTCOME);
    return &process.frame.outcome;
}

static void the_soft_limit_ends_a_copy(void **state)
{
    (void)state;
    static const struct {
        const char *task, *format;
        int64_t tuples;
    } cases[] = {{"tables.copy_in", endless_in, 10000},
                 {"tables.copy_in_transaction", endless_in, 10000},
                 {"tables.copy_in_transaction", stuck_in, 0},
                 {"tables.copy_out", endless_out, 10000},
                 {"tables.copy_out_transaction", endless_out, 10000}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        exec_own("TRUNCATE kept, things");
        begin_copy(cases[i].task, cases[i].format, "", cases[i].tuples);
        kill(process.pid, SIGUSR1);
        expect_soft_limit(read_outcome());
        expect_quiet();
        begin_copy(cases[i].task, cases[i].format, ", \"nested\": true, \"may_fail\": true",
                   cases[i].tuples);
        kill(process.pid, SIGUSR1);
        check_value(read_outcome(), "0");
        assert_int_equal(kept_sum(), 1000);
        assert_int_equal(int_of("SELECT count(*) AS n FROM things"), 0);
        expect_quiet();
    }
}

static void a_connection_lost_in_a_copy_is_a_retry(void **state)
{
    (void)state;
    static const struct {
        const char *task, *format;
    } cases[] = {{"tables.copy_in", endless_in},
                 {"tables.copy_in_transaction", endless_in},
                 {"tables.copy_out", endless_out}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin_copy(cases[i].task, cases[i].format, "", 10000);
        exec_own("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_copy");
        expect_exception(read_outcome(), OUTCOME_RETRY, "OperationalError",
                         "the connection is lost");
        check_value(call("tables.copy_in", "{\"rows\": 0, " THINGS "}"), "0");
    }
    assert_int_equal(int_of("SELECT count(*) AS n FROM things"), 0);
    expect_quiet();
}

/* --- memory ----------------------------------------------------------------------------------- */

static int64_t status_kb(const char *key)
{
    char path[64], line[256];
    long long kb = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)process.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (kb < 0 && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtoll(line + strlen(key), NULL, 10);
    }
    fclose(file);
    assert_true(kb > 0);
    return kb;
}

/* By how much a call raises the peak of a fresh process above what that has when idle. */
static int64_t peak_kb(const char *task, const char *kwargs, const char *value)
{
    char path[64];
    child_process_end(&process);
    start_child();
    snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)process.pid);
    check_value(call("tables.read_only", "{\"steps\": [\"SELECT 1\"]}"), "");
    int64_t idle = status_kb("VmRSS:");
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "5", 1), 1); /* forgets the peak so far */
    close(fd);
    check_value(call(task, kwargs), value);
    int64_t peak = status_kb("VmHWM:") - idle;
    print_message("%s: %lld KiB above idle (%lld KiB)\n", task, (long long)peak, (long long)idle);
    return peak;
}

static void a_million_rows_take_little_memory(void **state)
{
    (void)state;
#ifdef MEMORY_IS_KEPT
    skip();
#endif
    static const char sum[] = "2999998";
    exec_own("TRUNCATE things");
    assert_in_range(peak_kb("tables.add_up", "{\"sql\": \"" PRICES("1000000") "\"}", sum), 0,
                    20 * 1024);
    assert_in_range(peak_kb("tables.copy_in", "{\"rows\": 1000000, " THINGS "}", "1000000"), 0,
                    20 * 1024);
    assert_in_range(
        peak_kb("tables.copy_out", "{\"rows\": -1, \"sql\": \"COPY things TO STDOUT\"}", "1000000"),
        0, 20 * 1024);
    /* in one piece, to see that it is measured */
    assert_true(peak_kb("tables.add_up", "{\"chunk\": 2000000, \"sql\": \"" PRICES("1000000") "\"}",
                        sum) > 50 * 1024);
}

static int start(void **state)
{
    (void)state;
    if (rig_open(
            "CREATE TABLE kept (v int CHECK (v > 0));"
            "CREATE TABLE few (v int CHECK (v < 5), name text);"
            "CREATE TABLE things (id bigint, name text);"
            "CREATE TABLE goods (id bigint PRIMARY KEY, name text, price numeric, born timestamptz,"
            " image bytea, tags text[], extra jsonb, flag boolean, weight float8, nothing text);"
            "CREATE TABLE stuck (id bigint, name text);"
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(66); RETURN new; END';"
            "CREATE TRIGGER wait BEFORE INSERT ON stuck FOR EACH ROW EXECUTE FUNCTION wait()"))
        return -1;
    start_child();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_that_cannot_be_read_fails_the_task_with_a_reason),
        cmocka_unit_test(nested_transactions_keep_what_ended_well),
        cmocka_unit_test(the_failure_of_a_nested_transaction_is_the_tasks),
        cmocka_unit_test(the_soft_limit_does_not_keep_a_rollback_from_being_done),
        cmocka_unit_test(a_read_only_task_reads),
        cmocka_unit_test(a_cursor_gives_every_row_once),
        cmocka_unit_test(statements_between_the_rows_may_fail),
        cmocka_unit_test(the_failure_of_a_cursor_is_the_tasks),
        cmocka_unit_test(rows_of_every_type_are_copied_in),
        cmocka_unit_test(text_is_copied_in_as_it_is),
        cmocka_unit_test(a_copy_that_fails_half_way_keeps_nothing),
        cmocka_unit_test(a_failed_copy_fails_its_transaction),
        cmocka_unit_test(rows_are_copied_out_until_the_reader_stops),
        cmocka_unit_test(the_soft_limit_ends_a_copy),
        cmocka_unit_test(a_connection_lost_in_a_copy_is_a_retry),
        cmocka_unit_test(a_million_rows_take_little_memory),
    };
    return cmocka_run_group_tests(tests, start, rig_close);
}
