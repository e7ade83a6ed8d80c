/*
 * The events of a task, made from what a supervisor knows of the call: its headers, and the document of its
 * end. To be called only while events_are_wanted().
 */
#pragma once

#include "control/events.h"
#include "message/envelope.h"

void task_events_received(struct events *events, const struct envelope *envelope);
void task_events_started(struct events *events, struct str id);

struct task_end {
    enum event_type type;
    struct str id;       /* absent: nothing is told, since monitors know events by it */
    struct str document; /* the result document, where there is one */
    bool has_run;
    usec_t runtime;
    bool expired; /* REVOKED */
    int signum;   /* REVOKED: that ended it while it ran; 0: it did not */
    bool requeue; /* REJECTED */
};
void task_events_ended(struct events *events, const struct task_end *end);
