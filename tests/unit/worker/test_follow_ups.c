/* What follows a call, kept until it is told: chords that were read are forgotten without what came before them. */
#include "worker/follow_ups.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/mem.h"

static const struct frame_send sent = {STR("q"), STR("{}"), 0};
static const struct plan_part part = {STR("g"), 0, STR("[1, \"a\", 1]"), STR("[1, \"a\",")};
static const struct frame_outcome outcome = {
    .sends = &sent, .send_count = 1, .results = {.parts = &part, .part_count = 1}};
static const struct str texts[] = {STR("[1, \"a\", 1]")};
static const struct plan_joined joined = {.group = STR("g"), .parts = texts, .part_count = 1};

static void expect_own(const struct follow_ups *ups)
{
    assert_int_equal(ups->message_count, 1);
    assert_int_equal(ups->part_count, 1);
    assert_int_equal(ups->joined_count, 0);
}

static void a_chord_that_finds_no_memory_takes_nothing_away(void **state)
{
    (void)state;
    for (unsigned allocation = 1; allocation <= 4; allocation++) {
        struct follow_ups ups = {.messages = NULL};
        assert_int_equal(follow_ups_add(&ups, &outcome), 0);
        mem_fail_after(allocation);
        int r = follow_ups_add_joined(&ups, &joined, 1);
        mem_fail_after(0);
        assert_int_equal(r, -ENOMEM);
        follow_ups_unjoin(&ups);
        expect_own(&ups);
        follow_ups_clear(&ups);
    }
}

static void what_was_added_for_a_chord_goes_with_it(void **state)
{
    (void)state;
    struct follow_ups ups = {.messages = NULL};
    assert_int_equal(follow_ups_add(&ups, &outcome), 0);
    assert_int_equal(follow_ups_add_joined(&ups, &joined, 1), 0);
    assert_int_equal(follow_ups_add(&ups, &outcome), 0);
    assert_int_equal(ups.message_count, 2);
    assert_int_equal(follow_ups_unguarded(&ups), 1);
    follow_ups_unjoin(&ups);
    expect_own(&ups);
    follow_ups_clear(&ups);
}

/* Those that close a chord are told again: it is closed once. */
static void only_what_closes_a_chord_may_be_told_twice(void **state)
{
    (void)state;
    struct follow_ups ups = {.messages = NULL};
    assert_int_equal(follow_ups_add(&ups, &outcome), 0);
    assert_int_equal(follow_ups_add_joined(&ups, &joined, 1), 0);
    assert_int_equal(follow_ups_add(&ups, &outcome), 0);
    follow_ups_keep_guarded(&ups);
    assert_int_equal(ups.message_count, 1);
    assert_int_equal(follow_ups_unguarded(&ups), 0);
    follow_ups_clear(&ups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chord_that_finds_no_memory_takes_nothing_away),
        cmocka_unit_test(what_was_added_for_a_chord_goes_with_it),
        cmocka_unit_test(only_what_closes_a_chord_may_be_told_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
