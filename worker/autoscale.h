/*
 * As many children as there is work for, between two bounds (Celery's --autoscale=MAX,MIN).
 *
 * Nothing is claimed for which no child is free, so what waits is known by two signs: every child is
 * at work, and the last claim brought as much as it asked for. When that is so twice in a row (a look
 * each AUTOSCALE_LOOK_USEC) a child is added, then two, four ... as long as it stays so. A child
 * that was idle throughout the keepalive time is one too many.
 */
#pragma once

#include "intake/credit.h"
#include "pool/pool.h"

#define AUTOSCALE_LOOK_USEC (100 * USEC_PER_MSEC)

struct autoscale_bounds {
    unsigned max, min; /* max 0: the size is not looked after; min 0 means 1 */
};

/* "10,3" in any order, or "10", which means "10,0"; each at most POOL_SIZE_MAX. CEL_E_CONFIG for others. */
int autoscale_parse(struct str text,
                    struct autoscale_bounds *ret,
                    struct cel_error *err) MUST_CHECK;

struct autoscale_view {
    size_t size, idle, starting; /* children */
    bool work_waits;
};

struct autoscale {
    struct pool *pool;
    struct credit *credit;
    struct autoscale_bounds bounds;
    usec_t keepalive;
    uv_timer_t timer;
    bool was_short;    /* at the last look */
    unsigned step;     /* how many the next growth adds */
    size_t spare;      /* the fewest that were idle ... */
    usec_t since_mono; /* ... since then */
};

/* The arithmetic of a look: how many there should be from now on. */
unsigned
autoscale_look(struct autoscale *autoscale, const struct autoscale_view *view, usec_t now_mono);

void autoscale_init(struct autoscale *autoscale,
                    uv_loop_t *loop,
                    struct pool *pool,
                    struct credit *credit,
                    const struct autoscale_bounds *bounds,
                    usec_t keepalive);
/* Does nothing without bounds. */
void autoscale_start(struct autoscale *autoscale);
void autoscale_stop(struct autoscale *autoscale);
void autoscale_deinit(struct autoscale *autoscale);
/* Other bounds, which hold at once. -EINVAL: it is off, max is 0 or above POOL_SIZE_MAX, or min above max. */
int autoscale_set(struct autoscale *autoscale, const struct autoscale_bounds *bounds) MUST_CHECK;
