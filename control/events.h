/*
 * What this node tells monitors: that it is there, every two seconds, and while somebody wants to know
 * what becomes of each task. Events of tasks are gathered and sent once a turn of the loop. Nothing
 * waits for them: what Redis does not take is dropped and counted (bus/bus.h).
 */
#pragma once

#include <uv.h>

#include "bus/bus.h"
#include "control/lamport.h"
#include "message/event.h"

#define EVENTS_FREQ_USEC (2 * USEC_PER_SEC)

/* What a heartbeat says of the node. */
struct events_vitals {
    uint64_t active, processed; /* tasks that run, tasks begun since the start */
};

struct events_options {
    struct str node;  /* name@host */
    bool is_silent;   /* no events of the worker: --without-heartbeat */
    bool wants_tasks; /* events of tasks from the beginning: -E */
    void (*look)(void *data, struct events_vitals *vitals);
    void *data;
};

struct events {
    struct bus *bus;
    struct lamport *clock;
    struct events_options options;
    bool are_wanted; /* those of tasks */
    bool is_online;
    int64_t pid;
    struct buf batch; /* "[{...}, {...}" */
    size_t batched;
    struct buf message;
    uint64_t sent, lost; /* lost: for want of memory */
    uv_timer_t beat;
};

void events_init(struct events *events,
                 uv_loop_t *loop,
                 struct bus *bus,
                 struct lamport *clock,
                 const struct events_options *options);
void events_deinit(struct events *events);

/* worker-online, and heartbeats from then on. */
void events_start(struct events *events);
/* worker-offline; nothing more is sent. */
void events_stop(struct events *events);
void events_beat(struct events *events); /* a heartbeat now */
void events_ack_election(struct events *events, struct str election);

/* The one question on the way of each task; `events` may be NULL. */
static inline bool events_are_wanted(const struct events *events)
{
    return events && events->are_wanted;
}
/* Tells `event`, of a task; hostname, pid, clock and timestamp are filled in here. */
void events_tell(struct events *events, struct event *event);
/* Sends what was gathered: a bus's on_flush. */
void events_flush(struct events *events);
