/*
 * Builds one tree of values from the pieces of a document in the order in which they are read, and
 * keeps the limits of value.h on the way. It belongs to one decoder call; whatever went wrong,
 * builder_deinit frees what was built.
 */
#pragma once

#include "core/value.h"

struct builder {
    struct cel_value *root; /* the finished document; owned until builder_take */
    size_t count;           /* values begun */
    unsigned depth;         /* containers open */
    struct {
        struct cel_value *container; /* owned; not yet in the one around it */
        size_t wanted;               /* free for the decoder: items still to come */
    } open[VALUE_DEPTH_MAX];
};

void builder_init(struct builder *builder);
void builder_deinit(struct builder *builder);

/* A leaf, or NULL (memory was short): the next item of the list, the value of the last key, or the
 * whole document. Adopts in every case. CEL_E_LIMIT, -ENOMEM. */
int builder_add(struct builder *builder, struct cel_value *leaf) MUST_CHECK;
/* The next key of the innermost container, which is a map; valid UTF-8. -ENOMEM. */
int builder_key(struct builder *builder, struct str key) MUST_CHECK;
/* True where only a key may come next. */
bool builder_wants_key(const struct builder *builder);
/* Opens a list or a map; pieces that follow go into it. CEL_E_LIMIT, -ENOMEM. */
int builder_open(struct builder *builder, enum cel_type type) MUST_CHECK;
/* Closes the innermost container, which has the last of duplicate keys only; the caller puts it, or
 * what it stands for, in its place with builder_place. NULL when memory is short. */
struct cel_value *builder_close_take(struct builder *builder) MUST_CHECK;
int builder_place(struct builder *builder, struct cel_value *value) MUST_CHECK; /* adopts always */
/* The document, when it is complete; otherwise NULL. */
struct cel_value *builder_take(struct builder *builder);
