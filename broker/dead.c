/*
 * Quarantine, as it is looked at and ended; what puts messages there is complete.c and lease.c.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { FIELDS = 8 }; /* of an entry in a reply */

struct list_op {
    struct redis_request request;
    broker_dead_fn *cb;
    void *data;
};

static struct broker_dead_entry read_entry(const struct redis_reply *row)
{
    uint64_t ms = 0;
    if (str_parse_u64(reply_text(reply_item(row, 5)), &ms) || ms > USEC_NEVER / USEC_PER_MSEC)
        ms = 0;
    return (struct broker_dead_entry){
        .entry = reply_text(reply_item(row, 0)),
        .dead = {.reason = reply_text(reply_item(row, 1)),
                 .detail = reply_text(reply_item(row, 2)),
                 .task_id = reply_text(reply_item(row, 3)),
                 .task = reply_text(reply_item(row, 4)),
                 .evidence = reply_text(reply_item(row, 6))},
        .buried_wall = ms * USEC_PER_MSEC,
        .message = reply_text(reply_item(row, 7)),
    };
}

static void on_listed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct list_op *op = container_of(request, struct list_op, request);
    struct broker_dead_entry entries[BROKER_ENDED_MAX];
    size_t count = 0;
    for (size_t i = 1; i < reply_count(reply) && count < BROKER_ENDED_MAX; i++) {
        const struct redis_reply *row = reply_item(reply, i);
        if (reply_count(row) == FIELDS)
            entries[count++] = read_entry(row);
    }
    op->cb(op->data, status, entries, count, reply_text(reply_item(reply, 0)), err);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_list_dead(struct broker *broker,
                     struct str name,
                     struct str cursor,
                     bool with_messages,
                     usec_t deadline_mono,
                     broker_dead_fn *cb,
                     void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    struct list_op *op = status ? NULL : mem_new(struct list_op);
    if (!op)
        return status ? status : -ENOMEM;
    *op = (struct list_op){.cb = cb, .data = data};
    op->request.on_reply = on_listed;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    status = redis_command_dead_list(&op->request, &queue->keys, cursor, BROKER_ENDED_MAX,
                                     with_messages);
    if (status)
        mem_free(op);
    else
        redis_connection_send(broker->main, &op->request);
    return status;
}

int broker_end_dead(struct broker *broker,
                    struct str name,
                    const struct broker_dead_choice *choices,
                    size_t count,
                    bool are_dropped,
                    usec_t deadline_mono,
                    uint64_t *ret_count,
                    broker_done_fn *cb,
                    void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    if (count == 0 || count > BROKER_ENDED_MAX)
        return -EINVAL;
    int status = broker_queue(broker, name, &queue);
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->ret_count = ret_count;
    return done_op_send(
        op, broker->main, deadline_mono,
        redis_command_dead_end(&op->request, &queue->keys, choices, count, are_dropped));
}
