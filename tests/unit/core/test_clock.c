#include "core/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static usec_t five(void)
{
    return 5;
}

static usec_t seven(void)
{
    return 7;
}

static void clocks_can_be_replaced_and_restored(void **state)
{
    (void)state;
    clock_replace(five, seven);
    assert_int_equal(clock_mono(), 5);
    assert_int_equal(clock_wall(), 7);
    clock_replace(NULL, NULL);
    usec_t before = clock_mono();
    assert_true(before > 7);
    assert_true(clock_mono() >= before);
    usec_t low = (usec_t)time(NULL) - 1, wall = clock_wall(), high = (usec_t)time(NULL) + 1;
    assert_in_range(wall / USEC_PER_SEC, low, high);
}

static usec_t parse(const char *text)
{
    usec_t wall = 0;
    if (isotime_parse(str_of(text), &wall) < 0)
        fail_msg("%s", text);
    return wall;
}

static void every_form_of_a_time_is_read(void **state)
{
    (void)state;
    static const usec_t noon = 1709209815; /* 2024-02-29T12:30:15Z */
    static const struct {
        const char *text;
        usec_t usec; /* after noon */
    } forms[] = {
        {"2024-02-29T12:30:15+00:00", 0},
        {"2024-02-29T12:30:15.123456+00:00", 123456},
        {"2024-02-29T12:30:15", 0},
        {"2024-02-29 12:30:15", 0},
        {"2024-02-29t12:30:15z", 0},
        {"2024-02-29T12:30:15Z", 0},
        {"2024-02-29T12:30:15.5Z", 500000},
        {"2024-02-29T12:30:15.000005", 5},
        {"2024-02-29T12:30:15.123456789Z", 123456},
        {"2024-02-29T12:30:15,25", 250000},
        {"2024-02-29T18:00:15+05:30", 0},
        {"2024-02-29T18:00:15+0530", 0},
        {"2024-02-29T17:30:15+05", 0},
        {"2024-02-29T04:30:15.000001-08:00", 1},
        {"2024-02-29T12:30:15-00:00", 0},
        {"20240229T123015Z", 0},
        {"20240229T123015.75+0000", 750000},
        {"2024-03-01T00:00:15+11:30", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (parse(forms[i].text) != noon * USEC_PER_SEC + forms[i].usec)
            fail_msg("%s", forms[i].text);
    }
    assert_int_equal(parse("2024-02-29T12:30"), (noon - 15) * USEC_PER_SEC);
    assert_int_equal(parse("2024-02-29T12:30+01:00"), (noon - 3615) * USEC_PER_SEC);
    assert_int_equal(parse("2024-02-29"), (noon - 45015) * USEC_PER_SEC);
    assert_int_equal(parse("20240229"), (noon - 45015) * USEC_PER_SEC);
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "now",
        "1709209815",
        "2024-02-30",
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "0000-01-01",
        "2024-1-1",
        "2024-0229",
        "2024-02-29T",
        "2024-02-29T12",
        "2024-02-29T24:00:00",
        "2024-02-29T12:60:00",
        "2024-02-29T12:30:60",
        "2024-02-29T12:30:",
        "2024-02-29T12:30:15.",
        "2024-02-29T12:30:15.Z",
        "2024-02-29T12:30:15.1234567890",
        "2024-02-29T12:30:15ZZ",
        "2024-02-29T12:30:15+",
        "2024-02-29T12:30:15+5",
        "2024-02-29T12:30:15+05:",
        "2024-02-29T12:30:15+05:3",
        "2024-02-29T12:30:15+24:00",
        "2024-02-29T12:30:15+05:60",
        "2024-02-29T12:30:15 ",
        " 2024-02-29",
        "2024-02-29X12:30:15",
        "2024-02-29Z",
        "-2024-02-29",
        "12024-02-29",
    };
    usec_t wall = 7;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (isotime_parse(str_of(bad[i]), &wall) != -EINVAL)
            fail_msg("%s", bad[i]);
    }
    assert_int_equal(isotime_parse(STR_NONE, &wall), -EINVAL);
    assert_int_equal(wall, 7);
}

static void times_up_to_1970_are_read_as_the_first_microsecond(void **state)
{
    (void)state;
    assert_int_equal(parse("1970-01-01T00:00:00+00:00"), 1);
    assert_int_equal(parse("1970-01-01T00:00:00+01:00"), 1);
    assert_int_equal(parse("0001-01-01T00:00:00"), 1);
    assert_int_equal(parse("1970-01-01T00:00:00.000002"), 2);
    assert_int_equal(parse("1969-12-31T23:00:01-01:00"), USEC_PER_SEC);
}

static const char *format(usec_t wall)
{
    static char buffer[ISOTIME_SIZE];
    struct str text = isotime_format(wall, buffer);
    assert_ptr_equal(text.ptr, buffer);
    assert_int_equal(text.len, strlen(buffer));
    return buffer;
}

static void times_are_written_as_celery_reads_them(void **state)
{
    (void)state;
    assert_string_equal(format(0), "1970-01-01T00:00:00+00:00");
    assert_string_equal(format(1), "1970-01-01T00:00:00.000001+00:00");
    assert_string_equal(format(1709209815123456), "2024-02-29T12:30:15.123456+00:00");
    assert_string_equal(format(1709209815000000), "2024-02-29T12:30:15+00:00");
    assert_string_equal(format(1893456010500000), "2030-01-01T00:00:10.500000+00:00");
    assert_string_equal(format(253402300799999999), "9999-12-31T23:59:59.999999+00:00");
    assert_string_equal(format(USEC_NEVER), "9999-12-31T23:59:59.999999+00:00");
}

static void every_day_comes_back_and_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (usec_t day = 0; day < 2932896; day++) { /* to the end of 9999 */
        usec_t wall = (day * 86400 + day % 86400) * USEC_PER_SEC + day + 1;
        char text[ISOTIME_SIZE], expected[ISOTIME_SIZE];
        usec_t again = 0;
        if (isotime_parse(isotime_format(wall, text), &again) < 0 || again != wall)
            fail_msg("%s", text);
        time_t seconds = (time_t)(wall / USEC_PER_SEC);
        struct tm tm;
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
        if (memcmp(text, expected, 19) != 0)
            fail_msg("%s is not %s", text, expected);
        day += day % 13; /* every 7th or so, at all phases of week, month and leap year */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_can_be_replaced_and_restored),
        cmocka_unit_test(every_form_of_a_time_is_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(times_up_to_1970_are_read_as_the_first_microsecond),
        cmocka_unit_test(times_are_written_as_celery_reads_them),
        cmocka_unit_test(every_day_comes_back_and_agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
