#include "keeper/rescuer.h"

#include <stdio.h>

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

/* What one queue is refused says nothing of the others. While it was, nobody may have renewed there. */
static void note_refusal(struct rescuer_queue *queue, const struct cel_error *err)
{
    queue->believe_mono = clock_mono() + DISBELIEF_USEC;
    if (!queue->is_refused && refusal_note(&queue->refusal, err))
        log_warning("Redis refuses the rescue of what lost workers held; it is tried again",
                    F_STR("queue", queue->name),
                    F_C("node", queue->count > 0 ? queue->nodes[queue->at] : NULL),
                    F_C("err", err->text));
    queue->is_refused = true;
}

/* An answer is late when the server was silent meanwhile: of many questions at once the last is
 * answered late by a server that was there all the time. */
static void note_answer(struct rescuer_queue *queue, int status, const struct cel_error *err)
{
    struct rescuer *rescuer = queue->rescuer;
    usec_t now = clock_mono();
    usec_t since =
        queue->asked_mono > rescuer->heard_mono ? queue->asked_mono : rescuer->heard_mono;
    bool is_answer = status >= 0 || refusal_is(status);
    if (!is_answer || now - since > LATE_USEC)
        disbelieve(rescuer);
    if (is_answer)
        rescuer->heard_mono = now;
    if (refusal_is(status))
        note_refusal(queue, err);
}

/* --- one message ------------------------------------------------------------------------------ */

/* What becomes of one claim of a lost node; its texts stand here and in the batch. */
struct item {
    struct broker_claim claim;
    size_t start, len; /* of the bytes to push, or of a buried one's message */
    bool is_buried;
    struct broker_dead dead;
    char *id, *task;     /* of a buried one; owned */
    struct buf document; /* its result; empty: none */
    char detail[128], evidence[128];
};

/* What is moved at once; lives until the answer comes. */
struct batch {
    struct rescuer *rescuer;
    struct rescuer_queue *lost; /* NULL: claims of our own are put back */
    struct item items[BATCH_MAX];
    bool moved[BATCH_MAX];
    size_t count;
    struct buf bytes;
};

static struct batch *batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        mem_free(batch->items[i].id);
        mem_free(batch->items[i].task);
        buf_deinit(&batch->items[i].document);
    }
    buf_deinit(&batch->bytes);
    mem_free(batch);
    return NULL;
}

/* Who waits for a message that is buried hears so. */
static void write_failure(struct item *item, const struct envelope *envelope)
{
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(4096);
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
    if (buf_status(&exception) < 0 || result_encode(&item->document, &result) < 0) {
        buf_deinit(&item->document);
        log_warning("The failure of a task could not be stored", F_STR("task_id", envelope->id));
    }
}

/* Claims of a living node come back when Redis has forgotten an acknowledgement. */
static void
bury(struct item *item, const struct envelope *envelope, int64_t deliveries, bool is_lost)
{
    item->is_buried = true;
    item->id = str_dup(envelope->id);
    item->task = str_dup(envelope->task);
    snprintf(item->detail, sizeof(item->detail),
             is_lost ? "%lld workers were lost while they held this message"
                     : "%lld times this message came back: its worker was lost, or Redis forgot "
                       "how it had ended",
             (long long)deliveries);
    snprintf(item->evidence, sizeof(item->evidence), "{\"deliveries\": %lld}",
             (long long)deliveries);
    item->dead = (struct broker_dead){.reason = STR("max deliveries"),
                                      .detail = str_of(item->detail),
                                      .task_id = str_of(item->id),
                                      .task = str_of(item->task),
                                      .evidence = str_of(item->evidence)};
    write_failure(item, envelope);
}

/* A message that cannot be read or written anew goes back byte for byte: who claims it next has the
 * words for it. */
static void decide(struct batch *batch, const struct broker_claimed *claimed)
{
    int64_t max = batch->rescuer->options.max_deliveries;
    struct item *item = &batch->items[batch->count++];
    CLEANUP(buf_deinit) struct buf upgraded = BUF_INIT(2 * ENVELOPE_BYTES_MAX);
    CLEANUP(envelope_deinit) struct envelope envelope = {0};
    *item = (struct item){.claim = claimed->claim, .start = batch->bytes.len};
    buf_init(&item->document, 64 * 1024);
    if (envelope_decode_any(claimed->bytes, &upgraded, &envelope, NULL) != 0)
        return;
    struct envelope again = envelope;
    again.redelivered = true;
    again.deliveries++;
    if (max && again.deliveries > max) {
        bury(item, &envelope, again.deliveries, batch->lost != NULL);
        buf_add_str(&batch->bytes, claimed->bytes);
    } else if (envelope_encode(&batch->bytes, &again) < 0) {
        return;
    }
    item->len = batch->bytes.len - item->start;
}

/* --- one batch -------------------------------------------------------------------------------- */

static int send_batch(struct batch *batch, struct str queue, struct str node, broker_done_fn *cb)
{
    struct broker_rescued rescued[BATCH_MAX];
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        rescued[i] = (struct broker_rescued){.claim = item->claim};
        if (item->len > 0 && !item->is_buried && buf_status(&batch->bytes) == 0)
            rescued[i].bytes = str_n(batch->bytes.ptr + item->start, item->len);
        if (item->is_buried)
            rescued[i].dead = &item->dead;
        if (item->document.len > 0) {
            rescued[i].result_id = item->dead.task_id;
            rescued[i].result_document = buf_str(&item->document);
        }
    }
    return broker_rescue(batch->rescuer->broker, queue, node, rescued, batch->count, deadline(),
                         batch->moved, cb, batch);
}

/* Marks `claimed` and has them moved; `cb` gets the batch, and frees it. 0, or a failure and it never
 * comes. */
static int move(struct rescuer *rescuer,
                struct rescuer_queue *lost,
                struct str queue,
                struct str node,
                const struct broker_claimed *claimed,
                size_t count,
                broker_done_fn *cb)
{
    struct batch *batch = xnew(struct batch);
    batch->rescuer = rescuer;
    batch->lost = lost;
    buf_init(&batch->bytes, SIZE_MAX / 2);
    for (size_t i = 0; i < count && i < BATCH_MAX; i++)
        decide(batch, &claimed[i]);
    int status = send_batch(batch, queue, node, cb);
    if (status < 0)
        batch_free(batch);
    return status;
}

static void add_row(const struct batch *batch, const struct item *item)
{
    const struct broker_result result = {
        .id = item->dead.task_id,
        .document = buf_str(&item->document),
        .message =
            buf_status(&batch->bytes) ? STR_NONE : str_n(batch->bytes.ptr + item->start, item->len),
    };
    if (item->document.len > 0)
        result_rows_add(batch->rescuer->options.rows, &result, false);
}

static void log_burial(const struct item *item, bool is_moved)
{
    if (is_moved)
        log_error("Task put into quarantine", F_C("task", item->task), F_C("task_id", item->id),
                  F_STR("queue", item->claim.queue), F_STR("reason", item->dead.reason),
                  F_STR("detail", item->dead.detail));
    else
        log_warning("Task put into quarantine, unless it ended meanwhile: Redis's answer was lost",
                    F_C("task", item->task), F_C("task_id", item->id),
                    F_STR("queue", item->claim.queue));
}

/* Those that were still there: others have ended meanwhile. Clears a failure that came after the move,
 * that of results which live elsewhere. */
static size_t
count_moved(const struct batch *batch, int *status, const struct cel_error *err, size_t *ret_buried)
{
    size_t moved = 0;
    *ret_buried = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        moved += batch->moved[i];
        *ret_buried += batch->moved[i] && item->is_buried;
        if (item->is_buried && (batch->moved[i] || *status == CEL_E_UNCERTAIN))
            log_burial(item, batch->moved[i]);
        if (item->is_buried && batch->moved[i])
            add_row(batch, item);
    }
    if (*status < 0 && moved > 0) {
        log_warning("The failure of a task could not be stored", F_C("err", err->text));
        *status = 0;
    }
    return moved;
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

static void end_node(struct rescuer_queue *queue)
{
    if (queue->moved > 0)
        log_warning("A worker was lost; its tasks went back", F_C("node", queue->nodes[queue->at]),
                    F_STR("queue", queue->name), F_U64("tasks", queue->moved),
                    F_U64("buried", queue->buried));
    queue->rescuer->rescued += queue->moved;
    queue->rescuer->buried += queue->buried;
    queue->moved = queue->buried = 0;
}

static void end_round(struct rescuer_queue *queue)
{
    if (!queue->is_refused && refusal_end(&queue->refusal))
        log_info("Redis refuses the rescue no more", F_STR("queue", queue->name));
    forget_nodes(queue);
}

static void next_node(struct rescuer_queue *queue)
{
    end_node(queue);
    if (++queue->at < queue->count)
        take_over(queue);
    else
        end_round(queue);
}

static void give_up(struct rescuer_queue *queue)
{
    disbelieve(queue->rescuer);
    end_node(queue);
    forget_nodes(queue);
}

static void on_moved(void *data, int status, const struct cel_error *err)
{
    struct batch *batch = data;
    struct rescuer_queue *queue = batch->lost;
    size_t buried, moved = count_moved(batch, &status, err, &buried);
    batch_free(batch);
    queue->moved += moved;
    queue->buried += buried;
    note_answer(queue, status, err);
    if (status >= 0) {
        take_over(queue); /* until nothing is left */
    } else if (refusal_is(status)) {
        next_node(queue);
    } else {
        if (status != -ECANCELED)
            log_warning("The tasks of a lost worker could not be moved; it is tried again",
                        F_C("node", queue->nodes[queue->at]), F_C("err", err->text));
        give_up(queue);
    }
}

static void on_taken_over(void *data,
                          int status,
                          const struct broker_claimed *claimed,
                          size_t count,
                          const struct cel_error *err)
{
    struct rescuer_queue *queue = data;
    struct str node = str_of(queue->nodes[queue->at]);
    note_answer(queue, status, err);
    queue->asked_mono = clock_mono();
    if (refusal_is(status) || status == BROKER_E_LOST || (status == 0 && count == 0))
        next_node(queue);
    else if (status < 0 ||
             move(queue->rescuer, queue, queue->name, node, claimed, count, on_moved) < 0)
        give_up(queue);
}

static void take_over(struct rescuer_queue *queue)
{
    queue->asked_mono = clock_mono();
    if (broker_take_over(queue->rescuer->broker, queue->name, str_of(queue->nodes[queue->at]),
                         deadline(), on_taken_over, queue) < 0)
        give_up(queue);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void on_dead_nodes(
    void *data, int status, const struct str *nodes, size_t count, const struct cel_error *err)
{
    struct rescuer_queue *queue = data;
    const struct rescuer *rescuer = queue->rescuer;
    usec_t now = clock_mono();
    note_answer(queue, status, err);
    bool is_believed = status >= 0 && now >= rescuer->believe_mono && now >= queue->believe_mono &&
                       !rescuer->stopped;
    for (size_t i = 0; i < count && i < RESCUER_NODES_MAX && is_believed; i++) {
        char *node = str_dup(nodes[i]);
        if (node)
            queue->nodes[queue->count++] = node;
    }
    if (queue->count > 0)
        take_over(queue);
    else if (is_believed)
        end_round(queue);
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
        queue->is_refused = false;
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
        refusal_end(&queue_of(link)->refusal);
        mem_free(queue_of(link));
    }
    uv_close((uv_handle_t *)&rescuer->timer, NULL);
}

static void on_put_back(void *data, int status, const struct cel_error *err)
{
    struct batch *batch = data;
    struct rescuer *rescuer = batch->rescuer;
    size_t buried, moved = count_moved(batch, &status, err, &buried);
    if (moved > 0)
        log_warning("Claims that nobody works on go back",
                    F_STR("queue", batch->items[0].claim.queue), F_U64("tasks", moved),
                    F_U64("buried", buried));
    rescuer->rescued += moved;
    rescuer->buried += buried;
    batch_free(batch);
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
    if (count > BATCH_MAX)
        count = BATCH_MAX; /* the rest next time */
    if (move(rescuer, NULL, queue, node, claimed, count, on_put_back) < 0)
        log_warning("Claims that nobody works on were not put back; it is tried again");
}
