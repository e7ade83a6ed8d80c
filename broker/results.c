/*
 * Result documents: store, read, forget. With results disabled nothing is stored and nothing found; with
 * a result store final documents and reading are its business.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

static int
answer_or_send(struct broker *broker, struct done_op *op, usec_t deadline_mono, int status)
{
    if (broker->has_results || status)
        return done_op_send(op, broker->results, deadline_mono, status);
    broker_answer(broker, &op->request, 0);
    return 0;
}

int broker_store_result(struct broker *broker,
                        struct str id,
                        struct str document,
                        usec_t deadline_mono,
                        broker_done_fn *cb,
                        void *data)
{
    struct done_op *op;
    int status = id.len && document.len ? done_op_new(broker, cb, data, &op) : -EINVAL;
    if (status)
        return status;
    status = redis_command_store(&op->request, &broker->space, id, document, broker->result_ttl);
    return answer_or_send(broker, op, deadline_mono, status);
}

int broker_store_group(struct broker *broker,
                       struct str group,
                       struct str document,
                       usec_t deadline_mono,
                       broker_done_fn *cb,
                       void *data)
{
    struct done_op *op;
    int status = group.len && document.len ? done_op_new(broker, cb, data, &op) : -EINVAL;
    if (status)
        return status;
    op->request.repeatable = true;
    status = redis_command_store_group(&op->request, &broker->space, group, document,
                                       broker->result_ttl);
    return answer_or_send(broker, op, deadline_mono, status);
}

int broker_store_state(struct broker *broker,
                       const struct broker_claim *claim,
                       struct str id,
                       struct str document,
                       usec_t deadline_mono,
                       broker_done_fn *cb,
                       void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    if (!claim->tag)
        return broker_store_result(broker, id, document, deadline_mono, cb, data);
    int status = id.len && document.len ? broker_claim_queue(broker, claim, &queue) : -EINVAL;
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    struct str in_flight = broker_results_are_elsewhere(broker) ? STR_NONE : queue->keys.in_flight;
    status = redis_command_store_state(&op->request, &broker->space, in_flight, claim, id, document,
                                       broker->result_ttl);
    return answer_or_send(broker, op, deadline_mono, status);
}

int broker_forget_result(
    struct broker *broker, struct str id, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct done_op *op;
    int status = id.len ? done_op_new(broker, cb, data, &op) : -EINVAL;
    if (status)
        return status;
    op->request.repeatable = true;
    return answer_or_send(broker, op, deadline_mono,
                          redis_command_forget(&op->request, &broker->space, id));
}

struct get_op {
    struct redis_request request;
    broker_result_fn *cb;
    void *data;
};

static void on_got(struct redis_request *request,
                   int status,
                   const struct redis_reply *reply,
                   const struct cel_error *err)
{
    struct get_op *op = container_of(request, struct get_op, request);
    op->cb(op->data, status, reply_text(reply), err);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_get_result(
    struct broker *broker, struct str id, usec_t deadline_mono, broker_result_fn *cb, void *data)
{
    if (broker->is_closing)
        return -ECANCELED;
    if (!id.len)
        return -EINVAL;
    if (broker->result_store.get)
        return broker->result_store.get(broker->result_store.data, id, cb, data);
    struct get_op *op = mem_new(struct get_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_got;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->cb = cb;
    op->data = data;
    int status = redis_command_get(&op->request, &broker->space, id);
    if (status) {
        mem_free(op);
        return status;
    }
    if (broker->has_results)
        redis_connection_send(broker->results, &op->request);
    else
        broker_answer(broker, &op->request, 0);
    return 0;
}
