/*
 * What is listened to is an "ear", each with a request of its own: a PSUBSCRIBE that has no deadline is
 * sent as soon as there is a connection, and again when that was lost. Between, a PING each few seconds
 * finds out whether the connection is half open.
 */
#include "bus/bus.h"

#include <errno.h>
#include <stdio.h>

#include "bus/bus_priv.h"
#include "core/mem.h"

/* Said and not taken by Redis: more is dropped, and so is what is older. */
#define PENDING_MAX   ((size_t)4 * 1024 * 1024)
#define SAY_WITHIN    (5 * USEC_PER_SEC)
#define PING_EVERY    (5 * USEC_PER_SEC)
#define ANSWER_WITHIN (5 * USEC_PER_SEC)
enum { READ_BUFFER = 64 * 1024, PREFIX_MAX = 4096 };

struct ear {
    struct list_link link;
    struct redis_request subscribe;
    bool is_subscribing;
    bool is_deaf; /* Redis refused it: asked again with the next ping */
    struct bus *bus;
    struct str pattern; /* in `memory` */
    char *memory;
    bus_heard_fn *on_heard;
    void *data;
};

/* --- making and ending ------------------------------------------------------------------------ */

int bus_connect(struct bus *bus,
                struct redis_connection_options options,
                struct redis_connection **ret_connection)
{
    options.turn = &bus->turn;
    options.url = &bus->url;
    options.sentinels = &bus->sentinels;
    options.read_buffer = str_n(bus->read_buffer, READ_BUFFER);
    options.data = bus;
    return redis_connection_new(&options, bus->loop, ret_connection);
}

static void on_flush(void *data)
{
    struct bus *bus = data;
    if (bus->on_flush)
        bus->on_flush(bus->data);
}

/* "/{db}." with the number in its place. */
static char *fill_in(const char *fanout_prefix, uint32_t db)
{
    struct buf buf = BUF_INIT(PREFIX_MAX);
    const char *hole = strstr(fanout_prefix, "{db}");
    if (hole)
        buf_addf(&buf, "%.*s%u%s", (int)(hole - fanout_prefix), fanout_prefix, (unsigned)db,
                 hole + 4);
    else
        buf_add(&buf, fanout_prefix, strlen(fanout_prefix));
    char *prefix = buf_take(&buf, NULL);
    buf_deinit(&buf);
    return prefix ? prefix : mem_dup("", 0);
}

static int set_names(struct bus *bus, const struct bus_options *options)
{
    char *key_prefix =
        mem_dup(options->key_prefix.ptr ? options->key_prefix.ptr : "", options->key_prefix.len);
    char *fanout = fill_in(options->fanout_prefix, bus->url.db);
    bus->names.space.prefix = str_n(key_prefix, options->key_prefix.len);
    bus->names.fanout_prefix = str_of(fanout);
    bus->read_buffer = mem_grow(NULL, READ_BUFFER, 1);
    return key_prefix && fanout && bus->read_buffer ? 0 : -ENOMEM;
}

static void free_parts(struct bus *bus)
{
    for (struct list_link *link; (link = list_pop(&bus->ears));) {
        struct ear *ear = container_of(link, struct ear, link);
        redis_request_deinit(&ear->subscribe);
        mem_free(ear->memory);
        mem_free(ear);
    }
    url_deinit(&bus->url);
    mem_free((char *)(uintptr_t)bus->names.space.prefix.ptr);
    mem_free((char *)(uintptr_t)bus->names.fanout_prefix.ptr);
    mem_free(bus->read_buffer);
    mem_free(bus);
}

static void ping_listener(struct turn_alarm *alarm);

int bus_new(uv_loop_t *loop,
            const struct bus_options *options,
            struct bus **ret_bus,
            struct cel_error *err)
{
    const struct url_sentinel sentinel = {
        .master_name = options->master_name,
        .user = options->sentinel_username,
        .password = options->sentinel_password,
    };
    struct bus *bus = mem_new(struct bus);
    if (!bus)
        return error_no_memory(err);
    int status = url_parse(str_of(options->url), &sentinel, &bus->url, err);
    if (status) {
        mem_free(bus);
        return error_wrap(err, "Broker");
    }
    bus->loop = loop;
    bus->silence = options->silence;
    bus->on_flush = options->on_flush;
    bus->on_refused = options->on_refused;
    bus->data = options->data;
    bus->ping.fn = ping_listener;
    const struct redis_connection_options talker = {.on_flush = on_flush,
                                                    .silence = options->silence};
    if (set_names(bus, options) || bus_connect(bus, talker, &bus->talker)) {
        free_parts(bus);
        return error_no_memory(err);
    }
    turn_init(&bus->turn, loop); /* last: its handles are in the loop until it is closed */
    *ret_bus = bus;
    return 0;
}

static void on_turn_closed(void *data)
{
    struct bus *bus = data;
    void (*closed)(void *) = bus->closed;
    void *closed_data = bus->closed_data;
    free_parts(bus);
    if (closed)
        closed(closed_data);
}

static void on_connection_closed(void *data)
{
    struct bus *bus = data;
    if (--bus->open == 0)
        turn_close(&bus->turn, on_turn_closed, bus);
}

void bus_close(struct bus *bus, void (*closed)(void *data), void *data)
{
    struct redis_connection *const connections[] = {bus->talker, bus->listener, bus->taker};
    bus->is_closing = true;
    bus->closed = closed;
    bus->closed_data = data;
    turn_alarm_clear(&bus->ping);
    for (size_t i = 0; i < ARRAY_SIZE(connections); i++)
        bus->open += connections[i] != NULL;
    for (size_t i = 0; i < ARRAY_SIZE(connections); i++) {
        if (connections[i])
            redis_connection_close(connections[i], on_connection_closed, bus);
    }
}

/* What Redis says to a command for which it needs a permission that it may not have. */
static void note_answer(struct bus *bus, bool to_listen, int status, const struct cel_error *err)
{
    bool is_refused = status == CEL_E_SERVER || status == CEL_E_AUTH;
    if (bus->on_refused && (is_refused || status == 0))
        bus->on_refused(bus->data, to_listen, is_refused ? err : NULL);
}

/* --- talking ---------------------------------------------------------------------------------- */

struct saying {
    struct redis_request request;
    struct bus *bus;
    size_t weight;
};

static void on_said(struct redis_request *request,
                    int status,
                    const struct redis_reply *reply,
                    const struct cel_error *err)
{
    struct saying *saying = container_of(request, struct saying, request);
    (void)reply;
    saying->bus->pending -= request->len;
    note_answer(saying->bus, false, status, err);
    if (status)
        saying->bus->dropped += saying->weight;
    redis_request_deinit(request);
    mem_free(saying);
}

void bus_say(
    struct bus *bus, struct str exchange, struct str routing_key, struct str message, size_t weight)
{
    bool is_full = bus->is_closing || bus->pending + message.len > PENDING_MAX;
    struct saying *saying = is_full ? NULL : mem_new(struct saying);
    if (!saying ||
        bus_command_publish(&saying->request, &bus->names, exchange, routing_key, message)) {
        mem_free(saying);
        bus->dropped += weight;
        return;
    }
    saying->request.on_reply = on_said;
    saying->request.deadline_mono = clock_mono() + SAY_WITHIN;
    saying->bus = bus;
    saying->weight = weight;
    bus->pending += saying->request.len;
    redis_connection_send(bus->talker, &saying->request);
}

void bus_wake(struct bus *bus)
{
    if (!bus->is_closing)
        redis_connection_wake(bus->talker);
}

uint64_t bus_dropped(const struct bus *bus)
{
    return bus->dropped;
}

static void on_op_reply(struct redis_request *request,
                        int status,
                        const struct redis_reply *reply,
                        const struct cel_error *err)
{
    struct bus_op *op = container_of(request, struct bus_op, request);
    (void)reply;
    if (op->cb)
        op->cb(op->data, status, err);
    redis_request_deinit(request);
    mem_free(op);
}

struct bus_op *bus_op_new(struct bus *bus, bus_done_fn *cb, void *data)
{
    struct bus_op *op = bus->is_closing ? NULL : mem_new(struct bus_op);
    if (!op)
        return NULL;
    op->request.on_reply = on_op_reply;
    op->bus = bus;
    op->cb = cb;
    op->data = data;
    return op;
}

int bus_op_send(struct bus_op *op, usec_t deadline_mono, int status)
{
    if (status) {
        mem_free(op);
        return status;
    }
    op->request.deadline_mono = deadline_mono;
    redis_connection_send(op->bus->talker, &op->request);
    return 0;
}

int bus_bind(struct bus *bus,
             struct str exchange,
             struct str routing_key,
             struct str queue,
             bool is_bound,
             bus_done_fn *cb,
             void *data)
{
    struct bus_op *op = bus_op_new(bus, cb, data);
    if (!op)
        return -ENOMEM;
    op->request.repeatable = true;
    return bus_op_send(
        op, clock_mono() + SAY_WITHIN,
        bus_command_bind(&op->request, &bus->names, exchange, routing_key, queue, is_bound));
}

int bus_reply(struct bus *bus, struct str exchange, struct str key, struct str message)
{
    struct bus_op *op = bus_op_new(bus, NULL, NULL);
    if (!op)
        return -ENOMEM;
    return bus_op_send(op, clock_mono() + SAY_WITHIN,
                       bus_command_reply(&op->request, &bus->names, exchange, key, message));
}

struct drain {
    void (*cb)(void *data);
    void *data;
};

static void on_drained(void *data, int status, const struct cel_error *err)
{
    struct drain drain = *(struct drain *)data;
    (void)status, (void)err;
    mem_free(data);
    drain.cb(drain.data);
}

int bus_drain(struct bus *bus, usec_t deadline_mono, void (*cb)(void *data), void *data)
{
    struct drain *drain = mem_new(struct drain);
    struct bus_op *op = drain ? bus_op_new(bus, on_drained, drain) : NULL;
    if (!op) {
        mem_free(drain);
        return -ENOMEM;
    }
    *drain = (struct drain){cb, data};
    op->request.answer_within = ANSWER_WITHIN;
    int status = bus_op_send(op, deadline_mono, redis_ping(&op->request));
    if (status)
        mem_free(drain);
    return status;
}

/* --- listening -------------------------------------------------------------------------------- */

static void subscribe(struct ear *ear)
{
    struct bus *bus = ear->bus;
    if (ear->is_subscribing || bus->is_closing || bus_command_listen(&ear->subscribe, ear->pattern))
        return; /* memory is short: the next ping will do */
    ear->is_subscribing = true;
    redis_connection_send(bus->listener, &ear->subscribe);
}

static void on_subscribed(struct redis_request *request,
                          int status,
                          const struct redis_reply *reply,
                          const struct cel_error *err)
{
    struct ear *ear = container_of(request, struct ear, subscribe);
    (void)reply;
    redis_request_deinit(request);
    ear->is_subscribing = false;
    ear->is_deaf = status != 0;
    note_answer(ear->bus, true, status, err);
}

static void on_push(void *data, const struct redis_reply *push)
{
    struct bus *bus = data;
    struct str pattern = reply_text(reply_item(push, 1));
    struct str message = reply_text(reply_item(push, 3));
    for (struct list_link *link = bus->ears.head; link && message.ptr; link = link->next) {
        struct ear *ear = container_of(link, struct ear, link);
        if (str_equal(ear->pattern, pattern)) {
            ear->on_heard(ear->data, message);
            return;
        }
    }
}

static void on_lost(void *data)
{
    struct bus *bus = data;
    for (struct list_link *link = bus->ears.head; link; link = link->next)
        subscribe(container_of(link, struct ear, link));
}

static void on_pinged(void *data, int status, const struct cel_error *err)
{
    struct bus *bus = data;
    (void)status, (void)err; /* no answer: the connection has seen to it that there is a new one */
    bus->is_pinging = false;
}

static void ping_listener(struct turn_alarm *alarm)
{
    struct bus *bus = container_of(alarm, struct bus, ping);
    turn_alarm(&bus->turn, &bus->ping, clock_mono() + PING_EVERY);
    for (struct list_link *link = bus->ears.head; link; link = link->next) {
        struct ear *ear = container_of(link, struct ear, link);
        if (ear->is_deaf)
            subscribe(ear);
    }
    struct bus_op *op = bus->is_pinging ? NULL : bus_op_new(bus, on_pinged, bus);
    if (!op)
        return;
    if (redis_ping(&op->request)) {
        mem_free(op);
        return;
    }
    bus->is_pinging = true;
    op->request.deadline_mono = clock_mono() + ANSWER_WITHIN;
    op->request.answer_within = ANSWER_WITHIN;
    redis_connection_send(bus->listener, &op->request);
}

static int name_ear(struct ear *ear, struct str exchange, struct str routing_key)
{
    struct buf pattern = BUF_INIT(SIZE_MAX / 2);
    size_t len = 0;
    bus_add_pattern(&pattern, &ear->bus->names, exchange, routing_key);
    ear->memory = buf_take(&pattern, &len);
    buf_deinit(&pattern);
    ear->pattern = str_n(ear->memory, len);
    return ear->memory ? 0 : -ENOMEM;
}

int bus_listen(struct bus *bus,
               struct str exchange,
               struct str routing_key,
               bus_heard_fn *on_heard,
               void *data)
{
    const struct redis_connection_options listener = {.on_push = on_push, .on_lost = on_lost};
    struct ear *ear = mem_new(struct ear);
    if (!ear)
        return -ENOMEM;
    ear->bus = bus;
    ear->on_heard = on_heard;
    ear->data = data;
    ear->subscribe.on_reply = on_subscribed;
    ear->subscribe.deadline_mono = USEC_NEVER;
    ear->subscribe.answer_within = ANSWER_WITHIN;
    ear->subscribe.repeatable = true;
    if (name_ear(ear, exchange, routing_key) ||
        (!bus->listener && bus_connect(bus, listener, &bus->listener))) {
        mem_free(ear->memory);
        mem_free(ear);
        return -ENOMEM;
    }
    list_append(&bus->ears, &ear->link);
    subscribe(ear);
    turn_alarm(&bus->turn, &bus->ping, clock_mono() + PING_EVERY);
    return 0;
}
