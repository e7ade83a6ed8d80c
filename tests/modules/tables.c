/*
 * Tasks for tests of what the database helpers do with many rows, nested transactions and failures
 * in their middle. Built like the module of a stranger: nothing but the public headers.
 */
#include <celeriac/task.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const struct cel_value *value)
{
    const char *text = cel_value_text(value, NULL);
    return text ? text : "";
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Reads the column "value" of a statement as `type`; for what can fail. */
static int read_column(struct cel_task *task)
{
    const char *sql, *type;
    struct cel_db *db = cel_db(task);
    struct cel_rows *rows;
    if (cel_arg_text(task, "sql", &sql) || cel_arg_text(task, "type", &type))
        return CEL_FAIL;
    int r = db ? cel_query(db, sql, CEL_NO_PARAMS, &rows) : CEL_RETRY;
    if (r)
        return r;
    struct cel_value *value = NULL;
    const struct cel_array *array;
    const void *bytes;
    size_t length;
    int64_t usec;
    if (strcmp(type, "time") == 0) {
        r = cel_row_timestamptz(db, rows, 0, "value", &usec);
        value = r ? NULL : cel_int(usec);
    } else if (strcmp(type, "bytes") == 0) {
        r = cel_row_bytes(db, rows, 0, "value", &bytes, &length);
        value = r || !bytes ? NULL : cel_text_n(bytes, length);
    } else if (strcmp(type, "json") == 0) {
        r = cel_row_json(db, rows, 0, "value", &value);
    } else {
        r = cel_row_array(db, rows, 0, "value", &array);
        value = r || !array ? NULL : cel_list();
        for (size_t i = 0; i < (r ? 0 : cel_array_count(array)); i++)
            cel_list_add(value, cel_array_null(array, i) ? cel_null()
                                                         : cel_text(cel_array_text(array, i)));
    }
    cel_rows_free(rows);
    return r ? r : cel_return(task, value ? value : cel_null());
}

/* --- cursors ---------------------------------------------------------------------------------- */

/* Adds up "price"; `between` is run after each chunk, and may fail behind a savepoint. */
static int add_up(struct cel_task *task)
{
    const char *sql, *between;
    int64_t chunk, least, sum = 0;
    if (cel_arg_text(task, "sql", &sql) || cel_arg_int(task, "chunk", &chunk) ||
        cel_arg_int(task, "least", &least) || cel_arg_text(task, "between", &between))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    struct cel_cursor *cursor = NULL;
    const struct cel_rows *rows = NULL;
    int r = db ? cel_cursor_open(db, sql, CEL_PARAMS(cel_p_int(least)), (size_t)chunk, &cursor)
               : CEL_RETRY;
    while (!r && !(r = cel_cursor_next(cursor, &rows)) && rows) {
        CEL_EACH_ROW(row, rows)
        sum += cel_row_int(rows, row, "price");
        if (between && (r = cel_savepoint(db, "between")) == 0 &&
            cel_query(db, between, CEL_NO_PARAMS, NULL) != 0)
            r = cel_rollback_to(db, "between");
    }
    cel_cursor_close(cursor);
    return r ? r : cel_return(task, cel_int(sum));
}

/* Two at once, row by row; and the first is left before its end. */
static int merge(struct cel_task *task)
{
    struct cel_db *db = cel_db(task);
    struct cel_cursor *one = NULL, *two = NULL;
    const struct cel_rows *a = NULL, *b = NULL;
    struct cel_value *list = cel_list();
    int r = db ? 0 : CEL_RETRY;
    if (!r)
        r = cel_cursor_open(db, "SELECT generate_series(1, 9) AS n", CEL_NO_PARAMS, 1, &one);
    if (!r)
        r = cel_cursor_open(db, "SELECT generate_series(11, 13) AS n", CEL_NO_PARAMS, 1, &two);
    while (!r && !(r = cel_cursor_next(one, &a)) && !(r = cel_cursor_next(two, &b)) && a && b)
        cel_list_add(list, cel_int(cel_row_int(a, 0, "n") * cel_row_int(b, 0, "n")));
    cel_cursor_close(one);
    cel_cursor_close(two);
    struct cel_rows *open = NULL;
    if (!r)
        r = cel_query(db, "SELECT count(*) AS n FROM pg_cursors WHERE name <> ''", CEL_NO_PARAMS,
                      &open);
    cel_list_add(list, cel_int(cel_row_int(open, 0, "n")));
    cel_rows_free(open);
    if (!r)
        return cel_return(task, list);
    cel_value_free(list);
    return r;
}

/* --- transactions ----------------------------------------------------------------------------- */

struct steps {
    struct cel_task *task;
    const struct cel_value *list;
};

/* A list of statements, where a list is one within, in a transaction of its own; with "-" in front
 * it may fail. Words end the function. */
static int run_steps(struct cel_db *db, void *data)
{
    const struct steps *steps = data;
    for (size_t i = 0; i < cel_value_count(steps->list); i++) {
        const struct cel_value *step = cel_value_at(steps->list, i);
        struct steps inner = {steps->task, step};
        bool list = cel_value_type(step) == CEL_LIST;
        bool may_fail = strcmp(text_of(cel_value_at(step, 0)), "-") == 0;
        const char *text = text_of(step);
        if (strcmp(text, "FAIL") == 0)
            return cel_fail(steps->task, "ValueError", "asked for");
        if (strcmp(text, "IGNORE") == 0)
            return CEL_IGNORE;
        if (strcmp(text, "STRIKE") == 0) /* seen by the next wait */
            raise(SIGUSR1);
        if (strcmp(text, "-") == 0 || strcmp(text, "STRIKE") == 0)
            continue;
        int r = list ? cel_transaction(db, run_steps, &inner)
                     : cel_query(db, text, CEL_NO_PARAMS, NULL);
        if (r && !may_fail)
            return r;
    }
    return CEL_OK;
}

static int nest(struct cel_task *task)
{
    struct steps steps = {task, cel_arg_value(task, "steps")};
    struct cel_db *db = cel_db(task);
    return db ? run_steps(db, &steps) : CEL_RETRY;
}

/* --- COPY ------------------------------------------------------------------------------------- */

struct writer {
    struct cel_task *task;
    struct cel_db *db;
    const char *how, *sql;
    int64_t rows, copied;
};

static int write_goods(struct cel_copy *copy, int64_t id)
{
    char name[64];
    const char *const tags[] = {"a,b", NULL, "\\\"\t\n"};
    snprintf(name, sizeof(name), "tab\t line\n back\\slash \\N %lld", (long long)id);
    struct cel_value *extra = cel_map();
    cel_map_set(extra, "id", cel_int(id));
    cel_map_set(extra, "say", cel_text("\"x\"\n"));
    int r = cel_copy_row(
        copy, CEL_PARAMS(cel_p_int(id), cel_p_text(name), cel_p_numeric("12345678901234567890.10"),
                         cel_p_timestamptz(id * 1000000), cel_p_bytes("\0\\\t\n\r", 5),
                         cel_p_texts(tags, 3), cel_p_json(extra), cel_p_bool(true),
                         cel_p_float(0.1), cel_p_text(NULL)));
    cel_value_free(extra);
    return r;
}

static int write_bytes_as_json(struct cel_copy *copy)
{
    struct cel_value *bytes = cel_bytes("x", 1);
    int r = cel_copy_row(copy, CEL_PARAMS(cel_p_json(bytes)));
    cel_value_free(bytes);
    return r;
}

static int write_rows(struct cel_copy *copy, void *data)
{
    const struct writer *writer = data;
    const char *how = writer->how;
    if (strcmp(how, "json") == 0)
        return write_bytes_as_json(copy);
    if (strcmp(how, "overlooked") == 0)
        return write_bytes_as_json(copy), CEL_OK;
    if (strcmp(how, "query") == 0)
        return cel_query(writer->db, "SELECT 1", CEL_NO_PARAMS, NULL);
    if (strcmp(how, "csv") == 0)
        return cel_copy_text(copy, "1,\"a\n", 5), cel_copy_text(copy, "b\"\n2,x\n", 7);
    if (strcmp(how, "large") == 0) {
        size_t length = (size_t)writer->rows;
        char *text = malloc(length + 4);
        memcpy(text, "1\tx", 3);
        memset(text + 3, 'y', length);
        text[length + 3] = '\n';
        int r = cel_copy_text(copy, text, length + 4);
        free(text);
        return r;
    }
    bool goods = strcmp(how, "goods") == 0;
    for (int64_t id = 1; id <= writer->rows; id++) {
        int r = goods ? write_goods(copy, id)
                      : cel_copy_row(copy,
                                     CEL_PARAMS(cel_p_int(id), cel_p_text("the name of a thing")));
        if (r)
            return r;
    }
    return strcmp(how, "stop") == 0 ? cel_fail(writer->task, "ValueError", "half-way") : CEL_OK;
}

static int copy_in(struct cel_db *db, void *data)
{
    struct writer *writer = data;
    return cel_copy_in(db, writer->sql, write_rows, writer, &writer->copied);
}

/* Writes as `how` says, within cel_transaction() if `nested`; if it may fail, an insert follows, so
 * the task ends well when connection and transaction are usable. Returns the rows that were copied.
 */
static int copy_task(struct cel_task *task, int (*copy)(struct cel_db *db, void *data))
{
    struct writer writer = {.task = task, .db = cel_db(task)};
    bool nested, may_fail;
    if (cel_arg_text(task, "how", &writer.how) || cel_arg_text(task, "sql", &writer.sql) ||
        cel_arg_int(task, "rows", &writer.rows) || cel_arg_bool(task, "nested", &nested) ||
        cel_arg_bool(task, "may_fail", &may_fail))
        return CEL_FAIL;
    if (!writer.db)
        return CEL_RETRY;
    int r = nested ? cel_transaction(writer.db, copy, &writer) : copy(writer.db, &writer);
    if (may_fail)
        r = cel_query(writer.db, "INSERT INTO kept VALUES (1000)", CEL_NO_PARAMS, NULL);
    return r ? r : cel_return(task, cel_int(writer.copied));
}

static int copy_in_task(struct cel_task *task)
{
    return copy_task(task, copy_in);
}

static int read_line(void *data, const char *line, size_t length)
{
    struct writer *writer = data;
    if (line[length - 1] != '\n' || line[length])
        return cel_fail(writer->task, "AssertionError", "a line has an end");
    if (strcmp(writer->how, "query") == 0)
        return cel_query(writer->db, "SELECT 1", CEL_NO_PARAMS, NULL);
    if (--writer->rows == 0 && strcmp(writer->how, "stop") == 0)
        return cel_fail(writer->task, "ValueError", "half-way");
    return CEL_OK;
}

static int copy_out(struct cel_db *db, void *data)
{
    struct writer *writer = data;
    return cel_copy_out(db, writer->sql, read_line, writer, &writer->copied);
}

static int copy_out_task(struct cel_task *task)
{
    return copy_task(task, copy_out);
}

#define COPY_PARAMS "sql, how=\"rows\", rows=3, nested=false, may_fail=false"

CEL_TASKS(
    {.name = "tables.read_column", .run = read_column, .params = "sql, type"},
    {.name = "tables.read_only", .run = nest, .params = "steps", .transaction = CEL_READ_ONLY},
    {.name = "tables.add_up",
     .run = add_up,
     .params = "sql, chunk=0, least=0, between=null",
     .transaction = CEL_READ_ONLY},
    {.name = "tables.add_up_writing",
     .run = add_up,
     .params = "sql, chunk=0, least=0, between=null",
     .transaction = CEL_TRANSACTION},
    {.name = "tables.add_up_outside",
     .run = add_up,
     .params = "sql, chunk=0, least=0, between=null"},
    {.name = "tables.merge", .run = merge, .params = "", .transaction = CEL_TRANSACTION},
    {.name = "tables.nest", .run = nest, .params = "steps"},
    {.name = "tables.nest_in_transaction",
     .run = nest,
     .params = "steps",
     .transaction = CEL_TRANSACTION},
    {.name = "tables.copy_in", .run = copy_in_task, .params = COPY_PARAMS},
    {.name = "tables.copy_in_transaction",
     .run = copy_in_task,
     .params = COPY_PARAMS,
     .transaction = CEL_TRANSACTION},
    {.name = "tables.copy_out", .run = copy_out_task, .params = COPY_PARAMS},
    {.name = "tables.copy_out_transaction",
     .run = copy_out_task,
     .params = COPY_PARAMS,
     .transaction = CEL_TRANSACTION});
