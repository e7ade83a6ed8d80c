/* Which queues are bound to an exchange. */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

struct bindings_op {
    struct redis_request request;
    broker_bindings_fn *cb;
    void *data;
};

static void on_members(struct redis_request *request,
                       int status,
                       const struct redis_reply *reply,
                       const struct cel_error *err)
{
    struct bindings_op *op = container_of(request, struct bindings_op, request);
    struct cel_error own = {0};
    size_t count = 0, cap = status ? 0 : reply_count(reply);
    struct broker_binding *bindings = cap ? mem_array(cap, sizeof(*bindings)) : NULL;
    if (cap && !bindings) {
        status = error_no_memory(&own);
        err = &own;
    }
    for (size_t i = 0; bindings && i < cap; i++) {
        struct key_binding read = key_binding_read(reply_text(reply_item(reply, i)));
        if (read.queue.len > 0)
            bindings[count++] = (struct broker_binding){read.routing_key, read.pattern, read.queue};
    }
    op->cb(op->data, status, bindings, count, err);
    mem_free(bindings);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_bindings(struct broker *broker,
                    struct str exchange,
                    usec_t deadline_mono,
                    broker_bindings_fn *cb,
                    void *data)
{
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(4096);
    key_add_binding(&key, &broker->space, exchange);
    int status = broker->is_closing ? -ECANCELED : buf_status(&key);
    struct bindings_op *op = status ? NULL : mem_new(struct bindings_op);
    if (!op)
        return status ? status : -ENOMEM;
    op->request.on_reply = on_members;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->cb = cb;
    op->data = data;
    status = redis_command_members(&op->request, buf_str(&key));
    if (status)
        mem_free(op);
    else
        redis_connection_send(broker->main, &op->request);
    return status;
}
