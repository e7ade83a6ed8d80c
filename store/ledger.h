/*
 * The ledger (sql/0003_ledger.sql): what became of attempts, written in batches. A batch is made in
 * memory, without a connection (backlog.h keeps them until they are written); the functions with a `pg`
 * are blocking, like pg.h.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "store/pg.h"

enum ledger_detail { LEDGER_OFF, LEDGER_SUMMARY, LEDGER_FULL };

struct ledger_attempt {
    struct str task, id; /* or absent */
    struct str queue, outcome;
    struct str error;                               /* or absent */
    usec_t received_wall, started_wall, ended_wall; /* started 0: it did not run */
    int64_t pid;                                    /* of its process; 0: it had none */
    int term_signal;                                /* 0: none */
    uint64_t peak_rss;                              /* bytes; 0: not known */
    int64_t retries;
};

struct ledger_sum {
    usec_t minute_wall;
    struct str task, outcome;
    uint64_t attempts, run_usec;
};

struct ledger_batch {
    enum ledger_detail detail;
    struct buf rows;   /* an array in PostgreSQL's text form, its end missing */
    uint64_t attempts; /* that it tells of */
    bool is_closed;    /* nothing is added any more */
};
/* Texts are cut at a length that is far beyond use. False: there is no memory, nothing was added. */
bool ledger_batch_add(struct ledger_batch *batch, const struct ledger_attempt *attempt);
bool ledger_batch_add_sum(struct ledger_batch *batch, const struct ledger_sum *sum);

struct ledger_writer {
    const char *node, *name; /* with its incarnation, and without */
    int64_t batch;           /* number of the batch, from 1; told again it is written once */
    uint64_t lost;           /* attempts so far that cannot be written any more */
};
/* PG_E_FAILED: this batch cannot be written ever; PG_E_TRANSIENT: a later try may. */
int ledger_write(struct pg *pg,
                 const struct ledger_writer *writer,
                 const struct ledger_batch *batch,
                 struct cel_error *err) MUST_CHECK;
/* Makes partitions ahead, removes what is more than `days` old; to be called at least once a day. */
int ledger_keep(struct pg *pg, int64_t days, struct cel_error *err) MUST_CHECK;

/* What is wanted of it; NULL and 0: all. */
struct ledger_filter {
    const char *id, *outcome, *node; /* node: name@host */
    const char *task;                /* * and ? stand for others */
    usec_t since_wall;               /* ended since */
    uint64_t limit;
};
/* The newest first. Columns: those of celeriac.ledger, times as microseconds. */
int ledger_read(struct pg *pg,
                const struct ledger_filter *filter,
                struct cel_rows **ret_rows,
                struct cel_error *err) MUST_CHECK;
/* Columns: task, outcome, attempts, average and total (microseconds of running). Summaries know neither
 * ids nor nodes: with one of these asked for they do not count. */
int ledger_read_sums(struct pg *pg,
                     const struct ledger_filter *filter,
                     struct cel_rows **ret_rows,
                     struct cel_error *err) MUST_CHECK;
/* How many attempts were lost to the ledger by nodes that have written since. */
int ledger_read_lost(struct pg *pg,
                     const struct ledger_filter *filter,
                     int64_t *ret_lost,
                     struct cel_error *err) MUST_CHECK;
