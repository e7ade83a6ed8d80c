/*
 * The inside of values (celeriac/value.h is their outside, implemented here), for the rooms that
 * read and write them. Containers own their items.
 */
#pragma once

#include "celeriac/value.h"
#include "core/str.h"

/* Limits that every decoder keeps. */
enum {
    VALUE_DEPTH_MAX = 64,
    VALUE_COUNT_MAX = 1000000, /* values in one document */
};
#define VALUE_BYTES_MAX ((size_t)16 * 1024 * 1024) /* of one encoded document */

struct cel_pair {
    struct str key; /* owned, terminated */
    struct cel_value *value;
};

struct cel_value {
    enum cel_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct str text; /* owned, terminated: TEXT, BYTES and the types kept as text */
        struct {
            struct cel_value **items;
            size_t count, cap;
        } list;
        struct {
            struct cel_pair *pairs;
            size_t count, cap;
        } map;
    };
};

struct str value_str(const struct cel_value *value);                /* text-like or STR_NONE */
const struct cel_value *value_find(const struct cel_value *map, struct str key);
int value_set(struct cel_value *map, struct str key, struct cel_value *item) MUST_CHECK;
struct cel_value *value_text(struct str text);
struct cel_value *value_typed(enum cel_type type, struct str text);
/* For decoders: items that are already owned and unique need no look-up of the key. */
bool value_equal(const struct cel_value *a, const struct cel_value *b);
