/*
 * What a canvas comes to, as bytes: the messages to push, the chords that they open, and, when a
 * call has ended, the documents and chord parts that follow from it. One plan is carried out by one
 * step of the broker: all of it, or nothing. A plan owns its texts; whatever adds to one that then
 * fails leaves it fit for plan_deinit alone.
 */
#pragma once

#include "celeriac/call.h"
#include "core/buf.h"
#include "core/error.h"
#include "message/plan.h"

enum {
    PLAN_MESSAGES_MAX = 100000,
    CANVAS_DEPTH_MAX = 64, /* of signatures within signatures */
};

struct plan {
    struct cel_message *messages; /* pushed in this order */
    size_t message_count, message_cap;
    struct plan_document *documents;
    size_t document_count, document_cap;
    struct plan_part *parts;
    size_t part_count, part_cap;
    struct plan_chord *chords;
    size_t chord_count, chord_cap;
    struct plan_closed *closed;
    size_t closed_count, closed_cap;
    /* Result tuples (celery-wire C.5) of what was sent, joined by ", ": the inside of the list
     * `children` of a result document. */
    struct buf children;
};
#define PLAN_INIT ((struct plan){.children = BUF_INIT(64 * 1024 * 1024)})

void plan_deinit(struct plan *plan);
bool plan_is_empty(const struct plan *plan); /* nothing to be done by the broker */

/* How far a plan has come; plan_rewind takes back what was added since. */
struct plan_mark {
    size_t messages, documents, parts, chords, closed, children;
};
struct plan_mark plan_mark(const struct plan *plan);
void plan_rewind(struct plan *plan, struct plan_mark mark);

/* All copy what they are given. CEL_E_LIMIT (messages), -ENOMEM. `message` is adopted in every
 * case. */
int plan_add_message(struct plan *plan,
                     struct cel_message *message,
                     struct cel_error *err) MUST_CHECK;
/* Tells of a task that was sent, by its id. */
void plan_add_child(struct plan *plan, struct str id);
int plan_add_document(struct plan *plan, struct str id, struct str text, struct cel_error *err)
    MUST_CHECK;
/* That the member `task_id` of the chord `group` has ended. */
struct plan_member {
    struct str group, task_id;
    int64_t index; /* or PLAN_NO_INDEX */
};
int plan_add_part(struct plan *plan,
                  const struct plan_member *member,
                  struct str state,
                  struct str result_json,
                  struct cel_error *err) MUST_CHECK;
int plan_add_chord(struct plan *plan,
                   const struct plan_chord *chord,
                   struct cel_error *err) MUST_CHECK;
int plan_add_closed(struct plan *plan, struct str group, bool failed, struct cel_error *err)
    MUST_CHECK;
