/*
 * Rows: everything comes as text, so numerics stay exact. What is made of a column and handed out
 * is part of the result and ends with it (PQresultAlloc).
 */
#include <errno.h>

#include "core/json.h"
#include "core/mem.h"
#include "core/str.h"
#include "store/pg_priv.h"
#include "store/pg_time.h"

enum {
    BYTEA_OID = 17,
    JSON_OID = 114,
    TIMESTAMP_OID = 1114,
    TIMESTAMPTZ_OID = 1184,
    JSONB_OID = 3802
};

struct cel_rows {
    PGresult *result;
};

/* --- life ------------------------------------------------------------------------------------- */

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

/* --- numbers and text ------------------------------------------------------------------------- */

static int find_column(const struct cel_rows *rows, size_t row, const char *column)
{
    if (!rows || row >= (size_t)PQntuples(rows->result))
        return -1;
    int columns = PQnfields(rows->result);
    for (int i = 0; i < columns; i++) {
        if (strcmp(PQfname(rows->result, i), column) == 0)
            return i;
    }
    return -1;
}

static struct str text_at(const struct cel_rows *rows, size_t row, int column)
{
    if (PQgetisnull(rows->result, (int)row, column))
        return STR_NONE;
    return str_n(PQgetvalue(rows->result, (int)row, column),
                 (size_t)PQgetlength(rows->result, (int)row, column));
}

struct str pg_row_text(const struct cel_rows *rows, size_t row, const char *column)
{
    int found = find_column(rows, row, column);
    return found < 0 ? STR_NONE : text_at(rows, row, found);
}

bool cel_row_null(const struct cel_rows *rows, size_t row, const char *column)
{
    return !pg_row_text(rows, row, column).ptr;
}

/* The whole part of a numeric: sum() of bigints is one. */
static int64_t int_of(struct str text)
{
    struct str whole;
    int64_t value = 0;
    if (!text.ptr || !str_split(&text, '.', &whole) || str_parse_i64(whole, &value))
        return 0;
    return value;
}

static double float_of(struct str text)
{
    double value = 0;
    return text.ptr && !str_parse_double(text, &value) ? value : 0;
}

int64_t cel_row_int(const struct cel_rows *rows, size_t row, const char *column)
{
    return int_of(pg_row_text(rows, row, column));
}

double cel_row_float(const struct cel_rows *rows, size_t row, const char *column)
{
    return float_of(pg_row_text(rows, row, column));
}

bool cel_row_bool(const struct cel_rows *rows, size_t row, const char *column)
{
    return str_equal(pg_row_text(rows, row, column), STR("t"));
}

const char *cel_row_text(const struct cel_rows *rows, size_t row, const char *column)
{
    struct str text = pg_row_text(rows, row, column);
    return text.ptr ? text.ptr : "";
}

/* --- columns of a type ------------------------------------------------------------------------ */

/* A column that is there and has one of two types (0: any); `*ret_text` is absent for NULL. */
static int typed_cell(
    const struct pg_cell *at, Oid one, Oid other, struct str *ret_text, struct cel_error *err)
{
    int column = find_column(at->rows, at->row, at->column);
    if (column < 0)
        return error_set(err, -EINVAL, "row %zu has no column \"%s\"", at->row, at->column);
    Oid type = PQftype(at->rows->result, column);
    if (one && type != one && type != other)
        return error_set(err, -EINVAL, "column \"%s\" is of another type", at->column);
    *ret_text = text_at(at->rows, at->row, column);
    return 0;
}

int pg_cell_time(const struct pg_cell *at, int64_t *ret_usec, struct cel_error *err)
{
    struct str text;
    int64_t usec = 0;
    int r = typed_cell(at, TIMESTAMPTZ_OID, TIMESTAMP_OID, &text, err);
    if (r)
        return r;
    if (text.ptr && pg_time_parse(text, &usec))
        return error_set(err, -EINVAL,
                         "column \"%s\" is no time up to the year 294246 in DateStyle ISO",
                         at->column);
    *ret_usec = usec;
    return 0;
}

int pg_cell_bytes(const struct pg_cell *at,
                  const void **ret_bytes,
                  size_t *ret_length,
                  struct cel_error *err)
{
    struct str text;
    int r = typed_cell(at, BYTEA_OID, BYTEA_OID, &text, err);
    if (r)
        return r;
    size_t length = 0;
    void *kept = NULL;
    if (text.ptr) {
        unsigned char *bytes = PQunescapeBytea((const unsigned char *)text.ptr, &length);
        kept = bytes ? PQresultAlloc(at->rows->result, length + 1) : NULL;
        if (kept)
            memcpy(kept, bytes, length);
        PQfreemem(bytes);
        if (!kept)
            return error_no_memory(err);
    }
    *ret_bytes = kept;
    *ret_length = length;
    return 0;
}

int pg_cell_json(const struct pg_cell *at, struct cel_value **ret_take, struct cel_error *err)
{
    struct str text;
    struct cel_value *value = NULL;
    int r = typed_cell(at, JSONB_OID, JSON_OID, &text, err);
    if (!r && text.ptr && (r = json_decode(text, &value, err)))
        error_wrap(err, "column \"%s\"", at->column);
    if (r)
        return r;
    *ret_take = value;
    return 0;
}

/* --- arrays ----------------------------------------------------------------------------------- */

/* One block: the items, and behind them their texts, each terminated. */
struct cel_array {
    size_t count;
    struct str items[]; /* absent: NULL */
};

/* "[0:2]={...}" is what an array is written as that does not begin at 1. */
static bool strip_braces(struct str *text)
{
    const char *brace = text->len ? memchr(text->ptr, '{', text->len) : NULL;
    if (!brace || (brace != text->ptr && *text->ptr != '[') || !str_ends(*text, STR("}")))
        return false;
    *text = str_n(brace + 1, text->len - (size_t)(brace - text->ptr) - 2);
    return true;
}

/* Takes an item off `*text` and writes its text to `*to`, behind which it leaves `*to`. False for
 * an array in the array. */
static bool take_item(struct str *text, char **to, struct str *ret_item)
{
    const char *at = text->ptr, *end = text->ptr + text->len;
    bool quoted = at < end && *at == '"';
    if (at < end && *at == '{')
        return false;
    char *begin = *to;
    for (at += quoted; at < end && *at != (quoted ? '"' : ','); at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        *(*to)++ = *at;
    }
    at += quoted;
    at += at < end; /* the comma */
    *ret_item = str_n(begin, (size_t)(*to - begin));
    if (!quoted && str_equal(*ret_item, STR("NULL")))
        *ret_item = STR_NONE;
    *(*to)++ = '\0';
    *text = at < end ? str_n(at, (size_t)(end - at)) : STR_NONE;
    return true;
}

int pg_cell_array(const struct pg_cell *at, const struct cel_array **ret, struct cel_error *err)
{
    struct str text;
    int r = typed_cell(at, 0, 0, &text, err);
    if (r)
        return r;
    if (!text.ptr) {
        *ret = NULL;
        return 0;
    }
    size_t most = 1, room = text.len + 1;
    for (size_t i = 0; i < text.len; i++)
        most += text.ptr[i] == ',';
    struct cel_array *array =
        PQresultAlloc(at->rows->result, sizeof(*array) + most * sizeof(*array->items) + room);
    if (!array)
        return error_no_memory(err);
    char *to = (char *)(array->items + most);
    array->count = 0;
    bool is_array = strip_braces(&text);
    while (is_array && text.len > 0)
        is_array = take_item(&text, &to, &array->items[array->count++]);
    if (!is_array)
        return error_set(err, -EINVAL, "column \"%s\" is no array of one dimension", at->column);
    *ret = array;
    return 0;
}

static struct str item_of(const struct cel_array *array, size_t i)
{
    return array && i < array->count ? array->items[i] : STR_NONE;
}

size_t cel_array_count(const struct cel_array *array)
{
    return array ? array->count : 0;
}

bool cel_array_null(const struct cel_array *array, size_t i)
{
    return !item_of(array, i).ptr;
}

int64_t cel_array_int(const struct cel_array *array, size_t i)
{
    return int_of(item_of(array, i));
}

double cel_array_float(const struct cel_array *array, size_t i)
{
    return float_of(item_of(array, i));
}

const char *cel_array_text(const struct cel_array *array, size_t i)
{
    struct str text = item_of(array, i);
    return text.ptr ? text.ptr : "";
}
