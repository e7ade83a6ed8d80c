/*
 * The recorded messages of tests/data/wire-vectors, for tests of what reads them.
 */
#pragma once

#include "core/value.h"

/* Calls `fn` for each file, which is JSON itself; `vector` is borrowed. Returns how many there
 * were; a file that cannot be read fails the test. */
size_t vectors_each(void (*fn)(const char *name, const struct cel_value *vector));

/* The file of that name ("q-526-basic"); the caller frees it. Never NULL. */
struct cel_value *vectors_load(const char *name);
