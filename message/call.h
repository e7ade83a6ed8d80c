/*
 * The inside of a call (celeriac/call.h is its outside, implemented here), and the one place that
 * turns a call into the bytes of a message: for the client, for sends from inside a task, for beat.
 */
#pragma once

#include "celeriac/call.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "message/repr.h"
#include "message/routes.h"

struct cel_call {
    char *name;
    struct cel_value *args, *kwargs, *headers; /* list, map, map or NULL */
    char *id, *queue, *shadow;                 /* or NULL */
    char *to_exchange, *to_key;                /* both, or both NULL: cel_call_exchange */
    int priority;
    usec_t countdown, eta_wall, expires_in, expires_wall; /* 0: not given */
    int64_t retries;
    bool ignore_result, ordered;
    usec_t soft_limit, hard_limit; /* 0: not given */
    enum cel_serializer serializer;
    enum cel_compression compression;
    /* What a canvas adds: views of what stays as long as the call (canvas/task.c), else nothing. */
    struct str group, reply_to, exchange;
    bool has_group_index;
    int64_t group_index, replaced_task_nesting;
    const struct cel_value *embed; /* callbacks, errbacks, chain, chord */
    struct cel_error error;        /* the first failure of a setter */
};

/* What the sender adds. */
struct call_context {
    struct str id;           /* of this sending; used unless the call fixed one */
    struct str delivery_tag; /* unique */
    struct str default_queue;
    const struct routes *routes;   /* come before it; or NULL */
    struct str root_id, parent_id; /* absent: the task is its own root */
    struct str origin;             /* "gen123@host" or the node's name */
    struct str periodic_task_name; /* beat only, else absent */
    usec_t now_wall;
    bool knows_exchanges; /* who sends finds the queues of one */
};

/*
 * Appends the message. `*ret_id` and `*ret_queue` are borrowed from `call` or `context`.
 * The setters' first error, or CEL_E_FORMAT / CEL_E_LIMIT / -ENOMEM from encoding.
 */
int call_encode(const struct cel_call *call,
                const struct call_context *context,
                struct buf *buf,
                struct str *ret_id,
                struct str *ret_queue,
                struct cel_error *err) MUST_CHECK;
/* The same as a message of its own. */
int call_message(const struct cel_call *call,
                 const struct call_context *context,
                 struct cel_message *ret,
                 struct cel_error *err) MUST_CHECK;

/* A name that means something in the protocol, which no header of one's own may have. */
bool call_is_reserved_header(struct str name);
/* Copies of the items of a list and a map become the call's arguments; NULL: none. */
void call_add_arguments(struct cel_call *call,
                        const struct cel_value *args,
                        const struct cel_value *kwargs);
/* The id for who asked for it, UUID_SIZE bytes; "" for a longer one, which that one chose. */
void call_hand_out_id(struct str id, char *ret_id);

enum { QUEUE_NAME_MAX = 200 };
/* The name of a queue is 1 ... QUEUE_NAME_MAX bytes of UTF-8 without control characters, which
 * separate the parts of keys. 0 or -EINVAL. */
int call_check_queue(struct str queue, struct cel_error *err) MUST_CHECK;
