/*
 * One PostgreSQL connection of a pool process. The only door to libpq; no Redis, no
 * processes. Every wait can be ended by the cancel flag, which a signal sets: the running statement
 * is then cancelled on the server and the call answers PG_E_CANCELLED. That happens once: what
 * the task does afterwards to clean up runs as usual.
 *
 * A connection that is lost stays lost until pg_reset(): statements that follow in the same task
 * must not run on another connection, outside of the transaction they were meant for.
 *
 * No sentence in `err` holds a password.
 */
#pragma once

#include <signal.h>

#include "celeriac/task.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"

struct pg;
struct cel_rows; /* a result; implemented in pg_rows.c */

/* Conditions: what the caller may do about an error. `err` holds the sentence. */
enum {
    /* a later run can mend it: 40001 40P01 55P03 53300 57P0x 08xxx, no connection; 0A000 and 26000 of
     * a prepared statement; 25006 of a server that is read-only now and shall not be */
    PG_E_TRANSIENT = 1,
    PG_E_CANCELLED = 2, /* the cancel flag */
    PG_E_FAILED = 3,    /* everything else: constraint, data, syntax, permission */
    PG_E_STOPPED = 4,   /* of a COPY: its function wanted no more */
};

/* The cancel flag: the handler of PG_CANCEL_SIGNAL stores PG_CANCEL_WANTED; the signal is blocked
 * outside of the waits, and the waits let it through. */
#define PG_CANCEL_SIGNAL SIGUSR1
enum { PG_CANCEL_NONE, PG_CANCEL_WANTED, PG_CANCEL_TOLD /* PG_E_CANCELLED was answered */ };

/* Whether `uri` (libpq URI or key=value text) can be understood. CEL_E_CONFIG. */
int pg_uri_check(const char *uri, struct cel_error *err) MUST_CHECK;

/*
 * A connection to `uri`, opened by the first statement, at most `max_age` old when a task begins
 * (0: no limit). `cancel` may be NULL. NULL when memory is short.
 */
struct pg *pg_new(const char *name, const char *uri, usec_t max_age, volatile sig_atomic_t *cancel);
struct pg *pg_free(struct pg *pg);
/* An answer that takes longer than `usec` costs the connection; 0, the default: none does. */
void pg_set_patience(struct pg *pg, usec_t usec);
/*
 * Until pg_reset(): the task that uses the connection is told to end at `soft_mono` and killed at
 * `hard_mono` (USEC_NEVER: no such limit). On the server no statement runs for longer than a second
 * beyond the kill, and no wait for a lock takes until the first of them (SQLSTATE 55P03).
 */
void pg_set_limits(struct pg *pg, usec_t soft_mono, usec_t hard_mono);
/* Between tasks: rolls back what was left open, closes what is too old or dead. Returns whether a
 * transaction had been left open. */
bool pg_reset(struct pg *pg);
/* All of these answer 0 or a condition. Where the server refused the user, the code in `err` is
 * CEL_E_AUTH. */
int pg_connect(struct pg *pg, struct cel_error *err) MUST_CHECK;
int pg_query(struct pg *pg,
             const char *sql,
             const struct cel_param *params,
             size_t param_count,
             struct cel_rows **ret_rows,
             struct cel_error *err) MUST_CHECK;
/* The same for text that is not given again: it is not prepared. */
int pg_query_once(struct pg *pg,
                  const char *sql,
                  const struct cel_param *params,
                  size_t param_count,
                  struct cel_rows **ret_rows,
                  struct cel_error *err) MUST_CHECK;
/* SET ...: several statements at once, without parameters. */
int pg_exec(struct pg *pg, const char *sql, struct cel_error *err) MUST_CHECK;
/* The same, with the rows of the last one. */
int pg_exec_rows(struct pg *pg, const char *sql, struct cel_rows **ret_rows, struct cel_error *err)
    MUST_CHECK;
/* The same for what the cancel flag shall not end. */
int pg_exec_anyway(struct pg *pg, const char *sql, struct cel_error *err) MUST_CHECK;
/* BEGIN, with the limits where they hold for a transaction alone, and `first` behind it ("":
 * nothing), whose rows are the answer. */
int pg_begin(struct pg *pg,
             bool read_only,
             const char *first,
             struct cel_rows **ret_rows,
             struct cel_error *err) MUST_CHECK;
/* COMMIT and ROLLBACK, which the cancel flag does not end. A COMMIT that the server turned into a
 * ROLLBACK, because a statement before it had failed, is PG_E_FAILED with SQLSTATE 25P02. `last`
 * are statements that go with it, each with its semicolon. */
int pg_commit(struct pg *pg, struct cel_error *err) MUST_CHECK;
int pg_commit_with(struct pg *pg, const char *last, struct cel_error *err) MUST_CHECK;
int pg_rollback(struct pg *pg, struct cel_error *err) MUST_CHECK;
/* `verb` is "SAVEPOINT", or "ROLLBACK TO SAVEPOINT" or "RELEASE SAVEPOINT", which the cancel flag
 * does not end; `name` is quoted. */
int pg_savepoint(struct pg *pg, const char *verb, const char *name, struct cel_error *err)
    MUST_CHECK;
/*
 * COPY ... FROM STDIN and TO STDOUT (pg_copy.c), with the functions of celeriac/db.h. While one
 * runs, the connection refuses everything else. `ret->said` is what the function returned, with
 * PG_E_STOPPED.
 */
struct pg_copied {
    int64_t rows;
    int said;
};
int pg_copy_in(struct pg *pg,
               const char *sql,
               cel_copy_in_fn *fn,
               void *data,
               struct pg_copied *ret,
               struct cel_error *err) MUST_CHECK;
int pg_copy_out(struct pg *pg,
                const char *sql,
                cel_copy_out_fn *fn,
                void *data,
                struct pg_copied *ret,
                struct cel_error *err) MUST_CHECK;
/* Waits for a notification (LISTEN), for `wake_fd` to be readable, or for `usec`. */
int pg_wait_notified(struct pg *pg, int wake_fd, usec_t usec, struct cel_error *err) MUST_CHECK;
/* Appends `text` as an SQL literal, or NULL when it is absent. Needs a connection. What cannot be
 * written (no valid text, no memory) sticks in `sql`. */
void pg_add_literal(const struct pg *pg, struct buf *sql, struct str text);
bool pg_in_transaction(const struct pg *pg);
bool pg_is_lost(const struct pg *pg);
/* Whether a pooler stands between (known once connected): then nothing that is set for a session, locked
 * in it or listened to outlasts a transaction. */
bool pg_is_pooled(const struct pg *pg);
const char *pg_sqlstate(const struct pg *pg); /* of the last failure, "" after a success */
/* After PG_E_TRANSIENT: another transaction was in the way, and nothing is broken. */
bool pg_is_conflict(const struct pg *pg);
/* Where in its SQL the last failure is, in characters from 1; 0: the server did not say. */
size_t pg_error_position(const struct pg *pg);
/* How many statements of the last pg_exec succeeded: the next one is where it failed. */
size_t pg_statements_done(const struct pg *pg);

/* --- columns (pg_rows.c) ---------------------------------------------------------------------- */

/* As cel_row_text(); absent for NULL and for what is not there. */
struct str pg_row_text(const struct cel_rows *rows, size_t row, const char *column);

/* What cannot be read from every text. */

struct pg_cell {
    const struct cel_rows *rows;
    size_t row;
    const char *column;
};
/* Each 0; -EINVAL for a column that is not there or of another type; what json_decode() answers;
 * -ENOMEM. NULL is 0 and NULL. Bytes and arrays end with the rows. */
int pg_cell_time(const struct pg_cell *at, int64_t *ret_usec, struct cel_error *err) MUST_CHECK;
int pg_cell_bytes(const struct pg_cell *at,
                  const void **ret_bytes,
                  size_t *ret_length,
                  struct cel_error *err) MUST_CHECK;
int pg_cell_json(const struct pg_cell *at,
                 struct cel_value **ret_take,
                 struct cel_error *err) MUST_CHECK;
int pg_cell_array(const struct pg_cell *at,
                  const struct cel_array **ret,
                  struct cel_error *err) MUST_CHECK;
