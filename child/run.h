/*
 * One run: the message of a RUN frame in, an OUTCOME frame out. Everything that can go wrong with a
 * message, its arguments, its function and its transaction becomes an outcome.
 */
#pragma once

#include "child/task.h"

/* Runs the call and sends the outcome. 0, or -errno when the supervisor cannot be told. */
int child_run(struct child *child, const struct frame_run *run) MUST_CHECK;
