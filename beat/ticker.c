#include "beat/ticker.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/backoff.h"
#include "core/id.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"
#include "message/call.h"
#include "message/envelope.h"

enum { FIRINGS_MAX = 1024 }; /* under way at one time */

static const usec_t ANSWER_USEC = 5 * USEC_PER_SEC; /* to a firing or a PING */
static const usec_t LATE_USEC =
    30 * USEC_PER_SEC; /* an entry that waits so long has been forgotten */
static const int64_t CLOCK_MOVED_USEC = 1000000; /* less is not worth a line */
static const struct backoff retry_pause = {.first = 100 * USEC_PER_MSEC, .cap = 5 * USEC_PER_SEC};

/* One slot on its way to Redis. */
struct firing {
    struct ticker *ticker;
    struct entry *entry;
    struct due due;
    char id[UUID_SIZE];
};

static void look(struct ticker *ticker);

static void log_fired(const struct firing *firing, bool by_us)
{
    char slot[ISOTIME_SIZE], first[ISOTIME_SIZE];
    const struct entry *entry = firing->entry;
    usec_t now = clock_wall();

    isotime_format(firing->due.slot, slot);
    isotime_format(firing->due.first, first);
    LOG_RECORD(by_us ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
               by_us ? "Entry fired" : "Slot was fired by another beat", F_C("entry", entry->name),
               F_C("slot", slot), F_C("task", entry->call->name),
               F_C("task_id", by_us ? firing->id : NULL),
               F_C("queue", by_us ? entry->call->queue : NULL),
               F_USEC("late", now > firing->due.slot ? now - firing->due.slot : 0),
               F_C("missed_since", firing->due.first != firing->due.slot ? first : NULL));
}

static void log_too_late(const struct entry *entry, const struct due *due)
{
    char first[ISOTIME_SIZE];

    isotime_format(due->first, first);
    log_warning("Slots were missed; too late to fire the last of them", F_C("entry", entry->name),
                F_C("missed_since", first));
}

/* --- when Redis does not answer --------------------------------------------------------------- */

static void go_down(struct ticker *ticker, const char *reason);

static void on_pinged(void *data, int status, const struct cel_error *err)
{
    struct ticker *ticker = data;

    ticker->is_pinging = false;
    if (!ticker->is_running)
        return;
    if (status < 0) {
        go_down(ticker, err->text);
        return;
    }
    log_info("Redis answers again", F_USEC("after", clock_mono() - ticker->down_since_mono));
    ticker->is_down = false;
    look(ticker);
}

static void on_retry(uv_timer_t *timer)
{
    struct ticker *ticker = timer->data;
    int status = broker_ping(ticker->broker, clock_mono() + ANSWER_USEC, on_pinged, ticker);

    ticker->is_pinging = status == 0;
    if (status < 0)
        go_down(ticker, cel_error_name(status));
}

static void go_down(struct ticker *ticker, const char *reason)
{
    usec_t pause;

    if (!ticker->is_down) {
        ticker->is_down = true;
        ticker->down_since_mono = clock_mono();
        ticker->down_attempts = 0;
        log_warning("Redis does not answer; what is due waits", F_C("err", reason));
    }
    if (ticker->is_pinging || uv_is_active((uv_handle_t *)&ticker->retry))
        return; /* another firing of the same moment failed before */
    pause = backoff_delay(&retry_pause, ticker->down_attempts++, backoff_random());
    uv_update_time(ticker->loop);
    uv_timer_start(&ticker->retry, on_retry, pause / USEC_PER_MSEC + 1, 0);
}

/* --- firing ----------------------------------------------------------------------------------- */

/* Redis refused this one entry: it is tried again by itself. */
static void entry_failed(struct ticker *ticker, struct entry *entry, const struct cel_error *err)
{
    usec_t pause = backoff_delay(&retry_pause, entry->attempts, backoff_random());

    if (!entry->is_failing)
        log_error("Entry cannot be fired; it is tried again", F_C("entry", entry->name),
                  F_C("task", entry->call->name), F_C("err", err->text));
    entry->is_failing = true;
    schedule_retry(&ticker->schedule, entry, clock_wall() + pause);
}

static bool is_no_answer(int status)
{
    return status != CEL_E_SERVER && status != -EINVAL && status != -ENOMEM &&
           status != CEL_E_FORMAT && status != CEL_E_LIMIT;
}

/* What the answer means for the entry; `firing` is freed. */
static void finish(struct firing *firing, int status, const struct cel_error *err)
{
    struct ticker *ticker = firing->ticker;
    struct entry *entry = firing->entry;

    if (status >= 0) {
        log_fired(firing, status != BROKER_ALREADY_FIRED);
        ticker->fired += status != BROKER_ALREADY_FIRED;
        entry->is_failing = false;
        schedule_done(&ticker->schedule, entry, firing->due.slot, clock_wall());
    } else if (is_no_answer(status)) {
        schedule_retry(&ticker->schedule, entry, firing->due.slot);
        if (ticker->is_running)
            go_down(ticker, err->text);
    } else {
        entry_failed(ticker, entry, err);
    }
    mem_free(firing);
}

static void on_fired(void *data, int status, const struct cel_error *err)
{
    struct firing *firing = data;
    struct ticker *ticker = firing->ticker;

    ticker->firing_count--;
    finish(firing, status, err);
    if (!ticker->is_running && ticker->firing_count == 0 && ticker->on_idle)
        ticker->on_idle(ticker->on_idle_data);
    look(ticker);
}

static int
encode(struct firing *firing, struct buf *buf, struct broker_message *ret, struct cel_error *err)
{
    const struct ticker *ticker = firing->ticker;
    const struct entry *entry = firing->entry;
    char tag[UUID_SIZE];
    struct str id;
    struct call_context context = {
        .id = uuid_new(firing->id),
        .delivery_tag = uuid_new(tag),
        .default_queue = str_of(ticker->default_queue),
        .routes = ticker->routes,
        .origin = str_of(ticker->origin),
        .periodic_task_name = str_of(entry->name),
        .now_wall = clock_wall(),
    };
    int status = call_encode(entry->call, &context, buf, &id, &ret->queue, err);

    ret->bytes = buf_str(buf);
    ret->step = priority_step(entry->call->priority);
    return status;
}

static void fire(struct ticker *ticker, struct entry *entry, const struct due *due)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct firing *firing = xnew(struct firing);
    struct broker_message message = {0};
    struct cel_error err = {0};
    int status;

    *firing = (struct firing){.ticker = ticker, .entry = entry, .due = *due};
    status = encode(firing, &buf, &message, &err);
    if (status == 0)
        status = broker_fire(ticker->broker, str_of(entry->name), due->slot,
                             entry_mark_ttl(entry, due->slot), &message, clock_mono() + ANSWER_USEC,
                             on_fired, firing);
    if (status == 0) {
        ticker->firing_count++;
        return;
    }
    if (err.code == 0)
        error_set(&err, status, "%s", cel_error_name(status));
    finish(firing, status, &err);
}

/* --- looking at the clock --------------------------------------------------------------------- */

/* A clock that was put back shows times again whose slots may not have been fired: all is planned
 * anew. One that was put forward makes entries due. */
static void look_at_clocks(struct ticker *ticker, usec_t now)
{
    int64_t gap = (int64_t)(now - clock_mono());
    int64_t moved = gap - ticker->clock_gap;

    ticker->clock_gap = gap;
    if (moved > -CLOCK_MOVED_USEC && moved < CLOCK_MOVED_USEC)
        return;
    log_warning("The wall clock was moved", F_I64("usec", moved));
    if (moved < 0)
        schedule_replan(&ticker->schedule, now);
}

static void fire_due(struct ticker *ticker, usec_t now)
{
    while (!ticker->is_down && ticker->firing_count < FIRINGS_MAX) {
        struct due due;
        struct entry *entry = schedule_take(&ticker->schedule, now, &due);
        if (!entry)
            break;
        if (due.is_too_late)
            log_too_late(entry, &due);
        else
            fire(ticker, entry, &due);
    }
}

static void set_alarm(struct ticker *ticker)
{
    usec_t wake = ticker->struck_wall + ticker->max_interval;
    bool is_waiting = ticker->is_down || ticker->firing_count >= FIRINGS_MAX; /* for an answer */

    if (!is_waiting && schedule_wake(&ticker->schedule) < wake)
        wake = schedule_wake(&ticker->schedule);
    if (wake != ticker->alarm_wall)
        alarm_set(&ticker->alarm, wake);
    ticker->alarm_wall = wake;
}

static void look(struct ticker *ticker)
{
    usec_t now = clock_wall();

    if (!ticker->is_running)
        return;
    look_at_clocks(ticker, now);
    fire_due(ticker, now);
    set_alarm(ticker);
}

static void on_alarm(void *data)
{
    struct ticker *ticker = data;

    ticker->struck_wall = clock_wall();
    ticker->alarm_wall = 0;
    look(ticker);
}

/* --- life ------------------------------------------------------------------------------------- */

int ticker_open(struct ticker *ticker, const struct entries *entries, struct cel_error *err)
{
    char host[256];
    int status;

    if (schedule_init(&ticker->schedule, entries->count) < 0)
        return error_no_memory(err);
    status = alarm_open(&ticker->alarm, ticker->loop, on_alarm, ticker, err);
    if (status < 0) {
        schedule_deinit(&ticker->schedule);
        return status;
    }
    uv_timer_init(ticker->loop, &ticker->retry);
    ticker->retry.data = ticker;
    process_hostname(host, sizeof host);
    snprintf(ticker->origin, sizeof ticker->origin, "gen%d@%s", (int)getpid(), host);
    return 0;
}

void ticker_start(struct ticker *ticker, struct broker *broker, const struct entries *entries)
{
    usec_t now = clock_wall();

    for (size_t i = 0; i < entries->count; i++)
        if (entries->items[i]->enabled)
            schedule_add(&ticker->schedule, entries->items[i], now);
    ticker->broker = broker;
    ticker->is_running = true;
    ticker->struck_wall = now;
    ticker->clock_gap = (int64_t)(now - clock_mono());
    look(ticker);
}

void ticker_stop(struct ticker *ticker, void (*on_idle)(void *data), void *data)
{
    ticker->is_running = false;
    uv_timer_stop(&ticker->retry);
    alarm_set(&ticker->alarm, USEC_NEVER);
    ticker->on_idle = on_idle;
    ticker->on_idle_data = data;
    if (ticker->firing_count == 0)
        on_idle(data);
}

void ticker_close(struct ticker *ticker)
{
    alarm_close(&ticker->alarm);
    uv_close((uv_handle_t *)&ticker->retry, NULL);
    schedule_deinit(&ticker->schedule);
}

bool ticker_is_alive(const struct ticker *ticker)
{
    return !ticker->is_running || ticker->is_down ||
           schedule_wake(&ticker->schedule) > clock_wall() - LATE_USEC;
}
