/*
 * Leases and what follows from their end. `celeriac:nodes:{queue}` holds, for each node that claims
 * from the queue, until when its lease lives, by the clock of the server:
 *
 *     renew        only while nobody has given the node up: else BROKER_E_LOST
 *     dead_nodes   those whose time is over
 *     take_over    gives one up: its score is negative from now on, its claims are refused; shows what
 *                  it has in flight
 *     rescue       moves that back, each message only if its tag is still there
 *
 * Two rescuers at once do each other no harm: a tag is moved by one of them. A node that was given up
 * is remembered for a while and looked at again, because a BLMOVE that it sent before may still wait
 * in the server, and stage a message for it late.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { SHOW_MAX = 64, TAKE_OVER_MAX = 64, DEAD_NODES_MAX = 8 };
#define REMEMBERED_FOR (10 * 60 * USEC_PER_SEC)

/* --- ours ------------------------------------------------------------------------------------- */

struct renew_op {
    struct redis_request request;
    struct broker_queue *queue;
    broker_renew_fn *cb;
    void *data;
};

static size_t read_held(const struct broker_queue *queue,
                        const struct redis_reply *reply,
                        struct broker_claim *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < reply_count(reply); i++) {
        struct broker_claim *claim = &ret[count];
        if (key_tag_parse(reply_text(reply_item(reply, i)), &claim->tag, &claim->step) ||
            claim_is_unanswered(queue, claim->tag))
            continue;
        claim->queue = queue->keys.name;
        count++;
    }
    return count;
}

static void on_renewed(struct redis_request *request,
                       int status,
                       const struct redis_reply *reply,
                       const struct cel_error *err)
{
    struct renew_op *op = container_of(request, struct renew_op, request);
    struct broker_claim *held = NULL;
    size_t count = 0;
    if (!status && reply->type == REDIS_INTEGER)
        status = BROKER_E_LOST;
    if (!status && reply_count(reply) > 0)
        held = mem_array(reply_count(reply), sizeof(*held));
    if (held) /* without the memory nothing is reported: the next renewal will */
        count = read_held(op->queue, reply, held);
    op->cb(op->data, status, held, count, status < 0 ? err : NULL);
    mem_free(held);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_renew(struct broker *broker,
                 struct str name,
                 usec_t ttl,
                 bool is_new,
                 usec_t deadline_mono,
                 broker_renew_fn *cb,
                 void *data)
{
    struct broker_queue *queue;
    if (broker->is_closing)
        return -ECANCELED;
    int status = broker->space.node.ptr ? broker_queue(broker, name, &queue) : -EINVAL;
    if (status)
        return status;
    struct renew_op *op = mem_new(struct renew_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_renewed;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->queue = queue;
    op->cb = cb;
    op->data = data;
    status = redis_command_renew(&op->request, &broker->space, &queue->keys, ttl, is_new);
    if (status) {
        mem_free(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}

struct show_op {
    struct redis_request request;
    broker_claim_fn *cb;
    void *data;
    size_t count;
    struct broker_claimed claimed[]; /* what is asked for, then what is there */
};

static void on_shown(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct show_op *op = container_of(request, struct show_op, request);
    size_t count = 0;
    for (size_t i = 0; !status && i < op->count; i++) {
        struct str bytes = reply_text(reply_item(reply, i));
        if (bytes.ptr)
            op->claimed[count++] =
                (struct broker_claimed){.claim = op->claimed[i].claim, .bytes = bytes};
    }
    op->cb(op->data, status, count ? op->claimed : NULL, count, err);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_show(struct broker *broker,
                const struct broker_claim *claims,
                size_t count,
                usec_t deadline_mono,
                broker_claim_fn *cb,
                void *data)
{
    struct broker_queue *queue;
    if (broker->is_closing)
        return -ECANCELED;
    int status = count && count <= SHOW_MAX ? broker_claim_queue(broker, claims, &queue) : -EINVAL;
    if (status)
        return status;
    struct show_op *op = mem_alloc(sizeof(*op) + count * sizeof(op->claimed[0]));
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_shown;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->cb = cb;
    op->data = data;
    op->count = count;
    for (size_t i = 0; i < count; i++) {
        op->claimed[i].claim = claims[i];
        op->claimed[i].claim.queue = queue->keys.name;
    }
    status = redis_command_show(&op->request, &queue->keys, claims, count);
    if (status) {
        mem_free(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}

int broker_leave(
    struct broker *broker, struct str name, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    int status = broker->space.node.ptr ? broker_queue(broker, name, &queue) : -EINVAL;
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_leave(&op->request, &queue->keys));
}

/* --- others' ---------------------------------------------------------------------------------- */

struct names_op {
    struct redis_request request;
    broker_names_fn *cb;
    void *data;
};

static void on_names(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct names_op *op = container_of(request, struct names_op, request);
    struct cel_error own = {0};
    size_t count = 0, cap = status ? 0 : reply_count(reply);
    struct str *names = cap ? mem_array(cap, sizeof(*names)) : NULL;
    if (cap && !names) {
        status = error_no_memory(&own);
        err = &own;
    }
    for (size_t i = 0; names && i < cap; i++) {
        names[count] = reply_text(reply_item(reply, i));
        if (names[count].len)
            count++;
    }
    op->cb(op->data, status, names, count, err);
    mem_free(names);
    redis_request_deinit(request);
    mem_free(op);
}

static int
names_op_new(usec_t deadline_mono, broker_names_fn *cb, void *data, struct names_op **ret_op)
{
    struct names_op *op = mem_new(struct names_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_names;
    op->request.deadline_mono = deadline_mono;
    op->cb = cb;
    op->data = data;
    *ret_op = op;
    return 0;
}

/* Sends it, or frees it and hands up `status`. */
static int names_op_send(struct names_op *op, struct broker *broker, int status)
{
    if (status)
        mem_free(op);
    else
        redis_connection_send(broker->main, &op->request);
    return status;
}

int broker_known_queues(struct broker *broker,
                        usec_t deadline_mono,
                        broker_names_fn *cb,
                        void *data)
{
    struct names_op *op;
    int status = broker->is_closing ? -ECANCELED : names_op_new(deadline_mono, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true;
    return names_op_send(op, broker, redis_command_known_queues(&op->request, &broker->space));
}

int broker_dead_nodes(
    struct broker *broker, struct str name, usec_t deadline_mono, broker_names_fn *cb, void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (status)
        return status;
    struct names_op *op;
    status = names_op_new(deadline_mono, cb, data, &op);
    if (status)
        return status;
    return names_op_send(op, broker,
                         redis_command_dead_nodes(&op->request, &queue->keys, DEAD_NODES_MAX));
}

/* The keys of a queue as `node` knows them. */
static int
keys_of(const struct broker *broker, struct str queue, struct str node, struct queue_keys *ret)
{
    const struct key_space theirs = {.prefix = broker->space.prefix, .node = node};
    if (!queue.len || !node.len)
        return -EINVAL;
    return queue_keys_init(ret, &theirs, queue);
}

struct take_over_op {
    struct redis_request request;
    struct broker_queue *queue;
    broker_claim_fn *cb;
    void *data;
    struct broker_claimed claimed[TAKE_OVER_MAX];
};

static void on_taken_over(struct redis_request *request,
                          int status,
                          const struct redis_reply *reply,
                          const struct cel_error *err)
{
    struct take_over_op *op = container_of(request, struct take_over_op, request);
    size_t count = 0;
    if (!status && reply->type == REDIS_INTEGER)
        status = BROKER_E_LOST;
    if (!status)
        count = claimed_read(reply, 1, op->queue->keys.name, op->claimed, TAKE_OVER_MAX);
    op->cb(op->data, status, count ? op->claimed : NULL, count, status < 0 ? err : NULL);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_take_over(struct broker *broker,
                     struct str name,
                     struct str node,
                     usec_t deadline_mono,
                     broker_claim_fn *cb,
                     void *data)
{
    struct broker_queue *queue;
    struct queue_keys theirs;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (!status)
        status = keys_of(broker, name, node, &theirs);
    if (status)
        return status;
    struct take_over_op *op = mem_new(struct take_over_op);
    if (!op) {
        queue_keys_deinit(&theirs);
        return -ENOMEM;
    }
    op->request.on_reply = on_taken_over;
    op->request.deadline_mono = deadline_mono;
    op->queue = queue;
    op->cb = cb;
    op->data = data;
    status = redis_command_take_over(&op->request, &theirs, TAKE_OVER_MAX, REMEMBERED_FOR);
    queue_keys_deinit(&theirs);
    if (status) {
        mem_free(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}

int broker_rescue(struct broker *broker,
                  struct str name,
                  struct str node,
                  const struct broker_rescued *rescued,
                  size_t count,
                  usec_t deadline_mono,
                  bool *ret_moved,
                  broker_done_fn *cb,
                  void *data)
{
    struct queue_keys theirs;
    struct end_op *op;
    if (count == 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!step_is_valid(rescued[i].claim.step))
            return -EINVAL;
    }
    int status = broker->is_closing ? -ECANCELED : keys_of(broker, name, node, &theirs);
    if (status)
        return status;
    status = end_op_new(broker, count, cb, data, &op);
    if (!status) {
        op->ret_ended = ret_moved;
        op->asked = count;
        status = redis_command_rescue(&op->request, end_op_space(op), &theirs, rescued, count,
                                      broker->result_ttl, &broker->dead_limits);
        for (size_t i = 0; i < op->count && !status; i++)
            status = end_op_store(op, i, rescued[i].result_id, rescued[i].result_document,
                                  broker->result_ttl);
        status = end_op_send(op, deadline_mono, status);
    }
    queue_keys_deinit(&theirs);
    return status;
}
