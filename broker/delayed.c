/*
 * The delayed set: parking what is not due yet, bringing back what is, and what an operator does with
 * it: looking, running now, cancelling.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { PROMOTE_MAX = 256, PART_MAX = 400 };

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
    struct str refused = reply_text(reply_item(reply, 2));
    struct cel_error own = {0};
    if (refused.ptr) {
        error_set(&own, CEL_E_SERVER, "Redis refuses a list: %.*s", STR_ARGS(refused));
        err = &own;
    }
    op->cb(op->data, status, moved > 0 ? (size_t)moved : 0,
           next_ms > 0 ? (usec_t)next_ms * USEC_PER_MSEC : 0, status || refused.ptr ? err : NULL);
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

/* --- looking ---------------------------------------------------------------------------------- */

struct list_op {
    struct redis_request request;
    broker_delayed_fn *cb;
    void *data;
};

/* "<node>/<tag>", a line feed, the message; what is not like that is all message, as for promotion. */
static struct broker_delayed read_member(struct str due, struct str member)
{
    struct str message = member, head;
    double ms = 0;
    if (str_split(&message, '\n', &head) && !message.ptr)
        message = member;
    if (str_parse_double(due, &ms) || !(ms > 0))
        ms = 0;
    return (struct broker_delayed){
        .member = member,
        .message = message,
        .due_wall = ms < 1e15 ? (usec_t)ms * USEC_PER_MSEC : USEC_NEVER,
    };
}

static void on_listed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct list_op *op = container_of(request, struct list_op, request);
    size_t most = reply_count(reply) / 2, count = 0;
    struct broker_delayed *delayed = most ? mem_array(most, sizeof(*delayed)) : NULL;
    struct cel_error own = {0};
    if (most && !delayed) {
        status = error_no_memory(&own);
        err = &own;
        most = 0;
    }
    for (size_t i = 0; i < most; i++) {
        struct str due = reply_text(reply_item(reply, 1 + 2 * i));
        struct str member = reply_text(reply_item(reply, 2 + 2 * i));
        if (member.ptr)
            delayed[count++] = read_member(due, member);
    }
    op->cb(op->data, status, delayed, count, reply_text(reply_item(reply, 0)), err);
    mem_free(delayed);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_list_delayed(struct broker *broker,
                        struct str name,
                        struct str cursor,
                        const struct broker_delayed_range *range,
                        usec_t deadline_mono,
                        broker_delayed_fn *cb,
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
    status = redis_command_delayed_list(&op->request, &queue->keys, cursor, range, PART_MAX);
    if (status)
        mem_free(op);
    else
        redis_connection_send(broker->main, &op->request);
    return status;
}

/* --- by hand ---------------------------------------------------------------------------------- */

int broker_end_delayed(struct broker *broker,
                       struct str name,
                       const struct broker_delayed_end *end,
                       usec_t deadline_mono,
                       uint64_t *ret_count,
                       broker_done_fn *cb,
                       void *data)
{
    struct broker_queue *queue;
    struct end_op *op;
    if (end->count == 0 || end->count > BROKER_ENDED_MAX)
        return -EINVAL;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (!status)
        status = end_op_new(broker, end->are_cancelled ? end->count : 0, cb, data, &op);
    if (status)
        return status;
    op->ret_count = ret_count;
    status = redis_command_delayed_end(&op->request, end_op_space(op), &queue->keys, end);
    for (size_t i = 0; i < op->count && !status; i++)
        status = end_op_store(op, i, end->choices[i].result_id, end->choices[i].result_document,
                              end->result_ttl);
    return end_op_send(op, deadline_mono, status);
}
