#include "core/base64.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/mem.h"

static const struct {
    struct str bytes, text;
} pairs[] = {
    {STR(""), STR("")},
    {STR("f"), STR("Zg==")},
    {STR("fo"), STR("Zm8=")},
    {STR("foo"), STR("Zm9v")},
    {STR("foob"), STR("Zm9vYg==")},
    {STR("fooba"), STR("Zm9vYmE=")},
    {STR("foobar"), STR("Zm9vYmFy")},
    {STR("\xff\x00\xfb\xef\xbe"), STR("/wD7774=")},
};

static void bytes_and_text_stand_for_each_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(64), bytes = BUF_INIT(64);
        base64_add(&text, pairs[i].bytes);
        assert_true(str_equal(buf_str(&text), pairs[i].text));
        assert_int_equal(base64_decode(&bytes, pairs[i].text), 0);
        assert_true(str_equal(buf_str(&bytes), pairs[i].bytes));
        buf_deinit(&bytes);
    }
}

static void every_byte_at_every_place_survives(void **state)
{
    (void)state;
    for (size_t len = 0; len < 300; len++) {
        unsigned char bytes[300];
        for (size_t i = 0; i < len; i++)
            bytes[i] = (unsigned char)(i * 7 + len);
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1000);
        struct buf back = BUF_INIT(300);
        base64_add(&text, str_n(bytes, len));
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        assert_int_equal(base64_decode(&back, buf_str(&text)), 0);
        assert_true(str_equal(buf_str(&back), str_n(bytes, len)));
        buf_deinit(&back);
    }
}

static void line_ends_are_skipped(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(64);
    assert_int_equal(base64_decode(&bytes, STR("Zm\r\n9vZm9v\nYm\nE\n=\r\n")), 0);
    assert_true(str_equal(buf_str(&bytes), STR("foofooba")));
}

static void decoding_appends(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(64);
    buf_add_c(&bytes, "bar");
    assert_int_equal(base64_decode(&bytes, STR("Zm9v")), 0);
    assert_true(str_equal(buf_str(&bytes), STR("barfoo")));
}

static void other_text_is_refused_and_adds_nothing(void **state)
{
    (void)state;
    static const struct str wrong[] = {
        STR("Z"),
        STR("Zm"),
        STR("Zm8"),
        STR("===="),
        STR("Z==="),
        STR("Zg=="
            "Zg=="),
        STR("Zm9v Zm9v"),
        STR("Zm-v"),
        STR("Zm_v"),
        STR("Zm9\0"),
        STR("Zm9vZg=A"),
        STR("Zg==\nx"),
        STR("Zm9vZ"),
        STR("\xc3\xa4gh"),
        STR("Zm9v=m9v"),
        STR("Zg*="),
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(64);
        buf_add_c(&bytes, "bar");
        assert_int_equal(base64_decode(&bytes, wrong[i]), CEL_E_FORMAT);
        assert_true(str_equal(buf_str(&bytes), STR("bar")));
        assert_int_equal(buf_status(&bytes), 0);
    }
}

static void ceilings_and_short_memory_are_reported(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(5);
    base64_add(&small, STR("foob"));
    assert_int_equal(buf_status(&small), CEL_E_LIMIT);
    buf_clear(&small);
    assert_int_equal(base64_decode(&small, STR("Zm9vYmFy")), CEL_E_LIMIT);

    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(64);
    mem_fail_after(1);
    assert_int_equal(base64_decode(&bytes, STR("Zm9v")), -ENOMEM);
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_text_stand_for_each_other),
        cmocka_unit_test(every_byte_at_every_place_survives),
        cmocka_unit_test(line_ends_are_skipped),
        cmocka_unit_test(decoding_appends),
        cmocka_unit_test(other_text_is_refused_and_adds_nothing),
        cmocka_unit_test(ceilings_and_short_memory_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
