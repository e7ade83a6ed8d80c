/*
 * What follows a call, kept until the broker has taken it: messages, and what goes among the results. It comes from a
 * child, whose frame goes away, so it is copied.
 */
#pragma once

#include "broker/broker.h"
#include "child/frame.h"

struct follow_text;

struct follow_ups {
    struct broker_message *messages;
    struct plan_document *documents;
    struct plan_part *parts;
    struct plan_chord *chords;
    struct plan_closed *closed;
    struct plan_joined *joined; /* chords that would be complete with it, as the broker read them */
    size_t message_count, document_count, part_count, chord_count, closed_count, joined_count;
    struct follow_text *texts; /* of all of them */
    /* How many of each there were before the first chord was read. */
    size_t own_messages, own_documents, own_parts, own_chords;
};

/* Appends what `outcome` has. -ENOMEM: nothing was added. */
int follow_ups_add(struct follow_ups *ups, const struct frame_outcome *outcome) MUST_CHECK;
/* Chords that the broker has read; what is added from now on is for them. */
int follow_ups_add_joined(struct follow_ups *ups,
                          const struct plan_joined *joined,
                          size_t count) MUST_CHECK;
/* Forgets the chords and what was added for them. */
void follow_ups_unjoin(struct follow_ups *ups);
/* How many of its messages would be sent twice if it were all told once more: not those that close a chord. */
size_t follow_ups_unguarded(const struct follow_ups *ups);
/* Forgets the messages that would be sent twice if it were all told once more. Those that close a chord stay:
 * the chord is closed once. */
void follow_ups_keep_guarded(struct follow_ups *ups);
void follow_ups_clear(struct follow_ups *ups);
bool follow_ups_has_some(const struct follow_ups *ups); /* for the broker to do */
/* Points `completion` to all of it. */
void follow_ups_show(const struct follow_ups *ups, struct broker_completion *completion);
