#include "core/msgpack.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base64.h"
#include "core/json.h"
#include "core/mem.h"
#include "tests/support/vectors.h"

static struct cel_value *decode(struct str bytes)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    if (msgpack_decode(bytes, &value, &err) < 0)
        fail_msg("%s", err.text);
    return value;
}

static struct cel_value *from_json(const char *json)
{
    struct cel_value *value = NULL;
    assert_int_equal(json_decode(str_of(json), &value, NULL), 0);
    return value;
}

static void assert_encoded(const struct cel_value *value, struct str expected)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(VALUE_BYTES_MAX);
    struct cel_error err = {0};
    if (msgpack_encode(&buf, value, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(buf.len, expected.len);
    assert_memory_equal(buf.ptr, expected.ptr, expected.len);
}

static void pieces_get_their_types(void **state)
{
    (void)state;
    struct cel_value *list = decode(STR("\x99\xc0\xc2\xc3\x01\xff\xca\x3f\xc0\0\0\xc4\x02\xff\0"
                                        "\xa3\xe2\x82\xac\x81\xa1k\x90"));
    assert_int_equal(cel_value_count(list), 9);
    assert_int_equal(cel_value_type(cel_value_at(list, 0)), CEL_NULL);
    assert_false(cel_value_bool(cel_value_at(list, 1), true));
    assert_true(cel_value_bool(cel_value_at(list, 2), false));
    assert_int_equal(cel_value_int(cel_value_at(list, 3), 0), 1);
    assert_int_equal(cel_value_int(cel_value_at(list, 4), 0), -1);
    assert_true(cel_value_float(cel_value_at(list, 5), 0) == 1.5);
    size_t len;
    assert_int_equal(cel_value_type(cel_value_at(list, 6)), CEL_BYTES);
    assert_memory_equal(cel_value_bytes(cel_value_at(list, 6), &len), "\xff\0", 2);
    assert_int_equal(len, 2);
    assert_string_equal(cel_value_text(cel_value_at(list, 7), NULL), "\xe2\x82\xac");
    assert_int_equal(cel_value_type(cel_value_get(cel_value_at(list, 8), "k")), CEL_LIST);
    cel_value_free(list);
}

static void integers_beyond_64_signed_bits_are_kept_as_digits(void **state)
{
    (void)state;
    struct cel_value *value = decode(STR("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(cel_value_type(value), CEL_BIGINT);
    assert_string_equal(cel_value_text(value, NULL), "18446744073709551615");
    assert_encoded(value, STR("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    cel_value_free(value);
    value = decode(STR("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(cel_value_int(value, 0), INT64_MAX);
    cel_value_free(value);
}

static void longer_integers_cannot_be_written(void **state)
{
    (void)state;
    static const char *const digits[] = {"[18446744073709551616]", "[-9223372036854775809]"};
    for (size_t i = 0; i < ARRAY_SIZE(digits); i++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(100);
        struct cel_value *value = from_json(digits[i]);
        struct cel_error err = {0};
        assert_int_equal(msgpack_encode(&buf, value, &err), CEL_E_FORMAT);
        assert_non_null(strstr(err.text, "64 bits"));
        cel_value_free(value);
    }
}

static void typed_values_go_as_their_text(void **state)
{
    (void)state;
    struct cel_value *value = cel_typed(CEL_DATE, "2024-02-29");
    assert_encoded(value, STR("\xaa"
                              "2024-02-29"));
    cel_value_free(value);
    value = cel_typed(CEL_DECIMAL, "1.10");
    assert_encoded(value, STR("\xa4"
                              "1.10"));
    cel_value_free(value);
}

static void the_last_of_duplicate_keys_wins(void **state)
{
    (void)state;
    struct cel_value *map = decode(STR("\x83\xa1"
                                       "a\x01\xa1"
                                       "b\x02\xa1"
                                       "a\x03"));
    assert_encoded(map, STR("\x82\xa1"
                            "a\x03\xa1"
                            "b\x02"));
    cel_value_free(map);
}

static void assert_refused(struct str bytes, int code, const char *reason)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    assert_int_equal(msgpack_decode(bytes, &value, &err), code);
    assert_null(value);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, reason))
        fail_msg("%s, not %s", err.text, reason);
    assert_int_equal(msgpack_decode(bytes, &value, NULL), code);
}

static void what_is_not_such_a_document_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        const char *reason;
    } cases[] = {
        {STR(""), "too early"},
        {STR("\x91"), "too early"},
        {STR("\x82\xa1k\x01"), "too early"},
        {STR("\x81\xa1k"), "too early"},
        {STR("\xa5"
             "abc"),
         "too early"},
        {STR("\xd9"), "too early"},
        {STR("\xcf\0\0"), "too early"},
        {STR("\xc6\xff\xff\xff\xff"), "too early"},
        {STR("\xdd\xff\xff\xff\xff"), "too early"}, /* four billion items: none is made */
        {STR("\xdf\xff\xff\xff\xff\xa1k"), "too early"},
        {STR("\x01\x02"), "byte 1: more follows"},
        {STR("\xc1"), "byte 0: unknown type"},
        {STR("\x91\xc1"), "byte 1: unknown type"},
        {STR("\xa2\xc3("), "not UTF-8"},
        {STR("\xa3\xed\xa0\x80"), "not UTF-8"},
        {STR("\x81\xa1\xff\x01"), "not UTF-8"},
        {STR("\x81\x01\x01"), "key"},
        {STR("\x81\xff\x01"), "key"},
        {STR("\x81\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "key"},
        {STR("\x81\xc0\x01"), "key"},
        {STR("\x81\xc2\x01"), "key"},
        {STR("\x81\xca\0\0\0\0\x01"), "key"},
        {STR("\x81\xc4\x01k\x01"), "key"},
        {STR("\x81\x90\x01"), "key"},
        {STR("\x81\x80\x01"), "key"},
        {STR("\xd6\xff\0\0\0\0"), "extension"}, /* a time stamp */
        {STR("\xc7\0\x05"), "extension"},
        {STR("\xc9\xff\xff\xff\xff\x05"), "extension"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_refused(cases[i].bytes, CEL_E_FORMAT, cases[i].reason);
}

static void depth_count_and_size_have_limits(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(VALUE_BYTES_MAX + 1);
    for (int i = 0; i < VALUE_DEPTH_MAX; i++)
        buf_add_c(&bytes, i % 2 ? "\x81\xa0" : "\x91");
    buf_add_char(&bytes, 7);
    struct cel_value *deepest = decode(buf_str(&bytes)), *around = cel_list();
    assert_encoded(deepest, buf_str(&bytes));
    CLEANUP(buf_deinit) struct buf deep = BUF_INIT(1000);
    assert_int_equal(cel_list_add(around, deepest), 0);
    assert_int_equal(msgpack_encode(&deep, around, NULL), CEL_E_LIMIT);
    cel_value_free(around);
    buf_clear(&bytes);
    for (int i = 0; i < 1000; i++)
        buf_add_char(&bytes, '\x91');
    assert_refused(buf_str(&bytes), CEL_E_LIMIT, "256 deep");
    bytes.ptr[VALUE_DEPTH_MAX] = '\x90'; /* an empty one counts as well */
    assert_refused(str_n(bytes.ptr, VALUE_DEPTH_MAX + 1), CEL_E_LIMIT, "256 deep");

    buf_clear(&bytes);
    buf_add(&bytes, "\xdd\x00\x0f\x42\x3f", 5); /* 999,999 */
    char *nils = buf_reserve(&bytes, VALUE_COUNT_MAX);
    memset(nils, 0xC0, VALUE_COUNT_MAX);
    buf_added(&bytes, VALUE_COUNT_MAX);
    cel_value_free(decode(str_n(bytes.ptr, bytes.len - 1)));
    bytes.ptr[4]++;
    assert_refused(buf_str(&bytes), CEL_E_LIMIT, "1000000 values");

    buf_clear(&bytes);
    char *rest = buf_reserve(&bytes, VALUE_BYTES_MAX + 1);
    memset(rest, 'x', VALUE_BYTES_MAX + 1);
    buf_added(&bytes, VALUE_BYTES_MAX + 1);
    assert_refused(buf_str(&bytes), CEL_E_LIMIT, "bytes");
}

static void a_full_buffer_is_reported(void **state)
{
    (void)state;
    struct cel_value *value = from_json("[1, 2, 3, \"text\"]");
    for (size_t max = 0; max < 9; max++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(max);
        struct cel_error err = {0};
        assert_int_equal(msgpack_encode(&buf, value, &err), CEL_E_LIMIT);
        assert_int_equal(err.code, CEL_E_LIMIT);
        assert_int_equal(msgpack_encode(&buf, value, NULL), CEL_E_LIMIT);
    }
    assert_encoded(value, STR("\x94\x01\x02\x03\xa4text"));
    cel_value_free(value);
}

static size_t body_count;

/* Bodies recorded from Celery: what they hold, and the same bytes again. */
static void rewrite_bodies(const char *name, const struct cel_value *vector)
{
    const struct cel_value *bodies = cel_value_get(vector, "decoded_bodies");
    (void)name;
    for (size_t i = 0; i < cel_value_count(bodies); i++) {
        const struct cel_value *body = cel_value_at(bodies, i);
        const char *type = cel_value_text(cel_value_get(body, "content-type"), NULL);
        if (!type || strcmp(type, "application/x-msgpack") != 0)
            continue;
        CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(10000);
        assert_int_equal(base64_decode(&bytes, value_str(cel_value_get(body, "base64"))), 0);
        struct cel_value *value = decode(buf_str(&bytes));
        assert_int_equal(cel_value_count(value), 3);
        assert_int_equal(cel_value_count(cel_value_at(value, 2)), 4);
        assert_encoded(value, buf_str(&bytes));
        cel_value_free(value);
        body_count++;
    }
}

static void recorded_bodies_are_read_and_written_alike(void **state)
{
    (void)state;
    body_count = 0;
    vectors_each(rewrite_bodies);
    assert_int_equal(body_count, 2);
}

static size_t from_hex(char *line)
{
    size_t len = 0;
    for (char *at = line; *at != '\t'; at += 2) {
        char digits[3] = {at[0], at[1], '\0'};
        line[len++] = (char)strtoul(digits, NULL, 16);
    }
    return len;
}

static void python_reads_and_writes_the_same_bytes(void **state)
{
    (void)state;
    FILE *python = popen("/usr/bin/python3 -B '" TEST_SCRIPT "' msgpack", "r");
    assert_non_null(python);
    char *line = NULL;
    size_t room = 0, count = 0;
    for (; getline(&line, &room, python) > 0; count++) {
        struct cel_value *expected = from_json(strchr(line, '\t') + 1);
        struct str bytes = str_n(line, from_hex(line));
        struct cel_value *value = decode(bytes);
        assert_true(value_equal(value, expected));
        assert_encoded(value, bytes);
        cel_value_free(expected);
        cel_value_free(value);
    }
    free(line);
    assert_int_equal(pclose(python), 0);
    assert_true(count > 700);
}

static void decoding_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct str bytes =
        STR("\x98\xc0\xc3\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\0\0\0\0\0\0\0\0"
            "\xc4\x01x\xa1x\x82\xa1"
            "a\x90\xa1"
            "b\x91\x01");
    for (size_t n = 1;; n++) {
        struct cel_value *value = NULL;
        struct cel_error err = {0};
        mem_fail_after(n);
        int r = msgpack_decode(bytes, &value, &err);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 15);
            assert_encoded(value, bytes);
            cel_value_free(value);
            return;
        }
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(err.code, -ENOMEM);
        assert_null(value);
    }
}

static void encoding_reports_short_memory(void **state)
{
    (void)state;
    struct cel_value *value = from_json("[1, \"text\"]");
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(100);
    struct cel_error err = {0};
    mem_fail_after(1);
    assert_int_equal(msgpack_encode(&buf, value, &err), -ENOMEM);
    mem_fail_after(0);
    assert_int_equal(err.code, -ENOMEM);
    cel_value_free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_get_their_types),
        cmocka_unit_test(integers_beyond_64_signed_bits_are_kept_as_digits),
        cmocka_unit_test(longer_integers_cannot_be_written),
        cmocka_unit_test(typed_values_go_as_their_text),
        cmocka_unit_test(the_last_of_duplicate_keys_wins),
        cmocka_unit_test(what_is_not_such_a_document_is_refused),
        cmocka_unit_test(depth_count_and_size_have_limits),
        cmocka_unit_test(a_full_buffer_is_reported),
        cmocka_unit_test(recorded_bodies_are_read_and_written_alike),
        cmocka_unit_test(python_reads_and_writes_the_same_bytes),
        cmocka_unit_test(decoding_survives_every_failing_allocation),
        cmocka_unit_test(encoding_reports_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
