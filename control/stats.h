/*
 * `stats`: counts of tasks, the pool, the broker's address, what the process has used.
 */
#pragma once

#include "control/control.h"

/* NULL when memory is short. */
struct cel_value *stats_take(struct control *control) MUST_CHECK;
