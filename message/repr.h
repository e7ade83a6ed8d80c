/*
 * Values as Python's repr() shows them, for people: argsrepr and kwargsrepr of a message, the text
 * of an exception with several arguments. Never read back by a program.
 */
#pragma once

#include "core/buf.h"
#include "core/value.h"

enum {
    REPR_BYTES_MAX = 1024, /* of argsrepr and kwargsrepr, as Celery's default */
    REPR_LEVELS_MAX = 3,   /* containers deeper than this stand as [...] and {...} */
};

/* "(1, 'a')", "(1,)", "()": a list as a tuple; at most REPR_BYTES_MAX bytes. */
void repr_args(struct buf *buf, const struct cel_value *args);
/* "{'k': None}"; at most REPR_BYTES_MAX bytes. */
void repr_kwargs(struct buf *buf, const struct cel_value *kwargs);
/* The same for one value of any type, cut at `max` bytes; `as_tuple`: a list as a tuple. */
void repr_value(struct buf *buf, const struct cel_value *value, bool as_tuple, size_t max);
