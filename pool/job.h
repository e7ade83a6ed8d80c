/*
 * What a pool knows of the call that it gives to a child, and how a child ended that had one. The call
 * itself is its owner's.
 */
#pragma once

#include "core/clock.h"
#include "core/str.h"

struct frame_follow;

struct job {
    uint64_t seq;             /* of this dispatch */
    struct str envelope;      /* the bytes that the child reads; they stay until it has ended */
    struct str task, task_id; /* for the log */
    usec_t soft_limit, hard_limit; /* in force; 0: none */
    usec_t cpu_limit;              /* which the child enforces; 0: none */
    usec_t started_mono;
    bool is_awaited; /* its child has said that others wait for its end */
    const struct frame_follow
        *follow; /* what follows from its end, instead of running it; or NULL */
};

enum death_cause {
    DEATH_CRASH,      /* ended by itself or by a stranger */
    DEATH_HARD_LIMIT, /* killed for its hard time limit */
    DEATH_SHUTDOWN,   /* killed by a cold stop */
    DEATH_REVOKED,    /* killed because its task was revoked */
    DEATH_CPU_LIMIT,  /* of its task */
    DEATH_MEMORY_LIMIT,
};
struct death {
    enum death_cause cause;
    int64_t exit_status; /* when term_signal is 0 */
    int term_signal;
    int64_t pid;
    uint64_t peak_rss; /* bytes; 0: not known */
};

/* "signal 11 (SIGSEGV)", "exitcode 3" */
void death_describe(const struct death *death, char *buffer, size_t size);
