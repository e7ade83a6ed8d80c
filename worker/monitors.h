/*
 * What monitors are told of a request that has come to its end. To be called only while events_are_wanted().
 */
#pragma once

#include "control/events.h"
#include "worker/request.h"

/* Has a result that nobody stores stay until monitors_told. */
void monitors_keep(struct request *request, const struct frame_outcome *outcome);
/* When the broker knows it. */
void monitors_told(struct events *events, const struct request *request);
