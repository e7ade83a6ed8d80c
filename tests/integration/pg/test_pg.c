/* store/pg.c against a real server: values both ways, errors as conditions, connections that end,
 * statements that are cancelled. */
#include "store/pg.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/postgres_server.h"

static struct postgres_server server;
static volatile sig_atomic_t cancel_flag;

static void on_cancel(int number)
{
    (void)number;
    cancel_flag = PG_CANCEL_WANTED;
}

static void cleanup_pg(struct pg **pg)
{
    pg_free(*pg);
}

static void cleanup_rows(struct cel_rows **rows)
{
    cel_rows_free(*rows);
}

#define PG(variable)   CLEANUP(cleanup_pg) struct pg *variable
#define ROWS(variable) CLEANUP(cleanup_rows) struct cel_rows *variable = NULL

static struct pg *new_pg(void)
{
    struct pg *pg = pg_new("default", server.uri, 0, &cancel_flag);
    assert_non_null(pg);
    return pg;
}

static void exec_ok(struct pg *pg, const char *sql)
{
    struct cel_error err = {0};
    int r = pg_exec(pg, sql, &err);
    if (r)
        fail_msg("%s: %s", sql, err.text);
}

static int64_t int_of(struct pg *pg, const char *sql)
{
    ROWS(rows);
    struct cel_error err = {0};
    if (pg_query(pg, sql, CEL_NO_PARAMS, &rows, &err))
        fail_msg("%s: %s", sql, err.text);
    return cel_row_int(rows, 0, "n");
}

static int64_t backend_pid(struct pg *pg)
{
    return int_of(pg, "SELECT pg_backend_pid() AS n");
}

/* SIGUSR1 to this process after `ms`. */
static timer_t strike_after_ms(long ms)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = PG_CANCEL_SIGNAL};
    struct itimerspec when = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &when, NULL), 0);
    return timer;
}

/* --- values ----------------------------------------------------------------------------------- */

static void every_type_of_parameter_arrives(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    ROWS(rows);
    const unsigned char bytes[] = {0, 1, 255, '\'', '\\'};
    struct cel_error err = {0};
    int r = pg_query(
        pg,
        "SELECT $1::bigint AS i, $2::float8 AS f, $3::boolean AS b, $4::text AS t,"
        " encode($5, 'hex') AS x, $6::text IS NULL AS n, $7::text IS NULL AS m, $8::boolean AS c,"
        " $9::float8 AS inf, $10::float8 AS nan, length($11) AS empty",
        CEL_PARAMS(cel_p_int(INT64_MIN), cel_p_float(0.1), cel_p_bool(true),
                   cel_p_text("gr\xc3\xbc\xc3\x9f 'x' \\ $1"), cel_p_bytes(bytes, sizeof(bytes)),
                   cel_p_text(NULL), ((struct cel_param){.type = CEL_P_NULL}), cel_p_bool(false),
                   cel_p_float(-INFINITY), cel_p_float(NAN), cel_p_bytes(NULL, 0)),
        &rows, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(r, 0);
    assert_int_equal(cel_rows_count(rows), 1);
    assert_true(cel_row_int(rows, 0, "i") == INT64_MIN);
    assert_true(cel_row_float(rows, 0, "f") == 0.1);
    assert_true(cel_row_bool(rows, 0, "b"));
    assert_string_equal(cel_row_text(rows, 0, "t"), "gr\xc3\xbc\xc3\x9f 'x' \\ $1");
    assert_string_equal(cel_row_text(rows, 0, "x"), "0001ff275c");
    assert_true(cel_row_bool(rows, 0, "n"));
    assert_true(cel_row_bool(rows, 0, "m"));
    assert_false(cel_row_bool(rows, 0, "c"));
    assert_true(cel_row_float(rows, 0, "inf") == -INFINITY);
    assert_true(isnan(cel_row_float(rows, 0, "nan")));
    assert_false(cel_row_null(rows, 0, "empty"));
    assert_int_equal(cel_row_int(rows, 0, "empty"), 0);
}

static void parameters_take_the_type_of_their_column(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg,
            "CREATE TEMP TABLE t (small smallint, price numeric(10,2), day date, flag boolean)");
    struct cel_error err = {0};
    assert_int_equal(pg_query(pg, "INSERT INTO t VALUES ($1, $2, $3, $4)",
                              CEL_PARAMS(cel_p_int(7), cel_p_text("12345678.90"),
                                         cel_p_text("2024-02-29"), cel_p_bool(true)),
                              NULL, &err),
                     0);
    ROWS(rows);
    assert_int_equal(pg_query(pg, "SELECT *, price * 3 AS triple FROM t WHERE small = $1",
                              CEL_PARAMS(cel_p_int(7)), &rows, &err),
                     0);
    assert_string_equal(cel_row_text(rows, 0, "price"), "12345678.90");
    assert_string_equal(cel_row_text(rows, 0, "triple"), "37037036.70");
    assert_int_equal(cel_row_int(rows, 0, "triple"), 37037036);
    assert_string_equal(cel_row_text(rows, 0, "day"), "2024-02-29");
    assert_true(cel_row_bool(rows, 0, "flag"));
}

static void numerics_stay_exact(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    ROWS(rows);
    const char *number = "-123456789012345678901234567890.12345678901234567890";
    assert_int_equal(pg_query(pg,
                              "SELECT $1::numeric AS n, sum(x) AS total, -0.5 AS half"
                              " FROM (VALUES (1::bigint), (41)) v(x)",
                              CEL_PARAMS(cel_p_text(number)), &rows, NULL),
                     0);
    assert_string_equal(cel_row_text(rows, 0, "n"), number);
    assert_int_equal(cel_row_int(rows, 0, "total"), 42);
    assert_int_equal(cel_row_int(rows, 0, "half"), 0);
}

static void null_and_unknown_columns_read_as_nothing(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    ROWS(rows);
    assert_int_equal(pg_query(pg, "SELECT NULL::int AS a, 5 AS b", CEL_NO_PARAMS, &rows, NULL), 0);
    assert_true(cel_row_null(rows, 0, "a"));
    assert_int_equal(cel_row_int(rows, 0, "a"), 0);
    assert_true(cel_row_float(rows, 0, "a") == 0);
    assert_string_equal(cel_row_text(rows, 0, "a"), "");
    assert_false(cel_row_bool(rows, 0, "a"));
    assert_true(cel_row_null(rows, 0, "none"));
    assert_true(cel_row_null(rows, 1, "b"));
    assert_int_equal(cel_row_int(rows, 1, "b"), 0);
    assert_int_equal(cel_row_int(rows, 0, "b"), 5);
    assert_int_equal(cel_rows_count(NULL), 0);
    assert_null(cel_rows_free(NULL));
}

static void affected_rows_are_counted(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "CREATE TEMP TABLE t AS SELECT g FROM generate_series(1, 10) g");
    ROWS(rows);
    assert_int_equal(
        pg_query(pg, "UPDATE t SET g = g + 1 WHERE g > $1", CEL_PARAMS(cel_p_int(4)), &rows, NULL),
        0);
    assert_int_equal(cel_rows_affected(rows), 6);
    assert_int_equal(cel_rows_count(rows), 0);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void errors_of_the_statement_are_final(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "CREATE TEMP TABLE t (slug text UNIQUE, price numeric CHECK (price >= 0))");
    static const struct {
        const char *sql, *sqlstate, *text;
    } cases[] = {
        {"SELEC 1", "42601", "syntax error"},
        {"SELECT * FROM nowhere", "42P01", "nowhere"},
        {"SELECT 1/0", "22012", "division by zero"},
        {"INSERT INTO t VALUES ('a', -1)", "23514", "violates check constraint"},
        {"INSERT INTO t VALUES ('a', 1), ('a', 1)", "23505", "Key (slug)=(a) already exists"},
        {"SELECT 1; SELECT 2", "42601", "multiple commands"},
        {"COPY t TO STDOUT", "0A000", "COPY"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_error err = {0};
        assert_int_equal(pg_query(pg, cases[i].sql, CEL_NO_PARAMS, NULL, &err), PG_E_FAILED);
        assert_string_equal(pg_sqlstate(pg), cases[i].sqlstate);
        assert_int_equal(err.code, CEL_E_DATABASE);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_non_null(strstr(err.text, "database \"default\""));
        assert_null(strchr(err.text, '\n'));
        pg_reset(pg);
        assert_int_equal(int_of(pg, "SELECT 1 AS n"), 1);
        assert_string_equal(pg_sqlstate(pg), "");
    }
}

static void the_place_of_an_error_is_known(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    assert_int_equal(pg_exec(pg, "SELECT 1;\nSELEC 2", NULL), PG_E_FAILED);
    assert_int_equal(pg_error_position(pg), 11);
    exec_ok(pg, "SELECT 1");
    assert_int_equal(pg_error_position(pg), 0);
}

static void a_serialization_failure_is_transient(void **state)
{
    (void)state;
    PG(one) = new_pg();
    PG(two) = new_pg();
    exec_ok(one, "DROP TABLE IF EXISTS race; CREATE TABLE race AS SELECT 1 AS v");
    exec_ok(one, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM race");
    exec_ok(two, "UPDATE race SET v = 2");
    struct cel_error err = {0};
    assert_int_equal(pg_exec(one, "UPDATE race SET v = 3", &err), PG_E_TRANSIENT);
    assert_string_equal(pg_sqlstate(one), "40001");
    assert_true(pg_reset(one));
    assert_int_equal(int_of(one, "SELECT v AS n FROM race"), 2);
}

static void *lock_second_then_first(void *data)
{
    struct pg *pg = data;
    intptr_t r = pg_exec(pg, "UPDATE locks SET v = v WHERE id = 1", NULL);
    return (void *)r;
}

static void a_deadlock_is_transient_for_one_of_the_two(void **state)
{
    (void)state;
    PG(one) = new_pg();
    PG(two) = new_pg();
    exec_ok(one, "DROP TABLE IF EXISTS locks; CREATE TABLE locks AS SELECT 1 AS id, 0 AS v"
                 " UNION SELECT 2, 0");
    exec_ok(one, "BEGIN; UPDATE locks SET v = v WHERE id = 1");
    exec_ok(two, "BEGIN; UPDATE locks SET v = v WHERE id = 2");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, lock_second_then_first, two), 0);
    int first = pg_exec(one, "UPDATE locks SET v = v WHERE id = 2", NULL);
    if (first) /* the other one waits for a lock of ours until we roll back */
        pg_reset(one);
    void *second;
    pthread_join(thread, &second);
    assert_int_equal(first + (int)(intptr_t)second, PG_E_TRANSIENT);
    assert_string_equal(first ? "40P01" : pg_sqlstate(two), "40P01");
}

static void a_lock_that_is_not_had_in_time_is_transient(void **state)
{
    (void)state;
    PG(one) = new_pg();
    PG(two) = new_pg();
    exec_ok(one, "DROP TABLE IF EXISTS busy; CREATE TABLE busy AS SELECT 1 AS id");
    exec_ok(one, "BEGIN; LOCK TABLE busy");
    exec_ok(two, "SET lock_timeout = '30ms'");
    assert_int_equal(pg_exec(two, "SELECT * FROM busy", NULL), PG_E_TRANSIENT);
    assert_string_equal(pg_sqlstate(two), "55P03");
    assert_int_equal(pg_exec(two, "LOCK TABLE busy NOWAIT", NULL), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(two), "25P01"); /* outside of a transaction: our mistake */
}

static void a_statement_time_out_of_the_server_is_final(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "SET statement_timeout = '20ms'");
    assert_int_equal(pg_exec(pg, "SELECT pg_sleep(10)", NULL), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "57014");
}

/* --- transactions ----------------------------------------------------------------------------- */

static void a_transaction_left_open_is_rolled_back(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "DROP TABLE IF EXISTS kept; CREATE TABLE kept (v int)");
    assert_false(pg_in_transaction(pg));
    assert_false(pg_reset(pg));
    exec_ok(pg, "BEGIN; INSERT INTO kept VALUES (1)");
    assert_true(pg_in_transaction(pg));
    assert_true(pg_reset(pg));
    assert_false(pg_in_transaction(pg));
    assert_int_equal(int_of(pg, "SELECT count(*) AS n FROM kept"), 0);
}

static void savepoints_have_any_name(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    const char *name = "a \"quoted\"; DROP TABLE x";
    exec_ok(pg, "CREATE TEMP TABLE t (v int)");
    exec_ok(pg, "BEGIN; INSERT INTO t VALUES (1)");
    assert_int_equal(pg_savepoint(pg, "SAVEPOINT", name, NULL), 0);
    assert_int_equal(pg_exec(pg, "INSERT INTO t VALUES (1/0)", NULL), PG_E_FAILED);
    assert_int_equal(pg_savepoint(pg, "ROLLBACK TO SAVEPOINT", name, NULL), 0);
    exec_ok(pg, "INSERT INTO t VALUES (2)");
    assert_int_equal(pg_savepoint(pg, "RELEASE SAVEPOINT", name, NULL), 0);
    assert_int_equal(pg_commit(pg, NULL), 0);
    assert_int_equal(int_of(pg, "SELECT sum(v) AS n FROM t"), 3);
    assert_int_equal(pg_savepoint(pg, "ROLLBACK TO SAVEPOINT", "x", NULL), PG_E_FAILED);
}

static void a_commit_that_became_a_rollback_is_told(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "BEGIN");
    assert_int_equal(pg_exec(pg, "SELECT 1/0", NULL), PG_E_FAILED);
    struct cel_error err = {0};
    assert_int_equal(pg_commit(pg, &err), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "25P02");
    assert_false(pg_in_transaction(pg));
    exec_ok(pg, "BEGIN");
    assert_int_equal(pg_commit(pg, NULL), 0);
    exec_ok(pg, "BEGIN");
    assert_int_equal(pg_rollback(pg, NULL), 0);
    assert_false(pg_in_transaction(pg));
}

/* --- connections ------------------------------------------------------------------------------ */

static void a_connection_is_kept_until_it_is_too_old(void **state)
{
    (void)state;
    PG(forever) = new_pg();
    int64_t first = backend_pid(forever);
    pg_reset(forever);
    assert_int_equal(backend_pid(forever), first);

    PG(young) = pg_new("default", server.uri, 1, NULL); /* one microsecond */
    first = backend_pid(young);
    assert_int_equal(backend_pid(young), first); /* the same task: kept */
    pg_reset(young);
    assert_int_not_equal(backend_pid(young), first);
}

static void a_terminated_backend_is_transient_and_lost_for_this_task(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    PG(other) = new_pg();
    exec_ok(pg, "BEGIN");
    char sql[80];
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld)", (long long)backend_pid(pg));
    exec_ok(other, sql);
    struct cel_error err = {0};
    assert_int_equal(pg_exec(pg, "SELECT 1", &err), PG_E_TRANSIENT);
    assert_non_null(strstr(err.text, "the connection is lost"));
    assert_true(strcmp(pg_sqlstate(pg), "57P01") == 0 || strncmp(pg_sqlstate(pg), "08", 2) == 0);
    /* on another connection it would run outside of the transaction */
    assert_int_equal(pg_exec(pg, "SELECT 1", &err), PG_E_TRANSIENT);
    assert_non_null(strstr(err.text, "lost before"));
    assert_false(pg_reset(pg));
    assert_int_equal(int_of(pg, "SELECT 1 AS n"), 1);
}

static void a_backend_that_ends_while_idle_is_noticed_before_the_next_task(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    PG(other) = new_pg();
    char sql[120];
    int64_t pid = backend_pid(pg);
    pg_reset(pg);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld, 5000)", (long long)pid);
    exec_ok(other, sql);
    assert_int_not_equal(backend_pid(pg), pid);
}

static void a_restart_of_the_server_is_survived(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    PG(in_use) = new_pg();
    backend_pid(pg);
    pg_reset(pg);
    exec_ok(in_use, "SELECT 1");
    postgres_server_stop(&server);
    struct cel_error err = {0};
    assert_int_equal(pg_exec(pg, "SELECT 1", &err), PG_E_TRANSIENT);
    assert_non_null(strstr(err.text, "cannot connect"));
    assert_string_equal(pg_sqlstate(pg), "08001");
    assert_int_equal(pg_exec(in_use, "SELECT 1", &err), PG_E_TRANSIENT);
    assert_true(postgres_server_start(&server));
    assert_int_equal(int_of(pg, "SELECT 1 AS n"), 1);
    pg_reset(in_use);
    assert_int_equal(int_of(in_use, "SELECT 1 AS n"), 1);
}

static void too_many_connections_are_transient(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "DROP ROLE IF EXISTS nobody_may; CREATE ROLE nobody_may LOGIN PASSWORD 'geheim'"
                " CONNECTION LIMIT 0");
    char uri[256];
    postgres_server_uri(&server, "nobody_may", "geheim", uri, sizeof(uri));
    PG(refused) = pg_new("other", uri, 0, NULL);
    struct cel_error err = {0};
    assert_int_equal(pg_connect(refused, &err), PG_E_TRANSIENT);
    assert_non_null(strstr(err.text, "database \"other\": cannot connect"));
    assert_non_null(strstr(err.text, "too many connections"));
}

static void no_password_stands_in_an_error(void **state)
{
    (void)state;
    static const char secret[] = "S3cr3tWord";
    char wrong[256];
    PG(pg) = new_pg();
    exec_ok(pg, "DROP ROLE IF EXISTS somebody; CREATE ROLE somebody LOGIN PASSWORD 'other'");
    postgres_server_uri(&server, "somebody", secret, wrong, sizeof(wrong));
    const char *uris[] = {
        wrong,
        "postgresql://u:S3cr3tWord@/db?host=%2Fnowhere",
        "postgresql://u:S3cr3tWord@[::1/db",
        "postgresql://u:S3cr3tWord@host:port:5/db",
        "postgresql://u:S3cr3tWord%zz@host/db",
        "postgresql://u:x@S3cr3tWord@host/db",
        "postgresql://u:S3cr3tWord@host/db?S3cr3tWord=1",
        "host=/nowhere user=S3cr3tWord password=S3cr3tWord dbname=S3cr3tWord",
        "password='S3cr3tWord",
        "S3cr3tWord",
    };
    for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
        struct cel_error err = {0};
        PG(bad) = pg_new("default", uris[i], 0, NULL);
        assert_int_equal(pg_connect(bad, &err), PG_E_TRANSIENT);
        assert_true(strlen(err.text) > 20);
        if (strstr(err.text, secret))
            fail_msg("%s: %s", uris[i], err.text);
        struct cel_error other = {0};
        if (pg_uri_check(uris[i], &other))
            assert_int_equal(other.code, CEL_E_CONFIG);
        assert_null(strstr(other.text, secret));
    }
    assert_int_equal(pg_uri_check(server.uri, NULL), 0);
    assert_int_equal(pg_uri_check("service=shop", NULL), 0);
    assert_int_equal(pg_uri_check("", NULL), 0);
    assert_int_equal(pg_uri_check("postgresql://u:x@y@host/db", NULL), CEL_E_CONFIG);
    assert_int_equal(pg_uri_check("host=a connect_timeout=soon", NULL), CEL_E_CONFIG);
}

static void what_is_read_only_by_its_own_wish_is_no_wrong_server(void **state)
{
    (void)state;
    static const char write[] = "CREATE TABLE unwritten ()";
    char uri[sizeof(server.uri) + 64];
    snprintf(uri, sizeof(uri), "%s&target_session_attrs=read-write", server.uri);
    PG(pg) = pg_new("default", uri, 0, &cancel_flag);
    assert_int_equal(pg_begin(pg, true, "", NULL, NULL), 0);
    assert_int_equal(pg_query(pg, write, CEL_NO_PARAMS, NULL, NULL), PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "25006");
    assert_false(pg_is_lost(pg));
    assert_true(pg_reset(pg));

    exec_ok(pg, "SET default_transaction_read_only = on");
    assert_int_equal(pg_query(pg, write, CEL_NO_PARAMS, NULL, NULL), PG_E_TRANSIENT);
    assert_string_equal(pg_sqlstate(pg), "25006");
    assert_true(pg_is_lost(pg));
}

/* A server that accepts and never says a word. */
static int open_silent_server(char *folder, size_t size)
{
    snprintf(folder, size, "/tmp/celeriac-silent-XXXXXX");
    assert_non_null(mkdtemp(folder));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void a_server_that_says_nothing_is_not_waited_for(void **state)
{
    (void)state;
    char folder[64], uri[160];
    int fd = open_silent_server(folder, sizeof(folder));
    snprintf(uri, sizeof(uri), "host=%s port=5432 user=x connect_timeout=1", folder);
    PG(pg) = pg_new("default", uri, 0, &cancel_flag);
    struct cel_error err = {0};
    usec_t begin = clock_mono();
    assert_int_equal(pg_connect(pg, &err), PG_E_TRANSIENT);
    assert_non_null(strstr(err.text, "timed out"));
    assert_in_range(clock_mono() - begin, 900 * USEC_PER_MSEC, 5 * USEC_PER_SEC);

    snprintf(uri, sizeof(uri), "host=%s port=5432 user=x", folder);
    PG(other) = pg_new("default", uri, 0, &cancel_flag);
    begin = clock_mono();
    timer_t timer = strike_after_ms(50);
    assert_int_equal(pg_connect(other, &err), PG_E_CANCELLED);
    assert_true(clock_mono() - begin < 5 * USEC_PER_SEC);
    timer_delete(timer);
    close(fd);
    char path[120];
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", folder);
    unlink(path);
    rmdir(folder);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void the_flag_cancels_the_statement_on_the_server(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "BEGIN");
    usec_t begin = clock_mono();
    timer_t timer = strike_after_ms(100);
    struct cel_error err = {0};
    assert_int_equal(pg_query(pg, "SELECT pg_sleep(60)", CEL_NO_PARAMS, NULL, &err),
                     PG_E_CANCELLED);
    assert_in_range(clock_mono() - begin, 90 * USEC_PER_MSEC, 10 * USEC_PER_SEC);
    timer_delete(timer);
    assert_int_equal(cancel_flag, PG_CANCEL_TOLD);
    assert_string_equal(pg_sqlstate(pg), "57014");
    assert_non_null(strstr(err.text, "soft time limit"));
    PG(other) = new_pg();
    assert_int_equal(int_of(other, "SELECT count(*) AS n FROM pg_stat_activity"
                                   " WHERE state = 'active' AND query LIKE '%pg_sleep(60)%'"
                                   " AND pid <> pg_backend_pid()"),
                     0);
    /* told once: the task may clean up on the same connection */
    assert_true(pg_in_transaction(pg));
    assert_int_equal(pg_rollback(pg, NULL), 0);
    assert_int_equal(int_of(pg, "SELECT 1 AS n"), 1);
}

static void a_flag_that_is_up_already_ends_the_next_statement_before_it_is_sent(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "DROP TABLE IF EXISTS never; CREATE TABLE never (v int)");
    raise(PG_CANCEL_SIGNAL);
    assert_int_equal(cancel_flag, PG_CANCEL_NONE); /* blocked outside of waits */
    usec_t begin = clock_mono();
    assert_int_equal(pg_exec(pg, "SELECT pg_sleep(30)", NULL), PG_E_CANCELLED);
    assert_true(clock_mono() - begin < 4 * USEC_PER_SEC);
    cancel_flag = PG_CANCEL_WANTED;
    assert_int_equal(pg_exec(pg, "INSERT INTO never VALUES (1)", NULL), PG_E_CANCELLED);
    assert_int_equal(int_of(pg, "SELECT count(*) AS n FROM never"), 0);
}

static void commit_and_rollback_are_not_cancelled(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    exec_ok(pg, "DROP TABLE IF EXISTS paid; CREATE TABLE paid (v int)");
    exec_ok(pg, "BEGIN; INSERT INTO paid VALUES (1)");
    cancel_flag = PG_CANCEL_WANTED;
    assert_int_equal(pg_commit(pg, NULL), 0);
    assert_int_equal(cancel_flag, PG_CANCEL_WANTED);
    assert_int_equal(pg_rollback(pg, NULL), 0);
    cancel_flag = PG_CANCEL_NONE;
    assert_int_equal(int_of(pg, "SELECT count(*) AS n FROM paid"), 1);
}

static int64_t sleepers(struct pg *pg)
{
    return int_of(pg, "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active'"
                      " AND query LIKE '%pg_sleep(77)%' AND pid <> pg_backend_pid()");
}

/* Looks for `count` statements of the killed one until `seconds` have passed. */
static bool see_sleepers(struct pg *pg, int64_t count, unsigned seconds)
{
    usec_t end = clock_mono() + seconds * USEC_PER_SEC;
    while (sleepers(pg) != count) {
        if (clock_mono() > end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return true;
}

static void a_killed_client_leaves_no_statement_behind(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    pid_t pid = fork();
    if (pid == 0) {
        struct pg *own = pg_new("default", server.uri, 0, NULL);
        _exit(pg_exec(own, "SELECT pg_sleep(77)", NULL));
    }
    bool began = see_sleepers(pg, 1, 10);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(began);
    assert_true(see_sleepers(pg, 0, 5));
}

static void a_large_statement_and_a_large_result_pass(void **state)
{
    (void)state;
    PG(pg) = new_pg();
    const size_t size = 8 * 1024 * 1024;
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    ROWS(rows);
    struct cel_error err = {0};
    assert_int_equal(pg_query(pg, "SELECT $1::text || g AS t FROM generate_series(1, 3) g",
                              CEL_PARAMS(cel_p_text(text)), &rows, &err),
                     0);
    assert_int_equal(cel_rows_count(rows), 3);
    assert_int_equal(strlen(cel_row_text(rows, 2, "t")), size + 1);
    free(text);
}

static int begin_test(void **state)
{
    (void)state;
    cancel_flag = PG_CANCEL_NONE;
    return 0;
}

static int open_server(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_cancel};
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, PG_CANCEL_SIGNAL);
    sigaction(PG_CANCEL_SIGNAL, &action, NULL);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    return postgres_server_open(&server) ? 0 : -1;
}

static int close_server(void **state)
{
    (void)state;
    postgres_server_close(&server);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup(function, begin_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_type_of_parameter_arrives),
        TEST(parameters_take_the_type_of_their_column),
        TEST(numerics_stay_exact),
        TEST(null_and_unknown_columns_read_as_nothing),
        TEST(affected_rows_are_counted),
        TEST(errors_of_the_statement_are_final),
        TEST(the_place_of_an_error_is_known),
        TEST(a_serialization_failure_is_transient),
        TEST(a_deadlock_is_transient_for_one_of_the_two),
        TEST(a_lock_that_is_not_had_in_time_is_transient),
        TEST(a_statement_time_out_of_the_server_is_final),
        TEST(a_transaction_left_open_is_rolled_back),
        TEST(savepoints_have_any_name),
        TEST(a_commit_that_became_a_rollback_is_told),
        TEST(a_connection_is_kept_until_it_is_too_old),
        TEST(a_terminated_backend_is_transient_and_lost_for_this_task),
        TEST(a_backend_that_ends_while_idle_is_noticed_before_the_next_task),
        TEST(a_restart_of_the_server_is_survived),
        TEST(too_many_connections_are_transient),
        TEST(no_password_stands_in_an_error),
        TEST(what_is_read_only_by_its_own_wish_is_no_wrong_server),
        TEST(a_server_that_says_nothing_is_not_waited_for),
        TEST(the_flag_cancels_the_statement_on_the_server),
        TEST(a_flag_that_is_up_already_ends_the_next_statement_before_it_is_sent),
        TEST(commit_and_rollback_are_not_cancelled),
        TEST(a_killed_client_leaves_no_statement_behind),
        TEST(a_large_statement_and_a_large_result_pass),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
