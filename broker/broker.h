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

#include "commands/types.h"
#include "core/error.h"

struct broker;

enum {
    BROKER_E_LOST = 1, /* the claim, or the node's lease, is no longer ours; nothing was written */
    BROKER_E_SPARED = 3, /* nothing was written, since what stands is not to be covered */
    BROKER_E_JOINED = 4, /* with it a chord is complete; nothing was written */
    BROKER_E_CLOSED = 5, /* a chord that was to be closed is closed; nothing was written */
};

typedef void broker_done_fn(void *data, int status, const struct cel_error *err);
typedef void broker_closed_fn(void *data);
typedef void
broker_result_fn(void *data, int status, struct str document, const struct cel_error *err);

/* Where final results go instead of Redis. Both functions return negative, or call `cb` once, from
 * the loop; all is told before the broker is closed. */
struct broker_result {
    struct str id, document;
    struct str message; /* the call, or absent */
    bool spares_final;  /* what is there and final stays; else SUCCESS alone does */
};
struct broker_result_store {
    int (*store)(void *data, const struct broker_result *result, broker_done_fn *cb, void *cb_data);
    int (*get)(void *data, struct str id, broker_result_fn *cb, void *cb_data);
    void *data;
};

struct broker_options {
    const char *url; /* redis://, unix://, redis+socket://, sentinel:// */
    /* NULL: the same; "disabled": results are not stored; broker_is_result_table: not in Redis */
    const char *result_url;
    const struct broker_result_store *result_store; /* of such a one; copied; NULL: there is none */
    /* Of sentinel:// URLs that do not say; NULL or "" = nothing. User and password are those of the
     * sentinels themselves. */
    const char *master_name, *sentinel_username, *sentinel_password;
    struct str key_prefix; /* global_keyprefix; absent = none */
    struct str node;       /* <name>:<incarnation>; needed by claim and what follows from it */
    /* A connection on which an answer is awaited and nothing is heard for so long is given up, before
     * any deadline, unless a long write moves (redis/connection.h); 0: never. */
    usec_t silence;
    usec_t result_ttl;   /* 0: kept for ever; result_expires, normally one day */
    size_t dead_max;     /* quarantine entries kept a queue; 0: 10000 */
    usec_t dead_max_age; /* of them; 0: whatever their age */
};

/* `silence` of a daemon, which shall be at work again soon after the server is. */
#define BROKER_SILENCE_USEC (3 * USEC_PER_SEC)

/* Checks the URLs; connects on the first command. -EINVAL, CEL_E_UNSUPPORTED (TLS). */
int broker_new(uv_loop_t *loop,
               const struct broker_options *options,
               struct broker **ret_broker,
               struct cel_error *err) MUST_CHECK;
/* Ends all connections; `cb` comes when the last handle is closed and the broker is freed. */
void broker_close(struct broker *broker, broker_closed_fn *cb, void *data);

/* Whether a `result_url` means Django's table in PostgreSQL, as Celery's result_backend does. */
static inline bool broker_is_result_table(const char *result_url)
{
    return strcmp(result_url, "django-db") == 0 ||
           str_starts(str_of(result_url), STR("db+postgresql"));
}

/* Tests the connection: PING. */
int broker_ping(struct broker *broker, usec_t deadline_mono, broker_done_fn *cb, void *data)
    MUST_CHECK;

/* --- producing -------------------------------------------------------------------------------- */

/* Pushes messages in order, pipelined; at least one. On failure `*ret_pushed` (may be NULL, written
 * before cb) says how many of the first ones are known to be with Redis; others may be too. */
int broker_push(struct broker *broker,
                const struct broker_message *messages,
                size_t count,
                usec_t deadline_mono,
                size_t *ret_pushed,
                broker_done_fn *cb,
                void *data) MUST_CHECK;

/* How far a push came: the messages before `sure` are with Redis, those from there to `possible`
 * may be, the others are not. */
struct broker_pushed {
    size_t sure, possible;
    bool is_cut; /* CEL_E_UNCONFIRMED: the connection ended before the answer; asking again helps */
};
/*
 * broker_push with promises. `*ret_pushed` is written before cb, whatever the end. What was not
 * written when a message fails is not sent any more.
 * Further failures: CEL_E_UNCONFIRMED, all are with Redis, but replicas or disk have not confirmed
 * it within the deadline; CEL_E_UNSUPPORTED, the server cannot confirm what is on its disk (before
 * Redis 7.2), nothing was sent; -EINVAL (returned), once without an id. Source: push_once.lua.
 */
int broker_push_promised(struct broker *broker,
                         const struct broker_message *messages,
                         size_t count,
                         const struct broker_promises *promises,
                         usec_t deadline_mono,
                         struct broker_pushed *ret_pushed,
                         broker_done_fn *cb,
                         void *data) MUST_CHECK;

/*
 * broker_push_promised for a canvas: with chords all of it is one step, so that either nothing was
 * pushed, or all (with once: but those whose id was pushed before; where that is so of all, the chords
 * are left alone, too). With results on another server the chords are opened there first.
 * Further failures: CEL_E_CONFIG (returned), chords without results in Redis. Source: publish.lua.
 */
int broker_publish(struct broker *broker,
                   const struct broker_publication *publication,
                   usec_t deadline_mono,
                   struct broker_pushed *ret_pushed,
                   broker_done_fn *cb,
                   void *data) MUST_CHECK;

/* Forgets that such messages were pushed "once", when nobody can push them again. */
int broker_forget_pushed(struct broker *broker,
                         const struct broker_message *messages,
                         size_t count,
                         usec_t deadline_mono,
                         broker_done_fn *cb,
                         void *data) MUST_CHECK;

/* --- claiming --------------------------------------------------------------------------------- */

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
 * out by a later one. Condition BROKER_E_LOST: this node has no lease on the queue.
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

int broker_complete(struct broker *broker,
                    const struct broker_completion *completion,
                    usec_t deadline_mono,
                    broker_done_fn *cb,
                    void *data) MUST_CHECK;

/* The name of the key in which this node's claims of `queue` stand, for messages to people; borrowed
 * from the broker; absent without a node. */
struct str broker_in_flight_key(struct broker *broker, struct str queue);
/* Acknowledges (BROKER_DONE) without anything else; gathered per loop turn, answered for each. Condition
 * BROKER_E_LOST. */
int broker_ack(struct broker *broker,
               const struct broker_claim *claim,
               usec_t deadline_mono,
               broker_done_fn *cb,
               void *data) MUST_CHECK;
/*
 * Writes the call's `claim->id` into the ledger of its queue while the claim is ours; the step that
 * ends it strikes it out. So an id that is there and whose message is nowhere (broker_walk) was lost,
 * or ended by somebody who strikes out nothing. Nobody is told whether it could be written.
 */
void broker_track(struct broker *broker, const struct broker_claim *claim);
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
 * `next_due_wall`: 0 = the set is empty, or it was not looked for behind the many that are kept; <= now =
 * more is due, call again. With `status` 0 `err` is NULL or says what keeps some of them where they are;
 * it holds up no other. */
typedef void broker_promote_fn(
    void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err);
int broker_promote(struct broker *broker,
                   struct str queue,
                   usec_t now_wall,
                   usec_t deadline_mono,
                   broker_promote_fn *cb,
                   void *data) MUST_CHECK;

/* --- the lease --------------------------------------------------------------------------------

 * A node holds a lease on each queue that it claims from, by the clock of the server. Who finds one
 * that is over gives the node up: from then on it can claim and renew nothing, and what it had goes
 * back, tag by tag, so that its own late completion finds its claim gone.
 */

/* Makes (`is_new`) or renews this node's lease. `held` are the claims in flight under its name, but
 * those that a claim without an answer may have made; none when there are more than 10,000. Condition
 * BROKER_E_LOST: it was given up, or has left. */
typedef void broker_renew_fn(void *data,
                             int status,
                             const struct broker_claim *held,
                             size_t count,
                             const struct cel_error *err);
int broker_renew(struct broker *broker,
                 struct str queue,
                 usec_t ttl,
                 bool is_new,
                 usec_t deadline_mono,
                 broker_renew_fn *cb,
                 void *data) MUST_CHECK;
/* The messages of claims of ours on one queue, 64 at most; those that are gone are left out. */
int broker_show(struct broker *broker,
                const struct broker_claim *claims,
                size_t count,
                usec_t deadline_mono,
                broker_claim_fn *cb,
                void *data) MUST_CHECK;
/* Ends it: what is left is rescued at once. */
int broker_leave(struct broker *broker,
                 struct str queue,
                 usec_t deadline_mono,
                 broker_done_fn *cb,
                 void *data) MUST_CHECK;

typedef void broker_names_fn(
    void *data, int status, const struct str *names, size_t count, const struct cel_error *err);
/* Queues on which a node had a lease, ever. */
int broker_known_queues(struct broker *broker,
                        usec_t deadline_mono,
                        broker_names_fn *cb,
                        void *data) MUST_CHECK;
/* Nodes whose lease on `queue` is over, given up or not; a few of them. Fails while Redis refuses
 * writes, since nobody can renew then. */
int broker_dead_nodes(struct broker *broker,
                      struct str queue,
                      usec_t deadline_mono,
                      broker_names_fn *cb,
                      void *data) MUST_CHECK;
/* Gives `node` up, puts back what is staged for it, and shows what it has in flight: at most 64, the
 * newest first. Condition BROKER_E_LOST: its lease is not over. */
int broker_take_over(struct broker *broker,
                     struct str queue,
                     struct str node,
                     usec_t deadline_mono,
                     broker_claim_fn *cb,
                     void *data) MUST_CHECK;
/* Moves them, those still there, to the serving end of their lists, the last one served first; the
 * results are stored in the same step, or behind it when they live on another server (a result store is
 * the caller's business). `ret_moved[i]` becomes true, before cb, when rescued[i] was still there. */
int broker_rescue(struct broker *broker,
                  struct str queue,
                  struct str node,
                  const struct broker_rescued *rescued,
                  size_t count,
                  usec_t deadline_mono,
                  bool *ret_moved,
                  broker_done_fn *cb,
                  void *data) MUST_CHECK;

/* --- quarantine ------------------------------------------------------------------------------- */

struct broker_dead_entry {
    struct str entry;   /* its id: when it was buried (ms, by the clock of the server), a number */
    usec_t buried_wall; /* by the clock of who buried it */
    struct broker_dead dead;
    struct str message; /* byte for byte; empty unless asked for */
};
/* A part of a longer list. `cursor` asks for the next one, and is empty after the last; borrowed, as
 * everything else. */
typedef void broker_dead_fn(void *data,
                            int status,
                            const struct broker_dead_entry *entries,
                            size_t count,
                            struct str cursor,
                            const struct cel_error *err);
/* The oldest first: those there when the first part is asked for. That has no cursor, or, to begin
 * behind an entry, the id of that. A part has BROKER_ENDED_MAX entries at most. */
int broker_list_dead(struct broker *broker,
                     struct str queue,
                     struct str cursor,
                     bool with_messages,
                     usec_t deadline_mono,
                     broker_dead_fn *cb,
                     void *data) MUST_CHECK;
enum { BROKER_ENDED_MAX = 128 };
/* Sends entries, those still there, once more: behind all that waits in the list that they came from,
 * in this order; or drops them. At most BROKER_ENDED_MAX. `*ret_count` (how many) is written before cb. */
int broker_end_dead(struct broker *broker,
                    struct str queue,
                    const struct broker_dead_choice *choices,
                    size_t count,
                    bool are_dropped,
                    usec_t deadline_mono,
                    uint64_t *ret_count,
                    broker_done_fn *cb,
                    void *data) MUST_CHECK;

/* --- the delayed set -------------------------------------------------------------------------- */

struct broker_delayed {
    struct str member;  /* as the set has it */
    struct str message; /* a part of that */
    usec_t due_wall;
};
typedef void broker_delayed_fn(void *data,
                               int status,
                               const struct broker_delayed *delayed,
                               size_t count,
                               struct str cursor, /* as broker_dead_fn's */
                               const struct cel_error *err);
/* What is due first comes first; a part may be empty and yet not the last. Nothing that was there
 * and stays is left out. What is due later than the latest one at the beginning is not shown. */
int broker_list_delayed(struct broker *broker,
                        struct str queue,
                        struct str cursor,
                        const struct broker_delayed_range *range,
                        usec_t deadline_mono,
                        broker_delayed_fn *cb,
                        void *data) MUST_CHECK;
/* Moves members, those still there, to the serving end of their lists, the first one served first; or
 * cancels them and stores their results: in the same step, or behind it when results live on another
 * server; none in a result store. `*ret_count` (how many) is written before cb. */
int broker_end_delayed(struct broker *broker,
                       struct str queue,
                       const struct broker_delayed_end *end,
                       usec_t deadline_mono,
                       uint64_t *ret_count,
                       broker_done_fn *cb,
                       void *data) MUST_CHECK;

/* --- revocations ------------------------------------------------------------------------------ */

static inline bool broker_revocation_id_equal(struct broker_revocation_id a,
                                              struct broker_revocation_id b)
{
    return a.number == b.number && a.made_usec == b.made_usec;
}

/* Adds them, 256 at most; each is remembered for `kept`. What is revoked twice is revoked. */
int broker_revoke(struct broker *broker,
                  const struct broker_revocation *revocations,
                  size_t count,
                  usec_t kept,
                  usec_t deadline_mono,
                  broker_done_fn *cb,
                  void *data) MUST_CHECK;
/* The newest one when the last claim was made: who has read up to it knows all that came before what
 * was claimed. */
struct broker_revocation_id broker_newest_revocation(const struct broker *broker);

/* What broker_revocations finds; the oldest first. */
struct broker_revocations {
    const struct broker_revocation *items;
    size_t count;
    bool has_more;                      /* ask again, after `last` */
    struct broker_revocation_id last;   /* of these, or what they come after */
    struct broker_revocation_id newest; /* of all */
    usec_t now_wall;                    /* by the server's clock, as until_wall */
};
typedef void broker_revocations_fn(void *data,
                                   int status,
                                   const struct broker_revocations *found, /* NULL: failed */
                                   const struct cel_error *err);
/* Those after `after`; all of them when the server does not have that one (any more). On the
 * connection of the claims: what is found includes what claims answered earlier knew of. */
int broker_revocations(struct broker *broker,
                       struct broker_revocation_id after,
                       usec_t deadline_mono,
                       broker_revocations_fn *cb,
                       void *data) MUST_CHECK;
/* Some seconds later, or as soon as there is one after `after`: time to look. */
int broker_await_revocations(struct broker *broker,
                             struct broker_revocation_id after,
                             broker_done_fn *cb,
                             void *data) MUST_CHECK;

/* --- results ---------------------------------------------------------------------------------- */

/* Stores and publishes a document, unless a SUCCESS is there. */
int broker_store_result(struct broker *broker,
                        struct str id,
                        struct str document,
                        usec_t deadline_mono,
                        broker_done_fn *cb,
                        void *data) MUST_CHECK;
/* Stores and publishes the document of a saved group. */
int broker_store_group(struct broker *broker,
                       struct str group,
                       struct str document,
                       usec_t deadline_mono,
                       broker_done_fn *cb,
                       void *data) MUST_CHECK;
/*
 * The same of a call on its way (STARTED, PROGRESS), only while `claim` is ours: others may have
 * ended it meanwhile. Where results live on another server that cannot be seen in the same step, so
 * there it is not stored over any final state, be it one of an earlier run. A claim with tag 0
 * nobody else can have. It is not told whether it was stored.
 */
int broker_store_state(struct broker *broker,
                       const struct broker_claim *claim,
                       struct str id,
                       struct str document,
                       usec_t deadline_mono,
                       broker_done_fn *cb,
                       void *data) MUST_CHECK;
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

/*
 * What has happened on a queue, counted in the scripts that do it. At any moment
 *     claimed - returned = in flight + delayed + dead + done + expired + revoked + dropped + cancelled
 *     published + (what others pushed, less what they took) + returned - claimed - purged = waiting + staged
 */
struct broker_counts {
    uint64_t published; /* by clients, beats and tasks of Celeriac */
    uint64_t claimed, returned;
    uint64_t done, expired, revoked;
    uint64_t dropped;   /* out of quarantine: too many, too old, by hand */
    uint64_t cancelled; /* while delayed */
    uint64_t purged;    /* while waiting */
};

struct broker_queue_stats {
    struct str queue;
    uint64_t waiting;   /* over all priority lists */
    uint64_t staged;    /* for a node that waits, about to be claimed */
    uint64_t in_flight; /* of every node of ours */
    uint64_t delayed;
    uint64_t dead;
    struct broker_counts counts;
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
/*
 * Shows every message of a queue, and the ids in its ledger, a page after the other; ids first. What
 * moves meanwhile may be shown twice or not at all. Each page is answered `within` that time, however
 * many there are. `cb` comes at the end.
 */
typedef void broker_page_fn(void *data, bool are_ids, const struct str *texts, size_t count);
int broker_walk(struct broker *broker,
                struct str queue,
                usec_t within,
                broker_page_fn *on_page,
                broker_done_fn *cb,
                void *data) MUST_CHECK;
/* Deletes the ledger. */
int broker_forget_ledger(struct broker *broker,
                         struct str queue,
                         usec_t deadline_mono,
                         broker_done_fn *cb,
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
/* A queue that is bound to an exchange, as kombu writes it down. */
struct broker_binding {
    struct str routing_key, pattern, queue; /* pattern: of a topic exchange, else empty */
};
typedef void broker_bindings_fn(void *data,
                                int status,
                                const struct broker_binding *bindings,
                                size_t count,
                                const struct cel_error *err);
int broker_bindings(struct broker *broker,
                    struct str exchange,
                    usec_t deadline_mono,
                    broker_bindings_fn *cb,
                    void *data) MUST_CHECK;
/* Announces that a queue exists: SADD of kombu's binding, as a Celery worker does. */
int broker_declare(struct broker *broker,
                   struct str queue,
                   usec_t deadline_mono,
                   broker_done_fn *cb,
                   void *data) MUST_CHECK;
