/*
 * Points in time as PostgreSQL writes them (timestamptz, DateStyle ISO), in microseconds since
 * 1970: "2024-02-29 12:30:15.5+00", years before Christ with " BC", "infinity" as INT64_MAX and
 * "-infinity" as INT64_MIN.
 */
#pragma once

#include "core/str.h"

enum { PG_TIME_ROOM = 64 };

void pg_time_format(int64_t usec, char room[PG_TIME_ROOM]);
/* Without a zone it is UTC. 0, or -EINVAL for what is no such time. */
int pg_time_parse(struct str text, int64_t *ret_usec) MUST_CHECK;
