/*
 * MessagePack <-> values (msgpack-c). Celery's rules: strings are UTF-8, map keys are text,
 * integers -2^63 ... 2^64-1, no extension types.
 */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/value.h"

/* CEL_E_FORMAT, CEL_E_LIMIT, -ENOMEM as json_decode. Trailing bytes are an error. */
int msgpack_decode(struct str bytes,
                   struct cel_value **ret_value_take,
                   struct cel_error *err) MUST_CHECK;
/* Typed values go as their text. CEL_E_FORMAT for an integer beyond 64 bits. */
int msgpack_encode(struct buf *buf,
                   const struct cel_value *value,
                   struct cel_error *err) MUST_CHECK;
