/*
 * Grammar of a field (celery.schedules.crontab_parser, without what it lets pass by accident):
 *
 *   field = part { "," part }
 *   part  = "*" [ "/" step ] | value | value "-" value [ "/" step ]
 *
 * A range whose end is before its beginning wraps around, and its step counts along it. A value is
 * one or two digits; in the day of week also a day name, in the month a month name, of three
 * letters or more.
 *
 * The next time is looked for on the wall clock of the zone, where a day has 24 hours of 60 minutes
 * and nothing else, and then carried to the time line with the zone's spans (zone.h):
 *
 *   ... 1:59:59 | 3:00 ...         a slot at 2:30 has no instant: the first one after the gap
 *   ... 2:59:59 | 2:00 ... 3:00    it has two: the first, or both if every hour is named
 */
#include "beat/crontab.h"

#include <inttypes.h>
#include <strings.h>

#include "core/calendar.h"

#define DAY ((int64_t)86400)

enum { SEARCH_DAYS = 50 * 366 }; /* 29 February on a given weekday: at most 40 years apart */

struct field {
    const char *name;
    unsigned min, max;
    const char *const *value_names; /* of min, min + 1 ...; NULL: numbers only */
};

static const char *const day_names[] = {"sunday",   "monday", "tuesday", "wednesday",
                                        "thursday", "friday", "saturday"};
static const char *const month_names[] = {"january",   "february", "march",    "april",
                                          "may",       "june",     "july",     "august",
                                          "september", "october",  "november", "december"};

enum { MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, FIELD_COUNT };
static const struct field fields[FIELD_COUNT] = {
    [MINUTE] = {"minute", 0, 59, NULL},
    [HOUR] = {"hour", 0, 23, NULL},
    [DAY_OF_MONTH] = {"day of month", 1, 31, NULL},
    [MONTH] = {"month", 1, 12, month_names},
    [DAY_OF_WEEK] = {"day of week", 0, 6, day_names},
};

/* --- parsing ---------------------------------------------------------------------------------- */

struct part {
    const struct field *field;
    struct str text; /* the whole part, for messages */
    struct cel_error *err;
};

__attribute__((format(printf, 2, 3))) static int
refuse(const struct part *part, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_setv(part->err, CEL_E_FORMAT, format, args);
    va_end(args);
    (void)error_wrap(part->err, "%s \"" STR_FORMAT "\"", part->field->name, STR_ARGS(part->text));
    return CEL_E_FORMAT;
}

static bool is_number(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len > 0;
}

/* A name of the field, or its first three letters or more: mon, Monday, tues. */
static bool find_name(const struct field *field, struct str text, unsigned *ret_value)
{
    if (!field->value_names || text.len < 3)
        return false;
    for (unsigned i = 0; i <= field->max - field->min; i++) {
        const char *name = field->value_names[i];
        if (text.len <= strlen(name) && strncasecmp(name, text.ptr, text.len) == 0) {
            *ret_value = field->min + i;
            return true;
        }
    }
    return false;
}

static int parse_value(const struct part *part, struct str text, unsigned *ret_value)
{
    const struct field *field = part->field;
    unsigned value = 0;

    if (find_name(field, text, ret_value))
        return 0;
    if (text.len == 0)
        return refuse(part, "a range needs a number on both sides of the dash");
    if (!is_number(text))
        return refuse(part, "\"" STR_FORMAT "\" is not a number%s", STR_ARGS(text),
                      field->value_names == day_names     ? " or the name of a day"
                      : field->value_names == month_names ? " or the name of a month"
                                                          : "");
    if (text.len > 2)
        return refuse(part, "a number has at most two digits");
    for (size_t i = 0; i < text.len; i++)
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    if (value < field->min || value > field->max)
        return refuse(part, "%u is not within %u-%u", value, field->min, field->max);
    *ret_value = value;
    return 0;
}

/* What stands behind the slash. */
static int parse_step(const struct part *part, struct str text, unsigned *ret_step)
{
    unsigned count = part->field->max - part->field->min + 1;
    uint64_t step;

    if (!is_number(text))
        return refuse(part, "a step is a number from 1 to %u", count);
    if (str_parse_u64(text, &step) < 0 || step < 1 || step > count || text.len > 2)
        return refuse(part, "step " STR_FORMAT " is not within 1-%u", STR_ARGS(text), count);
    *ret_step = (unsigned)step;
    return 0;
}

static int
parse_range(const struct part *part, struct str text, unsigned *ret_from, unsigned *ret_to)
{
    const char *dash;
    int status;

    if (str_equal(text, STR("*"))) {
        *ret_from = part->field->min;
        *ret_to = part->field->max;
        return 0;
    }
    dash = memchr(text.ptr, '-', text.len);
    if (!dash)
        return refuse(part, "a step needs * or a range like 1-5 before it");
    status = parse_value(part, str_n(text.ptr, (size_t)(dash - text.ptr)), ret_from);
    if (status < 0)
        return status;
    return parse_value(part, str_n(dash + 1, text.len - (size_t)(dash - text.ptr) - 1), ret_to);
}

static int parse_part(const struct part *part, uint64_t *set)
{
    const struct field *field = part->field;
    struct str rest = part->text, range;
    unsigned from = 0, to = 0, step = 1, count = field->max - field->min + 1;
    bool has_step;
    int status;

    str_split(&rest, '/', &range);
    has_step = rest.ptr != NULL;
    if (has_step) {
        status = parse_step(part, rest, &step);
        if (status < 0)
            return status;
    }
    if (!has_step && !str_equal(range, STR("*")) && !memchr(range.ptr, '-', range.len)) {
        status = parse_value(part, range, &from);
        to = from;
    } else {
        status = parse_range(part, range, &from, &to);
    }
    if (status < 0)
        return status;
    for (unsigned i = 0; i <= (to + count - from) % count; i += step)
        *set |= (uint64_t)1 << (field->min + (from - field->min + i) % count);
    return 0;
}

static int
parse_field(const struct field *field, struct str text, uint64_t *ret_set, struct cel_error *err)
{
    struct part part = {.field = field, .err = err};
    struct str rest = text;
    uint64_t set = 0;
    int status;

    while (str_split(&rest, ',', &part.text)) {
        if (part.text.len == 0) {
            part.text = text;
            return refuse(&part, "a part between commas is empty");
        }
        status = parse_part(&part, &set);
        if (status < 0)
            return status;
    }
    *ret_set = set;
    return 0;
}

/* Days of each month, February's in a leap year. */
static const unsigned month_days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static bool date_can_come(const struct crontab *crontab)
{
    for (unsigned month = 1; month <= 12; month++)
        for (unsigned day = 1; day <= month_days[month]; day++)
            if (crontab->months >> month & 1 && crontab->days >> day & 1)
                return true;
    return false;
}

/* The next text between blanks; false at the end. */
static bool next_word(struct str *text, struct str *ret_word)
{
    *text = str_trim(*text);
    if (text->len == 0)
        return false;
    size_t len = 0;
    while (len < text->len && text->ptr[len] != ' ' && text->ptr[len] != '\t')
        len++;
    *ret_word = str_n(text->ptr, len);
    *text = str_n(text->ptr + len, text->len - len);
    return true;
}

int crontab_parse(struct str text, struct crontab *ret, struct cel_error *err)
{
    struct str words[FIELD_COUNT], word;
    uint64_t sets[FIELD_COUNT];
    size_t count = 0;

    if (text.len > CRONTAB_TEXT_MAX)
        return error_set(err, CEL_E_FORMAT, "longer than %d bytes", CRONTAB_TEXT_MAX);
    for (; next_word(&text, &word); count++)
        if (count < FIELD_COUNT)
            words[count] = word;
    if (count != FIELD_COUNT)
        return error_set(err, CEL_E_FORMAT,
                         "%zu fields instead of five: minute hour day-of-month month day-of-week",
                         count);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        int status = parse_field(&fields[i], words[i], &sets[i], err);
        if (status < 0)
            return status;
    }
    struct crontab crontab = {
        .minutes = sets[MINUTE],
        .hours = (uint32_t)sets[HOUR],
        .days = (uint32_t)sets[DAY_OF_MONTH],
        .months = (uint32_t)sets[MONTH],
        .weekdays = (uint32_t)sets[DAY_OF_WEEK],
    };
    if (!date_can_come(&crontab))
        return error_set(err, CEL_E_FORMAT,
                         "day of month \"" STR_FORMAT "\": never comes in month \"" STR_FORMAT "\"",
                         STR_ARGS(words[DAY_OF_MONTH]), STR_ARGS(words[MONTH]));
    *ret = crontab;
    return 0;
}

/* --- the next time ---------------------------------------------------------------------------- */

static bool day_matches(const struct crontab *crontab, int64_t day_number)
{
    struct date date = calendar_date(day_number);
    unsigned weekday = (unsigned)((day_number % 7 + 11) % 7); /* 0 = Sunday; day 0 was a Thursday */

    return crontab->months >> date.month & 1 && crontab->days >> date.day & 1 &&
           crontab->weekdays >> weekday & 1;
}

/* The first matching minute of a day at or after `minute` (0 ... 1439), or -1. */
static int64_t minute_of_day(const struct crontab *crontab, int64_t minute)
{
    for (int64_t hour = minute / 60; hour < 24; hour++) {
        if (!(crontab->hours >> hour & 1))
            continue;
        int64_t first = hour == minute / 60 ? minute % 60 : 0;
        uint64_t left = crontab->minutes >> first << first;
        if (left)
            return hour * 60 + __builtin_ctzll(left);
    }
    return -1;
}

/* The first matching time on the wall clock at or after `local`, or INT64_MAX. */
static int64_t wall_clock_next(const struct crontab *crontab, int64_t local)
{
    int64_t minute = -floor_div(-local, 60);
    int64_t day = floor_div(minute, 1440);

    minute -= day * 1440;
    for (int64_t last = day + SEARCH_DAYS; day <= last; day++, minute = 0) {
        if (!day_matches(crontab, day))
            continue;
        int64_t found = minute_of_day(crontab, minute);
        if (found >= 0)
            return (day * 1440 + found) * 60;
    }
    return INT64_MAX;
}

/* The first instant at which the clocks show `local` or, for the first time, something later. */
static int64_t first_instant(struct zone *zone, int64_t local)
{
    int64_t from = local - 2 * DAY; /* the clocks showed an earlier time then, whatever the zone */

    for (;;) {
        struct zone_span span = zone_span_at(zone, from);
        int64_t instant = local - span.offset;
        if (instant < span.until)
            return instant > from ? instant : from;
        from = span.until;
    }
}

/* Every real minute counts: within one span the wall clock runs on, at its end it is read anew. */
static int64_t next_of_every_hour(const struct crontab *crontab, struct zone *zone, int64_t from)
{
    for (int64_t last = from + SEARCH_DAYS * DAY; from <= last;) {
        struct zone_span span = zone_span_at(zone, from);
        int64_t local = wall_clock_next(crontab, from + span.offset);
        if (local == INT64_MAX)
            break;
        if (local - span.offset < span.until)
            return local - span.offset;
        from = span.until;
    }
    return INT64_MAX;
}

/* Each wall-clock time counts once. Those that the clock showed up to now have had their first
 * instant; so have some that lie ahead of it in the second pass of a repeated hour. */
static int64_t next_of_named_hours(const struct crontab *crontab, struct zone *zone, int64_t after)
{
    int64_t local = after + zone_span_at(zone, after).offset;

    for (;;) {
        local = wall_clock_next(crontab, local + 1);
        if (local == INT64_MAX)
            return INT64_MAX;
        int64_t instant = first_instant(zone, local);
        if (instant > after)
            return instant;
    }
}

usec_t crontab_next(const struct crontab *crontab, struct zone *zone, usec_t after_wall)
{
    int64_t after = (int64_t)(after_wall / USEC_PER_SEC);
    int64_t next;

    if (crontab->hours == ((uint32_t)1 << 24) - 1)
        next = next_of_every_hour(crontab, zone, after + 1);
    else
        next = next_of_named_hours(crontab, zone, after);
    return next == INT64_MAX ? USEC_NEVER : (usec_t)next * USEC_PER_SEC;
}
