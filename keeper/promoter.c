#include "keeper/promoter.h"

#include "core/log.h"
#include "core/mem.h"

#define PROMOTE_DEADLINE_USEC (5 * USEC_PER_SEC)

static void on_timer(uv_timer_t *timer);

static struct promoter_queue *queue_of(struct list_link *link)
{
    return container_of(link, struct promoter_queue, link);
}

/* Sets the timer to the queue that is to be looked at first. */
static void arm(struct promoter *promoter)
{
    usec_t now = clock_wall(), first = now + PROMOTER_LOOK_USEC;
    if (promoter->stopped)
        return;
    for (struct list_link *link = promoter->queues.head; link; link = link->next) {
        const struct promoter_queue *queue = queue_of(link);
        if (!queue->under_way && queue->look_wall < first)
            first = queue->look_wall;
    }
    usec_t delay = first > now ? first - now : 0;
    uv_update_time(promoter->timer.loop);
    uv_timer_start(&promoter->timer, on_timer, (delay + USEC_PER_MSEC - 1) / USEC_PER_MSEC, 0);
}

static void
on_promoted(void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err)
{
    struct promoter_queue *queue = data;
    struct promoter *promoter = queue->promoter;
    usec_t latest = clock_wall() + PROMOTER_LOOK_USEC;
    queue->under_way = false;
    if (err && refusal_is(err->code)) {
        if (refusal_note(&queue->refusal, err))
            log_error("Delayed calls that are due stay where they are", F_STR("queue", queue->name),
                      F_C("err", err->text));
    } else if (!status && refusal_end(&queue->refusal)) {
        log_info("Delayed calls go on", F_STR("queue", queue->name));
    }
    /* What was noted while the look was under way stands. */
    if (queue->look_wall > latest)
        queue->look_wall = latest;
    if (status == 0 && next_due_wall != 0 && next_due_wall < queue->look_wall)
        queue->look_wall = next_due_wall;
    promoter->promoted += moved;
    arm(promoter);
}

static void look(struct promoter_queue *queue, usec_t now)
{
    struct promoter *promoter = queue->promoter;
    usec_t deadline = clock_mono() + PROMOTE_DEADLINE_USEC;
    queue->look_wall = now + PROMOTER_LOOK_USEC;
    queue->under_way =
        broker_promote(promoter->broker, queue->name, now, deadline, on_promoted, queue) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct promoter *promoter = container_of(timer, struct promoter, timer);
    usec_t now = clock_wall();
    for (struct list_link *link = promoter->queues.head; link; link = link->next) {
        struct promoter_queue *queue = queue_of(link);
        /* A clock that was set back must not make us wait. */
        if (queue->look_wall > now + PROMOTER_LOOK_USEC)
            queue->look_wall = now;
        if (!queue->under_way && queue->look_wall <= now)
            look(queue, now);
    }
    arm(promoter);
}

void promoter_init(struct promoter *promoter, uv_loop_t *loop, struct broker *broker)
{
    *promoter = (struct promoter){.broker = broker, .stopped = true};
    uv_timer_init(loop, &promoter->timer);
}

void promoter_add(struct promoter *promoter, struct str name)
{
    for (struct list_link *link = promoter->queues.head; link; link = link->next) {
        if (str_equal(queue_of(link)->name, name))
            return;
    }
    struct promoter_queue *queue = xnew(struct promoter_queue);
    queue->promoter = promoter;
    queue->name = name;
    list_append(&promoter->queues, &queue->link);
    arm(promoter);
}

void promoter_deinit(struct promoter *promoter)
{
    for (struct list_link *link; (link = list_pop(&promoter->queues));) {
        refusal_end(&queue_of(link)->refusal);
        mem_free(queue_of(link));
    }
    uv_close((uv_handle_t *)&promoter->timer, NULL);
}

void promoter_start(struct promoter *promoter)
{
    promoter->stopped = false;
    on_timer(&promoter->timer);
}

void promoter_stop(struct promoter *promoter)
{
    promoter->stopped = true;
    uv_timer_stop(&promoter->timer);
}

void promoter_note(struct promoter *promoter, struct str name, usec_t due_wall)
{
    for (struct list_link *link = promoter->queues.head; link; link = link->next) {
        struct promoter_queue *queue = queue_of(link);
        if (str_equal(queue->name, name) && due_wall < queue->look_wall) {
            queue->look_wall = due_wall;
            arm(promoter);
        }
    }
}
