#include "ledger/recorder.h"

#include "core/backoff.h"
#include "core/log.h"
#include "core/process.h"

#define WRITE_USEC   (5 * USEC_PER_SEC) /* at most */
#define TIDY_USEC    (30 * USEC_PER_SEC)
#define FULL_USEC    USEC_PER_SEC        /* how long a row waits for others */
#define SUMMARY_USEC (10 * USEC_PER_SEC) /* and a sum */
#define KEEP_USEC    (3600 * USEC_PER_SEC)
#define LAST_USEC    (5 * USEC_PER_SEC)
enum { TICK_MS = 1000, LAST_TICK_MS = 100 };
static const struct backoff pauses = {.first = 100 * USEC_PER_MSEC, .cap = 5 * USEC_PER_SEC};

static void pump(struct recorder *recorder);

static bool is_on(const struct recorder *recorder)
{
    return recorder->pg != NULL;
}

/* --- the work --------------------------------------------------------------------------------- */

/* In the thread. */
static void work(uv_work_t *handle)
{
    struct recorder *recorder = container_of(handle, struct recorder, work);
    process_block_signals();
    if (recorder->keeps) {
        pg_set_patience(recorder->pg, TIDY_USEC);
        recorder->keep_status =
            ledger_keep(recorder->pg, recorder->options.days, &recorder->keep_err);
        pg_set_patience(recorder->pg, WRITE_USEC);
    }
    recorder->status = recorder->batch ? ledger_write(recorder->pg, &recorder->writer,
                                                      recorder->batch, &recorder->err)
                                       : 0;
    if (recorder->status || recorder->keep_status)
        pg_reset(recorder->pg);
}

static void after_keep(struct recorder *recorder)
{
    recorder->keep_mono = clock_mono() + (recorder->keep_status ? KEEP_USEC / 60 : KEEP_USEC);
    if (recorder->keep_status && !recorder->is_untidy)
        log_warning(
            "The ledger's partitions cannot be made and dropped (celeriac migrate makes it)",
            F_C("err", recorder->keep_err.text));
    recorder->is_untidy = recorder->keep_status != 0;
}

static void on_written(struct recorder *recorder)
{
    if (recorder->is_down)
        log_info("The ledger is written again");
    recorder->is_down = false;
    recorder->failures = 0;
    recorder->written += recorder->batch->attempts;
    recorder->writer.batch++;
    backlog_end(&recorder->backlog);
    if (recorder->loses && recorder->backlog.used <= 1) {
        log_warning("Attempts were lost to the ledger", F_U64("so_far", recorder->backlog.lost));
        recorder->loses = false;
    }
}

static void on_failed(struct recorder *recorder)
{
    if (recorder->status == PG_E_FAILED) {
        log_error("Attempts cannot be written to the ledger; they are lost to it",
                  F_U64("attempts", recorder->batch->attempts), F_C("err", recorder->err.text));
        backlog_give_up(&recorder->backlog); /* the empty batch tells how many were lost */
        return;
    }
    if (!recorder->is_down)
        log_warning("The ledger cannot be written (celeriac migrate makes it); attempts wait",
                    F_C("err", recorder->err.text));
    recorder->is_down = true;
    recorder->again_mono =
        clock_mono() + backoff_delay(&pauses, recorder->failures++, backoff_random());
}

static void after_work(uv_work_t *handle, int cancelled)
{
    struct recorder *recorder = container_of(handle, struct recorder, work);
    (void)cancelled;
    recorder->is_busy = false;
    if (recorder->keeps)
        after_keep(recorder);
    if (recorder->status)
        on_failed(recorder);
    else if (recorder->batch)
        on_written(recorder);
    pump(recorder);
}

/* --- when ------------------------------------------------------------------------------------- */

static void end(struct recorder *recorder)
{
    uint64_t lost = backlog_abandon(&recorder->backlog);
    uv_timer_stop(&recorder->timer);
    if (lost)
        log_error("Attempts were not written to the ledger; they are lost to it",
                  F_U64("attempts", lost), F_C("err", recorder->err.text));
    recorder->stopped(recorder->stopped_data);
}

/* Gives the thread what there is to do. */
static void pump(struct recorder *recorder)
{
    usec_t now = clock_mono();
    if (recorder->is_busy)
        return;
    if (recorder->is_stopping &&
        (now >= recorder->stop_mono || backlog_is_empty(&recorder->backlog))) {
        end(recorder);
        return;
    }
    if (now < recorder->again_mono)
        return;
    bool any = now >= recorder->flush_mono || recorder->is_stopping;
    if (any)
        recorder->flush_mono =
            now + (recorder->options.detail == LEDGER_FULL ? FULL_USEC : SUMMARY_USEC);
    recorder->batch = backlog_batch(&recorder->backlog, any);
    recorder->keeps = now >= recorder->keep_mono && !recorder->is_stopping;
    if (!recorder->batch && !recorder->keeps)
        return;
    recorder->writer.lost = recorder->backlog.lost;
    recorder->is_busy = true;
    recorder->status = recorder->keep_status = 0;
    int r = uv_queue_work(recorder->loop, &recorder->work, work, after_work);
    ASSERT(r == 0);
}

static void on_tick(uv_timer_t *timer)
{
    struct recorder *recorder = container_of(timer, struct recorder, timer);
    if (recorder->backlog.lost > recorder->writer.lost && !recorder->loses) {
        log_warning("The ledger's backlog is full; attempts are lost to it",
                    F_U64("waiting", recorder->backlog.waiting));
        recorder->loses = true;
    }
    pump(recorder);
}

void recorder_add(struct recorder *recorder, const struct ledger_attempt *attempt)
{
    backlog_add(&recorder->backlog, attempt);
    if (!recorder->is_busy && backlog_is_due(&recorder->backlog))
        pump(recorder);
}

/* --- life ------------------------------------------------------------------------------------- */

void recorder_init(struct recorder *recorder,
                   uv_loop_t *loop,
                   const struct recorder_options *options)
{
    *recorder = (struct recorder){
        .loop = loop,
        .options = *options,
        .writer = {.node = options->node, .name = options->name, .batch = 1},
    };
    uv_timer_init(loop, &recorder->timer);
    backlog_init(&recorder->backlog, options->detail, options->most);
    if (options->detail == LEDGER_OFF)
        return;
    recorder->pg = pg_new(options->database, options->uri, 0, NULL);
    ASSERT(recorder->pg);
    pg_set_patience(recorder->pg, WRITE_USEC);
    uv_timer_start(&recorder->timer, on_tick, TICK_MS, TICK_MS);
}

void recorder_stop(struct recorder *recorder, void (*cb)(void *data), void *data)
{
    if (!is_on(recorder)) {
        cb(data);
        return;
    }
    recorder->stopped = cb;
    recorder->stopped_data = data;
    recorder->is_stopping = true;
    recorder->again_mono = recorder->failures = 0;
    recorder->stop_mono = clock_mono() + LAST_USEC;
    uv_timer_start(&recorder->timer, on_tick, LAST_TICK_MS, LAST_TICK_MS);
    pump(recorder);
}

void recorder_deinit(struct recorder *recorder)
{
    pg_free(recorder->pg);
    backlog_deinit(&recorder->backlog);
    uv_close((uv_handle_t *)&recorder->timer, NULL);
}
