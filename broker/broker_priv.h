/*
 * The inside of a broker, for the files that keep the port's promises. Everything here belongs to
 * the thread of the broker's loop.
 *
 *   main         all commands that do not block
 *   results      results, when they live elsewhere; else the same as main
 *   subscriber   who waits for a result listens here; made when first needed
 *   revocations  who waits for the next one; made when first needed
 *   waits        one connection for each list that is waited on, in their queue's wait
 */
#pragma once

#include "broker/broker.h"
#include "commands/redis_command.h"

struct broker_queue;
struct wait;
struct ack_batch;

/* Claims whose answer never came: the next ones ask for what they may have taken. */
struct unanswered {
    struct redis_tags tags[8];
    usec_t until_mono[8];
    size_t count;
};

struct broker_queue {
    struct list_link link;
    struct queue_keys keys;
    struct unanswered unanswered;
    struct ack_batch *acks; /* gathered in this turn, or NULL */
    struct wait *wait;      /* NULL until the first one */
    bool maybe_staged;      /* something may be staged that no claim has looked for */
    usec_t looked_mono;     /* when a claim looked last */
};

struct broker {
    uv_loop_t *loop;
    struct turn turn;
    struct url url, result_url;
    struct redis_sentinels sentinels, result_sentinels;
    struct key_space space;                  /* owned */
    bool has_results;                        /* false: Redis has none */
    struct broker_result_store result_store; /* all NULL: there is none */
    usec_t silence, result_ttl;
    struct dead_limits dead_limits;
    usec_t disk_known_mono; /* `ready_mono` of the connection whose server has WAITAOF */
    char *read_buffer;      /* of all connections: what is read is taken in at once */
    struct redis_connection *main, *results, *subscriber, *revocations;
    struct list queues;
    uint64_t next_tag;
    struct broker_revocation_id newest_revocation; /* as the last claim saw it */
    struct list awaits;
    bool is_pinging;      /* the subscriber, on behalf of all awaits */
    struct list answered; /* requests that are told without the server */
    struct turn_alarm answer_alarm;
    bool is_closing;
    unsigned open; /* connections not closed */
    broker_closed_fn *closed;
    void *closed_data;
};

/* A connection of this broker to `url`; `options` names its callbacks. */
int broker_connect(struct broker *broker,
                   const struct url *url,
                   struct redis_connection_options options,
                   struct redis_connection **ret_connection) MUST_CHECK;
/* Whether results live on another server or in another database, so that no script of main stores them. */
static inline bool broker_results_are_elsewhere(const struct broker *broker)
{
    return broker->has_results && broker->results != broker->main;
}
/* The queue `name`, made when it is new. -EINVAL, -ENOMEM. */
int broker_queue(struct broker *broker,
                 struct str name,
                 struct broker_queue **ret_queue) MUST_CHECK;
/* The same for what only a node may do: -EINVAL without one, or for a claim that cannot be. */
int broker_claim_queue(struct broker *broker,
                       const struct broker_claim *claim,
                       struct broker_queue **ret_queue) MUST_CHECK;
/* Tells `request` its `status` from the loop, without a server. */
void broker_answer(struct broker *broker, struct redis_request *request, int status);

/* An operation that is one command and one broker_done_fn. */
struct done_op {
    struct redis_request request;
    int zero_means;      /* condition that a reply of 0 stands for */
    uint64_t *ret_count; /* where a reply that counts something goes, or NULL */
    broker_done_fn *cb;
    void *data;
};
/* -ECANCELED when the broker is closing. */
int done_op_new(struct broker *broker, broker_done_fn *cb, void *data, struct done_op **ret_op)
    MUST_CHECK;
/* The same for a script on one claim, which answers 0 when the claim is lost. */
int done_op_new_for_claim(struct broker *broker,
                          const struct broker_claim *claim,
                          broker_done_fn *cb,
                          void *data,
                          struct broker_queue **ret_queue,
                          struct done_op **ret_op) MUST_CHECK;
/* Sends it, or frees it and hands up `status`, that of formatting, when it is not 0. */
int done_op_send(struct done_op *op,
                 struct redis_connection *connection,
                 usec_t deadline_mono,
                 int status) MUST_CHECK;
/* A script that ends several things, with a result document for each (end.c). */
struct end_op {
    struct redis_request request;
    struct broker *broker;
    uint64_t *ret_count; /* how many it has ended, or NULL */
    bool *ret_ended;     /* which of the `asked` ones, or NULL */
    size_t asked;
    broker_done_fn *cb;
    void *data;
    size_t pending; /* stores under way */
    int status;     /* of the first that failed */
    struct cel_error err;
    size_t count; /* of stores: one for each choice, or none */
    struct end_store {
        struct redis_request request; /* no bytes: nothing to store */
        struct end_op *op;
    } stores[];
};
int end_op_new(struct broker *broker,
               size_t stores,
               broker_done_fn *cb,
               void *data,
               struct end_op **ret_op) MUST_CHECK;
/* Of the results that the script itself stores; NULL: it stores none. */
const struct key_space *end_op_space(const struct end_op *op);
/* Has a document follow for choice `index` of `count`; nothing without an id. */
int end_op_store(struct end_op *op, size_t index, struct str id, struct str document, usec_t ttl)
    MUST_CHECK;
/* Sends it, or frees it and hands up `status`. */
int end_op_send(struct end_op *op, usec_t deadline_mono, int status) MUST_CHECK;
/* A request that nobody waits for; what becomes of it is not told. */
void on_ignored_reply(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err);

/* The claims that stand as tag, message, tag, message ... in `reply` from item `first` on; at most
 * `max`. Returns how many. */
size_t claimed_read(const struct redis_reply *reply,
                    size_t first,
                    struct str queue,
                    struct broker_claimed *ret,
                    size_t max);
/* 0, 0 for what is none. */
struct broker_revocation_id revocation_id_read(const struct redis_reply *reply);
/* Whether a claim without an answer may have made this one. */
bool claim_is_unanswered(const struct broker_queue *queue, uint64_t tag);

/* broker_close: what still waits is told -ECANCELED and freed. */
void acks_flush(void *broker); /* in each turn, before main writes */
void acks_cancel(struct broker_queue *queue);
void awaits_cancel(struct broker *broker);
unsigned wait_close(struct wait *wait, void (*closed)(void *data), void *data); /* connections */
void wait_free(struct wait *wait);           /* tells its waiter; takes NULL */
bool wait_is_armed(const struct wait *wait); /* takes NULL */
void wait_distrust(struct wait *wait);       /* its connections; takes NULL */
