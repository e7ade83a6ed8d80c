/*
 * Looks for nodes whose lease is over and brings what they held back to the queues: each message
 * marked as redelivered, and counted; one that was lost with its worker too often goes to quarantine.
 * Every worker has one for its queues, and every beat one for all.
 *
 *     looking --a lease is over--> taking over --messages shown--> moving them --more--+
 *        ^                              ^  |                                           |
 *        |                              |  +--nothing left: the next node              |
 *        +--no node left----------------+----------------------------------------------+
 *
 * A server that was away finds all leases over when it comes back. So whoever has just met a failure,
 * a late answer, or slept, waits a while before it believes what it sees: the living renew their
 * leases meanwhile. What an answer refuses concerns the queue that was asked for alone: it is told,
 * doubted in the same way, and asked for again.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/list.h"
#include "keeper/refusal.h"
#include "keeper/result_rows.h"

struct rescuer;
enum { RESCUER_NODES_MAX = 8 };

struct rescuer_queue {
    struct list_link link;
    struct rescuer *rescuer;
    struct str name;
    char *nodes[RESCUER_NODES_MAX]; /* to be taken over; owned */
    size_t count, at;
    size_t moved, buried; /* of the node under way */
    usec_t asked_mono;    /* when the last question was sent */
    usec_t believe_mono;  /* as the rescuer's, for this queue */
    struct refusal refusal;
    bool under_way, is_refused; /* in this round */
};

struct rescuer_options {
    usec_t lease;             /* how long the leases live */
    int64_t max_deliveries;   /* as many may be lost with their worker; 0: any number */
    struct result_rows *rows; /* that results of buried ones go to */
};

struct rescuer {
    struct broker *broker;
    struct rescuer_options options;
    struct list queues;
    uv_timer_t timer;
    usec_t looked_mono;
    usec_t heard_mono;   /* the last answer */
    usec_t believe_mono; /* nothing is taken over before */
    bool stopped;
    uint64_t rescued, buried;
};

void rescuer_init(struct rescuer *rescuer,
                  uv_loop_t *loop,
                  struct broker *broker,
                  const struct rescuer_options *options);
/* Looks after `queue` too, unless it does; the name is borrowed for the life of the rescuer. */
void rescuer_add(struct rescuer *rescuer, struct str queue);
void rescuer_start(struct rescuer *rescuer);
void rescuer_stop(struct rescuer *rescuer);
/* After the broker was closed. */
void rescuer_deinit(struct rescuer *rescuer);

/* Puts claims of `node` that nobody works on any more back, as those of a lost node: for a worker
 * that finds claims under its own name that it does not know. */
void rescuer_put_back(struct rescuer *rescuer,
                      struct str queue,
                      struct str node,
                      const struct broker_claimed *claimed,
                      size_t count);
