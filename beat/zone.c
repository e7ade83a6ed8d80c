/*
 * The C library tells the offset at one instant (localtime_r, tm_gmtoff); where the offset changes
 * is found by looking every few hours and halving the step in which it differs:
 *
 *      known since                 change        looked ahead
 *   ---|---------- span ------------|--- next span ---|---
 *
 * A zone keeps the last span, since beat asks about the same months again and again: the tz file is
 * read a few times a year, not at every look.
 */
#include "beat/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/mem.h"

#define DAY ((int64_t)86400)

enum { ZONE_NAME_MAX = 64 };
static const int64_t LOOK_BACK = 8 * DAY;
static const int64_t LOOK_AHEAD = 120 * DAY;
static const int64_t LOOK_STEP = DAY / 4; /* no zone has changed twice within six hours */

struct zone {
    struct zone *next;
    bool is_fixed;                  /* the span holds for ever */
    struct zone_span span;          /* the last one found */
    char tz[1 + ZONE_NAME_MAX + 1]; /* as TZ wants it: ":Europe/Berlin" */
};

static int32_t offset_at(int64_t instant)
{
    time_t when = instant;
    struct tm tm;

    return localtime_r(&when, &tm) ? (int32_t)tm.tm_gmtoff : 0;
}

/* The first instant in (low, high] whose offset is not that of `low`; that of `high` is not. */
static int64_t change_between(int64_t low, int64_t high)
{
    int32_t offset = offset_at(low);

    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (offset_at(middle) == offset)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static struct zone_span span_around(int64_t instant)
{
    struct zone_span span = {.from = instant - LOOK_BACK, .until = instant + LOOK_AHEAD};

    span.offset = offset_at(span.from);
    for (int64_t seen = span.from; seen < span.until; seen += LOOK_STEP) {
        int64_t next = seen + LOOK_STEP;
        if (offset_at(next) == span.offset)
            continue;
        int64_t change = change_between(seen, next);
        if (change > instant) {
            span.until = change;
            break;
        }
        span.from = change;
        span.offset = offset_at(change);
    }
    return span;
}

/* Runs with TZ set to the zone, and leaves TZ as it was. */
static struct zone_span span_in_zone(const struct zone *zone, int64_t instant)
{
    const char *tz = getenv("TZ");
    char *before = tz ? xstrdup(tz) : NULL;
    struct zone_span span;

    setenv("TZ", zone->tz, 1);
    tzset();
    span = span_around(instant);
    if (before)
        setenv("TZ", before, 1);
    else
        unsetenv("TZ");
    tzset();
    free(before);
    return span;
}

struct zone_span zone_span_at(struct zone *zone, int64_t instant)
{
    if (!zone->is_fixed && (instant < zone->span.from || instant >= zone->span.until))
        zone->span = span_in_zone(zone, instant);
    return zone->span;
}

const char *zone_name(const struct zone *zone)
{
    return zone->tz + 1;
}

/* "+HH:MM" or "-HH:MM". */
static bool parse_fixed(struct str name, int32_t *ret_offset)
{
    uint64_t hours, minutes;

    if (name.len != 6 || (name.ptr[0] != '+' && name.ptr[0] != '-') || name.ptr[3] != ':')
        return false;
    if (str_parse_u64(str_n(name.ptr + 1, 2), &hours) < 0 || hours > 23 ||
        str_parse_u64(str_n(name.ptr + 4, 2), &minutes) < 0 || minutes > 59)
        return false;
    *ret_offset = (int32_t)(hours * 3600 + minutes * 60) * (name.ptr[0] == '-' ? -1 : 1);
    return true;
}

/* Letters, digits and _ + - in parts between single slashes: never a path that leaves the folder.
 */
static bool is_database_name(struct str name)
{
    if (name.len == 0 || name.ptr[0] == '/' || name.ptr[name.len - 1] == '/')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '+' || c == '-';
        if (!is_word && !(c == '/' && name.ptr[i - 1] != '/'))
            return false;
    }
    return true;
}

/* The C library takes a zone it cannot read for UTC, so the file is looked at before. */
static bool is_in_database(struct str name)
{
    const char *folder = getenv("TZDIR");
    char path[4096], magic[4];
    FILE *file;
    bool is_zone;

    if (!is_database_name(name))
        return false;
    if (!folder || !*folder)
        folder = "/usr/share/zoneinfo";
    int len = snprintf(path, sizeof path, "%s/" STR_FORMAT, folder, STR_ARGS(name));
    if (len < 0 || (size_t)len >= sizeof path)
        return false;
    file = fopen(path, "re");
    if (!file)
        return false;
    is_zone = fread(magic, sizeof magic, 1, file) == 1 && memcmp(magic, "TZif", sizeof magic) == 0;
    fclose(file);
    return is_zone;
}

static struct zone *zone_new(struct str name, bool is_fixed, int32_t offset)
{
    struct zone *zone = mem_new(struct zone);

    if (!zone)
        return NULL;
    zone->tz[0] = ':';
    memcpy(zone->tz + 1, name.ptr, name.len);
    zone->is_fixed = is_fixed;
    if (is_fixed)
        zone->span = (struct zone_span){INT64_MIN, INT64_MAX, offset};
    return zone;
}

int zones_find(struct zones *zones, struct str name, struct zone **ret_zone, struct cel_error *err)
{
    struct zone *zone;
    int32_t offset = 0;
    bool is_fixed;

    if (name.len == 0)
        name = STR("UTC");
    for (zone = zones->first; zone; zone = zone->next)
        if (str_equal(name, str_of(zone_name(zone))))
            break;
    if (!zone) {
        is_fixed = str_equal(name, STR("UTC")) || parse_fixed(name, &offset);
        if (name.len > ZONE_NAME_MAX || (!is_fixed && !is_in_database(name)))
            return error_set(err, CEL_E_FORMAT,
                             "no time zone \"" STR_FORMAT
                             "\": UTC, an offset like +05:30 or a name "
                             "of the tz database like Europe/Berlin",
                             STR_ARGS(name));
        zone = zone_new(name, is_fixed, offset);
        if (!zone)
            return error_no_memory(err);
        zone->next = zones->first;
        zones->first = zone;
    }
    *ret_zone = zone;
    return 0;
}

void zones_deinit(struct zones *zones)
{
    while (zones && zones->first) {
        struct zone *zone = zones->first;
        zones->first = zone->next;
        mem_free(zone);
    }
}
