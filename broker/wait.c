/*
 * The idle wait. One BLMOVE on a connection of its own for each priority list moves the next
 * message into what is staged for this node: it is in Redis, under our name, before we hear of it.
 *
 *     wait      every list that is not armed is armed: a BLMOVE is sent
 *     armed     answered with nil after some seconds: armed again, as long as somebody waits
 *     staged    answered with a message: the waiter is told; the other lists stay armed for some
 *               milliseconds, for a waiter who soon waits again, and then are unblocked
 *     cancel    all lists are unblocked; the waiter is told when the last has answered
 *
 * A list is unblocked by CLIENT UNBLOCK on the main connection, in front of whatever the waiter
 * asks for next: the claim that follows finds everything that the other lists have staged until
 * then. An UNBLOCK that overtakes its BLMOVE does nothing and is sent again; a connection that
 * still does not answer is given up.
 *
 * A message that is staged when nobody waits (the lists raced) is put back at once.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

#define SERVER_WAIT    (5 * USEC_PER_SEC)
#define SERVER_SLACK   (3 * USEC_PER_SEC)
#define FEEL_PULSE     (2 * USEC_PER_SEC) /* the first list's: a silent server is found by it */
#define PULSE_SLACK    USEC_PER_SEC
#define STAY_ARMED     (5 * USEC_PER_MSEC)
#define DOUBT_FOR      (60 * USEC_PER_SEC)
#define UNBLOCK_WITHIN USEC_PER_SEC
#define UNBLOCK_FIRST  USEC_PER_MSEC       /* before an UNBLOCK is sent again; doubled each time */
#define COMMAND_WITHIN (10 * USEC_PER_SEC) /* long: a miss would cost the main connection */

struct wait_list {
    struct redis_request request;
    struct wait *wait;
    struct redis_connection *connection;
    bool is_armed;
    bool is_left_over; /* armed for an earlier wait */
};

struct wait {
    struct broker *broker;
    struct broker_queue *queue;
    struct wait_list lists[STEP_COUNT];
    struct turn_alarm alarm;
    bool is_unblocking;
    usec_t unblock_until_mono, unblock_pause;
    bool is_cancelled;
    usec_t doubt_until_mono; /* a lost connection may have staged something late */
    broker_done_fn *cb;      /* NULL: nobody waits */
    void *data;
};

bool wait_is_armed(const struct wait *wait)
{
    for (unsigned i = 0; wait && i < STEP_COUNT; i++) {
        if (wait->lists[i].is_armed)
            return true;
    }
    return false;
}

/* --- unblocking ------------------------------------------------------------------------------- */

static void send_unblock(struct wait *wait, int64_t client_id)
{
    struct redis_request *request = mem_new(struct redis_request);
    if (!request)
        return; /* sent again soon */
    request->on_reply = on_ignored_reply;
    request->deadline_mono = clock_mono() + COMMAND_WITHIN;
    if (redis_command_unblock(request, client_id))
        mem_free(request);
    else
        redis_connection_send(wait->broker->main, request);
}

static void unblock_list(struct wait *wait, struct wait_list *list)
{
    if (!list->is_armed)
        return;
    if (redis_connection_recall(list->connection, &list->request)) {
        redis_request_deinit(&list->request);
        list->is_armed = false;
    } else if (list->connection->client_id && clock_mono() < wait->unblock_until_mono) {
        send_unblock(wait, list->connection->client_id);
    } else {
        redis_connection_reset(list->connection, -ETIMEDOUT, "a wait could not be ended");
    }
}

static void unblock(struct wait *wait)
{
    for (unsigned i = 0; i < STEP_COUNT; i++)
        unblock_list(wait, &wait->lists[i]);
    if (wait_is_armed(wait))
        turn_alarm(&wait->broker->turn, &wait->alarm, clock_mono() + wait->unblock_pause);
    else if (wait->is_cancelled)
        turn_alarm(&wait->broker->turn, &wait->alarm, 0);
    wait->unblock_pause *= 2;
}

static void start_unblocking(struct wait *wait)
{
    wait->is_unblocking = true;
    wait->unblock_until_mono = clock_mono() + UNBLOCK_WITHIN;
    wait->unblock_pause = UNBLOCK_FIRST;
    unblock(wait);
}

/* --- ending ----------------------------------------------------------------------------------- */

static void end(struct wait *wait, int status, const struct cel_error *err)
{
    broker_done_fn *cb = wait->cb;
    wait->cb = NULL;
    wait->is_cancelled = false;
    if (!wait->is_unblocking && wait_is_armed(wait) && !wait->broker->is_closing)
        turn_alarm(&wait->broker->turn, &wait->alarm, clock_mono() + STAY_ARMED);
    cb(wait->data, status, err);
}

static void end_cancelled(struct wait *wait)
{
    static const struct cel_error err = {-ECANCELED, "The wait was cancelled"};
    end(wait, -ECANCELED, &err);
}

static void on_alarm(struct turn_alarm *alarm)
{
    struct wait *wait = container_of(alarm, struct wait, alarm);
    if (wait_is_armed(wait) && !wait->is_unblocking)
        start_unblocking(wait);
    else if (wait_is_armed(wait))
        unblock(wait);
    else if (wait->is_cancelled)
        end_cancelled(wait);
}

static void put_back(struct wait *wait)
{
    struct redis_request *request = mem_new(struct redis_request);
    if (!request)
        return; /* the next claim finds it */
    request->on_reply = on_ignored_reply;
    request->deadline_mono = clock_mono() + COMMAND_WITHIN;
    if (redis_command_unstage(request, &wait->queue->keys))
        mem_free(request);
    else
        redis_connection_send(wait->broker->main, request);
}

/* --- arming ----------------------------------------------------------------------------------- */

static int arm(struct wait_list *list)
{
    struct wait *wait = list->wait;
    if (list->is_armed)
        return 0;
    bool is_first = list == wait->lists;
    int status =
        redis_command_wait(&list->request, &wait->queue->keys, (unsigned)(list - wait->lists),
                           is_first ? FEEL_PULSE : SERVER_WAIT);
    if (status)
        return status;
    list->is_armed = true;
    list->is_left_over = false;
    list->request.deadline_mono = USEC_NEVER; /* until there is a connection */
    list->request.answer_within = is_first ? FEEL_PULSE + PULSE_SLACK : SERVER_WAIT + SERVER_SLACK;
    wait->queue->maybe_staged = true;
    redis_connection_send(list->connection, &list->request);
    return 0;
}

static void rearm(struct wait_list *list)
{
    static const struct cel_error err = {-ENOMEM, "Memory is short"};
    struct wait *wait = list->wait;
    if (wait->is_cancelled) {
        if (!wait_is_armed(wait))
            end_cancelled(wait);
        return;
    }
    if (clock_mono() < wait->doubt_until_mono)
        put_back(wait);
    int status = arm(list);
    if (status)
        end(wait, status, &err);
}

/* The waiter is told once that connections are lost: those of an earlier wait are armed anew. */
static bool ends_wait(const struct wait_list *list, int status, bool is_staged)
{
    bool is_old_loss = status == CEL_E_UNCERTAIN && list->is_left_over && !list->wait->is_cancelled;
    return is_staged || (status && !is_old_loss);
}

static void on_answer(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct wait_list *list = container_of(request, struct wait_list, request);
    struct wait *wait = list->wait;
    bool is_staged = !status && reply_text(reply).ptr;
    redis_request_deinit(request);
    list->is_armed = false;
    if (is_staged || status)
        wait->queue->maybe_staged = true;
    if (status)
        wait->doubt_until_mono = clock_mono() + DOUBT_FOR;
    if (!wait->cb) {
        if (is_staged && !wait->broker->is_closing)
            put_back(wait);
    } else if (ends_wait(list, status, is_staged)) {
        end(wait, status, err);
    } else {
        rearm(list);
    }
}

/* --- from outside ----------------------------------------------------------------------------- */

static int new_wait(struct broker *broker, struct broker_queue *queue)
{
    const struct redis_connection_options options = {.wants_id = true};
    struct wait *wait = mem_new(struct wait);
    if (!wait)
        return -ENOMEM;
    wait->broker = broker;
    wait->queue = queue;
    wait->alarm.fn = on_alarm;
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        struct wait_list *list = &wait->lists[i];
        list->wait = wait;
        list->request.on_reply = on_answer;
        if (broker_connect(broker, &broker->url, options, &list->connection) == 0)
            continue;
        while (i-- > 0)
            redis_connection_free_unused(wait->lists[i].connection);
        mem_free(wait);
        return -ENOMEM;
    }
    queue->wait = wait;
    return 0;
}

int broker_wait(struct broker *broker, struct str name, broker_done_fn *cb, void *data)
{
    struct broker_queue *queue;
    if (broker->is_closing)
        return -ECANCELED;
    if (!broker->space.node.ptr)
        return -EINVAL;
    int status = broker_queue(broker, name, &queue);
    if (!status && !queue->wait)
        status = new_wait(broker, queue);
    if (status)
        return status;
    struct wait *wait = queue->wait;
    if (wait->cb)
        return -EBUSY;
    for (unsigned i = 0; i < STEP_COUNT && !status; i++) {
        wait->lists[i].is_left_over = wait->lists[i].is_armed;
        status = arm(&wait->lists[i]);
    }
    if (status) {
        start_unblocking(wait);
        return status;
    }
    turn_alarm_clear(&wait->alarm); /* lists still being unblocked are armed again then */
    wait->is_unblocking = false;
    wait->cb = cb;
    wait->data = data;
    return 0;
}

void broker_wait_cancel(struct broker *broker, struct str name)
{
    struct broker_queue *queue;
    if (broker->is_closing || broker_queue(broker, name, &queue) || !queue->wait ||
        !queue->wait->cb || queue->wait->is_cancelled)
        return;
    queue->wait->is_cancelled = true;
    start_unblocking(queue->wait);
}

int broker_unstage(
    struct broker *broker, struct str name, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    struct broker_queue *queue;
    struct done_op *op;
    if (!broker->space.node.ptr)
        return -EINVAL;
    int status = broker_queue(broker, name, &queue);
    if (!status)
        status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_unstage(&op->request, &queue->keys));
}

unsigned wait_close(struct wait *wait, void (*closed)(void *data), void *data)
{
    turn_alarm_clear(&wait->alarm);
    for (unsigned i = 0; i < STEP_COUNT; i++)
        redis_connection_close(wait->lists[i].connection, closed, data);
    return STEP_COUNT;
}

void wait_distrust(struct wait *wait)
{
    for (unsigned i = 0; wait && i < STEP_COUNT; i++)
        redis_connection_distrust(wait->lists[i].connection);
}

void wait_free(struct wait *wait)
{
    if (wait && wait->cb)
        end_cancelled(wait);
    mem_free(wait);
}
