#include "beat/alarm.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct alarm alarm_clock;
static uv_loop_t loop;
static int strikes;
static usec_t struck_wall;

static void on_alarm(void *data)
{
    (void)data;
    strikes++;
    struck_wall = clock_wall();
    uv_stop(&loop);
}

static int open_alarm(void **state)
{
    struct cel_error err = {0};

    (void)state;
    strikes = 0;
    if (uv_loop_init(&loop) < 0)
        return -1;
    return alarm_open(&alarm_clock, &loop, on_alarm, NULL, &err);
}

static int close_alarm(void **state)
{
    (void)state;
    alarm_close(&alarm_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void it_strikes_not_before_its_time(void **state)
{
    (void)state;
    for (int round = 1; round <= 5; round++) {
        usec_t wall = clock_wall() + 1234;
        alarm_set(&alarm_clock, wall);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(strikes, round);
        assert_true(struck_wall >= wall);
    }
}

static void a_time_that_has_passed_strikes_at_once(void **state)
{
    (void)state;
    alarm_set(&alarm_clock, clock_wall() - 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm_set(&alarm_clock, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(strikes, 2);
}

static void it_strikes_once(void **state)
{
    (void)state;
    alarm_set(&alarm_clock, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(strikes, 1);
}

static void a_new_setting_takes_the_place_of_the_old(void **state)
{
    (void)state;
    alarm_set(&alarm_clock, 1);
    alarm_set(&alarm_clock, USEC_NEVER);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(strikes, 0);
    usec_t wall = clock_wall() + 1000;
    alarm_set(&alarm_clock, wall + 3600 * USEC_PER_SEC);
    alarm_set(&alarm_clock, wall);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(strikes, 1);
    assert_true(struck_wall >= wall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_strikes_not_before_its_time, open_alarm, close_alarm),
        cmocka_unit_test_setup_teardown(a_time_that_has_passed_strikes_at_once, open_alarm,
                                        close_alarm),
        cmocka_unit_test_setup_teardown(it_strikes_once, open_alarm, close_alarm),
        cmocka_unit_test_setup_teardown(a_new_setting_takes_the_place_of_the_old, open_alarm,
                                        close_alarm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
