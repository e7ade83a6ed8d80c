/*
 * Values: the arguments of a call, the result of a task.
 *
 * A value is null, a boolean, an integer, a float, text, bytes, a list, a map with text keys, or
 * one of the types that Celery's JSON carries beyond JSON itself (decimal, date and time, UUID).
 * Values form a tree; a container owns what was put into it. Nothing here is shared between
 * threads: a tree belongs to one thread at a time.
 *
 * Constructors return NULL when memory is short. Functions that put a value somewhere adopt it in
 * every case, also on failure, and take NULL as "memory was short": so constructors can be written
 * inside calls and the failure is reported once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "celeriac/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cel_value;

enum cel_type {
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,    /* -2^63 ... 2^63-1 */
    CEL_BIGINT, /* any longer integer, kept as its decimal digits */
    CEL_FLOAT,  /* a double, NaN and infinities included */
    CEL_TEXT,   /* UTF-8 */
    CEL_BYTES,
    CEL_DECIMAL,  /* Python's Decimal, kept as text: "1.10" */
    CEL_DATETIME, /* ISO 8601 text */
    CEL_DATE,     /* "2024-02-29" */
    CEL_TIME,     /* "01:02:03" */
    CEL_UUID,     /* 36 characters with dashes */
    CEL_LIST,
    CEL_MAP, /* keys in the order in which they were first put */
};

/* Constructors. The caller owns the value until it is put somewhere or freed. */
CEL_API struct cel_value *cel_null(void);
CEL_API struct cel_value *cel_bool(bool b);
CEL_API struct cel_value *cel_int(int64_t i);
CEL_API struct cel_value *cel_float(double d);
/* Text must be valid UTF-8 (otherwise NULL); it is copied. */
CEL_API struct cel_value *cel_text(const char *text);
CEL_API struct cel_value *cel_text_n(const char *text, size_t length);
CEL_API struct cel_value *cel_bytes(const void *bytes, size_t length);
/* The types kept as text: `type` is CEL_BIGINT, CEL_DECIMAL, CEL_DATETIME, CEL_DATE, CEL_TIME or
 * CEL_UUID. NULL when `text` is not of that form. Times are read in every form of ISO 8601 that
 * databases write ("2024-02-29 12:00:00.5+00") and kept as Python writes them
 * ("2024-02-29T12:00:00.500000+00:00", at most microseconds); a UUID in small letters; an integer
 * that fits 64 bits becomes a CEL_INT. */
CEL_API struct cel_value *cel_typed(enum cel_type type, const char *text);
CEL_API struct cel_value *cel_list(void);
CEL_API struct cel_value *cel_map(void);

/* Appends `item` to a list / sets `key` in a map (replacing what was there); adopts `item` in every
 * case. 0, -ENOMEM (also for a NULL item or container), -EINVAL when `list` or `map` is of another
 * type or `key` is not UTF-8. */
CEL_API int cel_list_add(struct cel_value *list, struct cel_value *item);
CEL_API int cel_map_set(struct cel_value *map, const char *key, struct cel_value *item);

/* Frees a whole tree; takes NULL. Returns NULL. */
CEL_API struct cel_value *cel_value_free(struct cel_value *value);
/* A deep copy, or NULL when memory is short (or containers stand more than 256 deep). */
CEL_API struct cel_value *cel_value_dup(const struct cel_value *value);

/* Readers. They take NULL as a null value and never fail: a wrong type gives the `otherwise` value
 * or NULL. Borrowed pointers live as long as the value. */
CEL_API enum cel_type cel_value_type(const struct cel_value *value);
CEL_API const char *cel_type_name(enum cel_type type);
CEL_API bool cel_value_bool(const struct cel_value *value, bool otherwise);
CEL_API int64_t cel_value_int(const struct cel_value *value, int64_t otherwise);
/* A float; integers of any length are converted. */
CEL_API double cel_value_float(const struct cel_value *value, double otherwise);
/* The text of CEL_TEXT and of the types kept as text, terminated; NULL for others. `ret_length` may
 * be NULL; text may hold zero bytes, then the length tells the truth. */
CEL_API const char *cel_value_text(const struct cel_value *value, size_t *ret_length);
/* The bytes of CEL_BYTES or CEL_TEXT; NULL for others. */
CEL_API const void *cel_value_bytes(const struct cel_value *value, size_t *ret_length);
/* Number of elements of a list or map; 0 for others. */
CEL_API size_t cel_value_count(const struct cel_value *value);
/* Element `index` of a list, or value `index` of a map; NULL when there is none. Borrowed. */
CEL_API const struct cel_value *cel_value_at(const struct cel_value *value, size_t index);
/* Key `index` of a map, terminated; NULL when there is none. */
CEL_API const char *cel_value_key(const struct cel_value *map, size_t index);
/* The value under `key`, or NULL. */
CEL_API const struct cel_value *cel_value_get(const struct cel_value *map, const char *key);

/* JSON, as Python writes and reads it: integers of any length exact, NaN and Infinity as bare
 * words, typed values as kombu's {"__type__": ..., "__value__": ...}. Depth at most 256, 16 MiB. */
CEL_API int cel_value_from_json(const char *json,
                                size_t length,
                                struct cel_value **ret_value,
                                struct cel_error *err);
/* The JSON text, terminated; the caller frees it with free(). NULL when memory is short, and for
 * what readers could not take: too deep, too long, or a map of exactly "__type__" and "__value__".
 */
CEL_API char *cel_value_to_json(const struct cel_value *value);

#ifdef __cplusplus
}
#endif
