/*
 * Setting and wrapping errors. A failure is described once, where it happens; the code is handed up
 * unchanged, and a caller may put its own words in front of the text.
 */
#pragma once

#include <stdarg.h>

#include "celeriac/error.h"
#include "core/attr.h"

/* Fills `err` (may be NULL) and returns `code`: `return error_set(err, -EINVAL, "...", ...)`. */
int error_set(struct cel_error *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);
int error_setv(struct cel_error *err, int code, const char *format, va_list args) PRINTF_LIKE(3, 0);
/* Puts "words: " in front of the text of an error already set; returns its code (-EIO when `err` is
 * NULL: where it may be, hand up the code at hand instead). */
int error_wrap(struct cel_error *err, const char *format, ...) PRINTF_LIKE(2, 3);
/* For -ENOMEM. */
int error_no_memory(struct cel_error *err);
void error_clear(struct cel_error *err);
