/* Calls that wait for their turn, with a clock that is told. */
#include "worker/turns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support.h"

#define WALL (UINT64_C(1700000000) * USEC_PER_SEC)

static struct fixture {
    uv_loop_t loop;
    struct requests requests;
    struct turns turns;
    unsigned turns_come;
} f;
static usec_t now;

static usec_t mono(void)
{
    return now;
}

static usec_t wall(void)
{
    return WALL + now;
}

static void on_turn(void *data)
{
    (void)data;
    f.turns_come++;
}

static int begin(void **state)
{
    (void)state;
    f = (struct fixture){.turns_come = 0};
    now = 1000 * USEC_PER_SEC;
    clock_replace(mono, wall);
    assert_int_equal(uv_loop_init(&f.loop), 0);
    turns_init(&f.turns, &f.loop, &f.requests, on_turn, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    turns_stop(&f.turns);
    turns_deinit(&f.turns);
    requests_deinit(&f.requests);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
    clock_replace(NULL, NULL);
    return 0;
}

/* A READY call of a task that may begin each `interval`. */
static struct request *call(usec_t interval, const char *headers)
{
    struct frame_task rules = task_rules();
    rules.rate_interval = interval;
    struct request *request = request_with(&f.requests, message_with(headers), &rules);
    request_set_state(request, REQUEST_READY);
    return request;
}

static struct request *first_ready(void)
{
    return container_of(f.requests.lists[REQUEST_READY].head, struct request, link);
}

static void without_a_limit_it_is_always_the_turn(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(turns_ask(&f.turns, call(0, "")), RATE_NOW);
    assert_int_equal(f.turns.limits.count, 0);
}

static void they_come_in_their_order_and_in_front(void **state)
{
    (void)state;
    struct request *first = call(USEC_PER_SEC / 4, ""), *second = call(USEC_PER_SEC / 4, ""),
                   *third = call(USEC_PER_SEC / 4, "");
    assert_int_equal(turns_ask(&f.turns, first), RATE_NOW);
    assert_int_equal(turns_ask(&f.turns, first), RATE_NOW); /* it has its token */
    assert_int_equal(turns_ask(&f.turns, second), RATE_HOLD);
    assert_int_equal(turns_ask(&f.turns, third), RATE_HOLD);
    assert_int_equal(second->state, REQUEST_LIMITED);
    assert_false(turns_next(&f.turns));
    now += USEC_PER_SEC / 4;
    assert_true(turns_next(&f.turns));
    assert_ptr_equal(first_ready(), second);
    /* it is revoked just now: the token is the next one's, at its turn */
    request_set_state(second, REQUEST_SETTLING);
    assert_false(turns_next(&f.turns));
    now += USEC_PER_SEC / 4;
    assert_true(turns_next(&f.turns));
    assert_ptr_equal(first_ready(), third);
    assert_int_equal(turns_ask(&f.turns, third), RATE_NOW);
}

static void a_turn_is_brought_by_the_message(void **state)
{
    (void)state;
    char headers[80];
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC, "")), RATE_NOW);
    struct request *fresh = call(USEC_PER_SEC, "");
    assert_int_equal(turns_ask(&f.turns, fresh), RATE_HOLD);
    snprintf(headers, sizeof(headers), ", \"celeriac_turn\": %llu",
             (unsigned long long)((wall() - 90 * USEC_PER_SEC) / USEC_PER_MSEC));
    struct request *late = call(USEC_PER_SEC, headers);
    assert_int_equal(turns_ask(&f.turns, late), RATE_HOLD);
    assert_int_equal(late->turn.mono, now - 90 * USEC_PER_SEC);
    now += USEC_PER_SEC;
    assert_true(turns_next(&f.turns));
    assert_ptr_equal(first_ready(), late);
    /* older than the clock that counts from the start of this host */
    struct request *oldest = call(USEC_PER_SEC, ", \"celeriac_turn\": 1000");
    assert_int_equal(turns_ask(&f.turns, oldest), RATE_NOW);
    assert_int_equal(oldest->turn.mono, 1);
}

static void one_that_is_parked_has_its_times(void **state)
{
    (void)state;
    assert_int_equal(turns_ask(&f.turns, call(60 * USEC_PER_SEC, "")), RATE_NOW);
    struct request *parked = call(60 * USEC_PER_SEC, "");
    assert_int_equal(turns_ask(&f.turns, parked), RATE_PARK);
    assert_int_equal(parked->state, REQUEST_READY);
    assert_int_equal(parked->turn.wall, wall() + 60 * USEC_PER_SEC);
    assert_int_equal(parked->turn.back_wall, parked->turn.wall - RATE_LEAD_USEC);
}

static void one_that_no_child_has_time_for_goes_to_others(void **state)
{
    (void)state;
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC / 2, "")), RATE_NOW);
    struct request *held = call(USEC_PER_SEC / 2, "");
    assert_int_equal(turns_ask(&f.turns, held), RATE_HOLD);
    now += USEC_PER_SEC;
    assert_null(turns_late(&f.turns));
    now += USEC_PER_SEC;
    assert_ptr_equal(turns_late(&f.turns), held);
    assert_null(turns_late(&f.turns));
    assert_int_equal(held->turn.wall, wall() - 3 * USEC_PER_SEC / 2);
    assert_true(held->turn.back_wall > wall());
}

static void another_limit_holds_at_once(void **state)
{
    (void)state;
    struct cel_error err = {0};
    struct frame_task rules = task_rules();
    rules.rate_limit = STR("1/s");
    struct request *held[3];
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC, "")), RATE_NOW);
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC, "")), RATE_HOLD);
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC, "")), RATE_PARK);
    struct turns_view view = turns_look(&f.turns, &rules);
    assert_true(str_equal(view.limit, STR("1/s")));
    assert_int_equal(view.held, 1);
    assert_int_equal(view.parked, 1);
    assert_int_equal(view.wait, 3 * USEC_PER_SEC);

    assert_int_equal(turns_tell(&f.turns, STR("shop.add"), STR("10/d"), &err), -EINVAL);
    assert_int_equal(turns_tell(&f.turns, STR("shop.add"), STR("10/s"), &err), 0);
    assert_true(str_equal(turns_look(&f.turns, &rules).limit, STR("10/s")));
    assert_true(turns_next(&f.turns));
    assert_int_equal(turns_ask(&f.turns, first_ready()), RATE_NOW);
    for (unsigned i = 0; i < 3; i++) {
        held[i] = call(USEC_PER_SEC, "");
        assert_int_equal(turns_ask(&f.turns, held[i]), RATE_HOLD);
    }
    assert_int_equal(held[2]->turn.mono, now + 3 * USEC_PER_SEC / 10);

    assert_int_equal(turns_tell(&f.turns, STR("shop.add"), STR("0"), &err), 0);
    assert_null(turns_look(&f.turns, &rules).limit.ptr);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(turns_next(&f.turns));
        assert_ptr_equal(first_ready(), held[i]);
        assert_int_equal(turns_ask(&f.turns, held[i]), RATE_NOW);
        request_set_state(held[i], REQUEST_SETTLING);
    }
    assert_int_equal(turns_ask(&f.turns, call(USEC_PER_SEC, "")), RATE_NOW);
}

static void the_loop_is_woken_for_a_turn(void **state)
{
    (void)state;
    clock_replace(NULL, NULL);
    assert_int_equal(turns_ask(&f.turns, call(20 * USEC_PER_MSEC, "")), RATE_NOW);
    assert_int_equal(turns_ask(&f.turns, call(20 * USEC_PER_MSEC, "")), RATE_HOLD);
    uv_run(&f.loop, UV_RUN_ONCE);
    assert_int_equal(f.turns_come, 1);
    assert_true(turns_next(&f.turns));
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(without_a_limit_it_is_always_the_turn),
        test(they_come_in_their_order_and_in_front),
        test(a_turn_is_brought_by_the_message),
        test(one_that_is_parked_has_its_times),
        test(one_that_no_child_has_time_for_goes_to_others),
        test(another_limit_holds_at_once),
        test(the_loop_is_woken_for_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
