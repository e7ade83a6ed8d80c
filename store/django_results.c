/*
 * One statement writes many rows. It cannot write one row twice, so of several documents for one task
 * a state on the way gives way to what follows it, and anything else begins the next statement.
 *
 * `result` and the children are copied as they stand in the document: the JSON text is what Python's
 * json.dumps writes, and what is in it (NaN, \u0000, huge numbers) is none of the server's business. Two
 * columns hold JSON of a text: task_args and task_kwargs, a string with the repr in it.
 */
#include "store/django_results.h"

#include "core/json.h"
#include "core/mem.h"
#include "message/body.h"
#include "message/envelope.h"
#include "message/fields.h"

/* --- what a row is made of -------------------------------------------------------------------- */

struct parts {
    struct str status, traceback, date_done, result_json, children_json; /* of the document */
    struct str
        periodic_task_name;   /* of the message's properties, where django-celery-beat puts it */
    struct envelope envelope; /* all absent when the message cannot be read */
    struct buf scratch, upgraded, properties, properties_scratch;
};

static void parts_deinit(struct parts *parts)
{
    envelope_deinit(&parts->envelope);
    buf_deinit(&parts->scratch);
    buf_deinit(&parts->upgraded);
    buf_deinit(&parts->properties);
    buf_deinit(&parts->properties_scratch);
}

static int field_json(struct fields *fields, void *str_place)
{
    scan_peek(&fields->scan); /* to where the value begins */
    const char *begin = fields->scan.pos;
    int r = scan_skip(&fields->scan);
    *(struct str *)str_place = str_n(begin, (size_t)(fields->scan.pos - begin));
    return r;
}

static const struct field document_fields[] = {
    {STR("status"), field_text, offsetof(struct parts, status)},
    {STR("result"), field_json, offsetof(struct parts, result_json)},
    {STR("traceback"), field_text, offsetof(struct parts, traceback)},
    {STR("children"), field_json, offsetof(struct parts, children_json)},
    {STR("date_done"), field_text, offsetof(struct parts, date_done)},
};
static const struct field property_fields[] = {
    {STR("periodic_task_name"), field_text, offsetof(struct parts, periodic_task_name)},
};

static int read_object(struct parts *parts,
                       struct str text,
                       const struct field *table,
                       size_t count,
                       struct buf *scratch)
{
    struct fields fields = {.target = parts, .scratch = scratch};
    scan_init(&fields.scan, text, VALUE_DEPTH_MAX + 1);
    int r = fields_object(&fields, table, count, NULL);
    return r < 0 ? r : fields.status;
}

static void read_message(struct parts *parts, struct str message)
{
    if (!message.len ||
        envelope_decode_any(message, &parts->upgraded, &parts->envelope, NULL) != 0 ||
        !parts->envelope.other_properties.len)
        return;
    buf_add_char(&parts->properties, '{');
    buf_add_str(&parts->properties, parts->envelope.other_properties);
    buf_add_char(&parts->properties, '}');
    if (buf_status(&parts->properties) == 0 &&
        read_object(parts, buf_str(&parts->properties), property_fields,
                    ARRAY_SIZE(property_fields), &parts->properties_scratch) < 0)
        parts->periodic_task_name = STR_NONE;
}

/* --- the statement ---------------------------------------------------------------------------- */

static const char insert[] =
    "INSERT INTO django_celery_results_taskresult AS old (task_id, task_name, periodic_task_name,"
    " task_args, task_kwargs, worker, status, result, traceback, meta, content_type,"
    " content_encoding, date_created, date_done)"
    " SELECT id, left(name, 255), left(periodic, 255), args, kwargs, left(worker, 100),"
    " left(status, 50), result, traceback, meta, 'application/json', 'utf-8', done::timestamptz,"
    " done::timestamptz FROM new ORDER BY number"
    " ON CONFLICT (task_id) DO UPDATE SET task_name = EXCLUDED.task_name,"
    " periodic_task_name = EXCLUDED.periodic_task_name, task_args = EXCLUDED.task_args,"
    " task_kwargs = EXCLUDED.task_kwargs, worker = EXCLUDED.worker, status = EXCLUDED.status,"
    " result = EXCLUDED.result, traceback = EXCLUDED.traceback, meta = EXCLUDED.meta,"
    " content_type = EXCLUDED.content_type, content_encoding = EXCLUDED.content_encoding,"
    " date_done = EXCLUDED.date_done"
    " WHERE old.status <> 'SUCCESS' AND (old.status NOT IN ('FAILURE', 'REVOKED')"
    " OR EXCLUDED.task_id NOT IN (SELECT id FROM new WHERE spares))";

/* A literal cannot hold a zero byte; Python's driver refuses it, too. */
static void add_literal(const struct pg *pg, struct buf *sql, struct str text)
{
    CLEANUP(buf_deinit) struct buf clean = BUF_INIT(SIZE_MAX / 2);
    struct str rest = text, part;
    bool has_zero = text.len > 0 && memchr(text.ptr, 0, text.len);
    while (has_zero && str_split(&rest, '\0', &part)) {
        buf_add_str(&clean, part);
        buf_add_c(&clean, rest.ptr ? "\xef\xbf\xbd" : "");
    }
    if (buf_status(&clean))
        sql->status = buf_status(&clean);
    pg_add_literal(pg, sql, has_zero ? buf_str(&clean) : text);
    buf_add_c(sql, ", ");
}

/* JSON of the repr; of a message that has none, of the arguments themselves. */
static void add_arguments(const struct pg *pg,
                          struct buf *sql,
                          struct str repr,
                          const struct cel_value *arguments)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(VALUE_BYTES_MAX);
    if (repr.ptr)
        json_add_text(&json, repr);
    else if (arguments && json_encode(&json, arguments, JSON_PLAIN) < 0)
        buf_clear(&json);
    add_literal(pg, sql, json.len > 0 && buf_status(&json) == 0 ? buf_str(&json) : STR_NONE);
}

static void
add_both_arguments(const struct pg *pg, struct buf *sql, const struct envelope *envelope)
{
    struct body body = {0};
    bool has_body = envelope->task.ptr && !(envelope->argsrepr.ptr && envelope->kwargsrepr.ptr) &&
                    body_decode(envelope, &body, NULL) == 0;
    add_arguments(pg, sql, envelope->argsrepr, body.args);
    add_arguments(pg, sql, envelope->kwargsrepr, body.kwargs);
    if (has_body)
        body_deinit(&body);
}

static void add_meta(const struct pg *pg, struct buf *sql, struct str children_json)
{
    CLEANUP(buf_deinit) struct buf meta = BUF_INIT(SIZE_MAX / 2);
    buf_add_c(&meta, "{\"children\": ");
    buf_add_str(&meta, children_json.ptr ? children_json : STR("[]"));
    buf_add_char(&meta, '}');
    if (buf_status(&meta))
        sql->status = buf_status(&meta);
    else
        add_literal(pg, sql, buf_str(&meta));
}

static int
add_row(const struct pg *pg, struct buf *sql, const struct django_row *row, size_t number)
{
    char date[ISOTIME_SIZE];
    CLEANUP(parts_deinit)
    struct parts parts = {.upgraded = BUF_INIT(2 * ENVELOPE_BYTES_MAX),
                          .properties = BUF_INIT(2 * ENVELOPE_BYTES_MAX)};
    int r = read_object(&parts, row->document, document_fields, ARRAY_SIZE(document_fields),
                        &parts.scratch);
    if (r < 0)
        return r;
    read_message(&parts, row->message);
    buf_addf(sql, "%s(%zu, %s, ", number ? ", " : "", number, row->spares_final ? "true" : "false");
    add_literal(pg, sql, row->id);
    add_literal(pg, sql, parts.envelope.task);
    add_literal(pg, sql, parts.periodic_task_name);
    add_both_arguments(pg, sql, &parts.envelope);
    add_literal(pg, sql, row->worker);
    add_literal(pg, sql, parts.status);
    add_literal(pg, sql, parts.result_json);
    add_literal(pg, sql, parts.traceback);
    add_meta(pg, sql, parts.children_json);
    pg_add_literal(pg, sql,
                   parts.date_done.ptr ? parts.date_done : isotime_format(row->done_wall, date));
    buf_add_char(sql, ')');
    return buf_status(sql);
}

/* Data, constraints, sizes. A table that is missing or a right that is are no fault of the row. */
static bool is_of_row(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0 ||
           strncmp(sqlstate, "54", 2) == 0;
}

/* Writes rows that are of different tasks; says for all of them what became of it. */
static int write_at_once(struct pg *pg, struct django_row *const *rows, size_t count)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SIZE_MAX / 2);
    struct cel_error err = {0};
    int r = pg_connect(pg, &err);
    if (!r) {
        buf_add_c(&sql,
                  "WITH new (number, spares, id, name, periodic, args, kwargs, worker, status,"
                  " result, traceback, meta, done) AS (VALUES ");
        for (size_t i = 0; i < count && !r; i++)
            r = add_row(pg, &sql, rows[i], i);
        buf_add_c(&sql, ") ");
        buf_add_c(&sql, insert);
        if (r || buf_status(&sql)) {
            error_set(&err, CEL_E_DATABASE, "a result cannot be written down as a row");
            r = PG_E_FAILED;
        } else {
            r = pg_exec(pg, sql.ptr, &err);
            r = r == PG_E_FAILED && !is_of_row(pg_sqlstate(pg)) ? PG_E_TRANSIENT : r;
        }
    }
    for (size_t i = 0; i < count; i++) {
        rows[i]->status = r;
        rows[i]->err = err;
    }
    return r;
}

/* One row that the server refuses shall not hold up the others. */
static int write_each(struct pg *pg, struct django_row *const *rows, size_t count)
{
    int r = write_at_once(pg, rows, count);
    for (size_t i = 0; r == PG_E_FAILED && count > 1 && i < count; i++) {
        if (write_at_once(pg, &rows[i], 1) == PG_E_TRANSIENT)
            r = PG_E_TRANSIENT;
    }
    return r;
}

/* --- from outside ----------------------------------------------------------------------------- */

/* Puts what can be written at once into `ret`, from rows[first] on; returns where it ends. */
static size_t gather(
    struct django_row *const *rows, size_t first, size_t count, struct django_row **ret, size_t *n)
{
    *n = 0;
    for (size_t i = first; i < count; i++) {
        size_t same = 0;
        while (same < *n && !str_equal(ret[same]->id, rows[i]->id))
            same++;
        if (same < *n && !ret[same]->spares_final)
            return i;
        if (same < *n)
            memmove(&ret[same], &ret[same + 1], (--*n - same) * sizeof(*ret));
        ret[(*n)++] = rows[i];
    }
    return count;
}

int django_results_write(struct pg *pg,
                         struct django_row *const *rows,
                         size_t count,
                         struct cel_error *err)
{
    struct django_row **some = mem_array(count, sizeof(struct django_row *));
    int r = some ? 0 : PG_E_TRANSIENT;
    if (!some)
        error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        rows[i]->status = r; /* of one that gives way: it is done with */
    for (size_t at = 0, n; at < count && !r;) {
        size_t next = gather(rows, at, count, some, &n);
        if (write_each(pg, some, n) == PG_E_TRANSIENT)
            r = PG_E_TRANSIENT;
        for (; r && next < count; next++)
            rows[next]->status = r;
        at = next;
    }
    for (size_t i = 0; r && some && i < count; i++) {
        if (rows[i]->status == PG_E_TRANSIENT && rows[i]->err.code && err)
            *err = rows[i]->err;
    }
    mem_free(some);
    return r;
}

int django_results_state(struct pg *pg, struct str id, struct buf *document, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(4096);
    int r = pg_connect(pg, err);
    if (r)
        return r;
    buf_add_c(&sql, "SELECT json_build_object('status', status)"
                    " FROM django_celery_results_taskresult WHERE task_id = ");
    pg_add_literal(pg, &sql, id);
    if (buf_status(&sql)) {
        error_set(err, CEL_E_DATABASE, "no id of a task");
        return PG_E_FAILED;
    }
    struct cel_rows *rows = NULL;
    r = pg_exec_rows(pg, sql.ptr, &rows, err);
    if (!r && cel_rows_count(rows) > 0)
        buf_add_c(document, cel_row_text(rows, 0, "json_build_object"));
    cel_rows_free(rows);
    return r;
}
