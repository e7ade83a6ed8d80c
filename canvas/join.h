/*
 * A chord whose last part comes with an end: its body is sent, or, when a part is none of SUCCESS,
 * the body ends as FAILURE with Celery's ChordError, and what follows from that.
 */
#pragma once

#include "canvas/follow.h"
#include "message/plan.h"

/*
 * Plans what follows from the joined chords of this end, over and above canvas_follow: for each the
 * body, or its ChordError: the body's document (or those of a body chain's elements, of a body
 * group's members), its errbacks, its own part in an outer chord; if that one is among `joined` too,
 * what follows from it, and so on. Each joined chord is `closed`, also one whose parts cannot be read
 * (it has failed then). Chords that this end has no part in are left alone.
 */
int canvas_join(const struct ended *ended,
                const struct plan_joined *joined,
                size_t count,
                const struct canvas_sender *sender,
                struct plan *plan,
                struct cel_error *err) MUST_CHECK;
