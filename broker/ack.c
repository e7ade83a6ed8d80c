/*
 * Acknowledging and giving back.
 *
 * Acknowledgements of one turn and queue are one script, which answers for each of them: a call that
 * was acknowledged early must not be taken for lost because of another one's claim.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { ACK_BATCH_MAX = 64 };

struct ack_batch {
    struct redis_request request;
    size_t count;
    struct broker_claim claims[ACK_BATCH_MAX];
    struct {
        broker_done_fn *cb;
        void *data;
    } waiting[ACK_BATCH_MAX];
};

static void on_acked(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct ack_batch *batch = container_of(request, struct ack_batch, request);
    size_t next = 0; /* of the lost ones */
    for (size_t i = 0; i < batch->count; i++) {
        int told = status;
        if (!status && reply_integer(reply_item(reply, next), 0) == (int64_t)i + 1) {
            told = BROKER_E_LOST;
            next++;
        }
        batch->waiting[i].cb(batch->waiting[i].data, told, err);
    }
    redis_request_deinit(request);
    mem_free(batch);
}

static void send_batch(struct broker *broker, struct broker_queue *queue)
{
    struct ack_batch *batch = queue->acks;
    queue->acks = NULL;
    int status = redis_command_ack(&batch->request, &queue->keys, batch->claims, batch->count);
    if (status)
        broker_answer(broker, &batch->request, status);
    else
        redis_connection_send(broker->main, &batch->request);
}

void acks_flush(void *data)
{
    struct broker *broker = data;
    for (struct list_link *link = broker->queues.head; link; link = link->next) {
        struct broker_queue *queue = container_of(link, struct broker_queue, link);
        if (queue->acks)
            send_batch(broker, queue);
    }
}

void acks_cancel(struct broker_queue *queue)
{
    static const struct cel_error err = {-ECANCELED, "The broker is being closed"};
    if (queue->acks)
        on_acked(&queue->acks->request, -ECANCELED, NULL, &err);
    queue->acks = NULL;
}

static int new_batch(struct ack_batch **ret_batch)
{
    struct ack_batch *batch = mem_grow(NULL, sizeof(*batch), 1);
    if (!batch)
        return -ENOMEM;
    batch->request = (struct redis_request){.on_reply = on_acked, .deadline_mono = USEC_NEVER};
    batch->count = 0;
    *ret_batch = batch;
    return 0;
}

int broker_ack(struct broker *broker,
               const struct broker_claim *claim,
               usec_t deadline_mono,
               broker_done_fn *cb,
               void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_claim_queue(broker, claim, &queue);
    if (!status && !queue->acks)
        status = new_batch(&queue->acks);
    if (status)
        return status;
    struct ack_batch *batch = queue->acks;
    batch->claims[batch->count] = *claim;
    batch->waiting[batch->count].cb = cb;
    batch->waiting[batch->count++].data = data;
    if (deadline_mono < batch->request.deadline_mono)
        batch->request.deadline_mono = deadline_mono;
    if (batch->count == ACK_BATCH_MAX)
        send_batch(broker, queue);
    else
        redis_connection_wake(broker->main);
    return 0;
}

int broker_give_back(struct broker *broker,
                     const struct broker_claim *claim,
                     usec_t deadline_mono,
                     broker_done_fn *cb,
                     void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    int status = done_op_new_for_claim(broker, claim, cb, data, &queue, &op);
    if (status)
        return status;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_give_back(&op->request, &queue->keys, claim));
}
