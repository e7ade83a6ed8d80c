/*
 * libpq without its blocking calls: every wait is a ppoll() that lets PG_CANCEL_SIGNAL through, so
 * the soft time limit ends a wait without a race (the signal is blocked everywhere else), and every
 * wait for a connection has a deadline.
 *
 *     statement --send, flush--> wait for the answer --ready--> result
 *                                   | signal
 *                                   v
 *                      PQcancel --> wait (CANCEL_WAIT_USEC) --57014--> PG_E_CANCELLED
 *                                              +--nothing--> connection closed, PG_E_CANCELLED
 *
 * A statement that ends in success although it was to be cancelled is a success; the flag stays
 * PG_CANCEL_WANTED and the next wait answers PG_E_CANCELLED. A task that was told once
 * (PG_CANCEL_TOLD) may clean up with further statements.
 *
 * States of a connection: none (conn NULL) -> open, unchecked (begin of a task) -> open, checked
 * (socket looked at, age compared, in pg_connect) -> lost (until pg_reset).
 */
#include "store/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "core/buf.h"
#include "core/mem.h"
#include "store/pg_priv.h"

#define CANCEL_WAIT_USEC   (5 * USEC_PER_SEC)
#define CANCEL_AGAIN_USEC  (100 * USEC_PER_MSEC)
#define ROLLBACK_WAIT_USEC (10 * USEC_PER_SEC)

enum { PRIMARY_MAX = 240 }; /* bytes of the server's sentence in ours */

/* --- text and errors -------------------------------------------------------------------------- */

/* Adds text of libpq or the server on one line, the password replaced. */
static void add_clean(struct buf *buf, const struct pg *pg, const char *text)
{
    size_t secret = pg->password ? strlen(pg->password) : 0;
    struct str rest = str_trim(str_of(text));
    while (rest.len > 0) {
        if (secret && rest.len >= secret && memcmp(rest.ptr, pg->password, secret) == 0) {
            buf_add_c(buf, "***");
            rest = str_n(rest.ptr + secret, rest.len - secret);
            continue;
        }
        buf_add_char(buf, *rest.ptr == '\n' || *rest.ptr == '\t' ? ' ' : *rest.ptr);
        rest = str_n(rest.ptr + 1, rest.len - 1);
    }
}

int pg_set_error(struct pg *pg, int condition, struct cel_error *err, const char *text)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(MESSAGE_MAX);
    add_clean(&buf, pg, text);
    error_set(err, CEL_E_DATABASE, "database \"%s\": %s", pg->name, buf.ptr ? buf.ptr : "");
    return condition;
}

void pg_set_sqlstate(struct pg *pg, const char *sqlstate)
{
    snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", sqlstate ? sqlstate : "");
    pg->error_position = 0;
}

int pg_refuse(struct pg *pg, const char *sqlstate, const char *text, struct cel_error *err)
{
    pg_set_sqlstate(pg, sqlstate);
    return pg_set_error(pg, PG_E_FAILED, err, text);
}

static bool is_transient(const char *sqlstate)
{
    static const char *const exactly[] = {"40001", "40P01", "55P03", "53300"};
    for (size_t i = 0; i < ARRAY_SIZE(exactly); i++) {
        if (strcmp(sqlstate, exactly[i]) == 0)
            return true;
    }
    return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P0", 4) == 0;
}

/* 0A000 and 26000 are transient when a table was changed under a prepared statement (run_planned). */
bool pg_is_conflict(const struct pg *pg)
{
    static const char *const exactly[] = {"55P03", "0A000", "26000"};
    for (size_t i = 0; i < ARRAY_SIZE(exactly); i++) {
        if (strcmp(pg->sqlstate, exactly[i]) == 0)
            return true;
    }
    return strncmp(pg->sqlstate, "40", 2) == 0;
}

void pg_drop(struct pg *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg_plans_forget(pg);
}

/* The connection is gone in the middle of a task. */
static int lose(struct pg *pg, struct cel_error *err, const char *why)
{
    if (!*pg->sqlstate)
        pg_set_sqlstate(pg, "08006");
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(MESSAGE_MAX);
    buf_addf(&buf, "the connection is lost: %s", why);
    const char *text = buf_status(&buf) ? "the connection is lost" : buf.ptr;
    int r = pg_set_error(pg, PG_E_TRANSIENT, err, text);
    pg_drop(pg);
    pg->lost = true;
    return r;
}

int pg_cancelled(struct pg *pg, struct cel_error *err)
{
    *pg->cancel = PG_CANCEL_TOLD;
    pg_set_sqlstate(pg, "57014");
    return pg_set_error(pg, PG_E_CANCELLED, err, "cancelled by the soft time limit");
}

/* `text`, with "..." for what is beyond `most` bytes. */
static void add_cut(struct buf *buf, const char *text, size_t most)
{
    size_t len = strlen(text);
    if (len <= most) {
        buf_add_c(buf, text);
        return;
    }
    for (len = most; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
        len--;
    buf_add(buf, text, len);
    buf_add_c(buf, "...");
}

static void add_name(struct buf *buf, const PGresult *result, const char *what, int field)
{
    const char *name = PQresultErrorField(result, field);
    if (name)
        buf_addf(buf, "; %s \"%s\"", what, name);
}

/* "message (SQLSTATE 23505); constraint "x"; table "y"; detail": the names and numbers stand before
 * what may be long, since an error's text has an end. */
static void add_report(struct buf *buf, const PGresult *result, const char *primary)
{
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    add_cut(buf, primary, PRIMARY_MAX);
    buf_addf(buf, " (SQLSTATE %s)", PQresultErrorField(result, PG_DIAG_SQLSTATE));
    add_name(buf, result, "constraint", PG_DIAG_CONSTRAINT_NAME);
    add_name(buf, result, "schema", PG_DIAG_SCHEMA_NAME);
    add_name(buf, result, "table", PG_DIAG_TABLE_NAME);
    add_name(buf, result, "column", PG_DIAG_COLUMN_NAME);
    add_name(buf, result, "type", PG_DIAG_DATATYPE_NAME);
    if (detail)
        buf_addf(buf, "; %s", detail);
}

/* Whether the server has no such prepared statement of ours, or one whose columns are others now. A task
 * can be told the same SQLSTATE for reasons of its own. */
static bool is_stale_plan(const PGresult *result, const char *sqlstate, const char *primary)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    if (strcmp(sqlstate, "26000") == 0)
        return strstr(primary, PG_PLAN_PREFIX) != NULL;
    return strcmp(sqlstate, "0A000") == 0 && function &&
           strcmp(function, "RevalidateCachedQuery") == 0;
}

/* Turns a failed result into a condition. */
static int result_error(struct pg *pg, const PGresult *result, struct cel_error *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    pg_set_sqlstate(pg, sqlstate);
    if (position && str_parse_u64(str_of(position), &pg->error_position))
        pg->error_position = 0;
    if (!sqlstate || !primary) /* made by libpq itself: the server is gone */
        return lose(pg, err, PQresultErrorMessage(result));
    pg->plan_is_stale = is_stale_plan(result, sqlstate, primary);
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(MESSAGE_MAX);
    add_report(&buf, result, primary);
    const char *text = buf.ptr ? buf.ptr : primary;
    bool is_demoted = pg->wants_writable && !pg->is_read_only && strcmp(sqlstate, "25006") == 0;
    if (PQstatus(pg->conn) != CONNECTION_OK || is_demoted)
        return lose(pg, err, text);
    return pg_set_error(pg, is_transient(sqlstate) ? PG_E_TRANSIENT : PG_E_FAILED, err, text);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool cancel_wanted(const struct pg *pg)
{
    return pg->cancel && *pg->cancel == PG_CANCEL_WANTED;
}

int pg_wait_ready(struct pg *pg, short events, struct pg_wait wait)
{
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (wait.cancellable && pg->cancel)
        sigdelset(&mask, PG_CANCEL_SIGNAL);
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = events};
    for (;;) {
        if (wait.cancellable && cancel_wanted(pg))
            return -ECANCELED;
        struct timespec left = {0};
        if (wait.deadline_mono != USEC_NEVER) {
            usec_t now = clock_mono();
            usec_t usec = now < wait.deadline_mono ? wait.deadline_mono - now : 0;
            left.tv_sec = (time_t)(usec / USEC_PER_SEC);
            left.tv_nsec = (long)(usec % USEC_PER_SEC * 1000);
        }
        int n = ppoll(&fd, 1, wait.deadline_mono == USEC_NEVER ? NULL : &left, &mask);
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* --- the connection ---------------------------------------------------------------------------- */

/* Whether the idle connection has ended meanwhile: then its socket has something to read. */
static bool is_dead(struct pg *pg)
{
    enum { LOOKS = 100 };
    for (unsigned i = 0; i < LOOKS; i++) {
        struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
        if (PQstatus(pg->conn) != CONNECTION_OK)
            return true;
        if (poll(&fd, 1, 0) == 0)
            return false;
        if (!PQconsumeInput(pg->conn))
            return true;
        PGnotify *notify;
        while ((notify = PQnotifies(pg->conn)))
            PQfreemem(notify);
    }
    return true;
}

int pg_wait_notified(struct pg *pg, int wake_fd, usec_t usec, struct cel_error *err)
{
    int r = pg_connect(pg, err);
    if (r)
        return r;
    PGnotify *notify = PQnotifies(pg->conn);
    struct pollfd fds[] = {{.fd = PQsocket(pg->conn), .events = POLLIN},
                           {.fd = wake_fd, .events = POLLIN}};
    if (!notify && poll(fds, ARRAY_SIZE(fds), (int)(usec / USEC_PER_MSEC)) < 0 && errno != EINTR)
        return pg_set_error(pg, PG_E_TRANSIENT, err, cel_error_name(-errno));
    if (!notify && fds[0].revents && !PQconsumeInput(pg->conn))
        return lose(pg, err, PQerrorMessage(pg->conn));
    for (; notify || (notify = PQnotifies(pg->conn)); notify = NULL)
        PQfreemem(notify);
    return 0;
}

static void drop_if_unfit(struct pg *pg)
{
    if (!pg->conn)
        return;
    bool old = pg->max_age > 0 && clock_mono() - pg->opened_mono >= pg->max_age;
    if (old || is_dead(pg))
        pg_drop(pg);
}

int pg_connect(struct pg *pg, struct cel_error *err)
{
    if (pg->in_copy)
        return pg_refuse(pg, "55006", "a COPY is under way on this connection", err);
    if (pg->lost)
        return pg_set_error(pg, PG_E_TRANSIENT, err, "the connection was lost before");
    if (!pg->checked)
        drop_if_unfit(pg);
    if (!pg->conn) {
        int r = pg_open(pg, err);
        if (r)
            return r;
    }
    pg->checked = true;
    return 0;
}

/* --- statements ------------------------------------------------------------------------------- */

int pg_flush(struct pg *pg, struct pg_wait wait)
{
    int more;
    while ((more = PQflush(pg->conn)) == 1) {
        int r = pg_wait_ready(pg, POLLIN | POLLOUT, wait);
        if (r)
            return r;
        if (!PQconsumeInput(pg->conn))
            return -ECONNRESET;
    }
    return more == 0 ? 0 : -ECONNRESET;
}

static int receive(struct pg *pg, struct pg_wait wait)
{
    while (PQisBusy(pg->conn)) {
        int r = pg_wait_ready(pg, POLLIN, wait);
        if (r)
            return r;
        if (!PQconsumeInput(pg->conn))
            return -ECONNRESET;
    }
    return 0;
}

/* Tells the server to end the running statement. */
static bool cancel_on_server(struct pg *pg)
{
    char message[256];
    PGcancel *cancel = PQgetCancel(pg->conn);
    bool told = cancel && PQcancel(cancel, message, sizeof(message));
    PQfreeCancel(cancel);
    return told;
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* Gathers the results of what was sent into `*result`: the last one, or the first failed one. 0 or
 * a negative code of the waits; -EPROTO for a COPY that was not asked for, -EPIPE when it shall
 * end. */
static int collect(struct pg *pg, struct pg_wait wait, PGresult **result)
{
    int r = pg_flush(pg, wait);
    while (!r) {
        r = receive(pg, wait);
        if (r)
            break;
        PGresult *next = PQgetResult(pg->conn);
        if (!next)
            return 0;
        if (is_copy(next)) {
            r = pg->copy ? pg_copy_run(pg->copy, PQresultStatus(next), wait) : -EPROTO;
            PQclear(next);
            continue;
        }
        if (*result && !is_good(*result)) {
            PQclear(next);
            continue;
        }
        pg->statements_done += is_good(next);
        PQclear(*result);
        *result = next;
    }
    return r;
}

/* After the signal: ends the statement on the server and takes what it still answers. The server
 * ignores a request that overtakes its statement, so it is told again. */
static int collect_cancelled(struct pg *pg, PGresult **result)
{
    usec_t now = clock_mono(), end = now + CANCEL_WAIT_USEC;
    int r = -ETIMEDOUT;
    for (; r == -ETIMEDOUT && now < end; now = clock_mono()) {
        if (!cancel_on_server(pg))
            return -ECONNRESET;
        r = collect(pg, (struct pg_wait){clock_mono() + CANCEL_AGAIN_USEC, false}, result);
    }
    return r;
}

static int finish_statement(struct pg *pg, PGresult *result, PGresult **ret, struct cel_error *err)
{
    if (result && is_good(result)) {
        pg_set_sqlstate(pg, NULL);
        *ret = result;
        return 0;
    }
    int r = result ? result_error(pg, result, err) : lose(pg, err, PQerrorMessage(pg->conn));
    PQclear(result);
    return r;
}

/* `sent` is what the PQsend function returned. The caller clears the result. */
int pg_send_and_wait(
    struct pg *pg, int sent, struct pg_wait wait, PGresult **ret, struct cel_error *err)
{
    pg_set_sqlstate(pg, NULL);
    pg->plan_is_stale = false;
    pg->statements_done = 0;
    if (!sent)
        return lose(pg, err, PQerrorMessage(pg->conn));
    PGresult *result = NULL;
    bool cancelling = false;
    int r = collect(pg, wait, &result);
    if (r == -ECANCELED || r == -EPIPE) {
        cancelling = r == -ECANCELED;
        r = collect_cancelled(pg, &result);
    }
    if (r == -EPROTO) {
        lose(pg, NULL, "");
        r = pg_refuse(pg, "0A000", "COPY needs cel_copy_in() FROM STDIN, cel_copy_out() TO STDOUT",
                      err);
    } else if (r && cancelling) {
        lose(pg, NULL, "");
        r = pg_cancelled(pg, err);
    } else if (r) {
        const char *why = r == -ECONNRESET ? PQerrorMessage(pg->conn) : cel_error_name(r);
        r = lose(pg, err, why);
    } else {
        r = finish_statement(pg, result, ret, err);
        result = NULL;
        if (r && cancelling && strcmp(pg->sqlstate, "57014") == 0)
            r = pg_cancelled(pg, err);
    }
    PQclear(result);
    return r;
}

usec_t pg_answer_deadline(const struct pg *pg)
{
    return pg->patience ? clock_mono() + pg->patience : USEC_NEVER;
}

static int
run_simple(struct pg *pg, const char *sql, bool cancellable, PGresult **ret, struct cel_error *err)
{
    int r = pg_connect(pg, err);
    if (r)
        return r;
    if (cancellable && cancel_wanted(pg))
        return pg_cancelled(pg, err);
    r = pg_limits_apply(pg, err);
    if (r)
        return r;
    struct pg_wait wait = {pg_answer_deadline(pg), cancellable};
    return pg_send_and_wait(pg, PQsendQuery(pg->conn, sql), wait, ret, err);
}

/* Rows for the caller, if it wants them. */
static int
hand_out(struct pg *pg, PGresult *result, struct cel_rows **ret_rows, struct cel_error *err)
{
    if (!ret_rows) {
        PQclear(result);
        return 0;
    }
    *ret_rows = pg_rows_adopt(result);
    return *ret_rows ? 0 : pg_set_error(pg, PG_E_TRANSIENT, err, "out of memory");
}

int pg_exec_rows(struct pg *pg, const char *sql, struct cel_rows **ret_rows, struct cel_error *err)
{
    PGresult *result = NULL;
    int r = run_simple(pg, sql, true, &result, err);
    return r ? r : hand_out(pg, result, ret_rows, err);
}

int pg_exec(struct pg *pg, const char *sql, struct cel_error *err)
{
    return pg_exec_rows(pg, sql, NULL, err);
}

int pg_begin(struct pg *pg,
             bool read_only,
             const char *first,
             struct cel_rows **ret_rows,
             struct cel_error *err)
{
    int r = pg_connect(pg, err);
    if (r)
        return r;
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SIZE_MAX / 2);
    buf_add_c(&sql, read_only ? "BEGIN READ ONLY" : "BEGIN");
    pg_limits_add_local(pg, &sql);
    buf_addf(&sql, *first ? "; %s" : "%s", first);
    if (buf_status(&sql))
        return pg_set_error(pg, PG_E_TRANSIENT, err, "out of memory");
    pg->is_read_only = read_only;
    return pg_exec_rows(pg, sql.ptr, ret_rows, err);
}

int pg_commit_with(struct pg *pg, const char *last, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SIZE_MAX / 2);
    PGresult *result = NULL;
    buf_add_c(&sql, last);
    buf_add_c(&sql, "COMMIT");
    if (buf_status(&sql))
        return pg_set_error(pg, PG_E_TRANSIENT, err, "out of memory");
    int r = run_simple(pg, sql.ptr, false, &result, err);
    if (!r && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        pg_set_sqlstate(pg, "25P02");
        r = pg_set_error(
            pg, PG_E_FAILED, err,
            "the transaction was rolled back: a statement in it had failed (SQLSTATE 25P02)");
    }
    PQclear(result);
    return r;
}

int pg_commit(struct pg *pg, struct cel_error *err)
{
    return pg_commit_with(pg, "", err);
}

int pg_exec_anyway(struct pg *pg, const char *sql, struct cel_error *err)
{
    PGresult *result = NULL;
    int r = run_simple(pg, sql, false, &result, err);
    PQclear(result);
    return r;
}

int pg_rollback(struct pg *pg, struct cel_error *err)
{
    return pg_exec_anyway(pg, "ROLLBACK", err);
}

int pg_run_copy(
    struct pg *pg, const char *sql, struct cel_copy *copy, int64_t *ret_rows, struct cel_error *err)
{
    struct cel_copy *outer = pg->copy;
    PGresult *result = NULL;
    pg->copy = copy;
    int r = run_simple(pg, sql, true, &result, err);
    pg->copy = outer;
    if (!r && str_parse_i64(str_of(PQcmdTuples(result)), ret_rows))
        *ret_rows = 0;
    PQclear(result);
    return r;
}

int pg_savepoint(struct pg *pg, const char *verb, const char *name, struct cel_error *err)
{
    int r = pg_connect(pg, err);
    if (r)
        return r;
    char *quoted = PQescapeIdentifier(pg->conn, name, strlen(name));
    if (!quoted)
        return pg_set_error(pg, PG_E_FAILED, err, "the name of the savepoint is not valid text");
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(4096);
    buf_addf(&sql, "%s %s", verb, quoted);
    PQfreemem(quoted);
    if (buf_status(&sql))
        return pg_set_error(pg, PG_E_FAILED, err, "the name of the savepoint is too long");
    bool sets = strcmp(verb, "SAVEPOINT") == 0;
    return sets ? pg_exec(pg, sql.ptr, err) : pg_exec_anyway(pg, sql.ptr, err);
}

/* Outside of a transaction a statement whose plan the server cannot use any more has done nothing, and
 * is sent once more; inside, the transaction is lost, and another run will do. */
static int run_planned(struct pg *pg,
                       const char *sql,
                       const struct pg_arguments *args,
                       size_t count,
                       PGresult **ret,
                       struct cel_error *err)
{
    for (bool again = false;; again = true) {
        struct pg_plan *plan = NULL;
        int sent, r = pg_plans_send(pg, sql, args, count, &sent, &plan, err);
        if (r)
            return r;
        r = pg_send_and_wait(pg, sent, (struct pg_wait){pg_answer_deadline(pg), true}, ret, err);
        if (r != PG_E_FAILED || !plan || !pg->plan_is_stale)
            return r;
        pg_plan_forget(plan);
        if (pg_in_transaction(pg))
            return PG_E_TRANSIENT;
        if (again)
            return r;
    }
}

static int run_once(struct pg *pg,
                    const char *sql,
                    const struct pg_arguments *args,
                    size_t count,
                    PGresult **ret,
                    struct cel_error *err)
{
    int sent = PQsendQueryParams(pg->conn, sql, (int)count, args->types, args->values,
                                 args->lengths, args->formats, 0);
    return pg_send_and_wait(pg, sent, (struct pg_wait){pg_answer_deadline(pg), true}, ret, err);
}

static int query(struct pg *pg,
                 bool repeats,
                 const char *sql,
                 const struct cel_param *params,
                 size_t count,
                 struct cel_rows **ret_rows,
                 struct cel_error *err)
{
    int r = pg_connect(pg, err);
    if (r)
        return r;
    if (cancel_wanted(pg))
        return pg_cancelled(pg, err);
    r = pg_limits_apply(pg, err);
    if (r)
        return r;
    struct pg_arguments args;
    PGresult *result = NULL;
    r = pg_arguments_init(&args, params, count);
    if (r) {
        const char *sqlstate = r == -ENOMEM ? "53200" : "22023";
        r = pg_refuse(pg, sqlstate, "a parameter is none that can be sent", err);
    } else {
        r = repeats ? run_planned(pg, sql, &args, count, &result, err)
                    : run_once(pg, sql, &args, count, &result, err);
    }
    pg_arguments_deinit(&args);
    return r ? r : hand_out(pg, result, ret_rows, err);
}

int pg_query(struct pg *pg,
             const char *sql,
             const struct cel_param *params,
             size_t param_count,
             struct cel_rows **ret_rows,
             struct cel_error *err)
{
    return query(pg, true, sql, params, param_count, ret_rows, err);
}

int pg_query_once(struct pg *pg,
                  const char *sql,
                  const struct cel_param *params,
                  size_t param_count,
                  struct cel_rows **ret_rows,
                  struct cel_error *err)
{
    return query(pg, false, sql, params, param_count, ret_rows, err);
}

/* --- life ------------------------------------------------------------------------------------- */

struct pg *pg_new(const char *name, const char *uri, usec_t max_age, volatile sig_atomic_t *cancel)
{
    struct pg *pg = mem_new(struct pg);
    if (!pg)
        return NULL;
    pg->name = str_dup(str_of(name));
    pg->uri = str_dup(str_of(uri));
    pg->max_age = max_age;
    pg->cancel = cancel;
    pg->soft_mono = pg->hard_mono = USEC_NEVER;
    if (!pg->name || !pg->uri || pg_read_uri(pg))
        return pg_free(pg);
    return pg;
}

void pg_set_patience(struct pg *pg, usec_t usec)
{
    pg->patience = usec;
}

struct pg *pg_free(struct pg *pg)
{
    if (!pg)
        return NULL;
    pg_drop(pg);
    mem_free(pg->name);
    mem_free(pg->uri);
    mem_free(pg->password);
    mem_free(pg);
    return NULL;
}

void pg_add_literal(const struct pg *pg, struct buf *sql, struct str text)
{
    char *literal = text.ptr ? PQescapeLiteral(pg->conn, text.ptr, text.len) : NULL;
    if (text.ptr && !literal)
        sql->status = sql->status ? sql->status : -EINVAL;
    else
        buf_add_c(sql, literal ? literal : "NULL");
    PQfreemem(literal);
}

bool pg_in_transaction(const struct pg *pg)
{
    PGTransactionStatusType status = pg->conn ? PQtransactionStatus(pg->conn) : PQTRANS_IDLE;
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

bool pg_is_pooled(const struct pg *pg)
{
    return pg->conn && pg->is_pooled;
}

bool pg_is_lost(const struct pg *pg)
{
    return pg->lost;
}

bool pg_reset(struct pg *pg)
{
    bool left_open = pg_in_transaction(pg);
    if (left_open) {
        PGresult *result = NULL;
        struct pg_wait wait = {clock_mono() + ROLLBACK_WAIT_USEC, false};
        if (pg_send_and_wait(pg, PQsendQuery(pg->conn, "ROLLBACK"), wait, &result, NULL) == 0)
            PQclear(result);
    }
    pg->lost = false;
    pg->checked = false;
    pg->is_read_only = false;
    pg->soft_mono = pg->hard_mono = USEC_NEVER;
    pg_set_sqlstate(pg, NULL);
    drop_if_unfit(pg);
    return left_open;
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

size_t pg_error_position(const struct pg *pg)
{
    return (size_t)pg->error_position;
}

size_t pg_statements_done(const struct pg *pg)
{
    return pg->statements_done;
}
