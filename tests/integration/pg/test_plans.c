/* Prepared statements and time-outs of store/pg.c on a real server. */
#include "store/pg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/postgres_server.h"

static struct postgres_server server;
static struct pg *pg;

static void exec_ok(struct pg *on, const char *sql)
{
    struct cel_error err = {0};
    if (pg_exec(on, sql, &err))
        fail_msg("%s: %s", sql, err.text);
}

static int64_t query(const char *sql, const struct cel_param *params, size_t count)
{
    struct cel_rows *rows = NULL;
    struct cel_error err = {0};
    if (pg_query(pg, sql, params, count, &rows, &err))
        fail_msg("%s: %s", sql, err.text);
    int64_t n = cel_row_int(rows, 0, "n");
    cel_rows_free(rows);
    return n;
}

static void exec_ok_planned(const char *sql)
{
    struct cel_error err = {0};
    if (pg_query(pg, sql, CEL_NO_PARAMS, NULL, &err))
        fail_msg("%s: %s", sql, err.text);
}

/* As a simple statement, which is never prepared. */
static int64_t int_of(const char *sql)
{
    struct cel_rows *rows = NULL;
    assert_int_equal(pg_exec_rows(pg, sql, &rows, NULL), 0);
    int64_t n = cel_row_int(rows, 0, "n");
    cel_rows_free(rows);
    return n;
}

static int64_t plans(void)
{
    return int_of("SELECT count(*) AS n FROM pg_prepared_statements");
}

static int64_t ms_of(const char *setting)
{
    char sql[160];
    snprintf(sql, sizeof(sql),
             "SELECT extract(epoch FROM current_setting('%s')::interval) * 1000 AS n", setting);
    return int_of(sql);
}

/* --- prepared statements ---------------------------------------------------------------------- */

static void a_statement_that_repeats_is_prepared(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 5; i++) {
        assert_int_equal(query("SELECT $1::int + 1 AS n", CEL_PARAMS(cel_p_int(i))), i + 1);
        assert_int_equal(plans(), i ? 1 : 0);
    }
    assert_int_equal(int_of("SELECT generic_plans + custom_plans AS n FROM pg_prepared_statements"),
                     4);
}

static void other_types_are_another_statement(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(query("SELECT octet_length($1) AS n", CEL_PARAMS(cel_p_text("\\x00ff"))),
                         6);
        assert_int_equal(
            query("SELECT octet_length($1) AS n", CEL_PARAMS(cel_p_bytes("\0\xff", 2))), 2);
    }
    assert_int_equal(plans(), 2);
}

static void there_are_so_many_at_most_and_the_oldest_go(void **state)
{
    (void)state;
    char sql[40];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 60; i++) {
            snprintf(sql, sizeof(sql), "SELECT %d AS n", i);
            assert_int_equal(query(sql, CEL_NO_PARAMS), i);
        }
    }
    assert_int_equal(plans(), 60);
    for (int i = 100; i < 160; i++) { /* each seen once: they need places, too */
        snprintf(sql, sizeof(sql), "SELECT %d AS n", i);
        assert_int_equal(query(sql, CEL_NO_PARAMS), i);
    }
    assert_int_equal(plans(), 4);
    assert_int_equal(query("SELECT 59 AS n", CEL_NO_PARAMS), 59);
    assert_int_equal(plans(), 4);
}

static void a_failed_transaction_can_be_rolled_back_when_there_is_no_place(void **state)
{
    (void)state;
    char sql[40];
    for (int i = 0; i < 128; i++) {
        snprintf(sql, sizeof(sql), "SELECT %d AS n", i / 2);
        assert_int_equal(query(sql, CEL_NO_PARAMS), i / 2);
    }
    assert_int_equal(plans(), 64);
    exec_ok(pg, "BEGIN; SAVEPOINT here");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pg_exec(pg, "SELECT 1/0", NULL), PG_E_FAILED);
        exec_ok_planned("ROLLBACK TO SAVEPOINT here");
    }
    assert_int_equal(pg_exec(pg, "SELECT 1/0", NULL), PG_E_FAILED);
    assert_int_equal(pg_query(pg, "SELECT 1 AS n", CEL_NO_PARAMS, NULL, NULL), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "25P02");
    exec_ok_planned("ROLLBACK");
    assert_false(pg_in_transaction(pg));
    assert_int_equal(plans(), 64);
}

static void what_is_given_once_takes_no_place(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct cel_rows *rows = NULL;
        assert_int_equal(
            pg_query_once(pg, "SELECT $1::int AS n", CEL_PARAMS(cel_p_int(i)), &rows, NULL), 0);
        assert_int_equal(cel_row_int(rows, 0, "n"), i);
        cel_rows_free(rows);
        assert_int_equal(plans(), 0);
    }
}

static void a_changed_table_is_met_with_a_new_plan(void **state)
{
    (void)state;
    struct pg *other = pg_new("other", server.uri, 0, NULL);
    exec_ok(other, "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 7 AS n");
    for (int i = 0; i < 3; i++)
        assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);
    exec_ok(other, "ALTER TABLE t ADD COLUMN more int");
    assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);

    assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);
    exec_ok(pg, "DEALLOCATE ALL");
    assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);

    /* what was done before it in the transaction is lost, so the whole is to be done again */
    assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);
    exec_ok(pg, "BEGIN");
    exec_ok(other, "ALTER TABLE t ADD COLUMN still_more int");
    assert_int_equal(pg_query(pg, "SELECT * FROM t", CEL_NO_PARAMS, NULL, NULL), PG_E_TRANSIENT);
    assert_string_equal(pg_sqlstate(pg), "0A000");
    assert_true(pg_reset(pg));
    exec_ok(pg, "BEGIN");
    assert_int_equal(query("SELECT * FROM t", CEL_NO_PARAMS), 7);
    assert_int_equal(pg_commit(pg, NULL), 0);
    pg_free(other);
}

static void the_same_sqlstate_for_another_reason_stays_final(void **state)
{
    (void)state;
    static const char sql[] = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '0A000'; END $$";
    for (int i = 0; i < 3; i++)
        assert_int_equal(pg_query(pg, sql, CEL_NO_PARAMS, NULL, NULL), PG_E_FAILED);
    exec_ok(pg, "BEGIN");
    assert_int_equal(pg_query(pg, sql, CEL_NO_PARAMS, NULL, NULL), PG_E_FAILED);
    pg_reset(pg);
}

static void a_new_connection_begins_without(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        query("SELECT 1 AS n", CEL_NO_PARAMS);
    assert_int_equal(pg_exec(pg, "SELECT pg_terminate_backend(pg_backend_pid())", NULL),
                     PG_E_TRANSIENT);
    pg_reset(pg);
    for (int i = 0; i < 3; i++)
        assert_int_equal(query("SELECT 1 AS n", CEL_NO_PARAMS), 1);
}

/* --- time-outs -------------------------------------------------------------------------------- */

static void the_servers_time_outs_follow_the_limits(void **state)
{
    (void)state;
    usec_t now = clock_mono();
    assert_int_equal(ms_of("statement_timeout"), 0);
    pg_set_limits(pg, USEC_NEVER, now + 30 * USEC_PER_SEC);
    assert_in_range(ms_of("statement_timeout"), 25000, 31000);
    assert_in_range(ms_of("lock_timeout"), 15000, 22500);
    pg_set_limits(pg, now + 20 * USEC_PER_SEC, USEC_NEVER);
    assert_int_equal(ms_of("statement_timeout"), 0);
    assert_in_range(ms_of("lock_timeout"), 10000, 15000);
    pg_set_limits(pg, USEC_NEVER, now + 365 * 24 * 3600 * USEC_PER_SEC); /* more than it takes */
    assert_int_equal(ms_of("statement_timeout"), 0);
    pg_set_limits(pg, USEC_NEVER, now); /* already past: soon, not never */
    assert_in_range(ms_of("statement_timeout"), 1, 1000);
    pg_reset(pg);
    assert_int_equal(ms_of("statement_timeout"), 0);
    assert_int_equal(ms_of("lock_timeout"), 0);
}

static void tasks_of_one_kind_are_told_once(void **state)
{
    (void)state;
    /* what the session was last told by anybody but us stays: it was not told again */
    pg_set_limits(pg, USEC_NEVER, clock_mono() + 3600 * USEC_PER_SEC);
    exec_ok(pg, "SET statement_timeout = '59min'");
    for (int i = 0; i < 3; i++) {
        pg_reset(pg);
        pg_set_limits(pg, USEC_NEVER, clock_mono() + 3600 * USEC_PER_SEC);
        assert_int_equal(ms_of("statement_timeout"), 59 * 60 * 1000);
    }
}

static void a_shorter_time_out_of_the_servers_stands(void **state)
{
    (void)state;
    exec_ok(pg, "ALTER ROLE celeriac SET statement_timeout = '2s'");
    exec_ok(pg, "ALTER ROLE celeriac SET lock_timeout = '1min'");
    struct pg *before = pg;
    pg = pg_new("strict", server.uri, 0, NULL);
    pg_set_limits(pg, USEC_NEVER, clock_mono() + 30 * USEC_PER_SEC);
    assert_int_equal(ms_of("statement_timeout"), 2000);
    assert_in_range(ms_of("lock_timeout"), 15000, 22500);
    pg_reset(pg);
    assert_int_equal(ms_of("lock_timeout"), 60000);
    pg_free(pg);
    pg = before;
    exec_ok(pg, "ALTER ROLE celeriac RESET ALL");
}

static void a_statement_ends_a_little_after_the_limit_and_a_lock_wait_before(void **state)
{
    (void)state;
    struct pg *other = pg_new("other", server.uri, 0, NULL);
    exec_ok(other, "DROP TABLE IF EXISTS busy; CREATE TABLE busy AS SELECT 1 AS n");
    exec_ok(other, "BEGIN; LOCK TABLE busy");
    usec_t begin = clock_mono();
    pg_set_limits(pg, USEC_NEVER, begin + 2 * USEC_PER_SEC);
    assert_int_equal(pg_exec(pg, "SELECT * FROM busy", NULL), PG_E_TRANSIENT);
    assert_string_equal(pg_sqlstate(pg), "55P03");
    pg_reset(pg);
    begin = clock_mono();
    pg_set_limits(pg, USEC_NEVER, begin + USEC_PER_SEC);
    assert_int_equal(pg_exec(pg, "SELECT pg_sleep(60)", NULL), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "57014");
    assert_in_range(clock_mono() - begin, USEC_PER_SEC, 20 * USEC_PER_SEC);
    pg_free(other);
}

static int begin_test(void **state)
{
    (void)state;
    pg = pg_new("default", server.uri, 0, NULL);
    return pg ? 0 : -1;
}

static int end_test(void **state)
{
    (void)state;
    pg = pg_free(pg);
    return 0;
}

static int open_server(void **state)
{
    (void)state;
    return postgres_server_open(&server) ? 0 : -1;
}

static int close_server(void **state)
{
    (void)state;
    postgres_server_close(&server);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin_test, end_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_statement_that_repeats_is_prepared),
        TEST(other_types_are_another_statement),
        TEST(there_are_so_many_at_most_and_the_oldest_go),
        TEST(a_failed_transaction_can_be_rolled_back_when_there_is_no_place),
        TEST(what_is_given_once_takes_no_place),
        TEST(a_changed_table_is_met_with_a_new_plan),
        TEST(the_same_sqlstate_for_another_reason_stays_final),
        TEST(a_new_connection_begins_without),
        TEST(the_servers_time_outs_follow_the_limits),
        TEST(tasks_of_one_kind_are_told_once),
        TEST(a_shorter_time_out_of_the_servers_stands),
        TEST(a_statement_ends_a_little_after_the_limit_and_a_lock_wait_before),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
