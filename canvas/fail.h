/*
 * What a failure means for those that have not run and never will: the rest of a chain, the body of a
 * chord. They get its document under their ids, and their parts in chords are reported; and the
 * errbacks, which are asked to be called.
 */
#pragma once

#include "canvas/publish.h"

/* A part that comes of an end, in an order in which it may complete a chord. */
struct report {
    struct plan_member member; /* views of the canvas */
    struct str state;
    const struct cel_value *chord; /* the body */
    struct str result_json;        /* copied by reports_add */
};
struct reports {
    struct report *rows;
    size_t count, cap;
};
void reports_deinit(struct reports *reports);
int reports_add(struct reports *reports, const struct report *report) MUST_CHECK; /* -ENOMEM */

struct failing {
    const struct canvas_sender *sender;
    struct plan *plan; /* NULL: reports alone are wanted */
    struct reports *reports;
    struct str exception_json, traceback; /* traceback may be absent */
    bool calls_errbacks;                  /* of what would have run first */
};

/*
 * Plans documents and parts for `signature`, which signature_check found good: all of a chain, each of a
 * group, header and body of a chord, and what was to follow them. Ids that were never given have no
 * documents. The reports are added also to `reports`. CEL_E_LIMIT, -ENOMEM.
 */
int fail_signature(const struct failing *failing,
                   const struct cel_value *signature,
                   struct cel_error *err) MUST_CHECK;
/* The same for each of a list; those that are not well formed are passed over. */
int fail_list(const struct failing *failing,
              const struct cel_value *signatures,
              struct cel_error *err) MUST_CHECK;

/* Plans the errbacks (one, or a list; others are passed over) of `failure`: those that were not called
 * at once as a group of tasks. */
int fail_errbacks(const struct cel_value *errbacks,
                  const struct canvas_failure *failure,
                  const struct canvas_sender *sender,
                  struct plan *plan,
                  struct cel_error *err) MUST_CHECK;
