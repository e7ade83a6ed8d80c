/*
 * An end that the supervisor decided (a death, a time limit, retries used up) is told here, since only
 * this side reads bodies; and so is a chord that is complete. Errbacks that take more than the id of
 * the failed call are called here, as Celery does: errback(request, exception, traceback).
 */
#include "child/follow.h"

#include <errno.h>

#include "canvas/join.h"
#include "canvas/signature.h"
#include "core/id.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"

/* --- errbacks that are called here ------------------------------------------------------------------ */

static struct cel_value *text_or_null(struct str text)
{
    return text.ptr ? value_text(text) : cel_null();
}

static struct cel_value *request_of(const struct canvas_failure *failure)
{
    struct cel_value *request = cel_map();
    cel_map_set(request, "id", text_or_null(failure->id));
    cel_map_set(request, "task", text_or_null(failure->task));
    cel_map_set(request, "root_id", text_or_null(failure->root_id));
    cel_map_set(request, "parent_id", text_or_null(failure->parent_id));
    return request;
}

/* (request, exception, traceback), then its own arguments; an immutable one has these alone. NULL when
 * memory is short. */
static struct cel_value *arguments_of(const struct cel_value *signature,
                                      const struct canvas_failure *failure)
{
    const struct cel_value *own = signature_args(signature);
    struct cel_value *args = cel_list(), *exception = NULL;
    int r = args ? 0 : -ENOMEM;
    if (!r && !signature_is_immutable(signature)) {
        if (json_decode(failure->exception_json, &exception, NULL) < 0)
            exception = cel_null();
        r = cel_list_add(args, request_of(failure));
        r = cel_list_add(args, exception) < 0 ? -ENOMEM : r;
        r = cel_list_add(args, text_or_null(failure->traceback)) < 0 ? -ENOMEM : r;
    }
    for (size_t i = 0; !r && i < cel_value_count(own); i++)
        r = cel_list_add(args, cel_value_dup(cel_value_at(own, i)));
    return r ? cel_value_free(args) : args;
}

static struct cel_value *keyword_arguments_of(const struct cel_value *signature)
{
    const struct cel_value *own = signature_kwargs(signature);
    return cel_value_type(own) == CEL_MAP ? cel_value_dup(own) : cel_map();
}

/* Its return value does not matter to anybody; that it failed is told in the log. */
static void run_errback(struct cel_task *task)
{
    struct cel_rows *done = NULL;
    struct cel_error err = {0};
    int r = params_bind(task->registered->params, task->registered->function, task->body.args,
                        task->body.kwargs, &task->bound, &err);
    if (!r && task_is_wrapped(task))
        r = databases_begin(task, &done);
    if (!r)
        r = task->registered->def->run(task);
    if (!r && task_is_wrapped(task))
        r = databases_commit(task, NULL);
    cel_rows_free(done);
    databases_reset(task);
    if (r)
        log_error("An errback failed", F_STR("task", task->envelope.task),
                  F_C("err", task->recorded.text ? task->recorded.text : err.text));
}

static void call_errback(struct child *child,
                         const struct child_task *registered,
                         const struct cel_value *signature,
                         const struct canvas_failure *failure)
{
    char id[UUID_SIZE];
    struct cel_task task = {
        .child = child,
        .registered = registered,
        .soft_mono = USEC_NEVER,
        .hard_mono = USEC_NEVER,
        .plan = PLAN_INIT,
        .envelope = {.task = str_of(registered->def->name),
                     .id = uuid_new(id),
                     .root_id = failure->root_id,
                     .parent_id = failure->id},
        .body = {.args = arguments_of(signature, failure),
                 .kwargs = keyword_arguments_of(signature)},
    };
    if (task.body.args && task.body.kwargs)
        run_errback(&task);
    if (task.plan.message_count > 0)
        log_warning("An errback that is called by the worker cannot send calls; they are dropped",
                    F_STR("task", task.envelope.task));
    task.envelope = (struct envelope){.task = STR_NONE}; /* nothing of it is its own */
    task_deinit(&task);
}

/* Celery asks how many arguments the function takes. */
static bool
errback(void *data, const struct cel_value *signature, const struct canvas_failure *failure)
{
    struct child *child = data;
    const struct child_task *registered = modules_find(&child->modules, signature_task(signature));
    if (!registered || !registered->params || registered->params->positional < 2)
        return false;
    call_errback(child, registered, signature, failure);
    return true;
}

static struct str queue_of(void *data, struct str task)
{
    return child_queue_of(data, task);
}

struct canvas_sender child_sender(struct child *child)
{
    return (struct canvas_sender){.origin = child->node,
                                  .default_queue = str_of(child->modules.default_queue),
                                  .now_wall = clock_wall(),
                                  .queue_of = queue_of,
                                  .errback = errback,
                                  .data = child};
}

/* --- the frame ---------------------------------------------------------------------------------------- */

int child_add_outcome(struct child *child, struct frame_outcome *outcome, const struct plan *plan)
{
    struct frame_send *sends = mem_array(plan->message_count + 1, sizeof(*sends));
    if (!sends)
        return -ENOMEM;
    for (size_t i = 0; i < plan->message_count; i++) {
        const struct cel_message *message = &plan->messages[i];
        sends[i] =
            (struct frame_send){str_of(message->queue), str_of(message->text), message->step};
    }
    outcome->sends = sends;
    outcome->send_count = plan->message_count;
    outcome->results = (struct plan_results){.documents = plan->documents,
                                             .parts = plan->parts,
                                             .chords = plan->chords,
                                             .closed = plan->closed,
                                             .document_count = plan->document_count,
                                             .part_count = plan->part_count,
                                             .chord_count = plan->chord_count,
                                             .closed_count = plan->closed_count};
    frame_add_outcome(&child->out, outcome);
    mem_free(sends);
    return buf_status(&child->out);
}

static int plan_follow(struct child *child,
                       const struct frame_follow *follow,
                       const struct envelope *envelope,
                       struct plan *plan,
                       struct cel_error *err)
{
    struct body body;
    const struct canvas_sender sender = child_sender(child);
    int r = body_decode(envelope, &body, err);
    if (r)
        return r;
    const struct ended ended = {.envelope = envelope,
                                .embed = body.embed,
                                .state = follow->state,
                                .result_json = follow->result_json,
                                .traceback = follow->traceback};
    if (follow->joined_count > 0)
        r = canvas_join(&ended, follow->joined, follow->joined_count, &sender, plan, err);
    else
        r = canvas_follow(&ended, &sender, plan, err);
    body_deinit(&body);
    return r;
}

int child_follow(struct child *child, const struct frame_follow *follow)
{
    struct envelope envelope;
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    struct buf upgraded = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct frame_outcome outcome = {.seq = follow->seq, .kind = OUTCOME_FOLLOWS};
    int r = envelope_decode_any(follow->envelope, &upgraded, &envelope, &err);
    if (!r) {
        r = plan_follow(child, follow, &envelope, &plan, &err);
        envelope_deinit(&envelope);
    }
    if (!r)
        r = child_add_outcome(child, &outcome, &plan);
    if (r) {
        buf_clear(&child->out);
        outcome = (struct frame_outcome){.seq = follow->seq,
                                         .kind = OUTCOME_FOLLOWS,
                                         .detail = err.text[0] ? str_of(err.text)
                                                               : STR("it is too large")};
        frame_add_outcome(&child->out, &outcome);
    }
    plan_deinit(&plan);
    buf_deinit(&upgraded);
    return child_flush(child);
}
