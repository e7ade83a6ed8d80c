/*
 * An intrusive binary heap: the node for which `less` holds against all others stands first. The
 * owner embeds `struct heap_node` and finds itself with container_of. The heap owns only its row of
 * pointers; nodes belong to their owners, and a node is in at most one heap (zeroed: in none).
 */
#pragma once

#include <stdbool.h>

#include "core/attr.h"

struct heap_node {
    size_t place; /* 1 ... count, written by the heap; 0: in no heap */
};

/* True when `a` must leave before `b`; the same answer for as long as both are in the heap. */
typedef bool heap_less_fn(const struct heap_node *a, const struct heap_node *b);

struct heap {
    heap_less_fn *less;
    struct heap_node **nodes;
    size_t count, cap;
};

#define HEAP_INIT(less_fn) ((struct heap){.less = (less_fn)})

/* Forgets all nodes, which become free for another heap; usable again. Takes NULL. */
void heap_deinit(struct heap *heap);

/* Makes room for `count` nodes in all, so that so many insertions cannot fail. */
int heap_reserve(struct heap *heap, size_t count) MUST_CHECK;
int heap_insert(struct heap *heap, struct heap_node *node) MUST_CHECK; /* 0 or -ENOMEM */
void heap_remove(struct heap *heap, struct heap_node *node);
/* To be called after the order of `node`, which is in the heap, has changed. */
void heap_moved(struct heap *heap, struct heap_node *node);
/* To be called after the order of any number of nodes has changed. */
void heap_rebuild(struct heap *heap);

static inline bool heap_contains(const struct heap *heap, const struct heap_node *node)
{
    return node->place > 0 && node->place <= heap->count && heap->nodes[node->place - 1] == node;
}

/* The first node, or NULL. */
static inline struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
/* Removes and returns the first node, or NULL. */
struct heap_node *heap_pop(struct heap *heap);
