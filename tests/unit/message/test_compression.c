/* Packing and unpacking bodies; what others packed is in test_body.c and the interop tests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "message/compression.h"

static const enum cel_compression methods[] = {CEL_ZLIB, CEL_BZIP2, CEL_LZMA, CEL_ZSTD};

static void assert_str(struct str text, const char *expected)
{
    if (!str_equal(text, str_of(expected)))
        fail_msg("%.*s instead of %s", STR_ARGS(text), expected);
}

static void each_goes_by_kombus_names(void **state)
{
    (void)state;
    static const struct {
        enum cel_compression method;
        const char *names[3];
    } cases[] = {
        {CEL_ZLIB, {"application/x-gzip", "gzip", "zlib"}},
        {CEL_BZIP2, {"application/x-bz2", "bzip2", "bzip"}},
        {CEL_LZMA, {"application/x-lzma", "lzma", "xz"}},
        {CEL_ZSTD, {"application/zstd", "zstd", "zstandard"}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_str(compression_name(cases[i].method), cases[i].names[0]);
        for (size_t n = 0; n < 3; n++)
            assert_int_equal(compression_find(str_of(cases[i].names[n])), cases[i].method);
    }
    assert_int_equal(compression_find(STR("application/x-brotli")), CEL_UNCOMPRESSED);
    assert_int_equal(compression_find(STR("")), CEL_UNCOMPRESSED);
    assert_int_equal(compression_find(STR_NONE), CEL_UNCOMPRESSED);
    assert_null(compression_name(CEL_UNCOMPRESSED).ptr);
    assert_null(compression_name((enum cel_compression)99).ptr);
}

static void fill(struct buf *buf, size_t len)
{
    uint32_t x = 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        buf_add_char(buf, (char)(x >> (i % 3 ? 30 : 24)));
    }
}

static void what_is_packed_is_unpacked_again(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16 * 1024, 16 * 1024 + 1, 3000000};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
        CLEANUP(buf_deinit) struct buf plain = BUF_INIT(SIZE_MAX / 2);
        fill(&plain, sizes[s]);
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
            CLEANUP(buf_deinit) struct buf packed = BUF_INIT(SIZE_MAX / 2);
            CLEANUP(buf_deinit) struct buf again = BUF_INIT(sizes[s]);
            struct cel_error err = {0};
            assert_int_equal(compression_pack(methods[i], buf_str(&plain), &packed), 0);
            if (sizes[s] > 1000000)
                assert_true(packed.len < plain.len * 3 / 4);
            int r = compression_unpack(methods[i], buf_str(&packed), &again, &err);
            if (r)
                fail_msg("%zu bytes, method %zu: %s", sizes[s], i, err.text);
            assert_true(str_equal(buf_str(&plain), buf_str(&again)));
        }
    }
}

static void what_breaks_off_or_is_damaged_is_refused(void **state)
{
    (void)state;
    static const char *const words[] = {"zlib", "bzip2", "lzma", "zstd"};
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        CLEANUP(buf_deinit) struct buf packed = BUF_INIT(1 << 20);
        CLEANUP(buf_deinit) struct buf again = BUF_INIT(1 << 20);
        struct cel_error err = {0};
        assert_int_equal(compression_pack(methods[i], STR("[[1, 2, 3], {}, null]"), &packed), 0);
        for (size_t len = 0; len < packed.len; len++) {
            buf_clear(&again);
            assert_int_equal(compression_unpack(methods[i], str_n(packed.ptr, len), &again, &err),
                             CEL_E_FORMAT);
        }
        char text[80] = "The body is not compressed with ";
        strcat(text, words[i]);
        assert_string_equal(err.text, text);
        packed.ptr[0] ^= 0x40;
        buf_clear(&again);
        assert_int_equal(compression_unpack(methods[i], buf_str(&packed), &again, &err),
                         CEL_E_FORMAT);
    }
}

static void the_unpacked_size_is_bounded(void **state)
{
    (void)state;
    enum { LIMIT = 1 << 20, BOMB = 12 << 20 };
    CLEANUP(buf_deinit) struct buf plain = BUF_INIT(SIZE_MAX / 2);
    char *room = buf_reserve(&plain, BOMB);
    assert_non_null(room);
    memset(room, ' ', BOMB);
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        CLEANUP(buf_deinit) struct buf bomb = BUF_INIT(SIZE_MAX / 2);
        CLEANUP(buf_deinit) struct buf fits = BUF_INIT(SIZE_MAX / 2);
        CLEANUP(buf_deinit) struct buf again = BUF_INIT(LIMIT);
        struct cel_error err = {0};
        assert_int_equal(compression_pack(methods[i], str_n(room, BOMB), &bomb), 0);
        assert_true(bomb.len < LIMIT / 4);
        assert_int_equal(compression_unpack(methods[i], buf_str(&bomb), &again, &err), CEL_E_LIMIT);
        assert_string_equal(err.text, "The body exceeds 1048576 bytes when it is decompressed");
        assert_true(again.cap <= LIMIT + 1);
        buf_clear(&again);
        assert_int_equal(compression_pack(methods[i], str_n(room, LIMIT), &fits), 0);
        assert_int_equal(compression_unpack(methods[i], buf_str(&fits), &again, &err), 0);
        assert_int_equal(again.len, LIMIT);
    }
}

/* Headers alone, which want a window of 512 and 256 MiB. */
static void a_decoder_gets_bounded_memory(void **state)
{
    (void)state;
    static const char lzma[] = "\x5d\0\0\0\x20\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0";
    static const char zstd[] = "\x28\xb5\x2f\xfd\x00\x90\x01\0\0";
    CLEANUP(buf_deinit) struct buf plain = BUF_INIT(1 << 20);
    struct cel_error err = {0};
    assert_int_equal(compression_unpack(CEL_LZMA, str_n(lzma, sizeof(lzma) - 1), &plain, &err),
                     CEL_E_LIMIT);
    assert_string_equal(err.text, "The body takes more than 128 MiB to be decompressed with lzma");
    assert_int_equal(compression_unpack(CEL_ZSTD, str_n(zstd, sizeof(zstd) - 1), &plain, &err),
                     CEL_E_LIMIT);
    assert_string_equal(err.text, "The body takes more than 128 MiB to be decompressed with zstd");
}

static void a_failed_allocation_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        CLEANUP(buf_deinit) struct buf packed = BUF_INIT(1 << 20);
        CLEANUP(buf_deinit) struct buf again = BUF_INIT(1 << 20);
        mem_fail_after(1);
        assert_int_equal(compression_pack(methods[i], STR("text"), &packed), -ENOMEM);
        buf_clear(&packed);
        assert_int_equal(compression_pack(methods[i], STR("text"), &packed), 0);
        mem_fail_after(1);
        assert_int_equal(compression_unpack(methods[i], buf_str(&packed), &again, NULL), -ENOMEM);
        mem_fail_after(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_goes_by_kombus_names),
        cmocka_unit_test(what_is_packed_is_unpacked_again),
        cmocka_unit_test(what_breaks_off_or_is_damaged_is_refused),
        cmocka_unit_test(the_unpacked_size_is_bounded),
        cmocka_unit_test(a_decoder_gets_bounded_memory),
        cmocka_unit_test(a_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
