/*
 * The vectors come from Celery (tests/data/crontab-vectors.json: "expected" is the first instant by
 * the rule of docs/beat.md). Beyond them, a reference made here walks a zone minute by minute and
 * knows nothing of spans: it keeps the latest time the clocks have shown and fires what they pass.
 */
#include "beat/crontab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "celeriac/value.h"
#include "core/buf.h"
#include "core/json.h"

enum { FILE_MAX = 4 * 1024 * 1024 };

static struct zones zones;
static struct cel_value *vectors;

static struct zone *find(const char *name)
{
    struct zone *zone = NULL;

    assert_int_equal(zones_find(&zones, str_of(name), &zone, NULL), 0);
    return zone;
}

static const char *text_of(const struct cel_value *map, const char *key)
{
    const char *text = cel_value_text(cel_value_get(map, key), NULL);

    assert_non_null(text);
    return text;
}

static int parse(const char *text, struct crontab *ret, struct cel_error *err)
{
    return crontab_parse(str_of(text), ret, err);
}

static int parse_vector(const struct cel_value *vector, struct crontab *ret, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);

    buf_addf(&buf, "%s %s %s %s %s", text_of(vector, "minute"), text_of(vector, "hour"),
             text_of(vector, "day_of_month"), text_of(vector, "month_of_year"),
             text_of(vector, "day_of_week"));
    return crontab_parse(buf_str(&buf), ret, err);
}

static usec_t time_of(const struct cel_value *map, const char *key)
{
    usec_t wall = 0;

    assert_int_equal(isotime_parse(str_of(text_of(map, key)), &wall), 0);
    return wall;
}

static usec_t at(const char *iso)
{
    usec_t wall = 0;

    assert_int_equal(isotime_parse(str_of(iso), &wall), 0);
    return wall;
}

static void
assert_next(const char *expression, const char *zone, const char *after, const char *next)
{
    struct crontab crontab;
    char found[ISOTIME_SIZE];

    assert_int_equal(parse(expression, &crontab, NULL), 0);
    isotime_format(crontab_next(&crontab, find(zone), at(after)), found);
    assert_string_equal(found, next);
}

static void every_vector_is_due_when_expected(void **state)
{
    const struct cel_value *cases = cel_value_get(vectors, "cases");
    size_t failed = 0;

    (void)state;
    assert_int_equal(cel_value_count(cases), 442);
    for (size_t i = 0; i < cel_value_count(cases); i++) {
        const struct cel_value *vector = cel_value_at(cases, i);
        struct crontab crontab;
        assert_int_equal(parse_vector(vector, &crontab, NULL), 0);
        usec_t next =
            crontab_next(&crontab, find(text_of(vector, "tz")), time_of(vector, "last_run_at"));
        if (next != time_of(vector, "expected")) {
            char found[ISOTIME_SIZE];
            isotime_format(next, found);
            print_error("%s: %s instead of %s\n", text_of(vector, "id"), found,
                        text_of(vector, "expected"));
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void assert_all_refused(const char *list, size_t count)
{
    static const char *const names[] = {"minute", "hour", "day of month", "month", "day of week"};
    static const char *const keys[] = {"minute", "hour", "day_of_month", "month_of_year",
                                       "day_of_week"};
    const struct cel_value *vectors_of = cel_value_get(vectors, list);

    assert_int_equal(cel_value_count(vectors_of), count);
    for (size_t i = 0; i < count; i++) {
        const struct cel_value *vector = cel_value_at(vectors_of, i);
        struct crontab crontab = {0};
        struct cel_error err = {0};
        size_t field = 0;
        assert_int_equal(parse_vector(vector, &crontab, &err), CEL_E_FORMAT);
        assert_int_equal(crontab.minutes, 0);
        while (strcmp(text_of(vector, keys[field]), "*") == 0)
            field++;
        char start[64];
        snprintf(start, sizeof start, "%s \"%s\": ", names[field], text_of(vector, keys[field]));
        if (strncmp(err.text, start, strlen(start)) != 0)
            fail_msg("%s does not start with %s", err.text, start);
        assert_true(strlen(err.text) > strlen(start) + 10);
    }
}

static void what_celery_refuses_is_refused(void **state)
{
    (void)state;
    assert_all_refused("invalid", 43);
}

static void what_celery_lets_pass_by_accident_is_refused(void **state)
{
    (void)state;
    assert_all_refused("accepted_but_odd", 18);
}

static void refusals_name_field_part_and_rule(void **state)
{
    static const struct {
        const char *expression, *text;
    } cases[] = {
        {"5/15 * * * *", "minute \"5/15\": a step needs * or a range like 1-5 before it"},
        {"* 24 * * *", "hour \"24\": 24 is not within 0-23"},
        {"0 9,25 * * *", "hour \"25\": 25 is not within 0-23"},
        {"* * 0 * *", "day of month \"0\": 0 is not within 1-31"},
        {"* * * okt *", "month \"okt\": \"okt\" is not a number or the name of a month"},
        {"* * * * 7", "day of week \"7\": 7 is not within 0-6"},
        {"*/61 * * * *", "minute \"*/61\": step 61 is not within 1-60"},
        {"*/18446744073709551617 * * * *",
         "minute \"*/18446744073709551617\": step 18446744073709551617 is not within 1-60"},
        {"1,,2 * * * *", "minute \"1,,2\": a part between commas is empty"},
        {"0 0 31 4,6 *", "day of month \"31\": never comes in month \"4,6\""},
        {"0 9 * *", "4 fields instead of five: minute hour day-of-month month day-of-week"},
        {"", "0 fields instead of five: minute hour day-of-month month day-of-week"},
        {"0 9 * * * *", "6 fields instead of five: minute hour day-of-month month day-of-week"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct crontab crontab;
        struct cel_error err = {0};
        assert_int_equal(parse(cases[i].expression, &crontab, &err), CEL_E_FORMAT);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void overlong_text_is_refused(void **state)
{
    char text[CRONTAB_TEXT_MAX + 2];
    struct crontab crontab;

    (void)state;
    memset(text, ' ', sizeof text);
    memcpy(text, "* * * * *", 9);
    assert_int_equal(crontab_parse(str_n(text, CRONTAB_TEXT_MAX), &crontab, NULL), 0);
    assert_int_equal(crontab_parse(str_n(text, sizeof text), &crontab, NULL), CEL_E_FORMAT);
}

static void names_steps_and_wrapped_ranges_become_sets(void **state)
{
    struct crontab crontab;

    (void)state;
    assert_int_equal(parse("50-10/7 22-2 1-31/10 nov-Feb fri-mon", &crontab, NULL), 0);
    assert_int_equal(crontab.minutes, 1ull << 50 | 1ull << 57 | 1ull << 4);
    assert_int_equal(crontab.hours, 1 << 22 | 1 << 23 | 1 << 0 | 1 << 1 | 1 << 2);
    assert_int_equal(crontab.days, 1u << 1 | 1u << 11 | 1u << 21 | 1u << 31);
    assert_int_equal(crontab.months, 1 << 11 | 1 << 12 | 1 << 1 | 1 << 2);
    assert_int_equal(crontab.weekdays, 1 << 5 | 1 << 6 | 1 << 0 | 1 << 1);
    assert_int_equal(parse(" \t*/60  0\t*/2 */3 Tuesday,thurs ", &crontab, NULL), 0);
    assert_int_equal(crontab.minutes, 1);
    assert_int_equal(crontab.days, 0xAAAAAAAAu);
    assert_int_equal(crontab.months, 1 << 1 | 1 << 4 | 1 << 7 | 1 << 10);
    assert_int_equal(crontab.weekdays, 1 << 2 | 1 << 4);
}

static void the_next_time_is_later_than_the_last(void **state)
{
    (void)state;
    assert_next("* * * * *", "UTC", "2024-05-15T10:00:00Z", "2024-05-15T10:01:00+00:00");
    assert_next("* * * * *", "UTC", "2024-05-15T09:59:59.999999Z", "2024-05-15T10:00:00+00:00");
    assert_next("* * * * *", "UTC", "2024-05-15T10:00:00.000001Z", "2024-05-15T10:01:00+00:00");
    assert_next("0 9 * * *", "+05:30", "2024-05-15T03:30:00Z", "2024-05-16T03:30:00+00:00");
    assert_next("0 9 * * *", "-09:30", "2024-05-15T03:30:00Z", "2024-05-15T18:30:00+00:00");
}

static void day_month_and_weekday_must_all_match(void **state)
{
    (void)state;
    assert_next("0 0 13 * 5", "UTC", "2024-01-01T00:00:00Z", "2024-09-13T00:00:00+00:00");
    assert_next("0 0 29 2 0", "UTC", "2072-03-01T00:00:00Z", "2088-02-29T00:00:00+00:00");
    /* 2100 is no leap year: 40 years between two of these */
    assert_next("0 * 29 2 0", "UTC", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00+00:00");
}

static void a_skipped_time_fires_after_the_gap_and_once(void **state)
{
    (void)state;
    assert_next("30 2 * * *", "Europe/Berlin", "2024-03-31T00:59:59Z", "2024-03-31T01:00:00+00:00");
    assert_next("*/20 2 * * *", "Europe/Berlin", "2024-03-31T01:00:00Z",
                "2024-04-01T00:00:00+00:00");
    assert_next("0 12 * * *", "Pacific/Apia", "2011-12-30T00:00:00Z", "2011-12-30T10:00:00+00:00");
    assert_next("30 * * * *", "Europe/Berlin", "2024-03-31T00:30:00Z", "2024-03-31T01:30:00+00:00");
}

static void a_repeated_time_fires_once_unless_every_hour_does(void **state)
{
    (void)state;
    assert_next("30 2 * * *", "Europe/Berlin", "2024-10-27T00:00:00Z", "2024-10-27T00:30:00+00:00");
    assert_next("30 2 * * *", "Europe/Berlin", "2024-10-27T00:30:00Z", "2024-10-28T01:30:00+00:00");
    assert_next("30 2 * * *", "Europe/Berlin", "2024-10-27T01:10:00Z", "2024-10-28T01:30:00+00:00");
    assert_next("30 * * * *", "Europe/Berlin", "2024-10-27T00:30:00Z", "2024-10-27T01:30:00+00:00");
}

/* --- the reference ---------------------------------------------------------------------------- */

static bool shows(const struct crontab *crontab, int64_t local)
{
    time_t when = local;
    struct tm tm;

    gmtime_r(&when, &tm);
    return crontab->minutes >> tm.tm_min & 1 && crontab->hours >> tm.tm_hour & 1 &&
           crontab->days >> tm.tm_mday & 1 && crontab->months >> (tm.tm_mon + 1) & 1 &&
           crontab->weekdays >> tm.tm_wday & 1;
}

static int64_t local_at(int64_t instant)
{
    time_t when = instant;
    struct tm tm;

    localtime_r(&when, &tm);
    return instant + tm.tm_gmtoff;
}

/* The first minute after `after`, before `end`, at which the clocks (TZ) match; or `end`. */
static int64_t reference_next(const struct crontab *crontab, int64_t after, int64_t end)
{
    bool every_hour = crontab->hours == 0xFFFFFF;
    int64_t instant = after - after % 60 - 2 * 86400;

    for (int64_t latest = local_at(instant - 60); instant < end; instant += 60) {
        int64_t local = local_at(instant);
        bool fires = every_hour && shows(crontab, local);
        for (; latest < local; latest += 60)
            fires |= !every_hour && shows(crontab, latest + 60);
        if (fires && instant > after)
            return instant;
    }
    return end;
}

static void any_expression_around_a_change_agrees_with_the_reference(void **state)
{
    static const struct {
        const char *zone;
        int64_t change;
    } changes[] = {
        {"Europe/Berlin", 1711846800},       {"Europe/Berlin", 1729990800},
        {"America/New_York", 1710054000},    {"America/New_York", 1730613600},
        {"Australia/Lord_Howe", 1712415600}, {"Australia/Lord_Howe", 1728142200},
        {"Pacific/Apia", 1325239200},        {"America/Caracas", 1462086000},
        {"Africa/Casablanca", 1710036000},   {"Africa/Casablanca", 1713060000},
    };
    static const char *const expressions[] = {
        "* * * * *",        "*/15 * * * *",   "30 * * * *",     "7 */2 * * *", "30 2 * * *",
        "*/20 1-3 * * *",   "0 3 * * *",      "0 0 * * *",      "59 23 * * *", "15,45 0-4 * * *",
        "10 2 31 3 *",      "30 1,2 * * sun", "*/7 22-2 * * *", "0 * 30 12 *", "0 */6 * * 0",
        "45-15/10 2 * * *", "0 2 * * 6,0",    "30 1 10 3 *",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct zone *zone = find(changes[i].zone);
        for (size_t j = 0; j < ARRAY_SIZE(expressions); j++) {
            struct crontab crontab;
            assert_int_equal(parse(expressions[j], &crontab, NULL), 0);
            for (int64_t shift = -26; shift <= 4; shift += 3) {
                int64_t after = changes[i].change + shift * 1800 - (shift & 1);
                setenv("TZ", changes[i].zone, 1);
                tzset();
                int64_t end = after + 2 * 86400;
                int64_t expected = reference_next(&crontab, after, end);
                usec_t next = crontab_next(&crontab, zone, (usec_t)after * USEC_PER_SEC);
                if (expected < end)
                    assert_int_equal(next, (usec_t)expected * USEC_PER_SEC);
                else
                    assert_true(next >= (usec_t)end * USEC_PER_SEC);
            }
        }
    }
    unsetenv("TZ");
    tzset();
}

static int read_vectors(void **state)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(FILE_MAX);
    struct cel_error err;
    FILE *file = fopen(TEST_DATA "/crontab-vectors.json", "re");
    size_t len = 0;

    (void)state;
    if (!file)
        return -1;
    char *room = buf_reserve(&buf, FILE_MAX - 1);
    if (room)
        len = fread(room, 1, FILE_MAX - 1, file);
    fclose(file);
    if (!room)
        return -1;
    buf_added(&buf, len);
    return json_decode(buf_str(&buf), &vectors, &err);
}

static int forget_all(void **state)
{
    (void)state;
    cel_value_free(vectors);
    zones_deinit(&zones);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_due_when_expected),
        cmocka_unit_test(what_celery_refuses_is_refused),
        cmocka_unit_test(what_celery_lets_pass_by_accident_is_refused),
        cmocka_unit_test(refusals_name_field_part_and_rule),
        cmocka_unit_test(overlong_text_is_refused),
        cmocka_unit_test(names_steps_and_wrapped_ranges_become_sets),
        cmocka_unit_test(the_next_time_is_later_than_the_last),
        cmocka_unit_test(day_month_and_weekday_must_all_match),
        cmocka_unit_test(a_skipped_time_fires_after_the_gap_and_once),
        cmocka_unit_test(a_repeated_time_fires_once_unless_every_hour_does),
        cmocka_unit_test(any_expression_around_a_change_agrees_with_the_reference),
    };
    return cmocka_run_group_tests(tests, read_vectors, forget_all);
}
