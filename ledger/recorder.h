/*
 * Writes the ledger (store/ledger.h): what became of attempts goes to a backlog in memory, and from there,
 * a batch at a time, by a thread to PostgreSQL. Nothing waits for that. While PostgreSQL is away the
 * backlog fills up; what does not fit any more is lost, counted and said.
 *
 * What asks PostgreSQL runs on a thread of its own and touches the recorder only there.
 */
#pragma once

#include <uv.h>

#include "ledger/backlog.h"

struct recorder_options {
    enum ledger_detail detail;
    const char *database, *uri; /* name and URI; borrowed, like those that follow */
    const char *node, *name;    /* with incarnation and without */
    int64_t days;               /* kept */
    size_t most;                /* attempts that wait */
};

struct recorder {
    uv_loop_t *loop;
    struct recorder_options options;
    struct backlog backlog;
    struct pg *pg; /* NULL: nothing is recorded */
    uv_work_t work;
    uv_timer_t timer;
    const struct ledger_batch *batch; /* under way */
    struct ledger_writer writer;
    bool is_busy, keeps, is_stopping;
    bool is_down, is_untidy, loses;           /* it was said */
    usec_t flush_mono, again_mono, keep_mono; /* not before */
    usec_t stop_mono;                         /* the end of all tries */
    unsigned failures;                        /* one after the other */
    int status, keep_status;                  /* of the work */
    struct cel_error err, keep_err;
    uint64_t written;
    void (*stopped)(void *data);
    void *stopped_data;
};

void recorder_init(struct recorder *recorder,
                   uv_loop_t *loop,
                   const struct recorder_options *options);
/* The outcome must be a constant. */
void recorder_add(struct recorder *recorder, const struct ledger_attempt *attempt);
/* Writes what is there, for a few seconds; `cb` comes at once or later. */
void recorder_stop(struct recorder *recorder, void (*cb)(void *data), void *data);
/* After recorder_stop's callback. */
void recorder_deinit(struct recorder *recorder);
