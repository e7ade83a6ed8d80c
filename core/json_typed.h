/*
 * Kombu's typed objects, {"__type__": ..., "__value__": ...}: what JSON itself cannot say.
 */
#pragma once

#include "core/buf.h"
#include "core/value.h"

/* True for a map of exactly these two keys, which kombu 5.3 and later take for a typed value. */
bool json_is_typed_object(const struct cel_value *map);

/* Condition: such a map, but none that is known, or with a value that is not of its form. */
enum { JSON_TYPED_UNKNOWN = 1 };

/* The value that a typed object stands for. JSON_TYPED_UNKNOWN, -ENOMEM. */
int json_typed_decode(const struct cel_value *map, struct cel_value **ret_value_take) MUST_CHECK;

/* Appends the object for bytes and the types kept as text but CEL_BIGINT, which is a number. */
void json_typed_encode(struct buf *buf, const struct cel_value *value);
