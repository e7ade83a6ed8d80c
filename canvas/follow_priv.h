/*
 * What canvas_follow and canvas_join share.
 */
#pragma once

#include "canvas/fail.h"
#include "canvas/follow.h"

/* The sender of what follows: root and parent are the call's. */
struct canvas_sender follow_sender(const struct ended *ended, const struct canvas_sender *sender);
/* The call's own part, and, when it failed, documents and parts of the rest of its chain. `plan` may be
 * NULL: then the reports alone are made. */
int follow_reports(const struct ended *ended,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct reports *reports,
                   struct cel_error *err) MUST_CHECK;
