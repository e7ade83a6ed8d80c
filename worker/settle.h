/*
 * What to do with a call once it is known what became of it: the policy after a run, and the words
 * for the calls that were not run. Pure functions: from the request (headers, rules of its task)
 * and an outcome, a death or a fate to a settlement; no I/O, no clock, no chance of their own. The
 * settlement points into the request, which must outlive it.
 *
 *   outcome SUCCESS              result stored, sends pushed
 *           IGNORE               sends pushed, nothing stored
 *           RETRY                next attempt parked (with no delay: pushed) under the same id, RETRY stored; with the
 *                                retries used up: FAILURE with the exception that was given
 *                                (another transaction in the way: not counted, a hundred times in a row)
 *           FAILURE              FAILURE
 *           REFUSED              FAILURE, message to quarantine
 *           REJECTED             message to quarantine, nothing stored
 *           REQUEUED             to the end of its queue, nothing stored; a hundred times, then FAILURE,
 *                                message to quarantine
 *   child died                   delivered again, counted; the last time that its task allows:
 *                                FAILURE WorkerLostError, message to quarantine
 *   hard time limit              FAILURE TimeLimitExceeded
 *   child died of a limit that its task set (processor time, memory)
 *                                FAILURE CPUTimeLimitExceeded, MemoryLimitExceeded, message to quarantine
 *   killed by a cold stop        given back, the attempt not counted (acknowledged early:
 *                                WorkerLostError)
 *   killed by a revocation       REVOKED "terminated"
 *   refused by Redis for good    FAILURE OperationalError, without what follows
 *
 * With .reject_on_failure the message of a FAILURE goes to quarantine, too.
 * An end other than SUCCESS may have consequences (errbacks, the rest of a chain, a chord's part), which are in the body:
 * then the settlement is_awaited, and a child is asked (follow.h) before it is told. Whoever ran it has said so; of calls that
 * were not run it is not known.
 *
 * Nothing is stored for a call that ignores its result. What Celery does: docs/protocol.md.
 */
#pragma once

#include "worker/request.h"

/* What a settlement needs from outside. */
struct settle_context {
    usec_t now_wall;
    uint64_t random;         /* for the jitter */
    struct str node;         /* name@host: origin of the next attempt */
    struct str delivery_tag; /* unique: of the next attempt */
};

/*
 * All of these write `ret` (an earlier content is forgotten, its memory re-used). 0; -ENOMEM or
 * CEL_E_LIMIT when the documents could not be built: then `ret` gives the call back (one that was acknowledged
 * early and has run: says nothing).
 */
int settle_outcome(const struct request *request,
                   const struct frame_outcome *outcome,
                   const struct settle_context *context,
                   struct settlement *ret);
int settle_death(const struct request *request,
                 const struct death *death,
                 const struct settle_context *context,
                 struct settlement *ret);
/* For a call that is not run: PARK, EXPIRED, REVOKED, UNREGISTERED, REFUSED. */
int settle_unrun(const struct request *request,
                 enum request_fate fate,
                 const struct settle_context *context,
                 struct settlement *ret);
/* A message whose headers cannot be read; `why` is copied. */
void settle_undecodable(const struct request *request, struct str why, struct settlement *ret);
/* Its result is there already: acknowledged. */
void settle_skip(const struct request *request, struct settlement *ret);
/* Parked for a moment: it cannot be decided now whether it has to run. */
void settle_postpone(const struct request *request, usec_t due_wall, struct settlement *ret);
/* Parked until shortly before its turn, which is written into the message. */
int settle_put_off(const struct request *request,
                   usec_t turn_wall,
                   usec_t due_wall,
                   struct settlement *ret);
/* Back to the queue, as if it had never been claimed. */
void settle_give_back(const struct request *request, struct settlement *ret);

/*
 * Redis refuses what `ret` says, because of `why`: a failure with that reason takes its place, with
 * neither sends nor next attempt. -EINVAL, `ret` untouched: it has none of these to do without.
 */
int settle_refused(const struct request *request,
                   struct str why,
                   usec_t now_wall,
                   struct settlement *ret) MUST_CHECK;

/*
 * The call was acknowledged early, and whether its next attempt or its sends were written is not
 * known: `ret` does not write them any more, and says a failure for the case that they were not. 1;
 * 0, `ret` untouched: it has none of these.
 */
int settle_uncertain(const struct request *request,
                     usec_t now_wall,
                     struct settlement *ret) MUST_CHECK;

/* Adds what follows, as a child has answered to FOLLOW. -ENOMEM: it is not added. */
int settle_follow(const struct frame_outcome *outcome, struct settlement *ret) MUST_CHECK;
/* A chord that it would have completed was completed by somebody else: what was added for that goes. */
void settle_unjoin(struct settlement *ret);
/* It cannot be found out what follows, because of `why`: the end stands, without the part that would complete a chord,
 * and the message goes to quarantine, so that
 * what waits for it is not lost. */
void settle_unfollowed(const struct request *request, struct str why, struct settlement *ret);

/* Documents of a call that goes on: appended to `buf`. */
int settle_started_document(const struct request *request,
                            struct str node,
                            int64_t pid,
                            struct buf *buf) MUST_CHECK;
int settle_progress_document(const struct request *request,
                             const struct frame_progress *progress,
                             struct buf *buf) MUST_CHECK;
