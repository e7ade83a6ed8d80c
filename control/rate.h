/*
 * Rates as Celery writes them: "10/s", "10/m", "10/h", a number (per second), nothing.
 */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/value.h"

/* `*ret_per_second` 0: no limit; then `text` stays empty, else it shows the rate as it was given.
 * CEL_E_FORMAT with Python's words. */
int rate_read(const struct cel_value *value,
              struct buf *text,
              double *ret_per_second,
              struct cel_error *err) MUST_CHECK;
