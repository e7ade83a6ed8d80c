#include "core/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/mem.h"

static void a_new_buffer_holds_nothing(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100);
    assert_int_equal(buf_status(&buf), 0);
    assert_null(buf_str(&buf).ptr);
    assert_int_equal(buf_str(&buf).len, 0);
    assert_null(buf_take(&buf, NULL));
    buf_consume(&buf, 0);
    buf_deinit(&buf);
    buf_deinit(NULL);
}

static void everything_added_is_there_and_terminated(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    buf_add(&buf, "ab\0c", 4);
    buf_add_str(&buf, STR("def"));
    buf_add_c(&buf, "ghi");
    buf_add_char(&buf, 'j');
    buf_addf(&buf, "%d-%s", 5, "x");
    assert_int_equal(buf_status(&buf), 0);
    assert_int_equal(buf.len, 14);
    assert_memory_equal(buf.ptr, "ab\0cdefghij5-x", 15);
}

static void numbers_are_written_to_their_ends(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    buf_add_i64(&buf, INT64_MIN);
    buf_add_char(&buf, ' ');
    buf_add_i64(&buf, INT64_MAX);
    buf_add_char(&buf, ' ');
    buf_add_i64(&buf, -1);
    buf_add_char(&buf, ' ');
    buf_add_u64(&buf, 0);
    buf_add_char(&buf, ' ');
    buf_add_u64(&buf, UINT64_MAX);
    assert_string_equal(buf.ptr,
                        "-9223372036854775808 9223372036854775807 -1 0 18446744073709551615");
}

static void empty_text_counts_as_added(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(0);
    buf_add_str(&buf, STR_NONE);
    assert_int_equal(buf_status(&buf), 0);
    size_t len = 7;
    char *taken = buf_take(&buf, &len);
    assert_string_equal(taken, "");
    assert_int_equal(len, 0);
    mem_free(taken);
}

static void the_ceiling_is_exact_and_its_failure_sticks(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max += 7) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(max);
        for (size_t i = 0; i < max; i++)
            buf_add_char(&buf, 'x');
        assert_int_equal(buf_status(&buf), 0);
        assert_int_equal(buf.len, max);
        assert_true(buf.cap <= max + 1);
        buf_add_c(&buf, "");
        assert_int_equal(buf_status(&buf), 0);
        buf_add_char(&buf, 'y');
        assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
        buf_add_c(&buf, "");
        assert_null(buf_reserve(&buf, 0));
        assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
        assert_int_equal(buf.len, max);
        assert_null(buf_take(&buf, NULL));
    }
}

static void formatted_text_fits_whole_or_not_at_all(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'x', sizeof(text));
    for (int len = 0; len < 200; len++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(150);
        buf_add_c(&buf, "0123456789");
        buf_addf(&buf, "%.*s", len, text);
        assert_int_equal(buf_status(&buf), len <= 140 ? 0 : CEL_E_LIMIT);
        assert_int_equal(buf.len, len <= 140 ? len + 10 : 10);
        assert_int_equal(buf.ptr[buf.len], '\0');
    }
}

static void a_size_beyond_memory_is_a_limit(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(SIZE_MAX);
    buf_add_c(&buf, "abc");
    assert_null(buf_reserve(&buf, SIZE_MAX - 3));
    assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
    assert_string_equal(buf.ptr, "abc");
}

static void clearing_forgets_content_and_failure(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4);
    buf_clear(&buf);
    buf_add_c(&buf, "abcd");
    buf_add_c(&buf, "e");
    assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
    const char *memory = buf.ptr;
    buf_clear(&buf);
    assert_int_equal(buf_status(&buf), 0);
    assert_string_equal(buf.ptr, "");
    buf_add_c(&buf, "xyz");
    assert_ptr_equal(buf.ptr, memory);
    assert_string_equal(buf.ptr, "xyz");
}

static void after_taking_or_deinit_the_ceiling_is_the_same(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(3);
    buf_add_c(&buf, "abc");
    char *taken = buf_take(&buf, NULL);
    assert_string_equal(taken, "abc");
    mem_free(taken);
    assert_int_equal(buf.len, 0);
    buf_add_c(&buf, "abcd");
    assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
    buf_deinit(&buf);
    assert_int_equal(buf_status(&buf), 0);
    buf_add_c(&buf, "abc");
    assert_int_equal(buf_status(&buf), 0);
    buf_add_c(&buf, "d");
    assert_int_equal(buf_status(&buf), CEL_E_LIMIT);
    buf_deinit(&buf);
}

static void reserved_room_is_filled_by_the_caller(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1000);
    buf_add_c(&buf, "abc");
    char *room = buf_reserve(&buf, 500);
    assert_non_null(room);
    assert_int_equal(buf.len, 3);
    memset(room, 'x', 500);
    buf_added(&buf, 500);
    assert_int_equal(buf.len, 503);
    assert_memory_equal(buf.ptr, "abcx", 4);
    assert_int_equal(buf.ptr[503], '\0');
}

static void consuming_takes_from_the_front(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(100);
    buf_add_c(&buf, "abcdef");
    buf_consume(&buf, 2);
    assert_string_equal(buf.ptr, "cdef");
    buf_consume(&buf, 4);
    assert_string_equal(buf.ptr, "");
    assert_int_equal(buf.len, 0);
    buf_add_c(&buf, "xy");
    assert_string_equal(buf.ptr, "xy");
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(10000);
        mem_fail_after(n);
        for (int i = 0; i < 100; i++)
            buf_addf(&buf, "%d, ", i);
        mem_fail_after(0);
        if (buf_status(&buf) == 0) {
            assert_true(n > 2);
            assert_int_equal(buf.len, 390);
            return;
        }
        assert_int_equal(buf_status(&buf), -ENOMEM);
        assert_null(buf_take(&buf, NULL));
        assert_true(buf.len < 390);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_holds_nothing),
        cmocka_unit_test(everything_added_is_there_and_terminated),
        cmocka_unit_test(numbers_are_written_to_their_ends),
        cmocka_unit_test(empty_text_counts_as_added),
        cmocka_unit_test(the_ceiling_is_exact_and_its_failure_sticks),
        cmocka_unit_test(formatted_text_fits_whole_or_not_at_all),
        cmocka_unit_test(a_size_beyond_memory_is_a_limit),
        cmocka_unit_test(clearing_forgets_content_and_failure),
        cmocka_unit_test(after_taking_or_deinit_the_ceiling_is_the_same),
        cmocka_unit_test(reserved_room_is_filled_by_the_caller),
        cmocka_unit_test(consuming_takes_from_the_front),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
