/*
 * The revocations this worker knows: a copy of what Redis keeps, read at the start and kept up to date.
 * A claim tells the id of the newest one that was there when it was made; until the copy is as new as
 * that, what was claimed is not looked at (dispatch.c). So nothing runs that was revoked before it was
 * claimed, whatever was down meanwhile. What a failover has lost stays known here until it is over.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/heap.h"
#include "core/list.h"
#include "keeper/refusal.h"
#include "message/envelope.h"

/* One revocation; its texts end with a zero. */
struct revocation {
    struct heap_node by_end;
    struct list_link link;       /* of those without an id */
    struct str id, stamp, value; /* the two last: of stamped headers, when there is no id */
    int signal;                  /* 0: running ones may go on */
    usec_t until_wall;           /* by the server's clock */
    char texts[];
};

struct revocations_events {
    void (*on_current)(void *data); /* after revocations_refresh */
    /* A new one that ends running tasks. */
    void (*on_terminate)(void *data, const struct revocation *revocation);
};

struct revocations {
    struct broker *broker;
    const struct revocations_events *events;
    void *data;
    struct broker_revocation_id last; /* where reading goes on */
    struct broker_revocation_id
        newest;         /* all up to this one are known: a reading came to its end */
    void *tree;         /* all of them */
    struct heap by_end; /* the same, that which is over first in front */
    struct list stamps; /* those without an id */
    bool is_refreshing, is_waiting, stopped;
    struct refusal refusal;
    uv_timer_t pause; /* after a failure */
};

void revocations_init(struct revocations *revocations,
                      uv_loop_t *loop,
                      struct broker *broker,
                      const struct revocations_events *events,
                      void *data);
void revocations_start(struct revocations *revocations);
void revocations_stop(struct revocations *revocations);
/* After the broker was closed. */
void revocations_deinit(struct revocations *revocations);

/* Whether all are known that the last claim knew of. */
bool revocations_are_current(const struct revocations *revocations);
/* Reads the rest; on_current follows, sooner or later. */
void revocations_refresh(struct revocations *revocations);
/* What revokes a call, or NULL. */
const struct revocation *revocations_find(const struct revocations *revocations,
                                          const struct envelope *envelope);
/* Calls `visit` for each id that is revoked. */
void revocations_each(const struct revocations *revocations,
                      void (*visit)(void *data, struct str id),
                      void *data);
/* Whether this one revokes that call. */
bool revocation_matches(const struct revocation *revocation, const struct envelope *envelope);
