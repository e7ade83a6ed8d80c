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

/* One script; with results elsewhere, the documents of those that it cancelled behind it. */
struct end_op {
    struct redis_request request;
    struct broker *broker;
    uint64_t *ret_count;
    broker_done_fn *cb;
    void *data;
    size_t pending; /* stores under way */
    int status;     /* of the first that failed */
    struct cel_error err;
    size_t count;
    struct end_store {
        struct redis_request request;
        struct end_op *op;
    } stores[]; /* one for each choice, formatted at the beginning; no bytes: nothing to store */
};

static void free_end(struct end_op *op)
{
    for (size_t i = 0; i < op->count; i++)
        redis_request_deinit(&op->stores[i].request);
    redis_request_deinit(&op->request);
    mem_free(op);
}

static void end_ended(struct end_op *op)
{
    if (op->pending > 0)
        return;
    op->cb(op->data, op->status, op->status ? &op->err : NULL);
    free_end(op);
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
    end_ended(op);
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
    for (size_t i = 0; i < reply_count(reply) && op->count; i++) {
        int64_t number = reply_integer(reply_item(reply, i), 0);
        if (number < 1 || (uint64_t)number > op->count || !op->stores[number - 1].request.bytes)
            continue;
        op->pending++;
        redis_connection_send(op->broker->results, &op->stores[number - 1].request);
    }
    op->pending--;
    end_ended(op);
}

static int format_stores(struct end_op *op,
                         const struct broker_delayed_end *end,
                         size_t count,
                         usec_t deadline_mono)
{
    int status = 0;
    op->count = count;
    for (size_t i = 0; i < count && !status; i++) {
        const struct broker_delayed_choice *choice = &end->choices[i];
        struct end_store *store = &op->stores[i];
        store->op = op;
        store->request.on_reply = on_stored;
        store->request.deadline_mono = deadline_mono;
        if (choice->result_id.ptr)
            status = redis_command_store(&store->request, &op->broker->space, choice->result_id,
                                         choice->result_document, end->result_ttl);
    }
    return status;
}

int broker_end_delayed(struct broker *broker,
                       struct str name,
                       const struct broker_delayed_end *end,
                       usec_t deadline_mono,
                       uint64_t *ret_count,
                       broker_done_fn *cb,
                       void *data)
{
    struct broker_queue *queue;
    if (end->count == 0 || end->count > BROKER_ENDED_MAX)
        return -EINVAL;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (status)
        return status;
    bool is_here = broker->has_results && broker->results == broker->main;
    size_t stores = end->are_cancelled && broker->has_results && !is_here ? end->count : 0;
    struct end_op *op = mem_alloc(sizeof(*op) + stores * sizeof(op->stores[0]));
    if (!op)
        return -ENOMEM;
    op->broker = broker;
    op->ret_count = ret_count;
    op->cb = cb;
    op->data = data;
    op->request.on_reply = on_ended;
    op->request.deadline_mono = deadline_mono;
    status =
        redis_command_delayed_end(&op->request, is_here ? &broker->space : NULL, &queue->keys, end);
    if (!status)
        status = format_stores(op, end, stores, deadline_mono);
    if (status)
        free_end(op);
    else
        redis_connection_send(broker->main, &op->request);
    return status;
}
