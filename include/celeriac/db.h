/*
 * The task's databases (PostgreSQL), a part of celeriac/task.h: statements, transactions, rows.
 */
#pragma once

#include "celeriac/call.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cel_task;

/*
 * cel_db() is this process's own connection to the database of `[database] default`, opened on
 * first use, checked and re-opened when it went away between tasks. NULL when it cannot be had;
 * then the task's outcome is already recorded: return CEL_RETRY.
 *
 * The functions return 0 or, with the outcome recorded, what the task shall return: CEL_RETRY after
 * an error that a later run can mend (serialization failure, deadlock, lost connection ...:
 * SQLSTATE 40001 40P01 55P03 53300 57P0x 08xxx), CEL_CANCELLED after the soft time limit, else
 * CEL_FAIL with SQLSTATE and message. A caller that can go on may ignore it: the next success
 * clears it.
 */
struct cel_db;
struct cel_rows;

CEL_API struct cel_db *cel_db(struct cel_task *task);
CEL_API struct cel_db *cel_db_named(struct cel_task *task,
                                    const char *name); /* `[database] name` */

enum cel_param_type {
    CEL_P_NULL,
    CEL_P_INT,
    CEL_P_FLOAT,
    CEL_P_BOOL,
    CEL_P_TEXT,
    CEL_P_BYTES,
};
struct cel_param {
    enum cel_param_type type;
    int64_t integer;
    double number;
    const void *data; /* text: terminated */
    size_t length;    /* of bytes */
};
/* Parameters for $1, $2 ...: CEL_PARAMS(cel_p_int(id), cel_p_text(slug)), or CEL_NO_PARAMS. A text
 * that is NULL is SQL's NULL. Numerics go as text: exact. */
#define CEL_PARAMS(...)                                                                            \
    (const struct cel_param[]){__VA_ARGS__},                                                       \
        sizeof((const struct cel_param[]){__VA_ARGS__}) / sizeof(struct cel_param)
#define CEL_NO_PARAMS NULL, 0
static inline struct cel_param cel_p_int(int64_t value)
{
    struct cel_param param = {CEL_P_INT, value, 0, NULL, 0};
    return param;
}
static inline struct cel_param cel_p_float(double value)
{
    struct cel_param param = {CEL_P_FLOAT, 0, value, NULL, 0};
    return param;
}
static inline struct cel_param cel_p_bool(bool value)
{
    struct cel_param param = {CEL_P_BOOL, value, 0, NULL, 0};
    return param;
}
static inline struct cel_param cel_p_text(const char *value)
{
    struct cel_param param = {CEL_P_TEXT, 0, 0, value, 0};
    return param;
}
static inline struct cel_param cel_p_bytes(const void *value, size_t length)
{
    struct cel_param param = {CEL_P_BYTES, 0, 0, value, length};
    return param;
}

/* One statement. `ret_rows` may be NULL; otherwise the rows are freed with cel_rows_free(). */
CEL_API int cel_query(struct cel_db *db,
                      const char *sql,
                      const struct cel_param *params,
                      size_t param_count,
                      struct cel_rows **ret_rows);
CEL_API int cel_begin(struct cel_db *db);
CEL_API int cel_commit(struct cel_db *db);
CEL_API int cel_rollback(struct cel_db *db);
/* `name` is an SQL identifier; it is quoted. */
CEL_API int cel_savepoint(struct cel_db *db, const char *name);
CEL_API int cel_rollback_to(struct cel_db *db, const char *name);
CEL_API int cel_release(struct cel_db *db, const char *name);
/*
 * Puts `call` into the outbox of this database (docs/postgresql.md): published if and only if the
 * transaction is committed, whatever the task comes to. The call is copied; `ret_id` as in
 * cel_task_send(). Within the task's own transaction (.transaction) cel_task_send() does the same
 * without the outbox.
 */
CEL_API int cel_db_send(struct cel_db *db, const struct cel_call *call, char *ret_id);
/* SQLSTATE of the last failure, "" after a success. */
CEL_API const char *cel_db_sqlstate(struct cel_db *db);

CEL_API size_t cel_rows_count(const struct cel_rows *rows);
CEL_API int64_t cel_rows_affected(const struct cel_rows *rows); /* by INSERT, UPDATE, DELETE */
CEL_API bool cel_row_null(const struct cel_rows *rows, size_t row, const char *column);
/* NULL and unknown columns read as 0, "" and false. Text is borrowed from the rows. */
CEL_API int64_t cel_row_int(const struct cel_rows *rows, size_t row, const char *column);
CEL_API double cel_row_float(const struct cel_rows *rows, size_t row, const char *column);
CEL_API bool cel_row_bool(const struct cel_rows *rows, size_t row, const char *column);
CEL_API const char *cel_row_text(const struct cel_rows *rows, size_t row, const char *column);
CEL_API struct cel_rows *cel_rows_free(struct cel_rows *rows); /* takes NULL, returns NULL */

#ifdef __cplusplus
}
#endif
