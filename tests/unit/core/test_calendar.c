#include "core/calendar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_day_of_two_thousand_years_follows_the_one_before(void **state)
{
    (void)state;
    struct date date = {.year = -800, .month = 1, .day = 1};
    for (int64_t days = calendar_days(date); date.year < 1200; days++) {
        struct date found = calendar_date(days);
        assert_int_equal(calendar_days(date), days);
        assert_int_equal(found.year, date.year);
        assert_int_equal(found.month, date.month);
        assert_int_equal(found.day, date.day);
        if (++date.day <= calendar_month_length(date.year, date.month))
            continue;
        date.day = 1;
        date.year += date.month == 12;
        date.month = date.month % 12 + 1;
    }
}

static void known_days_have_their_numbers(void **state)
{
    (void)state;
    static const struct {
        struct date date;
        int64_t days;
    } cases[] = {
        {{1970, 1, 1}, 0},     {{1969, 12, 31}, -1},      {{2000, 2, 29}, 11016},
        {{2000, 3, 1}, 11017}, {{1, 1, 1}, -719162},      {{0, 2, 29}, -719469},
        {{-4, 3, 1}, -720929}, {{9999, 12, 31}, 2932896}, {{294246, 12, 31}, 106751981},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(calendar_days(cases[i].date), cases[i].days);
}

static void leap_years_are_those_of_the_gregorian_calendar(void **state)
{
    (void)state;
    assert_int_equal(calendar_month_length(2000, 2), 29);
    assert_int_equal(calendar_month_length(1900, 2), 28);
    assert_int_equal(calendar_month_length(2024, 2), 29);
    assert_int_equal(calendar_month_length(0, 2), 29);
    assert_int_equal(calendar_month_length(-100, 2), 28);
    assert_int_equal(calendar_month_length(2023, 4), 30);
    assert_int_equal(calendar_month_length(2023, 12), 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_of_two_thousand_years_follows_the_one_before),
        cmocka_unit_test(known_days_have_their_numbers),
        cmocka_unit_test(leap_years_are_those_of_the_gregorian_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
