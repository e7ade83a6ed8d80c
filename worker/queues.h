/*
 * The queues that this worker serves. They may be added and cancelled while it runs.
 *
 *   (none) --added--> JOINING --lease held--> SERVED --cancelled--> CLOSING
 *                                               ^                      | nothing under way or staged
 *                                               +---added-- RESTING <--+
 *
 * Whoever changes his mind meanwhile has it done behind that. The lease on a queue is kept until the
 * worker stops: tasks of it may still run, and a lease that was ended is not had again by this node.
 * Delayed calls of a queue that was served are looked after for good, as every worker may.
 */
#pragma once

#include "keeper/promoter.h"
#include "keeper/releaser.h"
#include "worker/credit.h"
#include "worker/presence.h"

enum queue_state { QUEUE_JOINING, QUEUE_SERVED, QUEUE_CLOSING, QUEUE_RESTING };

struct queue_plan { /* a queue that is to be served */
    char *name;
    unsigned weight; /* at least 1; for credit.h */
};

struct queue {
    struct list_link link;
    struct queue_plan plan; /* its name is lent to all parts */
    enum queue_state state;
    bool wanted;
};

/* Who has to do with queues. */
struct queues_parts {
    struct broker *broker;
    struct credit *credit;
    struct presence *presence;
    struct promoter *promoter;
    struct releaser *releaser;
    struct rescuer *rescuer;
};

struct queues {
    struct queues_parts parts;
    struct list list; /* in the order in which they came; none goes */
    bool started;
};

void queues_init(struct queues *queues, const struct queues_parts *parts);
void queues_deinit(struct queues *queues);

/*
 * Serves `queue` from now on: declared, leased, claimed from. Before queues_start it belongs to those
 * that the worker begins with. 0; 1: that it does already; -EINVAL: no name for a queue.
 */
int queues_add(struct queues *queues, struct str queue, unsigned weight, struct cel_error *err)
    MUST_CHECK;
/* Claims nothing from `queue` any more; what runs ends here. 0; 1: it was not served. */
int queues_cancel(struct queues *queues, struct str queue);
/* Announces those that the worker begins with; their leases are the owner's affair. */
void queues_start(struct queues *queues);
/* The queues that are to be served, copied, for another incarnation; the caller frees with
 * queue_plans_free. */
size_t queues_plans_dup(const struct queues *queues, struct queue_plan **ret_plans);
struct queue_plan *queue_plans_free(struct queue_plan *plans, size_t count);

/* What the parts tell: presence.h, credit.h. */
void queues_joined(struct queues *queues, struct str queue);
void queues_removed(struct queues *queues, struct str queue);
