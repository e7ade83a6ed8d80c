#include "cli/table.h"

#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_printable(const char *text, size_t len, bool lines, const char *expected)
{
    struct buf buf = BUF_INIT(1024);
    text_add_printable(&buf, str_n(text, len), lines);
    assert_string_equal(buf.ptr, expected);
    buf_deinit(&buf);
}

static void widths_are_those_of_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(text_width(""), 0);
    assert_int_equal(text_width("queue"), 5);
    assert_int_equal(text_width("für"), 3);
    assert_int_equal(text_width("日本"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1); /* a combining accent */
    assert_int_equal(text_width("a\xff"
                                "b"),
                     3);
}

static void control_characters_become_visible(void **state)
{
    (void)state;
    assert_printable("a\x1b[31mb", 7, false, "a\\x1b[31mb");
    assert_printable("a\nb\tc\r", 6, false, "a\\nb\\tc\\r");
    assert_printable("a\nb\tc\r", 6, true, "a\nb\tc\\r");
    assert_printable("a\0b", 3, false, "a\\x00b");
    assert_printable("\xc2\x9b", 2, false, "\\x9b"); /* the one-byte form of ESC [ */
    assert_printable("x\xff\xfey", 4, false, "x\xef\xbf\xbd\xef\xbf\xbdy");
    assert_printable("日\xe6\x97", 5, false, "日\xef\xbf\xbd\xef\xbf\xbd"); /* cut in the middle */
}

static void durations_are_short(void **state)
{
    (void)state;
    static const struct {
        usec_t duration;
        const char *text;
    } cases[] = {
        {0, "0ms"},
        {850 * USEC_PER_MSEC, "850ms"},
        {12 * USEC_PER_SEC, "12s"},
        {184 * USEC_PER_SEC, "3m 04s"},
        {3720 * USEC_PER_SEC, "1h 02m"},
        {5 * 86400 * USEC_PER_SEC + 3 * 3600 * USEC_PER_SEC, "5d 03h"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf buf = BUF_INIT(64);
        text_add_duration(&buf, cases[i].duration);
        assert_string_equal(buf.ptr, cases[i].text);
        buf_deinit(&buf);
    }
}

static const struct table_column columns[] = {
    {"queue", "name", false}, {"waiting", "waiting", true}, {"oldest", "oldest_age", true}};

static void fill(struct table *table)
{
    table_init(table, columns, ARRAY_SIZE(columns));
    table_add_text(table, STR("日本"), TINT_PLAIN);
    table_add_u64(table, 12345678, TINT_BAD);
    table_add_duration(table, 90 * USEC_PER_SEC);
    table_add_text(table, STR("celery"), TINT_PLAIN);
    table_add_u64(table, 7, TINT_PLAIN);
    table_add_duration(table, USEC_NEVER);
}

static void print_to(char *text, size_t size, void (*print)(const struct table *, FILE *))
{
    struct table table;
    fill(&table);
    FILE *file = fmemopen(text, size, "w");
    assert_non_null(file);
    print(&table, file);
    fclose(file);
    table_deinit(&table);
}

static void columns_align_by_what_is_shown(void **state)
{
    (void)state;
    char text[512];
    print_to(text, sizeof(text), table_print);
    assert_string_equal(text, "queue    waiting  oldest\n"
                              "日本    12345678  1m 30s\n"
                              "celery         7       -\n");
}

static void programs_get_a_list_of_maps(void **state)
{
    (void)state;
    char text[512];
    print_to(text, sizeof(text), table_print_json);
    assert_string_equal(
        text, "[{\"name\": \"\\u65e5\\u672c\", \"waiting\": 12345678, \"oldest_age\": 90.0}, "
              "{\"name\": \"celery\", \"waiting\": 7, \"oldest_age\": null}]\n");
}

static void an_empty_table_is_an_empty_list(void **state)
{
    (void)state;
    struct table table;
    table_init(&table, columns, ARRAY_SIZE(columns));
    char text[16];
    FILE *file = fmemopen(text, sizeof(text), "w");
    table_print_json(&table, file);
    fclose(file);
    assert_string_equal(text, "[]\n");
    table_deinit(&table);
}

static void text_that_is_no_utf8_is_replaced(void **state)
{
    (void)state;
    static const struct table_column one[] = {{"queue", "name", false}};
    struct table table;
    table_init(&table, one, 1);
    table_add_text(&table, STR("a\xff"), TINT_PLAIN);
    char text[64];
    FILE *file = fmemopen(text, sizeof(text), "w");
    table_print_json(&table, file);
    fclose(file);
    assert_string_equal(text, "[{\"name\": \"a\\ufffd\"}]\n");
    table_deinit(&table);
}

/* What a terminal receives when the table is printed on one. */
static void print_on_terminal(char *text, size_t size)
{
    int master, terminal;
    assert_int_equal(openpty(&master, &terminal, NULL, NULL, NULL), 0);
    FILE *file = fdopen(terminal, "w");
    struct table table;
    fill(&table);
    table_print(&table, file);
    fflush(file);
    size_t len = 0;
    do { /* the kernel hands it over piece by piece */
        ssize_t part = read(master, text + len, size - 1 - len);
        assert_true(part > 0);
        len += (size_t)part;
        text[len] = '\0';
    } while (!strstr(text, "celery") || text[len - 1] != '\n');
    fclose(file);
    close(master);
    table_deinit(&table);
}

static void colour_is_for_terminals_alone(void **state)
{
    (void)state;
    char text[1024];
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    print_on_terminal(text, sizeof(text));
    assert_non_null(strstr(text, "\x1b[31m12345678\x1b[0m"));
    assert_non_null(strstr(text, "\x1b[1mqueue\x1b[0m"));
    setenv("NO_COLOR", "1", 1);
    print_on_terminal(text, sizeof(text));
    assert_null(strchr(text, '\x1b'));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    print_on_terminal(text, sizeof(text));
    assert_null(strchr(text, '\x1b'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths_are_those_of_a_terminal),
        cmocka_unit_test(control_characters_become_visible),
        cmocka_unit_test(durations_are_short),
        cmocka_unit_test(columns_align_by_what_is_shown),
        cmocka_unit_test(programs_get_a_list_of_maps),
        cmocka_unit_test(an_empty_table_is_an_empty_list),
        cmocka_unit_test(text_that_is_no_utf8_is_replaced),
        cmocka_unit_test(colour_is_for_terminals_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
