/*
 * Calls as remote control shows them: Celery's request objects. This is where the supervisor's side
 * opens a body, because whoever asks wants to see the arguments; nothing is decided by what is in it.
 */
#pragma once

#include "control/host.h"
#include "core/value.h"

/* The object of one call, or NULL when memory is short. `safe`: arguments as they stand in the headers, as
 * texts; so are those that cannot be decoded, or have no form in JSON. */
struct cel_value *
call_info_take(const struct control_call *call, struct str node, bool safe) MUST_CHECK;
