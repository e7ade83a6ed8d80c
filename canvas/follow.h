/*
 * A call has ended: what follows from it by its message's embed. On SUCCESS the callbacks, the next
 * element of its chain, its part of a chord. On FAILURE its part, the same failure for the rest of
 * its chain with their parts, the errbacks. On REVOKED its part alone.
 */
#pragma once

#include "canvas/publish.h"
#include "message/envelope.h"

struct ended {
    const struct envelope *envelope;
    const struct cel_value *embed; /* of its body: callbacks, errbacks, chain, chord; or NULL */
    struct str state;              /* "SUCCESS", "FAILURE", "REVOKED" */
    struct str result_json;        /* as its document has it: the value, or the exception object */
    struct str traceback;          /* or absent */
};

/* Whether an end in `state` has consequences: a part, callbacks, errbacks, a chain. */
bool canvas_is_awaited(const struct envelope *envelope,
                       const struct cel_value *embed,
                       struct str state);

/*
 * Plans what follows. root_id and parent_id of `sender` do not matter: they are the call's. An embed
 * that is not well formed, or a result that cannot be passed on, is CEL_E_FORMAT; nothing of it was
 * sent then, and the call should end as FAILURE; whose canvas_follow ignores what is not well formed.
 */
int canvas_follow(const struct ended *ended,
                  const struct canvas_sender *sender,
                  struct plan *plan,
                  struct cel_error *err) MUST_CHECK;
