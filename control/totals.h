/*
 * How often each task was begun since the start of the worker, by name. Only names of registered tasks
 * come here.
 */
#pragma once

#include "core/str.h"

struct total {
    char *name;
    uint64_t runs;
};
struct totals {
    struct total *items; /* by name */
    size_t count;
    uint64_t runs; /* of all */
};

void totals_deinit(struct totals *totals);
void totals_note(struct totals *totals, struct str name);
uint64_t totals_of(const struct totals *totals, struct str name);
