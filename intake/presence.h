/*
 * This node's lease on its queues: made at the start, renewed three times in its life, ended at the
 * stop. Each renewal also shows what Redis holds in flight for us; a claim there that nobody here
 * knows (its acknowledgement was lost in a failover, say) goes back to its queue. What Redis refuses
 * is told once, and tried again with each renewal.
 */
#pragma once

#include <uv.h>

#include "keeper/rescuer.h"

struct presence_events {
    void (*on_held)(void *data); /* every queue has its lease, for the first time */
    void (*on_lost)(void *data); /* somebody gave this node up; comes once */
    /* There is no first lease on `queue`, and there will be none until somebody acts. */
    void (*on_refused)(void *data, struct str queue, const struct cel_error *err);
    /* Whether somebody here works on that claim. */
    bool (*is_known)(void *data, const struct broker_claim *claim);
    void (*on_left)(void *data); /* after presence_leave */
    /* A queue that was added later has its lease. */
    void (*on_joined)(void *data, struct str queue);
};

struct presence;
struct presence_queue {
    struct list_link link;
    struct presence *presence;
    struct str name;
    struct refusal refusal;
    bool is_held, under_way;
    bool is_late; /* added when the others had their lease */
};

struct presence {
    struct broker *broker;
    struct rescuer *rescuer; /* puts back what nobody knows */
    struct str node;
    usec_t lease;
    const struct presence_events *events;
    void *data;
    struct list queues;
    size_t under_way;
    uv_timer_t timer;
    enum { PRESENCE_OFF, PRESENCE_ON, PRESENCE_LOST, PRESENCE_LEAVING, PRESENCE_GONE } state;
    bool is_complete;
};

void presence_init(struct presence *presence,
                   uv_loop_t *loop,
                   struct broker *broker,
                   struct rescuer *rescuer,
                   struct str node,
                   usec_t lease,
                   const struct presence_events *events,
                   void *data);
/* A lease on `queue` too, at once if the others have theirs; the name is borrowed. */
void presence_add(struct presence *presence, struct str queue);
void presence_start(struct presence *presence);
/* This node was given up on one of the queues: nothing is renewed or told any more. */
void presence_lose(struct presence *presence);
/* Ends the leases, what is left of them; on_left when Redis knows, or after a moment without it. */
void presence_leave(struct presence *presence);
/* After the broker was closed. */
void presence_deinit(struct presence *presence);
