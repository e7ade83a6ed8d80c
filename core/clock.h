/*
 * Time in microseconds. Deadlines are on the monotonic clock (`_mono`), calendar times on the wall
 * clock (`_wall`, since 1970 UTC); durations bare. Both clocks can be replaced in tests.
 * ISO 8601 text as Celery writes and reads it (docs/protocol.md).
 */
#pragma once

#include "core/str.h"

typedef uint64_t usec_t;

#define USEC_PER_MSEC ((usec_t)1000)
#define USEC_PER_SEC  ((usec_t)1000000)
#define USEC_NEVER    UINT64_MAX

usec_t clock_mono(void);
usec_t clock_wall(void);
/* For tests: both clocks stand at these values until set again; NULL functions restore the real. */
void clock_replace(usec_t (*mono)(void), usec_t (*wall)(void));

/* "2024-02-29T12:30:15.123456+00:00" and every ISO 8601 form with 0-9 fraction digits, Z, +HH:MM,
 * +HHMM, +HH, a space for T, a date alone; without a zone it is UTC. 0 or -EINVAL. A time up to
 * 1970 is read as 1, since 0 means "none" wherever a time may be missing. */
int isotime_parse(struct str text, usec_t *ret_wall) MUST_CHECK;

enum { ISOTIME_SIZE = 40 };
/* Writes "YYYY-MM-DDTHH:MM:SS.ffffff+00:00" (no fraction when it is 0), terminated. */
struct str isotime_format(usec_t wall, char buffer[ISOTIME_SIZE]);
