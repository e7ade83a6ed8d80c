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
 * cel_db() is this process's own connection to the database of `[database] default`, or to the one
 * that the module's router names (CEL_ROUTER), opened on first use, checked and re-opened when it
 * went away between tasks. NULL when it cannot be had: the reason is recorded, and the task gives it
 * to what it returns then, CEL_RETRY as a rule (CEL_FAIL where the router has refused).
 *
 * The functions return 0 or, with the outcome recorded, what the task shall return: CEL_RETRY after
 * an error that a later run can mend (serialization failure, deadlock, lost connection ...:
 * SQLSTATE 40001 40P01 55P03 53300 57P0x 08xxx; 0A000 and 26000 when a table was changed under a
 * prepared statement; 25006 when the URI asks for a server that can be written to, and this one
 * cannot any more), CEL_CANCELLED after the soft time limit, else CEL_FAIL with SQLSTATE and message. A caller that can go on may ignore it: the next success
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
    CEL_P_NUMERIC,     /* exact, as text */
    CEL_P_TIMESTAMPTZ, /* microseconds since 1970; INT64_MAX and _MIN: the infinities */
    CEL_P_JSON,        /* a struct cel_value, as jsonb; typed values as plain text, no bytes */
    CEL_P_INTS,        /* arrays: of int64_t */
    CEL_P_FLOATS,      /* of double */
    CEL_P_TEXTS,       /* of const char *; NULL is SQL's NULL */
    CEL_P_BLOBS,       /* of struct cel_blob: bytea; data NULL is SQL's NULL */
};
struct cel_param {
    enum cel_param_type type;
    int64_t integer;
    double number;
    const void *data; /* text: terminated; json: a value; arrays: the first item */
    size_t length;    /* of bytes; items of an array */
};
struct cel_blob {
    const void *data;
    size_t length;
};
/*
 * Parameters for $1, $2 ...: CEL_PARAMS(cel_p_int(id), cel_p_text(slug)), or CEL_NO_PARAMS. A text,
 * a numeric or a value that is NULL is SQL's NULL; an array of no items is an empty array. What has
 * no function of its own (dates, UUIDs, enums, intervals) goes as text. All of it is borrowed for
 * the call.
 *
 * bytea, numeric, timestamptz and jsonb say what they are; others have the type that the server
 * finds in the statement. Where it finds none, or another, say it: $1::bigint, unnest($1::text[]).
 */
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
static inline struct cel_param cel_p_numeric(const char *value)
{
    struct cel_param param = {CEL_P_NUMERIC, 0, 0, value, 0};
    return param;
}
static inline struct cel_param cel_p_timestamptz(int64_t usec)
{
    struct cel_param param = {CEL_P_TIMESTAMPTZ, usec, 0, NULL, 0};
    return param;
}
static inline struct cel_param cel_p_json(const struct cel_value *value)
{
    struct cel_param param = {CEL_P_JSON, 0, 0, value, 0};
    return param;
}
static inline struct cel_param cel_p_ints(const int64_t *items, size_t count)
{
    struct cel_param param = {CEL_P_INTS, 0, 0, items, count};
    return param;
}
static inline struct cel_param cel_p_floats(const double *items, size_t count)
{
    struct cel_param param = {CEL_P_FLOATS, 0, 0, items, count};
    return param;
}
static inline struct cel_param cel_p_texts(const char *const *items, size_t count)
{
    struct cel_param param = {CEL_P_TEXTS, 0, 0, items, count};
    return param;
}
static inline struct cel_param cel_p_blobs(const struct cel_blob *items, size_t count)
{
    struct cel_param param = {CEL_P_BLOBS, 0, 0, items, count};
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
 * Calls fn(db, data) in a transaction, or behind a savepoint where one is open (.transaction, or an
 * outer cel_transaction): committed when it returns CEL_OK, and otherwise, or when that fails, all
 * that it did is rolled back. Returns 0, or what fn returned, or what the task shall return. After
 * a failure the outer transaction is as it was before, and can go on.
 */
typedef int cel_transaction_fn(struct cel_db *db, void *data);
CEL_API int cel_transaction(struct cel_db *db, cel_transaction_fn *fn, void *data);
/*
 * Puts `call` into the outbox of this database (docs/postgresql.md): published if and only if the
 * transaction is committed, whatever the task comes to. The call is copied; `ret_id` as in
 * cel_task_send(). Within the task's own transaction (.transaction) cel_task_send() does the same
 * without the outbox.
 */
CEL_API int cel_db_send(struct cel_db *db, const struct cel_call *call, char *ret_id);
/* SQLSTATE of the last failure, "" after a success. */
CEL_API const char *cel_db_sqlstate(struct cel_db *db);

/* --- rows ------------------------------------------------------------------------------------- */

CEL_API size_t cel_rows_count(const struct cel_rows *rows);
CEL_API int64_t cel_rows_affected(const struct cel_rows *rows); /* by INSERT, UPDATE, DELETE */
/* CEL_EACH_ROW(row, rows) { ... cel_row_int(rows, row, "id") ... } */
#define CEL_EACH_ROW(row, rows) for (size_t row = 0; row < cel_rows_count(rows); row++)
CEL_API struct cel_rows *cel_rows_free(struct cel_rows *rows); /* takes NULL, returns NULL */

CEL_API bool cel_row_null(const struct cel_rows *rows, size_t row, const char *column);
/* NULL and unknown columns read as 0, "" and false. Text is borrowed from the rows; every type has
 * a text, and that of numeric is exact. */
CEL_API int64_t cel_row_int(const struct cel_rows *rows, size_t row, const char *column);
CEL_API double cel_row_float(const struct cel_rows *rows, size_t row, const char *column);
CEL_API bool cel_row_bool(const struct cel_rows *rows, size_t row, const char *column);
CEL_API const char *cel_row_text(const struct cel_rows *rows, size_t row, const char *column);

/*
 * These return 0 or, with a DataError recorded, CEL_FAIL: for a column that is not there or of
 * another type, or a value that cannot be read. NULL reads as 0 and NULL; cel_row_null() tells it
 * from those.
 */
/* timestamptz, or timestamp, read as UTC; microseconds since 1970, infinities as in parameters. */
CEL_API int cel_row_timestamptz(struct cel_db *db,
                                const struct cel_rows *rows,
                                size_t row,
                                const char *column,
                                int64_t *ret_usec);
/* bytea; borrowed from the rows. */
CEL_API int cel_row_bytes(struct cel_db *db,
                          const struct cel_rows *rows,
                          size_t row,
                          const char *column,
                          const void **ret_bytes,
                          size_t *ret_length);
/* jsonb or json, with the limits of cel_value_from_json(); the caller frees the value. A number
 * with a fraction is a double: `data ->> 'price'` as text is exact. */
CEL_API int cel_row_json(struct cel_db *db,
                         const struct cel_rows *rows,
                         size_t row,
                         const char *column,
                         struct cel_value **ret_value);
/* An array of one dimension, of any type; borrowed from the rows. Its items are read as columns
 * are. */
struct cel_array;
CEL_API int cel_row_array(struct cel_db *db,
                          const struct cel_rows *rows,
                          size_t row,
                          const char *column,
                          const struct cel_array **ret_array);
CEL_API size_t cel_array_count(const struct cel_array *array); /* takes NULL: 0 */
CEL_API bool cel_array_null(const struct cel_array *array, size_t i);
CEL_API int64_t cel_array_int(const struct cel_array *array, size_t i);
CEL_API double cel_array_float(const struct cel_array *array, size_t i);
CEL_API const char *cel_array_text(const struct cel_array *array, size_t i);

/* --- many rows -------------------------------------------------------------------------------- */

/*
 * A query whose rows are fetched `chunk` at a time (0: 1000), so that memory holds no more than
 * those. It needs a transaction, which may do other things meanwhile, and ends with it: close it
 * before.
 *
 *     r = cel_cursor_open(db, "SELECT id, price FROM line", CEL_NO_PARAMS, 0, &cursor);
 *     while (!r && !(r = cel_cursor_next(cursor, &rows)) && rows)
 *         CEL_EACH_ROW(row, rows)
 *             total += cel_row_int(rows, row, "price");
 *     cel_cursor_close(cursor);
 */
struct cel_cursor;
CEL_API int cel_cursor_open(struct cel_db *db,
                            const char *sql,
                            const struct cel_param *params,
                            size_t param_count,
                            size_t chunk,
                            struct cel_cursor **ret_cursor); /* NULL after a failure */
/* The next rows, borrowed until the next call; NULL after the last. */
CEL_API int cel_cursor_next(struct cel_cursor *cursor, const struct cel_rows **ret_rows);
CEL_API struct cel_cursor *
cel_cursor_close(struct cel_cursor *cursor); /* takes NULL, returns NULL */

/*
 * COPY ... FROM STDIN. `fn` writes the rows and returns CEL_OK; with anything else, or after a
 * failure, none of them is kept, as after any statement that failed, and the connection is free
 * again. Returns 0, or what fn returned, or what the task shall return. `ret_rows` may be NULL.
 *
 * While fn runs, the connection can do nothing else.
 */
struct cel_copy;
typedef int cel_copy_in_fn(struct cel_copy *copy, void *data);
CEL_API int
cel_copy_in(struct cel_db *db, const char *sql, cel_copy_in_fn *fn, void *data, int64_t *ret_rows);
/* For fn: 0, or what it shall return; the first failure sticks, and cel_copy_in() returns it in any
 * case. One row in COPY's text format, which is its default. */
CEL_API int cel_copy_row(struct cel_copy *copy, const struct cel_param *columns, size_t count);
/* Text as the statement says: csv, or lines of one's own; it may end anywhere. */
CEL_API int cel_copy_text(struct cel_copy *copy, const char *text, size_t length);

/*
 * COPY ... TO STDOUT. `fn` gets one line at a time, with its end, and returns CEL_OK; anything else
 * ends the statement, which has failed then. Returns as cel_copy_in().
 */
typedef int cel_copy_out_fn(void *data, const char *line, size_t length);
CEL_API int cel_copy_out(
    struct cel_db *db, const char *sql, cel_copy_out_fn *fn, void *data, int64_t *ret_rows);

#ifdef __cplusplus
}
#endif
