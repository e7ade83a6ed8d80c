/*
 * What monitors are told of a request on its way: the events of its task, made from what the supervisor
 * knows of it. To be called only while events_are_wanted().
 */
#pragma once

#include "control/events.h"
#include "worker/request.h"

void task_events_received(struct events *events, const struct request *request);
void task_events_started(struct events *events, const struct request *request);
/* Has a result that nobody stores stay until task_events_ended. */
void task_events_keep(struct request *request, const struct frame_outcome *outcome);
/* When the broker knows what it came to. */
void task_events_ended(struct events *events, const struct request *request);
