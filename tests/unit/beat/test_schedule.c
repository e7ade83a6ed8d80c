#include "beat/schedule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/mem.h"

#define SEC    USEC_PER_SEC
#define MINUTE (60 * SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* 2024-05-15T10:00:00Z, a Wednesday */
#define TEN_O_CLOCK ((usec_t)1715767200 * SEC)

static struct zones zones;

static struct entry every(usec_t interval)
{
    return (struct entry){.every = interval};
}

static struct entry by_crontab(const char *expression)
{
    struct entry entry = {0};

    assert_int_equal(crontab_parse(str_of(expression), &entry.crontab, NULL), 0);
    assert_int_equal(zones_find(&zones, STR("UTC"), &entry.zone, NULL), 0);
    return entry;
}

static struct schedule schedule_of(struct entry *entries, size_t count, usec_t now)
{
    struct schedule schedule;

    assert_int_equal(schedule_init(&schedule, count), 0);
    for (size_t i = 0; i < count; i++) {
        entries[i].index = i;
        schedule_add(&schedule, &entries[i], now);
    }
    return schedule;
}

static void slots_of_an_interval_are_its_multiples_since_1970(void **state)
{
    struct entry entry = every(10 * USEC_PER_MSEC);

    (void)state;
    assert_int_equal(entry_next_slot(&entry, TEN_O_CLOCK), TEN_O_CLOCK + 10 * USEC_PER_MSEC);
    assert_int_equal(entry_next_slot(&entry, TEN_O_CLOCK - 1), TEN_O_CLOCK);
    assert_int_equal(entry_next_slot(&entry, 0), 10 * USEC_PER_MSEC);
    entry = every(7 * SEC);
    for (usec_t now = TEN_O_CLOCK; now < TEN_O_CLOCK + 15 * SEC; now += SEC / 3) {
        usec_t slot = entry_next_slot(&entry, now);
        assert_int_equal(slot % (7 * SEC), 0);
        assert_true(slot > now && slot <= now + 7 * SEC);
    }
}

static void two_beats_started_at_different_times_know_the_same_slots(void **state)
{
    struct entry first[] = {every(7 * SEC), by_crontab("*/7 * * * *")};
    struct entry second[] = {every(7 * SEC), by_crontab("*/7 * * * *")};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
        usec_t a = entry_next_slot(&first[i], TEN_O_CLOCK);
        usec_t b = entry_next_slot(&second[i], TEN_O_CLOCK + 12345);
        for (int n = 0; n < 100; n++) {
            assert_int_equal(a, b);
            a = entry_next_slot(&first[i], a);
            b = entry_next_slot(&second[i], b + 1);
        }
    }
}

static void marks_outlive_the_time_in_which_a_slot_may_be_fired(void **state)
{
    static const struct {
        const char *crontab;
        usec_t every, ttl;
    } cases[] = {
        {NULL, 10 * USEC_PER_MSEC, 6 * MINUTE},
        {NULL, 100 * USEC_PER_MSEC, HOUR},
        {NULL, SEC, HOUR},
        {NULL, 31 * MINUTE, 62 * MINUTE},
        {NULL, 20 * DAY, 32 * DAY},
        {"* * * * *", 0, HOUR},
        {"0 10 * * *", 0, 2 * DAY},
        {"0 10 15 5 *", 0, 32 * DAY},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct entry entry =
            cases[i].crontab ? by_crontab(cases[i].crontab) : every(cases[i].every);
        usec_t slot = entry_next_slot(&entry, TEN_O_CLOCK - 1);
        assert_int_equal(entry_mark_ttl(&entry, slot), cases[i].ttl);
    }
}

static void an_entry_is_due_at_its_slot_and_not_before(void **state)
{
    struct entry entries[] = {by_crontab("5 10 * * *")};
    struct schedule schedule = schedule_of(entries, 1, TEN_O_CLOCK);
    struct due due;

    (void)state;
    assert_int_equal(schedule_wake(&schedule), TEN_O_CLOCK + 5 * MINUTE);
    assert_null(schedule_take(&schedule, TEN_O_CLOCK + 5 * MINUTE - 1, &due));
    assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK + 5 * MINUTE, &due), &entries[0]);
    assert_int_equal(due.slot, TEN_O_CLOCK + 5 * MINUTE);
    assert_int_equal(due.first, due.slot);
    assert_false(due.is_too_late);
    assert_int_equal(schedule_wake(&schedule), USEC_NEVER); /* taken: not fired twice at once */
    schedule_done(&schedule, &entries[0], due.slot, due.slot);
    assert_int_equal(schedule_wake(&schedule), TEN_O_CLOCK + 5 * MINUTE + DAY);
    schedule_deinit(&schedule);
}

static void a_slot_at_the_moment_of_the_start_is_left_to_others(void **state)
{
    struct entry entries[] = {every(10 * SEC)};
    struct schedule schedule = schedule_of(entries, 1, TEN_O_CLOCK);

    (void)state;
    assert_int_equal(schedule_wake(&schedule), TEN_O_CLOCK + 10 * SEC);
    schedule_deinit(&schedule);
}

static void entries_due_together_leave_in_the_order_of_the_file(void **state)
{
    struct entry entries[] = {every(MINUTE), every(20 * SEC), by_crontab("* * * * *"),
                              every(30 * SEC)};
    struct schedule schedule = schedule_of(entries, 4, TEN_O_CLOCK - 20 * SEC);
    struct due due;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK, &due), &entries[i]);
    assert_null(schedule_take(&schedule, TEN_O_CLOCK, &due));
    schedule_deinit(&schedule);
}

/* Against all slots one after the other. */
static void after_a_pause_the_latest_slot_is_fired_once(void **state)
{
    static const usec_t pauses[] = {0,           SEC,      59 * SEC,  MINUTE,  3 * MINUTE,
                                    40 * MINUTE, 2 * HOUR, 23 * HOUR, 2 * DAY, 9 * DAY};
    struct entry kinds[] = {every(10 * USEC_PER_MSEC),
                            every(7 * SEC),
                            every(DAY),
                            by_crontab("* * * * *"),
                            by_crontab("*/7 9-17 * * *"),
                            by_crontab("30 3 * * *"),
                            by_crontab("0 12 * * mon"),
                            by_crontab("*/20 * 20 * *")};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(pauses); j++) {
            struct entry entry = kinds[i];
            struct schedule schedule = schedule_of(&entry, 1, TEN_O_CLOCK);
            usec_t first = schedule_wake(&schedule), now = first + pauses[j];
            struct due due = {0};
            assert_ptr_equal(schedule_take(&schedule, now, &due), &entry);
            assert_int_equal(due.first, first);
            assert_false(due.is_too_late);
            assert_true(due.slot >= first && due.slot <= now);
            assert_true(entry_next_slot(&entry, due.slot) > now);
            assert_int_equal(entry_next_slot(&entry, due.slot - 1), due.slot);
            schedule_done(&schedule, &entry, due.slot, now);
            assert_null(schedule_take(&schedule, now, &due));
            schedule_deinit(&schedule);
        }
    }
}

static void a_slot_whose_mark_may_be_gone_is_not_fired(void **state)
{
    struct entry entries[] = {by_crontab("0 12 15 * *")};
    struct schedule schedule = schedule_of(entries, 1, TEN_O_CLOCK);
    usec_t slot = TEN_O_CLOCK + 2 * HOUR;
    struct due due;

    (void)state;
    assert_ptr_equal(schedule_take(&schedule, slot + 16 * DAY + 1, &due), &entries[0]);
    assert_true(due.is_too_late);
    assert_int_equal(due.first, slot);
    assert_int_equal(schedule_wake(&schedule), slot + 31 * DAY);
    assert_null(schedule_take(&schedule, slot + 16 * DAY + 1, &due));
    schedule_deinit(&schedule);
    schedule = schedule_of(entries, 0, TEN_O_CLOCK);
    schedule_deinit(&schedule);

    struct entry again[] = {by_crontab("0 12 15 * *")};
    schedule = schedule_of(again, 1, TEN_O_CLOCK);
    assert_ptr_equal(schedule_take(&schedule, slot + 16 * DAY, &due), &again[0]);
    assert_false(due.is_too_late);
    assert_int_equal(due.slot, slot);
    schedule_deinit(&schedule);
}

static void a_slot_that_could_not_be_fired_is_due_again(void **state)
{
    struct entry entries[] = {every(10 * SEC), every(HOUR)};
    struct schedule schedule = schedule_of(entries, 2, TEN_O_CLOCK);
    usec_t slot = TEN_O_CLOCK + 10 * SEC;
    struct due due;

    (void)state;
    assert_ptr_equal(schedule_take(&schedule, slot, &due), &entries[0]);
    schedule_retry(&schedule, &entries[0], slot + 2 * SEC);
    assert_int_equal(entries[0].attempts, 1);
    assert_null(schedule_take(&schedule, slot + 2 * SEC - 1, &due));
    assert_ptr_equal(schedule_take(&schedule, slot + 2 * SEC, &due), &entries[0]);
    assert_int_equal(due.slot, slot);
    schedule_retry(&schedule, &entries[0], slot + 9 * SEC);
    assert_int_equal(entries[0].attempts, 2);
    /* looked at late, it has a later slot; the first one was missed */
    assert_ptr_equal(schedule_take(&schedule, slot + 11 * SEC, &due), &entries[0]);
    assert_int_equal(due.first, slot);
    assert_int_equal(due.slot, slot + 10 * SEC);
    schedule_done(&schedule, &entries[0], due.slot, slot + 11 * SEC);
    assert_int_equal(entries[0].attempts, 0);
    assert_int_equal(schedule_wake(&schedule), slot + 20 * SEC);
    schedule_deinit(&schedule);
}

static void a_clock_that_goes_back_plans_all_anew(void **state)
{
    struct entry entries[] = {every(10 * SEC), by_crontab("0 9 * * *"), every(HOUR), every(MINUTE)};
    struct schedule schedule = schedule_of(entries, 4, TEN_O_CLOCK);
    usec_t now = TEN_O_CLOCK - 2 * HOUR + 5 * SEC;
    struct due due;

    (void)state;
    assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK + 10 * SEC, &due), &entries[0]);
    schedule_replan(&schedule, now); /* one is under way: it is planned when that is over */
    assert_int_equal(schedule_wake(&schedule), TEN_O_CLOCK - 2 * HOUR + MINUTE);
    assert_int_equal(entries[1].due_wall, TEN_O_CLOCK - HOUR);
    assert_int_equal(entries[2].due_wall, TEN_O_CLOCK - HOUR);
    schedule_done(&schedule, &entries[0], due.slot, now);
    assert_int_equal(entries[0].due_wall, now + 5 * SEC);
    schedule_take(&schedule, now + 5 * SEC, &due);
    assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK - HOUR, &due), &entries[3]);
    assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK - HOUR, &due), &entries[1]);
    assert_ptr_equal(schedule_take(&schedule, TEN_O_CLOCK - HOUR, &due), &entries[2]);
    schedule_deinit(&schedule);
}

static void a_schedule_without_memory_is_refused(void **state)
{
    struct schedule schedule;

    (void)state;
    mem_fail_after(1);
    assert_int_equal(schedule_init(&schedule, 100), -ENOMEM);
    mem_fail_after(0);
    schedule_deinit(&schedule);
}

static int forget_zones(void **state)
{
    (void)state;
    zones_deinit(&zones);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_of_an_interval_are_its_multiples_since_1970),
        cmocka_unit_test(two_beats_started_at_different_times_know_the_same_slots),
        cmocka_unit_test(marks_outlive_the_time_in_which_a_slot_may_be_fired),
        cmocka_unit_test(an_entry_is_due_at_its_slot_and_not_before),
        cmocka_unit_test(a_slot_at_the_moment_of_the_start_is_left_to_others),
        cmocka_unit_test(entries_due_together_leave_in_the_order_of_the_file),
        cmocka_unit_test(after_a_pause_the_latest_slot_is_fired_once),
        cmocka_unit_test(a_slot_whose_mark_may_be_gone_is_not_fired),
        cmocka_unit_test(a_slot_that_could_not_be_fired_is_due_again),
        cmocka_unit_test(a_clock_that_goes_back_plans_all_anew),
        cmocka_unit_test(a_schedule_without_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, forget_zones);
}
