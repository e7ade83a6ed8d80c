/*
 * What one run may use beyond what its process uses already: processor time, address space, open
 * files (celeriac/task.h). Set before the function, lifted after it.
 *
 * Processor time has a timer of its own that counts from here, since RLIMIT_CPU counts the whole life of a
 * process, in seconds; it ends the process with SIGXCPU. A task that finds no more address space sees
 * its allocation fail. If it dies of that, a signal handler notices (the last thing that failed was
 * an allocation, or the stack has no room left), tells the supervisor so with a DYING frame, and lets
 * the signal do its work.
 */
#pragma once

#include "child/task.h"

/* 0, or -errno: then none is set. */
int limits_set(struct child *child, const struct cel_task_def *def, uint64_t seq) MUST_CHECK;
/* Takes back what limits_set() did. */
void limits_lift(struct child *child);
void limits_deinit(struct child *child);
