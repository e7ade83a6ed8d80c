/*
 * Remote control: requests to workers and their replies (docs/protocol.md, "Remote control"). Struct
 * in, bytes out, and back; what a command does is not known here.
 */
#pragma once

#include "core/clock.h"
#include "message/wrapper.h"

#define CONTROL_EXCHANGE       "celery.pidbox"
#define CONTROL_REPLY_EXCHANGE "reply." CONTROL_EXCHANGE

struct control_request {
    struct str method;
    const struct cel_value *arguments;    /* a map; NULL: none */
    const struct cel_value *destination;  /* a list of names; NULL: everybody's */
    struct str pattern, matcher;          /* or absent */
    struct str ticket;                    /* of the asker; or absent */
    struct str reply_exchange, reply_key; /* where an answer goes; key absent: none is wanted */
    uint64_t clock;                       /* of the asker */
    usec_t expires_wall;                  /* for writing; 0: never */
    struct wrapped wrapped;               /* what it was read from; owned */
};

/* What is of a wrong type counts as missing, but a method, without which it is CEL_E_FORMAT. */
int control_request_decode(struct str bytes,
                           struct control_request *ret,
                           struct cel_error *err) MUST_CHECK;
void control_request_deinit(struct control_request *request);
/* Appends the message. */
int control_request_encode(struct buf *buf,
                           const struct control_request *request,
                           struct str delivery_tag) MUST_CHECK;

struct control_reply {
    struct str node; /* name@host */
    const struct cel_value *value;
    struct str ticket; /* of the request */
    uint64_t clock;
    struct str exchange, key; /* of the request's reply_to */
};
int control_reply_encode(struct buf *buf,
                         const struct control_reply *reply,
                         struct str delivery_tag) MUST_CHECK;
/* `wrapped` owns what `ret` borrows. */
int control_reply_decode(struct str bytes,
                         struct control_reply *ret,
                         struct wrapped *ret_wrapped,
                         struct cel_error *err) MUST_CHECK;
