/*
 * What follows a call that has ended, by its message (canvas/): for the outcome of a run, and for the
 * supervisor that asks with FOLLOW.
 */
#pragma once

#include "child/task.h"

/* Whoever sends on behalf of a call that ran here. */
struct canvas_sender child_sender(struct child *child);
/* Appends the frame of `outcome` with all that is in `plan` to child->out. 0, CEL_E_LIMIT, -ENOMEM. */
int child_add_outcome(struct child *child,
                      struct frame_outcome *outcome,
                      const struct plan *plan) MUST_CHECK;

/* Answers FOLLOW. 0, or -errno when the supervisor cannot be told. */
int child_follow(struct child *child, const struct frame_follow *follow) MUST_CHECK;
