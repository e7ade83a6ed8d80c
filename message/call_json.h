/*
 * A call as JSON, the way it stands in the outbox: {"task": ..., "args": [...], "kwargs": {...},
 * "options": {...}}. Options: queue, priority, eta_ms, expires_ms (Unix), retries, time_limit and
 * soft_time_limit (seconds), ignore_result, shadow, headers.
 */
#pragma once

#include "message/call.h"

/* -ENOMEM, or CEL_E_FORMAT, -EINVAL with what is wrong with it. */
int call_from_json(struct str json, struct cel_call **ret_call, struct cel_error *err) MUST_CHECK;
