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

enum {
    PLAN_MESSAGES_MAX = 100000,
    CANVAS_DEPTH_MAX = 64, /* of signatures within signatures */
};

struct plan_document { /* stored unless a SUCCESS is there, and published */
    struct str id, text;
};
struct plan_part { /* a member of the chord `group` has ended (docs/protocol.md, "Chords") */
    struct str group;
    double score;       /* its group_index; HUGE_VAL: it has none */
    struct str task_id; /* an earlier part of this one is replaced: it begins with `prefix` */
    struct str prefix;  /* [1, "<task id>", */
    struct str text;    /* [1, "<task id>", "<STATE>", <result>], in Python's spacing */
};
struct plan_chord { /* opened with the messages of its header */
    struct str group;
    uint64_t size;   /* of the key .s; 0: it was opened before */
    uint64_t growth; /* added to the key .t (add_to_chord); 0: nothing */
    struct str
        saved; /* the document of celery-taskset-meta-<group>, for a nested header; or absent */
};
struct plan_closed { /* a chord all of whose parts were read: .j .t .s go; when it failed, .t .s */
    struct str group;
    bool failed;
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
int plan_add_document(struct plan *plan, struct str id, struct str text, struct cel_error *err)
    MUST_CHECK;
/* `state` and `result_json` of the member `task_id`. */
int plan_add_part(struct plan *plan,
                  const struct plan_part *member, /* group, score, task_id */
                  struct str state,
                  struct str result_json,
                  struct cel_error *err) MUST_CHECK;
int plan_add_chord(struct plan *plan,
                   const struct plan_chord *chord,
                   struct cel_error *err) MUST_CHECK;
int plan_add_closed(struct plan *plan, struct str group, bool failed, struct cel_error *err)
    MUST_CHECK;
