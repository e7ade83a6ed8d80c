/* How many calls are claimed: the arithmetic of the credit. */
#include "intake/credit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct credit_meter meter_of(usec_t run_time)
{
    struct credit_meter meter = {0};
    for (int i = 0; i < 64; i++)
        credit_meter_add(&meter, run_time);
    return meter;
}

static void without_knowledge_only_free_children_are_served(void **state)
{
    (void)state;
    struct credit_meter meter = {0};
    assert_int_equal(credit_lookahead(&meter, 8), 0);
    assert_int_equal(credit_want(8, 0, 0), 8);
    assert_int_equal(credit_want(8, 0, 3), 5);
    assert_int_equal(credit_want(8, 0, 8), 0);
    assert_int_equal(credit_want(0, 0, 0), 0);
}

static void slow_tasks_are_not_claimed_ahead(void **state)
{
    (void)state;
    struct credit_meter meter = meter_of(CREDIT_QUICK_USEC);
    assert_int_equal(credit_lookahead(&meter, 100), 0);
    meter = meter_of(60 * USEC_PER_SEC);
    assert_int_equal(credit_lookahead(&meter, 100), 0);
}

static void quick_tasks_are_claimed_ahead_for_five_milliseconds(void **state)
{
    (void)state;
    struct credit_meter meter = meter_of(1000);
    size_t ahead = credit_lookahead(&meter, 2);
    assert_in_range(ahead, 9, 11);
    meter = meter_of(100);
    ahead = credit_lookahead(&meter, 2);
    assert_in_range(ahead, 95, 106);
    meter = meter_of(0); /* quicker than the clock shows */
    assert_int_equal(credit_lookahead(&meter, 2), CREDIT_LOOKAHEAD_MAX);
}

static void one_long_task_ends_the_looking_ahead(void **state)
{
    (void)state;
    struct credit_meter meter = meter_of(100);
    credit_meter_add(&meter, USEC_PER_SEC);
    assert_int_equal(credit_lookahead(&meter, 2), 0);
    int runs = 0;
    while (credit_lookahead(&meter, 2) == 0) {
        credit_meter_add(&meter, 100);
        assert_true(++runs < 100);
    }
    assert_in_range(runs, 10, 60);
}

static void what_came_back_is_taken_for_slow(void **state)
{
    (void)state;
    struct credit_meter meter = meter_of(100);
    credit_meter_doubt(&meter);
    assert_int_equal(credit_lookahead(&meter, 2), 0);
    meter = meter_of(USEC_PER_SEC);
    credit_meter_doubt(&meter);
    assert_true(meter.average > USEC_PER_SEC / 2); /* not quicker by that */
}

static void claims_ahead_come_in_batches(void **state)
{
    (void)state;
    assert_int_equal(credit_want(0, 100, 100), 0);
    assert_int_equal(credit_want(0, 100, 60), 0); /* less than half is used up */
    assert_int_equal(credit_want(0, 100, 50), 50);
    assert_int_equal(credit_want(0, 100, 0), CREDIT_CLAIM_MAX);
    assert_int_equal(credit_want(1, 100, 0), CREDIT_CLAIM_MAX);
    assert_int_equal(credit_want(0, 1, 0), 1); /* the smallest batch */
}

static void a_starving_child_does_not_wait_for_a_batch(void **state)
{
    (void)state;
    assert_int_equal(credit_want(2, 4, 1), 5);
    assert_int_equal(credit_want(2, 4, 5), 0);
}

static void nothing_is_ever_claimed_beyond_the_room(void **state)
{
    (void)state;
    for (size_t idle = 0; idle < 10; idle++) {
        for (size_t ahead = 0; ahead < 100; ahead++) {
            for (size_t held = 0; held < 120; held++) {
                size_t want = credit_want(idle, ahead, held);
                assert_true(want == 0 || held + want <= idle + ahead);
                assert_true(want <= CREDIT_CLAIM_MAX);
                assert_true(want > 0 || held >= idle);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_knowledge_only_free_children_are_served),
        cmocka_unit_test(slow_tasks_are_not_claimed_ahead),
        cmocka_unit_test(quick_tasks_are_claimed_ahead_for_five_milliseconds),
        cmocka_unit_test(one_long_task_ends_the_looking_ahead),
        cmocka_unit_test(what_came_back_is_taken_for_slow),
        cmocka_unit_test(claims_ahead_come_in_batches),
        cmocka_unit_test(a_starving_child_does_not_wait_for_a_batch),
        cmocka_unit_test(nothing_is_ever_claimed_beyond_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
