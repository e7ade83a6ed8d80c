#include "beat/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct zones zones;

static struct zone *find(const char *name)
{
    struct zone *zone = NULL;
    struct cel_error err = {0};

    if (zones_find(&zones, str_of(name), &zone, &err) < 0)
        print_error("%s\n", err.text);
    assert_non_null(zone);
    return zone;
}

static int32_t offset_at(const char *name, int64_t instant)
{
    struct zone_span span = zone_span_at(find(name), instant);

    assert_true(span.from <= instant && instant < span.until);
    return span.offset;
}

static void utc_and_fixed_offsets_never_change(void **state)
{
    static const struct {
        const char *name;
        int32_t offset;
    } cases[] = {
        {"UTC", 0},         {"", 0},           {NULL, 0}, {"+00:00", 0}, {"+05:45", 20700},
        {"-03:30", -12600}, {"+23:59", 86340},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(offset_at(cases[i].name, 0), cases[i].offset);
        assert_int_equal(offset_at(cases[i].name, -86400), cases[i].offset);
        assert_int_equal(offset_at(cases[i].name, 8000000000), cases[i].offset);
    }
}

static void spans_end_at_the_second_of_the_change(void **state)
{
    const int64_t spring = 1711846800, autumn = 1729990800; /* 2024, Berlin: both at 01:00 UTC */
    struct zone *berlin = find("Europe/Berlin");

    (void)state;
    assert_int_equal(zone_span_at(berlin, spring - 1).offset, 3600);
    assert_int_equal(zone_span_at(berlin, spring - 1).until, spring);
    assert_int_equal(zone_span_at(berlin, spring).offset, 7200);
    assert_int_equal(zone_span_at(berlin, spring).from, spring);
    assert_int_equal(zone_span_at(berlin, autumn - 1).offset, 7200);
    assert_int_equal(zone_span_at(berlin, autumn - 1).until, autumn);
    assert_int_equal(zone_span_at(berlin, autumn).offset, 3600);
}

static void zones_with_odd_offsets_and_rules_are_known(void **state)
{
    (void)state;
    assert_int_equal(offset_at("Asia/Kathmandu", 1700000000), 20700);
    assert_int_equal(offset_at("Australia/Lord_Howe", 1720000000), 37800); /* winter */
    assert_int_equal(offset_at("Australia/Lord_Howe", 1704067200),
                     39600);                                         /* half an hour of summer */
    assert_int_equal(offset_at("Pacific/Apia", 1325239199), -36000); /* last second before ... */
    assert_int_equal(offset_at("Pacific/Apia", 1325239200),
                     50400); /* ... 30 December 2011 fell out */
    assert_int_equal(offset_at("America/New_York", 4086000000),
                     -14400); /* summer of 2099, by rule */
}

static void spans_agree_with_the_c_library_at_every_hour(void **state)
{
    static const char *const names[] = {"America/St_Johns", "Africa/Casablanca",
                                        "Antarctica/Troll"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        static int32_t expected[3 * 8766];
        setenv("TZ", names[i], 1);
        tzset();
        for (size_t hour = 0; hour < ARRAY_SIZE(expected); hour++) {
            time_t when = (time_t)(1672531200 + hour * 3600);
            struct tm tm;
            localtime_r(&when, &tm);
            expected[hour] = (int32_t)tm.tm_gmtoff;
        }
        unsetenv("TZ");
        tzset();
        for (size_t hour = 0; hour < ARRAY_SIZE(expected); hour++)
            assert_int_equal(offset_at(names[i], (int64_t)(1672531200 + hour * 3600)),
                             expected[hour]);
    }
}

static void the_zone_of_the_process_stays_as_it_was(void **state)
{
    (void)state;
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    assert_int_equal(offset_at("Europe/London", 1720000000), 3600);
    assert_string_equal(getenv("TZ"), "Asia/Tokyo");
    assert_string_equal(tzname[0], "JST");
    unsetenv("TZ");
    tzset();
    assert_int_equal(offset_at("Europe/London", 1704067200), 0);
    assert_null(getenv("TZ"));
}

static void a_zone_is_found_once(void **state)
{
    (void)state;
    assert_ptr_equal(find("Europe/Paris"), find("Europe/Paris"));
    assert_ptr_equal(find(""), find("UTC"));
    assert_string_equal(zone_name(find("Europe/Paris")), "Europe/Paris");
    assert_string_equal(zone_name(find("+05:30")), "+05:30");
}

static void what_is_no_zone_is_refused(void **state)
{
    static const char *const names[] = {
        "Europe/Atlantis",
        "Europe",
        "../../../etc/passwd",
        "/usr/share/zoneinfo/UTC",
        ":UTC",
        "Europe//Berlin",
        "Europe/Berlin/",
        "EST5EDT,M3.2.0,M11.1.0",
        "+5:30",
        "+24:00",
        "+05:60",
        "05:30",
        "zone.tab",
        "tzdata.zi",
        "Europe/Berlin\n",
        " UTC",
        "utc ",
        "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct zone *zone = NULL;
        struct cel_error err = {0};
        assert_int_equal(zones_find(&zones, str_of(names[i]), &zone, &err), CEL_E_FORMAT);
        assert_null(zone);
        assert_non_null(strstr(err.text, names[i]));
    }
}

static int forget_zones(void **state)
{
    (void)state;
    zones_deinit(&zones);
    zones_deinit(NULL);
    return zones.first == NULL ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utc_and_fixed_offsets_never_change),
        cmocka_unit_test(spans_end_at_the_second_of_the_change),
        cmocka_unit_test(zones_with_odd_offsets_and_rules_are_known),
        cmocka_unit_test(spans_agree_with_the_c_library_at_every_hour),
        cmocka_unit_test(the_zone_of_the_process_stays_as_it_was),
        cmocka_unit_test(a_zone_is_found_once),
        cmocka_unit_test(what_is_no_zone_is_refused),
    };
    unsetenv("TZ");
    return cmocka_run_group_tests(tests, NULL, forget_zones);
}
