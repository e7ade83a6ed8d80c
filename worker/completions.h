/*
 * Carries settlements to the broker until they are known to be there. While Redis cannot be reached
 * they are kept, and told again when it is back: no outcome is dropped before a stop. Telling one twice
 * is harmless, since the broker looks first whether the claim is still ours; what was acknowledged early
 * has none, and parts of it are told once. What Redis refuses for good becomes a failure that says so,
 * and where even that is refused the call is kept.
 */
#pragma once

#include <uv.h>

#include "keeper/result_rows.h"
#include "worker/request.h"

/* 0: the broker has taken it; BROKER_E_LOST: the claim was not ours any more, nothing was written;
 * -ECANCELED: the broker was closed first; other failures: Redis refuses even the bare end, and the
 * worker drains. After a failure the message is in flight still, unless it was acknowledged early. The
 * receiver makes the request DONE. */
typedef void completions_told_fn(void *data, struct request *request, int status);

/* With it a chord would be complete: settlement.follow_ups has what was read of it, and nothing was told. What follows
 * from that is looked for, and then it is told again. */
typedef void completions_joined_fn(void *data, struct request *request);

/* With so many calls refused, nothing more should be claimed: what comes might meet the same. */
enum { COMPLETIONS_REFUSED_MAX = 64 };
/* The same with so many that cannot be told, as Redis or PostgreSQL does not take their results. */
enum { COMPLETIONS_UNTOLD_MAX = 1000 };

struct completions {
    struct broker *broker;
    struct requests *requests;
    struct result_rows *rows; /* beside Redis */
    completions_told_fn *told;
    completions_joined_fn *joined;
    void *data;
    uv_timer_t timer;  /* until failed ones are told again */
    unsigned failures; /* in a row */
    size_t refused;    /* calls that are kept because Redis answered with an error */
    bool draining, stopped;
};

void completions_init(struct completions *completions,
                      uv_loop_t *loop,
                      struct broker *broker,
                      struct requests *requests,
                      struct result_rows *rows,
                      completions_told_fn *told,
                      completions_joined_fn *joined,
                      void *data);
/* Nothing is told again. */
void completions_stop(struct completions *completions);
/* What Redis refuses for good is given up from now on: in flight it waits for other workers. */
void completions_drain(struct completions *completions);
void completions_deinit(struct completions *completions);
/* Tells what request->settlement says; the request is SETTLING. */
void completions_tell(struct completions *completions, struct request *request);
