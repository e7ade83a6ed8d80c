/*
 * The forms of the values that are kept as text: what each type accepts and how it is kept.
 */
#pragma once

#include "celeriac/value.h"
#include "core/str.h"

enum { TYPED_ROOM = 64 };

/*
 * Gives `text` as a value of `type` keeps it: `text` itself, or a view of what was written into
 * `room`. False when it is not of the form:
 *   CEL_BIGINT    -?digits without leading zeros
 *   CEL_DECIMAL   what Python's Decimal reads: 1.10, -.5, 1E+3, NaN, Infinity
 *   CEL_DATE      2024-02-29
 *   CEL_TIME      01:02[:03[.123456789]][+01:00], kept as Python's isoformat writes it
 *   CEL_DATETIME  a date, or a date, "T" or a space, and a time; kept likewise
 *   CEL_UUID      36 characters with dashes, kept in small letters
 */
bool typed_form(enum cel_type type, struct str text, char room[TYPED_ROOM], struct str *ret_text);
