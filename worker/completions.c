/*
 * A completion whose connection broke may have been carried out. It is told again as it was: if it
 * had arrived, its claim is gone, the answer is BROKER_E_LOST, and that is as good as success.
 *
 * A call that was acknowledged early has no claim to look at (tag 0). Its next attempt and its sends
 * are not told again: it promised to run at most once. What is told instead, and only where nothing
 * shows that the first telling arrived, is a failure that says so.
 *
 * What Redis answers with an error is told again, too, slower and slower. What it refuses for good (a
 * key of another type where a list should be) it refuses each time: after a few tries the call fails
 * with that reason, without its sends and its next attempt. What cannot even say that is told again
 * until somebody has put it right; meanwhile the call is ours and does not run again. Calls that are
 * refused take room (COMPLETIONS_REFUSED_MAX). When the worker drains, what is refused for good stays
 * in flight; what may pass is told to the end.
 */
#include "worker/completions.h"

#include <errno.h>

#include "core/backoff.h"
#include "core/log.h"
#include "keeper/refusal.h"
#include "worker/settle.h"

#define TELL_DEADLINE_USEC (10 * USEC_PER_SEC)
enum { REFUSALS_MAX = 3 };
static const struct backoff tell_backoff = {.first = 100 * USEC_PER_MSEC, .cap = 3 * USEC_PER_SEC};

void completions_init(struct completions *completions,
                      uv_loop_t *loop,
                      struct broker *broker,
                      struct requests *requests,
                      struct result_rows *rows,
                      completions_told_fn *told,
                      completions_joined_fn *joined,
                      void *data)
{
    *completions = (struct completions){.broker = broker,
                                        .requests = requests,
                                        .rows = rows,
                                        .told = told,
                                        .joined = joined,
                                        .data = data};
    uv_timer_init(loop, &completions->timer);
}

void completions_stop(struct completions *completions)
{
    completions->stopped = true;
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

void completions_drain(struct completions *completions)
{
    completions->draining = true;
    if (uv_is_active((uv_handle_t *)&completions->timer))
        uv_timer_start(&completions->timer, on_timer, 0, 0);
}

static void start_timer(struct completions *completions, unsigned attempt)
{
    usec_t delay = backoff_delay(&tell_backoff, attempt, backoff_random());
    if (!uv_is_active((uv_handle_t *)&completions->timer))
        uv_timer_start(&completions->timer, on_timer, delay / USEC_PER_MSEC, 0);
}

static void tell_later(struct completions *completions, const struct cel_error *err)
{
    if (completions->failures == 0)
        log_warning("Outcomes cannot be told; they are kept and told again", F_C("err", err->text));
    if (completions->failures == 0 || !uv_is_active((uv_handle_t *)&completions->timer))
        completions->failures++;
    start_timer(completions, completions->failures - 1);
}

/* Beside Redis, that is: instead of it the broker stores them. */
static bool has_rows(const struct completions *completions)
{
    return completions->rows->pg && !completions->rows->is_instead;
}

/* Redis has the result: its row follows. */
static void add_row(struct completions *completions, const struct request *request)
{
    const struct broker_completion *completion = &request->settlement.completion;
    const struct broker_result result = {.id = completion->result_id,
                                         .document = completion->result_document,
                                         .message = buf_str(&request->bytes),
                                         .spares_final = broker_spares_final(completion)};
    if (has_rows(completions) && result.id.ptr)
        result_rows_add(completions->rows, &result, true);
}

static void finish(struct completions *completions, struct request *request, int status)
{
    struct settlement *settlement = &request->settlement;
    if (settlement->is_refused) {
        completions->refused--;
        if (status == 0)
            log_info("Redis has taken what it refused", F_STR("task", request->envelope.task),
                     F_STR("task_id", request->envelope.id));
    }
    settlement->is_refused = false;
    if (status == 0)
        add_row(completions, request);
    completions->told(completions->data, request, status);
}

/* --- what Redis refuses ----------------------------------------------------------------------- */

/* Of Redis, or of the broker itself. */
static bool is_refusal(int status)
{
    return refusal_is(status) || status == -EINVAL || status == CEL_E_LIMIT;
}

/* Others pass: no memory left, a right that is missing. */
static bool is_for_good(const struct cel_error *err)
{
    return err->code == -EINVAL || err->code == CEL_E_LIMIT || refusal_is_wrong_type(err);
}

static void log_refusal(const struct completions *completions,
                        const struct request *request,
                        const char *sentence,
                        const struct cel_error *err)
{
    struct str key = broker_in_flight_key(completions->broker, request->claim.queue);
    log_error(sentence, F_STR("stays_in", request->ack.is_done ? STR_NONE : key),
              F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
              F_C("outcome", request_end_name(request->settlement.end)), F_C("err", err->text));
}

static bool
fail_instead(struct completions *completions, struct request *request, const struct cel_error *err)
{
    struct settlement *settlement = &request->settlement;
    bool spares = settlement->completion.is_uncertain;
    if (settle_refused(request, str_of(err->text), clock_wall(), settlement) < 0)
        return false;
    settlement->completion.is_uncertain = spares;
    log_refusal(completions, request, "Redis refuses what a task came to; it fails", err);
    completions_tell(completions, request);
    return true;
}

static void
on_refused(struct completions *completions, struct request *request, const struct cel_error *err)
{
    struct settlement *settlement = &request->settlement;
    if (!settlement->is_refused)
        completions->refused++;
    settlement->is_refused = true;
    if (++settlement->refusals < REFUSALS_MAX) {
        start_timer(completions, settlement->refusals - 1);
        return;
    }
    bool for_good = is_for_good(err);
    if (for_good && fail_instead(completions, request, err))
        return;
    if (settlement->refusals == REFUSALS_MAX)
        log_refusal(completions, request,
                    "Redis refuses what a task came to; it is told again until that is put right",
                    err);
    if (for_good && completions->draining)
        finish(completions, request, err->code);
    else
        start_timer(completions, settlement->refusals - 1);
}

/* --- what was told ---------------------------------------------------------------------------- */

static void on_uncertain(struct request *request)
{
    struct settlement *settlement = &request->settlement;
    settlement->uncertain = true;
    if (!request->ack.is_done || settlement->completion.is_uncertain ||
        settle_uncertain(request, clock_wall(), settlement) == 0)
        return;
    log_warning("Acknowledged early, and it is not known whether Redis has what follows: it is not "
                "sent again, since it must not run twice",
                F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
                F_STR("queue", request->claim.queue));
}

/* Without memory for it, it is read once more. */
static void on_joined(void *data, const struct plan_joined *joined, size_t count)
{
    struct request *request = data;
    if (follow_ups_add_joined(&request->settlement.follow_ups, joined, count) < 0)
        settle_unjoin(&request->settlement);
}

static void conclude(struct request *request, int status, const struct cel_error *err)
{
    struct completions *completions = request->completions;
    request->settlement.under_way = false;
    if (completions->stopped) { /* the node was given up meanwhile, and nobody waits for it */
        if (status == 0)
            add_row(completions, request);
        return;
    }
    if (status == 0 || status == -ECANCELED) {
        if (completions->failures > 0 && status == 0)
            log_info("Outcomes are told again");
        completions->failures = 0;
        finish(completions, request, status);
    } else if (status == BROKER_E_LOST) {
        finish(completions, request, request->settlement.uncertain ? 0 : BROKER_E_LOST);
    } else if (status == BROKER_E_JOINED && request->settlement.follow_ups.joined_count == 0) {
        start_timer(completions, 0);
    } else if (status == BROKER_E_JOINED) {
        completions->joined(completions->data, request);
    } else if (status == BROKER_E_CLOSED) {
        settle_unjoin(&request->settlement);
        completions_tell(completions, request);
    } else if (is_refusal(status)) {
        on_refused(completions, request, err);
    } else {
        if (status == CEL_E_UNCERTAIN)
            on_uncertain(request);
        tell_later(completions, err);
    }
}

/* The row says what stands in Redis, not what was told. */
static void on_looked(void *data, int status, struct str document, const struct cel_error *err)
{
    struct request *request = data;
    struct broker_completion *completion = &request->settlement.completion;
    if (status == 0) {
        completion->result_id = document.ptr ? completion->result_id : STR_NONE;
        completion->result_document = document;
    }
    conclude(request, status, err);
}

static void on_told(void *data, int status, const struct cel_error *err)
{
    struct request *request = data;
    const struct completions *completions = request->completions;
    struct str id = request->settlement.completion.result_id;
    usec_t deadline = clock_mono() + TELL_DEADLINE_USEC;
    struct cel_error refused;
    if (status == BROKER_E_SPARED && has_rows(completions) && id.ptr) {
        status = broker_get_result(completions->broker, id, deadline, on_looked, request);
        if (status == 0)
            return;
        error_set(&refused, status, "%s", cel_error_name(status));
        err = &refused;
    }
    conclude(request, status == BROKER_E_SPARED ? 0 : status, err);
}

/* What is said of a call that the broker holds no more. */
static struct broker_completion without_claim(const struct settlement *settlement)
{
    struct broker_completion completion = settlement->completion;
    completion.claim.tag = 0;
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
    completion.message = buf_str(&request->bytes);
    completion.on_joined = on_joined;
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
    if (is_refusal(r))
        on_refused(completions, request, &err);
    else
        tell_later(completions, &err);
}
