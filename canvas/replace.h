/*
 * A call changes its own workflow while it runs (celery-wire D.9). Whoever replaces itself ends without a
 * document and without a part: what it is sent as takes its place.
 */
#pragma once

#include "canvas/follow.h"

/*
 * Plans `signature` in the place of the call: under its id, with its group, chord, chain, callbacks,
 * errbacks and stamps, and replaced_task_nesting one higher. A group goes as a chord with the body
 * celery.accumulate. CEL_E_CONFIG "Cannot replace with an empty chain": Celery's ImproperlyConfigured.
 */
int canvas_replace(const struct envelope *envelope,
                   const struct cel_value *embed,
                   const struct cel_value *signature,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct cel_error *err) MUST_CHECK;

/*
 * Plans `signature` as one more member of the chord that the call is a member of, which grows.
 * -EINVAL "Current task is not member of any chord".
 */
int canvas_add_to_chord(const struct envelope *envelope,
                        const struct cel_value *embed,
                        const struct cel_value *signature,
                        const struct canvas_sender *sender,
                        struct plan *plan,
                        struct cel_error *err) MUST_CHECK;
