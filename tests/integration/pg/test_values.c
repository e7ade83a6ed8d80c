/* Typed parameters and columns against a real server: what goes in comes out, and what the server
 * makes of it is what was meant. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/value.h"
#include "store/pg.h"
#include "store/pg_time.h"
#include "tests/support/comma_locale.h"
#include "tests/support/postgres_server.h"

static struct postgres_server server;
static struct pg *pg;

static void cleanup_rows(struct cel_rows **rows)
{
    cel_rows_free(*rows);
}

#define ROWS(variable)     CLEANUP(cleanup_rows) struct cel_rows *variable = NULL
#define QUERY(rows, ...)   query(__VA_ARGS__, &(rows))
#define CELL(rows, column) (&(const struct pg_cell){rows, 0, column})

static void
query(const char *sql, const struct cel_param *params, size_t count, struct cel_rows **ret)
{
    struct cel_error err = {0};
    if (pg_query(pg, sql, params, count, ret, &err))
        fail_msg("%s: %s", sql, err.text);
}

static void exec(const char *sql)
{
    struct cel_error err = {0};
    if (pg_exec(pg, sql, &err))
        fail_msg("%s: %s", sql, err.text);
}

static void expect_refused(int code, int expected, const struct cel_error *err, const char *words)
{
    assert_int_equal(code, expected);
    if (!strstr(err->text, words))
        fail_msg("%s is not in: %s", words, err->text);
}

/* --- times ------------------------------------------------------------------------------------ */

static const struct {
    int64_t usec;
    const char *text; /* in UTC */
} times[] = {
    {0, "1970-01-01 00:00:00+00"},
    {-1, "1969-12-31 23:59:59.999999+00"},
    {1709209815500000, "2024-02-29 12:30:15.5+00"},
    {-2203891200000000, "1900-03-01 00:00:00+00"},
    {-62135596800000000, "0001-01-01 00:00:00+00"},
    {-62135596800000001, "0001-12-31 23:59:59.999999+00 BC"},
    {-62162208000000000, "0001-02-28 00:00:00+00 BC"},
    {INT64_MAX, "infinity"},
    {INT64_MIN, "-infinity"},
    {9223371244799999999, "294246-12-31 23:59:59.999999+00"},
    {-210866803200000000, "4714-11-24 00:00:00+00 BC"},
};

static void times_are_the_servers(void **state)
{
    (void)state;
    static const char *const zones[] = {"UTC", "Asia/Kathmandu", "America/St_Johns",
                                        "Europe/Amsterdam"};
    for (size_t z = 0; z < ARRAY_SIZE(zones); z++) {
        char set[80];
        snprintf(set, sizeof(set), "SET timezone = '%s'", zones[z]);
        for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
            bool edge = i + 2 >= ARRAY_SIZE(times); /* beyond it in another zone */
            if (z > 0 && edge)
                continue;
            ROWS(rows);
            int64_t usec = 1;
            exec(set);
            QUERY(rows, "SELECT $1 AS t, $1 = $2::timestamptz AS same, $1 AT TIME ZONE 'UTC' AS u",
                  CEL_PARAMS(cel_p_timestamptz(times[i].usec), cel_p_text(times[i].text)));
            if (!cel_row_bool(rows, 0, "same"))
                fail_msg("%s: %s", times[i].text, cel_row_text(rows, 0, "t"));
            assert_int_equal(pg_cell_time(CELL(rows, "t"), &usec, NULL), 0);
            assert_true(usec == times[i].usec);
            assert_int_equal(pg_cell_time(CELL(rows, "u"), &usec, NULL), 0);
            assert_true(usec == times[i].usec);
        }
    }
    exec("RESET timezone");
}

static void every_day_of_eight_centuries_is_the_servers(void **state)
{
    (void)state;
    ROWS(rows);
    int64_t usec;
    QUERY(rows,
          "SELECT t, extract(epoch FROM t)::bigint AS s FROM generate_series("
          "'1600-01-01+00'::timestamptz, '2400-12-31+00', '1 day') t",
          CEL_NO_PARAMS);
    assert_int_equal(cel_rows_count(rows), 292560);
    CEL_EACH_ROW(row, rows)
    {
        const struct pg_cell at = {rows, row, "t"};
        char text[PG_TIME_ROOM];
        assert_int_equal(pg_cell_time(&at, &usec, NULL), 0);
        assert_true(usec == cel_row_int(rows, row, "s") * 1000000);
        pg_time_format(usec, text);
        assert_memory_equal(text, cel_row_text(rows, row, "t"), 19);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "2024",
                                        "2024-02-29",
                                        "2024-13-01 00:00:00+00",
                                        "2024-02-29 12:30:15.+00",
                                        "2024-02-29 12:30:15+0",
                                        "2024-02-29 12:30:15+00 AD",
                                        "Thu Feb 29 12:30:15 2024 UTC",
                                        "99999999-01-01 00:00:00+00",
                                        "294247-01-01 00:00:00+00",
                                        "2024-02-29 12:30:15.1234567"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        int64_t usec;
        assert_int_equal(pg_time_parse(str_of(texts[i]), &usec), -EINVAL);
    }
    ROWS(rows);
    struct cel_error err = {0};
    int64_t usec;
    exec("SET datestyle = 'German'");
    QUERY(rows, "SELECT now() AS t, 1 AS i", CEL_NO_PARAMS);
    exec("RESET datestyle");
    expect_refused(pg_cell_time(CELL(rows, "t"), &usec, &err), -EINVAL, &err, "in DateStyle ISO");
    expect_refused(pg_cell_time(CELL(rows, "i"), &usec, &err), -EINVAL, &err,
                   "column \"i\" is of another type");
    expect_refused(pg_cell_time(CELL(rows, "x"), &usec, &err), -EINVAL, &err,
                   "row 0 has no column \"x\"");
}

/* --- bytes, numerics, JSON -------------------------------------------------------------------- */

static void bytes_come_back(void **state)
{
    (void)state;
    unsigned char all[256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (unsigned char)i;
    static const char *const styles[] = {"hex", "escape"};
    for (size_t i = 0; i < ARRAY_SIZE(styles); i++) {
        ROWS(rows);
        char set[64];
        const void *bytes, *empty, *none = all;
        size_t length = 0, zero = 1;
        snprintf(set, sizeof(set), "SET bytea_output = '%s'", styles[i]);
        exec(set);
        QUERY(rows, "SELECT $1 AS b, $2 AS e, NULL::bytea AS n",
              CEL_PARAMS(cel_p_bytes(all, sizeof(all)), cel_p_bytes("", 0)));
        assert_int_equal(pg_cell_bytes(CELL(rows, "b"), &bytes, &length, NULL), 0);
        assert_int_equal(length, sizeof(all));
        assert_memory_equal(bytes, all, sizeof(all));
        assert_int_equal(pg_cell_bytes(CELL(rows, "e"), &empty, &zero, NULL), 0);
        assert_non_null(empty);
        assert_int_equal(zero, 0);
        assert_int_equal(pg_cell_bytes(CELL(rows, "n"), &none, &zero, NULL), 0);
        assert_null(none);
    }
    exec("RESET bytea_output");
}

static void a_numeric_is_exact_and_says_what_it_is(void **state)
{
    (void)state;
    ROWS(rows);
    QUERY(rows, "SELECT $1 AS n, pg_typeof($1) AS type, $2 IS NULL AS none",
          CEL_PARAMS(cel_p_numeric("-123456789012345678901234567890.12345678900"),
                     cel_p_numeric(NULL)));
    assert_string_equal(cel_row_text(rows, 0, "n"), "-123456789012345678901234567890.12345678900");
    assert_string_equal(cel_row_text(rows, 0, "type"), "numeric");
    assert_true(cel_row_bool(rows, 0, "none"));
}

static void json_comes_back(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, 2.5, null, true, \"gr\\u00fc\\u00df \\ud83d\\ude00 \\\\ \\\" $1\"],"
        " \"big\": 123456789012345678901234567890, \"m\": {}}";
    struct cel_value *value, *back = NULL, *plain = NULL, *none = NULL;
    assert_int_equal(cel_value_from_json(text, strlen(text), &value, NULL), 0);
    ROWS(rows);
    struct cel_value *null = cel_null();
    QUERY(rows,
          "SELECT $1 AS v, $1::json AS j, pg_typeof($1) AS type, $2 IS NULL AS none,"
          " $3 = 'null' AS jsons, NULL::jsonb AS n",
          CEL_PARAMS(cel_p_json(value), cel_p_json(NULL), cel_p_json(null)));
    cel_value_free(null);
    assert_string_equal(cel_row_text(rows, 0, "type"), "jsonb");
    assert_true(cel_row_bool(rows, 0, "none"));
    assert_true(cel_row_bool(rows, 0, "jsons"));
    assert_int_equal(pg_cell_json(CELL(rows, "v"), &back, NULL), 0);
    assert_true(value_equal(value, back));
    assert_int_equal(pg_cell_json(CELL(rows, "j"), &plain, NULL), 0);
    assert_true(value_equal(value, plain));
    assert_int_equal(pg_cell_json(CELL(rows, "n"), &none, NULL), 0);
    assert_null(none);
    cel_value_free(value);
    cel_value_free(back);
    cel_value_free(plain);
}

static void json_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct cel_error err = {0};
    struct cel_value *bytes = cel_bytes("x", 1), *value = NULL;
    assert_int_equal(pg_query(pg, "SELECT $1", CEL_PARAMS(cel_p_json(bytes)), NULL, &err),
                     PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "22023");
    cel_value_free(bytes);
    ROWS(rows);
    QUERY(rows, "SELECT (repeat('[', 300) || repeat(']', 300))::jsonb AS deep, '1'::text AS t",
          CEL_NO_PARAMS);
    expect_refused(pg_cell_json(CELL(rows, "deep"), &value, &err), CEL_E_LIMIT, &err,
                   "column \"deep\"");
    expect_refused(pg_cell_json(CELL(rows, "t"), &value, &err), -EINVAL, &err, "another type");
    assert_null(value);
}

/* --- arrays ----------------------------------------------------------------------------------- */

static const struct cel_array *array_of(const struct cel_rows *rows, const char *column)
{
    const struct cel_array *array = NULL;
    struct cel_error err = {0};
    if (pg_cell_array(CELL(rows, column), &array, &err))
        fail_msg("%s", err.text);
    return array;
}

static void arrays_of_numbers_come_back(void **state)
{
    (void)state;
    const int64_t ints[] = {INT64_MIN, -1, 0, INT64_MAX};
    const double floats[] = {0.1, -1e300, 5e-324, INFINITY, NAN};
    ROWS(rows);
    QUERY(rows,
          "SELECT $1::bigint[] AS i, $2::float8[] AS f, $3::int[] AS e, NULL::int[] AS n,"
          " '[-1:1]={1,NULL,3}'::int[] AS b, 3 = ANY($4) AS found",
          CEL_PARAMS(cel_p_ints(ints, 4), cel_p_floats(floats, 5), cel_p_ints(NULL, 0),
                     cel_p_ints((const int64_t[]){1, 3}, 2)));
    const struct cel_array *array = array_of(rows, "i");
    assert_int_equal(cel_array_count(array), 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(cel_array_int(array, i) == ints[i]);
    array = array_of(rows, "f");
    assert_int_equal(cel_array_count(array), 5);
    for (size_t i = 0; i < 4; i++)
        assert_true(cel_array_float(array, i) == floats[i]);
    assert_true(isnan(cel_array_float(array, 4)));
    assert_non_null(array_of(rows, "e"));
    assert_int_equal(cel_array_count(array_of(rows, "e")), 0);
    assert_null(array_of(rows, "n"));
    array = array_of(rows, "b");
    assert_int_equal(cel_array_count(array), 3);
    assert_true(cel_array_null(array, 1));
    assert_int_equal(cel_array_int(array, 1), 0);
    assert_int_equal(cel_array_int(array, 2), 3);
    assert_true(cel_array_null(array, 3));
    assert_int_equal(cel_array_count(NULL), 0);
    assert_true(cel_row_bool(rows, 0, "found"));
}

static void arrays_of_text_come_back(void **state)
{
    (void)state;
    const char *const texts[] = {
        "", "NULL", NULL, "a,b", "{c}", "say \"x\" \\ \n", " gr\xc3\xbc\xc3\x9f ", "plain"};
    ROWS(rows);
    QUERY(rows,
          "SELECT $1::text[] AS t, array_length($1::text[], 1) AS n, ($1::text[])[6] AS sixth",
          CEL_PARAMS(cel_p_texts(texts, ARRAY_SIZE(texts))));
    const struct cel_array *array = array_of(rows, "t");
    assert_int_equal(cel_row_int(rows, 0, "n"), ARRAY_SIZE(texts));
    assert_string_equal(cel_row_text(rows, 0, "sixth"), texts[5]);
    assert_int_equal(cel_array_count(array), ARRAY_SIZE(texts));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(cel_array_null(array, i), texts[i] == NULL);
        assert_string_equal(cel_array_text(array, i), texts[i] ? texts[i] : "");
    }
}

static void arrays_of_bytes_arrive(void **state)
{
    (void)state;
    const struct cel_blob blobs[] = {{"\0\"\\\xff", 4}, {NULL, 0}, {"", 0}};
    ROWS(rows);
    QUERY(rows,
          "SELECT encode(($1::bytea[])[1], 'hex') AS one, ($1::bytea[])[2] IS NULL AS two,"
          " ($1::bytea[])[3] = '' AS three",
          CEL_PARAMS(cel_p_blobs(blobs, 3)));
    assert_string_equal(cel_row_text(rows, 0, "one"), "00225cff");
    assert_true(cel_row_bool(rows, 0, "two"));
    assert_true(cel_row_bool(rows, 0, "three"));
}

static void what_is_no_array_is_refused(void **state)
{
    (void)state;
    ROWS(rows);
    struct cel_error err = {0};
    const struct cel_array *array = NULL;
    QUERY(rows, "SELECT '{{1,2},{3,4}}'::int[] AS two, 'x' AS t, '' AS e, '[1,2]'::jsonb AS j",
          CEL_NO_PARAMS);
    static const char *const columns[] = {"two", "t", "e", "j"};
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        expect_refused(pg_cell_array(CELL(rows, columns[i]), &array, &err), -EINVAL, &err,
                       "is no array of one dimension");
    assert_null(array);
    assert_int_equal(pg_query(pg, "SELECT $1::int[]", CEL_PARAMS(cel_p_ints(NULL, 2)), NULL, &err),
                     PG_E_FAILED);
    assert_string_equal(pg_sqlstate(pg), "22023");
}

static void numbers_do_not_follow_the_locale(void **state)
{
    (void)state;
    comma_locale_enter();
    ROWS(rows);
    const double half = 0.5;
    QUERY(rows, "SELECT $1::float8 AS f, ($2::float8[])[1] AS a",
          CEL_PARAMS(cel_p_float(-1.25), cel_p_floats(&half, 1)));
    comma_locale_leave();
    assert_string_equal(cel_row_text(rows, 0, "f"), "-1.25");
    assert_string_equal(cel_row_text(rows, 0, "a"), "0.5");
}

/* --- memory ----------------------------------------------------------------------------------- */

static void short_memory_is_told(void **state)
{
    (void)state;
    const int64_t ints[] = {1, 2, 3};
    struct cel_value *value = cel_text("x");
    struct cel_error err = {0};
    int r = PG_E_FAILED;
    for (size_t n = 1; r; n++) {
        assert_in_range(n, 1, 100);
        mem_fail_after(n);
        r = pg_query(
            pg, "SELECT $1::int[], $2, $3, $4::int",
            CEL_PARAMS(cel_p_ints(ints, 3), cel_p_json(value), cel_p_timestamptz(0), cel_p_int(1)),
            NULL, &err);
        mem_fail_after(0);
        assert_int_not_equal(r, PG_E_CANCELLED);
        assert_false(pg_is_lost(pg));
    }
    cel_value_free(value);
}

static int start(void **state)
{
    (void)state;
    if (!postgres_server_open(&server))
        return -1;
    pg = pg_new("default", server.uri, 0, NULL);
    return pg ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    pg_free(pg);
    postgres_server_close(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_the_servers),
        cmocka_unit_test(every_day_of_eight_centuries_is_the_servers),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(a_numeric_is_exact_and_says_what_it_is),
        cmocka_unit_test(json_comes_back),
        cmocka_unit_test(json_that_cannot_be_is_refused),
        cmocka_unit_test(arrays_of_numbers_come_back),
        cmocka_unit_test(arrays_of_text_come_back),
        cmocka_unit_test(arrays_of_bytes_arrive),
        cmocka_unit_test(what_is_no_array_is_refused),
        cmocka_unit_test(short_memory_is_told),
        cmocka_unit_test(numbers_do_not_follow_the_locale),
    };
    return cmocka_run_group_tests(tests, start, end);
}
