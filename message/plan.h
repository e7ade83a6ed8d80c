/*
 * What follows a call beside messages: all of it is written to the result backend, in the step that ends
 * the call. Views; whoever built it owns the texts. How it is made: canvas/; what the keys mean:
 * docs/protocol.md, "Chords".
 */
#pragma once

#include "core/str.h"

/* Of a call that will never run: stored as a result is, unless a SUCCESS is there. */
struct plan_document {
    struct str id, text;
};

/* A member of the chord `group` has ended. */
enum { PLAN_NO_INDEX = -1 };
struct plan_part {
    struct str group;
    int64_t index;     /* its group_index; PLAN_NO_INDEX: it has none, and comes last */
    struct str text;   /* [1, "<task id>", "<STATE>", <result>], spaced as Python does */
    struct str prefix; /* [1, "<task id>", : an earlier part that begins so is replaced */
};

/* A chord that begins with messages of the plan, or to which they add members. */
struct plan_chord {
    struct str group;
    uint64_t size;    /* 0: it began before */
    uint64_t growth;  /* members that are added */
    struct str saved; /* document of its header, where that is nested; or absent */
};

/* A chord whose body, or its failure, is in the plan. */
struct plan_closed {
    struct str group;
    bool failed; /* its parts stay, for people to look at */
};

struct plan_results {
    const struct plan_document *documents;
    const struct plan_part *parts;
    const struct plan_chord *chords;
    const struct plan_closed *closed;
    size_t document_count, part_count, chord_count, closed_count;
};

/* What is read of a chord when its last part comes. */
struct plan_joined {
    struct str group;
    const struct str *parts; /* by score */
    size_t part_count;
    struct str saved; /* document of a nested header; or absent */
    /* The results of its leaves; the text of one that is not there is absent. */
    const struct plan_document *leaves;
    size_t leaf_count;
};
