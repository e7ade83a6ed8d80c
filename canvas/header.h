/*
 * The parts of a chord that are all there: in their order, and as the list of results that its body gets;
 * or which of them failed.
 */
#pragma once

#include "canvas/fail.h"
#include "canvas/join.h"

/* Conditions: the chord has failed, and `reason` says how, as the text of Celery's ChordError. */
enum { HEADER_FAILED = 1 };

/*
 * 0: `*ret_results_take` is the list of results, nested as
 * the saved document has it. HEADER_FAILED; -ENOMEM.
 */
int header_join(const struct plan_joined *joined,
                struct cel_value **ret_results_take,
                struct buf *reason) MUST_CHECK;
