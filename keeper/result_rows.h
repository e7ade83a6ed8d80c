/*
 * Writes results into Django's table (store/django_results.h), off the loop: instead of Redis, as the
 * broker's result store, or beside it. In workers and in beats, whose rescuers end tasks, too.
 *
 * What was given with a callback (instead) is answered when it is committed or cannot be: who told it
 * tells it again. What has none (beside, states on the way, what a rescuer ends) is kept while
 * PostgreSQL is away, up to RESULT_ROWS_KEPT_MAX rows; what does not fit is lost, counted and told.
 *
 *     waiting --up to 500--> one statement on a thread --+--> written
 *        ^                                               +--> refused: told, or counted
 *        +------ a pause, growing to 3 s <-- is away ----+
 *
 * The thread touches the rows of its batch alone.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/list.h"
#include "core/settings.h"
#include "store/django_results.h"

enum { RESULT_ROWS_KEPT_MAX = 10000 };

struct result_rows {
    uv_loop_t *loop;
    struct pg *pg;      /* NULL: no rows are written */
    bool is_instead;    /* of Redis */
    const char *worker; /* node name, borrowed; or NULL */
    uv_work_t work;
    uv_timer_t pause;
    struct list waiting, batch; /* struct row */
    size_t kept, kept_bytes;    /* rows without a callback */
    bool is_busy, is_stopping;
    unsigned failures; /* in a row; not 0: PostgreSQL is away */
    int status;        /* of the batch */
    struct cel_error err;
    uint64_t written, lost, lost_told;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* By `result_backend` and `result_tables`. CEL_E_CONFIG; then and without such a setting nothing is written,
 * and everything but result_rows_init may be called. */
int result_rows_init(struct result_rows *rows,
                     uv_loop_t *loop,
                     const struct settings *settings,
                     const struct config *config,
                     const char *worker,
                     struct cel_error *err) MUST_CHECK;
/* For broker_options.result_store; NULL: results are in Redis. */
const struct broker_result_store *result_rows_store(struct result_rows *rows,
                                                    struct broker_result_store *ret);
/* Without a callback. `is_ours`: this worker ran it, or decided not to. */
void result_rows_add(struct result_rows *rows, const struct broker_result *result, bool is_ours);
/* Tells those that wait for an answer -ECANCELED, writes the others if that can be done at once, then `cb`,
 * at once or later. */
void result_rows_stop(struct result_rows *rows, void (*cb)(void *data), void *data);
/* After result_rows_stop's callback. */
void result_rows_deinit(struct result_rows *rows);
