#include "store/effect.h"

#include "core/buf.h"

static int write_error(struct cel_error *err)
{
    error_set(err, CEL_E_DATABASE, "out of memory, or what is to be written is no UTF-8 text");
    return PG_E_FAILED;
}

int effect_begin(
    struct pg *pg, struct str id, bool given_up, struct cel_rows **ret_done, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(4096);
    int r = pg_connect(pg, err);
    if (r)
        return r;
    buf_add_c(&sql, "SELECT * FROM celeriac.effect_begin(");
    pg_add_literal(pg, &sql, id);
    buf_add_c(&sql, given_up ? ", true)" : ", false)");
    if (buf_status(&sql))
        return write_error(err);
    struct cel_rows *rows;
    r = pg_begin(pg, false, sql.ptr, &rows, err);
    if (r)
        return r;
    *ret_done = cel_rows_count(rows) ? rows : cel_rows_free(rows);
    return 0;
}

int effect_commit(struct pg *pg, const struct effect *effect, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SIZE_MAX / 2);
    const struct str arguments[] = {effect->id,          effect->task,
                                    effect->result_json, effect->children_json,
                                    effect->sends_json,  effect->chords_json};
    int r = pg_connect(pg, err);
    if (r)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
        buf_add_c(&sql, i ? ", " : "SELECT celeriac.effect_end(");
        pg_add_literal(pg, &sql, arguments[i]);
    }
    buf_add_c(&sql, ");");
    return buf_status(&sql) ? write_error(err) : pg_commit_with(pg, sql.ptr, err);
}

int effect_expire(struct pg *pg, struct cel_error *err)
{
    return pg_exec(pg, "SELECT celeriac.effect_expire()", err);
}

struct str effect_result(const struct cel_rows *done)
{
    return pg_row_text(done, 0, "result");
}

struct str effect_children(const struct cel_rows *done)
{
    return pg_row_text(done, 0, "children");
}

struct str effect_chords(const struct cel_rows *done)
{
    return pg_row_text(done, 0, "chords");
}

size_t effect_send_count(const struct cel_rows *done)
{
    return cel_row_null(done, 0, "queue") ? 0 : cel_rows_count(done);
}

struct effect_send effect_send(const struct cel_rows *done, size_t i)
{
    return (struct effect_send){.queue = pg_row_text(done, i, "queue"),
                                .message = pg_row_text(done, i, "message"),
                                .step = cel_row_int(done, i, "step")};
}
