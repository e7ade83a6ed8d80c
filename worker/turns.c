#include "worker/turns.h"

static struct request *request_of(struct list_link *link)
{
    return container_of(link, struct request, link);
}

static usec_t ready_mono(const struct request *request)
{
    return rate_ready_mono(request->turn.bucket, request->turn.mono);
}

/* --- the timer -------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

/* Sets it to the first turn; for those whose turn it was, to when they are late. */
static void arm(struct turns *turns)
{
    usec_t now = clock_mono(), first = USEC_NEVER;
    turns->wake_mono = USEC_NEVER;
    for (struct list_link *link = turns->held->head; link; link = link->next) {
        usec_t ready = ready_mono(request_of(link));
        usec_t when = ready > now ? ready : ready + TURNS_LATE_USEC;
        if (ready < turns->wake_mono)
            turns->wake_mono = ready;
        if (when < first)
            first = when;
    }
    if (first == USEC_NEVER) {
        uv_timer_stop(&turns->timer);
        return;
    }
    usec_t delay = first > now ? first - now : 0;
    uv_update_time(turns->timer.loop);
    uv_timer_start(&turns->timer, on_timer, (delay + USEC_PER_MSEC - 1) / USEC_PER_MSEC, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct turns *turns = container_of(timer, struct turns, timer);
    turns->on_turn(turns->data);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* The turn that the message brings, on our clock. */
static usec_t brought_turn(const struct request *request, usec_t now_mono)
{
    usec_t turn_wall = request->envelope.turn_wall, now_wall = clock_wall();
    if (turn_wall == 0)
        return 0;
    if (turn_wall >= now_wall)
        return now_mono + (turn_wall - now_wall);
    return now_mono > now_wall - turn_wall ? now_mono - (now_wall - turn_wall) : 1;
}

static usec_t wall_of(usec_t mono)
{
    usec_t now_mono = clock_mono(), now_wall = clock_wall();
    return mono >= now_mono ? now_wall + (mono - now_mono) : now_wall - (now_mono - mono);
}

static void plan_return(struct request *request, usec_t now_mono)
{
    struct request_turn *turn = &request->turn;
    turn->wall = wall_of(turn->mono);
    turn->back_wall = wall_of(rate_back_mono(turn->bucket, now_mono, turn->mono));
}

enum rate_verdict turns_ask(struct turns *turns, struct request *request)
{
    struct request_turn *turn = &request->turn;
    if (turn->is_taken)
        return RATE_NOW;
    turn->bucket = rate_limits_find(&turns->limits, request->envelope.task, &request->task);
    if (!turn->bucket)
        return RATE_NOW;
    usec_t now = clock_mono();
    if (turn->mono == 0)
        turn->mono = brought_turn(request, now);
    enum rate_verdict verdict = rate_ask(turn->bucket, now, &turn->mono);
    turn->is_taken = verdict == RATE_NOW;
    if (verdict == RATE_HOLD) {
        turn->bucket->held++;
        request_set_state(request, REQUEST_LIMITED);
        arm(turns);
    } else if (verdict == RATE_PARK) {
        plan_return(request, now);
    }
    return verdict;
}

/* --- those that wait -------------------------------------------------------------------------- */

/* The one with the earliest turn among those that could have begun `since_mono`. */
static struct request *first_due(const struct turns *turns, usec_t since_mono)
{
    struct request *first = NULL;
    for (struct list_link *link = turns->held->head; link; link = link->next) {
        struct request *request = request_of(link);
        if (ready_mono(request) <= since_mono && (!first || request->turn.mono < first->turn.mono))
            first = request;
    }
    return first;
}

bool turns_next(struct turns *turns)
{
    if (turns->held->count == 0 || clock_mono() < turns->wake_mono)
        return false;
    struct request *request = first_due(turns, clock_mono());
    if (request) {
        request->turn.bucket->held--;
        request_set_state(request, REQUEST_READY);
    }
    arm(turns);
    return request != NULL;
}

struct request *turns_late(struct turns *turns)
{
    struct request *request = first_due(turns, clock_mono() - TURNS_LATE_USEC);
    if (request) {
        request->turn.bucket->held--;
        request->turn.bucket->parked++;
        plan_return(request, clock_mono());
        request_set_state(request, REQUEST_READY);
    }
    arm(turns);
    return request;
}

/* --- by hand ---------------------------------------------------------------------------------- */

int turns_tell(struct turns *turns, struct str task, struct str rate, struct cel_error *err)
{
    struct rate_bucket *bucket;
    int r = rate_limits_tell(&turns->limits, task, rate, &bucket, err);
    if (r < 0)
        return r;
    bucket->held = 0;
    for (struct list_link *link = turns->held->head; link; link = link->next) {
        struct request *request = request_of(link);
        if (request->turn.bucket != bucket)
            continue;
        request->turn.mono = rate_reserve(bucket, clock_mono());
        bucket->held++;
    }
    arm(turns);
    return 0;
}

struct turns_view turns_look(const struct turns *turns, const struct frame_task *task)
{
    struct turns_view view = {.limit = task->rate_limit};
    for (size_t i = 0; i < turns->limits.count; i++) {
        const struct rate_bucket *bucket = turns->limits.buckets[i];
        if (!str_equal(str_of(bucket->task), task->name))
            continue;
        struct rate_bucket copy = *bucket;
        usec_t now = clock_mono();
        view.held = bucket->held;
        view.parked = bucket->parked;
        view.wait = bucket->interval ? rate_reserve(&copy, now) - now : 0;
        if (bucket->is_told)
            view.limit = bucket->interval ? str_of(bucket->text) : STR_NONE;
    }
    return view;
}

/* --- life ------------------------------------------------------------------------------------- */

void turns_init(
    struct turns *turns, uv_loop_t *loop, struct requests *requests, turns_fn *on_turn, void *data)
{
    *turns = (struct turns){.held = &requests->lists[REQUEST_LIMITED],
                            .on_turn = on_turn,
                            .data = data,
                            .wake_mono = USEC_NEVER};
    uv_timer_init(loop, &turns->timer);
}

void turns_stop(struct turns *turns)
{
    uv_timer_stop(&turns->timer);
}

void turns_deinit(struct turns *turns)
{
    rate_limits_deinit(&turns->limits);
    uv_close((uv_handle_t *)&turns->timer, NULL);
}
