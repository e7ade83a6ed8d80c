#include "control/totals.h"

#include "core/mem.h"

/* Where `name` stands, or would stand. */
static size_t place_of(const struct totals *totals, struct str name, bool *ret_is_there)
{
    size_t low = 0, high = totals->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, str_of(totals->items[middle].name));
        if (order == 0) {
            *ret_is_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_is_there = false;
    return low;
}

void totals_note(struct totals *totals, struct str name)
{
    bool is_there;
    size_t place = place_of(totals, name, &is_there);
    totals->runs++;
    if (!is_there) {
        totals->items = xgrow(totals->items, totals->count + 1, sizeof(*totals->items));
        struct total *item = &totals->items[place];
        memmove(item + 1, item, (totals->count++ - place) * sizeof(*item));
        *item = (struct total){.name = xalloc(name.len + 1)};
        memcpy(item->name, name.ptr, name.len);
    }
    totals->items[place].runs++;
}

uint64_t totals_of(const struct totals *totals, struct str name)
{
    bool is_there;
    size_t place = place_of(totals, name, &is_there);
    return is_there ? totals->items[place].runs : 0;
}

void totals_deinit(struct totals *totals)
{
    for (size_t i = 0; i < totals->count; i++)
        mem_free(totals->items[i].name);
    mem_free(totals->items);
    *totals = (struct totals){.items = NULL};
}
