/*
 * A script that ends several things at once, each only if it is still there, and that stores a result
 * document for each. With results elsewhere the documents follow it: of those that it has ended.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

static void free_op(struct end_op *op)
{
    for (size_t i = 0; i < op->count; i++)
        redis_request_deinit(&op->stores[i].request);
    redis_request_deinit(&op->request);
    mem_free(op);
}

static void finish(struct end_op *op)
{
    if (op->pending > 0)
        return;
    op->cb(op->data, op->status, op->status ? &op->err : NULL);
    free_op(op);
}

static void on_stored(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct end_op *op = container_of(request, struct end_store, request)->op;
    (void)reply;
    if (status && !op->status) {
        op->status = status;
        op->err = *err;
    }
    op->pending--;
    finish(op);
}

static void note_ended(struct end_op *op, int64_t number)
{
    if (op->ret_ended && number >= 1 && (uint64_t)number <= op->asked)
        op->ret_ended[number - 1] = true;
    if (number < 1 || (uint64_t)number > op->count || !op->stores[number - 1].request.bytes)
        return;
    op->pending++;
    redis_connection_send(op->broker->results, &op->stores[number - 1].request);
}

static void on_ended(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct end_op *op = container_of(request, struct end_op, request);
    op->status = status;
    if (status)
        op->err = *err;
    else if (op->ret_count)
        *op->ret_count = reply_count(reply);
    op->pending = 1; /* this one */
    for (size_t i = 0; i < reply_count(reply); i++)
        note_ended(op, reply_integer(reply_item(reply, i), 0));
    op->pending--;
    finish(op);
}

int end_op_new(
    struct broker *broker, size_t stores, broker_done_fn *cb, void *data, struct end_op **ret_op)
{
    size_t count = broker_results_are_elsewhere(broker) ? stores : 0;
    struct end_op *op = mem_alloc(sizeof(*op) + count * sizeof(op->stores[0]));
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_ended;
    op->broker = broker;
    op->cb = cb;
    op->data = data;
    op->count = count;
    *ret_op = op;
    return 0;
}

const struct key_space *end_op_space(const struct end_op *op)
{
    const struct broker *broker = op->broker;
    return broker->has_results && !broker_results_are_elsewhere(broker) ? &broker->space : NULL;
}

int end_op_store(struct end_op *op, size_t index, struct str id, struct str document, usec_t ttl)
{
    struct end_store *store = &op->stores[index];
    store->op = op;
    store->request.on_reply = on_stored;
    return id.ptr ? redis_command_store(&store->request, &op->broker->space, id, document, ttl) : 0;
}

int end_op_send(struct end_op *op, usec_t deadline_mono, int status)
{
    if (status) {
        free_op(op);
        return status;
    }
    for (size_t i = 0; i < op->count; i++)
        op->stores[i].request.deadline_mono = deadline_mono;
    op->request.deadline_mono = deadline_mono;
    redis_connection_send(op->broker->main, &op->request);
    return 0;
}
