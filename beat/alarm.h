/*
 * An alarm on the wall clock of a loop: it strikes not before its time, to the microsecond, and
 * early when somebody sets the clock (the owner looks at the clock and sets it anew). A timer of
 * the loop counts milliseconds of the monotonic clock: it would sleep through both.
 */
#pragma once

#include <uv.h>

#include "core/clock.h"
#include "core/error.h"

typedef void alarm_fn(void *data);

struct alarm {
    uv_poll_t poll;
    int fd;
    alarm_fn *cb;
    void *data;
};

/* Negative when the system gives no timer; then nothing needs alarm_close. */
int alarm_open(struct alarm *alarm,
               uv_loop_t *loop,
               alarm_fn *cb,
               void *data,
               struct cel_error *err) MUST_CHECK;
/* `cb` is called from the loop at `wall` or later, once; a time that has passed: at once.
 * USEC_NEVER: not at all. Takes the place of an earlier setting. */
void alarm_set(struct alarm *alarm, usec_t wall);
/* The alarm strikes no more; its memory must stay until the loop has turned. */
void alarm_close(struct alarm *alarm);
