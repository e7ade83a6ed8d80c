#include "core/backoff.h"

#include <stdlib.h>

static usec_t ceiling(const struct backoff *backoff, unsigned attempt)
{
    if (attempt >= 64 || backoff->first > backoff->cap >> attempt)
        return backoff->first == 0 ? 0 : backoff->cap;
    return backoff->first << attempt;
}

/* Uniform in 0 ... max, but for a bias far below anything that a delay shows. */
static usec_t up_to(usec_t max, uint64_t random)
{
    return max == UINT64_MAX ? random : random % (max + 1);
}

usec_t backoff_delay(const struct backoff *backoff, unsigned attempt, uint64_t random)
{
    usec_t whole = ceiling(backoff, attempt);
    return whole / 2 + up_to(whole - whole / 2, random);
}

usec_t backoff_delay_exact(const struct backoff *backoff, unsigned attempt)
{
    return ceiling(backoff, attempt);
}

usec_t backoff_delay_full_jitter(const struct backoff *backoff, unsigned attempt, uint64_t random)
{
    return up_to(ceiling(backoff, attempt), random);
}

uint64_t backoff_random(void)
{
    uint64_t random;
    arc4random_buf(&random, sizeof(random));
    return random;
}
