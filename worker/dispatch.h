/*
 * The way of a claimed call through the supervisor: headers read, fate decided, its turn awaited,
 * handed to a child, its outcome settled and told. Here the policy (request.h, settle.h) meets the
 * mechanism (pool.h, turns.h, completions.h); nothing here asks for more work, see credit.h.
 */
#pragma once

#include "control/events.h"
#include "control/totals.h"
#include "keeper/revocations.h"
#include "ledger/recorder.h"
#include "pool/pool.h"
#include "worker/completions.h"
#include "worker/early_ack.h"
#include "worker/follow.h"
#include "worker/turns.h"

/* What the dispatch tells its owner. */
struct dispatch_events {
    void (*on_parked)(void *data, struct str queue, usec_t due_wall);
    void (*on_told)(void *data);    /* one request less */
    void (*on_stopped)(void *data); /* after dispatch_stop */
};

struct dispatch_options {
    struct str node;               /* name@host */
    struct result_rows *rows;      /* of results, in PostgreSQL */
    usec_t soft_limit, hard_limit; /* of tasks that have none */
    usec_t lease;
    bool track_ids;            /* note ids in Redis */
    bool track_started;        /* STARTED is stored, whatever the task says */
    bool result_extended;      /* documents have name, arguments, worker, retries, queue */
    struct recorder *recorder; /* of the ledger; NULL: there is none */
    const struct pool_options *children; /* how they are started */
    struct events *monitors;             /* that are told of tasks; NULL: none */
};

struct dispatch {
    struct broker *broker;
    struct pool *pool;
    struct dispatch_options options;
    const struct dispatch_events *events;
    void *data;
    struct requests requests;
    struct completions completions;
    struct early_acks early_acks;
    struct follow follow;
    struct turns turns;
    struct revocations *revocations;
    bool paused;   /* nothing is given to children any more */
    bool draining; /* what is ready is given back */
    bool abandoned;
    uint64_t received, lost;
    uint64_t ends[REQUEST_ENDS];
    struct totals totals; /* of those given to children */
};

void dispatch_init(struct dispatch *dispatch,
                   uv_loop_t *loop,
                   struct broker *broker,
                   struct pool *pool,
                   struct revocations *revocations,
                   const struct dispatch_options *options,
                   const struct dispatch_events *events,
                   void *data);
void dispatch_deinit(struct dispatch *dispatch);

/* Calls claimed and not given to a child, and since when the oldest is ready (0: none). */
size_t dispatch_held(const struct dispatch *dispatch);
usec_t dispatch_ready_since(const struct dispatch *dispatch);
/* Takes one claimed message over. While there are revocations that are not known yet it is held, and
 * looked at by dispatch_resume. */
void dispatch_admit(struct dispatch *dispatch, const struct broker_claimed *claimed);
void dispatch_resume(struct dispatch *dispatch);
/* Ends the running calls that `revocation` names, with its signal. */
void dispatch_terminate(struct dispatch *dispatch, const struct revocation *revocation);
/* The rate limit of a registered task from now on. -ENOENT: there is no such task; others: turns_tell.
 */
int dispatch_set_rate_limit(struct dispatch *dispatch,
                            struct str task,
                            struct str rate,
                            struct cel_error *err) MUST_CHECK;
/* Gives ready calls to idle children, as often as their tasks may begin. */
void dispatch_pump(struct dispatch *dispatch);
/* Gives ready calls back, in their order. */
void dispatch_give_back(struct dispatch *dispatch);
/* From now on nothing is given to a child: what comes is held. */
void dispatch_pause(struct dispatch *dispatch);
/* When no claim is under way any more, so that the order is kept: gives back all that is held. */
void dispatch_drain(struct dispatch *dispatch);

/* When nothing is here any more: ends what was started for it. */
void dispatch_stop(struct dispatch *dispatch);

/* The lease was lost: what is here belongs to others, and nothing is told or given out any more. */
void dispatch_abandon(struct dispatch *dispatch);
/* Whether a request is here for that claim. */
bool dispatch_knows(const struct dispatch *dispatch, const struct broker_claim *claim);

/* What the pool tells. dispatch_outcome returns how long the child had it. */
void dispatch_written(struct dispatch *dispatch, struct job *job);
void dispatch_progress(struct dispatch *dispatch,
                       struct job *job,
                       const struct frame_progress *progress);
usec_t
dispatch_outcome(struct dispatch *dispatch, struct job *job, const struct frame_outcome *outcome);
void dispatch_recall(struct dispatch *dispatch, struct job *job);
void dispatch_death(struct dispatch *dispatch, struct job *job, const struct death *death);
