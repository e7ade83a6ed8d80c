/*
 * The inside of a connection, for the files that make it up: pg.c (waiting and statements),
 * pg_connect.c (how it is opened), pg_limits.c (time-outs on the server), pg_plans.c (prepared
 * statements), pg_params.c (what goes in), pg_rows.c (what comes out) and pg_copy.c (COPY). Nobody
 * else includes it.
 */
#pragma once

#include <libpq-fe.h>

#include "store/pg.h"

/* Every one that was prepared costs the server some kilobytes, and so does every process. */
enum { SQLSTATE_LEN = 5, MESSAGE_MAX = 16384, PLANS_MAX = 64 };
/* How soon the server sees that the process is gone for which it runs a statement. */
#define PG_CHECK_INTERVAL "250ms"
#define PG_PLAN_PREFIX    "celeriac_plan_" /* names of prepared statements */

struct pg_timeouts { /* of the server, in ms; 0: none */
    int64_t statement, lock;
};

struct pg_plan {
    char *sql; /* NULL: free */
    Oid *types;
    size_t count;
    uint64_t used;   /* pg_plans.uses when it was used last */
    uint64_t number; /* of its name; 0: seen once, not prepared yet */
};

struct pg_plans {
    struct pg_plan items[PLANS_MAX];
    uint64_t uses, names;
};

struct pg {
    char *name, *uri;
    char *password; /* from the URI, to keep it out of messages; or NULL */
    usec_t max_age, connect_wait, patience;
    volatile sig_atomic_t *cancel;
    PGconn *conn;
    usec_t opened_mono;
    bool wants_writable; /* target_session_attrs: a server that is read-only now is a wrong one */
    bool is_read_only;   /* the transaction, because it was begun so */
    bool checked, lost;
    bool is_pooled; /* a pooler stands between: each transaction may have another session */
    bool can_check; /* the server knows PG_CHECK_INTERVAL */
    struct pg_timeouts own, current; /* as the session began, and as it is; not when pooled */
    usec_t soft_mono, hard_mono;     /* the limits of the task; USEC_NEVER: none */
    struct pg_plans plans;
    char sqlstate[SQLSTATE_LEN + 1];
    uint64_t error_position;
    bool plan_is_stale;     /* the last failure was the prepared statement's, not the task's */
    size_t statements_done; /* of what was sent last */
    struct cel_copy *copy;  /* that the running statement may begin, or NULL */
    bool in_copy;           /* its function runs: nothing else can */
};

/* --- pg.c ------------------------------------------------------------------------------------- */

struct pg_wait {
    usec_t deadline_mono; /* USEC_NEVER: none */
    bool cancellable;
};
/* Until the socket is ready: 0, -ECANCELED, -ETIMEDOUT, or what ppoll fails with. */
int pg_wait_ready(struct pg *pg, short events, struct pg_wait wait) MUST_CHECK;
/* Until all is written: the same, or -ECONNRESET. */
int pg_flush(struct pg *pg, struct pg_wait wait) MUST_CHECK;
/* The answer to what was sent; `sent` is what the PQsend function returned. The caller clears the
 * result. 0 or a condition. */
int pg_send_and_wait(
    struct pg *pg, int sent, struct pg_wait wait, PGresult **ret, struct cel_error *err) MUST_CHECK;
/* How long the answer to a statement may take. */
usec_t pg_answer_deadline(const struct pg *pg);

/* These return their condition. */
int pg_set_error(struct pg *pg, int condition, struct cel_error *err, const char *text);
int pg_cancelled(struct pg *pg, struct cel_error *err);
/* PG_E_FAILED for a reason of our own; `text` is what the server did not say. */
int pg_refuse(struct pg *pg, const char *sqlstate, const char *text, struct cel_error *err);
void pg_set_sqlstate(struct pg *pg, const char *sqlstate);
void pg_drop(struct pg *pg); /* closes it, if it is open */

/* Runs `sql`, which may be a COPY that `copy` takes part in. */
int pg_run_copy(struct pg *pg,
                const char *sql,
                struct cel_copy *copy,
                int64_t *ret_rows,
                struct cel_error *err) MUST_CHECK;

/* --- pg_connect.c ----------------------------------------------------------------------------- */

/* What the URI says beside the connection itself. 0 or -ENOMEM; a URI that cannot be understood
 * fails at pg_open. */
int pg_read_uri(struct pg *pg) MUST_CHECK;
int pg_open(struct pg *pg, struct cel_error *err) MUST_CHECK;

/* --- pg_limits.c ------------------------------------------------------------------------------ */

/* Before a statement: gives a session of our own the time-outs of the task. 0 or a condition. */
int pg_limits_apply(struct pg *pg, struct cel_error *err) MUST_CHECK;
/* The same for the transaction that a pooler gives us: appends statements to "BEGIN". */
void pg_limits_add_local(const struct pg *pg, struct buf *sql);

/* --- pg_copy.c -------------------------------------------------------------------------------- */

/* The server has begun a COPY of this kind. 0: it is over, its result follows; -EPROTO: not that
 * kind; -EPIPE: the server shall end it; or a code of the waits. Called again after -EPIPE and
 * -ECANCELED, it finishes what it can, without its function. */
int pg_copy_run(struct cel_copy *copy, ExecStatusType kind, struct pg_wait wait) MUST_CHECK;

/* --- pg_params.c, pg_rows.c ------------------------------------------------------------------- */

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

/* --- pg_plans.c ------------------------------------------------------------------------------- */

/*
 * Sends the statement: prepared, when it was seen before. `*ret_plan` is what was used, or NULL. 0;
 * a condition, when it could not be prepared.
 */
int pg_plans_send(struct pg *pg,
                  const char *sql,
                  const struct pg_arguments *args,
                  size_t count,
                  int *ret_sent,
                  struct pg_plan **ret_plan,
                  struct cel_error *err) MUST_CHECK;
/* One that the server cannot use any more; what it still keeps of it goes with the connection. */
void pg_plan_forget(struct pg_plan *plan);
void pg_plans_forget(struct pg *pg); /* all: the connection is gone */
