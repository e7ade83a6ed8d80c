/*
 * How many calls to claim, and from which queue: free children to claims. Waits when nothing is
 * there, gives back what it holds and cannot run. See credit.c for the mechanism.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/list.h"

/* --- the arithmetic, without a loop ----------------------------------------------------------- */

#define CREDIT_QUICK_USEC   (2 * USEC_PER_MSEC)  /* tasks below this are claimed ahead of need */
#define CREDIT_BACKLOG_USEC (5 * USEC_PER_MSEC)  /* worth of work that may be held ready */
#define CREDIT_HOLD_USEC    (10 * USEC_PER_MSEC) /* the longest that anything is held unused */
enum { CREDIT_LOOKAHEAD_MAX = 256, CREDIT_CLAIM_MAX = 64 };

/* Recent run times: an average in which the last eight runs or so count. */
struct credit_meter {
    usec_t average; /* 0: nothing is known */
};
void credit_meter_add(struct credit_meter *meter, usec_t run_time);
/* Something had to be given back: the next ones are taken for slow until shown otherwise. */
void credit_meter_doubt(struct credit_meter *meter);
/* How many calls may wait for `children` that are all at work. */
size_t credit_lookahead(const struct credit_meter *meter, size_t children);
/* How many to claim now, with `idle` children and `held` calls claimed and not given to a child. */
size_t credit_want(size_t idle, size_t lookahead, size_t held);

/* --- the claims ------------------------------------------------------------------------------- */

struct credit_view {
    size_t idle;       /* children */
    size_t children;   /* that take work, idle and busy */
    size_t held;       /* calls claimed and not given to a child */
    usec_t since_mono; /* when the oldest of them became ready; 0: none is */
};

/* What the credit asks of its owner. */
struct credit_events {
    void (*look)(void *data, struct credit_view *view);
    void (*on_claimed)(void *data, const struct broker_claimed *claimed, size_t count);
    /* Give back all that is held. */
    void (*give_back)(void *data);
    void (*on_first_claim)(void *data); /* the first claim was answered */
    void (*on_stopped)(void *data);     /* after credit_stop: nothing is under way or staged */
    void (*on_removed)(void *data,
                       struct str queue); /* after credit_remove: the same for a queue */
    void (*on_lost)(void *data);          /* this node has no lease any more */
};

/* Whose turn it is, among the queues that may have messages; Celery's queue_order_strategy. */
enum credit_order {
    CREDIT_ROUND_ROBIN, /* in turn, each as often as its weight says */
    CREDIT_SORTED,      /* the first by its name */
    CREDIT_PRIORITY,    /* the first that was added */
};

struct credit;
struct credit_queue {
    struct list_link link;
    struct credit *credit;
    struct str name;
    unsigned weight;
    int64_t turn; /* it has waited for so much; negative: it was served ahead */
    bool removed; /* it goes when nothing is under way any more */
    enum { CREDIT_ASK, CREDIT_WAITING, CREDIT_UNSTAGING } state;
    bool cancelled; /* the wait */
    bool full;      /* the last claim brought all that it asked for */
    bool staged;    /* perhaps */
};

struct credit {
    struct broker *broker;
    const struct credit_events *events;
    void *data;
    struct list queues;
    enum credit_order order;
    struct credit_queue *probed; /* the last one; or NULL */
    struct credit_meter meter;
    struct credit_queue *claiming; /* NULL: no claim is under way */
    size_t claiming_max;
    bool started, stopping, stopped, answered, abandoned;
    unsigned failures;    /* of claims, in a row */
    usec_t attempt_mono;  /* of the last claim */
    usec_t progress_mono; /* when a child was last free */
    uv_timer_t pause;     /* after a failure */
    uv_timer_t hold;      /* runs while something is held and every child is at work */
};

void credit_init(struct credit *credit,
                 uv_loop_t *loop,
                 struct broker *broker,
                 enum credit_order order,
                 const struct credit_events *events,
                 void *data);
/* Claims from `queue` too, with a weight of at least 1; the name is borrowed until it is removed. */
void credit_add(struct credit *credit, struct str queue, unsigned weight);
/* Claims from it no more; on_removed when nothing of it is under way or staged. */
void credit_remove(struct credit *credit, struct str queue);
void credit_deinit(struct credit *credit);
void credit_start(struct credit *credit);
/* To be called when a child became free, when calls were dispatched, when anything changed. Cheap.
 */
void credit_turn(struct credit *credit);
/* A task ended after `run_time`. */
void credit_note_run(struct credit *credit, usec_t run_time);
/* Whether a child is idle for which nothing is held, so that work should be asked for. */
bool credit_is_hungry(struct credit *credit);
/* Whether more may wait than there are children for. */
bool credit_is_short(struct credit *credit);
/* Claims once, whatever the wait says, if it is hungry and there was no claim since `since_mono`. */
void credit_probe(struct credit *credit, usec_t since_mono);
/* Ends waits and claims and puts staged messages back. */
void credit_stop(struct credit *credit);
/* Asks for nothing any more and tells nothing; what is under way ends with the broker. */
void credit_abandon(struct credit *credit);
