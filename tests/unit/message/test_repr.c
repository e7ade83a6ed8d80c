#include "message/repr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"

#include "check.h"

static struct cel_value *json(const char *text)
{
    struct cel_value *value;
    struct cel_error err = {0};
    if (json_decode(str_of(text), &value, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return value;
}

static void assert_args(const char *text, const char *expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(REPR_BYTES_MAX);
    struct cel_value *args = json(text);
    repr_args(&buf, args);
    assert_int_equal(buf_status(&buf), 0);
    assert_str(buf_str(&buf), expected);
    cel_value_free(args);
}

static void assert_kwargs(const char *text, const char *expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(REPR_BYTES_MAX);
    struct cel_value *kwargs = json(text);
    repr_kwargs(&buf, kwargs);
    assert_int_equal(buf_status(&buf), 0);
    assert_str(buf_str(&buf), expected);
    cel_value_free(kwargs);
}

static void arguments_stand_as_a_tuple(void **state)
{
    (void)state;
    assert_args("[]", "()");
    assert_args("null", "()");
    assert_args("[1]", "(1,)");
    assert_args("[1, 2]", "(1, 2)");
    assert_args("[[]]", "([],)");
    assert_args("[[1], {}]", "([1], {})");
}

static void keyword_arguments_stand_as_a_dict(void **state)
{
    (void)state;
    assert_kwargs("{}", "{}");
    assert_kwargs("{\"k\": [1]}", "{'k': [1]}");
    assert_kwargs("{\"a\": null, \"it's\": true}", "{'a': None, \"it's\": True}");
}

static void values_look_as_in_python(void **state)
{
    (void)state;
    assert_args("[null, true, false, -5, 1.0, 1e16, 5e-324, -0.0, NaN, Infinity, -Infinity]",
                "(None, True, False, -5, 1.0, 1e+16, 5e-324, -0.0, nan, inf, -inf)");
    assert_args("[9223372036854775807, -9223372036854775808, 18446744073709551616]",
                "(9223372036854775807, -9223372036854775808, 18446744073709551616)");
    assert_args("[{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}]", "(Decimal('1.10'),)");
    assert_args("[{\"__type__\": \"uuid\", \"__value__\": {\"hex\": "
                "\"00000000000000000000000000000005\"}}]",
                "(UUID('00000000-0000-0000-0000-000000000005'),)");
    assert_args("[{\"__type__\": \"date\", \"__value__\": \"2024-02-29\"}]", "('2024-02-29',)");
    assert_args("[{\"__type__\": \"base64\", \"__value__\": \"/wAnIlwK\"}]",
                "(b'\\xff\\x00\\'\"\\\\\\n',)");
    assert_args("[{\"__type__\": \"bytes\", \"__value__\": \"abc\"}]", "(b'abc',)");
}

static void texts_are_quoted_as_in_python(void **state)
{
    (void)state;
    assert_args("[\"\"]", "('',)");
    assert_args("[\"it's\"]", "(\"it's\",)");
    assert_args("[\"say \\\"x\\\"\"]", "('say \"x\"',)");
    assert_args("[\"it's \\\"x\\\"\"]", "('it\\'s \"x\"',)");
    assert_args("[\"a\\\\b\\n\\r\\t\\u0000\\u001f\\u007f\"]",
                "('a\\\\b\\n\\r\\t\\x00\\x1f\\x7f',)");
    assert_args("[\"na\\u00efve \\u540d \\ud83d\\ude00\"]",
                "('na\xc3\xafve \xe5\x90\x8d \xf0\x9f\x98\x80',)");
    assert_args("[\"\\u0085\\u00a0\\u00ad\\u200b\\u2028\\ufeff\\ue000\"]",
                "('\\x85\\xa0\\xad\\u200b\\u2028\\ufeff\\ue000',)");
    assert_args("[\"\\udb40\\udc01\"]", "('\\U000e0001',)");
}

static void deep_values_are_cut_as_celery_cuts_them(void **state)
{
    (void)state;
    assert_args("[{\"a\": {\"b\": [1, {\"c\": 2}]}}]", "({'a': {'b': [...]}},)");
    assert_args("[[[[]]]]", "([[[...]]],)");
    assert_args("[[[{\"a\": 1}, 2], 3], 4]", "([[{...}, 2], 3], 4)");
}

/* Everything that is cut still closes its quotes and brackets, and stays below the limit. */
static void long_values_are_cut(void **state)
{
    (void)state;
    for (size_t length = 900; length < 1300; length += 1) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(REPR_BYTES_MAX);
        struct cel_value *args = cel_list(), *inner = cel_list(), *map = cel_map();
        char *text = malloc(length);
        assert_non_null(text);
        memset(text, 'x', length);
        cel_map_set(map, "key", cel_text_n(text, length));
        cel_map_set(map, "next", cel_int(12345));
        cel_list_add(inner, map);
        cel_list_add(inner, cel_null());
        cel_list_add(args, inner);
        free(text);
        repr_args(&buf, args);
        assert_int_equal(buf_status(&buf), 0);
        assert_true(buf.len <= REPR_BYTES_MAX);
        assert_true(str_starts(buf_str(&buf), STR("([{'key': 'xxx")));
        assert_true(str_ends(buf_str(&buf), STR("],)")));
        if (length > 1020)
            assert_true(str_ends(buf_str(&buf), STR("x...'}],)")));
        else if (length > 1000)
            assert_non_null(strstr(buf.ptr, "..."));
        else if (length < 930)
            assert_true(str_ends(buf_str(&buf), STR("', 'next': 12345}, None],)")));
        cel_value_free(args);
    }
}

static void many_values_are_cut(void **state)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(REPR_BYTES_MAX);
    struct cel_value *args = cel_list();
    (void)state;
    for (int i = 0; i < 1000; i++)
        cel_list_add(args, cel_int(1000000 + i));
    repr_args(&buf, args);
    assert_int_equal(buf_status(&buf), 0);
    assert_true(buf.len > 950 && buf.len <= REPR_BYTES_MAX);
    assert_true(str_ends(buf_str(&buf), STR(", ...)")));
    cel_value_free(args);
}

static void characters_are_cut_whole(void **state)
{
    (void)state;
    for (size_t max = 20; max < 60; max++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(max);
        struct cel_value *text =
            json("\"\\u540d\\u0001\\u540d\\ud83d\\ude00\\u540d\\u540d\\u540d\\u540d\"");
        repr_value(&buf, text, false, max);
        assert_int_equal(buf_status(&buf), 0);
        assert_true(str_is_utf8(buf_str(&buf)));
        assert_true(str_ends(buf_str(&buf), STR("'")));
        cel_value_free(text);
    }
}

static void the_smallest_limit_is_kept(void **state)
{
    struct cel_value *args = json("[[[\"abc\", 1.5]], {\"k\": null}]");
    (void)state;
    for (size_t max = 0; max < 40; max++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(max < 14 ? 14 : max);
        repr_value(&buf, args, true, max);
        assert_int_equal(buf_status(&buf), 0);
    }
    cel_value_free(args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_stand_as_a_tuple),
        cmocka_unit_test(keyword_arguments_stand_as_a_dict),
        cmocka_unit_test(values_look_as_in_python),
        cmocka_unit_test(texts_are_quoted_as_in_python),
        cmocka_unit_test(deep_values_are_cut_as_celery_cuts_them),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(many_values_are_cut),
        cmocka_unit_test(characters_are_cut_whole),
        cmocka_unit_test(the_smallest_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
