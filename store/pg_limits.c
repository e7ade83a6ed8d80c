/*
 * The limits of the task as time-outs of the server. The supervisor kills a process at the hard
 * limit, and the server sees that within PG_CHECK_INTERVAL; but not when another process has
 * inherited the socket, when the machine died, or when a pooler keeps its own connection. So a
 * statement also has a time-out, a little behind the kill, which stays the first to tell. A wait
 * for a lock ends before the limit: that can be tried again.
 *
 * Both count in steps, so that tasks of one kind agree on them and a session need not be told anew
 * for each. A pooler lends another session for each transaction; there they go with its BEGIN.
 */
#include "store/pg_priv.h"

#define STEP_USEC  (500 * USEC_PER_MSEC)
#define GRACE_USEC (500 * USEC_PER_MSEC) /* and at most a step more */

/* In steps that have begun, as ms. */
static int64_t ms_until(usec_t mono, usec_t later)
{
    usec_t now = clock_mono(), left = (mono > now ? mono - now : 0) + later;
    return (int64_t)((left + STEP_USEC - 1) / STEP_USEC * (STEP_USEC / USEC_PER_MSEC));
}

/* The server's own time-out stands when it is shorter. */
static int64_t shorter(int64_t own, int64_t ms)
{
    if (ms > INT32_MAX) /* more than the server takes: 24 days */
        ms = 0;
    return ms > 0 && (own == 0 || ms < own) ? ms : own;
}

static struct pg_timeouts wanted(const struct pg *pg)
{
    struct pg_timeouts timeouts = pg->own;
    usec_t first_mono = pg->soft_mono < pg->hard_mono ? pg->soft_mono : pg->hard_mono;
    if (pg->hard_mono != USEC_NEVER)
        timeouts.statement = shorter(timeouts.statement, ms_until(pg->hard_mono, GRACE_USEC));
    if (first_mono != USEC_NEVER)
        timeouts.lock = shorter(timeouts.lock, ms_until(first_mono, 0) * 3 / 4);
    return timeouts;
}

void pg_set_limits(struct pg *pg, usec_t soft_mono, usec_t hard_mono)
{
    pg->soft_mono = soft_mono;
    pg->hard_mono = hard_mono;
}

int pg_limits_apply(struct pg *pg, struct cel_error *err)
{
    if (pg->is_pooled || PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        return 0;
    struct pg_timeouts timeouts = wanted(pg);
    if (timeouts.statement == pg->current.statement && timeouts.lock == pg->current.lock)
        return 0;
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(256);
    PGresult *result = NULL;
    buf_addf(&sql, "SET statement_timeout = %lld; SET lock_timeout = %lld",
             (long long)timeouts.statement, (long long)timeouts.lock);
    if (buf_status(&sql))
        return pg_set_error(pg, PG_E_TRANSIENT, err, "out of memory");
    int r = pg_send_and_wait(pg, PQsendQuery(pg->conn, sql.ptr),
                             (struct pg_wait){pg_answer_deadline(pg), true}, &result, err);
    PQclear(result);
    if (!r)
        pg->current = timeouts;
    return r;
}

void pg_limits_add_local(const struct pg *pg, struct buf *sql)
{
    if (!pg->is_pooled)
        return;
    struct pg_timeouts timeouts = wanted(pg);
    if (pg->can_check)
        buf_add_c(sql, "; SET LOCAL client_connection_check_interval = '" PG_CHECK_INTERVAL "'");
    if (timeouts.statement != pg->own.statement)
        buf_addf(sql, "; SET LOCAL statement_timeout = %lld", (long long)timeouts.statement);
    if (timeouts.lock != pg->own.lock)
        buf_addf(sql, "; SET LOCAL lock_timeout = %lld", (long long)timeouts.lock);
}
