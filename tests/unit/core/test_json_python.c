/*
 * Against Python itself: what its json module and kombu write is read and written again, to the
 * byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"

static struct cel_value *decode(struct str text)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    if (json_decode(text, &value, &err) < 0)
        fail_msg("%s: " STR_FORMAT, err.text, STR_ARGS(text));
    return value;
}

static void
assert_encoded(const struct cel_value *value, enum json_style style, struct str expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(VALUE_BYTES_MAX);
    assert_int_equal(json_encode(&buf, value, style), 0);
    if (!str_equal(buf_str(&buf), expected))
        fail_msg("%s\ninstead of\n" STR_FORMAT, buf.ptr, STR_ARGS(expected));
}

/* "[...]", or what kombu 5.3 writes, a tab, and what kombu 5.2 writes (or nothing). */
static void check_line(struct str line)
{
    struct str modern;
    bool tab = memchr(line.ptr, '\t', line.len) != NULL;
    assert_true(str_split(&line, '\t', &modern));
    struct cel_value *value = decode(modern);
    assert_encoded(value, JSON_TYPED, modern);
    if (tab) {
        enum cel_type type = cel_value_type(cel_value_at(value, 0));
        assert_true(type == CEL_BYTES || value_is_typed(type));
    }
    if (line.len > 0)
        assert_encoded(value, JSON_PLAIN, line);
    cel_value_free(value);
}

static void check_documents(const char *kind, size_t at_least)
{
    char command[1024];
    snprintf(command, sizeof(command), "/usr/bin/python3 -B '%s' %s", TEST_SCRIPT, kind);
    FILE *python = popen(command, "r");
    assert_non_null(python);
    char *line = NULL;
    size_t room = 0, count = 0;
    for (ssize_t len; (len = getline(&line, &room, python)) > 0; count++)
        check_line(str_n(line, (size_t)len - 1));
    free(line);
    assert_int_equal(pclose(python), 0);
    assert_true(count >= at_least);
}

static void documents_are_read_and_written_alike(void **state)
{
    (void)state;
    check_documents("documents", 600);
}

static void doubles_are_read_and_written_alike(void **state)
{
    (void)state;
    check_documents("doubles", 50000);
}

static void typed_values_are_read_and_written_as_kombu_does(void **state)
{
    (void)state;
    check_documents("typed", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_read_and_written_alike),
        cmocka_unit_test(doubles_are_read_and_written_alike),
        cmocka_unit_test(typed_values_are_read_and_written_as_kombu_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
