#include "core/rate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void rates_are_read_as_celery_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        usec_t interval;
    } cases[] = {
        {"10/s", 100 * USEC_PER_MSEC},
        {"5/m", 12 * USEC_PER_SEC},
        {"1/h", 3600 * USEC_PER_SEC},
        {"100", 10 * USEC_PER_MSEC},
        {"10/", 100 * USEC_PER_MSEC},
        {"0.5/s", 2 * USEC_PER_SEC},
        {"1e3/m", 60 * USEC_PER_MSEC},
        {" 3 /s", 333333},
        {"4000000/s", 1}, /* the least */
        {"0", 0},
        {"0/m", 0},
        {"", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        usec_t interval = 7;
        assert_int_equal(rate_parse(str_of(cases[i].text), &interval), 0);
        assert_int_equal(interval, cases[i].interval);
    }
}

static void what_is_no_rate_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"x", -EINVAL},      {"/s", -EINVAL},   {"10/d", -EINVAL},  {"10/sec", -EINVAL},
        {"10/s/s", -EINVAL}, {"10 s", -EINVAL}, {"0x10", -EINVAL},  {"-1/s", -ERANGE},
        {"1e-9/h", -ERANGE}, {"nan", -ERANGE},  {"inf/m", -ERANGE}, {"1e300/s", -ERANGE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        usec_t interval = 7;
        assert_int_equal(rate_parse(str_of(cases[i].text), &interval), cases[i].status);
        assert_int_equal(interval, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read_as_celery_reads_them),
        cmocka_unit_test(what_is_no_rate_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
