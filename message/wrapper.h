/*
 * Kombu's wrapper around what is no task: events, requests and replies of remote control. Its headers
 * and its body are values; tasks have an envelope of their own (envelope.h).
 */
#pragma once

#include "core/buf.h"
#include "core/error.h"
#include "core/value.h"

#define WRAPPER_BYTES_MAX ((size_t)16 * 1024 * 1024)

/* For writing. */
struct wrapper {
    struct str body_json;    /* JSON text */
    struct str headers_json; /* the members of an object: "clock": 1 */
    bool is_kept;            /* delivery_mode 2 */
    struct str exchange, routing_key;
    struct str delivery_tag; /* unique */
};
/* Appends it with every key that kombu looks for. */
int wrapper_encode(struct buf *buf, const struct wrapper *wrapper) MUST_CHECK;

/* As it was read. */
struct wrapped {
    struct cel_value *whole;         /* owned */
    struct cel_value *body;          /* owned; JSON or msgpack, whatever its shape */
    const struct cel_value *headers; /* a map, or NULL */
};
/* CEL_E_FORMAT, CEL_E_LIMIT, CEL_E_REFUSED (a content type that is not read), -ENOMEM. */
int wrapper_decode(struct str bytes, struct wrapped *ret, struct cel_error *err) MUST_CHECK;
void wrapped_deinit(struct wrapped *wrapped);
