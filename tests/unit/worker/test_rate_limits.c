/* Turns and tokens, with a clock that is told. */
#include "worker/rate_limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND USEC_PER_SEC

static struct rate_bucket bucket;
static usec_t now;

/* `a_second` calls a second; a bucket that was never used. */
static void begin(unsigned a_second)
{
    now = 1000 * SECOND;
    bucket = (struct rate_bucket){.interval = SECOND / a_second};
}

static enum rate_verdict asked(usec_t *turn)
{
    enum rate_verdict verdict = rate_ask(&bucket, now, turn);
    bucket.held += verdict == RATE_HOLD;
    return verdict;
}

/* A held call is asked again. */
static enum rate_verdict released(usec_t *turn)
{
    assert_true(rate_ready_mono(&bucket, *turn) <= now);
    bucket.held--;
    return asked(turn);
}

static void the_first_begins_and_the_next_have_their_turns_in_order(void **state)
{
    (void)state;
    begin(10);
    for (usec_t i = 0; i < 100; i++) {
        usec_t turn = 0;
        enum rate_verdict expected = i == 0 ? RATE_NOW : i <= 10 ? RATE_HOLD : RATE_PARK;
        assert_int_equal(asked(&turn), expected);
        assert_int_equal(turn, now + i * SECOND / 10);
    }
    assert_int_equal(bucket.held, 10);
    assert_int_equal(bucket.parked, 89);
}

static void it_holds_one_token_however_long_nobody_comes(void **state)
{
    (void)state;
    begin(10);
    now += 3600 * SECOND;
    usec_t turns[3] = {0};
    assert_int_equal(asked(&turns[0]), RATE_NOW);
    assert_int_equal(asked(&turns[1]), RATE_HOLD);
    now += 3600 * SECOND;
    assert_int_equal(released(&turns[1]), RATE_NOW);
    assert_int_equal(asked(&turns[2]), RATE_HOLD);
    assert_int_equal(turns[2], now + SECOND / 10 - RATE_LATE_USEC);
}

/* Each call is asked again `late` after it could be; how many begin in ten seconds. */
static unsigned begun_in_ten_seconds(unsigned a_second, usec_t late)
{
    unsigned begun = 0;
    begin(a_second);
    for (usec_t end = now + 10 * SECOND; now < end;) {
        usec_t turn = 0;
        if (asked(&turn) == RATE_HOLD) {
            now = rate_ready_mono(&bucket, turn) + late;
            assert_int_equal(released(&turn), RATE_NOW);
        }
        begun++;
    }
    return begun;
}

static void lateness_does_not_add_up(void **state)
{
    (void)state;
    static const unsigned rates[] = {1, 10, 100, 500};
    for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
        assert_in_range(begun_in_ten_seconds(rates[i], 0), rates[i] * 10, rates[i] * 10 + 6);
        assert_in_range(begun_in_ten_seconds(rates[i], 1500), rates[i] * 10 - rates[i] / 50,
                        rates[i] * 10 + 6);
    }
}

static void never_more_begin_than_the_limit_allows(void **state)
{
    (void)state;
    static const unsigned rates[] = {1, 10, 100, 1000};
    for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
        begin(rates[i]);
        usec_t start = now;
        for (unsigned begun = 0; now < start + 5 * SECOND; now += 137) {
            usec_t turn = now; /* each has a turn already, from somebody else perhaps */
            bucket.held = RATE_HELD_MAX;
            if (asked(&turn) == RATE_NOW)
                begun++;
            usec_t most = (now - start + RATE_LATE_USEC) / bucket.interval + 1;
            assert_true(begun <= most);
        }
    }
}

static void a_parked_call_that_comes_back_keeps_its_turn(void **state)
{
    (void)state;
    begin(1);
    usec_t first = 0, second = 0, third = 0, fresh = 0;
    assert_int_equal(asked(&first), RATE_NOW);
    assert_int_equal(asked(&second), RATE_HOLD);
    assert_int_equal(asked(&third), RATE_PARK);
    assert_int_equal(third, now + 2 * SECOND);
    now += SECOND;
    assert_int_equal(released(&second), RATE_NOW);
    now = third - RATE_LEAD_USEC;
    usec_t back = third;
    assert_int_equal(asked(&back), RATE_HOLD);
    assert_int_equal(back, third);
    assert_int_equal(asked(&fresh), RATE_PARK); /* behind it, although it came before its turn */
    assert_int_equal(fresh, third + SECOND);
    now = third;
    assert_int_equal(released(&back), RATE_NOW);
}

static void a_late_one_goes_at_once_but_not_two(void **state)
{
    (void)state;
    begin(1);
    usec_t first = now - 100 * SECOND, second = now - 99 * SECOND;
    assert_int_equal(asked(&first), RATE_NOW);
    assert_int_equal(asked(&second), RATE_HOLD);
    assert_int_equal(second, now - 99 * SECOND); /* before all others here */
    now += SECOND;
    assert_int_equal(released(&second), RATE_NOW);
}

static void turns_that_nobody_takes_are_given_again(void **state)
{
    (void)state;
    begin(10);
    for (unsigned i = 0; i < 1000; i++) { /* all of them are revoked in the delayed set */
        usec_t turn = 0;
        if (rate_ask(&bucket, now, &turn) == RATE_HOLD)
            bucket.held++;
    }
    bucket.held = 0;
    now += 2 * SECOND;
    usec_t soon = 0, later = 0;
    assert_int_equal(asked(&soon), RATE_PARK); /* they may still come */
    now += 4 * SECOND;
    assert_int_equal(asked(&later), RATE_NOW);
}

static void one_that_is_brought_forward_by_hand_is_the_last(void **state)
{
    (void)state;
    begin(10);
    usec_t turn = 0;
    for (unsigned i = 0; i < 50; i++) {
        usec_t other = 0;
        asked(&other);
    }
    turn = now + 3 * SECOND;
    assert_int_equal(asked(&turn), RATE_PARK);
    assert_int_equal(turn, now + 5 * SECOND);
}

static void a_parked_one_comes_back_shortly_before_its_turn(void **state)
{
    (void)state;
    begin(10);
    assert_int_equal(rate_back_mono(&bucket, now, now + 5 * SECOND),
                     now + 5 * SECOND - RATE_LEAD_USEC);
    assert_int_equal(rate_back_mono(&bucket, now, now), now + RATE_AWAY_USEC); /* not at once */
    assert_int_equal(rate_back_mono(&bucket, now, now + RATE_LEAD_USEC), now + RATE_AWAY_USEC);
}

static void without_room_a_late_one_keeps_its_turn_and_stays_away_longer_and_longer(void **state)
{
    (void)state;
    unsigned rounds = 0;
    begin(10);
    usec_t first = 0, turn = now, begun = now;
    assert_int_equal(asked(&first), RATE_NOW);
    for (; now < begun + 86400 * SECOND; rounds++) {
        bucket.held = RATE_HELD_MAX;
        bucket.next_mono = now + 1;
        assert_int_equal(asked(&turn), RATE_PARK);
        assert_int_equal(turn, begun);
        usec_t back = rate_back_mono(&bucket, now, turn);
        assert_true(back >= now + RATE_HELD_MAX * SECOND / 10);
        now = back;
    }
    assert_in_range(rounds, 10, 14);
}

static void a_high_rate_holds_no_more_than_it_may(void **state)
{
    (void)state;
    begin(1000);
    for (unsigned i = 0; i < 2000; i++) {
        usec_t turn = 0;
        asked(&turn);
        assert_true(bucket.held <= RATE_HELD_MAX);
    }
    assert_true(bucket.parked > 1700);
}

/* --- all buckets ------------------------------------------------------------------------------ */

static struct rate_limits limits;

static void buckets_belong_to_names(void **state)
{
    (void)state;
    static const char *const names[] = {"m", "b", "z", "a", "bb", "mm", "c"};
    const struct frame_task limited = {.rate_interval = 7}, free_one = {.rate_interval = 0};
    struct rate_bucket *buckets[ARRAY_SIZE(names)];
    assert_null(rate_limits_find(&limits, STR("m"), &free_one));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        buckets[i] = rate_limits_find(&limits, str_of(names[i]), &limited);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_ptr_equal(rate_limits_find(&limits, str_of(names[i]), &limited), buckets[i]);
        assert_string_equal(buckets[i]->task, names[i]);
    }
    assert_int_equal(limits.count, ARRAY_SIZE(names));
    assert_null(rate_limits_find(&limits, STR("other"), &free_one));
    assert_int_equal(limits.count, ARRAY_SIZE(names));
    rate_limits_deinit(&limits);
}

static void new_code_brings_its_own_limit_and_an_operator_s_stands(void **state)
{
    (void)state;
    const struct frame_task old = {.rate_interval = 7}, fresh = {.rate_interval = 9}, none = {0};
    struct rate_bucket *told;
    struct cel_error err = {0};
    assert_int_equal(rate_limits_find(&limits, STR("a"), &old)->interval, 7);
    rate_limits_find(&limits, STR("a"), &old)->tail_mono = 5;
    assert_int_equal(rate_limits_find(&limits, STR("a"), &fresh)->interval, 9);
    assert_int_equal(rate_limits_find(&limits, STR("a"), &fresh)->tail_mono, 0);
    assert_null(rate_limits_find(&limits, STR("a"), &none));
    assert_int_equal(rate_limits_find(&limits, STR("a"), &old)->interval, 7);

    assert_int_equal(rate_limits_tell(&limits, STR("a"), STR("5/m"), &told, &err), 0);
    assert_int_equal(rate_limits_find(&limits, STR("a"), &none)->interval, 12 * SECOND);
    assert_string_equal(told->text, "5/m");
    assert_int_equal(rate_limits_tell(&limits, STR("a"), STR("0"), &told, &err), 0);
    assert_null(rate_limits_find(&limits, STR("a"), &fresh)); /* and no limit is one, too */

    assert_int_equal(rate_limits_tell(&limits, STR("a"), STR("5/x"), &told, &err), -EINVAL);
    assert_non_null(strstr(err.text, "rate limit \"5/x\""));
    assert_int_equal(rate_limits_tell(&limits, STR("a"), STR("-5"), &told, &err), -ERANGE);
    assert_int_equal(
        rate_limits_tell(&limits, STR("a"), STR("0.00000000000000000000000000001/h"), &told, &err),
        -EINVAL);
    assert_null(rate_limits_find(&limits, STR("a"), &fresh));
    rate_limits_deinit(&limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_begins_and_the_next_have_their_turns_in_order),
        cmocka_unit_test(it_holds_one_token_however_long_nobody_comes),
        cmocka_unit_test(lateness_does_not_add_up),
        cmocka_unit_test(never_more_begin_than_the_limit_allows),
        cmocka_unit_test(a_parked_call_that_comes_back_keeps_its_turn),
        cmocka_unit_test(a_late_one_goes_at_once_but_not_two),
        cmocka_unit_test(turns_that_nobody_takes_are_given_again),
        cmocka_unit_test(one_that_is_brought_forward_by_hand_is_the_last),
        cmocka_unit_test(a_parked_one_comes_back_shortly_before_its_turn),
        cmocka_unit_test(without_room_a_late_one_keeps_its_turn_and_stays_away_longer_and_longer),
        cmocka_unit_test(a_high_rate_holds_no_more_than_it_may),
        cmocka_unit_test(buckets_belong_to_names),
        cmocka_unit_test(new_code_brings_its_own_limit_and_an_operator_s_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
