/*
 * The next delay of something that is tried again: doubling, capped, jittered.
 */
#pragma once

#include "core/clock.h"

struct backoff {
    usec_t first; /* before the first retry */
    usec_t cap;   /* never longer */
};

/* The delay before retry number `attempt` (0 = first): min(cap, first * 2^attempt), of which half
 * is fixed and half random (`random` is any 64 random bits). */
usec_t backoff_delay(const struct backoff *backoff, unsigned attempt, uint64_t random);
/* min(cap, first * 2^attempt). */
usec_t backoff_delay_exact(const struct backoff *backoff, unsigned attempt);
/* Celery's full jitter: uniform in 0 ... min(cap, first * 2^attempt). */
usec_t backoff_delay_full_jitter(const struct backoff *backoff, unsigned attempt, uint64_t random);
/* 64 random bits for the above; not for secrets. */
uint64_t backoff_random(void);
