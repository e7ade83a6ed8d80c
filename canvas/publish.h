/*
 * A canvas begins: a signature becomes messages, with the rest of each chain, the callbacks and the
 * chord that they belong to inside them. Ids are made here, time and origin come from the sender; no
 * sockets. What is not sent yet goes along as the signature it was.
 */
#pragma once

#include "canvas/plan.h"
#include "core/clock.h"
#include "core/value.h"

/* An errback's failed call. */
struct canvas_failure {
    struct str id, task, root_id, parent_id; /* the last three may be absent */
    struct str exception_json;               /* its exception object */
    struct str traceback;                    /* or absent */
};
/* Asked for each errback before it is sent: true, it was called here, as those are that take more
 * than the failed id; nothing is sent then. */
typedef bool canvas_errback_fn(void *data,
                               const struct cel_value *signature,
                               const struct canvas_failure *failure);
/* The queue of a registered task, or absent: the default queue. */
typedef struct str canvas_queue_fn(void *data, struct str task);

/* Whoever sends: a client, or a task in a worker. */
struct canvas_sender {
    struct str origin, default_queue;
    usec_t now_wall;
    struct str root_id, parent_id; /* of what is sent; absent: each first task is its own root */
    canvas_queue_fn *queue_of;     /* or NULL */
    canvas_errback_fn *errback;    /* or NULL: all are sent */
    void *data;                    /* of both */
};

/*
 * Plans the sending of `signature` (celery-wire D.7, D.8) with the `pre_count` values of `pre` put
 * before its arguments. Appends to `ret_handle` (or NULL) its result tuple as JSON: the last element
 * of a chain, the body of a chord; the same stands in plan->children. What cannot be sent is
 * CEL_E_FORMAT, CEL_E_LIMIT or -EINVAL with the place in the canvas.
 */
int canvas_publish(const struct cel_value *signature,
                   const struct cel_value *const *pre,
                   size_t pre_count,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct buf *ret_handle,
                   struct cel_error *err) MUST_CHECK;
