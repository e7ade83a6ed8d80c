#include "worker/task_events.h"

#include "message/repr.h"
#include "message/result.h"

enum { EVENT_REPR_MAX = 1024 }; /* of a result or an exception, as Celery's */

void task_events_received(struct events *events, const struct request *request)
{
    const struct envelope *envelope = &request->envelope;
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

void task_events_started(struct events *events, const struct request *request)
{
    events_tell(events, &(struct event){.type = EVENT_TASK_STARTED, .uuid = request->envelope.id});
}

void task_events_keep(struct request *request, const struct frame_outcome *outcome)
{
    struct buf *document = &request->settlement.document;
    if (document->len > 0 || request->settlement.end != END_SUCCEEDED)
        return;
    const struct result result = {.status = STR("SUCCESS"),
                                  .result_json = outcome->result_json,
                                  .task_id = request->envelope.id};
    if (result_encode(document, &result) < 0)
        buf_clear(document);
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

static void tell_document(struct events *events, const struct request *request, struct event *event)
{
    struct buf text = BUF_INIT(4 * EVENT_REPR_MAX);
    struct result_view view;
    struct str document = buf_str(&request->settlement.document);
    bool is_there = document.len > 0 && result_decode(document, &view, NULL) == 0;
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
    else if (request->pid) /* monitors of Python's expect one of all that have run */
        event->traceback = event->exception;
    events_tell(events, event);
    if (is_there)
        result_view_deinit(&view);
    buf_deinit(&text);
}

static usec_t runtime_of(const struct request *request)
{
    usec_t started = request->job.started_mono;
    return request->pid && request->ended_mono > started ? request->ended_mono - started : 0;
}

void task_events_ended(struct events *events, const struct request *request)
{
    struct event event = {.uuid = request->envelope.id};
    if (!event.uuid.ptr)
        return; /* an unreadable message: monitors know events by the id */
    switch (request->settlement.end) {
    case END_SUCCEEDED:
        event.type = EVENT_TASK_SUCCEEDED;
        event.runtime = runtime_of(request);
        tell_document(events, request, &event);
        break;
    case END_FAILED:
    case END_BURIED:
        event.type = EVENT_TASK_FAILED;
        tell_document(events, request, &event);
        break;
    case END_RETRIED:
        event.type = EVENT_TASK_RETRIED;
        tell_document(events, request, &event);
        break;
    case END_EXPIRED:
    case END_REVOKED:
        event.type = EVENT_TASK_REVOKED;
        event.expired = request->settlement.end == END_EXPIRED;
        event.terminated = request->death.cause == DEATH_REVOKED && request->death.pid;
        event.signum = event.terminated ? request->death.term_signal : 0;
        events_tell(events, &event);
        break;
    case END_REDELIVERED:
        event.type = EVENT_TASK_REJECTED;
        event.requeue = true;
        events_tell(events, &event);
        break;
    case END_IGNORED:
    case END_SKIPPED:
    case END_PARKED:
    case END_GIVEN_BACK:
        break;
    }
}
