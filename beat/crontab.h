/*
 * Crontab expressions: five fields in cron's order, Celery's grammar and meaning (docs/beat.md).
 * Pure: text to sets of numbers, sets and an instant to the next instant.
 */
#pragma once

#include <stdint.h>

#include "beat/zone.h"
#include "core/clock.h"

struct crontab { /* bit n set: value n matches */
    uint64_t minutes;
    uint32_t hours;
    uint32_t days;     /* of the month: 1 ... 31 */
    uint32_t months;   /* 1 ... 12 */
    uint32_t weekdays; /* 0 = Sunday ... 6 */
};

enum { CRONTAB_TEXT_MAX = 1024 };

/*
 * Reads "minute hour day-of-month month-of-year day-of-week". CEL_E_FORMAT names the field, the
 * part and the rule it breaks; a date that never comes (31 2) is refused too.
 */
int crontab_parse(struct str text, struct crontab *ret, struct cel_error *err) MUST_CHECK;

/*
 * The first moment after `after_wall` at which the clocks of `zone` match; day of month, month and
 * day of week must all match. When every hour matches, each real minute counts: the repeated hour
 * of autumn runs in both passes. Otherwise a wall-clock time runs once: at its first instant, or,
 * if the clocks skip it, at the first instant after the gap. USEC_NEVER when there is none within
 * 50 years.
 */
usec_t crontab_next(const struct crontab *crontab, struct zone *zone, usec_t after_wall);
