/*
 * Producing: push, declare, fire.
 *
 * Messages of one queue and step that follow each other go in one LPUSH, which keeps their order; a
 * command is bounded in count and bytes, so that Redis never works long on one. The commands of one
 * push are pipelined.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { CHUNK_COUNT_MAX = 128, CHUNK_BYTES_MAX = 64 * 1024 };

/* One call of broker_push. */
struct push {
    size_t open;   /* chunks not answered */
    size_t pushed; /* messages of the chunks in front that are known to be there */
    size_t count;
    struct cel_error err; /* the first failure */
    size_t *ret_pushed;
    broker_done_fn *cb;
    void *data;
};

struct push_chunk {
    struct redis_request request;
    struct push *push;
    size_t first, count;
};

static void on_pushed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct push_chunk *chunk = container_of(request, struct push_chunk, request);
    struct push *push = chunk->push;
    (void)reply;
    /* answers come in order; after a gap nothing more is counted */
    if (!status && push->pushed == chunk->first)
        push->pushed += chunk->count;
    if (status && !push->err.code)
        push->err = *err;
    redis_request_deinit(request);
    mem_free(chunk);
    if (--push->open > 0)
        return;
    if (push->ret_pushed)
        *push->ret_pushed = push->pushed;
    push->cb(push->data, push->err.code, push->err.code ? &push->err : NULL);
    mem_free(push);
}

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

static int make_chunks(struct broker *broker,
                       struct push *push,
                       const struct broker_message *messages,
                       usec_t deadline_mono,
                       struct list *chunks)
{
    for (size_t at = 0; at < push->count;) {
        struct push_chunk *chunk = mem_new(struct push_chunk);
        if (!chunk)
            return -ENOMEM;
        chunk->request.on_reply = on_pushed;
        chunk->request.deadline_mono = deadline_mono;
        chunk->push = push;
        chunk->first = at;
        chunk->count = chunk_length(messages + at, push->count - at);
        list_append(chunks, &chunk->request.link);
        int status =
            redis_command_push(&chunk->request, &broker->space, messages + at, chunk->count);
        if (status)
            return status;
        at += chunk->count;
    }
    return 0;
}

static int check_messages(const struct broker_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (messages[i].queue.len == 0 || !step_is_valid(messages[i].step))
            return -EINVAL;
    }
    return count > 0 ? 0 : -EINVAL;
}

int broker_push(struct broker *broker,
                const struct broker_message *messages,
                size_t count,
                usec_t deadline_mono,
                size_t *ret_pushed,
                broker_done_fn *cb,
                void *data)
{
    struct list chunks = {NULL, NULL, 0};
    int status = broker->is_closing ? -ECANCELED : check_messages(messages, count);
    if (status)
        return status;
    struct push *push = mem_new(struct push);
    if (!push)
        return -ENOMEM;
    *push = (struct push){.count = count, .ret_pushed = ret_pushed, .cb = cb, .data = data};
    status = make_chunks(broker, push, messages, deadline_mono, &chunks);
    push->open = chunks.count;
    for (struct list_link *link; (link = list_pop(&chunks));) {
        struct push_chunk *chunk = container_of(link, struct push_chunk, request.link);
        if (!status) {
            redis_connection_send(broker->main, &chunk->request);
            continue;
        }
        redis_request_deinit(&chunk->request);
        mem_free(chunk);
    }
    if (status)
        mem_free(push);
    return status;
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
