#include "store/outbox.h"

#include <stdio.h>

int outbox_open(struct pg *pg, char identity[OUTBOX_IDENTITY_SIZE], struct cel_error *err)
{
    struct cel_rows *rows = NULL;
    int r = pg_connect(pg, err);
    if (!r && !pg_is_pooled(pg)) /* else it would be another session that is told */
        r = pg_exec(pg, "LISTEN celeriac_outbox", err);
    if (!r)
        r = pg_exec_rows(pg, "SELECT id FROM celeriac.identity", &rows, err);
    if (!r)
        snprintf(identity, OUTBOX_IDENTITY_SIZE, "%s", cel_row_text(rows, 0, "id"));
    cel_rows_free(rows);
    return r;
}

int outbox_take(struct pg *pg, size_t most, struct cel_rows **ret_rows, struct cel_error *err)
{
    char sql[80];
    snprintf(sql, sizeof(sql), "SELECT * FROM celeriac.outbox_take(%zu)", most);
    return pg_begin(pg, false, sql, ret_rows, err);
}

struct outbox_row outbox_row(const struct cel_rows *rows, size_t i)
{
    return (struct outbox_row){
        .number = cel_row_int(rows, i, "number"),
        .id = pg_row_text(rows, i, "id"),
        .created_wall = (usec_t)cel_row_int(rows, i, "created_ms") * USEC_PER_MSEC,
        .call = pg_row_text(rows, i, "call"),
        .queue = pg_row_text(rows, i, "queue"),
        .message = pg_row_text(rows, i, "message"),
        .step = cel_row_int(rows, i, "step"),
    };
}

static int no_memory(struct cel_error *err)
{
    error_no_memory(err);
    return PG_E_TRANSIENT;
}

int outbox_end(struct pg *pg, const struct outbox_end *ends, size_t count, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SIZE_MAX / 2);
    size_t published = 0;
    int r = pg_connect(pg, err);
    if (r)
        return r;
    for (size_t i = 0; i < count; i++) {
        if (ends[i].refused) {
            buf_add_c(&sql, "UPDATE celeriac.outbox SET refused = ");
            pg_add_literal(pg, &sql, str_of(ends[i].refused));
            buf_addf(&sql, " WHERE number = %lld;", (long long)ends[i].number);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (ends[i].refused)
            continue;
        buf_add_c(&sql, published++ ? "," : "DELETE FROM celeriac.outbox WHERE number IN (");
        buf_add_i64(&sql, ends[i].number);
    }
    buf_add_c(&sql, published ? ");" : "");
    return buf_status(&sql) ? no_memory(err) : pg_commit_with(pg, sql.ptr, err);
}
