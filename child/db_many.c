/* Many rows at flat memory: cursors, and COPY both ways (celeriac/db.h). */
#include <inttypes.h>
#include <stdio.h>

#include "child/task.h"
#include "core/mem.h"

enum { CHUNK_DEFAULT = 1000 };

/* --- cursors ---------------------------------------------------------------------------------- */

/* A cursor of SQL's: every fetch is a statement like others, so errors, the soft limit and
 * statements in between need nothing of their own. */
struct cel_cursor {
    struct cel_db *db;
    char name[40];
    size_t chunk;
    struct cel_rows *rows; /* handed out */
    bool at_end;
};

static struct cel_cursor *cursor_free(struct cel_cursor *cursor)
{
    cel_rows_free(cursor->rows);
    mem_free(cursor);
    return NULL;
}

int cel_cursor_open(struct cel_db *db,
                    const char *sql,
                    const struct cel_param *params,
                    size_t param_count,
                    size_t chunk,
                    struct cel_cursor **ret_cursor)
{
    CLEANUP(buf_deinit) struct buf declare = BUF_INIT(SIZE_MAX / 2);
    struct cel_cursor *cursor = mem_new(struct cel_cursor);
    *ret_cursor = NULL;
    if (cursor) {
        *cursor = (struct cel_cursor){.db = db, .chunk = chunk ? chunk : CHUNK_DEFAULT};
        snprintf(cursor->name, sizeof(cursor->name), "celeriac_%" PRIu64, ++db->cursors);
        buf_addf(&declare, "DECLARE %s NO SCROLL CURSOR FOR ", cursor->name);
        buf_add_c(&declare, sql);
    }
    if (!cursor || buf_status(&declare)) {
        mem_free(cursor);
        return task_record(db->task, BY_HELPER, RECORDED_FAIL, "MemoryError", "out of memory");
    }
    struct cel_error err = {0};
    int r = pg_query_once(db->pg, declare.ptr, params, param_count, NULL, &err);
    r = database_settle(db, r, &err);
    *ret_cursor = r ? cursor_free(cursor) : cursor;
    return r;
}

int cel_cursor_next(struct cel_cursor *cursor, const struct cel_rows **ret_rows)
{
    char fetch[96];
    cursor->rows = cel_rows_free(cursor->rows);
    *ret_rows = NULL;
    if (cursor->at_end)
        return 0;
    snprintf(fetch, sizeof(fetch), "FETCH FORWARD %zu FROM %s", cursor->chunk, cursor->name);
    struct cel_error err = {0};
    struct cel_db *db = cursor->db;
    int r = database_settle(db, pg_exec_rows(db->pg, fetch, &cursor->rows, &err), &err);
    if (r)
        return r;
    size_t count = cel_rows_count(cursor->rows);
    cursor->at_end = count < cursor->chunk;
    if (count > 0)
        *ret_rows = cursor->rows;
    return 0;
}

/* After a failure the cursor goes with what is rolled back; a transaction that is over has taken it
 * along. The success of closing does not clear what was recorded. */
struct cel_cursor *cel_cursor_close(struct cel_cursor *cursor)
{
    if (!cursor)
        return NULL;
    struct cel_db *db = cursor->db;
    if (pg_in_transaction(db->pg) && !*pg_sqlstate(db->pg)) {
        char close[64];
        struct cel_error err = {0};
        snprintf(close, sizeof(close), "CLOSE %s", cursor->name);
        database_settle_undo(db, pg_exec_anyway(db->pg, close, &err), &err);
    }
    return cursor_free(cursor);
}

/* --- COPY ------------------------------------------------------------------------------------- */

static int
settle_copy(struct cel_db *db, int r, const struct pg_copied *copied, const struct cel_error *err)
{
    return r == PG_E_STOPPED ? copied->said : database_settle(db, r, err);
}

int cel_copy_in(
    struct cel_db *db, const char *sql, cel_copy_in_fn *fn, void *data, int64_t *ret_rows)
{
    struct cel_error err = {0};
    struct pg_copied copied = {0};
    int r = settle_copy(db, pg_copy_in(db->pg, sql, fn, data, &copied, &err), &copied, &err);
    if (!r && ret_rows)
        *ret_rows = copied.rows;
    return r;
}

int cel_copy_out(
    struct cel_db *db, const char *sql, cel_copy_out_fn *fn, void *data, int64_t *ret_rows)
{
    struct cel_error err = {0};
    struct pg_copied copied = {0};
    int r = settle_copy(db, pg_copy_out(db->pg, sql, fn, data, &copied, &err), &copied, &err);
    if (!r && ret_rows)
        *ret_rows = copied.rows;
    return r;
}
