/*
 * The requests of one connection: those that wait to be written, and those that were sent and wait
 * for their answer. It knows no states and no time but what it is told.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/list.h"
#include "redis/socket.h"

struct redis_request;

struct redis_script {
    unsigned number; /* of this script alone; less than 32 */
    struct str sha, text;
};

/*
 * How a request ended; called once, never from inside redis_connection_send. `status` 0: `reply` is
 * the server's answer, borrowed; else `err` says why: CEL_E_SERVER or CEL_E_AUTH with the error
 * reply in `reply`; otherwise `reply` is NULL: CEL_E_UNCERTAIN, it was sent and its answer is not
 * known; -ECANCELED, the connection is closing; another, nothing was sent. The callee frees the
 * request.
 */
typedef void redis_reply_fn(struct redis_request *request,
                            int status,
                            const struct redis_reply *reply,
                            const struct cel_error *err);

/* One command; embedded in what its owner needs to know when the answer comes. */
struct redis_request {
    struct list_link link;
    redis_reply_fn *on_reply;
    usec_t deadline_mono; /* of the whole */
    usec_t
        answer_within;  /* an answer takes no longer than this once it is sent; 0: no such limit */
    usec_t answer_mono; /* written by the connection */
    int given_status;   /* broker_answer: how it ended without the server */
    char *bytes;        /* the command as it goes out; owned */
    size_t len;
    const struct redis_script *script; /* that the command runs, or NULL */
    bool repeatable;     /* asking twice does no harm: sent again on a new connection */
    unsigned char loads; /* how often the server had lost the script */
};
/* Moves a whole command into a request that has none; `buf` is empty then. -ENOMEM, or CEL_E_LIMIT
 * for what no server takes. */
int redis_request_finish(struct redis_request *request, struct buf *buf) MUST_CHECK;
void redis_request_deinit(struct redis_request *request);

struct redis_pipeline {
    struct list waiting; /* not written */
    struct list sent;    /* written, at least begun; answered in this order */
    struct list refused; /* answered that they were not run: they wait again, in front of all */
};

/*
 * Writes what waits, as much as the socket takes now; a script that the socket's server may not
 * know is loaded in front of the request that runs it. Nothing is written between a refusal and the
 * last answer to what was sent: what waits again would be overtaken. Moves `*earliest_mono` forward
 * to the earliest moment by which an answer must come. A failure leaves the socket unusable.
 */
int pipeline_write(struct redis_pipeline *pipeline,
                   struct redis_socket *socket,
                   usec_t *earliest_mono) MUST_CHECK;

/*
 * Hands `reply` to the request that it answers. Conditions: PIPELINE_E_UNASKED, there is none. The
 * others say that the request was not run and waits to be written again (words.h): as soon as that
 * goes (AGAIN, the server had lost the script), after a pause, or to another socket.
 */
enum { PIPELINE_E_UNASKED = 1, PIPELINE_E_AGAIN, PIPELINE_E_PAUSE, PIPELINE_E_LEAVE };
int pipeline_answer(struct redis_pipeline *pipeline,
                    struct redis_socket *socket,
                    const struct redis_reply *reply) MUST_CHECK;

/* When the socket is lost: what was sent and may not be sent again goes to the empty `ret`, the
 * rest waits again, in front, in its order. */
void pipeline_recall(struct redis_pipeline *pipeline, struct list *ret);
/* Takes one back that was not sent; false when it was. */
bool pipeline_take_back(struct redis_pipeline *pipeline, struct redis_request *request);

/* Whether an answer is overdue. */
bool pipeline_is_overdue(const struct redis_pipeline *pipeline, usec_t now_mono);
/* Moves those that wait and are overdue to the empty `ret`. */
void pipeline_expire(struct redis_pipeline *pipeline, usec_t now_mono, struct list *ret);
/* The earliest deadline of all. */
usec_t pipeline_earliest(const struct redis_pipeline *pipeline);

/* Empties `requests`, telling each. */
void requests_tell(struct list *requests, int status, const struct cel_error *err);
