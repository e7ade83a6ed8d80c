#include "store/ledger.h"

enum { NAME_MAX_LEN = 255, ERROR_MAX_LEN = 2000 };

/* --- batches ---------------------------------------------------------------------------------- */

static struct str clip(struct str text, size_t max)
{
    if (text.len <= max)
        return text;
    while (max > 0 && ((unsigned char)text.ptr[max] & 0xc0) == 0x80)
        max--; /* not within a character */
    return str_n(text.ptr, max);
}

static bool has(struct str text, char c)
{
    return text.len > 0 && memchr(text.ptr, c, text.len);
}

/* What PostgreSQL takes for no text becomes "?". */
static void add_escaped(struct buf *buf, struct str text, bool is_utf8)
{
    for (size_t at = 0; at < text.len; at++) {
        char c = text.ptr[at];
        if (c == '"')
            buf_add_c(buf, "\\\"\\\"");
        else if (c == '\\')
            buf_add_c(buf, "\\\\\\\\");
        else
            buf_add_char(buf, c && (is_utf8 || (unsigned char)c < 0x80) ? c : '?');
    }
}

/* A quoted field of a quoted record of an array. */
static void add_text(struct buf *buf, struct str text, size_t max)
{
    if (!text.ptr)
        return; /* NULL */
    text = clip(text, max);
    bool is_utf8 = str_is_utf8(text);
    buf_add(buf, "\\\"", 2);
    if (is_utf8 && !has(text, '"') && !has(text, '\\') && !has(text, '\0'))
        buf_add_str(buf, text);
    else
        add_escaped(buf, text, is_utf8);
    buf_add(buf, "\\\"", 2);
}

/* Zero is NULL. */
static void add_number(struct buf *buf, uint64_t number)
{
    buf_add_char(buf, ',');
    if (number)
        buf_add_u64(buf, number);
}

static void begin_row(struct ledger_batch *batch)
{
    buf_add_c(&batch->rows, batch->rows.len ? ",\"(" : "{\"(");
}

static bool end_row(struct ledger_batch *batch, size_t len, uint64_t attempts)
{
    struct buf *rows = &batch->rows;
    buf_add_c(rows, ")\"");
    if (buf_status(rows)) {
        rows->len = len;
        rows->status = 0;
        return false;
    }
    batch->attempts += attempts;
    return true;
}

bool ledger_batch_add(struct ledger_batch *batch, const struct ledger_attempt *attempt)
{
    struct buf *rows = &batch->rows;
    size_t len = rows->len;
    begin_row(batch);
    add_text(rows, attempt->task, NAME_MAX_LEN);
    buf_add_char(rows, ',');
    add_text(rows, attempt->id, NAME_MAX_LEN);
    buf_add_char(rows, ',');
    add_text(rows, attempt->queue, NAME_MAX_LEN);
    buf_add_char(rows, ',');
    add_text(rows, attempt->outcome, NAME_MAX_LEN);
    add_number(rows, (uint64_t)attempt->pid);
    add_number(rows, attempt->received_wall);
    add_number(rows, attempt->started_wall);
    add_number(rows, attempt->ended_wall);
    add_number(rows, (uint64_t)attempt->term_signal);
    add_number(rows, attempt->peak_rss);
    buf_add_char(rows, ',');
    buf_add_i64(rows, attempt->retries);
    buf_add_char(rows, ',');
    add_text(rows, attempt->error, ERROR_MAX_LEN);
    return end_row(batch, len, 1);
}

bool ledger_batch_add_sum(struct ledger_batch *batch, const struct ledger_sum *sum)
{
    struct buf *rows = &batch->rows;
    size_t len = rows->len;
    begin_row(batch);
    buf_add_u64(rows, sum->minute_wall);
    buf_add_char(rows, ',');
    add_text(rows, sum->task, NAME_MAX_LEN);
    buf_add_char(rows, ',');
    add_text(rows, sum->outcome, NAME_MAX_LEN);
    buf_add_char(rows, ',');
    buf_add_u64(rows, sum->attempts);
    buf_add_char(rows, ',');
    buf_add_u64(rows, sum->run_usec);
    return end_row(batch, len, sum->attempts);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Data that no try will make better; everything else, like a missing table, somebody can mend. */
static bool is_unfit(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0 ||
           strncmp(sqlstate, "54", 2) == 0;
}

int ledger_write(struct pg *pg,
                 const struct ledger_writer *writer,
                 const struct ledger_batch *batch,
                 struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf rows = BUF_INIT(SIZE_MAX / 2);
    buf_add_str(&rows, batch->rows.len ? buf_str(&batch->rows) : STR("{"));
    buf_add_char(&rows, '}');
    if (buf_status(&rows)) {
        error_no_memory(err);
        return PG_E_TRANSIENT;
    }
    int r = pg_query(
        pg,
        batch->detail == LEDGER_FULL ? "SELECT celeriac.ledger_write($1, $2, $3, $4, $5, $6)"
                                     : "SELECT celeriac.ledger_add($1, $2, $3, $4, $5, $6)",
        CEL_PARAMS(cel_p_text(writer->node), cel_p_int(writer->batch),
                   cel_p_int((int64_t)batch->attempts), cel_p_int((int64_t)writer->lost),
                   cel_p_text(writer->name), cel_p_text(rows.ptr)),
        NULL, err);
    return r == PG_E_FAILED && !is_unfit(pg_sqlstate(pg)) ? PG_E_TRANSIENT : r;
}

int ledger_keep(struct pg *pg, int64_t days, struct cel_error *err)
{
    return pg_query(pg, "SELECT celeriac.ledger_keep($1)", CEL_PARAMS(cel_p_int(days)), NULL, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

#define SINCE "to_timestamp($4::bigint / 1e6::float8)"
#define LIKE_TASK                                                                                  \
    "($2::text IS NULL OR task LIKE translate(replace(replace(replace($2, '\\', '\\\\'), '%', "    \
    "'\\%'), '_', '\\_'), '*?', '%_'))"
#define CHOSEN                                                                                     \
    " WHERE ($1::text IS NULL OR task_id = $1) AND " LIKE_TASK                                     \
    " AND ($3::text IS NULL OR outcome = $3) AND ($4::bigint = 0 OR ended_at >= " SINCE            \
    ") AND ($5::text IS NULL OR node = $5)"
#define FILTER                                                                                     \
    cel_p_text(filter->id), cel_p_text(filter->task), cel_p_text(filter->outcome),                 \
        cel_p_int((int64_t)filter->since_wall), cel_p_text(filter->node)
#define USEC(column) "(extract(epoch FROM " column ") * 1000000)::bigint AS " column

int ledger_read(struct pg *pg,
                const struct ledger_filter *filter,
                struct cel_rows **ret_rows,
                struct cel_error *err)
{
    return pg_query(pg,
                    "SELECT " USEC("received_at") ", " USEC("started_at") ", " USEC(
                        "ended_at") ", peak_rss, retries, pid, signal, node, queue, task, task_id, "
                                    "outcome, error FROM celeriac.ledger AS l" CHOSEN
                                    " ORDER BY l.ended_at DESC LIMIT nullif($6::bigint, 0)",
                    CEL_PARAMS(FILTER, cel_p_int((int64_t)filter->limit)), ret_rows, err);
}

int ledger_read_sums(struct pg *pg,
                     const struct ledger_filter *filter,
                     struct cel_rows **ret_rows,
                     struct cel_error *err)
{
    return pg_query(
        pg,
        "SELECT task, outcome, sum(attempts)::bigint AS attempts, (sum(run) / sum(attempts) * "
        "1000000)::bigint AS average, (sum(run) * 1000000)::bigint AS total FROM (SELECT task, "
        "outcome, count(*) AS attempts, coalesce(sum(extract(epoch FROM ended_at - started_at)), "
        "0)::float8 AS run FROM celeriac.ledger" CHOSEN " GROUP BY task, outcome UNION ALL "
        "SELECT task, outcome, sum(attempts), sum(run_seconds) FROM celeriac.ledger_summary WHERE "
        "$1 IS NULL AND $5 IS NULL AND " LIKE_TASK " AND ($3 IS NULL OR outcome = $3) AND ($4 = 0 "
        "OR minute >= date_trunc('minute', " SINCE ")) GROUP BY task, outcome) AS both_kinds "
        "GROUP BY task, outcome ORDER BY task, outcome LIMIT nullif($6::bigint, 0)",
        CEL_PARAMS(FILTER, cel_p_int((int64_t)filter->limit)), ret_rows, err);
}

int ledger_read_lost(struct pg *pg,
                     const struct ledger_filter *filter,
                     int64_t *ret_lost,
                     struct cel_error *err)
{
    struct cel_rows *rows;
    int r = pg_query(pg,
                     "SELECT coalesce(sum(lost), 0)::bigint AS lost FROM celeriac.ledger_node "
                     "WHERE ($1::bigint = 0 OR last_at >= to_timestamp($1::bigint / 1e6::float8)) "
                     "AND ($2::text IS NULL OR left(node, length($2) + 1) = $2 || ':')",
                     CEL_PARAMS(cel_p_int((int64_t)filter->since_wall), cel_p_text(filter->node)),
                     &rows, err);
    if (r)
        return r;
    *ret_lost = cel_row_int(rows, 0, "lost");
    cel_rows_free(rows);
    return 0;
}
