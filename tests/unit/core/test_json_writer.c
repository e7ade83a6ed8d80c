#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/json.h"
#include "core/mem.h"

static void assert_text(struct str text, const char *expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    json_add_text(&buf, text);
    assert_int_equal(buf_status(&buf), 0);
    assert_string_equal(buf.ptr, expected);
}

static void text_is_written_in_ascii(void **state)
{
    (void)state;
    assert_text(STR(""), "\"\"");
    assert_text(STR("plain /~ text"), "\"plain /~ text\"");
    assert_text(STR("a\"b\\c\n\r\t\b\f"), "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\"");
    assert_text(STR("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\"");
    assert_text(STR("\xc2\x80\xdf\xbf"), "\"\\u0080\\u07ff\"");
    assert_text(STR("\xe0\xa0\x80\xef\xbf\xbf"), "\"\\u0800\\uffff\"");
    assert_text(STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), "\"\\ud800\\udc00\\udbff\\udfff\"");
}

/* As many as Python's decode("utf-8", "replace") gives. */
static void bytes_that_are_no_utf8_become_replacement_characters(void **state)
{
    (void)state;
    assert_text(STR("a\xff"
                    "b"),
                "\"a\\ufffdb\"");
    assert_text(STR("\x80\xbf"), "\"\\ufffd\\ufffd\"");
    assert_text(STR("\xc0\x80"), "\"\\ufffd\\ufffd\"");
    assert_text(STR("\xc3"), "\"\\ufffd\"");
    assert_text(STR("\xc3("), "\"\\ufffd(\"");
    assert_text(STR("\xe2\x82"), "\"\\ufffd\"");
    assert_text(STR("\xe2\x82x"), "\"\\ufffdx\"");
    assert_text(STR("\xe0\x9f\xbf"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xf0\x9f\x98"), "\"\\ufffd\"");
    assert_text(STR("\xf0\x8f\xbf\xbf"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xf8\x88\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    assert_text(STR("\xf0\x9f\xc3\xa4"), "\"\\ufffd\\u00e4\"");
}

static void absent_text_is_null(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(100);
    json_add_text_or_null(&buf, STR_NONE);
    json_add_text_or_null(&buf, STR(""));
    assert_string_equal(buf.ptr, "null\"\"");
}

static struct cel_value *one_of_each(void)
{
    struct cel_value *list = cel_list(), *map = cel_map();
    int r = cel_list_add(list, cel_typed(CEL_DATETIME, "2024-02-29T12:00:00Z"));
    r |= cel_list_add(list, cel_typed(CEL_DATETIME, "2024-02-29T12:00:00+02:00"));
    r |= cel_list_add(list, cel_typed(CEL_DATE, "2024-02-29"));
    r |= cel_list_add(list, cel_typed(CEL_TIME, "01:02:03"));
    r |= cel_list_add(list, cel_typed(CEL_DECIMAL, "1.10"));
    r |= cel_list_add(list, cel_typed(CEL_UUID, "00000000-0000-0000-0000-000000000005"));
    r |= cel_list_add(list, cel_typed(CEL_BIGINT, "18446744073709551616"));
    r |= cel_map_set(map, "k\"", cel_null());
    r |= cel_list_add(list, map);
    return r == 0 ? list : cel_value_free(list);
}

static void plain_style_writes_typed_values_as_celery_5_2(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    struct cel_value *list = one_of_each();
    assert_int_equal(json_encode(&buf, list, JSON_PLAIN), 0);
    assert_string_equal(buf.ptr, "[\"2024-02-29T12:00:00Z\", \"2024-02-29T12:00:00+02:00\", "
                                 "\"2024-02-29T00:00:00\", \"01:02:03\", \"1.10\", "
                                 "\"00000000-0000-0000-0000-000000000005\", 18446744073709551616, "
                                 "{\"k\\\"\": null}]");
    cel_value_free(list);
}

static void bytes_have_no_plain_style(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    struct cel_value *list = cel_list();
    assert_int_equal(cel_list_add(list, cel_bytes("abc", 3)), 0);
    assert_int_equal(json_encode(&buf, list, JSON_PLAIN), CEL_E_FORMAT);
    assert_int_equal(json_encode(&buf, NULL, JSON_PLAIN), CEL_E_FORMAT); /* it sticks */
    buf_clear(&buf);
    assert_int_equal(json_encode(&buf, list, JSON_TYPED), 0);
    assert_string_equal(buf.ptr, "[{\"__type__\": \"bytes\", \"__value__\": \"abc\"}]");
    cel_value_free(list);
}

static void too_deep_or_too_long_is_a_limit(void **state)
{
    (void)state;
    struct cel_value *inner = cel_list();
    for (int i = 1; i < VALUE_DEPTH_MAX; i++) {
        struct cel_value *around = cel_list();
        assert_int_equal(cel_list_add(around, inner), 0);
        inner = around;
    }
    char *text = cel_value_to_json(inner);
    assert_non_null(text);
    free(text);
    struct cel_value *map = cel_map();
    assert_int_equal(cel_map_set(map, "k", inner), 0);
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    assert_int_equal(json_encode(&buf, map, JSON_TYPED), CEL_E_LIMIT);
    assert_null(cel_value_to_json(map));
    cel_value_free(map);

    for (int uuid = 0; uuid < 2; uuid++) { /* typed objects count with what they are made of */
        for (int room = 0; room < 3; room++) {
            struct cel_value *tree =
                uuid ? cel_typed(CEL_UUID, "00000000-0000-0000-0000-000000000005")
                     : cel_typed(CEL_DATE, "2024-02-29");
            for (int i = 0; i < VALUE_DEPTH_MAX - room; i++) {
                struct cel_value *around = cel_list();
                assert_int_equal(cel_list_add(around, tree), 0);
                tree = around;
            }
            buf_clear(&buf);
            bool fits = room >= (uuid ? 2 : 1);
            assert_int_equal(json_encode(&buf, tree, JSON_TYPED), fits ? 0 : CEL_E_LIMIT);
            cel_value_free(tree);
        }
    }

    CLEANUP(buf_deinit) struct buf small = BUF_INIT(10);
    struct cel_value *list = one_of_each();
    assert_int_equal(json_encode(&small, list, JSON_TYPED), CEL_E_LIMIT);
    cel_value_free(list);
}

static void writing_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct cel_value *list = one_of_each(), *typed = cel_map();
    assert_int_equal(cel_map_set(typed, "__type__", cel_text("decimal")), 0);
    assert_int_equal(cel_map_set(typed, "__value__", cel_text("1.5")), 0);
    assert_int_equal(cel_list_add(list, typed), 0);
    for (size_t n = 1;; n++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
        mem_fail_after(n);
        int r = json_encode(&buf, list, JSON_TYPED);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 4);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
    cel_value_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_written_in_ascii),
        cmocka_unit_test(bytes_that_are_no_utf8_become_replacement_characters),
        cmocka_unit_test(absent_text_is_null),
        cmocka_unit_test(plain_style_writes_typed_values_as_celery_5_2),
        cmocka_unit_test(bytes_have_no_plain_style),
        cmocka_unit_test(too_deep_or_too_long_is_a_limit),
        cmocka_unit_test(writing_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
