/*
 * What a worker was told, for its next lives: texts by name, kept in Redis under the worker's own name
 * (name@host). It knows no commands.
 */
#pragma once

#include "bus/bus.h"

/* Notes `value` of `what`, or (absent) strikes it out. */
int bus_note(struct bus *bus,
             struct str worker,
             struct str what,
             struct str value,
             bus_done_fn *cb,
             void *data) MUST_CHECK;

struct bus_noted {
    struct str what, value;
};
typedef void bus_notes_fn(void *data,
                          int status,
                          const struct bus_noted *notes,
                          size_t count,
                          const struct cel_error *err);
/* Reads them all. */
int bus_notes(struct bus *bus,
              struct str worker,
              usec_t deadline_mono,
              bus_notes_fn *cb,
              void *data) MUST_CHECK;
