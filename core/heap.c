/*
 * The nodes stand in one array; those below the node at place p are at 2p and 2p + 1:
 *
 *                 1
 *             2       3          no node leaves before the one above it
 *           4   5   6   7
 *
 * A node knows its place, so that removing or moving one from the middle needs no search.
 */
#include "core/heap.h"

#include <errno.h>

#include "core/mem.h"

enum { HEAP_FIRST_CAP = 16 };

static struct heap_node *node_at(const struct heap *heap, size_t place)
{
    return heap->nodes[place - 1];
}

static void put(struct heap *heap, size_t place, struct heap_node *node)
{
    heap->nodes[place - 1] = node;
    node->place = place;
}

static void rise(struct heap *heap, struct heap_node *node)
{
    size_t place = node->place;

    while (place > 1 && heap->less(node, node_at(heap, place / 2))) {
        put(heap, place, node_at(heap, place / 2));
        place /= 2;
    }
    put(heap, place, node);
}

static void sink(struct heap *heap, struct heap_node *node)
{
    size_t place = node->place;

    for (;;) {
        size_t below = place * 2;
        if (below > heap->count)
            break;
        if (below < heap->count && heap->less(node_at(heap, below + 1), node_at(heap, below)))
            below++;
        if (!heap->less(node_at(heap, below), node))
            break;
        put(heap, place, node_at(heap, below));
        place = below;
    }
    put(heap, place, node);
}

void heap_deinit(struct heap *heap)
{
    if (!heap)
        return;
    for (size_t i = 0; i < heap->count; i++)
        heap->nodes[i]->place = 0;
    mem_free(heap->nodes);
    *heap = HEAP_INIT(heap->less);
}

int heap_reserve(struct heap *heap, size_t count)
{
    struct heap_node **nodes;

    if (count <= heap->cap)
        return 0;
    nodes = mem_grow(heap->nodes, count, sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    heap->nodes = nodes;
    heap->cap = count;
    return 0;
}

int heap_insert(struct heap *heap, struct heap_node *node)
{
    ASSERT(node->place == 0);
    if (heap->count == heap->cap) {
        int status = heap_reserve(heap, heap->cap ? heap->cap * 2 : HEAP_FIRST_CAP);
        if (status < 0)
            return status;
    }
    put(heap, ++heap->count, node);
    rise(heap, node);
    return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    struct heap_node *last;

    ASSERT(heap_contains(heap, node));
    last = node_at(heap, heap->count--);
    if (last != node) {
        put(heap, node->place, last);
        heap_moved(heap, last);
    }
    node->place = 0;
}

void heap_moved(struct heap *heap, struct heap_node *node)
{
    ASSERT(heap_contains(heap, node));
    rise(heap, node);
    sink(heap, node);
}

void heap_rebuild(struct heap *heap)
{
    for (size_t place = heap->count / 2; place > 0; place--)
        sink(heap, node_at(heap, place));
}

struct heap_node *heap_pop(struct heap *heap)
{
    struct heap_node *first = heap_first(heap);

    if (first)
        heap_remove(heap, first);
    return first;
}
