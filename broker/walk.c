/*
 * Everything that a queue holds, key by key and page by page, for whoever counts ids:
 *
 *     SCAN: the keys of its nodes --> the ledger, then each key in turn --> cb
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "broker/names.h"
#include "core/mem.h"

enum { PAGE = 256, TEXTS_MAX = 4096 };

struct walk_op {
    struct redis_request request;
    struct broker *broker;
    struct str queue;  /* of the broker's own */
    struct names keys; /* the ledger first */
    size_t at;
    bool is_scanning;
    usec_t within;
    broker_page_fn *on_page;
    broker_done_fn *cb;
    void *data;
};

static void free_op(struct walk_op *op)
{
    names_deinit(&op->keys);
    redis_request_deinit(&op->request);
    mem_free(op);
}

static int add_fixed_keys(struct walk_op *op, const struct queue_keys *keys)
{
    int status = names_add(&op->keys, keys->ledger);
    for (unsigned i = 0; i < STEP_COUNT && !status; i++)
        status = names_add(&op->keys, keys->lists[i]);
    if (!status)
        status = names_add(&op->keys, keys->delayed);
    if (!status)
        status = names_add(&op->keys, keys->dead);
    return status;
}

static int take_keys(struct walk_op *op, const struct redis_reply *reply)
{
    int status = 0;
    for (size_t i = 0; i < reply_count(reply) && !status; i++) {
        struct str queue, key = reply_text(reply_item(reply, i));
        enum key_kind kind = key.ptr ? key_parse(key, &op->broker->space, &queue) : KEY_OTHER;
        if ((kind == KEY_IN_FLIGHT || kind == KEY_STAGING) && str_equal(queue, op->queue))
            status = names_add(&op->keys, key);
    }
    return status;
}

static int format_page(struct walk_op *op, struct str cursor)
{
    return redis_command_page(&op->request, op->keys.items[op->at], cursor, PAGE, op->at == 0);
}

static void show(struct walk_op *op, const struct redis_reply *reply)
{
    struct str texts[TEXTS_MAX];
    size_t count = 0;
    for (size_t i = 1; i < reply_count(reply); i++) {
        texts[count] = reply_text(reply_item(reply, i));
        count += texts[count].ptr != NULL;
        if (count == TEXTS_MAX || (i + 1 == reply_count(reply) && count > 0)) {
            op->on_page(op->data, op->at == 0, texts, count);
            count = 0;
        }
    }
}

/* 1: there is no more. */
static int take_answer(struct walk_op *op, const struct redis_reply *reply)
{
    struct str cursor = reply_text(reply_item(reply, 0));
    if (op->is_scanning) {
        int status = take_keys(op, reply_item(reply, 1));
        if (status)
            return status;
        if (cursor.ptr && !str_equal(cursor, STR("0")))
            return redis_command_scan(&op->request, &op->broker->space, REDIS_SCAN_OURS, cursor);
        op->is_scanning = false;
        return format_page(op, STR(""));
    }
    show(op, reply);
    if (cursor.len)
        return format_page(op, cursor);
    return ++op->at < op->keys.count ? format_page(op, STR("")) : 1;
}

static void ask(struct walk_op *op)
{
    op->request.deadline_mono = clock_mono() + op->within;
    redis_connection_send(op->broker->main, &op->request);
}

static void on_answer(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct walk_op *op = container_of(request, struct walk_op, request);
    struct cel_error own = {0};
    redis_request_deinit(request);
    request->script = NULL;
    request->loads = 0;
    if (!status) {
        status = take_answer(op, reply);
        if (status < 0)
            error_set(&own, status, "%s", cel_error_name(status));
        err = &own;
        if (status == 0) {
            ask(op);
            return;
        }
    }
    op->cb(op->data, status < 0 ? status : 0, status < 0 ? err : NULL);
    free_op(op);
}

int broker_walk(struct broker *broker,
                struct str name,
                usec_t within,
                broker_page_fn *on_page,
                broker_done_fn *cb,
                void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    struct walk_op *op = status ? NULL : mem_new(struct walk_op);
    if (!op)
        return status ? status : -ENOMEM;
    *op = (struct walk_op){.broker = broker,
                           .queue = queue->keys.name,
                           .is_scanning = true,
                           .within = within,
                           .on_page = on_page,
                           .cb = cb,
                           .data = data};
    op->request.on_reply = on_answer;
    op->request.repeatable = true;
    status = add_fixed_keys(op, &queue->keys);
    if (!status)
        status = redis_command_scan(&op->request, &broker->space, REDIS_SCAN_OURS, STR("0"));
    if (status)
        free_op(op);
    else
        ask(op);
    return status;
}

int broker_forget_ledger(
    struct broker *broker, struct str name, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    int status = broker_queue(broker, name, &queue);
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_unlink(&op->request, queue->keys.ledger));
}

void broker_track(struct broker *broker, const struct broker_claim *claim)
{
    struct broker_queue *queue;
    struct redis_request *request = mem_new(struct redis_request);
    if (!request)
        return;
    request->on_reply = on_ignored_reply;
    request->deadline_mono = USEC_NEVER; /* whenever there is a connection */
    request->repeatable = true;
    if (broker->is_closing || broker_claim_queue(broker, claim, &queue) ||
        redis_command_track(request, &queue->keys, claim))
        mem_free(request);
    else
        redis_connection_send(broker->main, request);
}
