#include "intake/queues.h"

#include "core/log.h"
#include "core/mem.h"
#include "message/call.h"

#define DECLARE_DEADLINE_USEC (5 * USEC_PER_SEC)

/* --- plans ------------------------------------------------------------------------------------ */

void queue_plans_add(struct queue_plans *plans, struct str name, unsigned weight)
{
    plans->items = xgrow(plans->items, plans->count + 1, sizeof(*plans->items));
    char *copy = str_dup(name);
    ASSERT(copy);
    plans->items[plans->count++] = (struct queue_plan){copy, weight};
}

bool queue_plans_have(const struct queue_plans *plans, struct str name)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (str_equal(str_of(plans->items[i].name), name))
            return true;
    }
    return false;
}

void queue_plans_deinit(struct queue_plans *plans)
{
    for (size_t i = 0; i < plans->count; i++)
        mem_free(plans->items[i].name);
    mem_free(plans->items);
    *plans = (struct queue_plans){.items = NULL};
}

void queue_plans_list(const struct queue_plans *plans, struct buf *buf)
{
    for (size_t i = 0; i < plans->count; i++) {
        if (i > 0)
            buf_add_char(buf, ',');
        buf_add_c(buf, plans->items[i].name);
    }
}

/* --- those that are served -------------------------------------------------------------------- */

static struct queue *queue_of(struct list_link *link)
{
    return container_of(link, struct queue, link);
}

static struct str name_of(const struct queue *queue)
{
    return str_of(queue->plan.name);
}

static struct queue *find(const struct queues *queues, struct str name)
{
    for (struct list_link *link = queues->list.head; link; link = link->next) {
        if (str_equal(name_of(queue_of(link)), name))
            return queue_of(link);
    }
    return NULL;
}

/* --- the way of a queue ----------------------------------------------------------------------- */

static void on_declared(void *data, int status, const struct cel_error *err)
{
    (void)data;
    if (status < 0 && status != -ECANCELED)
        log_warning("A queue could not be announced", F_C("err", err->text));
}

static void declare(struct queues *queues, const struct queue *queue)
{
    usec_t deadline = clock_mono() + DECLARE_DEADLINE_USEC;
    if (broker_declare(queues->parts.broker, name_of(queue), deadline, on_declared, NULL) < 0)
        log_warning("A queue could not be announced", F_STR("queue", name_of(queue)));
}

static void serve(struct queues *queues, struct queue *queue)
{
    const struct queues_parts *parts = &queues->parts;
    queue->state = QUEUE_SERVED;
    promoter_add(parts->promoter, name_of(queue));
    releaser_add(parts->releaser, name_of(queue));
    rescuer_add(parts->rescuer, name_of(queue));
    credit_add(parts->credit, name_of(queue), queue->plan.weight);
    if (queues->started)
        log_info("A queue is served", F_STR("queue", name_of(queue)));
}

/* Those that the worker begins with may be claimed from once it has begun, which is when all of them
 * have their lease. */
static void join(struct queues *queues, struct queue *queue)
{
    queue->state = QUEUE_JOINING;
    presence_add(queues->parts.presence, name_of(queue));
    if (queues->started)
        declare(queues, queue);
    else
        serve(queues, queue);
}

static void close_queue(struct queues *queues, struct queue *queue)
{
    queue->state = QUEUE_CLOSING;
    releaser_remove(queues->parts.releaser, name_of(queue));
    credit_remove(queues->parts.credit, name_of(queue));
}

/* It is served, or at rest: what was wanted meanwhile is done. */
static void follow(struct queues *queues, struct queue *queue)
{
    bool is_served = queue->state == QUEUE_SERVED;
    if (queue->wanted && !is_served)
        serve(queues, queue);
    else if (!queue->wanted && is_served)
        close_queue(queues, queue);
}

void queues_joined(struct queues *queues, struct str name)
{
    struct queue *queue = find(queues, name);
    if (!queue || queue->state != QUEUE_JOINING)
        return;
    queue->state = QUEUE_RESTING;
    follow(queues, queue);
}

void queues_removed(struct queues *queues, struct str name)
{
    struct queue *queue = find(queues, name);
    if (!queue || queue->state != QUEUE_CLOSING)
        return;
    queue->state = QUEUE_RESTING;
    log_info("A queue is served no more", F_STR("queue", name));
    follow(queues, queue);
}

/* --- from outside ----------------------------------------------------------------------------- */

int queues_add(struct queues *queues, struct str name, unsigned weight, struct cel_error *err)
{
    int r = call_check_queue(name, err);
    if (r)
        return r;
    struct queue *queue = find(queues, name);
    if (queue && queue->wanted)
        return 1;
    bool is_new = !queue;
    if (is_new) {
        queue = xnew(struct queue);
        queue->plan.name = str_dup(name);
        ASSERT(queue->plan.name);
        list_append(&queues->list, &queue->link);
    }
    queue->plan.weight = weight;
    queue->wanted = true;
    if (is_new)
        join(queues, queue);
    else if (queue->state == QUEUE_RESTING)
        follow(queues, queue);
    return 0;
}

int queues_cancel(struct queues *queues, struct str name)
{
    struct queue *queue = find(queues, name);
    if (!queue || !queue->wanted)
        return 1;
    queue->wanted = false;
    if (queue->state == QUEUE_SERVED)
        follow(queues, queue);
    return 0;
}

void queues_start(struct queues *queues)
{
    queues->started = true;
    for (struct list_link *link = queues->list.head; link; link = link->next)
        declare(queues, queue_of(link));
}

void queues_keep(const struct queues *queues, struct queue_plans *plans)
{
    queue_plans_deinit(plans);
    for (struct list_link *link = queues->list.head; link; link = link->next) {
        const struct queue *queue = queue_of(link);
        if (queue->wanted)
            queue_plans_add(plans, name_of(queue), queue->plan.weight);
    }
}

void queues_init(struct queues *queues,
                 const struct queues_parts *parts,
                 const struct queue_plans *plans)
{
    *queues = (struct queues){.parts = *parts};
    for (size_t i = 0; i < plans->count; i++) {
        const struct queue_plan *plan = &plans->items[i];
        int r = queues_add(queues, str_of(plan->name), plan->weight, NULL);
        ASSERT(r >= 0);
    }
}

void queues_deinit(struct queues *queues)
{
    struct list_link *link;
    while ((link = list_pop(&queues->list))) {
        mem_free(queue_of(link)->plan.name);
        mem_free(queue_of(link));
    }
}
