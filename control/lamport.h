/*
 * Lamport's clock of this node: everything that is sent bears a higher number than all that was seen
 * before, so monitors can order what came from several nodes.
 */
#pragma once

#include <stdint.h>

struct lamport {
    uint64_t value;
};

/* What goes out now. */
static inline uint64_t lamport_tick(struct lamport *lamport)
{
    return ++lamport->value;
}

/* Something came in that bears `theirs`. */
static inline void lamport_adjust(struct lamport *lamport, uint64_t theirs)
{
    uint64_t most = INT64_MAX / 2; /* nonsense must not use the numbers up */
    if (theirs < most)
        lamport->value = (theirs > lamport->value ? theirs : lamport->value) + 1;
}
