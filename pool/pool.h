/*
 * The pool: the slots of a worker by state, how many there are, which child gets the next job, when
 * a child is replaced (too many tasks, too much memory, new code, death), and their one timer. It
 * knows slots and frames; no queue, no Redis, no retries.
 *
 * The first child of a pool, and the first with new code, starts alone: it tells what is
 * registered, or ends with status 78 after one clear line. Only when it has said hello do the
 * others start. With new code the old children work on until then, and for good if it cannot be
 * used.
 */
#pragma once

#include "pool/registry.h"
#include "pool/slot.h"

enum { POOL_SIZE_MAX = 1024 };

/* What a pool tells its owner, from the loop. */
struct pool_events {
    /* The first hello of a generation: `registry` is new. */
    void (*on_code)(void *data, bool reloaded);
    /* A child became free, or went away: look for work. */
    void (*on_room)(void *data);
    void (*on_written)(void *data, struct job *job);
    void (*on_progress)(void *data, struct job *job, const struct frame_progress *progress);
    void (*on_outcome)(void *data, struct job *job, const struct frame_outcome *outcome);
    void (*on_recall)(void *data, struct job *job);
    void (*on_death)(void *data, struct job *job, const struct death *death);
    /* No child can be had: status 78 (its module cannot be used) or 70 (it dies before its
     * hello). `reloading`: none with new code; the old children go on. */
    void (*on_unusable)(void *data, int exit_status, bool reloading);
    void (*on_empty)(void *data); /* after pool_stop: the last process is gone */
};

struct pool_options {
    unsigned concurrency;
    int64_t max_tasks_per_child;   /* 0: no limit */
    uint64_t max_memory_per_child; /* resident, in bytes, after a task; 0: no limit */
    struct frame_setup setup;
};

struct pool {
    const struct pool_events *events;
    void *data;
    struct pool_options options;
    struct slot_shared shared;
    struct registry registry; /* of the newest code that said hello */
    uv_timer_t timer;         /* for the earliest deadline of any slot */
    usec_t timer_mono;
    unsigned generation; /* of the code in use; 0: none said hello yet */
    unsigned trial;      /* generation that has not said hello yet; 0: none */
    unsigned last_number;
    bool stopping;
};

/* 0 or -ENOMEM. The setup is encoded here and may go. */
int pool_init(struct pool *pool,
              uv_loop_t *loop,
              const struct pool_options *options,
              const struct pool_events *events,
              void *data) MUST_CHECK;
void pool_start(struct pool *pool);
/* New children with new code; the old ones finish their task. Returns false while a start is under
 * way. */
bool pool_reload(struct pool *pool);
/*
 * From now on so many children (at least one, at most POOL_SIZE_MAX). Those that are too many go: first those that are
 * being started or replaced, then idle ones, then busy ones after their task.
 */
void pool_resize(struct pool *pool, unsigned size);
/* How many there are or will be in a moment; those that are to go do not count. */
size_t pool_size(const struct pool *pool);
/* Idle children end; busy ones after their task, or at once when `cold`. May be called again. */
void pool_stop(struct pool *pool, bool cold);
/* Ends the child that has `job`, with that signal: it dies as revoked, unless its outcome was
 * sent before. Nobody else's child is touched. */
void pool_terminate(struct pool *pool, const struct job *job, int signal_number);
/* All children end now. May follow pool_stop. */
void pool_kill(struct pool *pool);
/* When no slot has a process: frees all; the timer closes with the loop's next turn. */
void pool_deinit(struct pool *pool);

/* Children that could take a job now; and those at work. */
static inline size_t pool_idle(const struct pool *pool)
{
    return pool->shared.lists[SLOT_IDLE].count;
}
static inline size_t pool_busy(const struct pool *pool)
{
    return pool->shared.lists[SLOT_BUSY].count + pool->shared.lists[SLOT_RETIRING].count;
}
/*
 * Gives `job` to an idle child, the one that was idle for the shortest time. 1: the child has
 * it; 0: on_written follows; -EAGAIN: there is no idle child, the job remains the caller's;
 * CEL_E_LIMIT, -ENOMEM: so it does, its frame cannot be made.
 * `ret_pid` is written unless it fails.
 */
int pool_run(struct pool *pool, struct job *job, int64_t *ret_pid) MUST_CHECK;
/* Calls `visit` for each process that there is, with how many tasks it has ended. */
void pool_each(const struct pool *pool,
               void (*visit)(void *data, int64_t pid, uint64_t tasks),
               void *data);
/* One log line for each child. */
void pool_report(const struct pool *pool);
