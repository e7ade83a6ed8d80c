/*
 * The frames between the supervisor and one pool process, over a socket pair: four bytes of length
 * (little endian), then one MessagePack array whose first element is the type. Both sides are this
 * executable started at the same moment or reloaded, so there is no version but FRAME_VERSION.
 *
 *   supervisor -> child   SETUP once, then RUN or FOLLOW
 *   child -> supervisor   HELLO once (or the child exits 78), then PROGRESS any, OUTCOME one each;
 *                         DYING instead of it, before a signal ends the child; AWAITED before the run of
 *                         a call whose end others wait for
 *
 * The child writes OUTCOME only after its transaction is over. Decoded frames borrow from the
 * bytes.
 */
#pragma once

#include <signal.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "message/plan.h"

enum { FRAME_VERSION = 4, FRAME_HEADER = 4, FRAME_COUNT_MAX = 200000 /* elements of one list */ };
#define FRAME_BYTES_MAX ((size_t)96 * 1024 * 1024)
/* From the supervisor to a child whose task is over its soft time limit. */
#define CHILD_SOFT_LIMIT_SIGNAL SIGUSR1

enum frame_type {
    FRAME_SETUP = 1,
    FRAME_HELLO,
    FRAME_RUN,
    FRAME_PROGRESS,
    FRAME_OUTCOME,
    FRAME_FOLLOW,
    FRAME_DYING,
    FRAME_AWAITED
};

struct frame_pair { /* a setting or a database */
    struct str name, value;
    struct str origin; /* "celeriac.ini:12", for messages */
};
struct frame_setup {
    struct str node;          /* name@host */
    struct str default_queue; /* of tasks that name none; absent: "celery" */
    struct str routes;        /* message/routes.h */
    int64_t log_level, log_format;
    usec_t database_max_age;
    bool wants_peak_rss;  /* in outcomes */
    bool wants_arguments; /* in a PROGRESS of each run */
    const struct str *modules;
    size_t module_count;
    const struct frame_pair *settings, *databases;
    size_t setting_count, database_count;
};

struct frame_task { /* one registered task, defaults filled in */
    struct str name, queue;
    int64_t max_retries; /* -1: endless */
    usec_t retry_delay, retry_delay_max;
    bool retry_backoff, retry_without_jitter;
    bool ignore_result, acks_early, track_started, once, reject_on_failure;
    usec_t soft_limit, hard_limit; /* 0: the worker's */
    int64_t max_crashes;
    usec_t rate_interval;  /* between two beginnings; 0: no limit */
    struct str rate_limit; /* as its author wrote it; or absent */
    usec_t cpu_limit;      /* 0: none */
    uint64_t memory_limit; /* bytes; 0: none */
};
struct frame_hello {
    int64_t version;
    const struct frame_task *tasks;
    size_t task_count;
};

struct frame_run {
    uint64_t seq;
    /* 0: none. The supervisor sends the signal and kills; the child tells the server of them */
    usec_t soft_limit, hard_limit;
    struct str envelope; /* bytes as claimed */
};

/* A call has ended; what follows? */
struct frame_follow {
    uint64_t seq;
    usec_t hard_limit; /* for errbacks that are called here */
    struct str envelope;
    struct str state;       /* "SUCCESS", "FAILURE", "REVOKED" */
    struct str result_json; /* the value, or the exception object */
    struct str traceback;   /* or absent */
    /* None: what follows from the end. Else what follows from these chords, over and above that. */
    const struct plan_joined *joined;
    size_t joined_count;
};

/* The process is about to die by a signal, since its task came to the limit of its memory. */
struct frame_dying {
    uint64_t seq;
};

struct frame_progress {
    uint64_t seq;
    struct str state; /* "PROGRESS"; absent: meta_json is "args": ..., "kwargs": ... */
    struct str meta_json;
};

enum frame_outcome_kind {
    OUTCOME_SUCCESS = 1,
    OUTCOME_FAILURE,
    OUTCOME_RETRY,
    OUTCOME_IGNORE,
    OUTCOME_REFUSED,
    OUTCOME_REJECTED, /* by its task */
    OUTCOME_REQUEUED, /* the same, back to its queue */
    OUTCOME_FOLLOWS   /* to FOLLOW: no end of its own */
};
struct frame_send {          /* a call of the task, or one that follows it */
    struct str queue, bytes; /* neither is empty */
    int64_t step;
};
struct frame_outcome {
    uint64_t seq;
    enum frame_outcome_kind kind;
    struct str result_json; /* SUCCESS: the value; FAILURE, RETRY, REFUSED: the exception object */
    struct str traceback;   /* or absent */
    int64_t countdown_usec; /* RETRY: -1 = the task's own delay */
    bool conflict;          /* RETRY: another transaction was in the way */
    struct str detail;      /* REFUSED (body cannot be decoded): a sentence for the quarantine;
                               REJECTED, REQUEUED: the author's reason; or absent;
                               FOLLOWS: why nothing of it can be sent */
    struct str
        children_json; /* ids of what was sent, as the result document wants them; or absent */
    uint64_t peak_rss; /* of the process so far, in bytes; 0: not wanted */
    const struct frame_send *sends;
    size_t send_count;
    struct plan_results results; /* of SUCCESS, IGNORE and FOLLOWS */
};

/* Each appends a whole frame, length included; failures stick in `buf`. */
void frame_add_setup(struct buf *buf, const struct frame_setup *setup);
void frame_add_hello(struct buf *buf, const struct frame_hello *hello);
void frame_add_run(struct buf *buf, const struct frame_run *run);
void frame_add_follow(struct buf *buf, const struct frame_follow *follow);
void frame_add_progress(struct buf *buf, const struct frame_progress *progress);
void frame_add_outcome(struct buf *buf, const struct frame_outcome *outcome);
/* An end other than SUCCESS of the call `seq` has consequences, however it comes to it. */
void frame_add_awaited(struct buf *buf, uint64_t seq);
void frame_add_dying(struct buf *buf, const struct frame_dying *dying);

struct frame {
    enum frame_type type;
    union {
        struct frame_setup setup;
        struct frame_hello hello;
        struct frame_run run;
        struct frame_progress progress;
        struct frame_outcome outcome;
        struct frame_follow follow;
        struct frame_dying dying;
        uint64_t awaited_seq;
    };
    void *owned; /* arrays of the above; frame_deinit frees */
};
/*
 * Looks for one whole frame at the beginning of `bytes`. Returns 0 and `*ret_len` (bytes to
 * consume), -EAGAIN when more bytes are needed, CEL_E_FORMAT or CEL_E_LIMIT for what no sane peer
 * sends.
 */
int frame_decode(struct str bytes, struct frame *ret, size_t *ret_len, struct cel_error *err)
    MUST_CHECK;
void frame_deinit(struct frame *frame);
