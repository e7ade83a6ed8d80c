#include "beat/relay.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/backoff.h"
#include "core/id.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"
#include "message/call_json.h"
#include "message/envelope.h"

enum { BATCH_MAX = 500 };
#define PATIENCE_USEC (10 * USEC_PER_SEC)
#define PUSH_USEC     (5 * USEC_PER_SEC)
#define LOOK_USEC     USEC_PER_SEC /* word of new rows may be missed */
#define EXPIRE_USEC   (3600 * USEC_PER_SEC)
#define MARK_USEC     (365 * 24 * 3600 * USEC_PER_SEC)
static const struct backoff pauses = {.first = 100 * USEC_PER_MSEC, .cap = 10 * USEC_PER_SEC};

static void take(struct relay *relay);

/* --- the batch -------------------------------------------------------------------------------- */

static void forget_batch(struct relay *relay)
{
    for (size_t i = 0; i < relay->count; i++) {
        cel_message_free(&relay->items[i].written);
        mem_free(relay->items[i].refused);
    }
    mem_free(relay->items);
    mem_free(relay->messages);
    mem_free(relay->places);
    relay->rows = cel_rows_free(relay->rows);
    relay->items = NULL;
    relay->messages = NULL;
    relay->places = NULL;
    relay->count = relay->message_count = 0;
}

static void refuse(struct relay *relay, struct relay_row *item, const char *reason)
{
    mem_free(item->refused);
    item->refused = xstrdup(reason);
    log_error("A call in the outbox cannot be published", F_I64("number", item->row.number),
              F_STR("task_id", item->row.id), F_C("err", reason));
    relay->refused++;
}

/* The message of a row that holds a call. */
static int write_message(const struct relay *relay,
                         struct relay_row *item,
                         struct broker_message *ret,
                         struct cel_error *err)
{
    struct cel_call *call;
    char tag[UUID_SIZE];
    int status = call_from_json(item->row.call, &call, err);
    if (status)
        return status;
    const struct call_context context = {.id = item->row.id,
                                         .delivery_tag = uuid_new(tag),
                                         .default_queue = str_of(relay->default_queue),
                                         .routes = relay->routes,
                                         .origin = str_of(relay->origin),
                                         .now_wall = item->row.created_wall};
    status = call_message(call, &context, &item->written, err);
    cel_call_free(call);
    if (status)
        return status;
    *ret = (struct broker_message){.queue = str_of(item->written.queue),
                                   .step = (unsigned)item->written.step,
                                   .bytes = str_of(item->written.text)};
    return 0;
}

/* The message of a row that holds it as it is. */
static int
read_message(const struct relay_row *item, struct broker_message *ret, struct cel_error *err)
{
    const struct outbox_row *row = &item->row;
    int status = call_check_queue(row->queue, err);
    if (status)
        return status;
    if ((int64_t)priority_step(row->step) != row->step)
        return error_set(err, -EINVAL, "a message's step is 0, 3, 6 or 9, not %lld",
                         (long long)row->step);
    *ret = (struct broker_message){
        .queue = row->queue, .step = (unsigned)row->step, .bytes = row->message};
    return 0;
}

static void
add_message(struct relay *relay, struct relay_row *item, const struct broker_message *message)
{
    snprintf(item->mark, sizeof(item->mark), "outbox.%s.%lld", relay->identity,
             (long long)item->row.number);
    relay->places[relay->message_count] = (size_t)(item - relay->items);
    relay->messages[relay->message_count] = *message;
    relay->messages[relay->message_count++].id = str_of(item->mark);
}

static void write_batch(struct relay *relay)
{
    size_t count = cel_rows_count(relay->rows);
    relay->items = xgrow(NULL, count, sizeof(*relay->items));
    relay->messages = xgrow(NULL, count, sizeof(*relay->messages));
    relay->places = xgrow(NULL, count, sizeof(*relay->places));
    for (relay->count = 0; relay->count < count; relay->count++) {
        struct relay_row *item = &relay->items[relay->count];
        struct cel_error err = {0};
        *item = (struct relay_row){.row = outbox_row(relay->rows, relay->count)};
        struct broker_message message;
        int status = item->row.call.ptr ? write_message(relay, item, &message, &err)
                                        : read_message(item, &message, &err);
        if (!status)
            add_message(relay, item, &message);
        else if (status != -ENOMEM) /* else it stays for the next batch */
            refuse(relay, item, err.text);
    }
}

/* --- when something is away ------------------------------------------------------------------- */

static bool end_if_stopping(struct relay *relay)
{
    if (!relay->is_stopping)
        return false;
    relay->state = RELAY_OFF;
    relay->stopped(relay->stopped_data);
    return true;
}

static void on_pause_over(uv_timer_t *timer)
{
    take(container_of(timer, struct relay, pause));
}

static void pause_for_a_while(struct relay *relay)
{
    usec_t usec = backoff_delay(&pauses, relay->attempts++, backoff_random());
    relay->state = RELAY_PAUSING;
    uv_update_time(relay->loop);
    uv_timer_start(&relay->pause, on_pause_over, usec / USEC_PER_MSEC + 1, 0);
}

static void note_down(struct relay *relay, const char *what, const struct cel_error *err)
{
    if (!relay->is_down)
        log_warning(what, F_C("err", err->text));
    relay->is_down = true;
}

static void note_up(struct relay *relay)
{
    if (relay->is_down)
        log_info("The outbox is relayed again");
    relay->is_down = false;
    relay->attempts = 0;
}

/* --- ENDING ----------------------------------------------------------------------------------- */

static void on_forgotten(void *data, int status, const struct cel_error *err)
{
    (void)data, (void)status, (void)err; /* a mark that stays goes by itself */
}

static bool is_published(const struct relay *relay, size_t message)
{
    return message < relay->pushed.sure;
}

/* In the thread. */
static void end_batch(uv_work_t *work)
{
    struct relay *relay = container_of(work, struct relay, work);
    struct outbox_end *ends = mem_array(relay->count, sizeof(*ends));
    size_t count = 0;
    process_block_signals();
    for (size_t i = 0; ends && i < relay->count; i++) {
        if (relay->items[i].refused)
            ends[count++] =
                (struct outbox_end){relay->items[i].row.number, relay->items[i].refused};
    }
    for (size_t i = 0; ends && i < relay->message_count && is_published(relay, i); i++)
        ends[count++] = (struct outbox_end){.number = relay->items[relay->places[i]].row.number};
    relay->status =
        ends ? outbox_end(relay->pg, ends, count, &relay->err) : error_no_memory(&relay->err);
    if (relay->status)
        pg_reset(relay->pg);
    mem_free(ends);
}

static void after_end(uv_work_t *work, int cancelled)
{
    struct relay *relay = container_of(work, struct relay, work);
    (void)cancelled;
    size_t sure = relay->pushed.sure;
    if (!relay->status && sure > 0) {
        relay->published += sure;
        if (broker_forget_pushed(relay->broker, relay->messages, sure, clock_mono() + PUSH_USEC,
                                 on_forgotten, NULL) < 0)
            log_debug("Marks of published rows stay for a year");
    }
    bool failed = relay->status || relay->push_status;
    if (relay->status) {
        note_down(relay, "The outbox cannot be relayed; its rows stay", &relay->err);
        relay->is_open = false;
    }
    forget_batch(relay);
    if (end_if_stopping(relay))
        return;
    if (failed) {
        pause_for_a_while(relay);
        return;
    }
    note_up(relay);
    take(relay);
}

static void end(struct relay *relay)
{
    relay->state = RELAY_ENDING;
    relay->err = (struct cel_error){0};
    int r = uv_queue_work(relay->loop, &relay->work, end_batch, after_end);
    ASSERT(r == 0);
}

/* --- PUSHING ---------------------------------------------------------------------------------- */

static bool is_wrong_type(int status, const struct cel_error *err)
{
    return status == CEL_E_SERVER && strstr(err->text, "WRONGTYPE");
}

static void on_pushed(void *data, int status, const struct cel_error *err)
{
    struct relay *relay = data;
    size_t first = relay->pushed.sure;
    relay->push_status = status;
    if (is_wrong_type(status, err) && first < relay->message_count) {
        refuse(relay, &relay->items[relay->places[first]], err->text);
        relay->push_status = 0;
    } else if (status) {
        note_down(relay, "The outbox cannot be published; its rows stay", err);
    }
    end(relay);
}

static void push(struct relay *relay)
{
    static const struct broker_promises promises = {.once_within = MARK_USEC};
    relay->state = RELAY_PUSHING;
    relay->pushed = (struct broker_pushed){0};
    relay->push_status = 0;
    if (relay->message_count == 0) {
        end(relay);
        return;
    }
    int status =
        broker_push_promised(relay->broker, relay->messages, relay->message_count, &promises,
                             clock_mono() + PUSH_USEC, &relay->pushed, on_pushed, relay);
    if (status) {
        struct cel_error err;
        error_set(&err, status, "%s", cel_error_name(status));
        on_pushed(relay, status, &err);
    }
}

/* --- TAKING ----------------------------------------------------------------------------------- */

/* In the thread. What fails here holds no row up, unless the connection went with it. */
static void expire_effects(struct relay *relay)
{
    usec_t now = clock_mono();
    if (now < relay->expire_mono)
        return;
    relay->expire_mono = now + EXPIRE_USEC;
    relay->expire_status = effect_expire(relay->pg, &relay->expire_err);
}

/* In the thread. */
static void take_batch(uv_work_t *work)
{
    struct relay *relay = container_of(work, struct relay, work);
    struct cel_error *err = &relay->err;
    process_block_signals();
    int r = relay->is_open ? 0 : outbox_open(relay->pg, relay->identity, err);
    relay->is_open = !r;
    if (!r)
        r = outbox_take(relay->pg, BATCH_MAX, &relay->rows, err);
    if (!r && cel_rows_count(relay->rows) == 0) {
        r = pg_rollback(relay->pg, err);
        if (!r)
            expire_effects(relay);
        if (!r)
            r = pg_wait_notified(relay->pg, relay->wake_fd, LOOK_USEC, err);
    }
    if (r) {
        pg_reset(relay->pg);
        relay->is_open = false;
    }
    relay->status = r;
}

static void after_take(uv_work_t *work, int cancelled)
{
    struct relay *relay = container_of(work, struct relay, work);
    (void)cancelled;
    if (relay->expire_status)
        log_warning("Old markers of exactly-once effects stay for another hour",
                    F_C("err", relay->expire_err.text));
    if (relay->status) {
        note_down(relay, "The outbox cannot be read (celeriac migrate makes it)", &relay->err);
        forget_batch(relay);
        if (!end_if_stopping(relay))
            pause_for_a_while(relay);
    } else if (cel_rows_count(relay->rows) > 0) {
        write_batch(relay);
        push(relay);
    } else {
        note_up(relay);
        forget_batch(relay);
        if (!end_if_stopping(relay))
            take(relay);
    }
}

static void take(struct relay *relay)
{
    relay->state = RELAY_TAKING;
    relay->err = (struct cel_error){0};
    relay->expire_status = 0;
    int r = uv_queue_work(relay->loop, &relay->work, take_batch, after_take);
    ASSERT(r == 0);
}

/* --- life ------------------------------------------------------------------------------------- */

void relay_init(struct relay *relay,
                uv_loop_t *loop,
                struct broker *broker,
                const char *uri,
                const char *default_queue,
                const char *origin)
{
    *relay = (struct relay){.loop = loop,
                            .broker = broker,
                            .default_queue = default_queue,
                            .origin = origin,
                            .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    ASSERT(relay->wake_fd >= 0);
    relay->pg = uri ? pg_new("default", uri, 0, NULL) : NULL;
    ASSERT(relay->pg || !uri);
    if (relay->pg)
        pg_set_patience(relay->pg, PATIENCE_USEC);
    uv_timer_init(loop, &relay->pause);
}

void relay_start(struct relay *relay)
{
    if (relay->pg)
        take(relay);
}

void relay_stop(struct relay *relay, void (*cb)(void *data), void *data)
{
    static const uint64_t one = 1;
    relay->is_stopping = true;
    relay->stopped = cb;
    relay->stopped_data = data;
    if (relay->state == RELAY_OFF || relay->state == RELAY_PAUSING) {
        uv_timer_stop(&relay->pause);
        relay->state = RELAY_OFF;
        cb(data);
        return;
    }
    ssize_t written = write(relay->wake_fd, &one, sizeof(one));
    (void)written; /* without it the wait ends in a second */
}

void relay_deinit(struct relay *relay)
{
    pg_free(relay->pg);
    close(relay->wake_fd);
    uv_close((uv_handle_t *)&relay->pause, NULL);
}
