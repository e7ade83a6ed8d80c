#include "control/task_events.h"

#include "message/repr.h"
#include "message/result.h"

enum { EVENT_REPR_MAX = 1024 }; /* of a result or an exception, as Celery's */

void task_events_received(struct events *events, const struct envelope *envelope)
{
    char eta[ISOTIME_SIZE], expires[ISOTIME_SIZE];
    struct event event = {
        .type = EVENT_TASK_RECEIVED,
        .uuid = envelope->id,
        .name = envelope->task,
        .args = envelope->argsrepr.ptr ? envelope->argsrepr : STR(""),
        .kwargs = envelope->kwargsrepr.ptr ? envelope->kwargsrepr : STR(""),
        .root_id = envelope->root_id,
        .parent_id = envelope->parent_id,
        .retries = envelope->retries,
    };
    if (envelope->eta_wall)
        event.eta = isotime_format(envelope->eta_wall, eta);
    if (envelope->expires_wall)
        event.expires = isotime_format(envelope->expires_wall, expires);
    events_tell(events, &event);
}

void task_events_started(struct events *events, struct str id)
{
    events_tell(events, &(struct event){.type = EVENT_TASK_STARTED, .uuid = id});
}

/* --- the end ---------------------------------------------------------------------------------- */

/* "ValueError('boom')" */
static void add_exception(struct buf *buf, const struct result_view *view)
{
    const struct cel_value *exception = cel_value_get(view->document, "result");
    const struct cel_value *arguments = cel_value_get(exception, "exc_message");
    bool are_many = cel_value_type(arguments) == CEL_LIST;
    size_t count = are_many ? cel_value_count(arguments) : arguments != NULL;
    buf_add_str(buf, view->exc_type);
    buf_add_char(buf, '(');
    for (size_t i = 0; i < count && buf->len < EVENT_REPR_MAX; i++) {
        buf_add_c(buf, i ? ", " : "");
        repr_value(buf, are_many ? cel_value_at(arguments, i) : arguments, false,
                   EVENT_REPR_MAX - buf->len);
    }
    buf_add_char(buf, ')');
}

/* Result, exception and traceback of `event` from the document, then it is told. */
static void tell_document(struct events *events, const struct task_end *end, struct event *event)
{
    struct buf text = BUF_INIT(4 * EVENT_REPR_MAX);
    struct result_view view;
    bool is_there = end->document.len > 0 && result_decode(end->document, &view, NULL) == 0;
    if (is_there && event->type == EVENT_TASK_SUCCEEDED)
        repr_value(&text, view.value, false, EVENT_REPR_MAX);
    else if (is_there && view.exc_type.ptr)
        add_exception(&text, &view);
    else
        buf_add_c(&text, "None");
    if (event->type == EVENT_TASK_SUCCEEDED)
        event->result = buf_str(&text);
    else
        event->exception = buf_str(&text);
    if (is_there && view.traceback.ptr)
        event->traceback = view.traceback;
    else if (end->has_run) /* monitors expect one of all that have run */
        event->traceback = event->exception;
    events_tell(events, event);
    if (is_there)
        result_view_deinit(&view);
    buf_deinit(&text);
}

void task_events_ended(struct events *events, const struct task_end *end)
{
    struct event event = {
        .type = end->type,
        .uuid = end->id,
        .runtime = end->runtime,
        .requeue = end->requeue,
        .terminated = end->signum != 0,
        .signum = end->signum,
        .expired = end->expired,
    };
    if (!end->id.ptr)
        return;
    if (end->type == EVENT_TASK_REVOKED || end->type == EVENT_TASK_REJECTED)
        events_tell(events, &event);
    else
        tell_document(events, end, &event);
}
