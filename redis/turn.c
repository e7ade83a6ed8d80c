#include "redis/turn.h"

static void on_check(uv_check_t *check);

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is all it does */
}

static void on_closed(uv_handle_t *handle)
{
    struct turn *turn = handle->data;
    if (--turn->open == 0)
        turn->closed(turn->data);
}

void turn_init(struct turn *turn, uv_loop_t *loop)
{
    *turn = (struct turn){.armed_mono = USEC_NEVER, .open = 4};
    /* these only link themselves into the loop and never fail (libuv's documentation) */
    uv_timer_init(loop, &turn->timer);
    uv_prepare_init(loop, &turn->prepare);
    uv_check_init(loop, &turn->check);
    uv_idle_init(loop, &turn->idle);
    turn->timer.data = turn->prepare.data = turn->check.data = turn->idle.data = turn;
}

void turn_close(struct turn *turn, void (*closed)(void *data), void *data)
{
    turn->is_closing = true;
    turn->closed = closed;
    turn->data = data;
    while (turn->alarms.head)
        turn_alarm_clear(container_of(turn->alarms.head, struct turn_alarm, link));
    while (turn->ringing.head)
        turn_alarm_clear(container_of(turn->ringing.head, struct turn_alarm, link));
    while (turn->tasks.head)
        turn_task_clear(turn, container_of(turn->tasks.head, struct turn_task, link));
    uv_close((uv_handle_t *)&turn->timer, on_closed);
    uv_close((uv_handle_t *)&turn->prepare, on_closed);
    uv_close((uv_handle_t *)&turn->check, on_closed);
    uv_close((uv_handle_t *)&turn->idle, on_closed);
}

/* Has the alarms looked at once the loop has polled, without sleeping there. */
static void look_soon(struct turn *turn)
{
    uv_idle_start(&turn->idle, on_idle);
    uv_check_start(&turn->check, on_check);
}

static void on_timer(uv_timer_t *timer)
{
    struct turn *turn = timer->data;
    turn->armed_mono = USEC_NEVER;
    look_soon(turn);
}

/* The timer counts from the loop's own idea of now, which may lie behind: it may fire early, and is
 * then armed again. It is never moved to a later time, for the same price. */
static void arm(struct turn *turn, usec_t due_mono)
{
    if (due_mono >= turn->armed_mono)
        return;
    turn->armed_mono = due_mono;
    usec_t now = clock_mono();
    if (due_mono <= now)
        look_soon(turn);
    else
        uv_timer_start(&turn->timer, on_timer, (due_mono - now) / USEC_PER_MSEC + 1, 0);
}

/* Rings the alarms that are due now, and none that are set meanwhile. */
static void on_check(uv_check_t *check)
{
    struct turn *turn = check->data;
    usec_t now = clock_mono();
    uv_idle_stop(&turn->idle);
    uv_check_stop(&turn->check);
    turn->armed_mono = USEC_NEVER;
    for (struct list_link *link = turn->alarms.head, *next; link; link = next) {
        struct turn_alarm *alarm = container_of(link, struct turn_alarm, link);
        next = link->next;
        if (alarm->due_mono > now)
            continue;
        list_remove(&turn->alarms, link);
        list_append(&turn->ringing, link);
        alarm->list = &turn->ringing;
    }
    while (turn->ringing.head) {
        struct turn_alarm *alarm = container_of(turn->ringing.head, struct turn_alarm, link);
        turn_alarm_clear(alarm);
        alarm->fn(alarm);
    }
    for (struct list_link *link = turn->alarms.head; link; link = link->next)
        arm(turn, container_of(link, struct turn_alarm, link)->due_mono);
}

void turn_alarm(struct turn *turn, struct turn_alarm *alarm, usec_t due_mono)
{
    turn_alarm_clear(alarm);
    if (turn->is_closing)
        return;
    alarm->due_mono = due_mono;
    alarm->list = &turn->alarms;
    list_append(&turn->alarms, &alarm->link);
    arm(turn, due_mono);
}

void turn_alarm_clear(struct turn_alarm *alarm)
{
    if (!alarm->list)
        return;
    list_remove(alarm->list, &alarm->link);
    alarm->list = NULL;
}

/* A task may call for another, which is done too before the loop sleeps. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct turn *turn = prepare->data;
    for (struct list_link *link; (link = list_pop(&turn->tasks));) {
        struct turn_task *task = container_of(link, struct turn_task, link);
        task->is_set = false;
        task->fn(task);
    }
    uv_prepare_stop(prepare);
}

void turn_task(struct turn *turn, struct turn_task *task)
{
    if (task->is_set || turn->is_closing)
        return;
    task->is_set = true;
    list_append(&turn->tasks, &task->link);
    uv_prepare_start(&turn->prepare, on_prepare);
}

void turn_task_clear(struct turn *turn, struct turn_task *task)
{
    if (!task->is_set)
        return;
    task->is_set = false;
    list_remove(&turn->tasks, &task->link);
}
