/*
 * The queues that a verb was told to look at.
 */
#pragma once

#include "cli/verb.h"

struct queue_names {
    struct str *items; /* borrowed from the verb's context */
    size_t count;
};

/* Arguments and -Q without its weights, each name once. */
void queue_names_of(struct queue_names *names, const struct verb_context *context);
void queue_names_deinit(struct queue_names *names);
