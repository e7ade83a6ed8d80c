/*
 * What workers have answered, as tables for people.
 */
#pragma once

#include "cli/ask.h"

/* Prints the answers to `method`, as a table or (`json`) as one object by node. */
void remote_view_print(const char *method, const struct answers *answers, bool json);
