/*
 * A broker's share of a loop's turn: what is to be done last before the loop sleeps, and what is to
 * be done at a moment. One timer, one prepare, one check and one idle handle serve everything that
 * a broker has on its loop.
 *
 * Alarms go off after the loop has polled, never before it sleeps: whoever runs the loop until a
 * callback has come finds it come when uv_run(UV_RUN_ONCE) returns, and never sleeps on it.
 */
#pragma once

#include <uv.h>

#include "core/clock.h"
#include "core/list.h"

struct turn_alarm {
    struct list_link link;
    struct list *list; /* the one it is in; NULL: not set */
    usec_t due_mono;
    void (*fn)(struct turn_alarm *alarm);
};

/* Done once before the loop sleeps next, then forgotten. */
struct turn_task {
    struct list_link link;
    bool is_set;
    void (*fn)(struct turn_task *task);
};

struct turn {
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active: the loop polls without sleeping */
    usec_t armed_mono;
    struct list alarms, ringing, tasks;
    bool is_closing;
    unsigned open; /* handles */
    void (*closed)(void *data);
    void *data;
};

void turn_init(struct turn *turn, uv_loop_t *loop);
/* Forgets alarms and tasks; `closed` comes when the last handle is closed. */
void turn_close(struct turn *turn, void (*closed)(void *data), void *data);

/* Sets or moves `alarm`; a `due_mono` that has passed means: at the end of this turn. `fn` finds
 * its alarm cleared and may set it again. */
void turn_alarm(struct turn *turn, struct turn_alarm *alarm, usec_t due_mono);
void turn_alarm_clear(struct turn_alarm *alarm);
void turn_task(struct turn *turn, struct turn_task *task);
void turn_task_clear(struct turn *turn, struct turn_task *task);
