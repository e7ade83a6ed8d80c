/*
 * The tasks that the children announced, by name: the rules that the supervisor knows of them. One
 * table a worker, replaced whole when new code comes.
 */
#pragma once

#include "child/frame.h"
#include "core/error.h"

struct registry {
    struct frame_task *tasks; /* sorted by name; their texts stand in `texts` */
    size_t count;
    struct buf texts;
};

/* Replaces the content by a copy of what `hello` announces. 0 or -ENOMEM (then unchanged). */
int registry_set(struct registry *registry, const struct frame_hello *hello) MUST_CHECK;
void registry_deinit(struct registry *registry);
/* Borrowed until the next registry_set; NULL: no such task. */
const struct frame_task *registry_find(const struct registry *registry, struct str name);
