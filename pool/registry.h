/*
 * The tasks that the children announced, by name: the rules that the supervisor knows of them. One
 * table a worker, replaced whole when new code comes.
 */
#pragma once

#include "child/frame.h"
#include "core/error.h"

/* Time limits that were set while the worker runs; new code does not change them. */
struct registry_limits {
    char *name;
    usec_t soft, hard;
};

struct registry {
    struct frame_task *tasks; /* sorted by name; their texts stand in `texts` */
    size_t count;
    struct buf texts;
    struct registry_limits *limits;
    size_t limit_count;
};

/* Replaces the tasks by a copy of what `hello` announces. 0 or -ENOMEM (then unchanged). */
int registry_set(struct registry *registry, const struct frame_hello *hello) MUST_CHECK;
void registry_deinit(struct registry *registry);
/* From now on, for calls that come: the task's time limits are these (0: the worker's). -ENOENT: no such
 * task; -ENOMEM. */
int registry_set_limits(struct registry *registry, struct str name, usec_t soft, usec_t hard)
    MUST_CHECK;
/* Borrowed until the next registry_set; NULL: no such task. */
const struct frame_task *registry_find(const struct registry *registry, struct str name);
