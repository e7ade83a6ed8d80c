/*
 * What is no expression is refused with a sentence. An expression has a next time, later than the
 * one asked for, that the clocks of the zone show (or, in a gap, the first instant after it).
 */
#include <time.h>

#include "beat/crontab.h"
#include "tests/fuzz/fuzz.h"

static void check_sets(const struct crontab *crontab)
{
    ASSERT(crontab->minutes && crontab->minutes >> 60 == 0);
    ASSERT(crontab->hours && crontab->hours >> 24 == 0);
    ASSERT(crontab->days && (crontab->days & 1) == 0);
    ASSERT(crontab->months && crontab->months >> 13 == 0 && (crontab->months & 1) == 0);
    ASSERT(crontab->weekdays && crontab->weekdays >> 7 == 0);
}

static void check_shown(const struct crontab *crontab, usec_t wall)
{
    time_t when = (time_t)(wall / USEC_PER_SEC);
    struct tm tm;
    ASSERT(wall % (60 * USEC_PER_SEC) == 0 && gmtime_r(&when, &tm));
    ASSERT(crontab->minutes >> tm.tm_min & 1 && crontab->hours >> tm.tm_hour & 1 &&
           crontab->days >> tm.tm_mday & 1 && crontab->months >> (tm.tm_mon + 1) & 1 &&
           crontab->weekdays >> tm.tm_wday & 1);
}

static void check_next(const struct crontab *crontab, struct zones *zones, usec_t after)
{
    struct zone *utc = NULL, *berlin = NULL;
    ASSERT(zones_find(zones, STR("UTC"), &utc, NULL) == 0);
    ASSERT(zones_find(zones, STR("Europe/Berlin"), &berlin, NULL) == 0);
    usec_t next = crontab_next(crontab, utc, after);
    ASSERT(next > after && next != USEC_NEVER);
    check_shown(crontab, next);
    ASSERT(crontab_next(crontab, utc, next - 1) == next);
    next = crontab_next(crontab, berlin, after);
    ASSERT(next > after && next != USEC_NEVER);
    ASSERT(crontab_next(crontab, berlin, next - 1) == next);
    ASSERT(crontab_next(crontab, berlin, next) > next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zones zones; /* reading a zone's file at each input would be most of the work */
    struct str text = str_n(data, size);
    struct crontab crontab = {0};
    struct cel_error err = {0};
    uint64_t mix = 1469598103934665603u;
    int r = crontab_parse(text, &crontab, &err);
    ASSERT(r == 0 || r == CEL_E_FORMAT);
    ASSERT(r == err.code && (r == 0) == (err.text[0] == '\0'));
    if (r < 0)
        return 0;
    check_sets(&crontab);
    for (size_t i = 0; i < size; i++)
        mix = (mix ^ data[i]) * 1099511628211u;
    check_next(&crontab, &zones, mix % (4000000000u * USEC_PER_SEC)); /* up to 2096 */
    return 0;
}
