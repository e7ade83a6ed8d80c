/*
 * The worker's ear and voice: its bus, its events, its remote control, and what they may see and change of
 * it (control/host.h).
 */
#pragma once

#include "control/control.h"
#include "intake/queues.h"
#include "keeper/refusal.h"
#include "worker/autoscale.h"
#include "worker/dispatch.h"
#include "worker/startup.h"

/* What commands ask of the worker itself. */
struct remote_events {
    bool (*reload)(void *data); /* false: not now */
    void (*shut_down)(void *data);
};

struct remote {
    const struct startup *startup;
    struct dispatch *dispatch;
    struct pool *pool;
    struct revocations *revocations;
    struct autoscale *autoscale;
    struct queues *queues;
    const struct remote_events *owner;
    void *owner_data;
    struct bus *bus;
    struct lamport clock;
    struct events events;
    struct control control;
    usec_t started_mono,
        since_boot;   /* moments are told by one reading of both clocks: they stay the same */
    bool has_control; /* it was initialised */
    struct refusal speaking, listening;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* The bus and the events; -EINVAL and the like with `err`. remote_stop() follows, if only to free. */
int remote_init(struct remote *remote,
                uv_loop_t *loop,
                const struct startup *startup,
                struct cel_error *err) MUST_CHECK;
/* When the parts are there. */
void remote_open(struct remote *remote,
                 struct broker *broker,
                 struct dispatch *dispatch,
                 struct pool *pool,
                 struct revocations *revocations,
                 struct autoscale *autoscale,
                 struct queues *queues,
                 const struct remote_events *owner,
                 void *data);
/* Does again what this node was told in its earlier lives, then calls `recalled`. */
void remote_recall(struct remote *remote, void (*recalled)(void *data), void *data);
/* The worker is ready: it is seen, and answers. */
void remote_start(struct remote *remote);
/* How many events were lost, because Redis did not take them or memory was short. */
uint64_t remote_lost(const struct remote *remote);
/* After the broker was closed: says goodbye, if Redis takes it soon, and frees all; then `stopped`. */
void remote_stop(struct remote *remote, void (*stopped)(void *data), void *data);
