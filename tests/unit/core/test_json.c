#include "core/json.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "tests/support/comma_locale.h"
#include "tests/support/vectors.h"

static struct cel_value *decode(struct str text)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    if (json_decode(text, &value, &err) < 0)
        fail_msg("%s: " STR_FORMAT, err.text, STR_ARGS(text));
    return value;
}

static void
assert_encoded(const struct cel_value *value, enum json_style style, const char *expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(VALUE_BYTES_MAX);
    assert_int_equal(json_encode(&buf, value, style), 0);
    assert_string_equal(buf.ptr, expected);
}

/* Reads `text` and writes it as `expected`. */
static void assert_rewritten(const char *text, const char *expected)
{
    struct cel_value *value = decode(str_of(text));
    assert_encoded(value, JSON_TYPED, expected);
    cel_value_free(value);
}

static void pieces_get_their_types(void **state)
{
    (void)state;
    struct cel_value *list =
        decode(STR(" [null, true, false, 1, -1.5, \"gr\xc3\xbcn\", [], {\"a\": {}}] \n"));
    static const enum cel_type types[] = {CEL_NULL,  CEL_BOOL, CEL_BOOL, CEL_INT,
                                          CEL_FLOAT, CEL_TEXT, CEL_LIST, CEL_MAP};
    assert_int_equal(cel_value_count(list), ARRAY_SIZE(types));
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        assert_int_equal(cel_value_type(cel_value_at(list, i)), types[i]);
    assert_true(cel_value_bool(cel_value_at(list, 1), false));
    assert_false(cel_value_bool(cel_value_at(list, 2), true));
    assert_true(cel_value_float(cel_value_at(list, 4), 0) == -1.5);
    assert_string_equal(cel_value_text(cel_value_at(list, 5), NULL), "gr\xc3\xbcn");
    assert_int_equal(cel_value_type(cel_value_get(cel_value_at(list, 7), "a")), CEL_MAP);
    cel_value_free(list);
}

static void integers_are_exact_at_any_length(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum cel_type type;
    } cases[] = {
        {"0", CEL_INT},
        {"9223372036854775807", CEL_INT},
        {"9223372036854775808", CEL_BIGINT},
        {"-9223372036854775808", CEL_INT},
        {"-9223372036854775809", CEL_BIGINT},
        {"18446744073709551615", CEL_BIGINT},
        {"18446744073709551616", CEL_BIGINT},
        {"10000000000000000000000000000000000000000", CEL_BIGINT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_value *value = decode(str_of(cases[i].text));
        assert_int_equal(cel_value_type(value), cases[i].type);
        assert_encoded(value, JSON_TYPED, cases[i].text);
        assert_encoded(value, JSON_PLAIN, cases[i].text);
        cel_value_free(value);
    }
    assert_rewritten("-0", "0"); /* as Python: an integer has no sign of zero */
}

/* RapidJSON itself stops at 308 digits; RSA keys have more. */
static void numbers_beyond_a_double_are_read_like_others(void **state)
{
    (void)state;
    enum { DIGITS = 3000 };
    char text[DIGITS + 200], expected[DIGITS + 200], digits[DIGITS + 1];
    memset(digits, '7', DIGITS);
    digits[DIGITS] = '\0';
    snprintf(text, sizeof(text),
             "{\"12\\\"34\":[-%s,1.50,2e1,-3, \"%s\",-Infinity,NaN,0,1e400,-1E+999,1e-400,-0.0]}",
             digits, "99\\\\");
    snprintf(
        expected, sizeof(expected),
        "{\"12\\\"34\": [-%s, 1.5, 20.0, -3, \"%s\", -Infinity, NaN, 0, Infinity, -Infinity, 0.0, "
        "-0.0]}",
        digits, "99\\\\");
    assert_rewritten(text, expected);
    static const char *const wrong[] = {
        "[1e400, 01]",   "[1e400, 1.]",   "[1e400, .5]",  "[1e400, -]",  "[1e400, 1.5.5]",
        "[1e400, 1-2]",  "[1e400, +1]",   "[1e400, --1]", "[1e400, 1e]", "[1e400, 5e+]",
        "[1e400, nu1l]", "[1e400, -Inf]", "[1e400",       "[1e400, \"",  "[1e400, \"\\",
        "1e400 1",       "1e4001.2",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct cel_value *value;
        if (json_decode(str_of(wrong[i]), &value, NULL) != CEL_E_FORMAT)
            fail_msg("%s was read", wrong[i]);
    }
}

static void floats_stay_floats(void **state)
{
    (void)state;
    assert_rewritten("[1.0, -0.0, 1e2, 5e-324, 1e16, 0.1, 1e-5, 1.7976931348623157e308]",
                     "[1.0, -0.0, 100.0, 5e-324, 1e+16, 0.1, 1e-05, 1.7976931348623157e+308]");
    assert_rewritten("[NaN, Infinity, -Infinity]", "[NaN, Infinity, -Infinity]");
}

static void another_locale_changes_nothing(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    struct cel_value *value = NULL;
    comma_locale_enter();
    int r =
        json_decode(STR("[0.1, 1e300, 1234567.875, 1e400, 99999999999999999999]"), &value, NULL);
    if (r == 0)
        r = json_encode(&buf, value, JSON_TYPED);
    double number = cel_value_float(cel_value_at(value, 4), 0);
    comma_locale_leave();
    assert_int_equal(r, 0);
    assert_string_equal(buf.ptr, "[0.1, 1e+300, 1234567.875, Infinity, 99999999999999999999]");
    assert_true(number == 1e20);
    cel_value_free(value);
}

static void escapes_stand_for_characters(void **state)
{
    (void)state;
    assert_rewritten("\"\\u0041\\/\\\"\\\\\\b\\f\\n\\r\\t\\u007f\"",
                     "\"A/\\\"\\\\\\b\\f\\n\\r\\t\\u007f\"");
    assert_rewritten("\"\\ud83d\\uDE00 \xf0\x9f\x98\x80 \\u20AC\"",
                     "\"\\ud83d\\ude00 \\ud83d\\ude00 \\u20ac\"");
    struct cel_value *map = decode(STR("{\"a\\u0000b\": \"c\\u0000d\"}"));
    size_t len = 0;
    assert_memory_equal(cel_value_text(cel_value_at(map, 0), &len), "c\0d", 4);
    assert_int_equal(len, 3);
    assert_non_null(value_find(map, STR("a\0b")));
    assert_null(cel_value_get(map, "a"));
    assert_encoded(map, JSON_TYPED, "{\"a\\u0000b\": \"c\\u0000d\"}");
    cel_value_free(map);
}

static void the_last_of_duplicate_keys_wins(void **state)
{
    (void)state;
    assert_rewritten("{\"a\": 1, \"b\": 2, \"a\": [3]}", "{\"a\": [3], \"b\": 2}");
}

static void assert_refused(struct str text, int code, const char *reason)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    int r = json_decode(text, &value, &err);
    if (r != code)
        fail_msg("%d instead of %d: %.100s", r, code, text.ptr);
    assert_null(value);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, reason))
        fail_msg("%s, not %s", err.text, reason);
    assert_int_equal(json_decode(text, &value, NULL), code);
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        const char *reason;
    } cases[] = {
        {STR(""), "byte 0"},
        {STR(" \n "), "byte 3"},
        {STR("nul"), "byte"},
        {STR("[1,]"), "byte 3"},
        {STR("[1 2]"), "byte 3"},
        {STR("[1"), "byte 2"},
        {STR("{\"a\" 1}"), "byte 5"},
        {STR("{\"a\": 1,}"), "byte 8"},
        {STR("{a: 1}"), "byte 1"},
        {STR("{1: 1}"), "byte 1"},
        {STR("]"), "byte 0"},
        {STR("[}"), "byte 1"},
        {STR("01"), "byte 1"},
        {STR("+1"), "byte 0"},
        {STR(".5"), "byte 0"},
        {STR("1."), "byte 2"},
        {STR("1e"), "byte 2"},
        {STR("0x10"), "byte 1"},
        {STR("-"), "byte 1"},
        {STR("Inf"), "byte 0"},
        {STR("[-Inf]"), "byte 1"},
        {STR("-NaN"), "byte 0"},
        {STR("nan"), "byte"},
        {STR("'a'"), "byte 0"},
        {STR("\"a"), "byte 2"},
        {STR("\"a\nb\""), "byte 2"},
        {STR("\"\\x\""), "byte 1"},
        {STR("\"\\u12g4\""), "byte 1"},
        {STR("[1] 2"), "byte 4"},
        {STR("1\0"), "byte 1"},
        {STR("[1]\0\0"), "zero byte"},
        {STR("\"a\0b\""), "byte 2"},
        {STR("\xef\xbb\xbf[1]"), "byte 0"},
        {STR("// 1\n1"), "byte 0"},
        /* no UTF-8: alone, too long, cut, a surrogate, beyond the end */
        {STR("\"\xff\""), "byte 1"},
        {STR("\"\xc0\x80\""), "byte 1"},
        {STR("\"\xe0\x9f\xbf\""), "byte 1"},
        {STR("\"\xc3\""), "byte 1"},
        {STR("\"\xed\xa0\x80\""), "byte 1"},
        {STR("\"\xf4\x90\x80\x80\""), "byte 1"},
        {STR("{\"\xff\": 1}"), "byte 2"},
        {STR("[\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\", \"\xf0\x9f\x98"),
         "byte 15: It is not UTF-8"},
        {STR("\"t*\xe4"), "byte 3"}, /* the library's own check reads on behind the end */
        /* half a surrogate pair */
        {STR("\"\\ud800\""), "surrogate"},
        {STR("\"\\ud800x\""), "surrogate"},
        {STR("\"\\ud800\\u0041\""), "surrogate"},
        {STR("\"\\udc00\""), "surrogate"},
        {STR("\"\xed\x95\x9c \\udfff\""), "surrogate"},
        {STR("{\"\\udc00\": 1}"), "surrogate"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(cases[i].text, CEL_E_FORMAT, cases[i].reason);
    assert_rewritten("\"\xed\x95\x9c\"", "\"\\ud55c\""); /* begins as surrogates do */
}

static struct buf nested(int depth)
{
    struct buf buf = BUF_INIT(100000);
    for (int i = 0; i < depth; i++)
        buf_add_c(&buf, i % 2 ? "{\"k\":" : "[");
    buf_add_c(&buf, "7");
    for (int i = depth; i-- > 0;)
        buf_add_c(&buf, i % 2 ? "}" : "]");
    return buf;
}

static void depth_count_and_size_have_limits(void **state)
{
    (void)state;
    struct buf text = nested(VALUE_DEPTH_MAX);
    cel_value_free(decode(buf_str(&text)));
    buf_deinit(&text);
    text = nested(VALUE_DEPTH_MAX + 1);
    assert_refused(buf_str(&text), CEL_E_LIMIT, "256 deep");
    buf_deinit(&text);
    text = nested(1000);
    assert_refused(buf_str(&text), CEL_E_LIMIT, "256 deep");
    buf_deinit(&text);

    text = BUF_INIT(VALUE_BYTES_MAX + 1);
    buf_add_c(&text, "[1");
    for (int i = 2; i < VALUE_COUNT_MAX; i++)
        buf_add_c(&text, ",1");
    buf_add_c(&text, "]");
    struct cel_value *list = decode(buf_str(&text));
    assert_int_equal(cel_value_count(list), VALUE_COUNT_MAX - 1);
    cel_value_free(list);
    text.ptr[text.len - 1] = ',';
    buf_add_c(&text, "1]");
    assert_refused(buf_str(&text), CEL_E_LIMIT, "1000000 values");

    buf_clear(&text);
    char *blanks = buf_reserve(&text, VALUE_BYTES_MAX + 1);
    memset(blanks, ' ', VALUE_BYTES_MAX + 1);
    blanks[0] = '1';
    buf_added(&text, VALUE_BYTES_MAX + 1);
    assert_refused(buf_str(&text), CEL_E_LIMIT, "bytes");
    cel_value_free(decode(str_n(text.ptr, VALUE_BYTES_MAX)));
    buf_deinit(&text);
}

static void a_million_equal_or_different_keys_take_no_ages(void **state)
{
    (void)state;
    for (int different = 0; different < 2; different++) {
        struct buf text = BUF_INIT(VALUE_BYTES_MAX);
        buf_add_c(&text, "{\"\":1");
        for (int i = 0; i < VALUE_COUNT_MAX / 2; i++)
            buf_addf(&text, ",\"%d\":1", different ? i : 0);
        buf_add_c(&text, "}");
        struct cel_value *map = decode(buf_str(&text));
        assert_int_equal(cel_value_count(map), different ? 1 + VALUE_COUNT_MAX / 2 : 2);
        cel_value_free(map);
        buf_deinit(&text);
    }
}

static void typed_objects_become_typed_values(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum cel_type type;
        const char *text;
    } cases[] = {
        {"{\"__type__\":\"datetime\",\"__value__\":\"2024-02-29T12:00:00+00:00\"}", CEL_DATETIME,
         "2024-02-29T12:00:00+00:00"},
        {"{\"__value__\":\"2024-02-29\",\"__type__\":\"date\"}", CEL_DATE, "2024-02-29"},
        {"{\"__type__\":\"time\",\"__value__\":\"01:02:03\"}", CEL_TIME, "01:02:03"},
        {"{\"__type__\":\"decimal\",\"__value__\":\"1.10\"}", CEL_DECIMAL, "1.10"},
        {"{\"__type__\":\"uuid\",\"__value__\":{\"hex\":\"000000000000000000000000000000AF\"}}",
         CEL_UUID, "00000000-0000-0000-0000-0000000000af"},
        {"{\"__type__\":\"uuid\",\"__value__\":{\"hex\":\"00000000-0000-0000-0000-0000000000af\"}}",
         CEL_UUID, "00000000-0000-0000-0000-0000000000af"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_value *value = decode(str_of(cases[i].json));
        assert_int_equal(cel_value_type(value), cases[i].type);
        assert_string_equal(cel_value_text(value, NULL), cases[i].text);
        cel_value_free(value);
    }
    size_t len;
    struct cel_value *bytes = decode(STR("{\"__type__\":\"base64\",\"__value__\":\"/wA=\"}"));
    assert_memory_equal(cel_value_bytes(bytes, &len), "\xff\0", 2);
    assert_int_equal(len, 2);
    cel_value_free(bytes);
    bytes = decode(STR("{\"__type__\":\"bytes\",\"__value__\":\"ab\\u0000\"}"));
    assert_int_equal(cel_value_type(bytes), CEL_BYTES);
    assert_memory_equal(cel_value_bytes(bytes, &len), "ab\0", 3);
    assert_int_equal(len, 3);
    cel_value_free(bytes);
}

/* Kept, for readers who know them, and refused on the way out, for those who would choke on them.
 */
static void unknown_typed_objects_are_kept_and_not_sent_on(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"__type__\":\"complex\",\"__value__\":[1,2]}",
        "{\"__type__\":\"datetime\",\"__value__\":5}",
        "{\"__type__\":\"datetime\",\"__value__\":\"yesterday\"}",
        "{\"__type__\":\"datetime\",\"__value__\":{\"__type__\":\"date\",\"__value__\":\"2024-01-"
        "01\"}}",
        "{\"__type__\":null,\"__value__\":null}",
        "{\"__type__\":\"decimal\",\"__value__\":1.5}",
        "{\"__type__\":\"base64\",\"__value__\":\"/wA\"}",
        "{\"__type__\":\"bytes\",\"__value__\":null}",
        "{\"__type__\":\"uuid\",\"__value__\":\"00000000-0000-0000-0000-0000000000af\"}",
        "{\"__type__\":\"uuid\",\"__value__\":{\"hex\":\"00\"}}",
        "{\"__type__\":\"uuid\",\"__value__\":{\"hex\":\"000000000000000000000000000000af\",\"x\":"
        "1}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
        struct cel_value *value = decode(str_of(cases[i]));
        assert_int_equal(cel_value_type(value), CEL_MAP);
        assert_int_equal(json_encode(&buf, value, JSON_PLAIN), CEL_E_FORMAT);
        buf_clear(&buf);
        assert_int_equal(json_encode(&buf, value, JSON_TYPED), CEL_E_FORMAT);
        cel_value_free(value);
    }
    assert_rewritten("{\"__type__\":\"x\",\"__value__\":1,\"more\":2}",
                     "{\"__type__\": \"x\", \"__value__\": 1, \"more\": 2}");
    assert_rewritten("{\"__type__\":\"x\",\"value\":1}", "{\"__type__\": \"x\", \"value\": 1}");
}

static size_t text_count;

/* Every JSON text that was recorded came from Python's json.dumps, and comes out of here the same.
 */
static void rewrite_texts(const struct cel_value *value)
{
    struct str text = cel_value_type(value) == CEL_TEXT ? value->text : STR_NONE;
    if (str_starts(text, STR("{")) || str_starts(text, STR("["))) {
        struct cel_value *inner = decode(text);
        assert_encoded(inner, JSON_TYPED, text.ptr);
        cel_value_free(inner);
        text_count++;
    }
    for (size_t i = 0; i < cel_value_count(value); i++)
        rewrite_texts(cel_value_at(value, i));
}

static void rewrite_vector(const char *name, const struct cel_value *vector)
{
    (void)name;
    rewrite_texts(vector);
}

static void every_recorded_text_is_read_and_written_alike(void **state)
{
    (void)state;
    text_count = 0;
    assert_int_equal(vectors_each(rewrite_vector), 168);
    assert_true(text_count >= 340);
}

static void decoding_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct str text =
        STR("[1, -99999999999999999999, 1.5, NaN, \"t\", null, true, {\"a\": [], \"b\": 2,"
            "\"a\": {\"__type__\": \"uuid\", \"__value__\":"
            "{\"hex\": \"00000000000000000000000000000005\"}}},"
            "{\"__type__\": \"base64\", \"__value__\": \"/wA=\"},"
            "{\"__type__\": \"date\", \"__value__\": \"2024-02-29\"},"
            "{\"__type__\": \"bytes\", \"__value__\": \"x\"}, 1e999]");
    struct cel_value *whole = decode(text);
    for (size_t n = 1;; n++) {
        struct cel_value *value = NULL;
        struct cel_error err = {0};
        mem_fail_after(n);
        int r = json_decode(text, &value, &err);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 40);
            assert_true(value_equal(value, whole));
            cel_value_free(value);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(err.code, -ENOMEM);
        assert_null(value);
    }
    cel_value_free(whole);
}

static void the_public_functions_do_the_same(void **state)
{
    (void)state;
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    assert_int_equal(cel_value_from_json("[1, 2]tail", 6, &value, &err), 0);
    char *text = cel_value_to_json(value);
    assert_string_equal(text, "[1, 2]");
    free(text);
    cel_value_free(value);
    assert_int_equal(cel_value_from_json("[1, 2]tail", 7, &value, &err), CEL_E_FORMAT);
    assert_int_equal(cel_value_from_json(NULL, 0, &value, &err), -EINVAL);
    assert_int_equal(cel_value_from_json("1", 1, NULL, &err), -EINVAL);
    text = cel_value_to_json(NULL);
    assert_string_equal(text, "null");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_get_their_types),
        cmocka_unit_test(integers_are_exact_at_any_length),
        cmocka_unit_test(numbers_beyond_a_double_are_read_like_others),
        cmocka_unit_test(floats_stay_floats),
        cmocka_unit_test(another_locale_changes_nothing),
        cmocka_unit_test(escapes_stand_for_characters),
        cmocka_unit_test(the_last_of_duplicate_keys_wins),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(depth_count_and_size_have_limits),
        cmocka_unit_test(a_million_equal_or_different_keys_take_no_ages),
        cmocka_unit_test(typed_objects_become_typed_values),
        cmocka_unit_test(unknown_typed_objects_are_kept_and_not_sent_on),
        cmocka_unit_test(every_recorded_text_is_read_and_written_alike),
        cmocka_unit_test(decoding_survives_every_failing_allocation),
        cmocka_unit_test(the_public_functions_do_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
