#include "store/sql_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void positions_count_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t position, line, column;
    } cases[] = {
        {"SELECT", 1, 1, 1},   {"SELECT", 4, 1, 4}, {"a\nbc", 3, 2, 1},
        {"a\nbc", 4, 2, 2},    {"é\nü x", 3, 2, 1}, {"é\nü x", 5, 2, 3},
        {"a\n\n\nb", 5, 4, 1}, {"a\nbc", 99, 2, 2}, {"", 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t line, column;
        sql_position(cases[i].text, cases[i].position, &line, &column);
        assert_int_equal(line, cases[i].line);
        assert_int_equal(column, cases[i].column);
    }
}

static void assert_lines(const char *sql, const size_t *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(sql_statement_line(sql, i), lines[i]);
    assert_int_equal(sql_statement_line(sql, count), 0);
}
#define ASSERT_LINES(sql, ...)                                                                     \
    assert_lines(sql, (const size_t[]){__VA_ARGS__},                                               \
                 sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static void statements_are_counted_as_the_server_counts_them(void **state)
{
    (void)state;
    ASSERT_LINES("SELECT 1;\nSELECT 2", 1, 2);
    ASSERT_LINES("\n\n  SELECT 1;;\n;\n SELECT\n 2;\n", 3, 5);
    ASSERT_LINES("-- one; two\nSELECT 1; -- three;\n/* a; /* b; */ c; */ SELECT 2;", 2, 3);
    ASSERT_LINES("SELECT ';\n'';', \"a;\"\"b\";\nSELECT 2", 1, 3);
    ASSERT_LINES("SELECT E'it\\'s;', 'c:\\';\nSELECT 2", 1, 2);
    ASSERT_LINES("SELECT name'x;';\nSELECT 2", 1, 2);
    ASSERT_LINES("SELECT $$;\n$$, $a$ $b$; $$ ; $a$;\nSELECT $1;\nSELECT 3", 1, 3, 4);
    ASSERT_LINES("CREATE RULE r AS ON INSERT TO t DO (SELECT 1;\nSELECT 2);\nSELECT 3", 1, 3);
    ASSERT_LINES("SELECT a$b$c; SELECT 2", 1, 1);
    ASSERT_LINES("SELECT 1) ; SELECT 2", 1, 1);
}

static void text_without_statements_has_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",           "\n",      ";",        " ;; ",
                                        "-- nothing", "/* open", "\n-- a\n;"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(sql_statement_line(texts[i], 0), 0);
}

static void what_is_never_closed_ends_with_the_text(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 'open; SELECT", "SELECT \"open; SELECT", "SELECT $x$ open; $y$ $x; SELECT",
        "SELECT (1; SELECT",    "SELECT E'open\\",       "SELECT $"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(sql_statement_line(texts[i], 0), 1);
        assert_int_equal(sql_statement_line(texts[i], 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_count_characters),
        cmocka_unit_test(statements_are_counted_as_the_server_counts_them),
        cmocka_unit_test(text_without_statements_has_none),
        cmocka_unit_test(what_is_never_closed_ends_with_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
