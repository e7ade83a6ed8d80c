/*
 * `scheduled`: the calls that wait for their time. They are in Redis, not in a worker, and all workers of
 * a queue share them, so each answers the same.
 */
#pragma once

#include "control/command.h"

enum { SCHEDULED_MAX = 1000 }; /* shown at most, over all queues of the worker */

enum answer scheduled_run(struct command *command);
