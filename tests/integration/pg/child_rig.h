/*
 * A pool process whose tasks use a PostgreSQL server of the test program's own, and what tests ask of
 * both. They fail the test where something is not as expected.
 */
#pragma once

#include "store/pg.h"
#include "tests/support/child_process.h"
#include "tests/support/postgres_server.h"

extern struct postgres_server server;
extern struct child_process process;
extern struct pg *own; /* the test's connection */

/* Starts the server and runs `sql` there; the process is still to be started. 0 or -1. */
int rig_open(const char *sql);
/* As the teardown of cmocka. */
int rig_close(void **state);
/* A process with one module; `databases` are its section [database]. */
void rig_start_child(struct child_process *child,
                     struct str module,
                     const struct frame_pair *databases,
                     size_t count,
                     usec_t max_age);

/* On the test's connection; `int_of` answers the column n. */
void exec_own(const char *sql);
int64_t int_of(const char *sql);

/* Runs a task in `process`; the outcome stays until the next call. */
const struct frame_outcome *run_task(const char *name, const char *args, const char *kwargs);
void expect_success(const struct frame_outcome *outcome);
void check_value(const struct frame_outcome *outcome, const char *json);
/* `type` of the exception, and words of its text. A retry for another transaction's sake is soon. */
void expect_exception(const struct frame_outcome *outcome,
                      enum frame_outcome_kind kind,
                      const char *type,
                      const char *words);
void expect_soft_limit(const struct frame_outcome *outcome);
