/*
 * The tasks that every worker has, under Celery's names: celery.accumulate, celery.backend_cleanup,
 * celery.chord_unlock, celery.map, celery.ping, celery.starmap. Clients publish them by name
 * (docs/protocol.md, "Built-in tasks").
 */
#pragma once

#include "child/modules.h"

/* Adds them, as a module does its tasks. CEL_E_CONFIG. */
int builtin_register(struct modules *modules, struct cel_error *err) MUST_CHECK;
