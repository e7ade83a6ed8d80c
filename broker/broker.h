/*
 * The port to where calls wait. For the broker a task is an id, a queue, a priority, a due time and
 * bytes; it knows no arguments, no functions, no policy. Redis behind it: docs/keys.md.
 *
 * A broker belongs to one uv loop and one thread. Calls with a callback either return negative and
 * never call it, or call it exactly once, from the loop, never from inside the call; broker_close
 * calls everything pending with -ECANCELED. Text handed in is copied; text handed to a callback is
 * borrowed until it returns. `deadline_mono` bounds the whole call, connecting included.
 *
 * Failures (status < 0): -ETIMEDOUT and connection errors when nothing was sent or the server ran
 * nothing until then; CEL_E_UNCERTAIN when the connection ended with the command under way;
 * CEL_E_SERVER for another error reply; CEL_E_AUTH; -ECANCELED. Conditions (status > 0) are named at each function.
 */
#pragma once

#include <uv.h>

#include "core/clock.h"
#include "core/error.h"

struct broker;

enum {
    BROKER_E_LOST = 1, /* the claim is no longer ours; nothing was written */
};

struct broker_options {
    const char *url;        /* redis://, unix://, redis+socket://, sentinel:// */
    const char *result_url; /* NULL: the same; "disabled": results are not stored */
    /* Of sentinel:// URLs that do not say; NULL or "" = nothing. User and password are those of the
     * sentinels themselves. */
    const char *master_name, *sentinel_username, *sentinel_password;
    struct str key_prefix;  /* global_keyprefix; absent = none */
    struct str node;        /* <name>:<incarnation>; needed by claim and what follows from it */
    usec_t connect_timeout; /* 0: 4 s */
    usec_t result_ttl;      /* 0: kept for ever; result_expires, normally one day */
    size_t dead_max;        /* quarantine entries kept a queue; 0: 10000 */
};

typedef void broker_done_fn(void *data, int status, const struct cel_error *err);
typedef void broker_closed_fn(void *data);

/* Checks the URLs; connects on the first command. -EINVAL, CEL_E_UNSUPPORTED (TLS). */
int broker_new(uv_loop_t *loop,
               const struct broker_options *options,
               struct broker **ret_broker,
               struct cel_error *err) MUST_CHECK;
/* Ends all connections; `cb` comes when the last handle is closed and the broker is freed. */
void broker_close(struct broker *broker, broker_closed_fn *cb, void *data);

/* Tests the connection: PING. */
int broker_ping(struct broker *broker, usec_t deadline_mono, broker_done_fn *cb, void *data)
    MUST_CHECK;

/* --- producing -------------------------------------------------------------------------------- */

struct broker_message {
    struct str queue;
    unsigned step; /* priority step: 0, 3, 6, 9 */
    struct str bytes;
};

/* Pushes messages in order, pipelined; at least one. On failure `*ret_pushed` (may be NULL, written
 * before cb) says how many of the first ones are known to be with Redis; others may be too. */
int broker_push(struct broker *broker,
                const struct broker_message *messages,
                size_t count,
                usec_t deadline_mono,
                size_t *ret_pushed,
                broker_done_fn *cb,
                void *data) MUST_CHECK;

/* --- claiming --------------------------------------------------------------------------------- */

/* One message held by this node: in flight under `tag` in celeriac:inflight:{queue}:<node>. */
struct broker_claim {
    struct str queue;
    uint64_t tag;  /* unique in this node's life; 0: already acknowledged */
    unsigned step; /* the priority list it came from */
};
struct broker_claimed {
    struct broker_claim claim;
    struct str bytes;
};
typedef void broker_claim_fn(void *data,
                             int status,
                             const struct broker_claimed *claimed,
                             size_t count,
                             const struct cel_error *err);

/*
 * Claims up to `max` messages (256 at most) of `queue` in one step: staged ones first, then the
 * lists by priority. What a claim has taken that failed (CEL_E_UNCERTAIN, CEL_E_SERVER) is handed
 * out by a later one.
 */
int broker_claim(struct broker *broker,
                 struct str queue,
                 size_t max,
                 usec_t deadline_mono,
                 broker_claim_fn *cb,
                 void *data) MUST_CHECK;

/*
 * Waits until one of the priority lists of `queue` has a message (which then is staged for this
 * node: claim next), or until broker_wait_cancel; re-arms itself for as long. One wait a queue at a
 * time (-EBUSY). Status 0: something was staged. -ECANCELED: cancelled and nothing staged. Other
 * failures: the connection was lost (then something may be staged); wait again. A staged message
 * that cannot be run now: broker_unstage.
 */
int broker_wait(struct broker *broker, struct str queue, broker_done_fn *cb, void *data) MUST_CHECK;
void broker_wait_cancel(struct broker *broker, struct str queue);
/* Puts everything staged for this node on `queue` back to the serving end. */
int broker_unstage(struct broker *broker,
                   struct str queue,
                   usec_t deadline_mono,
                   broker_done_fn *cb,
                   void *data) MUST_CHECK;

/* --- what becomes of a claimed message -------------------------------------------------------- */

struct broker_dead {
    struct str reason;        /* "undecodable", "content type", "unregistered" ... */
    struct str detail;        /* a sentence, or absent */
    struct str task_id, task; /* or absent */
};

/*
 * One step that ends a claim: all of it happens, or (BROKER_E_LOST, tag gone) nothing.
 * With a result store on another server the result is stored first, then the step is made. A claim
 * with tag 0 was acknowledged before: everything is done unless it was to be buried (-EINVAL).
 */
struct broker_completion {
    struct broker_claim claim;
    struct str result_id;                    /* absent: no document to store */
    struct str result_document;              /* stored unless a SUCCESS is there, and published */
    const struct broker_message *follow_ups; /* pushed */
    size_t follow_up_count;
    struct str retry; /* message of the next attempt, or absent; goes to claim.queue and step */
    usec_t retry_due_wall; /* 0: pushed at once; else parked until then */
    const struct broker_dead
        *dead; /* not NULL: the claimed message itself is moved to quarantine */
};
int broker_complete(struct broker *broker,
                    const struct broker_completion *completion,
                    usec_t deadline_mono,
                    broker_done_fn *cb,
                    void *data) MUST_CHECK;

/* Acknowledges without anything else; gathered per loop turn, answered for each. Condition
 * BROKER_E_LOST. */
int broker_ack(struct broker *broker,
               const struct broker_claim *claim,
               usec_t deadline_mono,
               broker_done_fn *cb,
               void *data) MUST_CHECK;
/* Back to the serving end of its list, bytes unchanged. Condition BROKER_E_LOST. */
int broker_give_back(struct broker *broker,
                     const struct broker_claim *claim,
                     usec_t deadline_mono,
                     broker_done_fn *cb,
                     void *data) MUST_CHECK;
/* From in flight to the delayed set, due at `due_wall`. Condition BROKER_E_LOST. */
int broker_park(struct broker *broker,
                const struct broker_claim *claim,
                usec_t due_wall,
                usec_t deadline_mono,
                broker_done_fn *cb,
                void *data) MUST_CHECK;

/* Moves what is due at `now_wall` (at most a few hundred a call) to the serving end of its list.
 * `next_due_wall`: 0 = the set is empty; <= now = more is due, call again. */
typedef void broker_promote_fn(
    void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err);
int broker_promote(struct broker *broker,
                   struct str queue,
                   usec_t now_wall,
                   usec_t deadline_mono,
                   broker_promote_fn *cb,
                   void *data) MUST_CHECK;

/* --- results ---------------------------------------------------------------------------------- */

/* Stores and publishes a document (STARTED, PROGRESS), unless a SUCCESS is there. */
int broker_store_result(struct broker *broker,
                        struct str id,
                        struct str document,
                        usec_t deadline_mono,
                        broker_done_fn *cb,
                        void *data) MUST_CHECK;
typedef void
broker_result_fn(void *data, int status, struct str document, const struct cel_error *err);
/* `document` is absent when nothing is stored. */
int broker_get_result(struct broker *broker,
                      struct str id,
                      usec_t deadline_mono,
                      broker_result_fn *cb,
                      void *data) MUST_CHECK;
/* The first document for which `is_final` is true: SUBSCRIBE, confirmation, GET, then the channel;
 * GET again every few seconds and after a reconnect. -ETIMEDOUT at the deadline, whatever the
 * reason; CEL_E_CONFIG (returned) when results are disabled. */
typedef bool broker_is_final_fn(struct str document);
int broker_await_result(struct broker *broker,
                        struct str id,
                        broker_is_final_fn *is_final,
                        usec_t deadline_mono,
                        broker_result_fn *cb,
                        void *data) MUST_CHECK;
int broker_forget_result(struct broker *broker,
                         struct str id,
                         usec_t deadline_mono,
                         broker_done_fn *cb,
                         void *data) MUST_CHECK;

/* --- beat ------------------------------------------------------------------------------------- */

enum { BROKER_ALREADY_FIRED = 2 };
/* Pushes `message` unless the slot of `entry` was fired before, by anyone: one step. The mark lives
 * for `mark_ttl`. Condition BROKER_ALREADY_FIRED. */
int broker_fire(struct broker *broker,
                struct str entry,
                usec_t slot_wall,
                usec_t mark_ttl,
                const struct broker_message *message,
                usec_t deadline_mono,
                broker_done_fn *cb,
                void *data) MUST_CHECK;

/* --- looking ---------------------------------------------------------------------------------- */

struct broker_queue_stats {
    struct str queue;
    uint64_t waiting;   /* over all priority lists */
    uint64_t in_flight; /* of every node of ours, staged included */
    uint64_t delayed;
    uint64_t dead;
    struct str
        oldest; /* the message served next, bytes, or absent (its age: the caller's business) */
};
typedef void broker_stats_fn(void *data,
                             int status,
                             const struct broker_queue_stats *stats,
                             size_t count,
                             const struct cel_error *err);
/* Numbers of the named queues; `count` 0: of every queue known by binding or by a key of ours. */
int broker_queues(struct broker *broker,
                  const struct str *queues,
                  size_t count,
                  usec_t deadline_mono,
                  broker_stats_fn *cb,
                  void *data) MUST_CHECK;
/* Deletes what waits (not what is in flight; `delayed` too if asked); `*ret_purged` is written
 * before cb. */
int broker_purge(struct broker *broker,
                 struct str queue,
                 bool delayed,
                 usec_t deadline_mono,
                 uint64_t *ret_purged,
                 broker_done_fn *cb,
                 void *data) MUST_CHECK;
/* Announces that a queue exists: SADD of kombu's binding, as a Celery worker does. */
int broker_declare(struct broker *broker,
                   struct str queue,
                   usec_t deadline_mono,
                   broker_done_fn *cb,
                   void *data) MUST_CHECK;
