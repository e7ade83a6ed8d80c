/*
 * What waits to be written to the ledger: batches of attempts in a ring, or sums of them; memory alone,
 * bounded. What does not fit is lost, and counted.
 */
#pragma once

#include "store/ledger.h"

struct backlog {
    enum ledger_detail detail;
    struct ledger_batch *ring; /* FULL: filled at the end, taken at the front */
    size_t ring_size, first, used;
    uint64_t batch_max;      /* attempts in a batch */
    struct ledger_sum *sums; /* SUMMARY: in the order of minute, task, outcome; tasks are owned */
    size_t sum_count, most;
    uint64_t waiting, lost; /* attempts, in all of it; so far */
};

/* For about `most` attempts; or for so many sums. At least 1. */
void backlog_init(struct backlog *backlog, enum ledger_detail detail, size_t most);
void backlog_deinit(struct backlog *backlog);
/* An outcome must be a constant. */
void backlog_add(struct backlog *backlog, const struct ledger_attempt *attempt);
/* A batch is full. */
bool backlog_is_due(const struct backlog *backlog);
/*
 * The oldest batch, which may be read by a thread from now on, until backlog_end(); when it is not full,
 * only if `any` is welcome. NULL: there is none.
 */
const struct ledger_batch *backlog_batch(struct backlog *backlog, bool any);
/* That batch was written. */
void backlog_end(struct backlog *backlog);
/* That batch cannot be written: its attempts are lost, and it is empty. */
void backlog_give_up(struct backlog *backlog);
bool backlog_is_empty(const struct backlog *backlog);
/* All that waits is lost; returns how much that was. */
uint64_t backlog_abandon(struct backlog *backlog);
