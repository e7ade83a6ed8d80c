/*
 * Names of keys and queues, copied, each once.
 */
#pragma once

#include "core/str.h"

struct names {
    struct str *items;
    size_t count, cap;
};

int names_add(struct names *names, struct str name) MUST_CHECK; /* -ENOMEM */
void names_deinit(struct names *names);
