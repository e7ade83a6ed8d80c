/*
 * The messages among the recorded vectors (tests/support/vectors.h): what Celery 5.2 and 5.6 put
 * into their queues.
 */
#pragma once

#include "core/value.h"

typedef void message_fn(const char *name, size_t index, struct str bytes);
/* Calls `fn` for every message that lies in a list or in the hash "unacked" of the vector, in the
 * order of its keys, then for the one in "pushed". Returns how many there were. */
size_t messages_each(const char *name, const struct cel_value *vector, message_fn *fn);

/* True for vectors that hold messages, by their name: q-, m-, u-, b-. */
bool messages_in(const char *name);

/* The first message of the vector `name`, a copy without a byte behind it. */
struct str message_load(const char *name);
