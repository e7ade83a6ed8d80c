/*
 * With results on the same connection a completion is one script. With results elsewhere it is
 * three steps, each after the answer of the one before: is the claim still ours; store; the script
 * without the document. A failure in between leaves the claim, so the task comes again: at least
 * once. A result store (broker.h) takes the second step alike.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

struct complete_op {
    struct redis_request holds, store, complete; /* formatted at the beginning */
    struct broker_result result;                 /* for a result store; its texts: */
    struct buf texts;
    bool is_uncertain, is_spared; /* what stands elsewhere */
    struct broker *broker;
    broker_done_fn *cb;
    void *data;
};

static int complete_free(struct complete_op *op, int status)
{
    redis_request_deinit(&op->holds);
    redis_request_deinit(&op->store);
    redis_request_deinit(&op->complete);
    buf_deinit(&op->texts);
    mem_free(op);
    return status;
}

static void complete_end(struct complete_op *op, int status, const struct cel_error *err)
{
    op->cb(op->data, status, err);
    complete_free(op, status);
}

static void on_completed(struct redis_request *request,
                         int status,
                         const struct redis_reply *reply,
                         const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, complete);
    int64_t answer = reply_integer(reply, 1);
    if (!status && answer == 0)
        status = BROKER_E_LOST;
    else if (!status && (answer == 2 || op->is_spared))
        status = BROKER_E_SPARED;
    complete_end(op, status, err);
}

static void on_stored(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, store);
    op->is_spared = op->is_uncertain && reply_integer(reply, 1) == 0;
    if (status)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->main, &op->complete);
}

static void on_kept(void *data, int status, const struct cel_error *err)
{
    struct complete_op *op = data;
    if (status)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->main, &op->complete);
}

static int store_elsewhere(struct complete_op *op)
{
    const struct broker_result_store *store = &op->broker->result_store;
    if (store->store)
        return store->store(store->data, &op->result, on_kept, op);
    redis_connection_send(op->broker->results, &op->store);
    return 0;
}

static void on_held(struct redis_request *request,
                    int status,
                    const struct redis_reply *reply,
                    const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, holds);
    if (!status && reply_integer(reply, 1) == 0)
        status = BROKER_E_LOST;
    if (!status && (status = store_elsewhere(op)) < 0) {
        struct cel_error refused;
        error_set(&refused, status, "The result cannot be stored now: %s", cel_error_name(status));
        complete_end(op, status, &refused);
    } else if (status) {
        complete_end(op, status, err);
    }
}

static int copy_result(struct complete_op *op, const struct broker_completion *completion)
{
    struct str id = completion->result_id, document = completion->result_document;
    buf_init(&op->texts, SIZE_MAX / 2);
    buf_add_str(&op->texts, id);
    buf_add_str(&op->texts, document);
    buf_add_str(&op->texts, completion->message);
    const char *text = op->texts.ptr;
    int status = buf_status(&op->texts);
    if (!status)
        op->result = (struct broker_result){
            .id = str_n(text, id.len),
            .document = str_n(text + id.len, document.len),
            .message = str_n(text + id.len + document.len, completion->message.len),
            .spares_final = broker_spares_final(completion)};
    return status;
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
        if (!status && broker->result_store.store)
            status = copy_result(op, completion);
        else if (!status && broker_spares_final(completion))
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
    bool stores_elsewhere = completion->result_id.ptr &&
                            (broker->result_store.store || broker_results_are_elsewhere(broker));
    op->broker = broker;
    op->is_uncertain = completion->is_uncertain;
    op->cb = cb;
    op->data = data;
    op->holds.on_reply = on_held;
    op->store.on_reply = on_stored;
    op->complete.on_reply = on_completed;
    op->holds.deadline_mono = op->store.deadline_mono = op->complete.deadline_mono = deadline_mono;
    /* Only the last step can be uncertain. */
    op->holds.repeatable = op->store.repeatable = true;
    status = format(op, queue, completion, stores_elsewhere);
    if (!status && !stores_elsewhere)
        redis_connection_send(broker->main, &op->complete);
    else if (!status && completion->claim.tag)
        redis_connection_send(broker->main, &op->holds);
    else if (!status)
        status = store_elsewhere(op);
    return status ? complete_free(op, status) : 0;
}
