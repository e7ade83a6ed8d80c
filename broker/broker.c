/*
 * Making and ending a broker, and what its files share.
 *
 * The end goes: the connections are closed, each telling what it had under way; what waits for
 * something else is told; the turn's handles are closed; the memory goes.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { READ_BUFFER = 64 * 1024, NAME_MAX_BYTES = 1024 };
#define DEAD_MAX_DEFAULT 10000

/* --- making ----------------------------------------------------------------------------------- */

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 127)
            return true;
    }
    return false;
}

static int copy_str(struct str text, struct str *ret)
{
    if (!text.ptr)
        return 0;
    char *copy = mem_dup(text.ptr, text.len);
    if (!copy)
        return -ENOMEM;
    *ret = str_n(copy, text.len);
    return 0;
}

static int set_names(struct broker *broker, const struct broker_options *options)
{
    int status = copy_str(options->key_prefix, &broker->space.prefix);
    return status ? status : copy_str(options->node, &broker->space.node);
}

static int check_options(const struct broker_options *options, struct cel_error *err)
{
    if (!options->url)
        return error_set(err, -EINVAL, "No URL of a Redis server is given");
    if (options->key_prefix.len > NAME_MAX_BYTES || options->node.len > NAME_MAX_BYTES)
        return error_set(err, -EINVAL, "The key prefix or the node name is too long");
    if (has_control(options->node))
        return error_set(err, -EINVAL, "The node name holds a control character");
    return 0;
}

static int
set_urls(struct broker *broker, const struct broker_options *options, struct cel_error *err)
{
    const struct url_sentinel sentinel = {
        .master_name = options->master_name,
        .user = options->sentinel_username,
        .password = options->sentinel_password,
    };
    const char *result_url = options->result_url ? options->result_url : options->url;
    int status = url_parse(str_of(options->url), &sentinel, &broker->url, err);
    if (status) {
        error_wrap(err, "Broker");
        return status;
    }
    broker->has_results =
        strcmp(result_url, "disabled") != 0 && !broker_is_result_table(result_url);
    if (options->result_store)
        broker->result_store = *options->result_store;
    if (!broker->has_results)
        result_url = options->url;
    status = url_parse(str_of(result_url), &sentinel, &broker->result_url, err);
    if (status)
        error_wrap(err, "Result backend");
    return status;
}

/* One connection met silence: the others need not wait for their own deadlines. */
static void on_silent(void *data)
{
    struct broker *broker = data;
    redis_connection_distrust(broker->main);
    if (broker->revocations)
        redis_connection_distrust(broker->revocations);
    for (struct list_link *link = broker->queues.head; link; link = link->next)
        wait_distrust(container_of(link, struct broker_queue, link)->wait);
}

int broker_connect(struct broker *broker,
                   const struct url *url,
                   struct redis_connection_options options,
                   struct redis_connection **ret_connection)
{
    options.turn = &broker->turn;
    options.url = url;
    options.sentinels = url == &broker->url ? &broker->sentinels : &broker->result_sentinels;
    options.on_silent = broker->silence && url == &broker->url ? on_silent : NULL;
    options.silent_data = broker;
    options.read_buffer = str_n(broker->read_buffer, READ_BUFFER);
    return redis_connection_new(&options, broker->loop, ret_connection);
}

static int connect_all(struct broker *broker)
{
    const struct redis_connection_options main = {
        .on_flush = acks_flush, .silence = broker->silence, .data = broker};
    const struct redis_connection_options results = {.silence = broker->silence, .data = broker};
    broker->read_buffer = mem_grow(NULL, READ_BUFFER, 1);
    if (!broker->read_buffer)
        return -ENOMEM;
    int status = broker_connect(broker, &broker->url, main, &broker->main);
    if (status)
        return status;
    if (url_same(&broker->url, &broker->result_url)) {
        broker->results = broker->main;
        return 0;
    }
    return broker_connect(broker, &broker->result_url, results, &broker->results);
}

static void on_answer_alarm(struct turn_alarm *alarm);
static void free_parts(struct broker *broker);

int broker_new(uv_loop_t *loop,
               const struct broker_options *options,
               struct broker **ret_broker,
               struct cel_error *err)
{
    int status = check_options(options, err);
    if (status)
        return status;
    struct broker *broker = mem_new(struct broker);
    if (!broker)
        return error_no_memory(err);
    broker->loop = loop;
    broker->silence = options->silence;
    broker->result_ttl = options->result_ttl;
    broker->dead_limits.count = options->dead_max ? options->dead_max : DEAD_MAX_DEFAULT;
    broker->dead_limits.age = options->dead_max_age;
    broker->next_tag = 1;
    broker->answer_alarm.fn = on_answer_alarm;
    status = set_urls(broker, options, err);
    if (!status && (set_names(broker, options) || connect_all(broker)))
        status = error_no_memory(err);
    if (status) {
        free_parts(broker);
        mem_free(broker);
        return status;
    }
    turn_init(&broker->turn, loop); /* last: its handles are in the loop until it is closed */
    *ret_broker = broker;
    return 0;
}

/* --- ending ----------------------------------------------------------------------------------- */

static void free_parts(struct broker *broker)
{
    for (struct list_link *link; (link = list_pop(&broker->queues));) {
        struct broker_queue *queue = container_of(link, struct broker_queue, link);
        queue_keys_deinit(&queue->keys);
        mem_free(queue);
    }
    redis_connection_free_unused(broker->main);
    if (broker->results != broker->main)
        redis_connection_free_unused(broker->results);
    url_deinit(&broker->url);
    url_deinit(&broker->result_url);
    mem_free((char *)(uintptr_t)broker->space.prefix.ptr);
    mem_free((char *)(uintptr_t)broker->space.node.ptr);
    mem_free(broker->read_buffer);
}

static void on_turn_closed(void *data)
{
    struct broker *broker = data;
    broker_closed_fn *closed = broker->closed;
    void *closed_data = broker->closed_data;
    broker->main = broker->results = NULL;
    free_parts(broker);
    mem_free(broker);
    if (closed)
        closed(closed_data);
}

static void answer_all(struct broker *broker, int status_or_0)
{
    static const struct cel_error err = {-ECANCELED, "The broker is being closed"};
    struct list answered = broker->answered;
    broker->answered = (struct list){NULL, NULL, 0};
    for (struct list_link *link; (link = list_pop(&answered));) {
        struct redis_request *request = container_of(link, struct redis_request, link);
        int status = status_or_0 ? status_or_0 : request->given_status;
        struct cel_error given = err;
        if (!status_or_0)
            error_set(&given, status, "%s", cel_error_name(status));
        request->on_reply(request, status, NULL, status ? &given : NULL);
    }
}

static void on_connection_closed(void *data)
{
    struct broker *broker = data;
    if (--broker->open > 0)
        return;
    answer_all(broker, -ECANCELED);
    awaits_cancel(broker);
    for (struct list_link *link = broker->queues.head; link; link = link->next) {
        struct broker_queue *queue = container_of(link, struct broker_queue, link);
        acks_cancel(queue);
        wait_free(queue->wait);
        queue->wait = NULL;
    }
    turn_close(&broker->turn, on_turn_closed, broker);
}

void broker_close(struct broker *broker, broker_closed_fn *cb, void *data)
{
    broker->is_closing = true;
    broker->closed = cb;
    broker->closed_data = data;
    broker->open = 1;
    redis_connection_close(broker->main, on_connection_closed, broker);
    if (broker->results != broker->main) {
        broker->open++;
        redis_connection_close(broker->results, on_connection_closed, broker);
    }
    if (broker->subscriber) {
        broker->open++;
        redis_connection_close(broker->subscriber, on_connection_closed, broker);
    }
    if (broker->revocations) {
        broker->open++;
        redis_connection_close(broker->revocations, on_connection_closed, broker);
    }
    for (struct list_link *link = broker->queues.head; link; link = link->next) {
        struct broker_queue *queue = container_of(link, struct broker_queue, link);
        if (queue->wait)
            broker->open += wait_close(queue->wait, on_connection_closed, broker);
    }
}

/* --- what the files share --------------------------------------------------------------------- */

static void on_answer_alarm(struct turn_alarm *alarm)
{
    answer_all(container_of(alarm, struct broker, answer_alarm), 0);
}

void broker_answer(struct broker *broker, struct redis_request *request, int status)
{
    request->given_status = status;
    list_append(&broker->answered, &request->link);
    turn_alarm(&broker->turn, &broker->answer_alarm, 0);
}

int broker_queue(struct broker *broker, struct str name, struct broker_queue **ret_queue)
{
    for (struct list_link *link = broker->queues.head; link; link = link->next) {
        struct broker_queue *queue = container_of(link, struct broker_queue, link);
        if (str_equal(queue->keys.name, name)) {
            *ret_queue = queue;
            return 0;
        }
    }
    if (name.len == 0 || name.len > NAME_MAX_BYTES)
        return -EINVAL;
    struct broker_queue *queue = mem_new(struct broker_queue);
    if (!queue || queue_keys_init(&queue->keys, &broker->space, name)) {
        mem_free(queue);
        return -ENOMEM;
    }
    list_append(&broker->queues, &queue->link);
    *ret_queue = queue;
    return 0;
}

int broker_claim_queue(struct broker *broker,
                       const struct broker_claim *claim,
                       struct broker_queue **ret_queue)
{
    if (!broker->space.node.ptr || !claim->tag || !step_is_valid(claim->step))
        return -EINVAL;
    return broker_queue(broker, claim->queue, ret_queue);
}

struct str broker_in_flight_key(struct broker *broker, struct str name)
{
    struct broker_queue *queue;
    bool is_known = broker->space.node.ptr && broker_queue(broker, name, &queue) == 0;
    return is_known ? queue->keys.in_flight : STR_NONE;
}

static void on_done_reply(struct redis_request *request,
                          int status,
                          const struct redis_reply *reply,
                          const struct cel_error *err)
{
    struct done_op *op = container_of(request, struct done_op, request);
    if (!status && op->ret_count)
        *op->ret_count = (uint64_t)reply_integer(reply, 0);
    if (!status && reply_integer(reply, 1) == 0)
        status = op->zero_means;
    op->cb(op->data, status, status < 0 ? err : NULL);
    redis_request_deinit(request);
    mem_free(op);
}

int done_op_new(struct broker *broker, broker_done_fn *cb, void *data, struct done_op **ret_op)
{
    if (broker->is_closing)
        return -ECANCELED;
    struct done_op *op = mem_new(struct done_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_done_reply;
    op->cb = cb;
    op->data = data;
    *ret_op = op;
    return 0;
}

int done_op_new_for_claim(struct broker *broker,
                          const struct broker_claim *claim,
                          broker_done_fn *cb,
                          void *data,
                          struct broker_queue **ret_queue,
                          struct done_op **ret_op)
{
    int status = broker_claim_queue(broker, claim, ret_queue);
    if (!status)
        status = done_op_new(broker, cb, data, ret_op);
    if (!status)
        (*ret_op)->zero_means = BROKER_E_LOST;
    return status;
}

int done_op_send(struct done_op *op,
                 struct redis_connection *connection,
                 usec_t deadline_mono,
                 int status)
{
    if (status) {
        mem_free(op);
        return status;
    }
    op->request.deadline_mono = deadline_mono;
    redis_connection_send(connection, &op->request);
    return 0;
}

void on_ignored_reply(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    (void)status;
    (void)reply;
    (void)err;
    redis_request_deinit(request);
    mem_free(request);
}

int broker_ping(struct broker *broker, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct done_op *op;
    int status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true;
    return done_op_send(op, broker->main, deadline_mono, redis_ping(&op->request));
}
