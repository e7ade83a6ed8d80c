/*
 * With results on the same connection a completion is one script. With results elsewhere it is
 * three steps, each after the answer of the one before: is the claim still ours; store; the script
 * without the document. A failure in between leaves the claim, so the task comes again: at least
 * once.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

struct complete_op {
    struct redis_request holds, store, complete; /* formatted at the beginning */
    struct broker *broker;
    broker_done_fn *cb;
    void *data;
};

static void complete_end(struct complete_op *op, int status, const struct cel_error *err)
{
    op->cb(op->data, status, err);
    redis_request_deinit(&op->holds);
    redis_request_deinit(&op->store);
    redis_request_deinit(&op->complete);
    mem_free(op);
}

static void on_completed(struct redis_request *request,
                         int status,
                         const struct redis_reply *reply,
                         const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, complete);
    if (!status && reply_integer(reply, 1) == 0)
        status = BROKER_E_LOST;
    complete_end(op, status, err);
}

static void on_stored(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, store);
    (void)reply;
    if (status)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->main, &op->complete);
}

static void on_held(struct redis_request *request,
                    int status,
                    const struct redis_reply *reply,
                    const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, holds);
    if (!status && reply_integer(reply, 1) == 0)
        status = BROKER_E_LOST;
    if (status)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->results, &op->store);
}

static int format(struct complete_op *op,
                  const struct broker_queue *queue,
                  const struct broker_completion *completion,
                  bool stores_elsewhere)
{
    struct broker *broker = op->broker;
    struct broker_completion step = *completion;
    int status = 0;
    if (stores_elsewhere) {
        status = redis_command_holds(&op->holds, &queue->keys, &completion->claim);
        /* A next attempt is no end: others may have made one, whom this node does not know yet. */
        bool is_end =
            !completion->is_uncertain && !(completion->retry.ptr && completion->claim.tag);
        if (!status && !is_end)
            status = redis_command_store_state(&op->store, &broker->space, STR_NONE,
                                               &completion->claim, completion->result_id,
                                               completion->result_document, broker->result_ttl);
        else if (!status)
            status = redis_command_store(&op->store, &broker->space, completion->result_id,
                                         completion->result_document, broker->result_ttl);
    }
    if (stores_elsewhere || !broker->has_results)
        step.result_id = STR_NONE;
    return status ? status
                  : redis_command_complete(&op->complete, &broker->space, &queue->keys, &step,
                                           broker->result_ttl, &broker->dead_limits);
}

static int check_completion(struct broker *broker,
                            const struct broker_completion *completion,
                            struct broker_queue **ret_queue)
{
    for (size_t i = 0; i < completion->follow_up_count; i++) {
        if (!completion->follow_ups[i].queue.len || !step_is_valid(completion->follow_ups[i].step))
            return -EINVAL;
    }
    if (completion->result_id.ptr && !completion->result_document.len)
        return -EINVAL;
    struct broker_claim claim = completion->claim;
    if (!claim.tag && !completion->dead)
        claim.tag = 1; /* acknowledged already: its queue and step alone matter */
    return broker_claim_queue(broker, &claim, ret_queue);
}

int broker_complete(struct broker *broker,
                    const struct broker_completion *completion,
                    usec_t deadline_mono,
                    broker_done_fn *cb,
                    void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : check_completion(broker, completion, &queue);
    if (status)
        return status;
    struct complete_op *op = mem_new(struct complete_op);
    if (!op)
        return -ENOMEM;
    bool stores_elsewhere =
        completion->result_id.ptr && broker->has_results && broker->results != broker->main;
    op->broker = broker;
    op->cb = cb;
    op->data = data;
    op->holds.on_reply = on_held;
    op->store.on_reply = on_stored;
    op->complete.on_reply = on_completed;
    op->holds.deadline_mono = op->store.deadline_mono = op->complete.deadline_mono = deadline_mono;
    /* Only the last step can be uncertain. */
    op->holds.repeatable = op->store.repeatable = true;
    status = format(op, queue, completion, stores_elsewhere);
    if (status) {
        redis_request_deinit(&op->holds);
        redis_request_deinit(&op->store);
        mem_free(op);
        return status;
    }
    if (!stores_elsewhere)
        redis_connection_send(broker->main, &op->complete);
    else if (completion->claim.tag)
        redis_connection_send(broker->main, &op->holds);
    else
        redis_connection_send(broker->results, &op->store);
    return 0;
}
