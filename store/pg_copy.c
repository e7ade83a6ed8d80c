/*
 * COPY, a statement with the caller's function in the middle. No state of it is left over: whatever
 * the function, the server or the soft limit does, the statement is over when the call returns.
 *
 *     COPY --begun--> function --0--> CopyDone --> result
 *                        |  \--else, FROM--> CopyFail --> result (57014): PG_E_STOPPED
 *                        |   \-else, TO----> PQcancel, the rest dropped --> result: PG_E_STOPPED
 *                        +--soft limit--> PQcancel --> result (57014): PG_E_CANCELLED
 *
 * An error of the server shows at the end: libpq does not tell it earlier, and the server drops the
 * rest. Rows wait here until they are worth sending; then the socket takes them all, so memory
 * stays flat.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "core/mem.h"
#include "store/pg_priv.h"

enum { CHUNK = 64 * 1024 };

struct cel_copy {
    struct pg *pg;
    cel_copy_in_fn *in; /* or */
    cel_copy_out_fn *out;
    void *data;
    struct pg_wait wait;
    bool begun;
    int said;             /* by the function */
    int status;           /* 0, or why nothing can be written any more; the first failure sticks */
    size_t rows;          /* written */
    struct buf lines;     /* not sent yet */
    struct buf value;     /* of one column */
    size_t since_looking; /* bytes */
};

/* --- the soft limit --------------------------------------------------------------------------- */

/* A socket that is always ready never lets the signal through. */
static bool is_struck(struct cel_copy *copy, size_t bytes)
{
    struct pg *pg = copy->pg;
    copy->since_looking += bytes;
    if (!pg->cancel || !copy->wait.cancellable || copy->since_looking < CHUNK)
        return false;
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, PG_CANCEL_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &signals, &before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    copy->since_looking = 0;
    return *pg->cancel == PG_CANCEL_WANTED;
}

/* --- in --------------------------------------------------------------------------------------- */

static int send_chunk(struct cel_copy *copy, const char *bytes, size_t length)
{
    if (is_struck(copy, length))
        return -ECANCELED;
    if (PQputCopyData(copy->pg->conn, bytes, (int)length) != 1)
        return -ECONNRESET;
    return pg_flush(copy->pg, copy->wait);
}

static void send_bytes(struct cel_copy *copy, const char *bytes, size_t length)
{
    while (!copy->status && length > 0) {
        size_t chunk = length < CHUNK ? length : CHUNK;
        copy->status = send_chunk(copy, bytes, chunk);
        bytes += chunk;
        length -= chunk;
    }
}

static void send_lines(struct cel_copy *copy)
{
    if (!copy->status)
        copy->status = buf_status(&copy->lines);
    send_bytes(copy, copy->lines.ptr, copy->lines.len);
    buf_clear(&copy->lines);
}

/* What the function shall return. */
static int outcome_of(const struct cel_copy *copy)
{
    switch (copy->status) {
    case 0:
        return 0;
    case -ECANCELED:
        return CEL_CANCELLED;
    case -EINVAL:
    case -ENOMEM:
        return CEL_FAIL;
    default:
        return CEL_RETRY;
    }
}

static void add_escaped(struct buf *lines, const char *text)
{
    for (; *text; text++) {
        size_t plain = strcspn(text, "\\\t\n\r");
        buf_add(lines, text, plain);
        text += plain;
        if (!*text)
            return;
        buf_add_char(lines, '\\');
        buf_add_char(lines, *text == '\t' ? 't' : *text == '\n' ? 'n' : *text == '\r' ? 'r' : '\\');
    }
}

static void add_column(struct cel_copy *copy, const struct cel_param *column)
{
    struct buf *value = &copy->value;
    if (pg_param_is_null(column)) {
        buf_add_c(&copy->lines, "\\N");
        return;
    }
    if (column->type == CEL_P_TEXT) {
        add_escaped(&copy->lines, column->data);
        return;
    }
    buf_clear(value);
    pg_add_param(value, column);
    if (buf_status(value))
        copy->status = buf_status(value) == -ENOMEM ? -ENOMEM : -EINVAL;
    else
        add_escaped(&copy->lines, value->len ? value->ptr : "");
}

int cel_copy_row(struct cel_copy *copy, const struct cel_param *columns, size_t count)
{
    copy->rows += !copy->status;
    for (size_t i = 0; i < count && !copy->status; i++) {
        if (i)
            buf_add_char(&copy->lines, '\t');
        add_column(copy, &columns[i]);
    }
    buf_add_char(&copy->lines, '\n');
    if (copy->lines.len >= CHUNK || copy->status)
        send_lines(copy);
    return outcome_of(copy);
}

int cel_copy_text(struct cel_copy *copy, const char *text, size_t length)
{
    if (copy->lines.len + length >= CHUNK || copy->status)
        send_lines(copy);
    if (length >= CHUNK)
        send_bytes(copy, text, length);
    else
        buf_add(&copy->lines, text, length);
    return outcome_of(copy);
}

static int run_in(struct cel_copy *copy, struct pg_wait wait)
{
    struct pg *pg = copy->pg;
    if (!copy->begun) {
        copy->begun = true;
        copy->wait = wait;
        pg->in_copy = true;
        copy->said = copy->in(copy, copy->data);
        pg->in_copy = false;
        if (!copy->said)
            send_lines(copy);
    }
    bool ours = copy->status == -EINVAL || copy->status == -ENOMEM;
    bool told = copy->status == -ECANCELED && !wait.cancellable;
    if (copy->status && !ours && !told)
        return copy->status;
    const char *reason = copy->said || copy->status ? "the writer gave it up" : NULL;
    return PQputCopyEnd(pg->conn, reason) == 1 ? pg_flush(pg, wait) : -ECONNRESET;
}

/* --- out -------------------------------------------------------------------------------------- */

/* The next row: its length, 0 at the end, or a code of the waits. */
static int next_row(struct cel_copy *copy, struct pg_wait wait, char **ret_row)
{
    PGconn *conn = copy->pg->conn;
    int length;
    while ((length = PQgetCopyData(conn, ret_row, 1)) == 0) {
        int r = pg_wait_ready(copy->pg, POLLIN, wait);
        if (r)
            return r;
        if (!PQconsumeInput(conn))
            return -ECONNRESET;
    }
    return length == -1 ? 0 : length < 0 ? -ECONNRESET : length;
}

static int run_out(struct cel_copy *copy, struct pg_wait wait)
{
    bool drop = copy->begun; /* it was called before, and shall end */
    copy->begun = true;
    copy->wait = wait;
    for (;;) {
        char *row;
        int length = next_row(copy, wait, &row);
        if (length <= 0)
            return length;
        copy->pg->in_copy = true;
        if (!drop)
            copy->said = copy->out(copy->data, row, (size_t)length);
        copy->pg->in_copy = false;
        PQfreemem(row);
        if (!drop && copy->said)
            return -EPIPE;
        if (is_struck(copy, (size_t)length))
            return -ECANCELED;
    }
}

/* --- both ------------------------------------------------------------------------------------- */

int pg_copy_run(struct cel_copy *copy, ExecStatusType kind, struct pg_wait wait)
{
    if (kind != (copy->in ? PGRES_COPY_IN : PGRES_COPY_OUT))
        return -EPROTO;
    return copy->in ? run_in(copy, wait) : run_out(copy, wait);
}

/* The reason is ours, the function's or the server's, in this order. */
static int conclude(const struct cel_copy *copy, int r, struct cel_error *err)
{
    if (r == PG_E_FAILED && copy->status) {
        char text[80];
        snprintf(text, sizeof(text), "row %zu has a value that cannot be written", copy->rows);
        return pg_refuse(copy->pg, copy->status == -ENOMEM ? "53200" : "22023", text, err);
    }
    if ((!r || r == PG_E_FAILED) && copy->said)
        return PG_E_STOPPED;
    if (!r && !copy->begun)
        return pg_refuse(copy->pg, "42601", copy->in ? "no COPY FROM STDIN" : "no COPY TO STDOUT",
                         err);
    return r;
}

static int run(struct cel_copy *copy, const char *sql, struct pg_copied *ret, struct cel_error *err)
{
    copy->lines = copy->value = BUF_INIT(SIZE_MAX / 2);
    int r = pg_run_copy(copy->pg, sql, copy, &ret->rows, err);
    r = conclude(copy, r, err);
    ret->said = copy->said;
    buf_deinit(&copy->lines);
    buf_deinit(&copy->value);
    return r;
}

int pg_copy_in(struct pg *pg,
               const char *sql,
               cel_copy_in_fn *fn,
               void *data,
               struct pg_copied *ret,
               struct cel_error *err)
{
    struct cel_copy copy = {.pg = pg, .in = fn, .data = data};
    return run(&copy, sql, ret, err);
}

int pg_copy_out(struct pg *pg,
                const char *sql,
                cel_copy_out_fn *fn,
                void *data,
                struct pg_copied *ret,
                struct cel_error *err)
{
    struct cel_copy copy = {.pg = pg, .out = fn, .data = data};
    return run(&copy, sql, ret, err);
}
