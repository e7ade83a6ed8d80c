/*
 * The inside of a task that runs (celeriac/task.h is its outside), and what the process keeps
 * between tasks. For the child's side of worker/ alone.
 */
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "canvas/follow.h"
#include "celeriac/task.h"
#include "child/frame.h"
#include "child/modules.h"
#include "core/buf.h"
#include "message/body.h"
#include "message/envelope.h"
#include "message/routes.h"
#include "store/effect.h"
#include "store/pg.h"

/* A database of the configuration. */
struct cel_db {
    char *name;
    struct pg *pg;
    struct cel_task *task; /* that runs, or NULL */
    uint64_t cursors;      /* opened so far; their names */
};

/* The limits of the run at hand (limits.h). */
struct child_limits {
    bool has_timer, has_cpu_time, has_memory, has_files;
    timer_t timer;               /* of processor time; kept from run to run */
    struct rlimit memory, files; /* as they were before */
    struct buf words;            /* the DYING frame */
};

struct child { /* lives as long as the process */
    int fd;    /* to the supervisor */
    struct str node;
    struct modules modules;
    struct routes routes; /* of calls of tasks that name no queue */
    struct cel_db *databases;
    size_t database_count;
    bool wants_peak_rss, wants_arguments;
    volatile sig_atomic_t *cancel; /* PG_CANCEL_...; set by the signal of the soft limit */
    struct buf out;                /* the frame being written */
    struct child_limits limits;
};

/* Sends what stands in child->out and empties it. 0 or -errno. */
int child_flush(struct child *child) MUST_CHECK;
/* Where calls of `task` go that name no queue. */
struct str child_queue_of(const struct child *child, struct str task);

/*
 * What the task shall end as, should it say so by its return value. Recorded by the author
 * (cel_fail, cel_retry) or by a helper that failed. What the author said, no helper changes; that
 * the soft limit struck, no later failure of a helper changes.
 */
enum recorded_kind {
    RECORDED_NOTHING,
    RECORDED_FAIL,
    RECORDED_RETRY,
    RECORDED_CANCELLED,
    RECORDED_REJECT,
};
enum recorded_by { BY_NOBODY, BY_HELPER, BY_DATABASE, BY_AUTHOR };
struct recorded {
    enum recorded_kind kind;
    enum recorded_by by;
    char *type, *text;      /* of the exception; or NULL */
    char *args_json;        /* its arguments, when they are other than the text; or NULL */
    int64_t countdown_usec; /* of RETRY; -1: the task's own */
    bool conflict;          /* of RETRY: another transaction was in the way */
    bool requeue;           /* of REJECT */
};

struct cel_task {
    struct child *child;
    const struct child_task *registered;
    uint64_t seq;
    usec_t soft_mono, hard_mono; /* its limits; USEC_NEVER: none */
    bool is_routed;              /* the module's router, if there is one, was asked */
    const char *database; /* that cel_db() is; NULL: not known yet, or the router named none */
    struct buf upgraded;  /* protocol 2 form of a message of protocol 1 */
    struct envelope envelope;
    struct body body;
    struct params_bound bound; /* params NULL: anything goes */
    struct recorded recorded;
    struct cel_value *result;
    struct cel_request request; /* filled by the first cel_request() */
    struct cel_value *headers;  /* filled by the first cel_header() */
    struct str bytes;           /* of the message that `envelope` was read from */
    struct cel_value *message;  /* the same, decoded by the first cel_headers() */
    struct plan plan;           /* what it has sent, and, with its end, what follows */
    size_t send_bytes;          /* of what it has sent */
    bool is_replaced;
    char **texts; /* handed out to the author */
    size_t text_count;
};

/* Whose rules hold for what is around the run, its transaction and its database: the registered
 * task's, or those of the task that celery.map and celery.starmap call in place (builtin.c). */
const struct child_task *task_target(const struct cel_task *task);

/* Each returns what the task shall return for that kind: CEL_FAIL, CEL_RETRY, CEL_CANCELLED ... */
int task_record(struct cel_task *task,
                enum recorded_by by,
                enum recorded_kind kind,
                const char *type,
                const char *text);
int task_recordf(struct cel_task *task,
                 enum recorded_by by,
                 enum recorded_kind kind,
                 const char *type,
                 const char *format,
                 ...) PRINTF_LIKE(5, 6);
/* The function said CEL_OK, so what its author and other helpers recorded is past. A failed
 * statement is not: it fails the commit too, and says why. */
void task_forget_caught(struct cel_task *task);
/* The same for what is recorded already. */
int task_recorded_code(const struct cel_task *task);
void task_forget_database_error(struct cel_task *task);
void task_recorded_deinit(struct cel_task *task);

/* A text that lives as long as the task; NULL when memory is short. */
const char *task_keep_text(struct cel_task *task, struct str text);
void task_deinit(struct cel_task *task);

/* --- databases (db.c) ------------------------------------------------------------------------- */

void databases_open(struct child *child,
                    const struct frame_pair *databases,
                    size_t count,
                    usec_t max_age);
void databases_close(struct child *child);
/* Turns a condition of store/pg.h into what the task shall return, and records why. */
int database_settle(struct cel_db *db, int condition, const struct cel_error *err);
/* The same for what undoes or closes: its success does not clear what made it necessary. */
int database_settle_undo(struct cel_db *db, int condition, const struct cel_error *err);
/* Whether a transaction is around the task (.transaction). */
bool task_is_wrapped(const struct cel_task *task);
/* That transaction. 0, or with the outcome recorded what the task shall return. CEL_ONCE: `*ret_done`
 * is what the call came to before, or NULL; `effect` is committed with it (else it is NULL). */
int databases_begin(struct cel_task *task, struct cel_rows **ret_done);
int databases_commit(struct cel_task *task, const struct effect *effect);
/* The name of a database on which the author left a transaction open, or NULL. */
const char *databases_left_open(const struct cel_task *task);
/* After a task: rolls back what is open. */
void databases_reset(struct cel_task *task);
