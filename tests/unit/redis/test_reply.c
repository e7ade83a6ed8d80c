#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "celeriac/error.h"
#include "core/buf.h"
#include "core/mem.h"
#include "redis/reply.h"

static struct reply_reader reader;

static int setup(void **state)
{
    (void)state;
    return reply_reader_init(&reader);
}

static int teardown(void **state)
{
    (void)state;
    mem_fail_after(0);
    reply_reader_deinit(&reader);
    return 0;
}

static const struct redis_reply *next(void)
{
    const struct redis_reply *reply = NULL;
    assert_int_equal(reply_reader_next(&reader, &reply), 0);
    return reply;
}

static void feed(const char *bytes)
{
    assert_int_equal(reply_reader_feed(&reader, str_of(bytes)), 0);
}

static void each_type_is_read(void **state)
{
    (void)state;
    feed("+OK\r\n:-42\r\n$3\r\na\nb\r\n$-1\r\n*-1\r\n-WRONGTYPE no\r\n$0\r\n\r\n*0\r\n");
    assert_true(str_equal(reply_text(next()), STR("OK")));
    assert_int_equal(reply_integer(next(), 0), -42);
    assert_true(str_equal(reply_text(next()), STR("a\nb")));
    assert_int_equal(next()->type, REDIS_NIL);
    assert_int_equal(next()->type, REDIS_NIL);
    const struct redis_reply *error = next();
    assert_int_equal(error->type, REDIS_ERROR);
    assert_true(str_equal(error->text, STR("WRONGTYPE no")));
    assert_null(reply_text(error).ptr);
    struct str empty = reply_text(next());
    assert_true(empty.ptr && empty.len == 0);
    assert_int_equal(next()->type, REDIS_ARRAY);
    assert_null(next());
}

static void arrays_nest(void **state)
{
    (void)state;
    feed("*3\r\n*2\r\n:1\r\n$1\r\nx\r\n$-1\r\n*1\r\n*1\r\n:7\r\n");
    const struct redis_reply *reply = next();
    assert_int_equal(reply_count(reply), 3);
    assert_int_equal(reply_integer(reply_item(reply_item(reply, 0), 0), 0), 1);
    assert_true(str_equal(reply_text(reply_item(reply_item(reply, 0), 1)), STR("x")));
    assert_int_equal(reply_item(reply, 1)->type, REDIS_NIL);
    assert_int_equal(reply_integer(reply_item(reply_item(reply_item(reply, 2), 0), 0), 0), 7);
}

static void a_reply_that_is_not_as_expected_misleads_nobody(void **state)
{
    (void)state;
    feed(":5\r\n");
    const struct redis_reply *reply = next();
    assert_int_equal(reply_count(reply), 0);
    assert_null(reply_text(reply).ptr);
    assert_int_equal(reply_item(reply, 3)->type, REDIS_NIL);
    assert_int_equal(reply_integer(reply_item(reply_item(reply, 0), 9), -1), -1);
    assert_null(reply_text(NULL).ptr);
    assert_int_equal(reply_count(NULL), 0);
    assert_int_equal(reply_integer(NULL, 3), 3);
}

static void bytes_may_come_one_by_one(void **state)
{
    static const char bytes[] = "*2\r\n$5\r\nhello\r\n:12\r\n+OK\r\n";
    (void)state;
    int replies = 0;
    for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
        assert_int_equal(reply_reader_feed(&reader, str_n(bytes + i, 1)), 0);
        const struct redis_reply *reply = next();
        if (!reply)
            continue;
        if (replies++ == 0) {
            assert_true(str_equal(reply_text(reply_item(reply, 0)), STR("hello")));
            assert_int_equal(reply_integer(reply_item(reply, 1), 0), 12);
        }
    }
    assert_int_equal(replies, 2);
}

static void large_replies_follow_small_ones(void **state)
{
    enum { SIZE = 3 * 1024 * 1024 };
    struct buf bytes = BUF_INIT(2 * SIZE);
    (void)state;
    for (int round = 0; round < 3; round++) {
        buf_clear(&bytes);
        buf_addf(&bytes, "*2\r\n$%d\r\n", SIZE);
        memset(buf_reserve(&bytes, SIZE), 'a' + round, SIZE);
        buf_added(&bytes, SIZE);
        buf_add_c(&bytes, "\r\n:9\r\n:1\r\n");
        for (size_t at = 0; at < bytes.len; at += 65536) {
            size_t len = bytes.len - at < 65536 ? bytes.len - at : 65536;
            if (at)
                assert_null(next());
            assert_int_equal(reply_reader_feed(&reader, str_n(bytes.ptr + at, len)), 0);
        }
        const struct redis_reply *reply = next();
        struct str text = reply_text(reply_item(reply, 0));
        assert_int_equal(text.len, SIZE);
        assert_int_equal(text.ptr[SIZE - 1], 'a' + round);
        assert_int_equal(reply_integer(reply_item(reply, 1), 0), 9);
        assert_int_equal(reply_integer(next(), 0), 1);
    }
    buf_deinit(&bytes);
}

static void what_is_no_reply_ends_the_stream(void **state)
{
    static const struct {
        const char *bytes;
        int status;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", CEL_E_FORMAT},
        {"$x\r\n", CEL_E_FORMAT},
        {"$-2\r\n", CEL_E_FORMAT},
        {":12a\r\n", CEL_E_FORMAT},
        {"*-7\r\n", CEL_E_FORMAT},
        {"*2000000\r\n", CEL_E_LIMIT},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", CEL_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct redis_reply *reply = NULL;
        feed(cases[i].bytes);
        if (reply_reader_next(&reader, &reply) != cases[i].status)
            fail_msg("%s", cases[i].bytes);
        assert_null(reply);
        assert_int_not_equal(reply_reader_next(&reader, &reply), 0);
        assert_int_not_equal(reply_reader_feed(&reader, STR("+OK\r\n")), 0);
        reply_reader_deinit(&reader);
        assert_int_equal(reply_reader_init(&reader), 0);
    }
}

static void short_memory_is_told(void **state)
{
    const struct redis_reply *reply;
    (void)state;
    feed("*1\r\n$3\r\nabc\r\n");
    mem_fail_after(1);
    assert_int_equal(reply_reader_next(&reader, &reply), -ENOMEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_type_is_read),
        TEST(arrays_nest),
        TEST(a_reply_that_is_not_as_expected_misleads_nobody),
        TEST(bytes_may_come_one_by_one),
        TEST(large_replies_follow_small_ones),
        TEST(what_is_no_reply_ends_the_stream),
        TEST(short_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
