/*
 * Parameters as text, so numerics stay exact; bytes alone go binary, unless they stand in an array
 * or a COPY.
 */
#include <errno.h>
#include <limits.h>

#include "core/json.h"
#include "core/mem.h"
#include "store/pg_priv.h"
#include "store/pg_time.h"

#define TEXT_MAX ((size_t)1 << 30) /* what the server takes at most */
enum { PARAMS_MAX = 65535 };
enum { BYTEA_OID = 17, TIMESTAMPTZ_OID = 1184, NUMERIC_OID = 1700, JSONB_OID = 3802 };

/* --- text forms ------------------------------------------------------------------------------- */

bool pg_param_is_null(const struct cel_param *param)
{
    switch (param->type) {
    case CEL_P_NULL:
        return true;
    case CEL_P_TEXT:
    case CEL_P_NUMERIC:
    case CEL_P_JSON:
        return !param->data;
    default:
        return false;
    }
}

static void fail(struct buf *buf)
{
    buf->status = buf->status ? buf->status : -EINVAL;
}

static void add_hex(struct buf *buf, const void *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    char *room = length <= TEXT_MAX / 2 ? buf_reserve(buf, 2 * length) : NULL;
    if (!room) {
        fail(buf);
        return;
    }
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++) {
        room[2 * i] = digits[at[i] >> 4];
        room[2 * i + 1] = digits[at[i] & 15];
    }
    buf_added(buf, 2 * length);
}

static void add_quoted(struct buf *buf, const char *text)
{
    buf_add_char(buf, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_add_char(buf, '\\');
        buf_add_char(buf, *text);
    }
    buf_add_char(buf, '"');
}

static void add_blob(struct buf *buf, const struct cel_blob *blob)
{
    buf_add_c(buf, "\"\\\\x"); /* the backslash of \x, in quotes */
    add_hex(buf, blob->data, blob->length);
    buf_add_char(buf, '"');
}

static void add_item(struct buf *buf, const struct cel_param *array, size_t i)
{
    switch (array->type) {
    case CEL_P_INTS:
        buf_add_i64(buf, ((const int64_t *)array->data)[i]);
        return;
    case CEL_P_FLOATS:
        json_add_double(buf, ((const double *)array->data)[i]);
        return;
    case CEL_P_TEXTS: {
        const char *text = ((const char *const *)array->data)[i];
        if (text)
            add_quoted(buf, text);
        else
            buf_add_c(buf, "NULL");
        return;
    }
    case CEL_P_BLOBS: {
        const struct cel_blob *blob = &((const struct cel_blob *)array->data)[i];
        if (blob->data)
            add_blob(buf, blob);
        else
            buf_add_c(buf, "NULL");
        return;
    }
    default:
        fail(buf);
    }
}

static void add_array(struct buf *buf, const struct cel_param *array)
{
    size_t count = array->length;
    if (count && !array->data) {
        fail(buf);
        return;
    }
    buf_add_char(buf, '{');
    for (size_t i = 0; i < count && !buf_status(buf); i++) {
        if (i)
            buf_add_char(buf, ',');
        add_item(buf, array, i);
    }
    buf_add_char(buf, '}');
}

void pg_add_param(struct buf *buf, const struct cel_param *param)
{
    char time[PG_TIME_ROOM];
    switch (param->type) {
    case CEL_P_NULL:
        return;
    case CEL_P_INT:
        buf_add_i64(buf, param->integer);
        return;
    case CEL_P_FLOAT:
        json_add_double(buf, param->number); /* in every locale; NaN and Infinity are SQL's, too */
        return;
    case CEL_P_BOOL:
        buf_add_char(buf, param->integer ? 't' : 'f');
        return;
    case CEL_P_TEXT:
    case CEL_P_NUMERIC:
        buf_add_c(buf, param->data);
        return;
    case CEL_P_BYTES:
        buf_add_c(buf, "\\x");
        add_hex(buf, param->data, param->length);
        return;
    case CEL_P_TIMESTAMPTZ:
        pg_time_format(param->integer, time);
        buf_add_c(buf, time);
        return;
    case CEL_P_JSON:
        (void)!json_encode(buf, param->data, JSON_PLAIN); /* a failure sticks */
        return;
    case CEL_P_INTS:
    case CEL_P_FLOATS:
    case CEL_P_TEXTS:
    case CEL_P_BLOBS:
        add_array(buf, param);
        return;
    }
    fail(buf);
}

/* --- arguments -------------------------------------------------------------------------------- */

/* Most types are left to the server (0), which knows the column. */
static Oid type_of(const struct cel_param *param)
{
    switch (param->type) {
    case CEL_P_BYTES:
        return BYTEA_OID;
    case CEL_P_NUMERIC:
        return NUMERIC_OID;
    case CEL_P_TIMESTAMPTZ:
        return TIMESTAMPTZ_OID;
    case CEL_P_JSON:
        return JSONB_OID;
    default:
        return 0;
    }
}

static int set_text(struct pg_arguments *args, size_t i, const struct cel_param *param)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(TEXT_MAX);
    pg_add_param(&text, param);
    int r = buf_status(&text);
    if (r)
        return r == -ENOMEM ? r : -EINVAL;
    args->values[i] = args->owned[i] = buf_take(&text, NULL);
    return args->owned[i] ? 0 : -EINVAL;
}

static int set_argument(struct pg_arguments *args, size_t i, const struct cel_param *param)
{
    args->types[i] = type_of(param);
    if (pg_param_is_null(param))
        return 0;
    switch (param->type) {
    case CEL_P_TEXT:
    case CEL_P_NUMERIC:
        args->values[i] = param->data;
        return 0;
    case CEL_P_BYTES:
        if (param->length > INT_MAX)
            return -EINVAL;
        args->values[i] = param->data ? param->data : "";
        args->lengths[i] = (int)param->length;
        args->formats[i] = 1;
        return 0;
    default:
        return set_text(args, i, param);
    }
}

/* All arrays are one block, the widest first. */
static int allocate(struct pg_arguments *args, size_t count)
{
    size_t each = sizeof(*args->values) + sizeof(*args->owned) + sizeof(*args->lengths) +
                  sizeof(*args->formats) + sizeof(*args->types);
    args->values = mem_array(count, each);
    if (!args->values)
        return -ENOMEM;
    args->owned = (char **)(void *)(args->values + count);
    args->lengths = (int *)(void *)(args->owned + count);
    args->formats = args->lengths + count;
    args->types = (Oid *)(void *)(args->formats + count);
    args->count = count;
    return 0;
}

int pg_arguments_init(struct pg_arguments *args, const struct cel_param *params, size_t count)
{
    *args = (struct pg_arguments){0};
    int r = count > PARAMS_MAX ? -EINVAL : allocate(args, count);
    for (size_t i = 0; !r && i < count; i++)
        r = set_argument(args, i, &params[i]);
    return r;
}

void pg_arguments_deinit(struct pg_arguments *args)
{
    for (size_t i = 0; i < args->count; i++)
        mem_free(args->owned[i]);
    mem_free(args->values);
    *args = (struct pg_arguments){0};
}
