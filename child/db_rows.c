/* Columns whose reading can fail (celeriac/db.h), over store/pg.h. */
#include <errno.h>

#include "child/task.h"

static int settle(struct cel_db *db, int code, const struct cel_error *err)
{
    if (!code)
        return 0;
    return task_recordf(db->task, BY_HELPER, RECORDED_FAIL,
                        code == -ENOMEM ? "MemoryError" : "DataError", "database \"%s\": %s",
                        db->name, err->text);
}

int cel_row_timestamptz(struct cel_db *db,
                        const struct cel_rows *rows,
                        size_t row,
                        const char *column,
                        int64_t *ret_usec)
{
    struct cel_error err = {0};
    return settle(db, pg_cell_time(&(struct pg_cell){rows, row, column}, ret_usec, &err), &err);
}

int cel_row_bytes(struct cel_db *db,
                  const struct cel_rows *rows,
                  size_t row,
                  const char *column,
                  const void **ret_bytes,
                  size_t *ret_length)
{
    const struct pg_cell at = {rows, row, column};
    struct cel_error err = {0};
    return settle(db, pg_cell_bytes(&at, ret_bytes, ret_length, &err), &err);
}

int cel_row_json(struct cel_db *db,
                 const struct cel_rows *rows,
                 size_t row,
                 const char *column,
                 struct cel_value **ret_value)
{
    struct cel_error err = {0};
    return settle(db, pg_cell_json(&(struct pg_cell){rows, row, column}, ret_value, &err), &err);
}

int cel_row_array(struct cel_db *db,
                  const struct cel_rows *rows,
                  size_t row,
                  const char *column,
                  const struct cel_array **ret_array)
{
    struct cel_error err = {0};
    return settle(db, pg_cell_array(&(struct pg_cell){rows, row, column}, ret_array, &err), &err);
}
