/*
 * How often the calls of a task may begin here (Celery's rate_limit). The arithmetic: no clock, no
 * loop, no requests; turns.h puts it to use.
 *
 * Each task with a limit has a bucket for one token, filled anew an interval after it was used. A
 * call that comes while it is empty gets a turn, the first moment that nobody has: so the order is
 * kept whether a call waits here or in the delayed set. It waits here if its turn is near (and not
 * too many do), otherwise there. A parked call that comes back has its turn still, and needs a
 * token too, since turns are given by each worker and any worker may find the call.
 */
#pragma once

#include "child/frame.h"

#define RATE_AHEAD_USEC  USEC_PER_SEC          /* a nearer turn is waited for here */
#define RATE_LEAD_USEC   (200 * USEC_PER_MSEC) /* so long before its turn a call comes back */
#define RATE_AWAY_USEC   (100 * USEC_PER_MSEC) /* it stays away at least so long */
#define RATE_LATE_USEC   (10 * USEC_PER_MSEC)  /* lateness of one call that the next makes up for */
#define RATE_UNUSED_USEC (5 * USEC_PER_SEC)    /* a token unused so long: nobody comes any more */
enum { RATE_HELD_MAX = 256, RATE_TEXT_SIZE = 32 };

struct rate_bucket {
    char *task;
    usec_t interval; /* between two calls; 0: no limit */
    bool is_told;    /* by an operator, as `text`: goes before the task's own */
    char text[RATE_TEXT_SIZE];
    usec_t next_mono; /* there is a token from then on */
    usec_t tail_mono; /* the first turn that nobody has */
    size_t held;      /* calls that wait here */
    uint64_t parked;  /* so often a call was put into the delayed set */
};

/* By name. */
struct rate_limits {
    struct rate_bucket **buckets;
    size_t count;
};

/* The bucket of the task `name`, whose own rules are `rules`; NULL: it has no limit. */
struct rate_bucket *
rate_limits_find(struct rate_limits *limits, struct str name, const struct frame_task *rules);
/*
 * The limit of the task is `text` from now on ("10/s"; "0" or "": none); turns that were given are
 * void. -EINVAL, -ERANGE: that is no rate.
 */
int rate_limits_tell(struct rate_limits *limits,
                     struct str name,
                     struct str text,
                     struct rate_bucket **ret_bucket,
                     struct cel_error *err) MUST_CHECK;
void rate_limits_deinit(struct rate_limits *limits);

enum rate_verdict { RATE_NOW, RATE_HOLD, RATE_PARK };
/*
 * What becomes of a call at that moment. `*turn_mono` is 0 for one that has no turn, and receives its
 * turn. NOW takes the token; the caller counts those that it holds.
 */
enum rate_verdict rate_ask(struct rate_bucket *bucket, usec_t now_mono, usec_t *turn_mono);
/* Gives the first turn that nobody has. */
usec_t rate_reserve(struct rate_bucket *bucket, usec_t now_mono);
/*
 * When a call that is parked with that turn is to come back: shortly before it. One that is late, and has
 * no room here, stays away for as long as it is late already: so it goes to and fro a few times,
 * however many there are.
 */
usec_t rate_back_mono(const struct rate_bucket *bucket, usec_t now_mono, usec_t turn_mono);
/* When a call with that turn may begin. */
usec_t rate_ready_mono(const struct rate_bucket *bucket, usec_t turn_mono);
