/*
 * Waiting for a result: SUBSCRIBE, its confirmation, then GET, then what is published. In this
 * order nothing can be missed: a document stored before the GET is found by it, a later one is
 * published to us. Because publications are not kept for a connection that is lost, the result is
 * looked at again after each new subscription, and every few seconds whatever happens. At the same
 * time the subscriber is pinged, so that one that is half open is noticed and made anew.
 *
 * Each await embeds its two requests; it is freed when it has ended and neither is under way.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

#define LOOK_EVERY    (3 * USEC_PER_SEC)
#define ANSWER_WITHIN (5 * USEC_PER_SEC)

struct await {
    struct list_link link; /* in broker->awaits until it has ended */
    struct broker *broker;
    struct redis_request subscribe, get;
    bool is_subscribing, is_subscribed, is_getting, look_again, has_ended;
    struct turn_alarm alarm;
    usec_t deadline_mono;
    struct str id, channel; /* in `memory` */
    char *memory;
    broker_is_final_fn *is_final;
    broker_result_fn *cb;
    void *data;
};

static void release(struct await *await)
{
    if (!await->has_ended || await->is_subscribing || await->is_getting)
        return;
    mem_free(await->memory);
    mem_free(await);
}

static bool is_listened_to(const struct broker *broker, struct str channel)
{
    for (const struct list_link *link = broker->awaits.head; link; link = link->next) {
        if (str_equal(container_of(link, struct await, link)->channel, channel))
            return true;
    }
    return false;
}

/* One that cannot be sent for want of memory costs some messages that nobody reads. */
static void unsubscribe(struct broker *broker, const struct await *await)
{
    struct redis_request *request = mem_new(struct redis_request);
    if (!request)
        return;
    request->on_reply = on_ignored_reply;
    request->deadline_mono = clock_mono() + ANSWER_WITHIN;
    if (redis_command_unsubscribe(request, &broker->space, await->id))
        mem_free(request);
    else
        redis_connection_send(broker->subscriber, request);
}

static void end(struct await *await, int status, struct str document, const struct cel_error *err)
{
    struct broker *broker = await->broker;
    if (await->has_ended)
        return;
    await->has_ended = true;
    list_remove(&broker->awaits, &await->link);
    turn_alarm_clear(&await->alarm);
    if (!broker->is_closing && !is_listened_to(broker, await->channel))
        unsubscribe(broker, await);
    await->cb(await->data, status, document, err);
    release(await);
}

static void end_in_time(struct await *await)
{
    struct cel_error err;
    error_set(&err, -ETIMEDOUT, "No final result of " STR_FORMAT " in time", STR_ARGS(await->id));
    end(await, -ETIMEDOUT, STR_NONE, &err);
}

/* True for a failure that waiting does not mend. */
static bool is_final_failure(int status)
{
    return status == CEL_E_AUTH || status == CEL_E_SERVER || status == -ECANCELED;
}

/* --- the two requests ------------------------------------------------------------------------- */

static void get(struct await *await)
{
    if (await->has_ended || await->broker->is_closing)
        return;
    if (await->is_getting) {
        await->look_again = true; /* what is under way may have been asked too early */
        return;
    }
    if (redis_command_get(&await->get, &await->broker->space, await->id))
        return; /* memory is short: the next look will do */
    await->is_getting = true;
    redis_connection_send(await->broker->results, &await->get);
}

static void on_got(struct redis_request *request,
                   int status,
                   const struct redis_reply *reply,
                   const struct cel_error *err)
{
    struct await *await = container_of(request, struct await, get);
    struct str document = reply_text(reply);
    bool look_again = await->look_again;
    redis_request_deinit(request);
    await->look_again = false;
    if (status && is_final_failure(status))
        end(await, status, STR_NONE, err);
    else if (!status && document.ptr && await->is_final(document))
        end(await, 0, document, NULL);
    await->is_getting = false;
    if (await->has_ended)
        release(await);
    else if (look_again)
        get(await);
}

static void subscribe(struct await *await)
{
    if (await->is_subscribing || await->broker->is_closing ||
        redis_command_subscribe(&await->subscribe, &await->broker->space, await->id))
        return;
    await->is_subscribing = true;
    redis_connection_send(await->broker->subscriber, &await->subscribe);
}

static void on_subscribed(struct redis_request *request,
                          int status,
                          const struct redis_reply *reply,
                          const struct cel_error *err)
{
    struct await *await = container_of(request, struct await, subscribe);
    (void)reply;
    redis_request_deinit(request);
    if (status && is_final_failure(status))
        end(await, status, STR_NONE, err);
    await->is_subscribing = false;
    await->is_subscribed = status == 0;
    if (await->has_ended)
        release(await);
    else if (await->is_subscribed)
        get(await);
}

/* --- the subscriber --------------------------------------------------------------------------- */

static void on_push(void *data, const struct redis_reply *push)
{
    struct broker *broker = data;
    struct str channel, document;
    if (!redis_push_message(push, &channel, &document))
        return;
    for (struct list_link *link = broker->awaits.head, *next; link; link = next) {
        struct await *await = container_of(link, struct await, link);
        next = link->next;
        if (str_equal(await->channel, channel) && await->is_final(document)) {
            end(await, 0, document, NULL);
            next = broker->awaits.head; /* the callback may have ended others: from the start */
        }
    }
}

static void on_lost(void *data)
{
    struct broker *broker = data;
    for (struct list_link *link = broker->awaits.head; link; link = link->next) {
        struct await *await = container_of(link, struct await, link);
        await->is_subscribed = false;
        subscribe(await);
    }
}

static void on_pinged(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    (void)status; /* no answer: the connection has seen to it that there is a new one */
    (void)reply;
    (void)err;
    struct done_op *op = container_of(request, struct done_op, request);
    struct broker *broker = op->data;
    broker->is_pinging = false;
    redis_request_deinit(request);
    mem_free(op);
}

static void ping_subscriber(struct broker *broker)
{
    struct done_op *op;
    if (broker->is_pinging || done_op_new(broker, NULL, broker, &op))
        return;
    op->request.on_reply = on_pinged;
    int status = redis_ping(&op->request);
    broker->is_pinging =
        done_op_send(op, broker->subscriber, clock_mono() + ANSWER_WITHIN, status) == 0;
}

static int connect_subscriber(struct broker *broker)
{
    const struct redis_connection_options options = {
        .on_push = on_push, .on_lost = on_lost, .data = broker};
    return broker->subscriber
               ? 0
               : broker_connect(broker, &broker->result_url, options, &broker->subscriber);
}

/* --- the await -------------------------------------------------------------------------------- */

static void plan_look(struct await *await)
{
    usec_t look = clock_mono() + LOOK_EVERY;
    turn_alarm(&await->broker->turn, &await->alarm,
               look < await->deadline_mono ? look : await->deadline_mono);
}

static void on_alarm(struct turn_alarm *alarm)
{
    struct await *await = container_of(alarm, struct await, alarm);
    if (clock_mono() >= await->deadline_mono) {
        end_in_time(await);
        return;
    }
    plan_look(await);
    ping_subscriber(await->broker);
    if (!await->is_subscribed)
        subscribe(await);
    get(await);
}

static int copy_names(struct await *await, struct str id)
{
    struct buf names = BUF_INIT(SIZE_MAX / 2);
    buf_add_str(&names, id);
    key_add_result(&names, &await->broker->space, id);
    size_t len = names.len;
    await->memory = buf_take(&names, NULL);
    buf_deinit(&names);
    if (!await->memory)
        return -ENOMEM;
    await->id = str_n(await->memory, id.len);
    await->channel = str_n(await->memory + id.len, len - id.len);
    return 0;
}

static void init_request(struct redis_request *request, redis_reply_fn *on_reply, usec_t deadline)
{
    request->on_reply = on_reply;
    request->deadline_mono = deadline;
    request->answer_within = ANSWER_WITHIN;
    request->repeatable = true;
}

int broker_await_result(struct broker *broker,
                        struct str id,
                        broker_is_final_fn *is_final,
                        usec_t deadline_mono,
                        broker_result_fn *cb,
                        void *data)
{
    if (broker->is_closing)
        return -ECANCELED;
    if (!id.len)
        return -EINVAL;
    if (!broker->has_results)
        return CEL_E_CONFIG;
    int status = connect_subscriber(broker);
    struct await *await = status ? NULL : mem_new(struct await);
    if (!await)
        return -ENOMEM;
    *await = (struct await){
        .broker = broker,
        .alarm = {.fn = on_alarm},
        .deadline_mono = deadline_mono,
        .is_final = is_final,
        .cb = cb,
        .data = data,
    };
    init_request(&await->subscribe, on_subscribed, deadline_mono);
    init_request(&await->get, on_got, deadline_mono);
    if (copy_names(await, id)) {
        mem_free(await);
        return -ENOMEM;
    }
    list_append(&broker->awaits, &await->link);
    subscribe(await);
    plan_look(await);
    return 0;
}

void awaits_cancel(struct broker *broker)
{
    static const struct cel_error err = {-ECANCELED, "The broker is being closed"};
    while (broker->awaits.head)
        end(container_of(broker->awaits.head, struct await, link), -ECANCELED, STR_NONE, &err);
}
