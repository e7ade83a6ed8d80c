/*
 * Rates as Celery writes them: "10/s", "5/m", "0.5/h"; a number alone is per second.
 */
#pragma once

#include "core/clock.h"

/*
 * The time between two events at that rate, at least a microsecond; 0 for "0" and for the empty text:
 * there is no limit. -EINVAL: it is no such text; -ERANGE: it is negative, above a thousand
 * million, or less than one a year.
 */
int rate_parse(struct str text, usec_t *ret_interval) MUST_CHECK;
