/*
 * A claim costs a round trip, so quick tasks would leave their children idle for most of the time
 * if each were claimed when a child is free. And a call that waits here behind a slow task while
 * another worker is idle is late for no reason. So:
 *
 * - With no knowledge or slow tasks, exactly as many calls are claimed as children are idle.
 * - While recent tasks were quick (CREDIT_QUICK_USEC on average), so many more are held ready as
 *   the children will do in CREDIT_BACKLOG_USEC, and they are claimed in batches: the next one
 *   when half is used up.
 * - What was held for CREDIT_HOLD_USEC goes back to the serving end of its queue, in its order, and
 *   the tasks to come count as slow until they have shown otherwise.
 *
 * A queue is in one of three states:
 *
 *     ASK        it may have messages: claim from it when its turn comes
 *     WAITING    a claim found less than it wanted: the broker waits, and stages what comes
 *     UNSTAGING  every child has been at work for CREDIT_HOLD_USEC: the wait was cancelled, and
 *                what it staged meanwhile goes back
 *
 * One claim is under way at a time, and the queues take turns, so that a full queue does not
 * starve the others: of those in ASK each gains its weight, the richest is asked, and pays what all
 * have gained. With equal weights that is one after the other. (Or, where it is so wanted, the first
 * in a fixed order is asked, and the others when it has nothing.) After a failure nothing is claimed for a moment (back-off); children go on.
 */
#include "intake/credit.h"

#include <errno.h>

#include "core/backoff.h"
#include "core/log.h"
#include "core/mem.h"

#define CLAIM_DEADLINE_USEC (5 * USEC_PER_SEC)
enum { HOLD_TICK_MS = 5 };
static const struct backoff claim_backoff = {.first = 100 * USEC_PER_MSEC, .cap = 3 * USEC_PER_SEC};

/* --- the arithmetic --------------------------------------------------------------------------- */

void credit_meter_add(struct credit_meter *meter, usec_t run_time)
{
    if (run_time == 0)
        run_time = 1;
    if (meter->average == 0)
        meter->average = run_time;
    else
        meter->average = meter->average - meter->average / 8 + run_time / 8;
    if (meter->average == 0)
        meter->average = 1;
}

void credit_meter_doubt(struct credit_meter *meter)
{
    if (meter->average < 2 * CREDIT_QUICK_USEC)
        meter->average = 2 * CREDIT_QUICK_USEC;
}

size_t credit_lookahead(const struct credit_meter *meter, size_t children)
{
    if (meter->average == 0 || meter->average >= CREDIT_QUICK_USEC)
        return 0;
    usec_t calls = children * CREDIT_BACKLOG_USEC / meter->average;
    return calls < CREDIT_LOOKAHEAD_MAX ? (size_t)calls : CREDIT_LOOKAHEAD_MAX;
}

size_t credit_want(size_t idle, size_t lookahead, size_t held)
{
    size_t room = idle + lookahead;
    if (held >= room)
        return 0;
    size_t want = room - held;
    if (held >= idle && want < (lookahead + 1) / 2)
        return 0; /* nobody starves: wait until it is a batch */
    return want < CREDIT_CLAIM_MAX ? want : CREDIT_CLAIM_MAX;
}

/* --- what there is to do ---------------------------------------------------------------------- */

static struct credit_view look(struct credit *credit)
{
    struct credit_view view = {0};
    credit->events->look(credit->data, &view);
    return view;
}

static size_t want(struct credit *credit, const struct credit_view *view)
{
    return credit_want(view->idle, credit_lookahead(&credit->meter, view->children), view->held);
}

static void on_pause_over(uv_timer_t *timer)
{
    credit_turn(container_of(timer, struct credit, pause));
}

static void pause_claims(struct credit *credit)
{
    unsigned attempt = credit->failures > 0 ? credit->failures - 1 : 0;
    usec_t delay = backoff_delay(&claim_backoff, attempt, backoff_random());
    uv_timer_start(&credit->pause, on_pause_over, delay / USEC_PER_MSEC, 0);
}

static struct credit_queue *queue_of(struct list_link *link)
{
    return container_of(link, struct credit_queue, link);
}

/* Nothing is under way or staged. */
static bool is_quiet(const struct credit_queue *queue)
{
    return queue->state == CREDIT_ASK && !queue->staged && queue->credit->claiming != queue;
}

static void forget(struct credit_queue *queue)
{
    struct credit *credit = queue->credit;
    struct str name = queue->name;
    if (credit->probed == queue)
        credit->probed = NULL;
    list_remove(&credit->queues, &queue->link);
    mem_free(queue);
    credit->events->on_removed(credit->data, name);
}

/* To be called last, when something has ended: a queue may go. */
static void tell_ended(struct credit *credit)
{
    bool all_quiet = true;
    for (struct list_link *link = credit->queues.head, *next; link; link = next) {
        struct credit_queue *queue = queue_of(link);
        next = link->next;
        if (!is_quiet(queue))
            all_quiet = false;
        else if (queue->removed)
            forget(queue);
    }
    if (!credit->stopping || credit->stopped || !all_quiet)
        return;
    credit->stopped = true;
    credit->events->on_stopped(credit->data);
}

/* --- claims ----------------------------------------------------------------------------------- */

static void await_queue(struct credit_queue *queue);
static void unstage(struct credit_queue *queue);

static void on_claim_failed(struct credit *credit, const struct cel_error *err)
{
    if (credit->failures++ == 0 && !credit->stopping)
        log_warning("Redis cannot be asked for tasks; running ones go on",
                    F_STR("queue", credit->claiming->name), F_C("err", err ? err->text : NULL));
    if (!credit->stopping)
        pause_claims(credit);
}

static void on_claim_answered(struct credit *credit)
{
    if (credit->failures > 0)
        log_info("Redis is asked for tasks again");
    credit->failures = 0;
    if (credit->answered)
        return;
    credit->answered = true;
    credit->events->on_first_claim(credit->data);
}

static void on_claimed(void *data,
                       int status,
                       const struct broker_claimed *claimed,
                       size_t count,
                       const struct cel_error *err)
{
    struct credit *credit = data;
    struct credit_queue *queue = credit->claiming;
    bool dry = status == 0 && count < credit->claiming_max;
    if (credit->abandoned)
        return;
    if (status == BROKER_E_LOST) {
        credit->events->on_lost(credit->data);
        return;
    }
    if (status < 0)
        on_claim_failed(credit, err);
    else
        on_claim_answered(credit);
    credit->claiming = NULL;
    if (status == 0)
        queue->full = !dry;
    if (dry)
        queue->staged = false; /* staged ones come first */
    if (count > 0)
        credit->events->on_claimed(credit->data, claimed, count);
    bool ends = credit->stopping || queue->removed;
    if (dry && !ends && queue->state == CREDIT_ASK) {
        struct credit_view view = look(credit);
        if (want(credit, &view) > 0)
            await_queue(queue);
    }
    if (ends && queue->state == CREDIT_ASK && queue->staged)
        unstage(queue);
    credit_turn(credit);
    tell_ended(credit);
}

static void claim(struct credit *credit, struct credit_queue *queue, size_t max)
{
    usec_t now = clock_mono();
    credit->attempt_mono = now;
    credit->claiming = queue;
    credit->claiming_max = max;
    if (broker_claim(credit->broker, queue->name, max, now + CLAIM_DEADLINE_USEC, on_claimed,
                     credit) == 0)
        return;
    on_claim_failed(credit, NULL);
    credit->claiming = NULL;
}

static bool may_be_asked(const struct credit_queue *queue)
{
    return queue->state == CREDIT_ASK && !queue->removed;
}

static struct credit_queue *first_to_ask(const struct credit *credit)
{
    for (struct list_link *link = credit->queues.head; link; link = link->next) {
        if (may_be_asked(queue_of(link)))
            return queue_of(link);
    }
    return NULL;
}

static struct credit_queue *next_in_turn(const struct credit *credit)
{
    struct credit_queue *richest = NULL;
    int64_t gained = 0;
    for (struct list_link *link = credit->queues.head; link; link = link->next) {
        struct credit_queue *queue = queue_of(link);
        if (!may_be_asked(queue))
            continue;
        queue->turn += queue->weight;
        gained += queue->weight;
        if (!richest || queue->turn > richest->turn)
            richest = queue;
    }
    if (richest)
        richest->turn -= gained;
    return richest;
}

static struct credit_queue *next_to_ask(const struct credit *credit)
{
    return credit->order == CREDIT_ROUND_ROBIN ? next_in_turn(credit) : first_to_ask(credit);
}

/* --- the idle wait ---------------------------------------------------------------------------- */

static void on_unstaged(void *data, int status, const struct cel_error *err)
{
    struct credit_queue *queue = data;
    (void)err;
    if (queue->credit->abandoned)
        return;
    queue->state = CREDIT_ASK;
    if (status == 0 || status == -ECANCELED || queue->credit->stopping || queue->removed)
        queue->staged = false; /* what a failure leaves staged is claimed first next time */
    credit_turn(queue->credit);
    tell_ended(queue->credit);
}

static void unstage(struct credit_queue *queue)
{
    queue->state = CREDIT_UNSTAGING;
    usec_t deadline = clock_mono() + CLAIM_DEADLINE_USEC;
    if (broker_unstage(queue->credit->broker, queue->name, deadline, on_unstaged, queue) < 0) {
        queue->state = CREDIT_ASK;
        queue->staged = false;
    }
}

static void on_wait_over(void *data, int status, const struct cel_error *err)
{
    struct credit_queue *queue = data;
    struct credit *credit = queue->credit;
    (void)err;
    if (credit->abandoned)
        return;
    bool cancelled = queue->cancelled;
    queue->state = CREDIT_ASK;
    queue->cancelled = false;
    queue->staged = status != -ECANCELED;
    if (cancelled && queue->staged)
        unstage(queue);
    else if (status < 0 && status != -ECANCELED && !credit->stopping)
        pause_claims(credit);
    credit_turn(credit);
    tell_ended(credit);
}

static void await_queue(struct credit_queue *queue)
{
    queue->state = CREDIT_WAITING;
    if (broker_wait(queue->credit->broker, queue->name, on_wait_over, queue) == 0)
        return;
    queue->state = CREDIT_ASK;
    pause_claims(queue->credit);
}

static void cancel_wait(struct credit_queue *queue)
{
    if (queue->state != CREDIT_WAITING || queue->cancelled)
        return;
    queue->cancelled = true;
    broker_wait_cancel(queue->credit->broker, queue->name);
}

/* And puts back what is staged. */
static void end_wait(struct credit_queue *queue)
{
    cancel_wait(queue);
    if (queue->state == CREDIT_ASK && queue->staged && queue != queue->credit->claiming)
        unstage(queue);
}

/* --- what is held too long -------------------------------------------------------------------- */

/* Ends the waits; true when nothing is staged or under way any more. */
static bool end_waits(struct credit *credit)
{
    bool ended = !credit->claiming;
    for (struct list_link *link = credit->queues.head; link; link = link->next) {
        struct credit_queue *queue = queue_of(link);
        end_wait(queue);
        ended &= queue->state == CREDIT_ASK && !queue->staged;
    }
    return ended;
}

static void on_hold_tick(uv_timer_t *timer)
{
    struct credit *credit = container_of(timer, struct credit, hold);
    struct credit_view view = look(credit);
    usec_t now = clock_mono(), held_for = view.since_mono > 0 ? now - view.since_mono : 0;
    bool stuck = now - credit->progress_mono >= CREDIT_HOLD_USEC, ended = true;
    if (view.idle > 0) {
        uv_timer_stop(timer);
        return;
    }
    if (stuck || held_for >= CREDIT_HOLD_USEC)
        credit_meter_doubt(&credit->meter);
    if (stuck)
        ended = end_waits(credit);
    /* What was staged is newer than what is held, so it goes back first, if Redis lets it. */
    if (held_for >= (ended ? 1 : 3) * CREDIT_HOLD_USEC)
        credit->events->give_back(credit->data);
    else if (stuck && ended && view.held == 0)
        uv_timer_stop(timer); /* the next change starts it again */
}

static void watch_hold(struct credit *credit)
{
    if (!uv_is_active((uv_handle_t *)&credit->hold))
        uv_timer_start(&credit->hold, on_hold_tick, HOLD_TICK_MS, HOLD_TICK_MS);
}

/* --- for the owner ---------------------------------------------------------------------------- */

void credit_init(struct credit *credit,
                 uv_loop_t *loop,
                 struct broker *broker,
                 enum credit_order order,
                 const struct credit_events *events,
                 void *data)
{
    *credit = (struct credit){.broker = broker, .order = order, .events = events, .data = data};
    uv_timer_init(loop, &credit->pause);
    uv_timer_init(loop, &credit->hold);
}

/* Puts the last of the list in front of those whose name comes after its own. */
static void sort_in(struct credit *credit, struct credit_queue *queue)
{
    struct list_link *before = queue->link.prev;
    while (before && str_compare(queue_of(before)->name, queue->name) > 0)
        before = before->prev;
    list_remove(&credit->queues, &queue->link);
    list_insert(&credit->queues, before, &queue->link);
}

void credit_add(struct credit *credit, struct str name, unsigned weight)
{
    struct credit_queue *queue = xnew(struct credit_queue);
    queue->credit = credit;
    queue->name = name;
    queue->weight = weight;
    list_append(&credit->queues, &queue->link);
    if (credit->order == CREDIT_SORTED)
        sort_in(credit, queue);
    credit_turn(credit);
}

void credit_remove(struct credit *credit, struct str name)
{
    for (struct list_link *link = credit->queues.head; link; link = link->next) {
        struct credit_queue *queue = queue_of(link);
        if (!str_equal(queue->name, name))
            continue;
        queue->removed = true;
        end_wait(queue);
    }
    tell_ended(credit);
}

void credit_deinit(struct credit *credit)
{
    struct list_link *link;
    while ((link = list_pop(&credit->queues)))
        mem_free(queue_of(link));
    uv_close((uv_handle_t *)&credit->pause, NULL);
    uv_close((uv_handle_t *)&credit->hold, NULL);
}

void credit_start(struct credit *credit)
{
    credit->started = true;
    credit->progress_mono = clock_mono();
    credit_turn(credit);
}

void credit_turn(struct credit *credit)
{
    if (!credit->started || credit->stopping)
        return;
    struct credit_view view = look(credit);
    if (view.idle > 0)
        credit->progress_mono = clock_mono();
    else
        watch_hold(credit);
    if (credit->claiming || uv_is_active((uv_handle_t *)&credit->pause))
        return;
    size_t max = want(credit, &view);
    if (max == 0)
        return;
    struct credit_queue *queue = next_to_ask(credit);
    if (queue)
        claim(credit, queue, max);
}

void credit_note_run(struct credit *credit, usec_t run_time)
{
    credit->progress_mono = clock_mono();
    credit_meter_add(&credit->meter, run_time);
}

static bool is_hungry(const struct credit *credit, const struct credit_view *view)
{
    return credit->started && !credit->stopping && view->idle > view->held;
}

bool credit_is_hungry(struct credit *credit)
{
    struct credit_view view = look(credit);
    return is_hungry(credit, &view);
}

bool credit_is_short(struct credit *credit)
{
    bool is_short = look(credit).held > 0;
    for (const struct list_link *link = credit->queues.head; link; link = link->next)
        is_short |= container_of(link, const struct credit_queue, link)->full;
    return is_short;
}

void credit_probe(struct credit *credit, usec_t since_mono)
{
    struct credit_view view = look(credit);
    if (!is_hungry(credit, &view) || credit->claiming || credit->attempt_mono >= since_mono)
        return;
    struct list_link *next = credit->probed ? credit->probed->link.next : NULL;
    if (!next)
        next = credit->queues.head;
    if (!next)
        return;
    credit->probed = queue_of(next);
    if (!credit->probed->removed)
        claim(credit, credit->probed, view.idle - view.held);
}

void credit_abandon(struct credit *credit)
{
    credit->abandoned = credit->stopping = credit->stopped = true;
    uv_timer_stop(&credit->pause);
    uv_timer_stop(&credit->hold);
}

void credit_stop(struct credit *credit)
{
    credit->stopping = true;
    uv_timer_stop(&credit->pause);
    uv_timer_stop(&credit->hold);
    for (struct list_link *link = credit->queues.head; link; link = link->next)
        end_wait(queue_of(link));
    tell_ended(credit);
}
