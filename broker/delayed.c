/*
 * The delayed set: parking what is not due yet, and bringing back what is.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { PROMOTE_MAX = 256 };

int broker_park(struct broker *broker,
                const struct broker_claim *claim,
                usec_t due_wall,
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
                        redis_command_park(&op->request, &queue->keys, claim, due_wall));
}

struct promote_op {
    struct redis_request request;
    broker_promote_fn *cb;
    void *data;
};

static void on_promoted(struct redis_request *request,
                        int status,
                        const struct redis_reply *reply,
                        const struct cel_error *err)
{
    struct promote_op *op = container_of(request, struct promote_op, request);
    int64_t moved = reply_integer(reply_item(reply, 0), 0);
    int64_t next_ms = reply_integer(reply_item(reply, 1), 0);
    op->cb(op->data, status, moved > 0 ? (size_t)moved : 0,
           next_ms > 0 ? (usec_t)next_ms * USEC_PER_MSEC : 0, err);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_promote(struct broker *broker,
                   struct str name,
                   usec_t now_wall,
                   usec_t deadline_mono,
                   broker_promote_fn *cb,
                   void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (status)
        return status;
    struct promote_op *op = mem_new(struct promote_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_promoted;
    op->request.deadline_mono = deadline_mono;
    op->cb = cb;
    op->data = data;
    status = redis_command_promote(&op->request, &queue->keys, now_wall, PROMOTE_MAX);
    if (status) {
        mem_free(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}
