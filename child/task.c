/*
 * What a task function may call while it runs: outcome, progress, time, log, request.
 *
 * The signal of the soft limit is blocked while code of the task runs, so no system call of a task
 * is interrupted that does not expect it; it is let through by the waits (cel_sleep_ms, the
 * database) and taken by cel_cancelled(). The first of them that sees it tells the task, once:
 * cleaning up may sleep and use the database.
 */
#include "child/task.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "message/result.h"

#define LONGEST_MS (INT64_C(3650) * 24 * 3600 * 1000) /* of any delay */
enum { LOG_TEXT_MAX = 4096, REASON_MAX = 4096, STATE_MAX = 50 };

/* --- recording -------------------------------------------------------------------------------- */

static int code_of(enum recorded_kind kind)
{
    switch (kind) {
    case RECORDED_RETRY:
        return CEL_RETRY;
    case RECORDED_CANCELLED:
        return CEL_CANCELLED;
    case RECORDED_REJECT:
        return CEL_REJECT;
    case RECORDED_NOTHING:
    case RECORDED_FAIL:
        break;
    }
    return CEL_FAIL;
}

int task_recorded_code(const struct cel_task *task)
{
    return code_of(task->recorded.kind);
}

void task_recorded_deinit(struct cel_task *task)
{
    mem_free(task->recorded.type);
    mem_free(task->recorded.text);
    mem_free(task->recorded.args_json);
    task->recorded = (struct recorded){0};
}

int task_record(struct cel_task *task,
                enum recorded_by by,
                enum recorded_kind kind,
                const char *type,
                const char *text)
{
    const struct recorded *old = &task->recorded;
    bool stands = old->by == BY_AUTHOR || old->kind == RECORDED_CANCELLED;
    if (by != BY_AUTHOR && stands)
        return code_of(kind);
    struct recorded fresh = {
        .kind = kind,
        .by = by,
        .type = type ? str_dup(str_of(type)) : NULL,
        .text = text ? str_dup(str_of(text)) : NULL,
        .countdown_usec = -1,
    };
    task_recorded_deinit(task);
    task->recorded = fresh;
    return code_of(kind);
}

static int record_text(struct cel_task *task,
                       enum recorded_by by,
                       enum recorded_kind kind,
                       const char *type,
                       const char *format,
                       va_list args)
{
    char text[REASON_MAX];
    int len = vsnprintf(text, sizeof(text), format, args);
    return task_record(task, by, kind, type, len < 0 ? format : text);
}

int task_recordf(struct cel_task *task,
                 enum recorded_by by,
                 enum recorded_kind kind,
                 const char *type,
                 const char *format,
                 ...)
{
    va_list args;
    va_start(args, format);
    int r = record_text(task, by, kind, type, format, args);
    va_end(args);
    return r;
}

void task_forget_caught(struct cel_task *task)
{
    const struct recorded *recorded = &task->recorded;
    if (recorded->by != BY_DATABASE || recorded->kind == RECORDED_CANCELLED)
        task_recorded_deinit(task);
}

void task_forget_database_error(struct cel_task *task)
{
    const struct recorded *recorded = &task->recorded;
    if (recorded->by == BY_DATABASE && recorded->kind != RECORDED_CANCELLED)
        task_recorded_deinit(task);
}

/* --- outcome ---------------------------------------------------------------------------------- */

static int no_memory(struct cel_task *task)
{
    return task_record(task, BY_AUTHOR, RECORDED_FAIL, "MemoryError", "out of memory");
}

int cel_return(struct cel_task *task, struct cel_value *value)
{
    if (!value)
        return no_memory(task);
    cel_value_free(task->result);
    task->result = value;
    return CEL_OK;
}

static int set_countdown(struct cel_task *task, int64_t countdown_ms)
{
    if (countdown_ms > LONGEST_MS)
        countdown_ms = LONGEST_MS;
    task->recorded.countdown_usec = countdown_ms < 0 ? -1 : countdown_ms * (int64_t)USEC_PER_MSEC;
    return CEL_RETRY;
}

/* Without a reason, an exception that was recorded before stays the reason. */
int cel_retry(struct cel_task *task, int64_t countdown_ms, const char *reason)
{
    struct recorded *recorded = &task->recorded;
    bool keeps = !reason && recorded->type && recorded->kind != RECORDED_CANCELLED;
    if (keeps) {
        recorded->kind = RECORDED_RETRY;
        recorded->by = BY_AUTHOR;
    } else {
        task_record(task, BY_AUTHOR, RECORDED_RETRY, NULL, reason);
    }
    return set_countdown(task, countdown_ms);
}

int cel_retryf(struct cel_task *task, int64_t countdown_ms, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record_text(task, BY_AUTHOR, RECORDED_RETRY, NULL, format, args);
    va_end(args);
    return set_countdown(task, countdown_ms);
}

int cel_fail(struct cel_task *task, const char *type, const char *text)
{
    return task_record(task, BY_AUTHOR, RECORDED_FAIL, type ? type : "Exception", text ? text : "");
}

/* JSON may have no form for the arguments: then their text stands for them. */
int cel_fail_args(struct cel_task *task, const char *type, struct cel_value *args)
{
    if (!args)
        return no_memory(task);
    if (cel_value_type(args) != CEL_LIST) {
        cel_value_free(args);
        return cel_fail(task, "TypeError", "cel_fail_args: the arguments are no list");
    }
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(VALUE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(VALUE_BYTES_MAX);
    result_add_shown(&text, type ? str_of(type) : STR_NONE, args);
    buf_add_char(&text, '\0');
    int r = json_encode(&json, args, JSON_PLAIN);
    cel_value_free(args);
    if (buf_status(&text) == -ENOMEM || r == -ENOMEM)
        return no_memory(task);
    int outcome = cel_fail(task, type, buf_status(&text) ? NULL : text.ptr);
    if (!r)
        task->recorded.args_json = str_dup(buf_str(&json));
    return outcome;
}

int cel_failf(struct cel_task *task, const char *type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = record_text(task, BY_AUTHOR, RECORDED_FAIL, type ? type : "Exception", format, args);
    va_end(args);
    return r;
}

int cel_reject(struct cel_task *task, const char *reason, bool requeue)
{
    int r = task_record(task, BY_AUTHOR, RECORDED_REJECT, NULL, reason);
    task->recorded.requeue = requeue;
    return r;
}

/* --- progress and log ------------------------------------------------------------------------- */

/* A reader would take the task for ended, or its meta for an exception; and a name has its room in
 * Django's table. */
static bool is_free_state(struct str state)
{
    static const char *const taken[] = {"SUCCESS", "FAILURE", "REVOKED", "RETRY", "PENDING"};
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        if (str_equal(state, str_of(taken[i])))
            return false;
    }
    return state.len > 0 && state.len <= STATE_MAX && str_is_utf8(state);
}

int cel_state(struct cel_task *task, const char *state, struct cel_value *meta)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(VALUE_BYTES_MAX);
    if (!meta)
        return -ENOMEM;
    int r = is_free_state(str_of(state)) ? json_encode(&json, meta, JSON_PLAIN) : -EINVAL;
    cel_value_free(meta);
    if (r)
        return r;
    struct frame_progress progress = {task->seq, str_of(state), buf_str(&json)};
    frame_add_progress(&task->child->out, &progress);
    return child_flush(task->child);
}

int cel_progress(struct cel_task *task, struct cel_value *meta)
{
    return cel_state(task, "PROGRESS", meta);
}

void cel_log(struct cel_task *task, enum cel_log_level level, const char *format, ...)
{
    static const enum log_level levels[] = {
        [CEL_LOG_DEBUG] = LOG_LEVEL_DEBUG,
        [CEL_LOG_INFO] = LOG_LEVEL_INFO,
        [CEL_LOG_WARNING] = LOG_LEVEL_WARNING,
        [CEL_LOG_ERROR] = LOG_LEVEL_ERROR,
    };
    enum log_level own = (size_t)level < ARRAY_SIZE(levels) ? levels[level] : LOG_LEVEL_ERROR;
    if (!log_enabled(own))
        return;
    char text[LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    const struct log_field fields[] = {
        F_C("text", len < 0 ? format : text),
        F_STR("task", task->envelope.task),
        F_STR("task_id", task->envelope.id),
        {.name = NULL},
    };
    log_record(own, "Task says", fields);
}

/* --- the soft limit --------------------------------------------------------------------------- */

static int tell_cancelled(struct cel_task *task)
{
    *task->child->cancel = PG_CANCEL_TOLD;
    return task_record(task, BY_HELPER, RECORDED_CANCELLED, NULL, NULL);
}

bool cel_cancelled(const struct cel_task *task)
{
    volatile sig_atomic_t *cancel = task->child->cancel;
    if (*cancel == PG_CANCEL_NONE) {
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, PG_CANCEL_SIGNAL);
        if (sigtimedwait(&signals, NULL, &(struct timespec){0}) != PG_CANCEL_SIGNAL)
            return false;
    }
    *cancel = PG_CANCEL_TOLD;
    return true;
}

int cel_sleep_ms(struct cel_task *task, int64_t ms)
{
    usec_t now = clock_mono();
    ms = ms < 0 ? 0 : ms > LONGEST_MS ? LONGEST_MS : ms;
    usec_t end = now + (usec_t)ms * USEC_PER_MSEC;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    sigdelset(&mask, PG_CANCEL_SIGNAL);
    for (;; now = clock_mono()) {
        if (*task->child->cancel == PG_CANCEL_WANTED)
            return tell_cancelled(task);
        if (now >= end)
            return 0;
        struct timespec left = {(time_t)((end - now) / USEC_PER_SEC),
                                (long)((end - now) % USEC_PER_SEC * 1000)};
        ppoll(NULL, 0, &left, &mask);
    }
}

/* --- request ---------------------------------------------------------------------------------- */

const char *task_keep_text(struct cel_task *task, struct str text)
{
    if (!text.ptr)
        return NULL;
    char **texts = mem_grow(task->texts, task->text_count + 1, sizeof(*texts));
    if (!texts)
        return NULL;
    task->texts = texts;
    char *copy = str_dup(text);
    if (copy)
        texts[task->text_count++] = copy;
    return copy;
}

const struct cel_request *cel_request(struct cel_task *task)
{
    const struct envelope *envelope = &task->envelope;
    struct cel_request *request = &task->request;
    if (request->id)
        return request;
    *request = (struct cel_request){
        .id = task_keep_text(task, envelope->id),
        .name = task_keep_text(task, envelope->task),
        .root_id = task_keep_text(task, envelope->root_id),
        .parent_id = task_keep_text(task, envelope->parent_id),
        .group_id = task_keep_text(task, envelope->group),
        .queue = task_keep_text(task, envelope->routing_key.ptr ? envelope->routing_key : STR("")),
        .hostname = task_keep_text(task, task->child->node),
        .retries = envelope->retries,
        .eta_ms = (int64_t)(envelope->eta_wall / USEC_PER_MSEC),
        .expires_ms = (int64_t)(envelope->expires_wall / USEC_PER_MSEC),
        .priority = (int)(envelope->priority < 0   ? 0
                          : envelope->priority > 9 ? 9
                                                   : envelope->priority),
        .redelivered = envelope->redelivered,
    };
    return request;
}

const struct cel_value *cel_header(struct cel_task *task, const char *name)
{
    if (!task->headers) {
        CLEANUP(buf_deinit) struct buf json = BUF_INIT(ENVELOPE_BYTES_MAX);
        buf_add_char(&json, '{');
        buf_add_str(&json, task->envelope.other_headers);
        buf_add_char(&json, '}');
        if (buf_status(&json) || json_decode(buf_str(&json), &task->headers, NULL))
            return NULL;
    }
    return cel_value_get(task->headers, name);
}

static const struct cel_value *part_of_message(struct cel_task *task, const char *part)
{
    if (!task->message && json_decode(task->bytes, &task->message, NULL))
        return NULL;
    return cel_value_get(task->message, part);
}

const struct cel_value *cel_headers(struct cel_task *task)
{
    return part_of_message(task, "headers");
}

const struct cel_value *cel_properties(struct cel_task *task)
{
    return part_of_message(task, "properties");
}

const char *cel_setting(struct cel_task *task, const char *name)
{
    return module_setting(task->registered->module, name);
}

/* --- end -------------------------------------------------------------------------------------- */

void task_deinit(struct cel_task *task)
{
    task_recorded_deinit(task);
    plan_deinit(&task->plan);
    params_bound_deinit(&task->bound);
    cel_value_free(task->result);
    cel_value_free(task->headers);
    cel_value_free(task->message);
    for (size_t i = 0; i < task->text_count; i++)
        mem_free(task->texts[i]);
    mem_free(task->texts);
    body_deinit(&task->body);
    envelope_deinit(&task->envelope);
    buf_deinit(&task->upgraded);
}
