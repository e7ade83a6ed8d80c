/*
 * Producing: push, declare, fire.
 *
 * Messages of one queue and step that follow each other go in one command, which keeps their order:
 * the script that pushes, or the one that pushes once. A command is bounded in count and bytes, so that Redis
 * never works long on one. The commands of one push are pipelined. When one fails, those that were
 * not written are taken back, so that what is known to be missing can be told.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "broker/confirm.h"
#include "core/mem.h"

enum { CHUNK_COUNT_MAX = 128, CHUNK_BYTES_MAX = 64 * 1024 };

struct push;

struct push_chunk {
    struct redis_request request;
    struct push *push;
    size_t first, count;
};

/* One call of broker_push, broker_push_promised or broker_publish. */
struct push {
    struct redis_request opening; /* of chords that are kept elsewhere; no bytes: there are none */
    struct broker *broker;
    size_t open; /* chunks that have not ended, and the confirmation */
    struct broker_pushed pushed;
    struct cel_error err; /* the first failure */
    size_t *ret_sure;
    struct broker_pushed *ret_pushed; /* or NULL, as the one before */
    broker_done_fn *cb;
    void *data;
    struct confirm *confirm; /* or NULL */
    size_t chunk_count;
    struct push_chunk chunks[];
};

/* --- the end ---------------------------------------------------------------------------------- */

static void push_free(struct push *push)
{
    for (size_t i = 0; i < push->chunk_count; i++)
        redis_request_deinit(&push->chunks[i].request);
    redis_request_deinit(&push->opening);
    confirm_free(push->confirm);
    mem_free(push);
}

static void part_ended(struct push *push)
{
    if (--push->open > 0)
        return;
    if (push->ret_sure)
        *push->ret_sure = push->pushed.sure;
    if (push->ret_pushed)
        *push->ret_pushed = push->pushed;
    push->cb(push->data, push->err.code, push->err.code ? &push->err : NULL);
    push_free(push);
}

/* Takes back what was not written. The part that failed is still open. */
static void abandon_rest(struct push *push)
{
    for (size_t i = 0; i < push->chunk_count; i++) {
        if (redis_connection_recall(push->broker->main, &push->chunks[i].request))
            push->open--;
    }
    if (push->confirm && confirm_abandon(push->confirm))
        push->open--;
}

static void on_pushed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct push_chunk *chunk = container_of(request, struct push_chunk, request);
    struct push *push = chunk->push;
    struct broker_pushed *pushed = &push->pushed;
    size_t end = chunk->first + chunk->count;
    (void)reply;
    /* answers come in order; after a gap nothing more is sure */
    if (!status && pushed->sure == chunk->first)
        pushed->sure = end;
    if ((!status || status == CEL_E_UNCERTAIN) && pushed->possible < end)
        pushed->possible = end;
    if (!status && push->confirm)
        confirm_note_push(push->confirm);
    if (status && !push->err.code) {
        push->err = *err;
        abandon_rest(push);
    }
    part_ended(push);
}

static void on_confirmed(void *data, int status, bool is_cut, const struct cel_error *err)
{
    struct push *push = data;
    push->pushed.is_cut = is_cut;
    if (status && !push->err.code)
        push->err = *err;
    part_ended(push);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static size_t chunk_length(const struct broker_message *messages, size_t count)
{
    size_t length = 1, bytes = messages[0].bytes.len;
    while (length < count && length < CHUNK_COUNT_MAX && messages[length].step == messages->step &&
           str_equal(messages[length].queue, messages->queue)) {
        bytes += messages[length].bytes.len;
        if (bytes > CHUNK_BYTES_MAX)
            break;
        length++;
    }
    return length;
}

static size_t count_chunks(const struct broker_message *messages, size_t count)
{
    size_t chunks = 0;
    for (size_t at = 0; at < count; at += chunk_length(messages + at, count - at))
        chunks++;
    return chunks;
}

/* The one place that says how messages are pushed. */
static int format_chunk(struct push_chunk *chunk,
                        const struct key_space *space,
                        const struct broker_message *messages,
                        usec_t once_within)
{
    return once_within ? redis_command_push_once(&chunk->request, space, messages, chunk->count,
                                                 once_within)
                       : redis_command_push(&chunk->request, space, messages, chunk->count);
}

/* What is pushed once may be asked again: a server that says nothing is left while there is time to
 * do so. */
static usec_t part_of_time(usec_t deadline_mono)
{
    usec_t now = clock_mono();
    return deadline_mono > now ? (deadline_mono - now) / 3 : 1;
}

static int push_alloc(struct broker *broker, size_t chunk_count, struct push **ret_push)
{
    struct push *push = mem_alloc(sizeof(*push) + chunk_count * sizeof(push->chunks[0]));
    if (!push)
        return -ENOMEM;
    push->broker = broker;
    push->chunk_count = chunk_count;
    *ret_push = push;
    return 0;
}

static struct push_chunk *set_chunk(struct push *push,
                                    size_t i,
                                    size_t first,
                                    size_t count,
                                    usec_t once_within,
                                    usec_t deadline_mono)
{
    struct push_chunk *chunk = &push->chunks[i];
    chunk->request.on_reply = on_pushed;
    chunk->request.deadline_mono = deadline_mono;
    chunk->request.answer_within = once_within ? part_of_time(deadline_mono) : 0;
    chunk->push = push;
    chunk->first = first;
    chunk->count = count;
    return chunk;
}

static int push_new(struct broker *broker,
                    const struct broker_message *messages,
                    size_t count,
                    usec_t once_within,
                    usec_t deadline_mono,
                    struct push **ret_push)
{
    size_t chunk_count = count_chunks(messages, count), at = 0;
    struct push *push;
    int status = push_alloc(broker, chunk_count, &push);
    if (status)
        return status;
    for (size_t i = 0; i < chunk_count; i++) {
        size_t length = chunk_length(messages + at, count - at);
        struct push_chunk *chunk = set_chunk(push, i, at, length, once_within, deadline_mono);
        status = format_chunk(chunk, &broker->space, messages + at, once_within);
        if (status) {
            push_free(push);
            return status;
        }
        at += length;
    }
    *ret_push = push;
    return 0;
}

/* Everything in one turn: the confirmation must follow on the same connection. */
static int push_send(struct push *push)
{
    int status = push->confirm ? confirm_format(push->confirm) : 0;
    if (status)
        return status;
    push->open = push->chunk_count + (push->confirm ? 1 : 0);
    for (size_t i = 0; i < push->chunk_count; i++)
        redis_connection_send(push->broker->main, &push->chunks[i].request);
    if (push->confirm)
        confirm_send(push->confirm);
    return 0;
}

static void on_able(void *data, int status, const struct cel_error *err)
{
    struct push *push = data;
    if (status)
        push->err = *err;
    else if ((status = push_send(push)))
        error_set(&push->err, status, "%s", cel_error_name(status));
    if (!status)
        return;
    push->open = 1;
    part_ended(push);
}

static int check_messages(const struct broker_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (messages[i].queue.len == 0 || !step_is_valid(messages[i].step))
            return -EINVAL;
    }
    return count > 0 ? 0 : -EINVAL;
}

static int check_ids(const struct broker_message *messages, size_t count, usec_t once_within)
{
    for (size_t i = 0; i < count && once_within; i++) {
        if (messages[i].id.len == 0)
            return -EINVAL;
    }
    return 0;
}

int broker_push(struct broker *broker,
                const struct broker_message *messages,
                size_t count,
                usec_t deadline_mono,
                size_t *ret_pushed,
                broker_done_fn *cb,
                void *data)
{
    struct push *push;
    int status = broker->is_closing ? -ECANCELED : check_messages(messages, count);
    if (!status)
        status = push_new(broker, messages, count, 0, deadline_mono, &push);
    if (status)
        return status;
    push->ret_sure = ret_pushed;
    push->cb = cb;
    push->data = data;
    return push_send(push);
}

/* Once what stands before it is done: with a confirmation or without. */
static int push_begin(struct push *push)
{
    return push->confirm && !confirm_is_able(push->confirm) ? confirm_probe(push->confirm)
                                                            : push_send(push);
}

static int
push_promise(struct push *push, const struct broker_promises *promises, usec_t deadline_mono)
{
    static const struct confirm_events events = {.on_able = on_able, .on_end = on_confirmed};
    if (!promises->replicas && !promises->disk)
        return 0;
    push->confirm = confirm_new(push->broker, promises, deadline_mono, &events, push);
    return push->confirm ? 0 : -ENOMEM;
}

int broker_push_promised(struct broker *broker,
                         const struct broker_message *messages,
                         size_t count,
                         const struct broker_promises *promises,
                         usec_t deadline_mono,
                         struct broker_pushed *ret_pushed,
                         broker_done_fn *cb,
                         void *data)
{
    struct push *push;
    int status = broker->is_closing ? -ECANCELED : check_messages(messages, count);
    if (!status)
        status = check_ids(messages, count, promises->once_within);
    if (!status)
        status = push_new(broker, messages, count, promises->once_within, deadline_mono, &push);
    if (status)
        return status;
    push->ret_pushed = ret_pushed;
    push->cb = cb;
    push->data = data;
    status = push_promise(push, promises, deadline_mono);
    if (!status)
        status = push_begin(push);
    if (status)
        push_free(push);
    return status;
}

/* --- canvases --------------------------------------------------------------------------------- */

static void push_refused(struct push *push, int status, const struct cel_error *err)
{
    if (err)
        push->err = *err;
    else
        error_set(&push->err, status, "%s", cel_error_name(status));
    push->open = 1;
    part_ended(push);
}

/* Nobody is a member of those chords before something is pushed: what came of an end that is not known
 * does not matter, they run out. */
static void on_opened(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct push *push = container_of(request, struct push, opening);
    struct cel_error told;
    (void)reply;
    if (status == CEL_E_UNCERTAIN) {
        status = -ECONNRESET;
        error_set(&told, status, "The chord could not be opened: %s", err->text);
        err = &told;
    } else if (!status) {
        err = NULL;
        status = push_begin(push);
    }
    if (status)
        push_refused(push, status, err);
}

static int publication_new(struct broker *broker,
                           const struct broker_publication *p,
                           usec_t deadline_mono,
                           struct push **ret_push)
{
    usec_t once_within = p->promises.once_within;
    struct push *push;
    if (broker->results != broker->main) {
        const struct broker_completion opening = {
            .results = {.chords = p->chords, .chord_count = p->chord_count}};
        int status = push_new(broker, p->messages, p->count, once_within, deadline_mono, ret_push);
        if (status)
            return status;
        push = *ret_push;
        push->opening.on_reply = on_opened;
        push->opening.deadline_mono = deadline_mono;
        push->opening.repeatable = true;
        return redis_command_results(&push->opening, &broker->space, &opening, broker->result_ttl);
    }
    int status = push_alloc(broker, 1, ret_push);
    if (status)
        return status;
    push = *ret_push;
    struct push_chunk *chunk = set_chunk(push, 0, 0, p->count, once_within, deadline_mono);
    return redis_command_publish(&chunk->request, &broker->space, p, broker->result_ttl);
}

int broker_publish(struct broker *broker,
                   const struct broker_publication *p,
                   usec_t deadline_mono,
                   struct broker_pushed *ret_pushed,
                   broker_done_fn *cb,
                   void *data)
{
    struct push *push = NULL;
    if (p->chord_count == 0)
        return broker_push_promised(broker, p->messages, p->count, &p->promises, deadline_mono,
                                    ret_pushed, cb, data);
    int status = broker->is_closing ? -ECANCELED : check_messages(p->messages, p->count);
    if (!status)
        status = check_ids(p->messages, p->count, p->promises.once_within);
    if (!status && !broker->has_results)
        status = CEL_E_CONFIG;
    if (!status)
        status = publication_new(broker, p, deadline_mono, &push);
    if (!status)
        status = push_promise(push, &p->promises, deadline_mono);
    if (status) {
        if (push)
            push_free(push);
        return status;
    }
    push->ret_pushed = ret_pushed;
    push->cb = cb;
    push->data = data;
    if (push->opening.len) {
        redis_connection_send(broker->results, &push->opening);
        return 0;
    }
    status = push_begin(push);
    if (status)
        push_free(push);
    return status;
}

int broker_forget_pushed(struct broker *broker,
                         const struct broker_message *messages,
                         size_t count,
                         usec_t deadline_mono,
                         broker_done_fn *cb,
                         void *data)
{
    struct done_op *op;
    int status = check_messages(messages, count);
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_forget_sent(&op->request, &broker->space, messages, count));
}

int broker_declare(
    struct broker *broker, struct str queue, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct done_op *op;
    int status = queue.len ? done_op_new(broker, cb, data, &op) : -EINVAL;
    if (status)
        return status;
    op->request.repeatable = true;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_declare(&op->request, &broker->space, queue));
}

int broker_fire(struct broker *broker,
                struct str entry,
                usec_t slot_wall,
                usec_t mark_ttl,
                const struct broker_message *message,
                usec_t deadline_mono,
                broker_done_fn *cb,
                void *data)
{
    struct done_op *op;
    int status = entry.len ? check_messages(message, 1) : -EINVAL;
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->zero_means = BROKER_ALREADY_FIRED;
    return done_op_send(
        op, broker->main, deadline_mono,
        redis_command_fire(&op->request, &broker->space, entry, slot_wall, mark_ttl, message));
}
