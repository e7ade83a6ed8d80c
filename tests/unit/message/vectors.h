/*
 * The golden wire vectors (tests/data/wire-vectors) for the tests of this room: messages and result
 * documents as Celery 5.2 and 5.6 wrote them.
 */
#pragma once

#include "core/value.h"

/* A vector by its name ("q-526-basic"), whole; the caller frees it. Fails the test if it is
 * missing. */
struct cel_value *vector_load(const char *name);

/* Names of the vectors that begin with `prefix`, sorted; terminated by NULL. Freed by
 * vector_names_free. */
char **vector_names(const char *prefix);
void vector_names_free(char **names);

typedef void vector_message_fn(void *data, const char *name, size_t index, struct str bytes);
/* Calls `fn` for every message that lies in a list or in the hash "unacked" of the vector, in the
 * order of its keys, then for the one in "pushed". Returns how many there were. */
size_t vector_messages(const struct cel_value *vector, vector_message_fn *fn, void *data);

/* The first message of the vector `name`, a copy that ends without a byte behind it. */
struct str vector_message(const char *name);
