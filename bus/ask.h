/*
 * Asking all who listen, and taking the replies as they come: a queue of our own is bound, the question
 * is published, and for a time whoever answers is heard. The queue goes in the end.
 */
#pragma once

#include "bus/bus.h"

struct bus_question {
    struct str exchange;       /* where it goes */
    struct str reply_exchange; /* the answers come to "<reply key>.<reply exchange>" */
    struct str reply_key;      /* unique */
    struct str message;
    usec_t timeout;       /* after the question was taken */
    size_t enough;        /* so many answers end it; 0: as many as have heard it */
    usec_t deadline_mono; /* for Redis to take the question */
};

/* `on_answer` for each message; then `on_done`, once: 0 when the time was over or there were enough.
 * `*ret_heard` (how many have heard the question) is written before that. */
int bus_ask(struct bus *bus,
            const struct bus_question *question,
            bus_heard_fn *on_answer,
            bus_done_fn *on_done,
            void *data,
            uint64_t *ret_heard) MUST_CHECK;
