/*
 * One PostgreSQL connection of a pool process. The only file that includes libpq; no Redis, no
 * processes. Every wait can be ended by the cancel flag, which a signal sets: the running statement is
 * then cancelled on the server and the call answers PG_E_CANCELLED.
 */
#pragma once

#include <signal.h>

#include "celeriac/task.h"
#include "core/clock.h"
#include "core/error.h"

struct pg;
struct cel_rows; /* a result; implemented in pg.c */

/* Conditions: what the caller may do about an error. `err` holds the sentence. */
enum {
    PG_E_TRANSIENT = 1, /* a later run can mend it: 40001 40P01 55P03 53300 57P0x 08xxx, connection lost */
    PG_E_CANCELLED = 2, /* the cancel flag */
    PG_E_FAILED = 3,    /* everything else: constraint, data, syntax, permission */
};

/*
 * A connection to `uri` (libpq URI or key=value text), opened by the first statement, at most
 * `max_age` old when a task begins (0: no limit). `cancel` may be NULL; it is set by a signal handler, with the
 * signal blocked outside of the waits.
 */
struct pg *pg_new(const char *name, const char *uri, usec_t max_age, const volatile sig_atomic_t *cancel);
struct pg *pg_free(struct pg *pg);
/* Between tasks: rolls back what was left open, closes what is too old or dead. Returns whether a
 * transaction had been left open. */
bool pg_reset(struct pg *pg);
/* 0 or a condition. */
int pg_connect(struct pg *pg, struct cel_error *err) MUST_CHECK;
int pg_query(struct pg *pg,
             const char *sql,
             const struct cel_param *params,
             size_t param_count,
             struct cel_rows **ret_rows,
             struct cel_error *err) MUST_CHECK;
/* BEGIN, COMMIT, SAVEPOINT ... with identifiers quoted; several statements without parameters too. */
int pg_exec(struct pg *pg, const char *sql, struct cel_error *err) MUST_CHECK;
/* `verb` is "SAVEPOINT", "ROLLBACK TO SAVEPOINT" or "RELEASE SAVEPOINT". */
int pg_savepoint(struct pg *pg, const char *verb, const char *name, struct cel_error *err) MUST_CHECK;
bool pg_in_transaction(const struct pg *pg);
const char *pg_sqlstate(const struct pg *pg); /* of the last failure, "" after a success */
