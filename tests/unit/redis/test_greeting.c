#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "redis/greeting.h"

static void a_greeting_says_what_the_url_asks_for(void **state)
{
    static const struct {
        const char *url;
        bool wants_id;
        const char *bytes;
        unsigned steps;
    } cases[] = {
        {"redis://h", false, "*1\r\n$4\r\nPING\r\n", 1},
        {"redis://:pw@h/2", false,
         "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*1\r\n$4\r\nPING\r\n",
         3},
        {"redis://me:pw@h", true,
         "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"
         "*1\r\n$4\r\nPING\r\n",
         3},
        {"sentinel://:pw@h?master_name=m&sentinel_password=sp", false,
         "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nPING\r\n", 3},
        {"redis://me@h", false, "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
         2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url url;
        struct buf bytes;
        enum redis_hello steps[REDIS_HELLO_STEPS];
        unsigned count;
        assert_int_equal(url_parse(str_of(cases[i].url), NULL, &url, NULL), 0);
        assert_int_equal(redis_hello(&url, cases[i].wants_id, &bytes, steps, &count), 0);
        assert_string_equal(bytes.ptr, cases[i].bytes);
        assert_int_equal(count, cases[i].steps);
        assert_int_equal(steps[count - 1], REDIS_HELLO_PING);
        buf_deinit(&bytes);
        url_deinit(&url);
    }
}

static void an_extra_may_be_forbidden(void **state)
{
    (void)state;
    assert_true(redis_hello_may_fail(REDIS_HELLO_PING, STR("NOPERM x")));
    assert_true(redis_hello_may_fail(REDIS_HELLO_ROLE, STR("NOPERM x")));
    assert_false(redis_hello_may_fail(REDIS_HELLO_ROLE, STR("NOAUTH x")));
    assert_false(redis_hello_may_fail(REDIS_HELLO_AUTH, STR("NOPERM x")));
    assert_false(redis_hello_may_fail(REDIS_HELLO_PING, STR("LOADING x")));
}

static void refusals_are_told_from_passing_troubles(void **state)
{
    static const struct {
        enum redis_hello step;
        const char *words;
        int code;
    } cases[] = {
        {REDIS_HELLO_AUTH, "WRONGPASS invalid username-password pair", CEL_E_AUTH},
        {REDIS_HELLO_AUTH, "ERR Client sent AUTH, but no password is set", CEL_E_AUTH},
        {REDIS_HELLO_AUTH, "ERR max number of clients reached", 0},
        {REDIS_HELLO_SELECT, "ERR DB index is out of range", CEL_E_SERVER},
        {REDIS_HELLO_SELECT, "NOAUTH Authentication required.", CEL_E_AUTH},
        {REDIS_HELLO_PING, "NOAUTH Authentication required.", CEL_E_AUTH},
        {REDIS_HELLO_PING, "LOADING Redis is loading the dataset in memory", 0},
        {REDIS_HELLO_PING, "MASTERDOWN Link with MASTER is down", 0},
        {REDIS_HELLO_AUTH, "LOADING Redis is loading the dataset in memory", 0},
        {REDIS_HELLO_SELECT, "BUSY Redis is busy running a script", 0},
        {REDIS_HELLO_AUTH, "NOAUTH HELLO must be called", CEL_E_AUTH},
        {REDIS_HELLO_PING, "DENIED Redis is running in protected mode", CEL_E_AUTH},
        {REDIS_HELLO_PING, "ERR max number of clients reached", 0},
        {REDIS_HELLO_PING, "ERR something else", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (redis_hello_refusal(cases[i].step, str_of(cases[i].words)) != cases[i].code)
            fail_msg("%s", cases[i].words);
    }
}

static void a_role_is_read(void **state)
{
    const struct redis_reply master = {.type = REDIS_TEXT, .text = STR("master")};
    const struct redis_reply slave = {.type = REDIS_TEXT, .text = STR("slave")};
    const struct redis_reply roles[] = {
        {.type = REDIS_ARRAY, .items = (struct redis_reply *)(uintptr_t)&master, .count = 1},
        {.type = REDIS_ARRAY, .items = (struct redis_reply *)(uintptr_t)&slave, .count = 1},
        {.type = REDIS_ERROR, .text = STR("NOPERM this user has no permissions")},
    };
    (void)state;
    assert_true(redis_hello_is_master(&roles[0]));
    assert_false(redis_hello_is_master(&roles[1]));
    assert_true(redis_hello_is_master(&roles[2])); /* it may not be asked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_greeting_says_what_the_url_asks_for),
        cmocka_unit_test(an_extra_may_be_forbidden),
        cmocka_unit_test(a_role_is_read),
        cmocka_unit_test(refusals_are_told_from_passing_troubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
