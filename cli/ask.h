/*
 * Asking workers, ours and Python's, by remote control: for the verbs inspect, control and status.
 */
#pragma once

#include "celeriac/value.h"
#include "cli/verb.h"

/* What one node has answered. */
struct answer_of {
    char *node;
    struct cel_value *value;
};
struct answers {
    struct answer_of *items; /* by node */
    size_t count, cap;
    uint64_t heard; /* so many have heard the question */
};
void answers_deinit(struct answers *answers);

/*
 * Sends `method` to the nodes of --destination, or to all, and gathers what they answer within --timeout.
 * `arguments` (may be NULL) is borrowed. Without `wants_answers` it only sends. 0, or the exit status when
 * something is wrong and was said.
 */
int ask_workers(const struct verb_context *context,
                const char *method,
                const struct cel_value *arguments,
                bool wants_answers,
                struct answers *ret) MUST_CHECK;
