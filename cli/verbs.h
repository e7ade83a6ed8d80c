/*
 * The verbs, each in the file of its name; main.c has their order.
 */
#pragma once

#include "cli/verb.h"

extern const struct verb worker_verb, beat_verb, demo_verb; /* daemons.c: run elsewhere */
extern const struct verb dead_verb, delayed_verb;
extern const struct verb call_verb, result_verb, queues_verb, purge_verb, audit_verb, migrate_verb,
    revoke_verb, history_verb, inspect_verb, control_verb, status_verb;
