/*
 * A container stays outside the one around it until it is closed, so that a decoder can put another
 * value in its place (kombu's typed objects). A map under construction ends with a pair whose value
 * is NULL from its key until its value.
 *
 * Looking for each key among those before it would take quadratic time, which a sender could use
 * against us: 16 MiB hold a million keys. So keys are appended unseen, and duplicates leave when
 * the map is closed: small maps by comparing all pairs, others by sorting.
 */
#include "core/builder.h"

#include <errno.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/mem.h"

enum { FEW_PAIRS = 12 }; /* up to here, comparing all pairs is faster than sorting */

void builder_init(struct builder *builder)
{
    builder->root = NULL;
    builder->count = 0;
    builder->depth = 0;
}

void builder_deinit(struct builder *builder)
{
    builder->root = cel_value_free(builder->root);
    while (builder->depth > 0)
        cel_value_free(builder->open[--builder->depth].container);
}

static struct cel_value *innermost(const struct builder *builder)
{
    return builder->depth > 0 ? builder->open[builder->depth - 1].container : NULL;
}

bool builder_wants_key(const struct builder *builder)
{
    const struct cel_value *map = innermost(builder);
    if (!map || map->type != CEL_MAP)
        return false;
    return map->map.count == 0 || map->map.pairs[map->map.count - 1].value;
}

int builder_place(struct builder *builder, struct cel_value *value)
{
    struct cel_value *around = innermost(builder);
    int r = 0;
    if (!value)
        return -ENOMEM;
    if (!around)
        builder->root = value;
    else if (around->type == CEL_LIST)
        r = value_list_add(around, value);
    else
        around->map.pairs[around->map.count - 1].value = value;
    if (r < 0)
        cel_value_free(value);
    return r;
}

int builder_add(struct builder *builder, struct cel_value *leaf)
{
    if (++builder->count > VALUE_COUNT_MAX) {
        cel_value_free(leaf);
        return CEL_E_LIMIT;
    }
    return builder_place(builder, leaf);
}

int builder_key(struct builder *builder, struct str key)
{
    return value_map_add(innermost(builder), key, NULL);
}

int builder_open(struct builder *builder, enum cel_type type)
{
    if (builder->depth == VALUE_DEPTH_MAX || ++builder->count > VALUE_COUNT_MAX)
        return CEL_E_LIMIT;
    struct cel_value *container = type == CEL_LIST ? cel_list() : cel_map();
    if (!container)
        return -ENOMEM;
    builder->open[builder->depth].container = container;
    builder->open[builder->depth].wanted = 0;
    builder->depth++;
    return 0;
}

/* Gives the value of a later pair with the same key to the earlier one, and empties the later. */
static void merge(struct cel_pair *earlier, struct cel_pair *later)
{
    struct cel_value *outdated = earlier->value;
    earlier->value = later->value;
    later->value = cel_value_free(outdated);
    mem_free((char *)later->key.ptr);
    later->key = STR_NONE;
}

static void drop_emptied(struct cel_value *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->map.count; i++) {
        if (map->map.pairs[i].key.ptr)
            map->map.pairs[kept++] = map->map.pairs[i];
    }
    map->map.count = kept;
}

static void unite_few(struct cel_value *map)
{
    struct cel_pair *pairs = map->map.pairs;
    bool merged = false;
    for (size_t later = 1; later < map->map.count; later++) {
        for (size_t i = 0; i < later; i++) {
            if (pairs[i].key.ptr && str_equal(pairs[i].key, pairs[later].key)) {
                merge(&pairs[i], &pairs[later]);
                merged = true;
                break;
            }
        }
    }
    if (merged)
        drop_emptied(map);
}

/* By key, then by place in the map. */
static int compare_pairs(const void *a, const void *b)
{
    const struct cel_pair *one = *(struct cel_pair *const *)a, *two = *(struct cel_pair *const *)b;
    if (one->key.len != two->key.len)
        return one->key.len < two->key.len ? -1 : 1;
    int order = memcmp(one->key.ptr, two->key.ptr, one->key.len);
    return order != 0 ? order : one < two ? -1 : 1;
}

static int unite_many(struct cel_value *map)
{
    size_t count = map->map.count;
    struct cel_pair **sorted = mem_grow(NULL, count, sizeof(struct cel_pair *));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &map->map.pairs[i];
    qsort(sorted, count, sizeof(struct cel_pair *), compare_pairs);
    bool merged = false;
    for (size_t i = 0, first = 0; i < count; i++) {
        if (i > first && str_equal(sorted[first]->key, sorted[i]->key)) {
            merge(sorted[first], sorted[i]);
            merged = true;
        } else {
            first = i;
        }
    }
    mem_free(sorted);
    if (merged)
        drop_emptied(map);
    return 0;
}

struct cel_value *builder_close_take(struct builder *builder)
{
    struct cel_value *container = innermost(builder);
    ASSERT(container);
    builder->depth--;
    if (container->type == CEL_MAP) {
        if (container->map.count <= FEW_PAIRS)
            unite_few(container);
        else if (unite_many(container) < 0)
            return cel_value_free(container);
    }
    return container;
}

struct cel_value *builder_take(struct builder *builder)
{
    struct cel_value *root = builder->root;
    builder->root = NULL;
    return root;
}
