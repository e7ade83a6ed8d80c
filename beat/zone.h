/*
 * Time zones: the offset from UTC that the clocks of a place show at an instant. UTC, fixed
 * offsets, and every zone of the system's tz database. The one file that touches the C library's
 * zone code (zone.c) sets TZ for a moment and puts it back: for single-threaded programs only.
 * Instants and wall-clock times are seconds since 1970; a wall-clock time is instant + offset.
 */
#pragma once

#include <stdint.h>

#include "core/error.h"
#include "core/str.h"

struct zone;

/* The zones in use; a zone lives as long as the set that found it. */
struct zones {
    struct zone *first;
};

/*
 * "UTC", "+05:30", "-03:00" or a name of the tz database ("Europe/Berlin"); absent or empty text is
 * UTC. CEL_E_FORMAT when there is no such zone, -ENOMEM.
 */
int zones_find(struct zones *zones, struct str name, struct zone **ret_zone, struct cel_error *err)
    MUST_CHECK;
void zones_deinit(struct zones *zones); /* takes NULL */

/* A stretch of time, from <= instant < until, throughout which the offset is the same. What follows
 * may have the same offset too: a span ends at a change or where looking ahead ended. */
struct zone_span {
    int64_t from, until;
    int32_t offset; /* seconds east of UTC */
};
/* The span that holds `instant`. */
struct zone_span zone_span_at(struct zone *zone, int64_t instant);
const char *zone_name(const struct zone *zone);
