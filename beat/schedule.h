/*
 * The schedule: which entry is to be fired next, and for which slot. Pure: told the time, no I/O.
 *
 * A slot is the moment an entry is due by its rule; it is the same for every beat, whenever that
 * beat was started, since intervals are counted from 1970. An entry is either in the heap, waiting
 * for its wake_wall, or taken, while its slot is being fired.
 *
 *     schedule_add --> waiting --schedule_take--> taken --schedule_done--> waiting (next slot)
 *                                                   +-----schedule_retry-> waiting (same slot)
 */
#pragma once

#include "beat/crontab.h"
#include "core/heap.h"

struct cel_call;

#define ENTRY_EVERY_MIN (10 * USEC_PER_MSEC)
#define ENTRY_EVERY_MAX (3660 * 86400 * USEC_PER_SEC)
enum { ENTRY_NAME_MAX = 200 };

struct entry {
    char *name;             /* owned */
    const char *origin;     /* "celeriac.ini:12" */
    size_t index;           /* place in the configuration: order of those due together */
    usec_t every;           /* 0: by crontab */
    struct crontab crontab; /* in `zone` */
    struct zone *zone;
    struct cel_call *call; /* owned */
    bool enabled;
    /* written by the schedule */
    struct heap_node node;
    usec_t due_wall;   /* the slot that comes next */
    usec_t wake_wall;  /* when to look at it: due_wall, or later for a retry */
    unsigned attempts; /* failed ones since it was last fired */
    /* written by beat.c */
    bool is_failing; /* and that was logged */
};

/* The first slot after `after_wall`; USEC_NEVER when there is none. */
usec_t entry_next_slot(const struct entry *entry, usec_t after_wall);
/* How long it must be known that `slot` was fired: twice the time to the next one, at least an hour
 * (or 36000 intervals, if that is less), at most 32 days. */
usec_t entry_mark_ttl(const struct entry *entry, usec_t slot);

struct schedule {
    struct heap heap;
};

/* Makes room for `count` entries: 0 or -ENOMEM. */
int schedule_init(struct schedule *schedule, size_t count) MUST_CHECK;
void schedule_deinit(struct schedule *schedule); /* forgets the entries */

/* Adds an entry, no more than there is room for: its first slot is the next one after `now_wall`.
 */
void schedule_add(struct schedule *schedule, struct entry *entry, usec_t now_wall);
/* When to look again; USEC_NEVER for an empty schedule. */
usec_t schedule_wake(const struct schedule *schedule);
/* What is due: `slot` is the latest one up to now; those from `first` up to it were missed. */
struct due {
    usec_t first, slot; /* the same when none was missed */
    bool is_too_late; /* do not fire: it may be forgotten by now that another beat fired it (half of
                         its mark's life); the entry was not taken, it waits for the next slot */
};
/* Takes the next entry that is due, or returns NULL. */
struct entry *schedule_take(struct schedule *schedule, usec_t now_wall, struct due *ret_due);
/* `slot` of a taken entry was fired, by us or by another beat. A clock that went back meanwhile
 * makes it wait for the next slot after `now_wall`. */
void schedule_done(struct schedule *schedule, struct entry *entry, usec_t slot, usec_t now_wall);
/* The slot of a taken entry could not be fired: it is due again at `wake_wall`. */
void schedule_retry(struct schedule *schedule, struct entry *entry, usec_t wake_wall);
/* The wall clock went back: all that wait are planned anew. */
void schedule_replan(struct schedule *schedule, usec_t now_wall);
