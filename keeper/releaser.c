#include "keeper/releaser.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "core/mem.h"

#define DEADLINE_USEC (5 * USEC_PER_SEC)

static struct releaser_queue *queue_of(struct list_link *link)
{
    return container_of(link, struct releaser_queue, link);
}

static usec_t deadline(void)
{
    return clock_mono() + DEADLINE_USEC;
}

/* --- one look, part by part ------------------------------------------------------------------- */

static void keep(char into[RELEASER_CURSOR_SIZE], struct str text)
{
    snprintf(into, RELEASER_CURSOR_SIZE, STR_FORMAT, STR_ARGS(text));
}

static void end_look(struct releaser_queue *queue)
{
    if (queue->released > 0)
        log_info("Tasks that were set aside are known now; they went back",
                 F_STR("queue", queue->name), F_U64("tasks", queue->released));
    queue->releaser->released += queue->released;
    queue->released = 0;
    queue->under_way = false;
}

static void on_part(void *data,
                    int status,
                    const struct broker_dead_entry *entries,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err);

static void look_at_part(struct releaser_queue *queue)
{
    struct str from = str_of(*queue->cursor ? queue->cursor : queue->seen);
    if (queue->releaser->stopped || broker_list_dead(queue->releaser->broker, queue->name, from,
                                                     false, deadline(), on_part, queue) < 0)
        end_look(queue);
}

static void end_part(struct releaser_queue *queue)
{
    if (queue->again) {
        queue->again = false;
        *queue->seen = *queue->cursor = '\0';
        look_at_part(queue);
        return;
    }
    if (*queue->last)
        memcpy(queue->seen, queue->last, sizeof(queue->seen));
    if (*queue->cursor)
        look_at_part(queue);
    else
        end_look(queue);
}

static void on_released(void *data, int status, const struct cel_error *err)
{
    struct releaser_queue *queue = data;
    (void)err;
    if (status < 0) { /* the same part next time */
        *queue->cursor = '\0';
        end_look(queue);
        return;
    }
    queue->released += queue->moved;
    end_part(queue);
}

static void on_part(void *data,
                    int status,
                    const struct broker_dead_entry *entries,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    struct releaser_queue *queue = data;
    struct releaser *releaser = queue->releaser;
    struct broker_dead_choice choices[BROKER_ENDED_MAX];
    size_t chosen = 0;
    (void)err;
    keep(queue->cursor, status < 0 ? STR_NONE : cursor);
    keep(queue->last, count > 0 ? entries[count - 1].entry : STR_NONE);
    for (size_t i = 0; i < count && i < BROKER_ENDED_MAX; i++) {
        if (str_equal(entries[i].dead.reason, STR("unregistered")) &&
            releaser->knows(releaser->data, entries[i].dead.task))
            choices[chosen++] = (struct broker_dead_choice){.entry = entries[i].entry};
    }
    queue->moved = 0;
    if (status < 0)
        end_look(queue);
    else if (chosen == 0)
        end_part(queue);
    else if (broker_end_dead(releaser->broker, queue->name, choices, chosen, false, deadline(),
                             &queue->moved, on_released, queue) < 0)
        on_released(queue, -ECANCELED, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct releaser *releaser = container_of(timer, struct releaser, timer);
    for (struct list_link *link = releaser->queues.head; link; link = link->next) {
        struct releaser_queue *queue = queue_of(link);
        if (queue->under_way || queue->is_off)
            continue;
        queue->under_way = true;
        look_at_part(queue);
    }
}

/* --- from outside ----------------------------------------------------------------------------- */

void releaser_init(struct releaser *releaser,
                   uv_loop_t *loop,
                   struct broker *broker,
                   releaser_knows_fn *knows,
                   void *data)
{
    *releaser = (struct releaser){.broker = broker, .knows = knows, .data = data, .stopped = true};
    uv_timer_init(loop, &releaser->timer);
}

static struct releaser_queue *find(const struct releaser *releaser, struct str name)
{
    for (struct list_link *link = releaser->queues.head; link; link = link->next) {
        if (str_equal(queue_of(link)->name, name))
            return queue_of(link);
    }
    return NULL;
}

void releaser_remove(struct releaser *releaser, struct str name)
{
    struct releaser_queue *queue = find(releaser, name);
    if (queue)
        queue->is_off = true;
}

void releaser_add(struct releaser *releaser, struct str name)
{
    struct releaser_queue *queue = find(releaser, name);
    if (queue) {
        queue->is_off = false;
        return;
    }
    queue = xnew(struct releaser_queue);
    queue->releaser = releaser;
    queue->name = name;
    list_append(&releaser->queues, &queue->link);
}

void releaser_start(struct releaser *releaser)
{
    uint64_t ms = RELEASER_LOOK_USEC / USEC_PER_MSEC;
    releaser->stopped = false;
    for (struct list_link *link = releaser->queues.head; link; link = link->next) {
        struct releaser_queue *queue = queue_of(link);
        queue->again = queue->under_way;
        *queue->seen = '\0';
    }
    uv_timer_start(&releaser->timer, on_timer, ms, ms);
    on_timer(&releaser->timer);
}

void releaser_stop(struct releaser *releaser)
{
    releaser->stopped = true;
    uv_timer_stop(&releaser->timer);
}

void releaser_deinit(struct releaser *releaser)
{
    for (struct list_link *link; (link = list_pop(&releaser->queues));)
        mem_free(queue_of(link));
    uv_close((uv_handle_t *)&releaser->timer, NULL);
}
