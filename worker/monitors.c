#include "worker/monitors.h"

#include "control/task_events.h"
#include "message/result.h"

/* The event of an end; false: there is none. */
static bool event_of(enum request_end end, enum event_type *ret_type)
{
    static const struct {
        bool is_told;
        enum event_type type;
    } told[REQUEST_ENDS] = {
        [END_SUCCEEDED] = {true, EVENT_TASK_SUCCEEDED},
        [END_FAILED] = {true, EVENT_TASK_FAILED},
        [END_RETRIED] = {true, EVENT_TASK_RETRIED},
        [END_EXPIRED] = {true, EVENT_TASK_REVOKED},
        [END_REVOKED] = {true, EVENT_TASK_REVOKED},
        [END_BURIED] = {true, EVENT_TASK_FAILED},
        [END_REDELIVERED] = {true, EVENT_TASK_REJECTED},
        [END_REJECTED] = {true, EVENT_TASK_REJECTED},
        [END_REQUEUED] = {true, EVENT_TASK_REJECTED},
    };
    *ret_type = told[end].type;
    return told[end].is_told;
}

void monitors_told(struct events *events, const struct request *request)
{
    const struct settlement *settlement = &request->settlement;
    usec_t started = request->job.started_mono;
    bool was_ended = request->death.pid && request->death.cause == DEATH_REVOKED;
    struct task_end end = {
        .id = request->envelope.id,
        .document = buf_str(&settlement->document),
        .has_run = request->pid != 0,
        .expired = settlement->end == END_EXPIRED,
        .signum = was_ended ? request->death.term_signal : 0,
        .requeue = settlement->end != END_REJECTED,
    };
    if (request->pid && request->ended_mono > started)
        end.runtime = request->ended_mono - started;
    if (event_of(settlement->end, &end.type))
        task_events_ended(events, &end);
}

void monitors_keep(struct request *request, const struct frame_outcome *outcome)
{
    struct buf *document = &request->settlement.document;
    const struct result result = {.status = STR("SUCCESS"),
                                  .result_json = outcome->result_json,
                                  .task_id = request->envelope.id};
    if (document->len == 0 && request->settlement.end == END_SUCCEEDED &&
        result_encode(document, &result) < 0)
        buf_clear(document);
}
