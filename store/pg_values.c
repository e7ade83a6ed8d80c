/*
 * Parameters and rows: everything goes and comes as text, so numerics stay exact; bytes go binary.
 */
#include "store/pg_priv.h"

#include <errno.h>
#include <stdio.h>

#include "core/mem.h"
#include "core/str.h"

enum { PARAMS_MAX = 65535, BYTEA_OID = 17 };

struct cel_rows {
    PGresult *result;
};

/* --- parameters ------------------------------------------------------------------------------- */

/* Types are left to the server (0), which knows the column; only bytes say what they are. */
static int arguments_set(struct pg_arguments *args, size_t i, const struct cel_param *param)
{
    char *number = args->numbers[i];
    switch (param->type) {
    case CEL_P_NULL:
        return 0;
    case CEL_P_INT:
        snprintf(number, sizeof(*args->numbers), "%lld", (long long)param->integer);
        args->values[i] = number;
        return 0;
    case CEL_P_FLOAT:
        snprintf(number, sizeof(*args->numbers), "%.17g", param->number);
        args->values[i] = number;
        return 0;
    case CEL_P_BOOL:
        args->values[i] = param->integer ? "t" : "f";
        return 0;
    case CEL_P_TEXT:
        args->values[i] = param->data;
        return 0;
    case CEL_P_BYTES:
        if (param->length > INT32_MAX)
            return -EINVAL;
        args->values[i] = param->data ? param->data : "";
        args->lengths[i] = (int)param->length;
        args->formats[i] = 1;
        args->types[i] = BYTEA_OID;
        return 0;
    }
    return -EINVAL;
}

/* All arrays are one block, the widest first. */
static int allocate(struct pg_arguments *args, size_t count)
{
    size_t each = sizeof(*args->values) + sizeof(*args->lengths) + sizeof(*args->formats) +
                  sizeof(*args->types) + sizeof(*args->numbers);
    args->values = mem_array(count, each);
    if (!args->values)
        return -ENOMEM;
    args->lengths = (int *)(void *)(args->values + count);
    args->formats = args->lengths + count;
    args->types = (Oid *)(void *)(args->formats + count);
    args->numbers = (void *)(args->types + count);
    return 0;
}

int pg_arguments_init(struct pg_arguments *args, const struct cel_param *params, size_t count)
{
    *args = (struct pg_arguments){0};
    int r = count > PARAMS_MAX ? -EINVAL : allocate(args, count);
    for (size_t i = 0; !r && i < count; i++)
        r = arguments_set(args, i, &params[i]);
    return r;
}

void pg_arguments_deinit(struct pg_arguments *args)
{
    mem_free(args->values);
    *args = (struct pg_arguments){0};
}

/* --- rows ------------------------------------------------------------------------------------- */

struct cel_rows *pg_rows_adopt(PGresult *result)
{
    struct cel_rows *rows = mem_new(struct cel_rows);
    if (rows)
        rows->result = result;
    else
        PQclear(result);
    return rows;
}

struct cel_rows *cel_rows_free(struct cel_rows *rows)
{
    if (!rows)
        return NULL;
    PQclear(rows->result);
    mem_free(rows);
    return NULL;
}

size_t cel_rows_count(const struct cel_rows *rows)
{
    return rows ? (size_t)PQntuples(rows->result) : 0;
}

int64_t cel_rows_affected(const struct cel_rows *rows)
{
    int64_t count = 0;
    if (!rows || str_parse_i64(str_of(PQcmdTuples(rows->result)), &count))
        return 0;
    return count;
}

/* The text of a cell, or absent for NULL and for what is not there. */
static struct str cell(const struct cel_rows *rows, size_t row, const char *column)
{
    if (!rows || row >= (size_t)PQntuples(rows->result))
        return STR_NONE;
    int columns = PQnfields(rows->result);
    for (int i = 0; i < columns; i++) {
        if (strcmp(PQfname(rows->result, i), column) != 0)
            continue;
        if (PQgetisnull(rows->result, (int)row, i))
            return STR_NONE;
        return str_n(PQgetvalue(rows->result, (int)row, i),
                     (size_t)PQgetlength(rows->result, (int)row, i));
    }
    return STR_NONE;
}

bool cel_row_null(const struct cel_rows *rows, size_t row, const char *column)
{
    return !cell(rows, row, column).ptr;
}

/* The whole part of a numeric: sum() of bigints is one. */
int64_t cel_row_int(const struct cel_rows *rows, size_t row, const char *column)
{
    struct str text = cell(rows, row, column), whole;
    int64_t value = 0;
    if (!text.ptr || !str_split(&text, '.', &whole) || str_parse_i64(whole, &value))
        return 0;
    return value;
}

double cel_row_float(const struct cel_rows *rows, size_t row, const char *column)
{
    double value = 0;
    struct str text = cell(rows, row, column);
    if (!text.ptr || str_parse_double(text, &value))
        return 0;
    return value;
}

bool cel_row_bool(const struct cel_rows *rows, size_t row, const char *column)
{
    return str_equal(cell(rows, row, column), STR("t"));
}

const char *cel_row_text(const struct cel_rows *rows, size_t row, const char *column)
{
    struct str text = cell(rows, row, column);
    return text.ptr ? text.ptr : "";
}
