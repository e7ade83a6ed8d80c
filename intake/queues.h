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

#include "intake/credit.h"
#include "intake/presence.h"
#include "keeper/promoter.h"
#include "keeper/releaser.h"

enum queue_state { QUEUE_JOINING, QUEUE_SERVED, QUEUE_CLOSING, QUEUE_RESTING };

struct queue_plan { /* a queue that is to be served */
    char *name;
    unsigned weight; /* at least 1; for credit.h */
};
struct queue_plans {
    struct queue_plan *items;
    size_t count;
};
void queue_plans_add(struct queue_plans *plans, struct str name, unsigned weight);
bool queue_plans_have(const struct queue_plans *plans, struct str name);
void queue_plans_deinit(struct queue_plans *plans);
/* Their names, with commas between them. */
void queue_plans_list(const struct queue_plans *plans, struct buf *buf);

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

/* With the queues of `plans`, whose names have been looked at. */
void queues_init(struct queues *queues,
                 const struct queues_parts *parts,
                 const struct queue_plans *plans);
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
/* Makes `plans` those that are to be served now, for another incarnation. */
void queues_keep(const struct queues *queues, struct queue_plans *plans);

/* What the parts tell: presence.h, credit.h. */
void queues_joined(struct queues *queues, struct str queue);
void queues_removed(struct queues *queues, struct str queue);
