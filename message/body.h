/*
 * The body of a task message: [args, kwargs, embed], serialised, perhaps compressed, in base64.
 */
#pragma once

#include "celeriac/call.h"
#include "core/value.h"
#include "message/envelope.h"

struct body {
    struct cel_value *args;   /* a list, never NULL after a successful decode */
    struct cel_value *kwargs; /* a map, never NULL */
    struct cel_value *embed;  /* a map (callbacks, errbacks, chain, chord), or NULL */
};

/*
 * Decodes the body of `envelope`. CEL_E_REFUSED: a content type that is not accepted (only JSON and
 * msgpack are; the text is Celery's "Refusing to deserialize disabled content of type pickle
 * (application/x-python-serialize)"), or an unknown compression. CEL_E_FORMAT, CEL_E_LIMIT (the
 * decompressed size counts), -ENOMEM.
 */
int body_decode(const struct envelope *envelope,
                struct body *ret,
                struct cel_error *err) MUST_CHECK;
void body_deinit(struct body *body);

/* The whole body as one value, whatever its shape: protocol 1 has an object. Fails as body_decode.
 */
int body_decode_value(const struct envelope *envelope,
                      struct cel_value **ret_value_take,
                      struct cel_error *err) MUST_CHECK;

/* True for the content types that body_decode accepts; known from the headers alone. */
bool body_accepts(struct str content_type);

struct body_encoding {
    enum cel_serializer serializer;
    enum cel_compression compression;
};

/*
 * Appends base64 text to `buf` and sets the envelope's content_type, content_encoding and
 * compression (constants) and body_is_base64; its `body` the caller sets, to a view that stays.
 * `args`, `kwargs` and `embed` may be NULL (empty). CEL_E_FORMAT for what the serializer has no
 * form for (celeriac/call.h), CEL_E_LIMIT, -ENOMEM.
 */
int body_encode(const struct cel_value *args,
                const struct cel_value *kwargs,
                const struct cel_value *embed,
                struct body_encoding encoding,
                struct buf *buf,
                struct envelope *envelope,
                struct cel_error *err) MUST_CHECK;
