/*
 * Results on a terminal and for programs, for `result` and for `call --wait`.
 */
#pragma once

#include <stdbool.h>

#include "celeriac/client.h"
#include "core/buf.h"

/* The value as people read it: text as it is, everything else as JSON. */
void result_add_value(struct buf *buf, const struct cel_value *value);
/* {"id": ...} */
void result_print_id(const char *id);
/* The whole document, one line of JSON. */
void result_print_json(const char *id, const struct cel_result *result);
/* What `call --wait` prints: the value, or one line on stderr that says how the task failed. */
void result_print_outcome(const char *id, const struct cel_result *result);
/* EXIT_OK, or EXIT_FAILED for FAILURE, REVOKED and when nothing is stored. */
int result_exit_status(const struct cel_result *result);
