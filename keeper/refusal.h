/*
 * What Redis refuses each time it is asked (no permission, a key of another type), for whoever asks
 * again and again: it is told when its words are new, and when it goes through again.
 */
#pragma once

#include "core/error.h"
#include "core/str.h"

struct refusal {
    char *words; /* as they were told; owned; NULL: nothing is refused */
};

/* Whether `status` is an answer of the server, and no sign of its absence. */
bool refusal_is(int status);
/* Whether a key of another type is in the way. */
bool refusal_is_wrong_type(const struct cel_error *err);
/* Whether that answer stays the same until somebody acts, so that waiting is in vain. */
bool refusal_lasts(const struct cel_error *err);
/* True when these words were not told yet. */
bool refusal_note(struct refusal *refusal, const struct cel_error *err);
/* It went through. True when it was refused before. */
bool refusal_end(struct refusal *refusal);
