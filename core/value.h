/*
 * The inside of values (celeriac/value.h is their outside, implemented here), for the rooms that
 * read and write them. Containers own their items.
 */
#pragma once

#include "celeriac/value.h"
#include "core/str.h"

/* Limits that every decoder keeps. */
enum {
    VALUE_DEPTH_MAX = 256,     /* canvases within canvases: each takes six or seven */
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
        struct str text; /* terminated, inside the value's own block: TEXT, BYTES and the types
                            kept as text; ends with the value */
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

/* The text of CEL_TEXT and of the types kept as text; STR_NONE for others, bytes among them. */
struct str value_str(const struct cel_value *value);
const struct cel_value *value_find(const struct cel_value *map, struct str key);
/* cel_map_set with a view as key, which is copied; the caller vouches for its UTF-8. */
int value_set(struct cel_value *map, struct str key, struct cel_value *item) MUST_CHECK;
/* Removes `key` and hands out its value, which the caller frees; NULL when it is not there. */
struct cel_value *value_take(struct cel_value *map, struct str key);
/* For decoders: appends without looking for the key. Adopts the item on success only. */
int value_list_add(struct cel_value *list, struct cel_value *item) MUST_CHECK;
int value_map_add(struct cel_value *map, struct str key, struct cel_value *item) MUST_CHECK;
/* Copies text that is known to be UTF-8 (cel_text_n checks it). */
struct cel_value *value_text(struct str text);
/* As cel_typed. */
struct cel_value *value_typed(enum cel_type type, struct str text);
bool value_is_typed(enum cel_type type); /* one of the types that cel_typed makes */
/* Same types, same content; maps in any order of keys; NaN equals NaN, 0.0 differs from -0.0.
 * Values nested deeper than VALUE_DEPTH_MAX equal nothing. */
bool value_equal(const struct cel_value *a, const struct cel_value *b);
