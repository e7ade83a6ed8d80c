/*
 * Brings back what was set aside because no worker knew its name, once this one does: when it starts,
 * when it has new code, and every few seconds what others have set aside since. What nobody knows
 * stays, and is looked at once: an entry is passed over for good until the code changes.
 *
 * A worker that does not know the name may claim it again and set it aside again; it is brought back
 * at most once every few seconds, until one that knows it is faster or the other is gone.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/list.h"

#define RELEASER_LOOK_USEC (5 * USEC_PER_SEC)

struct releaser;
enum { RELEASER_CURSOR_SIZE = 128 };
struct releaser_queue {
    struct list_link link;
    struct releaser *releaser;
    struct str name;
    char seen[RELEASER_CURSOR_SIZE];   /* entries up to this one were looked at; "": none were */
    char cursor[RELEASER_CURSOR_SIZE]; /* of the next part, "" behind the last */
    char last[RELEASER_CURSOR_SIZE];   /* entry of the part under way */
    bool under_way;
    bool is_off;       /* removed, until it is added again */
    bool again;        /* the code has changed meanwhile: all are looked at once more */
    uint64_t moved;    /* of the part under way */
    uint64_t released; /* by the look under way */
};

/* Whether the task has a function here. */
typedef bool releaser_knows_fn(void *data, struct str task);

struct releaser {
    struct broker *broker;
    releaser_knows_fn *knows;
    void *data;
    struct list queues;
    uv_timer_t timer;
    bool stopped;
    uint64_t released;
};

void releaser_init(struct releaser *releaser,
                   uv_loop_t *loop,
                   struct broker *broker,
                   releaser_knows_fn *knows,
                   void *data);
/* Looks after `queue` too, unless it does; the name is borrowed for the life of the releaser. */
void releaser_add(struct releaser *releaser, struct str queue);
/* And no more. */
void releaser_remove(struct releaser *releaser, struct str queue);
/* Looks at all that is there; again when there is new code. */
void releaser_start(struct releaser *releaser);
void releaser_stop(struct releaser *releaser);
/* After the broker was closed. */
void releaser_deinit(struct releaser *releaser);
