/*
 * Calls that wait for their turn, since their task may not begin so often (rate_limits.h). They
 * take no child and do not count as held for one, so calls of other tasks pass by.
 *
 *     READY --its turn is near--> LIMITED --it is--> READY, in front: asked again, then it has a token
 *       |                            |
 *       +--far away, or too many-----+--no child had time for TURNS_LATE_USEC--> parked with its turn
 *
 * The turn stands in the message that is parked (its header celeriac_turn).
 */
#pragma once

#include <uv.h>

#include "worker/rate_limits.h"
#include "worker/request.h"

#define TURNS_LATE_USEC USEC_PER_SEC

/* Somebody's turn has come: call turns_next, and after it turns_late. */
typedef void turns_fn(void *data);

struct turns {
    struct rate_limits limits;
    struct list *held; /* the requests in LIMITED */
    turns_fn *on_turn;
    void *data;
    uv_timer_t timer;
    usec_t wake_mono; /* before that it is nobody's turn */
};

/* What an operator sees of a task's limit. */
struct turns_view {
    struct str limit; /* "10/s", borrowed; absent: none */
    size_t held;
    uint64_t parked; /* so often, since the start */
    usec_t wait;     /* of one that came now */
};

void turns_init(
    struct turns *turns, uv_loop_t *loop, struct requests *requests, turns_fn *on_turn, void *data);
/* Nobody's turn comes any more. */
void turns_stop(struct turns *turns);
void turns_deinit(struct turns *turns);

/*
 * Whether `request`, which is READY and about to begin, may. RATE_HOLD: it is LIMITED now. RATE_PARK:
 * it is to be parked, with the times in request->turn.
 */
enum rate_verdict turns_ask(struct turns *turns, struct request *request);
/* Makes the held call READY whose turn it is, the one with the earliest if there are more. False: it
 * is nobody's. */
bool turns_next(struct turns *turns);
/* A held call that no child had time for, which is to be parked; NULL: there is none. */
struct request *turns_late(struct turns *turns);
/* As rate_limits_tell, for those that wait here, too. Parked ones come when they were to come. */
int turns_tell(struct turns *turns, struct str task, struct str rate, struct cel_error *err)
    MUST_CHECK;
struct turns_view turns_look(const struct turns *turns, const struct frame_task *task);
