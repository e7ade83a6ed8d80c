/*
 * JSON <-> values, as Python's json module and kombu read and write them. Decoding is the library's
 * work (docs/dependencies.md says which and why); this file knows what its pieces mean.
 */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/value.h"

enum json_style {
    JSON_PLAIN, /* typed values as plain strings, just as Celery 5.2; bytes are refused */
    JSON_TYPED, /* typed values as kombu 5.3's {"__type__": ..., "__value__": ...} */
};

/*
 * Decodes one document. Integers of any length are exact, NaN/Infinity/-Infinity are floats, the
 * last of duplicate keys wins, the seven typed objects become typed values, any other object with
 * exactly __type__ and __value__ is kept as a map. Escapes of half a surrogate pair are refused,
 * because such text has no UTF-8. The caller frees the value.
 * CEL_E_FORMAT (err names the offset), CEL_E_LIMIT (value.h), -ENOMEM.
 */
int json_decode(struct str text,
                struct cel_value **ret_value_take,
                struct cel_error *err) MUST_CHECK;

/*
 * Appends the text: ", " and ": " between parts and ASCII with \uXXXX escapes, exactly as Python's
 * json.dumps. Failures stick in `buf`; CEL_E_FORMAT for bytes in JSON_PLAIN, and in both styles for
 * a map of exactly __type__ and __value__ that is none of the seven typed objects, because readers
 * of kombu 5.3 and later lose a whole message over it; CEL_E_LIMIT for values nested too deep.
 */
int json_encode(struct buf *buf, const struct cel_value *value, enum json_style style) MUST_CHECK;
/* Appends `text` as a JSON string, quoted and escaped; bytes that are no UTF-8 as U+FFFD. */
void json_add_text(struct buf *buf, struct str text);
/* json_add_text, or null when absent. */
void json_add_text_or_null(struct buf *buf, struct str text);
/* As Python's repr: 1.0, 1e+16, 5e-324, NaN, Infinity. */
void json_add_double(struct buf *buf, double number);
