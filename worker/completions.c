/*
 * A completion whose connection broke may have been carried out. It is told again as it was: if it
 * had arrived, its claim is gone, the answer is BROKER_E_LOST, and that is as good as success.
 *
 * A call that was acknowledged early has no claim to look at (tag 0). Its result is told again, but
 * not its next attempt and not its sends: it promised to run at most once.
 *
 * What Redis refuses for good (a key of another type where a list should be) it refuses each time.
 * After a few tries the call fails with that reason, without its sends and its next attempt; what
 * cannot even say that stays in flight, and the log tells.
 */
#include "worker/completions.h"

#include <errno.h>
#include <string.h>

#include "core/backoff.h"
#include "core/log.h"
#include "worker/settle.h"

#define TELL_DEADLINE_USEC (10 * USEC_PER_SEC)
enum { REFUSALS_MAX = 3 };
static const struct backoff tell_backoff = {.first = 100 * USEC_PER_MSEC, .cap = 3 * USEC_PER_SEC};

void completions_init(struct completions *completions,
                      uv_loop_t *loop,
                      struct broker *broker,
                      struct requests *requests,
                      completions_told_fn *told,
                      void *data)
{
    *completions =
        (struct completions){.broker = broker, .requests = requests, .told = told, .data = data};
    uv_timer_init(loop, &completions->timer);
}

void completions_stop(struct completions *completions)
{
    uv_timer_stop(&completions->timer);
}

void completions_deinit(struct completions *completions)
{
    uv_close((uv_handle_t *)&completions->timer, NULL);
}

/* Everything that is not under way is told again. */
static void on_timer(uv_timer_t *timer)
{
    struct completions *completions = container_of(timer, struct completions, timer);
    struct list_link *link = completions->requests->lists[REQUEST_SETTLING].head;
    while (link) {
        struct request *request = container_of(link, struct request, link);
        link = link->next;
        if (!request->settlement.under_way)
            completions_tell(completions, request);
    }
}

static void tell_later(struct completions *completions, const struct cel_error *err)
{
    if (uv_is_active((uv_handle_t *)&completions->timer))
        return;
    if (completions->failures++ == 0)
        log_warning("Redis cannot be told; outcomes are kept and told again",
                    F_C("err", err->text));
    usec_t delay = backoff_delay(&tell_backoff, completions->failures - 1, backoff_random());
    uv_timer_start(&completions->timer, on_timer, delay / USEC_PER_MSEC, 0);
}

static void finish(struct completions *completions, struct request *request, int status)
{
    completions->told(completions->data, request, status);
}

static bool is_refusal(const struct cel_error *err)
{
    switch (err->code) {
    case -EINVAL:
    case CEL_E_LIMIT:
        return true;
    case CEL_E_SERVER:
        /* Others pass: no memory left, still loading, a replica for the moment. */
        return strstr(err->text, "WRONGTYPE") != NULL;
    default:
        return false;
    }
}

static void
on_refused(struct completions *completions, struct request *request, const struct cel_error *err)
{
    struct settlement *settlement = &request->settlement;
    if (++settlement->refusals < REFUSALS_MAX) {
        tell_later(completions, err);
        return;
    }
    log_error("Redis refuses what a task came to", F_STR("task", request->envelope.task),
              F_STR("task_id", request->envelope.id), F_C("err", err->text));
    bool uncertain = settlement->uncertain;
    if (settle_refused(request, str_of(err->text), clock_wall(), settlement) < 0) {
        finish(completions, request, err->code);
        return;
    }
    settlement->uncertain = uncertain;
    completions_tell(completions, request);
}

static void on_told(void *data, int status, const struct cel_error *err)
{
    struct request *request = data;
    struct completions *completions = request->completions;
    request->settlement.under_way = false;
    if (status == 0 || status == -ECANCELED) {
        if (completions->failures > 0 && status == 0)
            log_info("Redis is told again");
        completions->failures = 0;
        finish(completions, request, status);
    } else if (status == BROKER_E_LOST) {
        finish(completions, request, request->settlement.uncertain ? 0 : BROKER_E_LOST);
    } else if (is_refusal(err)) {
        on_refused(completions, request, err);
    } else {
        if (status == CEL_E_UNCERTAIN)
            request->settlement.uncertain = true;
        tell_later(completions, err);
    }
}

/* What is said of a call that the broker holds no more. */
static struct broker_completion without_claim(const struct settlement *settlement)
{
    struct broker_completion completion = settlement->completion;
    completion.claim.tag = 0;
    if (settlement->uncertain) {
        if (completion.retry.ptr || completion.follow_up_count > 0)
            log_warning(
                "Acknowledged early, and it is not known whether Redis has what follows: it "
                "is not sent again, since it must not run twice",
                F_STR("queue", completion.claim.queue));
        completion.retry = STR_NONE;
        completion.follow_up_count = 0;
    }
    return completion;
}

static int tell(struct completions *completions, struct request *request)
{
    struct broker *broker = completions->broker;
    const struct settlement *settlement = &request->settlement;
    const struct broker_claim *claim = &request->claim;
    usec_t deadline = clock_mono() + TELL_DEADLINE_USEC;
    struct broker_completion completion;
    switch (settlement->verb) {
    case SETTLE_ACK:
        return broker_ack(broker, claim, deadline, on_told, request);
    case SETTLE_GIVE_BACK:
        return broker_give_back(broker, claim, deadline, on_told, request);
    case SETTLE_PARK:
        return broker_park(broker, claim, settlement->due_wall, deadline, on_told, request);
    case SETTLE_COMPLETE:
        break;
    }
    completion = request->ack.is_done ? without_claim(settlement) : settlement->completion;
    return broker_complete(broker, &completion, deadline, on_told, request);
}

void completions_tell(struct completions *completions, struct request *request)
{
    struct settlement *settlement = &request->settlement;
    ASSERT(request->state == REQUEST_SETTLING && !settlement->under_way);
    request->completions = completions;
    if (request->ack.is_done && settlement->verb == SETTLE_ACK) {
        finish(completions, request, 0);
        return;
    }
    settlement->under_way = true;
    int r = tell(completions, request);
    if (r == 0)
        return;
    struct cel_error err;
    settlement->under_way = false;
    if (r == -ECANCELED) {
        finish(completions, request, r);
        return;
    }
    error_set(&err, r, "%s", cel_error_name(r));
    if (is_refusal(&err))
        on_refused(completions, request, &err);
    else
        tell_later(completions, &err);
}
