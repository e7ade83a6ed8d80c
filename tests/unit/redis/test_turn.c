#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "redis/turn.h"

static uv_loop_t loop;
static struct turn turn;
static usec_t fake_now;
static bool closed;

static usec_t fake_mono(void)
{
    return fake_now;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static int setup(void **state)
{
    (void)state;
    fake_now = USEC_PER_SEC;
    clock_replace(fake_mono, NULL);
    closed = false;
    turn_init(&turn, &loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (!turn.is_closing)
        turn_close(&turn, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    clock_replace(NULL, NULL);
    return closed ? 0 : -1;
}

static int setup_loop(void **state)
{
    (void)state;
    return uv_loop_init(&loop);
}

static int teardown_loop(void **state)
{
    (void)state;
    return uv_loop_close(&loop);
}

struct bell {
    struct turn_alarm alarm;
    int rings;
    struct turn_alarm *clears; /* when it rings */
    bool sets_again, closes;
};

static void on_ring(struct turn_alarm *alarm)
{
    struct bell *bell = container_of(alarm, struct bell, alarm);
    bell->rings++;
    if (bell->clears)
        turn_alarm_clear(bell->clears);
    if (bell->sets_again)
        turn_alarm(&turn, alarm, 0);
    if (bell->closes)
        turn_close(&turn, on_closed, &closed);
}

static struct bell new_bell(void)
{
    return (struct bell){.alarm = {.fn = on_ring}};
}

static void an_alarm_that_is_due_rings_in_this_turn(void **state)
{
    struct bell bell = new_bell();
    (void)state;
    turn_alarm(&turn, &bell.alarm, 0);
    assert_int_equal(bell.rings, 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(bell.rings, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(bell.rings, 1);
}

static void an_alarm_rings_when_the_clock_says_so(void **state)
{
    struct bell early = new_bell(), late = new_bell();
    (void)state;
    turn_alarm(&turn, &late.alarm, fake_now + 2000);
    turn_alarm(&turn, &early.alarm, fake_now + 1000);
    uv_run(&loop, UV_RUN_ONCE); /* the timer fires, our clock stands still */
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(early.rings + late.rings, 0);
    fake_now += 1000;
    while (!early.rings)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(late.rings, 0);
    fake_now += 1000;
    while (!late.rings)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(early.rings, 1);
}

static void an_alarm_may_clear_another_that_is_due(void **state)
{
    struct bell first = new_bell(), second = new_bell();
    (void)state;
    first.clears = &second.alarm;
    turn_alarm(&turn, &first.alarm, 0);
    turn_alarm(&turn, &second.alarm, 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(first.rings, 1);
    assert_int_equal(second.rings, 0);
    turn_alarm_clear(&second.alarm); /* clearing twice does nothing */
}

static void an_alarm_that_sets_itself_rings_once_a_turn(void **state)
{
    struct bell bell = new_bell();
    (void)state;
    bell.sets_again = true;
    turn_alarm(&turn, &bell.alarm, 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(bell.rings, 1);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(bell.rings, 2);
    turn_alarm_clear(&bell.alarm);
}

static void the_turn_may_be_closed_while_it_rings(void **state)
{
    struct bell first = new_bell(), second = new_bell();
    (void)state;
    first.closes = true;
    turn_alarm(&turn, &first.alarm, 0);
    turn_alarm(&turn, &second.alarm, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(first.rings, 1);
    assert_int_equal(second.rings, 0);
    assert_true(closed);
    turn_alarm(&turn, &second.alarm, 0); /* too late: nothing happens */
    assert_null(second.alarm.list);
}

struct chore {
    struct turn_task task;
    struct turn_task *calls_for;
    int done;
};

static void on_chore(struct turn_task *task)
{
    struct chore *chore = container_of(task, struct chore, task);
    chore->done++;
    if (chore->calls_for)
        turn_task(&turn, chore->calls_for);
}

static void tasks_are_done_once_before_the_loop_sleeps(void **state)
{
    struct chore first = {.task = {.fn = on_chore}}, second = {.task = {.fn = on_chore}};
    struct bell bell = new_bell();
    (void)state;
    first.calls_for = &second.task;
    turn_task(&turn, &first.task);
    turn_task(&turn, &first.task);
    turn_alarm(&turn, &bell.alarm, 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(first.done, 1);
    assert_int_equal(second.done, 1);
    turn_task(&turn, &first.task);
    turn_task_clear(&turn, &first.task);
    turn_alarm(&turn, &bell.alarm, 0);
    uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(first.done, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_alarm_that_is_due_rings_in_this_turn),
        TEST(an_alarm_rings_when_the_clock_says_so),
        TEST(an_alarm_may_clear_another_that_is_due),
        TEST(an_alarm_that_sets_itself_rings_once_a_turn),
        TEST(the_turn_may_be_closed_while_it_rings),
        TEST(tasks_are_done_once_before_the_loop_sleeps),
    };
    return cmocka_run_group_tests(tests, setup_loop, teardown_loop);
}
