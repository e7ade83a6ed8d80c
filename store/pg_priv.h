/*
 * What stands between the connection (pg.c), what goes in (pg_params.c), what comes out (pg_rows.c)
 * and COPY (pg_copy.c). Only these include it.
 */
#pragma once

#include <libpq-fe.h>

#include "store/pg.h"

enum { SQLSTATE_LEN = 5 };

struct pg {
    char *name, *uri;
    char *password; /* from the URI, to keep it out of messages; or NULL */
    usec_t max_age, connect_wait, patience;
    volatile sig_atomic_t *cancel;
    PGconn *conn;
    usec_t opened_mono;
    bool checked, lost;
    char sqlstate[SQLSTATE_LEN + 1];
    uint64_t error_position;
    size_t statements_done; /* of what was sent last */
    struct cel_copy *copy;  /* that the running statement may begin, or NULL */
    bool in_copy;           /* its function runs: nothing else can */
};

struct wait {
    usec_t deadline_mono; /* USEC_NEVER: none */
    bool cancellable;
};
/* Until the socket is ready: 0, -ECANCELED, -ETIMEDOUT, or what ppoll fails with. */
int pg_wait_ready(struct pg *pg, short events, struct wait wait) MUST_CHECK;
/* Until all is written: the same, or -ECONNRESET. */
int pg_flush(struct pg *pg, struct wait wait) MUST_CHECK;
/* PG_E_FAILED for a reason of our own; `text` is what the server did not say. */
int pg_refuse(struct pg *pg, const char *sqlstate, const char *text, struct cel_error *err);

/* Runs `sql`, which may be a COPY that `copy` takes part in. */
int pg_run_copy(struct pg *pg,
                const char *sql,
                struct cel_copy *copy,
                int64_t *ret_rows,
                struct cel_error *err) MUST_CHECK;
/* The server has begun a COPY of this kind. 0: it is over, its result follows; -EPROTO: not that
 * kind; -EPIPE: the server shall end it; or a code of the waits. Called again after -EPIPE and
 * -ECANCELED, it finishes what it can, without its function. */
int pg_copy_run(struct cel_copy *copy, ExecStatusType kind, struct wait wait) MUST_CHECK;

/* Parameters as the arrays that libpq wants; they borrow the texts of `params`. */
struct pg_arguments {
    const char **values;
    char **owned; /* those that were made here */
    int *lengths, *formats;
    Oid *types;
    size_t count;
};
/* 0; -ENOMEM; -EINVAL for too many parameters or one that cannot be sent. */
int pg_arguments_init(struct pg_arguments *args,
                      const struct cel_param *params,
                      size_t count) MUST_CHECK;
void pg_arguments_deinit(struct pg_arguments *args);

bool pg_param_is_null(const struct cel_param *param);
/* Appends a parameter that is not NULL as the text that its type reads. What has no such text
 * sticks in `buf`. */
void pg_add_param(struct buf *buf, const struct cel_param *param);

/* Rows around `result`, which is cleared when memory is short; then NULL. */
struct cel_rows *pg_rows_adopt(PGresult *result);
