/*
 * One pool process and the supervisor's end of its socket pair: spawn, frames in and out, time
 * limits, stop, obituary. It knows one job at a time, and no queue, no Redis, no retries.
 *
 *   EMPTY --spawn--> STARTING --hello--> IDLE --run--> BUSY --outcome--> IDLE
 *                       |                  |            |
 *                       | no hello         | recycle    +--retire----> RETIRING --outcome--+
 *                       +---> STOPPING <---+------------+---hard limit, cold stop          |
 *                                | ^---------------------------------------------------- --+
 *   (any) --process gone--> EXITED --back-off over--> EMPTY
 *                              +-----status 78------> DISABLED (only before its first hello ever)
 *
 * STOPPING: an idle child sees the end of descriptor 3, a busy one gets TERM; after a grace, KILL.
 */
#pragma once

#include <uv.h>

#include "child/frame.h"
#include "core/list.h"
#include "pool/job.h"

enum slot_state {
    SLOT_EMPTY,
    SLOT_STARTING,
    SLOT_IDLE,
    SLOT_BUSY,
    SLOT_RETIRING,
    SLOT_STOPPING,
    SLOT_EXITED,
    SLOT_DISABLED,
};
enum { SLOT_STATES = SLOT_DISABLED + 1 };

#define SLOT_HELLO_USEC      (60 * USEC_PER_SEC) /* to load the modules */
#define SLOT_STOP_GRACE_USEC (5 * USEC_PER_SEC)
enum { SLOT_READ_BYTES = 64 * 1024 };

struct slot;

/* What a slot tells its pool; each from the loop, some from inside slot_tick(). */
struct slot_events {
    void (*on_hello)(struct slot *slot, const struct frame_hello *hello);
    void (*on_written)(struct slot *slot, struct job *job); /* after slot_run gave 0 */
    void (*on_progress)(struct slot *slot, struct job *job, const struct frame_progress *progress);
    /* The slot is IDLE or STOPPING again and its job is the receiver's. */
    void (*on_outcome)(struct slot *slot, struct job *job, const struct frame_outcome *outcome);
    void (*on_recall)(struct slot *slot, struct job *job); /* no child has begun it */
    void (*on_death)(struct slot *slot, struct job *job, const struct death *death);
    void (*on_exited)(struct slot *slot);                 /* EXITED, every handle closed */
    void (*on_wake)(struct slot *slot, usec_t wake_mono); /* call slot_tick() then */
};

/* What all slots of a pool share; outlives them. */
struct slot_shared {
    uv_loop_t *loop;
    const struct slot_events *events;
    struct list lists[SLOT_STATES];
    struct buf setup;         /* the SETUP frame */
    struct buf out;           /* the frame being written */
    char in[SLOT_READ_BYTES]; /* what was just read */
};

struct slot {
    struct slot_shared *shared;
    struct list_link link; /* in the list of its state */
    enum slot_state state;
    unsigned number;     /* for the log */
    unsigned generation; /* of the code it runs */
    unsigned bad_starts; /* deaths in a row without a task done */
    bool retired;        /* not spawned again */

    uv_process_t process;
    uv_pipe_t pipe;
    uv_poll_t death_watch; /* on a pidfd: peak memory, before the process is reaped */
    int pidfd;
    unsigned open_handles;
    struct buf in;   /* the beginning of a frame */
    unsigned writes; /* under way */
    bool has_hello;  /* of this process */
    bool proven;     /* some process of this slot said hello */
    bool fatal;      /* it ended with status 78 before its hello */
    bool gone;       /* it is dead: no more signals to that pid */
    bool asked;      /* we wanted its end */
    bool deaf;       /* it sent nonsense: nothing more is read */
    int64_t pid;
    int64_t exit_status;
    int term_signal;
    uint64_t peak_rss; /* bytes; 0: not known. At least the supervisor's own size when it forked */
    uint64_t tasks;    /* ended by this process */

    struct job *job;
    enum death_cause cause; /* what a death now would mean */
    usec_t spawned_mono, soft_mono, hard_mono;
    usec_t deadline_mono; /* of the state: hello, KILL, end of back-off */
};

const char *slot_state_name(enum slot_state state);

struct slot *slot_new(struct slot_shared *shared, unsigned number, unsigned generation);
/* Only in EMPTY, EXITED or DISABLED. Takes NULL, returns NULL. */
struct slot *slot_free(struct slot *slot);
/* The only writer of the state. */
void slot_set_state(struct slot *slot, enum slot_state state);

/* EMPTY to STARTING; a failure to spawn goes on to EXITED, like a death. */
void slot_spawn(struct slot *slot);
/*
 * Gives `job` to an idle child. 1: the child has it; 0: its frame is being written, on_written
 * follows; negative: the job remains the caller's; the child is going away, unless it is idle still: then the frame
 * cannot be made (CEL_E_LIMIT, -ENOMEM).
 */
int slot_run(struct slot *slot, struct job *job) MUST_CHECK;
/* Ends the process; a job that dies with it dies of `cause`. */
void slot_stop(struct slot *slot, enum death_cause cause);
/* Ends it because its task was revoked: with that signal, after the grace with SIGKILL. */
void slot_terminate(struct slot *slot, int signal_number);
/* The same at once, with SIGKILL. */
void slot_kill(struct slot *slot, enum death_cause cause);
/* Lets a busy child finish its task, and stops any other. Not spawned again. */
void slot_retire(struct slot *slot);
/* EXITED: spawn again at `when_mono` (through on_wake and slot_tick). */
void slot_respawn_at(struct slot *slot, usec_t when_mono);
/* Does what is due; returns when to call again, USEC_NEVER without a deadline. */
usec_t slot_tick(struct slot *slot, usec_t now_mono);
