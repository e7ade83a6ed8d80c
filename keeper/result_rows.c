#include "keeper/result_rows.h"

#include <errno.h>

#include "core/backoff.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"

enum { BATCH_MAX = 500, BATCH_BYTES_MAX = 8 << 20, KEPT_BYTES_MAX = 64 << 20 };
#define PATIENCE_USEC (10 * USEC_PER_SEC)
#define LOOK_USEC     (5 * USEC_PER_SEC) /* so long a look waits for PostgreSQL */
static const struct backoff pauses = {.first = 100 * USEC_PER_MSEC, .cap = 3 * USEC_PER_SEC};

struct row {
    struct list_link link;
    struct django_row django; /* its texts are in `texts` */
    broker_done_fn *done;     /* or NULL */
    broker_result_fn *got;    /* not NULL: it is not written but looked at */
    void *data;
    struct buf document; /* of `got` */
    usec_t asked_mono;
    size_t size;
    char texts[];
};

static struct row *row_of(struct list_link *link)
{
    return container_of(link, struct row, link);
}

static bool is_kept(const struct row *row)
{
    return !row->done && !row->got;
}

static struct str put(char **at, struct str text)
{
    char *begin = *at;
    if (!text.ptr)
        return STR_NONE;
    memcpy(begin, text.ptr, text.len);
    *at += text.len;
    return str_n(begin, text.len);
}

static struct row *row_new(const struct broker_result *result, struct str worker)
{
    size_t size = sizeof(struct row) + result->id.len + result->document.len + result->message.len;
    struct row *row = mem_alloc(size);
    if (!row)
        return NULL;
    char *at = row->texts;
    row->size = size;
    row->django = (struct django_row){.id = put(&at, result->id),
                                      .document = put(&at, result->document),
                                      .message = put(&at, result->message),
                                      .worker = worker,
                                      .spares_final = result->spares_final,
                                      .done_wall = clock_wall()};
    row->asked_mono = clock_mono();
    buf_init(&row->document, 256);
    return row;
}

static void row_free(struct row *row)
{
    buf_deinit(&row->document);
    mem_free(row);
}

/* --- what is lost ----------------------------------------------------------------------------- */

static void lose(struct result_rows *rows, const char *why)
{
    if (rows->lost++ == rows->lost_told)
        log_error("Rows of results are lost", F_C("why", why));
}

static void tell_lost(struct result_rows *rows)
{
    if (rows->lost > rows->lost_told)
        log_error("Rows of results were lost", F_U64("rows", rows->lost - rows->lost_told));
    rows->lost_told = rows->lost;
}

/* --- one batch -------------------------------------------------------------------------------- */

/* Ends a row in one of three ways, and frees it. */
static void tell(struct result_rows *rows, struct row *row, int status, const struct cel_error *err)
{
    if (is_kept(row)) {
        rows->kept--;
        rows->kept_bytes -= row->size;
    }
    if (row->got)
        row->got(row->data, status, row->document.len > 0 ? buf_str(&row->document) : STR_NONE,
                 err);
    else if (row->done)
        row->done(row->data, status, err);
    else if (status)
        lose(rows, err ? err->text : cel_error_name(status));
    row_free(row);
}

/* What a condition of PostgreSQL is to who waits. */
static int status_of(int condition)
{
    return condition == PG_E_TRANSIENT ? CEL_E_DATABASE : condition ? CEL_E_SERVER : 0;
}

static int look(struct result_rows *rows, struct row *row)
{
    row->django.status = django_results_state(rows->pg, row->django.id, &row->document, &rows->err);
    row->django.err = rows->err;
    return row->django.status;
}

/* In the thread. */
static void write_batch(uv_work_t *work)
{
    struct result_rows *rows = container_of(work, struct result_rows, work);
    struct django_row *django[BATCH_MAX];
    size_t count = 0;
    process_block_signals();
    rows->status = 0;
    pg_reset(rows->pg);
    for (struct list_link *link = rows->batch.head; link; link = link->next) {
        struct row *row = row_of(link);
        if (!row->got)
            django[count++] = &row->django;
        else if (look(rows, row) == PG_E_TRANSIENT)
            rows->status = PG_E_TRANSIENT;
    }
    if (count > 0 && django_results_write(rows->pg, django, count, &rows->err))
        rows->status = PG_E_TRANSIENT;
}

static void start(struct result_rows *rows);

static void on_pause_over(uv_timer_t *timer)
{
    start(container_of(timer, struct result_rows, pause));
}

/* What was not written and nobody else keeps goes back to where it stood. */
static void end_batch(struct result_rows *rows)
{
    struct list kept = {0};
    for (struct list_link *link; (link = list_pop(&rows->batch));) {
        struct row *row = row_of(link);
        int status = status_of(row->django.status);
        rows->written += status == 0 && !row->got;
        bool waits = row->got && clock_mono() - row->asked_mono < LOOK_USEC;
        if (status == CEL_E_DATABASE && (is_kept(row) || waits))
            list_append(&kept, &row->link);
        else
            tell(rows, row, status, status ? &row->django.err : NULL);
    }
    while (kept.tail) {
        struct list_link *link = kept.tail;
        list_remove(&kept, link);
        list_prepend(&rows->waiting, link);
    }
}

/* Those that want to know whether their row is stored; at the end those that look as well. */
static void tell_waiters(struct result_rows *rows, int status, const struct cel_error *err)
{
    struct list_link *link = rows->waiting.head;
    while (link) {
        struct row *row = row_of(link);
        link = link->next;
        if (is_kept(row) || (row->got && status != -ECANCELED))
            continue;
        list_remove(&rows->waiting, &row->link);
        tell(rows, row, status, err);
    }
}

static void finish(struct result_rows *rows)
{
    static const struct cel_error gone = {.code = -ECANCELED,
                                          .text = "stopped while PostgreSQL was away"};
    for (struct list_link *link; (link = list_pop(&rows->waiting));)
        tell(rows, row_of(link), -ECANCELED, &gone);
    tell_lost(rows);
    rows->stopped(rows->stopped_data);
}

static void pause_for_a_while(struct result_rows *rows)
{
    usec_t usec = backoff_delay(&pauses, rows->failures, backoff_random());
    if (rows->failures++ == 0)
        log_warning(rows->is_instead
                        ? "Results cannot be written to PostgreSQL; they are told again"
                        : "Rows of results cannot be written; they are kept",
                    F_C("err", rows->err.text));
    uv_update_time(rows->loop);
    uv_timer_start(&rows->pause, on_pause_over, usec / USEC_PER_MSEC + 1, 0);
}

static void after_batch(uv_work_t *work, int cancelled)
{
    struct result_rows *rows = container_of(work, struct result_rows, work);
    bool has_failed = rows->status != 0;
    (void)cancelled;
    if (has_failed && !rows->is_stopping) {
        pause_for_a_while(rows);
        tell_waiters(rows, CEL_E_DATABASE, &rows->err);
    } else if (!has_failed) {
        if (rows->failures > 0)
            log_info("Rows of results are written again");
        rows->failures = 0;
    }
    end_batch(rows);
    rows->is_busy = false;
    if (!has_failed && rows->kept < RESULT_ROWS_KEPT_MAX / 2)
        tell_lost(rows);
    if (rows->is_stopping && (has_failed || rows->waiting.count == 0))
        finish(rows);
    else
        start(rows);
}

static void start(struct result_rows *rows)
{
    size_t bytes = 0;
    if (rows->is_busy || rows->waiting.count == 0 || uv_is_active((uv_handle_t *)&rows->pause))
        return;
    while (rows->waiting.head && rows->batch.count < BATCH_MAX && bytes < BATCH_BYTES_MAX) {
        struct list_link *link = list_pop(&rows->waiting);
        bytes += row_of(link)->size;
        list_append(&rows->batch, link);
    }
    rows->is_busy = true;
    rows->err = (struct cel_error){0};
    int r = uv_queue_work(rows->loop, &rows->work, write_batch, after_batch);
    ASSERT(r == 0);
}

/* --- from outside ----------------------------------------------------------------------------- */

/* 0, or why it is not taken. */
static int take(struct result_rows *rows, struct row *row)
{
    if (!row)
        return -ENOMEM;
    list_append(&rows->waiting, &row->link);
    start(rows);
    return 0;
}

void result_rows_add(struct result_rows *rows, const struct broker_result *result, bool is_ours)
{
    if (!rows->pg || rows->is_stopping)
        return;
    bool fits = rows->kept < RESULT_ROWS_KEPT_MAX && rows->kept_bytes < KEPT_BYTES_MAX;
    struct row *row = fits ? row_new(result, str_of(is_ours ? rows->worker : NULL)) : NULL;
    if (!row) {
        lose(rows, fits ? "out of memory" : "PostgreSQL is away or slow, and no more are kept");
        return;
    }
    rows->kept++;
    rows->kept_bytes += row->size;
    int r = take(rows, row);
    ASSERT(r == 0);
}

/* While PostgreSQL is away nobody waits here: whether a claim is still ours is looked at anew. */
static int store(void *data, const struct broker_result *result, broker_done_fn *cb, void *cb_data)
{
    struct result_rows *rows = data;
    if (rows->is_stopping || uv_is_active((const uv_handle_t *)&rows->pause))
        return rows->is_stopping ? -ECANCELED : -EAGAIN;
    struct row *row = row_new(result, str_of(rows->worker));
    if (row) {
        row->done = cb;
        row->data = cb_data;
    }
    return take(rows, row);
}

static int get(void *data, struct str id, broker_result_fn *cb, void *cb_data)
{
    struct result_rows *rows = data;
    if (rows->is_stopping)
        return -ECANCELED;
    struct row *row = row_new(&(struct broker_result){.id = id}, STR_NONE);
    if (row) {
        row->got = cb;
        row->data = cb_data;
    }
    return take(rows, row);
}

const struct broker_result_store *result_rows_store(struct result_rows *rows,
                                                    struct broker_result_store *ret)
{
    *ret = (struct broker_result_store){.store = store, .get = get, .data = rows};
    return rows->is_instead ? ret : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

/* "db+postgresql://..." as Celery writes it, "django-db": the database of the tasks, or libpq's own form. */
static const char *
uri_of(const char *value, const struct settings *settings, const struct config *config)
{
    if (strcmp(value, "django-db") == 0)
        return settings_database(settings, config);
    return str_starts(str_of(value), STR("db+")) ? value + strlen("db+") : value;
}

int result_rows_init(struct result_rows *rows,
                     uv_loop_t *loop,
                     const struct settings *settings,
                     const struct config *config,
                     const char *worker,
                     struct cel_error *err)
{
    bool is_instead = broker_is_result_table(settings->result_backend);
    const char *name = is_instead ? "result_backend" : "result_tables";
    const char *value = is_instead ? settings->result_backend : settings->result_tables;
    *rows = (struct result_rows){.loop = loop, .worker = worker};
    uv_timer_init(loop, &rows->pause);
    if (!*value)
        return 0;
    if (is_instead && *settings->result_tables)
        return error_set(err, CEL_E_CONFIG,
                         "result_tables is for results in Redis: result_backend is PostgreSQL");
    const char *uri = uri_of(value, settings, config);
    if (!uri)
        return error_set(err, CEL_E_CONFIG, "%s is django-db, and there is no database \"default\"",
                         name);
    int r = pg_uri_check(uri, err);
    if (r < 0) {
        error_wrap(err, "%s", name);
        return r;
    }
    rows->pg = pg_new("results", uri, 0, NULL);
    if (!rows->pg)
        return error_no_memory(err);
    pg_set_patience(rows->pg, PATIENCE_USEC);
    rows->is_instead = is_instead;
    return 0;
}

void result_rows_stop(struct result_rows *rows, void (*cb)(void *data), void *data)
{
    static const struct cel_error stopped = {.code = -ECANCELED, .text = "the worker stops"};
    rows->is_stopping = true;
    rows->stopped = cb;
    rows->stopped_data = data;
    uv_timer_stop(&rows->pause);
    tell_waiters(rows, -ECANCELED, &stopped);
    start(rows);
    if (!rows->is_busy)
        finish(rows);
}

void result_rows_deinit(struct result_rows *rows)
{
    pg_free(rows->pg);
    uv_close((uv_handle_t *)&rows->pause, NULL);
}
