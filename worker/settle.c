#include "worker/settle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/backoff.h"
#include "core/json.h"
#include "core/mem.h"
#include "message/body.h"
#include "message/result.h"

/* A longer countdown is taken for so much: dates beyond are no dates. */
#define COUNTDOWN_MAX (10 * 365 * 24 * 3600 * USEC_PER_SEC)

/* In a row; those beyond are counted as the task's own retries. */
enum { CONFLICTS_MAX = 100 };
/* Of one message, by its task. */
enum { REQUEUES_MAX = 100 };

static void begin(const struct request *request, enum request_end end, struct settlement *ret)
{
    buf_clear(&ret->document);
    buf_clear(&ret->retry);
    buf_clear(&ret->evidence);
    follow_ups_clear(&ret->follow_ups);
    ret->is_awaited = false;
    ret->verb = SETTLE_COMPLETE;
    ret->end = end;
    ret->completion = (struct broker_completion){.claim = request->claim};
    ret->dead = (struct broker_dead){.reason = STR_NONE};
    ret->due_wall = 0;
    ret->refusals = 0;
}

static void show_follow_ups(struct settlement *ret)
{
    struct broker_completion *completion = &ret->completion;
    follow_ups_show(&ret->follow_ups, completion);
    bool says_nothing = !completion->result_id.ptr && !completion->retry.ptr && !completion->dead &&
                        !follow_ups_has_some(&ret->follow_ups) && completion->ending == BROKER_DONE;
    ret->verb = says_nothing ? SETTLE_ACK : SETTLE_COMPLETE;
}

/* Ends every way of settling: a settlement that says nothing is a bare acknowledgement, one that
 * could not be built gives the call back. */
static int finish(const struct request *request, int status, struct settlement *ret)
{
    if (status == 0)
        status = buf_status(&ret->document);
    if (status == 0)
        status = buf_status(&ret->retry);
    if (status < 0 && request->ack.is_done && request->pid) {
        begin(request, END_FAILED, ret); /* it has run, and must not run twice */
        ret->verb = SETTLE_ACK;
        return status;
    }
    if (status < 0) {
        settle_give_back(request, ret);
        return status;
    }
    struct broker_completion *completion = &ret->completion;
    if (ret->document.len > 0 && !request_ignores_result(request)) {
        completion->result_id = request->envelope.id;
        completion->result_document = buf_str(&ret->document);
    }
    if (ret->retry.len > 0)
        completion->retry = buf_str(&ret->retry);
    show_follow_ups(ret);
    return 0;
}

static void
bury(const struct request *request, struct str reason, struct str detail, struct settlement *ret)
{
    snprintf(ret->detail, sizeof(ret->detail), STR_FORMAT, STR_ARGS(detail));
    ret->dead = (struct broker_dead){.reason = reason,
                                     .detail = str_of(ret->detail),
                                     .task_id = request->envelope.id,
                                     .task = request->envelope.task};
    ret->completion.dead = &ret->dead;
}

/* --- documents -------------------------------------------------------------------------------- */

/* result_extended: what Celery adds then. The arguments are known once a child has read them. */
static void add_more(const struct request *request, struct buf *buf)
{
    const struct envelope *envelope = &request->envelope;
    struct str arguments = buf_str(&request->arguments);
    buf_add_c(buf, "\"name\": ");
    json_add_text(buf, envelope->task);
    buf_add_c(buf, ", \"worker\": ");
    json_add_text(buf, request->table->extended_by);
    buf_addf(buf, ", \"retries\": %lld, \"queue\": ", (long long)envelope->retries);
    json_add_text(buf, request->claim.queue);
    if (arguments.len > 0) {
        buf_add_c(buf, ", ");
        buf_add_str(buf, arguments);
    }
}

static int
add_document(const struct request *request, const struct result *content, struct buf *buf)
{
    CLEANUP(buf_deinit) struct buf more = BUF_INIT(2 * FRAME_BYTES_MAX);
    struct result result = *content;
    if (request->table->extended_by.ptr) {
        add_more(request, &more);
        result.more = buf_str(&more);
    }
    if (buf_status(&more) < 0)
        return buf_status(&more);
    result.task_id = request->envelope.id;
    result.group_id = request->envelope.group;
    result.parent_id = request->envelope.parent_id;
    return result_encode(buf, &result);
}

/* Of a call that ignores its result only an error is written down, for log and ledger. */
static int
store(const struct request *request, const struct result *content, struct settlement *ret)
{
    bool is_needless =
        request_ignores_result(request) && str_equal(content->status, STR("SUCCESS"));
    return is_needless ? 0 : add_document(request, content, &ret->document);
}

/* A final document whose result is an exception of our own making. */
static int store_exception(const struct request *request,
                           struct str status,
                           const struct buf *exception,
                           usec_t now_wall,
                           struct settlement *ret)
{
    int r = buf_status(exception);
    if (r < 0)
        return r;
    return store(request,
                 &(struct result){.status = status,
                                  .result_json = buf_str(exception),
                                  .date_done_wall = now_wall},
                 ret);
}

static int store_failure_text(const struct request *request,
                              struct str type,
                              struct str text,
                              struct str module,
                              usec_t now_wall,
                              struct settlement *ret)
{
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(VALUE_BYTES_MAX);
    result_add_exception_text(&exception, type, text, module);
    return store_exception(request, STR("FAILURE"), &exception, now_wall, ret);
}

int settle_started_document(const struct request *request,
                            struct str node,
                            int64_t pid,
                            struct buf *buf)
{
    CLEANUP(buf_deinit) struct buf meta = BUF_INIT(VALUE_BYTES_MAX);
    buf_add_c(&meta, "{\"pid\": ");
    buf_add_i64(&meta, pid);
    buf_add_c(&meta, ", \"hostname\": ");
    json_add_text(&meta, node);
    buf_add_char(&meta, '}');
    int r = buf_status(&meta);
    if (r < 0)
        return r;
    return add_document(
        request, &(struct result){.status = STR("STARTED"), .result_json = buf_str(&meta)}, buf);
}

int settle_progress_document(const struct request *request,
                             const struct frame_progress *progress,
                             struct buf *buf)
{
    return add_document(
        request, &(struct result){.status = progress->state, .result_json = progress->meta_json},
        buf);
}

/* --- after a run ------------------------------------------------------------------------------ */

static int succeed(const struct request *request,
                   const struct frame_outcome *outcome,
                   const struct settle_context *context,
                   struct settlement *ret)
{
    begin(request, END_SUCCEEDED, ret);
    int r = store(request,
                  &(struct result){.status = STR("SUCCESS"),
                                   .result_json = outcome->result_json,
                                   .children_json = outcome->children_json,
                                   .date_done_wall = context->now_wall},
                  ret);
    if (r == 0)
        r = follow_ups_add(&ret->follow_ups, outcome);
    return finish(request, r, ret);
}

static int
ignore(const struct request *request, const struct frame_outcome *outcome, struct settlement *ret)
{
    begin(request, END_IGNORED, ret);
    return finish(request, follow_ups_add(&ret->follow_ups, outcome), ret);
}

/* .reject_on_failure: the message goes to quarantine, if the broker has it still. */
static void keep_failed(const struct request *request, struct str why, struct settlement *ret)
{
    if (request->task.reject_on_failure && !request->ack.is_done)
        bury(request, STR("failure"), why, ret);
}

/* The exception with which the child ended the call. */
static int store_failure(const struct request *request,
                         const struct frame_outcome *outcome,
                         const struct settle_context *context,
                         struct settlement *ret)
{
    return store(request,
                 &(struct result){.status = STR("FAILURE"),
                                  .result_json = outcome->result_json,
                                  .traceback = outcome->traceback,
                                  .date_done_wall = context->now_wall},
                 ret);
}

static int fail(const struct request *request,
                const struct frame_outcome *outcome,
                const struct settle_context *context,
                struct settlement *ret)
{
    begin(request, END_FAILED, ret);
    keep_failed(request, STR("the task failed"), ret);
    ret->is_awaited = request->job.is_awaited;
    return finish(request, store_failure(request, outcome, context, ret), ret);
}

static usec_t
retry_delay(const struct request *request, const struct frame_outcome *outcome, uint64_t random)
{
    const struct frame_task *task = &request->task;
    usec_t delay = task->retry_delay;
    if (outcome->countdown_usec >= 0) {
        delay = (usec_t)outcome->countdown_usec;
    } else if (task->retry_backoff) {
        struct backoff backoff = {.first = task->retry_delay, .cap = task->retry_delay_max};
        int64_t retries = request->envelope.retries;
        unsigned attempt = retries > 63 ? 63 : (unsigned)retries;
        delay = task->retry_without_jitter ? backoff_delay_exact(&backoff, attempt)
                                           : backoff_delay_full_jitter(&backoff, attempt, random);
    }
    return delay < COUNTDOWN_MAX ? delay : COUNTDOWN_MAX;
}

/* Another transaction was in the way: that does not use up the retries, which are for what is wrong with
 * the task or its surroundings. A task that must not be retried is not. */
static bool is_free(const struct request *request, const struct frame_outcome *outcome)
{
    return outcome->conflict && request->task.max_retries != 0 &&
           request->envelope.conflicts < CONFLICTS_MAX;
}

/* The message of the next attempt: the same envelope with another eta, count, origin and tag. */
static int add_next_attempt(const struct request *request,
                            const struct frame_outcome *outcome,
                            usec_t due_wall,
                            const struct settle_context *context,
                            struct buf *buf)
{
    struct envelope next = request->envelope;
    next.eta_wall = due_wall;
    if (is_free(request, outcome))
        next.conflicts++;
    else
        next.retries++;
    if (!outcome->conflict)
        next.conflicts = 0;
    next.redelivered = false;
    next.turn_wall = 0;
    next.origin = context->node;
    next.delivery_tag = context->delivery_tag;
    return envelope_encode(buf, &next);
}

static bool has_exception(const struct frame_outcome *outcome)
{
    return outcome->result_json.len > 0 && !str_equal(outcome->result_json, STR("null"));
}

/* Celery's words for retries that are used up when no exception was given. */
static int give_up(const struct request *request,
                   const struct frame_outcome *outcome,
                   const struct settle_context *context,
                   struct settlement *ret)
{
    if (has_exception(outcome))
        return fail(request, outcome, context, ret);
    begin(request, END_FAILED, ret);
    keep_failed(request, STR("its retries are used up"), ret);
    ret->is_awaited = request->job.is_awaited;
    const struct envelope *envelope = &request->envelope;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(VALUE_BYTES_MAX);
    buf_add_c(&text, "Can't retry ");
    buf_add_str(&text, envelope->task);
    buf_add_char(&text, '[');
    buf_add_str(&text, envelope->id);
    buf_add_c(&text, "] args:");
    buf_add_str(&text, envelope->argsrepr);
    buf_add_c(&text, " kwargs:");
    buf_add_str(&text, envelope->kwargsrepr);
    int r = buf_status(&text);
    if (r == 0)
        r = store_failure_text(request, STR("MaxRetriesExceededError"), buf_str(&text),
                               STR("celery.exceptions"), context->now_wall, ret);
    return finish(request, r, ret);
}

static int retry(const struct request *request,
                 const struct frame_outcome *outcome,
                 const struct settle_context *context,
                 struct settlement *ret)
{
    int64_t most = request->task.max_retries;
    if (most >= 0 && request->envelope.retries >= most && !is_free(request, outcome))
        return give_up(request, outcome, context, ret);
    begin(request, END_RETRIED, ret);
    usec_t delay = retry_delay(request, outcome, context->random);
    usec_t due_wall = delay ? context->now_wall + delay : 0;
    ret->completion.retry_due_wall = due_wall;
    int r = add_next_attempt(request, outcome, due_wall, context, &ret->retry);
    if (r < 0)
        return finish(request, r, ret);
    CLEANUP(buf_deinit) struct buf children = BUF_INIT(VALUE_BYTES_MAX);
    buf_add_c(&children, "[[["); /* the next attempt bears the task's own id */
    json_add_text(&children, request->envelope.id);
    buf_add_c(&children, ", null], null]]");
    r = buf_status(&children);
    if (r == 0)
        r = store(request,
                  &(struct result){.status = STR("RETRY"),
                                   .result_json = outcome->result_json,
                                   .traceback = outcome->traceback,
                                   .children_json = buf_str(&children)},
                  ret);
    return finish(request, r, ret);
}

/* --- quarantine ------------------------------------------------------------------------------- */

static int refuse_body(const struct request *request,
                       const struct frame_outcome *outcome,
                       const struct settle_context *context,
                       struct settlement *ret)
{
    begin(request, END_BURIED, ret);
    if (!request->ack.is_done)
        bury(request, STR("undecodable"), outcome->detail, ret);
    else
        ret->end = END_FAILED; /* the broker has it no more */
    return finish(request, store_failure(request, outcome, context, ret), ret);
}

/* --- rejection by the task -------------------------------------------------------------------- */

static int
discard(const struct request *request, const struct frame_outcome *outcome, struct settlement *ret)
{
    begin(request, END_REJECTED, ret);
    if (!request->ack.is_done) /* else the broker has it no more */
        bury(request, STR("rejected"), outcome->detail, ret);
    return finish(request, 0, ret);
}

/* Without end it would go round in a worker that is alone. */
static int end_requeues(const struct request *request,
                        const struct frame_outcome *outcome,
                        const struct settle_context *context,
                        struct settlement *ret)
{
    char text[sizeof(ret->detail)];
    snprintf(text, sizeof(text), "rejected %lld times: " STR_FORMAT,
             (long long)request->envelope.requeues + 1,
             STR_ARGS(outcome->detail.len > 0 ? outcome->detail : STR("no reason")));
    begin(request, END_FAILED, ret);
    ret->is_awaited = request->job.is_awaited;
    if (!request->ack.is_done)
        bury(request, STR("rejected"), str_of(text), ret);
    int r = store_failure_text(request, STR("Reject"), str_of(text), STR("celery.exceptions"),
                               context->now_wall, ret);
    return finish(request, r, ret);
}

/* The same message at the end of its queue, counted. */
static int requeue(const struct request *request,
                   const struct frame_outcome *outcome,
                   const struct settle_context *context,
                   struct settlement *ret)
{
    struct envelope again = request->envelope;
    if (again.requeues >= REQUEUES_MAX)
        return end_requeues(request, outcome, context, ret);
    again.requeues++;
    again.redelivered = true;
    begin(request, END_REQUEUED, ret);
    return finish(request, envelope_encode(&ret->retry, &again), ret);
}

int settle_outcome(const struct request *request,
                   const struct frame_outcome *outcome,
                   const struct settle_context *context,
                   struct settlement *ret)
{
    switch (outcome->kind) {
    case OUTCOME_SUCCESS:
        return succeed(request, outcome, context, ret);
    case OUTCOME_IGNORE:
        return ignore(request, outcome, ret);
    case OUTCOME_RETRY:
        return retry(request, outcome, context, ret);
    case OUTCOME_REFUSED:
        return refuse_body(request, outcome, context, ret);
    case OUTCOME_REJECTED:
        return discard(request, outcome, ret);
    case OUTCOME_REQUEUED:
        return requeue(request, outcome, context, ret);
    case OUTCOME_FAILURE:
    case OUTCOME_FOLLOWS: /* no end of a call: slots let none of these through */
        break;
    }
    return fail(request, outcome, context, ret);
}

/* --- what follows ------------------------------------------------------------------------------ */

int settle_follow(const struct frame_outcome *outcome, struct settlement *ret)
{
    int r = follow_ups_add(&ret->follow_ups, outcome);
    ret->is_awaited = false;
    show_follow_ups(ret);
    return r;
}

void settle_unjoin(struct settlement *ret)
{
    follow_ups_unjoin(&ret->follow_ups);
    show_follow_ups(ret);
}

void settle_unfollowed(const struct request *request, struct str why, struct settlement *ret)
{
    ret->is_awaited = false;
    if (ret->follow_ups.joined_count > 0) { /* its part would make the chord complete again */
        follow_ups_unjoin(&ret->follow_ups);
        ret->follow_ups.part_count = 0;
    }
    if (!ret->completion.dead && !request->ack.is_done)
        bury(request, STR("follow-ups"), why, ret);
    show_follow_ups(ret);
}

/* --- the manner of death ---------------------------------------------------------------------- */

/* How the process ended that the quarantine entry tells of. */
static void add_evidence(const struct request *request,
                         const struct death *death,
                         int64_t crashes,
                         const struct settle_context *context,
                         struct buf *buf)
{
    buf_addf(buf, "{\"signal\": %d, \"exit_status\": %lld, \"peak_rss\": %llu, \"pid\": %lld, ",
             death->term_signal, (long long)death->exit_status, (unsigned long long)death->peak_rss,
             (long long)death->pid);
    buf_addf(buf, "\"crashes\": %lld, \"deliveries\": %lld, \"node\": ", (long long)crashes,
             (long long)request->envelope.deliveries);
    json_add_text(buf, context->node);
    buf_add_c(buf, ", \"progress\": ");
    buf_add_str(buf, request->progress.len > 0 ? buf_str(&request->progress) : STR("null"));
    buf_add_char(buf, '}');
}

/* The same message once more, counted. */
static int redeliver(const struct request *request, int64_t crashes, struct settlement *ret)
{
    struct envelope again = request->envelope;
    again.crashes = crashes;
    again.redelivered = true;
    begin(request, END_REDELIVERED, ret);
    return finish(request, envelope_encode(&ret->retry, &again), ret);
}

static int lose(const struct request *request,
                const struct death *death,
                const struct settle_context *context,
                struct settlement *ret)
{
    char how[64], text[160];
    int64_t crashes = request->envelope.crashes + 1;
    bool is_ours = !request->ack.is_done; /* else the broker has it no more */
    if (is_ours && death->cause == DEATH_CRASH && crashes < request->task.max_crashes)
        return redeliver(request, crashes, ret);
    death_describe(death, how, sizeof(how));
    snprintf(text, sizeof(text), "Worker exited prematurely: %s Job: %llu.", how,
             (unsigned long long)request->job.seq);
    begin(request, is_ours ? END_BURIED : END_FAILED, ret);
    ret->is_awaited = request->job.is_awaited;
    if (is_ours) {
        bury(request, STR("crash"), str_of(text), ret);
        add_evidence(request, death, crashes, context, &ret->evidence);
        ret->dead.evidence = buf_str(&ret->evidence);
    }
    int r = store_failure_text(request, STR("WorkerLostError"), str_of(text),
                               STR("billiard.exceptions"), context->now_wall, ret);
    return finish(request, r, ret);
}

/* The process died of a limit of its task; with another run it would be the same. */
static int exceed(const struct request *request,
                  const struct death *death,
                  const struct settle_context *context,
                  struct settlement *ret)
{
    bool is_time = death->cause == DEATH_CPU_LIMIT, is_ours = !request->ack.is_done;
    char how[64], text[160];
    death_describe(death, how, sizeof(how));
    if (is_time)
        snprintf(text, sizeof(text), "The run took more than %g s of processor time: %s.",
                 (double)request->task.cpu_limit / (double)USEC_PER_SEC, how);
    else
        snprintf(text, sizeof(text), "The run needed more than %llu bytes of address space: %s.",
                 (unsigned long long)request->task.memory_limit, how);
    begin(request, is_ours ? END_BURIED : END_FAILED, ret);
    ret->is_awaited = request->job.is_awaited;
    if (is_ours) {
        bury(request, is_time ? STR("cpu limit") : STR("memory limit"), str_of(text), ret);
        add_evidence(request, death, request->envelope.crashes + 1, context, &ret->evidence);
        ret->dead.evidence = buf_str(&ret->evidence);
    }
    struct str type = is_time ? STR("CPUTimeLimitExceeded") : STR("MemoryLimitExceeded");
    int r =
        store_failure_text(request, type, str_of(text), STR("celery_c"), context->now_wall, ret);
    return finish(request, r, ret);
}

static int run_out_of_time(const struct request *request,
                           const struct settle_context *context,
                           struct settlement *ret)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(64);
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(4096);
    buf_add_char(&message, '[');
    if (request->job.hard_limit % USEC_PER_SEC == 0)
        buf_add_u64(&message, request->job.hard_limit / USEC_PER_SEC);
    else
        json_add_double(&message, (double)request->job.hard_limit / (double)USEC_PER_SEC);
    buf_add_char(&message, ']');
    begin(request, END_FAILED, ret);
    keep_failed(request, STR("hard time limit"), ret);
    ret->is_awaited = request->job.is_awaited;
    int r = buf_status(&message);
    if (r == 0) {
        result_add_exception(&exception, STR("TimeLimitExceeded"), buf_str(&message),
                             STR("billiard.exceptions"));
        r = store_exception(request, STR("FAILURE"), &exception, context->now_wall, ret);
    }
    return finish(request, r, ret);
}

/* REVOKED, in Celery's words. */
static int end_revoked(const struct request *request,
                       struct str why,
                       const struct settle_context *context,
                       struct settlement *ret)
{
    bool is_late = str_equal(why, STR("expired"));
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(4096);
    result_add_exception_text(&exception, STR("TaskRevokedError"), why, STR("celery.exceptions"));
    begin(request, is_late ? END_EXPIRED : END_REVOKED, ret);
    ret->is_awaited =
        request->envelope.group.ptr != NULL; /* a chord counts it; links and chain do not */
    ret->completion.ending = is_late ? BROKER_EXPIRED : BROKER_REVOKED;
    return finish(
        request, store_exception(request, STR("REVOKED"), &exception, context->now_wall, ret), ret);
}

int settle_death(const struct request *request,
                 const struct death *death,
                 const struct settle_context *context,
                 struct settlement *ret)
{
    if (death->cause == DEATH_HARD_LIMIT)
        return run_out_of_time(request, context, ret);
    if (death->cause == DEATH_CPU_LIMIT || death->cause == DEATH_MEMORY_LIMIT)
        return exceed(request, death, context, ret);
    if (death->cause == DEATH_SHUTDOWN && !request->ack.is_done) {
        settle_give_back(request, ret);
        return 0;
    }
    if (death->cause == DEATH_REVOKED)
        return end_revoked(request, STR("terminated"), context, ret);
    return lose(request, death, context, ret);
}

/* --- calls that are not run ------------------------------------------------------------------- */

static int bury_unregistered(const struct request *request,
                             const struct settle_context *context,
                             struct settlement *ret)
{
    begin(request, END_BURIED, ret);
    ret->is_awaited = true;
    bury(request, STR("unregistered"), STR("no module of this worker registers the task"), ret);
    int r = store_failure_text(request, STR("NotRegistered"), request->envelope.task,
                               STR("celery.exceptions"), context->now_wall, ret);
    return finish(request, r, ret);
}

/* The words are those of whoever would decode the body; nothing is decoded of such a type. */
static void explain_refusal(const struct envelope *envelope, struct cel_error *err)
{
    struct body body;
    if (body_decode(envelope, &body, err) == 0)
        body_deinit(&body);
}

static int bury_refused(const struct request *request,
                        const struct settle_context *context,
                        struct settlement *ret)
{
    struct cel_error err = {0};
    explain_refusal(&request->envelope, &err);
    begin(request, END_BURIED, ret);
    bury(request, STR("content type"), str_of(err.text), ret);
    int r = store_failure_text(request, STR("ContentDisallowed"), str_of(err.text),
                               STR("kombu.exceptions"), context->now_wall, ret);
    return finish(request, r, ret);
}

int settle_unrun(const struct request *request,
                 enum request_fate fate,
                 const struct settle_context *context,
                 struct settlement *ret)
{
    switch (fate) {
    case FATE_EXPIRED:
        return end_revoked(request, STR("expired"), context, ret);
    case FATE_REVOKED:
        return end_revoked(request, STR("revoked"), context, ret);
    case FATE_UNREGISTERED:
        return bury_unregistered(request, context, ret);
    case FATE_REFUSED:
        return bury_refused(request, context, ret);
    case FATE_PARK:
        settle_postpone(request, request->envelope.eta_wall, ret);
        return 0;
    case FATE_RUN:
    case FATE_LOOK_FIRST:
        break;
    }
    settle_give_back(request, ret);
    return 0;
}

void settle_undecodable(const struct request *request, struct str why, struct settlement *ret)
{
    begin(request, END_BURIED, ret);
    bury(request, STR("undecodable"), why, ret);
}

void settle_skip(const struct request *request, struct settlement *ret)
{
    begin(request, END_SKIPPED, ret);
    ret->verb = SETTLE_ACK;
}

void settle_postpone(const struct request *request, usec_t due_wall, struct settlement *ret)
{
    begin(request, END_PARKED, ret);
    ret->verb = SETTLE_PARK;
    ret->due_wall = due_wall;
}

int settle_put_off(const struct request *request,
                   usec_t turn_wall,
                   usec_t due_wall,
                   struct settlement *ret)
{
    struct envelope later = request->envelope;
    later.turn_wall = turn_wall;
    begin(request, END_PARKED, ret);
    ret->completion.retry_due_wall = due_wall;
    return finish(request, envelope_encode(&ret->retry, &later), ret);
}

void settle_give_back(const struct request *request, struct settlement *ret)
{
    begin(request, END_GIVEN_BACK, ret);
    ret->verb = SETTLE_GIVE_BACK;
    if (!request->ack.is_done)
        return;
    ret->verb = SETTLE_COMPLETE; /* the broker has it no more: sent once more, unchanged */
    ret->completion.retry = buf_str(&request->bytes);
}

int settle_refused(const struct request *request,
                   struct str why,
                   usec_t now_wall,
                   struct settlement *ret)
{
    const struct broker_completion *completion = &ret->completion;
    bool can_do_less = ret->verb == SETTLE_COMPLETE && ret->end != END_GIVEN_BACK &&
                       ret->end != END_PARKED && !completion->dead &&
                       (follow_ups_has_some(&ret->follow_ups) || completion->retry.ptr);
    if (!can_do_less)
        return -EINVAL;
    begin(request, END_FAILED, ret);
    int r = store_failure_text(request, STR("OperationalError"), why, STR("kombu.exceptions"),
                               now_wall, ret);
    return finish(request, r, ret);
}

int settle_uncertain(const struct request *request, usec_t now_wall, struct settlement *ret)
{
    struct broker_completion *completion = &ret->completion;
    bool is_again = completion->retry.ptr != NULL;
    if (!is_again && follow_ups_unguarded(&ret->follow_ups) == 0)
        return 0;
    struct str why =
        is_again
            ? STR("The connection to Redis broke: it is not known whether the next attempt was "
                  "written, and it is not written again, since it must not run twice")
            : STR("The task ended well and the connection to Redis broke: it is not known "
                  "whether what it sent was written, and it is not written again");
    completion->is_uncertain = true;
    follow_ups_keep_guarded(&ret->follow_ups);
    completion->result_id = completion->result_document = STR_NONE;
    buf_clear(&ret->document);
    if (ret->end != END_IGNORED &&
        store_failure_text(request, STR("OperationalError"), why, STR("kombu.exceptions"), now_wall,
                           ret) == 0 &&
        !request_ignores_result(request)) {
        completion->result_id = request->envelope.id;
        completion->result_document = buf_str(&ret->document);
    }
    show_follow_ups(ret);
    if (!completion->result_id.ptr && !follow_ups_has_some(&ret->follow_ups))
        ret->verb = SETTLE_ACK; /* there is nobody to tell */
    return 1;
}
