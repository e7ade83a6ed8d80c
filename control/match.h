/*
 * Whether a node is meant: destinations, and patterns of the two kinds that kombu knows.
 */
#pragma once

#include "core/error.h"
#include "message/control.h"

/* 1 or 0. CEL_E_FORMAT: a pattern that is none; CEL_E_LIMIT: one that takes too long. */
int match_pattern(struct str name, struct str pattern, struct str matcher, struct cel_error *err)
    MUST_CHECK;
/* The same for all that a request says of whom it is for. */
int match_request(struct str node,
                  const struct control_request *request,
                  struct cel_error *err) MUST_CHECK;
