/*
 * One claimed call on its way through the supervisor: the message with its decoded headers, the
 * rules of its task, its state, and at the end what the broker shall be told about it. Owned by the
 * supervisor's table of requests; never seen by a child.
 *
 *             LIMITED   ACKING (early_ack.h) --gone--> SETTLING
 *   (turns.h)    ^  |    ^   |
 *                |  v    |   v
 *   CLAIMED --run now--> READY --frame begun--> PIPED --frame written--> RUNNING
 *      |                 |   ^                      |                        |
 *      |                 |   +------recalled--------+                        | outcome, or
 *      |                 |                                                   | process gone
 *      |                 +--expired, given back--------+                     |
 *      +--parked, expired, buried, given back----------+--> SETTLING <-------+
 *                                                           |  ^  |
 *          others wait for its end, or it completes a chord |  |  +--the broker knows--> DONE
 *                                                           v  |
 *                                                      FOLLOWING
 *
 *   any --lease lost--> ABANDONED: others have it, nothing is told; it goes with the table
 *
 * The policy before a run is request_decide(), a pure function; the one after it is settle.h.
 */
#pragma once

#include "broker/broker.h"
#include "child/frame.h"
#include "core/list.h"
#include "message/envelope.h"
#include "pool/job.h"
#include "worker/follow_ups.h"

enum request_state {
    REQUEST_CLAIMED,   /* in the supervisor, headers being looked at */
    REQUEST_READY,     /* waits for a free child */
    REQUEST_LIMITED,   /* waits for its turn: its task may not begin so often */
    REQUEST_ACKING,    /* a child waits for its acknowledgement */
    REQUEST_PIPED,     /* given to a child, its frame not yet wholly written */
    REQUEST_RUNNING,   /* a child has it */
    REQUEST_FOLLOWING, /* a child looks for what follows from its end (follow.h) */
    REQUEST_SETTLING,  /* the broker is being told */
    REQUEST_ABANDONED, /* the lease was lost */
    REQUEST_DONE,      /* free */
};
enum { REQUEST_STATES = REQUEST_DONE + 1 };

/* What a request came to; for the log and the counters. */
enum request_end {
    END_SUCCEEDED,
    END_FAILED,
    END_RETRIED,
    END_IGNORED,
    END_SKIPPED, /* `once`, and its result is there already */
    END_EXPIRED,
    END_REVOKED,
    END_BURIED,
    END_PARKED,
    END_GIVEN_BACK,
    END_REDELIVERED, /* its process died: once more */
    END_REJECTED,    /* by its task, which does not want it */
    END_REQUEUED,    /* by its task, which wants it later or elsewhere */
};
enum { REQUEST_ENDS = END_REQUEUED + 1 };

enum settle_verb { SETTLE_COMPLETE, SETTLE_ACK, SETTLE_GIVE_BACK, SETTLE_PARK };

/* What the broker shall be told; filled by settle.c, kept until the broker has taken it. */
struct settlement {
    enum settle_verb verb;
    enum request_end end;
    struct broker_completion completion; /* points into what follows and into the request */
    struct broker_dead dead;
    usec_t due_wall; /* PARK */
    struct follow_ups follow_ups;
    struct buf document, retry;
    struct buf evidence; /* of `dead` */
    char detail[256];    /* text of `dead` */
    bool is_awaited; /* its end has consequences, perhaps, which `follow_ups` does not have yet */
    bool under_way;
    bool uncertain;    /* an earlier attempt may have been carried out */
    unsigned refusals; /* of Redis, so far */
    bool is_refused;   /* it is counted as such (completions.h) */
};

struct requests;
struct completions;
struct early_acks;

/* The acknowledgement before the run. */
struct request_ack {
    struct early_acks *acks; /* who makes it */
    bool under_way, uncertain;
    bool is_done; /* the broker has the call no more */
};

/* When it may begin, if its task has a rate limit (turns.h). */
struct rate_bucket;
struct request_turn {
    struct rate_bucket *bucket; /* of its task */
    usec_t mono, wall;          /* 0: it has none */
    usec_t back_wall;           /* when it is parked: until then */
    bool is_taken;              /* it may begin */
};

struct request {
    struct requests *table;
    struct completions *completions; /* who tells the broker */
    struct list_link link;           /* in the list of its state */
    enum request_state state;
    struct broker_claim claim;  /* its queue's name belongs to the consumer */
    struct buf bytes;           /* the message; protocol 1 already translated; empty: too long */
    size_t claimed_len;         /* of the message as it was claimed */
    struct envelope envelope;   /* borrows from `bytes`; all absent when they could not be read */
    struct frame_task task;     /* rules of the registered task; its texts are absent */
    struct job job;             /* as the pool knows it */
    struct frame_follow follow; /* FOLLOWING: what is asked */
    usec_t ready_mono;
    usec_t received_mono, ended_mono; /* for the ledger */
    int64_t pid;                      /* of its process; 0: it was given to none */
    struct death death;               /* of that process; pid 0: it lives */
    uint64_t peak_rss;                /* of that process; 0: not known */
    struct request_ack ack;
    struct request_turn turn;
    bool is_looked_at;    /* CLAIMED: its result is being looked at */
    struct buf progress;  /* what the task told last of itself, JSON */
    struct buf arguments; /* "args": [], "kwargs": {}, where documents have them; else empty */
    struct settlement settlement;
};

/* All requests of a worker, by state. Finished ones are kept for re-use, with their memory. */
struct requests {
    struct list lists[REQUEST_STATES];
    uint64_t last_seq;
    struct str extended_by; /* the worker's name: documents say more (result_extended); or absent */
};

const char *request_end_name(enum request_end end);

void requests_deinit(struct requests *requests);
/* How many are not done. */
size_t requests_live(const struct requests *requests);

/* A new request in CLAIMED with a copy of `bytes`; of a message that is too long, without them: it
 * can be buried or given back only. NULL when memory is short. */
struct request *request_new(struct requests *requests,
                            const struct broker_claim *claim,
                            struct str bytes) MUST_CHECK;
/* The only writer of the state: follows one arrow of the drawing (any other is our mistake) and
 * moves the request to the list of its new state. DONE forgets what it held. */
void request_set_state(struct request *request, enum request_state state);

/*
 * Decodes the headers; a protocol 1 message is translated and gets a delivery tag if it has none.
 * 0, or what envelope_decode says: such a message is to be buried as undecodable.
 */
int request_read(struct request *request, struct cel_error *err) MUST_CHECK;

enum request_fate {
    FATE_RUN,
    FATE_LOOK_FIRST, /* run unless its result is SUCCESS already */
    FATE_PARK,       /* until its eta */
    FATE_EXPIRED,
    FATE_REVOKED,
    FATE_UNREGISTERED,
    FATE_REFUSED, /* content type */
};
/* What shall become of a call with these headers. `task` NULL: no child registered that name. */
enum request_fate
request_decide(const struct envelope *envelope, const struct frame_task *task, usec_t now_wall);
/* Asked again just before the dispatch. */
bool request_is_expired(const struct envelope *envelope, usec_t now_wall);
/* Takes over the task's rules and the limits in force: header over task over worker. */
void request_set_rules(struct request *request,
                       const struct frame_task *task,
                       usec_t worker_soft,
                       usec_t worker_hard);
/* Its next dispatch, for the pool. */
struct job *request_begin_job(struct request *request);
/* Neither the call nor its task wants a result. */
bool request_ignores_result(const struct request *request);
