#include "keeper/rescuer.h"

#include <stdio.h>

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "message/envelope.h"
#include "message/result.h"

#define DEADLINE_USEC  (5 * USEC_PER_SEC)
#define LATE_USEC      (500 * USEC_PER_MSEC)
#define DISBELIEF_USEC (3 * USEC_PER_SEC) /* the living need so long to renew their leases */
enum { BATCH_MAX = 64, LOOKS_A_LEASE = 8 };

static struct rescuer_queue *queue_of(struct list_link *link)
{
    return container_of(link, struct rescuer_queue, link);
}

static usec_t deadline(void)
{
    return clock_mono() + DEADLINE_USEC;
}

/* What was seen may be the server's absence and not the death of anybody. */
static void disbelieve(struct rescuer *rescuer)
{
    rescuer->believe_mono = clock_mono() + DISBELIEF_USEC;
}

/* --- one message ------------------------------------------------------------------------------ */

/* What becomes of one claim of a lost node; its texts stand in the batch. */
struct item {
    struct broker_claim claim;
    size_t start, len; /* of the bytes to push; 0: as they are */
    bool is_buried;
    struct broker_dead dead;
    struct envelope envelope;
    struct buf upgraded; /* of a message of protocol 1 */
    char detail[128], evidence[128];
};

struct batch {
    struct item items[BATCH_MAX];
    size_t count;
    struct buf bytes;
};

static void batch_deinit(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        envelope_deinit(&batch->items[i].envelope);
        buf_deinit(&batch->items[i].upgraded);
    }
    buf_deinit(&batch->bytes);
}

static void bury(struct item *item, int64_t deliveries)
{
    item->is_buried = true;
    snprintf(item->detail, sizeof(item->detail),
             "%lld workers were lost while they held this message", (long long)deliveries);
    snprintf(item->evidence, sizeof(item->evidence), "{\"deliveries\": %lld}",
             (long long)deliveries);
    item->dead = (struct broker_dead){.reason = STR("max deliveries"),
                                      .detail = str_of(item->detail),
                                      .task_id = item->envelope.id,
                                      .task = item->envelope.task,
                                      .evidence = str_of(item->evidence)};
}

/* A message that cannot be read or written anew goes back byte for byte: who claims it next has the
 * words for it. */
static void
decide(struct rescuer *rescuer, const struct broker_claimed *claimed, struct batch *batch)
{
    struct item *item = &batch->items[batch->count++];
    *item = (struct item){.claim = claimed->claim, .start = batch->bytes.len};
    buf_init(&item->upgraded, 2 * ENVELOPE_BYTES_MAX);
    if (envelope_decode_any(claimed->bytes, &item->upgraded, &item->envelope, NULL) != 0)
        return;
    struct envelope again = item->envelope;
    again.redelivered = true;
    again.deliveries++;
    if (rescuer->options.max_deliveries && again.deliveries > rescuer->options.max_deliveries) {
        bury(item, again.deliveries);
        return;
    }
    size_t before = batch->bytes.len;
    if (envelope_encode(&batch->bytes, &again) == 0)
        item->len = batch->bytes.len - before;
}

/* --- the caller's result ---------------------------------------------------------------------- */

static void on_stored(void *data, int status, const struct cel_error *err)
{
    (void)data;
    if (status < 0 && status != -ECANCELED)
        log_warning("The failure of a task could not be stored", F_C("err", err->text));
}

/* Who waits for a message that was buried hears so; before the burial, so that it is never silent. */
static void store_failure(struct rescuer *rescuer, const struct item *item)
{
    const struct envelope *envelope = &item->envelope;
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(4096), document = BUF_INIT(64 * 1024);
    if (envelope->ignore_result)
        return;
    result_add_exception_text(&exception, STR("WorkerLostError"), str_of(item->detail),
                              STR("billiard.exceptions"));
    const struct result result = {.status = STR("FAILURE"),
                                  .result_json = buf_str(&exception),
                                  .date_done_wall = clock_wall(),
                                  .task_id = envelope->id,
                                  .group_id = envelope->group,
                                  .parent_id = envelope->parent_id};
    if (buf_status(&exception) < 0 || result_encode(&document, &result) < 0 ||
        broker_store_result(rescuer->broker, envelope->id, buf_str(&document), deadline(),
                            on_stored, NULL) < 0)
        log_warning("The failure of a task could not be stored", F_STR("task_id", envelope->id));
}

static void log_burial(const struct item *item)
{
    log_error("Task put into quarantine", F_STR("task", item->envelope.task),
              F_STR("task_id", item->envelope.id), F_STR("queue", item->claim.queue),
              F_STR("reason", item->dead.reason), F_STR("detail", item->dead.detail));
}

/* --- one batch -------------------------------------------------------------------------------- */

/* Marks `claimed` and has them moved; 0, or a failure and `cb` never comes. */
static int move(struct rescuer *rescuer,
                struct str queue,
                struct str node,
                const struct broker_claimed *claimed,
                size_t count,
                size_t *ret_buried,
                broker_done_fn *cb,
                void *data)
{
    struct batch *batch = xnew(struct batch);
    struct broker_rescued rescued[BATCH_MAX];
    buf_init(&batch->bytes, SIZE_MAX / 2);
    *ret_buried = 0;
    for (size_t i = 0; i < count && i < BATCH_MAX; i++)
        decide(rescuer, &claimed[i], batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = &batch->items[i];
        rescued[i] = (struct broker_rescued){.claim = item->claim};
        if (item->len > 0 && buf_status(&batch->bytes) == 0)
            rescued[i].bytes = str_n(batch->bytes.ptr + item->start, item->len);
        if (!item->is_buried)
            continue;
        rescued[i].dead = &item->dead;
        store_failure(rescuer, item);
        log_burial(item);
        ++*ret_buried;
    }
    int status =
        broker_rescue(rescuer->broker, queue, node, rescued, batch->count, deadline(), cb, data);
    batch_deinit(batch);
    mem_free(batch);
    return status;
}

/* --- one node after the other ----------------------------------------------------------------- */

static void take_over(struct rescuer_queue *queue);

static void forget_nodes(struct rescuer_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        mem_free(queue->nodes[i]);
    queue->count = queue->at = 0;
    queue->under_way = false;
}

static void next_node(struct rescuer_queue *queue)
{
    if (queue->moved > 0)
        log_warning("A worker was lost; its tasks went back", F_C("node", queue->nodes[queue->at]),
                    F_STR("queue", queue->name), F_U64("tasks", queue->moved),
                    F_U64("buried", queue->buried));
    queue->rescuer->rescued += queue->moved;
    queue->rescuer->buried += queue->buried;
    queue->moved = queue->buried = 0;
    if (++queue->at < queue->count)
        take_over(queue);
    else
        forget_nodes(queue);
}

static void give_up(struct rescuer_queue *queue)
{
    disbelieve(queue->rescuer);
    queue->moved = queue->buried = 0;
    forget_nodes(queue);
}

static void on_moved(void *data, int status, const struct cel_error *err)
{
    struct rescuer_queue *queue = data;
    if (status < 0) {
        if (status != -ECANCELED)
            log_warning("The tasks of a lost worker could not be moved; it is tried again",
                        F_C("node", queue->nodes[queue->at]), F_C("err", err->text));
        give_up(queue);
        return;
    }
    take_over(queue); /* until nothing is left */
}

static void on_taken_over(void *data,
                          int status,
                          const struct broker_claimed *claimed,
                          size_t count,
                          const struct cel_error *err)
{
    struct rescuer_queue *queue = data;
    size_t buried;
    (void)err;
    if (status < 0) {
        give_up(queue);
    } else if (status == BROKER_E_LOST || count == 0) {
        next_node(queue);
    } else if (move(queue->rescuer, queue->name, str_of(queue->nodes[queue->at]), claimed, count,
                    &buried, on_moved, queue) < 0) {
        give_up(queue);
    } else {
        queue->moved += count;
        queue->buried += buried;
    }
}

static void take_over(struct rescuer_queue *queue)
{
    if (broker_take_over(queue->rescuer->broker, queue->name, str_of(queue->nodes[queue->at]),
                         deadline(), on_taken_over, queue) < 0)
        give_up(queue);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void on_dead_nodes(
    void *data, int status, const struct str *nodes, size_t count, const struct cel_error *err)
{
    struct rescuer_queue *queue = data;
    (void)err;
    if (status < 0 || clock_mono() - queue->asked_mono > LATE_USEC)
        disbelieve(queue->rescuer);
    if (clock_mono() < queue->rescuer->believe_mono || queue->rescuer->stopped)
        count = 0;
    for (size_t i = 0; i < count && i < RESCUER_NODES_MAX; i++) {
        char *node = str_dup(nodes[i]);
        if (node)
            queue->nodes[queue->count++] = node;
    }
    if (queue->count > 0)
        take_over(queue);
    else
        forget_nodes(queue);
}

static usec_t look_pause(const struct rescuer *rescuer)
{
    return rescuer->options.lease / LOOKS_A_LEASE;
}

static void on_timer(uv_timer_t *timer)
{
    struct rescuer *rescuer = container_of(timer, struct rescuer, timer);
    usec_t now = clock_mono();
    if (now - rescuer->looked_mono > 3 * look_pause(rescuer))
        disbelieve(rescuer);
    rescuer->looked_mono = now;
    for (struct list_link *link = rescuer->queues.head; link; link = link->next) {
        struct rescuer_queue *queue = queue_of(link);
        if (queue->under_way)
            continue;
        queue->asked_mono = now;
        queue->under_way =
            broker_dead_nodes(rescuer->broker, queue->name, deadline(), on_dead_nodes, queue) == 0;
    }
}

/* --- from outside ----------------------------------------------------------------------------- */

void rescuer_init(struct rescuer *rescuer,
                  uv_loop_t *loop,
                  struct broker *broker,
                  const struct rescuer_options *options)
{
    *rescuer = (struct rescuer){.broker = broker, .options = *options, .stopped = true};
    uv_timer_init(loop, &rescuer->timer);
}

void rescuer_add(struct rescuer *rescuer, struct str name)
{
    for (struct list_link *link = rescuer->queues.head; link; link = link->next) {
        if (str_equal(queue_of(link)->name, name))
            return;
    }
    struct rescuer_queue *queue = xnew(struct rescuer_queue);
    queue->rescuer = rescuer;
    queue->name = name;
    list_append(&rescuer->queues, &queue->link);
}

void rescuer_start(struct rescuer *rescuer)
{
    uint64_t ms = look_pause(rescuer) / USEC_PER_MSEC;
    rescuer->stopped = false;
    disbelieve(rescuer);
    rescuer->looked_mono = clock_mono();
    uv_timer_start(&rescuer->timer, on_timer, ms, ms);
}

void rescuer_stop(struct rescuer *rescuer)
{
    rescuer->stopped = true;
    uv_timer_stop(&rescuer->timer);
}

void rescuer_deinit(struct rescuer *rescuer)
{
    for (struct list_link *link; (link = list_pop(&rescuer->queues));) {
        forget_nodes(queue_of(link));
        mem_free(queue_of(link));
    }
    uv_close((uv_handle_t *)&rescuer->timer, NULL);
}

static void on_put_back(void *data, int status, const struct cel_error *err)
{
    (void)data;
    if (status < 0 && status != -ECANCELED)
        log_warning("Claims that nobody works on were not put back; it is tried again",
                    F_C("err", err->text));
}

void rescuer_put_back(struct rescuer *rescuer,
                      struct str queue,
                      struct str node,
                      const struct broker_claimed *claimed,
                      size_t count)
{
    size_t buried;
    if (count > BATCH_MAX)
        count = BATCH_MAX; /* the rest next time */
    if (move(rescuer, queue, node, claimed, count, &buried, on_put_back, NULL) < 0)
        log_warning("Claims that nobody works on were not put back; it is tried again");
    else
        rescuer->rescued += count;
}
