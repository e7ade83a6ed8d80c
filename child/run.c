/*
 * The steps of a run. Each may end it with an outcome; none is skipped by accident, since each
 * returns whether to go on:
 *
 *   read_message -> find_task -> read_body -> bind -> begin -> call the function -> conclude
 *                                                                                      |
 *   OUTCOME written <- reset databases <- commit <- draft (result, sends, whole frame) <-+
 *
 * The return value of the function decides the kind; what was recorded (child/task.h) gives it an
 * exception. The frame is written only after the transaction is over, so a success that the
 * supervisor hears of is committed.
 */
#include "child/run.h"

#include <errno.h>
#include <stdio.h>

#include "child/follow.h"
#include "child/limits.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/process.h"
#include "message/result.h"

enum { TRACEBACK_MAX = 64 * 1024, CHILDREN_MAX = 32 * 1024 * 1024 };

/* What becomes of the run. */
struct ending {
    enum frame_outcome_kind kind;
    struct buf result;    /* JSON: the value or the exception object; empty: null */
    struct buf traceback; /* or empty */
    struct buf children;
    char detail[sizeof(((struct cel_error *)NULL)->text)];
    int64_t countdown_usec;
    bool conflict;
    struct plan_mark own;    /* of the task's own sends */
    struct cel_rows *done;   /* CEL_ONCE: what the call came to before; or NULL */
    struct str type, module; /* of the exception; they live as long as what was recorded */
};

static void ending_init(struct ending *ending)
{
    *ending = (struct ending){.result = BUF_INIT(VALUE_BYTES_MAX),
                              .traceback = BUF_INIT(TRACEBACK_MAX),
                              .children = BUF_INIT(CHILDREN_MAX),
                              .countdown_usec = -1};
}

static void ending_deinit(struct ending *ending)
{
    buf_deinit(&ending->result);
    buf_deinit(&ending->traceback);
    buf_deinit(&ending->children);
    cel_rows_free(ending->done);
}

static struct str text_or_none(const struct buf *buf)
{
    return buf->len > 0 && !buf_status(buf) ? buf_str(buf) : STR_NONE;
}

/* --- exceptions ------------------------------------------------------------------------------- */

struct exception {
    struct str module; /* absent: builtins, or ours */
    struct str type;
    struct str text;  /* its argument; absent: it has none */
    struct str args;  /* its arguments as JSON, when they are other than `text`; or absent */
    struct str shown; /* in the traceback, when it has no argument */
};

/* "shop.errors.CardDeclined" is a type of the module shop.errors. */
static struct exception exception_named(struct str type, struct str text)
{
    const char *dot = memrchr(type.ptr, '.', type.len);
    if (!dot || dot == type.ptr || dot + 1 == type.ptr + type.len)
        return (struct exception){.type = type, .text = text};
    size_t len = (size_t)(dot - type.ptr);
    return (struct exception){
        .module = str_n(type.ptr, len),
        .type = str_n(dot + 1, type.len - len - 1),
        .text = text,
    };
}

/* As Python ends a traceback: "module.Class: message", no module for its own classes. */
static void add_traceback(struct buf *buf, const struct cel_task *task, const struct exception *e)
{
    struct str module = e->module.ptr ? e->module : result_exception_module(e->type);
    buf_add_c(buf, "Traceback (most recent call last):\n");
    if (task->registered)
        buf_addf(buf, "  File \"%s\", in %s\n", task->registered->module->path,
                 task->registered->def->name);
    if (!str_equal(module, STR("builtins"))) {
        buf_add_str(buf, module);
        buf_add_char(buf, '.');
    }
    buf_add_str(buf, e->type);
    struct str shown = e->text.ptr ? e->text : e->shown;
    if (shown.len > 0)
        buf_add_c(buf, ": ");
    buf_add_str(buf, shown);
    buf_add_char(buf, '\n');
}

static void end_with(struct ending *ending,
                     enum frame_outcome_kind kind,
                     const struct cel_task *task,
                     const struct exception *e)
{
    ending->kind = kind;
    ending->type = e->type;
    ending->module = e->module;
    buf_clear(&ending->result);
    buf_clear(&ending->traceback);
    if (e->text.ptr && !e->args.ptr)
        result_add_exception_text(&ending->result, e->type, e->text, e->module);
    else
        result_add_exception(&ending->result, e->type, e->args, e->module);
    add_traceback(&ending->traceback, task, e);
}

static void fail(struct ending *ending,
                 const struct cel_task *task,
                 struct str module,
                 struct str type,
                 const char *text)
{
    struct exception e = {.module = module, .type = type, .text = str_of(text)};
    end_with(ending, OUTCOME_FAILURE, task, &e);
}

static void fail_memory(struct ending *ending, const struct cel_task *task)
{
    fail(ending, task, STR_NONE, STR("MemoryError"), "out of memory");
}

static void end_cancelled(struct ending *ending, const struct cel_task *task)
{
    struct exception e = {
        .module = STR("billiard.exceptions"),
        .type = STR("SoftTimeLimitExceeded"),
        .shown = STR("SoftTimeLimitExceeded()"),
    };
    end_with(ending, OUTCOME_FAILURE, task, &e);
}

/* A message that is none of ours to run: into the quarantine. */
static void refuse(struct ending *ending,
                   const struct cel_task *task,
                   struct str module,
                   struct str type,
                   const struct cel_error *err)
{
    struct exception e = {.module = module, .type = type, .text = str_of(err->text)};
    end_with(ending, OUTCOME_REFUSED, task, &e);
    buf_clear(&ending->traceback);
    memcpy(ending->detail, err->text, sizeof(ending->detail));
}

/* --- before the function ---------------------------------------------------------------------- */

static bool read_message(struct cel_task *task, const struct frame_run *run, struct ending *ending)
{
    struct cel_error err = {0};
    task->upgraded = BUF_INIT(ENVELOPE_BYTES_MAX);
    int r = envelope_decode_any(run->envelope, &task->upgraded, &task->envelope, &err);
    if (r)
        refuse(ending, task, STR("kombu.exceptions"), STR("DecodeError"), &err);
    task->bytes = task->upgraded.len > 0 ? buf_str(&task->upgraded) : run->envelope;
    return r == 0;
}

static bool find_task(struct cel_task *task, struct ending *ending)
{
    task->registered = modules_find(&task->child->modules, task->envelope.task);
    if (task->registered)
        return true;
    struct exception e = {.module = STR("celery.exceptions"),
                          .type = STR("NotRegistered"),
                          .text = task->envelope.task};
    end_with(ending, OUTCOME_FAILURE, task, &e);
    return false;
}

/* However it comes to its end, the supervisor must know whether somebody waits for that. */
static void tell_awaited(struct cel_task *task)
{
    if (!canvas_is_awaited(&task->envelope, task->body.embed, STR("FAILURE")))
        return;
    frame_add_awaited(&task->child->out, task->seq);
    if (child_flush(task->child))
        return; /* so it will be with the outcome */
}

/* Readers of Celery 5.3 and later say so by their headers; older ones know plain values alone. */
static bool reader_knows_types(const struct envelope *envelope)
{
    struct str headers = envelope->other_headers;
    return str_equal(envelope->lang, STR("py")) && headers.len > 0 &&
           memmem(headers.ptr, headers.len, "\"stamps\":", strlen("\"stamps\":"));
}

/* For documents with the arguments in them, which the supervisor writes. What has no form in JSON is
 * left out. */
static void tell_arguments(struct cel_task *task)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(2 * VALUE_BYTES_MAX);
    enum json_style style = reader_knows_types(&task->envelope) ? JSON_TYPED : JSON_PLAIN;
    if (!task->child->wants_arguments)
        return;
    buf_add_c(&json, "\"args\": ");
    int r = json_encode(&json, task->body.args, style);
    buf_add_c(&json, ", \"kwargs\": ");
    if (!r)
        r = json_encode(&json, task->body.kwargs, style);
    if (r || buf_status(&json))
        return;
    struct frame_progress arguments = {task->seq, STR_NONE, buf_str(&json)};
    frame_add_progress(&task->child->out, &arguments);
    if (child_flush(task->child))
        return; /* so it will be with the outcome */
}

static bool read_body(struct cel_task *task, struct ending *ending)
{
    struct cel_error err = {0};
    int r = body_decode(&task->envelope, &task->body, &err);
    if (r == -ENOMEM)
        fail_memory(ending, task);
    else if (r)
        refuse(ending, task, STR("kombu.exceptions"),
               r == CEL_E_REFUSED ? STR("ContentDisallowed") : STR("DecodeError"), &err);
    if (r == 0) {
        tell_awaited(task);
        tell_arguments(task);
    }
    return r == 0;
}

static bool bind(struct cel_task *task, struct ending *ending)
{
    const struct child_task *registered = task->registered;
    struct cel_error err = {0};
    if (!registered->params)
        return true;
    int r = params_bind(registered->params, registered->function, task->body.args,
                        task->body.kwargs, &task->bound, &err);
    if (r == PARAMS_E_TYPE)
        fail(ending, task, STR_NONE, STR("TypeError"), err.text);
    else if (r)
        fail_memory(ending, task);
    return r == 0;
}

/* --- after the function ----------------------------------------------------------------------- */

static void
end_recorded(struct ending *ending, const struct cel_task *task, enum frame_outcome_kind kind)
{
    const struct recorded *recorded = &task->recorded;
    struct exception e = exception_named(str_of(recorded->type), str_of(recorded->text));
    e.args = str_of(recorded->args_json);
    end_with(ending, kind, task, &e);
}

static void end_failed(struct ending *ending, const struct cel_task *task)
{
    bool cancelled = *task->child->cancel != PG_CANCEL_NONE;
    if (task->recorded.type)
        end_recorded(ending, task, OUTCOME_FAILURE);
    else if (task->recorded.text)
        fail(ending, task, STR_NONE, STR("RuntimeError"), task->recorded.text);
    else if (cancelled)
        end_cancelled(ending, task);
    else
        fail(ending, task, STR_NONE, STR("RuntimeError"),
             "the task returned CEL_FAIL without cel_fail()");
}

/* "Busy" is that type of any module, "shop.errors.Busy" that one, "Exception" is all. */
static bool is_named(const struct ending *ending, struct str name)
{
    struct exception wanted = exception_named(name, STR_NONE);
    if (str_equal(name, STR("Exception")))
        return true;
    return str_equal(wanted.type, ending->type) &&
           (!wanted.module.ptr || str_equal(wanted.module, ending->module));
}

/* .autoretry_for: the failure is the reason of a retry, after the task's own delay. */
static void autoretry(struct ending *ending, const struct cel_task *task)
{
    struct str rest = str_of(task->registered->def->autoretry_for), name;
    while (ending->kind == OUTCOME_FAILURE && str_split(&rest, ',', &name)) {
        if (is_named(ending, str_trim(name)))
            ending->kind = OUTCOME_RETRY;
    }
}

static void end_rejected(struct ending *ending, const struct cel_task *task)
{
    const struct recorded *recorded = &task->recorded;
    bool is_said = recorded->kind == RECORDED_REJECT;
    ending->kind = is_said && recorded->requeue ? OUTCOME_REQUEUED : OUTCOME_REJECTED;
    if (is_said && recorded->text)
        snprintf(ending->detail, sizeof(ending->detail), "%s", recorded->text);
}

/* A reason without a type is Celery's own exception; without a reason there is none. The last retry
 * that is asked for in vain becomes the failure, so it has the name that Celery gives to that. */
static void end_retry(struct ending *ending, const struct cel_task *task)
{
    const struct recorded *recorded = &task->recorded;
    int64_t most = task->registered->rules.max_retries;
    bool used_up = most >= 0 && task->envelope.retries >= most;
    buf_clear(&ending->result);
    if (recorded->type) {
        end_recorded(ending, task, OUTCOME_RETRY);
    } else if (recorded->text) {
        struct exception e = {
            .module = STR("celery.exceptions"),
            .type = used_up ? STR("MaxRetriesExceededError") : STR("Retry"),
            .text = str_of(recorded->text),
        };
        end_with(ending, OUTCOME_RETRY, task, &e);
    }
    ending->kind = OUTCOME_RETRY;
    ending->countdown_usec =
        recorded->kind == RECORDED_RETRY ? recorded->countdown_usec : (int64_t)-1;
    ending->conflict = recorded->conflict;
}

static int encode_result(struct ending *ending, const struct cel_task *task)
{
    enum json_style style = reader_knows_types(&task->envelope) ? JSON_TYPED : JSON_PLAIN;
    buf_clear(&ending->result);
    int r = json_encode(&ending->result, task->result, style);
    if (r == CEL_E_FORMAT && !str_equal(task->envelope.lang, STR("py"))) {
        buf_clear(&ending->result); /* bytes have no plain form, and this is no old Celery */
        r = json_encode(&ending->result, task->result, JSON_TYPED);
    }
    return r;
}

static void conclude_result(struct ending *ending, const struct cel_task *task)
{
    int r = task->result ? encode_result(ending, task) : 0;
    ending->kind = OUTCOME_SUCCESS;
    if (r)
        fail(ending, task, STR("kombu.exceptions"), STR("EncodeError"),
             r == CEL_E_LIMIT    ? "the result is larger than 16 MiB of JSON or nested too deeply"
             : r == CEL_E_FORMAT ? "the result holds bytes, which JSON has no form for"
                                 : "the result cannot be encoded: out of memory");
}

/* The kind of outcome that the function's return value asks for. */
static void conclude(struct ending *ending, struct cel_task *task, int returned)
{
    bool cancelled = task->recorded.kind == RECORDED_CANCELLED;
    if (returned == CEL_CANCELLED ||
        ((returned == CEL_FAIL || returned == CEL_RETRY) && cancelled)) {
        end_cancelled(ending, task);
        autoretry(ending, task);
        return;
    }
    switch (returned) {
    case CEL_OK:
        conclude_result(ending, task);
        return;
    case CEL_FAIL:
        end_failed(ending, task);
        autoretry(ending, task);
        return;
    case CEL_REJECT:
        end_rejected(ending, task);
        return;
    case CEL_RETRY:
        end_retry(ending, task);
        return;
    case CEL_IGNORE:
        ending->kind = OUTCOME_IGNORE;
        return;
    case CEL_REPLACED:
        if (task->is_replaced) {
            ending->kind = OUTCOME_IGNORE;
            return;
        }
        break;
    default:
        break;
    }
    char text[80];
    snprintf(text, sizeof(text), "the task returned %d, which is none of enum cel_outcome",
             returned);
    fail(ending, task, STR_NONE, STR("RuntimeError"), text);
}

/* The call was done before, and was delivered again: it comes to the same. */
static void conclude_done_before(struct ending *ending)
{
    ending->kind = OUTCOME_SUCCESS;
    buf_add_str(&ending->result, effect_result(ending->done));
}

/* [[queue, step, message], ...] */
static void add_sends(struct buf *json, const struct plan *plan)
{
    buf_add_char(json, '[');
    for (size_t i = 0; i < plan->message_count; i++) {
        const struct cel_message *message = &plan->messages[i];
        buf_add_c(json, i ? ", [" : "[");
        json_add_text(json, str_of(message->queue));
        buf_addf(json, ", %d, ", message->step);
        json_add_text(json, str_of(message->text));
        buf_add_char(json, ']');
    }
    buf_add_char(json, ']');
}

/* [[group, size, growth, saved], ...] */
static void add_chords(struct buf *json, const struct plan *plan)
{
    buf_add_char(json, '[');
    for (size_t i = 0; i < plan->chord_count; i++) {
        const struct plan_chord *chord = &plan->chords[i];
        buf_add_c(json, i ? ", [" : "[");
        json_add_text(json, chord->group);
        buf_addf(json, ", %llu, %llu, ", (unsigned long long)chord->size,
                 (unsigned long long)chord->growth);
        json_add_text_or_null(json, chord->saved);
        buf_add_char(json, ']');
    }
    buf_add_char(json, ']');
}

static int commit(struct ending *ending, struct cel_task *task)
{
    if (task_target(task)->def->transaction != CEL_ONCE)
        return databases_commit(task, NULL);
    CLEANUP(buf_deinit) struct buf sends = BUF_INIT(SIZE_MAX / 2);
    CLEANUP(buf_deinit) struct buf chords = BUF_INIT(SIZE_MAX / 2);
    add_sends(&sends, &task->plan);
    add_chords(&chords, &task->plan);
    if (buf_status(&sends) || buf_status(&chords))
        return task_record(task, BY_DATABASE, RECORDED_FAIL, "MemoryError", "out of memory");
    const struct effect effect = {.id = task->envelope.id,
                                  .task = task->envelope.task,
                                  .result_json = text_or_none(&ending->result),
                                  .children_json = text_or_none(&ending->children),
                                  .sends_json = buf_str(&sends),
                                  .chords_json = buf_str(&chords)};
    return databases_commit(task, &effect);
}

/* Ends the transactions: the one around the task, and those that it left open. */
static void conclude_databases(struct ending *ending, struct cel_task *task)
{
    bool is_done = ending->kind == OUTCOME_SUCCESS || ending->kind == OUTCOME_IGNORE;
    bool stands =
        ending->kind == OUTCOME_SUCCESS || (ending->kind == OUTCOME_IGNORE && task->is_replaced);
    const char *left_open = databases_left_open(task);
    if (left_open && is_done) {
        char text[256];
        snprintf(text, sizeof(text),
                 "the task left a transaction open on database \"%s\"; it was rolled back",
                 left_open);
        fail(ending, task, STR_NONE, STR("RuntimeError"), text);
    } else if (task_is_wrapped(task) && stands && !ending->done) {
        task_forget_caught(task);
        int r = commit(ending, task);
        if (r)
            conclude(ending, task, r);
    }
    databases_reset(task);
}

/* --- the frame -------------------------------------------------------------------------------- */

static int plan_chords_before(const struct ending *ending, struct plan *plan)
{
    struct cel_value *chords = NULL;
    int r = json_decode(effect_chords(ending->done), &chords, NULL);
    for (size_t i = 0; !r && i < cel_value_count(chords); i++) {
        const struct cel_value *row = cel_value_at(chords, i);
        const struct plan_chord chord = {
            .group = value_str(cel_value_at(row, 0)),
            .size = (uint64_t)cel_value_int(cel_value_at(row, 1), 0),
            .growth = (uint64_t)cel_value_int(cel_value_at(row, 2), 0),
            .saved = value_str(cel_value_at(row, 3)),
        };
        r = plan_add_chord(plan, &chord, NULL);
    }
    cel_value_free(chords);
    return r;
}

/* What it sent when it was done, which stands with its answer. */
static int plan_sends_before(const struct ending *ending, struct plan *plan)
{
    struct str children = effect_children(ending->done);
    if (children.len > 2) /* without its brackets */
        buf_add(&plan->children, children.ptr + 1, children.len - 2);
    for (size_t i = 0; i < effect_send_count(ending->done); i++) {
        struct effect_send send = effect_send(ending->done, i);
        struct cel_message message = {
            .queue = str_dup(send.queue), .text = str_dup(send.message), .step = (int)send.step};
        int r = message.queue && message.text ? plan_add_message(plan, &message, NULL) : -ENOMEM;
        if (r) {
            cel_message_free(&message);
            return r;
        }
    }
    return buf_status(&plan->children);
}

/* What follows the success by the message: links, the next of its chain, its part in a chord. */
static int plan_success(struct ending *ending, struct cel_task *task, struct cel_error *err)
{
    const struct canvas_sender sender = child_sender(task->child);
    const struct ended ended = {.envelope = &task->envelope,
                                .embed = task->body.embed,
                                .state = STR("SUCCESS"),
                                .result_json = text_or_none(&ending->result)};
    int r = canvas_follow(&ended, &sender, &task->plan, err);
    if (r || !ending->done)
        return r;
    struct plan_mark nothing = {.parts = task->plan.part_count};
    plan_rewind(&task->plan, nothing); /* messages and chords were made when it was done */
    r = plan_chords_before(ending, &task->plan);
    return r ? r : plan_sends_before(ending, &task->plan);
}

/* The calls that go with the outcome. */
static int plan_outcome(struct ending *ending, struct cel_task *task, struct cel_error *err)
{
    plan_rewind(&task->plan, ending->own);
    if (ending->kind == OUTCOME_SUCCESS)
        return plan_success(ending, task, err);
    bool stands = ending->kind == OUTCOME_IGNORE && (task->is_replaced || !task_is_wrapped(task));
    if (!stands)
        plan_rewind(&task->plan, (struct plan_mark){.messages = 0});
    return 0;
}

static int add_outcome(const struct ending *ending, const struct cel_task *task)
{
    struct frame_outcome outcome = {
        .seq = task->seq,
        .kind = ending->kind,
        .result_json = text_or_none(&ending->result),
        .traceback = text_or_none(&ending->traceback),
        .countdown_usec = ending->countdown_usec,
        .conflict = ending->conflict,
        .detail = ending->detail[0] ? str_of(ending->detail) : STR_NONE,
        .children_json = text_or_none(&ending->children),
        .peak_rss = task->child->wants_peak_rss ? process_peak_rss() : 0,
    };
    return child_add_outcome(task->child, &outcome, &task->plan);
}

static int add_all(struct ending *ending, struct cel_task *task, struct cel_error *err)
{
    int r = plan_outcome(ending, task, err);
    if (!r && task->plan.children.len > 0) {
        buf_add_char(&ending->children, '[');
        buf_add_str(&ending->children, buf_str(&task->plan.children));
        buf_add_char(&ending->children, ']');
    }
    if (!r)
        r = buf_status(&ending->children);
    if (!r)
        r = buf_status(&ending->result);
    return r ? r : add_outcome(ending, task);
}

/* The whole frame. What lacks memory or room shows here, while the transaction is still open; the
 * frame of a failure is small. */
static void draft(struct ending *ending, struct cel_task *task)
{
    struct cel_error err = {0};
    buf_clear(&task->child->out);
    buf_clear(&ending->children);
    int r = add_all(ending, task, &err);
    if (!r)
        return;
    buf_clear(&task->child->out);
    buf_clear(&ending->children);
    plan_rewind(&task->plan, (struct plan_mark){.messages = 0});
    if (r == -ENOMEM)
        fail_memory(ending, task);
    else if (err.text[0])
        fail(ending, task, STR_NONE, STR("ValueError"), err.text);
    else
        fail(ending, task, STR_NONE, STR("ValueError"), "the outcome and its calls are too large");
    add_outcome(ending, task); /* what lacks memory now, too, is seen at the flush */
}

/* --- the run ------------------------------------------------------------------------------ */

static int run_limited(struct cel_task *task)
{
    const struct cel_task_def *def = task->registered->def;
    int r = limits_set(task->child, def, task->seq);
    if (r < 0)
        return cel_failf(task, "OSError", "the limits of the run cannot be set: %s",
                         cel_error_name(r));
    int returned = def->run(task);
    limits_lift(task->child);
    return returned;
}

/* Calls the function, unless its transaction cannot begin, or was committed by a run before. */
static void call_function(struct cel_task *task, struct ending *ending)
{
    int r = task_is_wrapped(task) ? databases_begin(task, &ending->done) : 0;
    if (ending->done)
        conclude_done_before(ending);
    else
        conclude(ending, task, r ? r : run_limited(task));
}

static void run_function(struct cel_task *task, struct ending *ending)
{
    call_function(task, ending);
    ending->own = plan_mark(&task->plan);
    draft(ending, task);
    enum frame_outcome_kind drafted = ending->kind;
    conclude_databases(ending, task);
    if (ending->kind != drafted)
        draft(ending, task);
}

/* The signal of the call before may have come after its end. */
static void forget_cancel(struct child *child)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, PG_CANCEL_SIGNAL);
    while (sigtimedwait(&signals, NULL, &(struct timespec){0}) == PG_CANCEL_SIGNAL) {
    }
    *child->cancel = PG_CANCEL_NONE;
}

static usec_t end_of(usec_t limit)
{
    return limit ? clock_mono() + limit : USEC_NEVER;
}

int child_run(struct child *child, const struct frame_run *run)
{
    struct cel_task task = {.child = child,
                            .plan = PLAN_INIT,
                            .seq = run->seq,
                            .soft_mono = end_of(run->soft_limit),
                            .hard_mono = end_of(run->hard_limit)};
    struct ending ending;
    ending_init(&ending);
    forget_cancel(child);
    if (read_message(&task, run, &ending) && find_task(&task, &ending) &&
        read_body(&task, &ending) && bind(&task, &ending))
        run_function(&task, &ending);
    else
        draft(&ending, &task);
    int r = child_flush(child);
    ending_deinit(&ending);
    task_deinit(&task);
    return r;
}
