/*
 * The rate that a request names: a text as Celery writes it ("10/m"), a number (per second), or nothing.
 */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/value.h"

/* Appends it as a text that rate_parse (core/rate.h) reads; "0" where there shall be no limit, then
 * `*ret_is_limit` is false. CEL_E_FORMAT with Python's words. */
int rate_read(const struct cel_value *value,
              struct buf *text,
              bool *ret_is_limit,
              struct cel_error *err) MUST_CHECK;
