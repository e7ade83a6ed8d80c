/*
 * A pool process without its supervisor: child_alone (child/child.h and what it links, nothing
 * else) behind a socket pair, with the frames of child/frame.h.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "child/frame.h"
#include "core/value.h"

struct child_process {
    pid_t pid; /* 0: gone and waited for */
    int fd;    /* our end of the pair */
    int log;   /* what it writes to stdout and stderr */
    struct buf in;
    struct frame frame; /* the last one read */
    size_t frame_len;
    uint64_t seq; /* of the last RUN */
};

/* Starts one; `setup` may be NULL (then nothing is sent). Fails the test when that cannot be done.
 */
void child_process_start(struct child_process *process, const struct frame_setup *setup);
/* Kills it if it lives. */
void child_process_end(struct child_process *process);

/* Waits at most `ms` for the next frame, which stays until the next call. 0, 1 at the end of the
 * stream, -ETIMEDOUT. */
int child_process_read(struct child_process *process, int64_t ms);
void child_process_write(struct child_process *process, struct str bytes);
/* The status as waitpid gives it; fails the test after `ms`. */
int child_process_wait(struct child_process *process, int64_t ms);
/* All it has logged so far; the caller frees it. */
char *child_process_log(const struct child_process *process);

/* Sends a RUN of `message`; returns its number. */
uint64_t child_process_run(struct child_process *process, const char *message);
/* child_process_run, and waits for the outcome, which stays until the next call. */
const struct frame_outcome *child_process_call(struct child_process *process, const char *message);

/* A message of the task `name` as a Python client of Celery 5.6 writes it; the caller frees it.
 * `more_headers` is text like ", \"retries\": 1" or "". */
char *message_of(const char *name, const char *args, const char *kwargs, const char *more_headers);
