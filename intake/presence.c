#include "intake/presence.h"

#include "core/log.h"
#include "core/mem.h"

#define LEAVE_DEADLINE_USEC USEC_PER_SEC
enum { RENEWALS_A_LEASE = 3, CLAIMS_MAX = 64 };

static usec_t renew_pause(const struct presence *presence)
{
    return presence->lease / RENEWALS_A_LEASE;
}

static struct presence_queue *queue_of(struct list_link *link)
{
    return container_of(link, struct presence_queue, link);
}

/* --- claims that nobody knows ----------------------------------------------------------------- */

static void on_shown(void *data,
                     int status,
                     const struct broker_claimed *claimed,
                     size_t count,
                     const struct cel_error *err)
{
    struct presence_queue *queue = data;
    struct presence *presence = queue->presence;
    (void)err;
    if (status != 0 || count == 0 || presence->state != PRESENCE_ON)
        return;
    rescuer_put_back(presence->rescuer, queue->name, presence->node, claimed, count);
}

static void
look_for_unknown(struct presence_queue *queue, const struct broker_claim *held, size_t count)
{
    struct presence *presence = queue->presence;
    struct broker_claim unknown[CLAIMS_MAX];
    size_t found = 0;
    for (size_t i = 0; i < count && found < CLAIMS_MAX; i++) {
        if (!presence->events->is_known(presence->data, &held[i]))
            unknown[found++] = held[i];
    }
    if (found > 0 && broker_show(presence->broker, unknown, found,
                                 clock_mono() + renew_pause(presence), on_shown, queue) < 0)
        log_warning("Claims that nobody works on stay in flight", F_U64("tasks", found));
}

/* --- renewing --------------------------------------------------------------------------------- */

/* Without an answer Redis is away, which others say once the leases are there. */
static void on_not_renewed(struct presence_queue *queue, int status, const struct cel_error *err)
{
    struct presence *presence = queue->presence;
    if (status == -ECANCELED || (queue->is_held && !refusal_is(status)) ||
        !refusal_note(&queue->refusal, err))
        return;
    if (queue->is_held)
        log_warning("Redis refuses to renew the lease on a queue; once it is over, others take the "
                    "tasks that run here",
                    F_STR("queue", queue->name), F_C("err", err->text));
    else if (refusal_lasts(err) && !queue->is_late)
        presence->events->on_refused(presence->data, queue->name, err);
    else
        log_warning("There is no lease on a queue yet, so nothing is claimed; it is tried again",
                    F_STR("queue", queue->name), F_C("err", err->text));
}

static void note_held(struct presence *presence)
{
    for (struct list_link *link = presence->queues.head; link; link = link->next) {
        if (!queue_of(link)->is_held)
            return;
    }
    presence->is_complete = true;
    presence->events->on_held(presence->data);
}

static void on_renewed(void *data,
                       int status,
                       const struct broker_claim *held,
                       size_t count,
                       const struct cel_error *err)
{
    struct presence_queue *queue = data;
    struct presence *presence = queue->presence;
    queue->under_way = false;
    if (presence->state != PRESENCE_ON)
        return;
    if (status < 0) {
        on_not_renewed(queue, status, err);
        return;
    }
    if (status == BROKER_E_LOST) {
        presence_lose(presence);
        presence->events->on_lost(presence->data);
        return;
    }
    if (refusal_end(&queue->refusal))
        log_info("The lease on a queue is granted", F_STR("queue", queue->name));
    bool is_first = !queue->is_held;
    queue->is_held = true;
    look_for_unknown(queue, held, count);
    if (!presence->is_complete)
        note_held(presence);
    else if (is_first)
        presence->events->on_joined(presence->data, queue->name);
}

static void renew(struct presence_queue *queue)
{
    struct presence *presence = queue->presence;
    queue->under_way = broker_renew(presence->broker, queue->name, presence->lease, !queue->is_held,
                                    clock_mono() + renew_pause(presence), on_renewed, queue) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct presence *presence = container_of(timer, struct presence, timer);
    for (struct list_link *link = presence->queues.head; link; link = link->next) {
        struct presence_queue *queue = queue_of(link);
        if (!queue->under_way)
            renew(queue);
    }
}

/* --- leaving ---------------------------------------------------------------------------------- */

static void on_left(void *data, int status, const struct cel_error *err)
{
    struct presence *presence = data;
    (void)status; /* a lease that could not be ended runs out */
    (void)err;
    if (--presence->under_way > 0 || presence->state != PRESENCE_LEAVING)
        return;
    presence->state = PRESENCE_GONE;
    presence->events->on_left(presence->data);
}

void presence_leave(struct presence *presence)
{
    bool was_on = presence->state == PRESENCE_ON || presence->state == PRESENCE_LOST;
    uv_timer_stop(&presence->timer);
    presence->state = PRESENCE_LEAVING;
    presence->under_way = 1; /* this function */
    for (struct list_link *link = presence->queues.head; was_on && link; link = link->next)
        presence->under_way +=
            broker_leave(presence->broker, queue_of(link)->name, clock_mono() + LEAVE_DEADLINE_USEC,
                         on_left, presence) == 0;
    on_left(presence, 0, NULL);
}

/* --- life ------------------------------------------------------------------------------------- */

void presence_init(struct presence *presence,
                   uv_loop_t *loop,
                   struct broker *broker,
                   struct rescuer *rescuer,
                   struct str node,
                   usec_t lease,
                   const struct presence_events *events,
                   void *data)
{
    *presence = (struct presence){.broker = broker,
                                  .rescuer = rescuer,
                                  .node = node,
                                  .lease = lease,
                                  .events = events,
                                  .data = data};
    uv_timer_init(loop, &presence->timer);
}

void presence_add(struct presence *presence, struct str name)
{
    struct presence_queue *queue = xnew(struct presence_queue);
    queue->presence = presence;
    queue->name = name;
    queue->is_late = presence->is_complete;
    list_append(&presence->queues, &queue->link);
    if (presence->state == PRESENCE_ON)
        renew(queue);
}

void presence_start(struct presence *presence)
{
    uint64_t ms = renew_pause(presence) / USEC_PER_MSEC;
    presence->state = PRESENCE_ON;
    uv_timer_start(&presence->timer, on_timer, 0, ms);
}

void presence_lose(struct presence *presence)
{
    uv_timer_stop(&presence->timer);
    presence->state = PRESENCE_LOST;
}

void presence_deinit(struct presence *presence)
{
    for (struct list_link *link; (link = list_pop(&presence->queues));) {
        refusal_end(&queue_of(link)->refusal);
        mem_free(queue_of(link));
    }
    uv_close((uv_handle_t *)&presence->timer, NULL);
}
