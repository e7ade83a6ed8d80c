#include "broker/names.h"

#include <errno.h>

#include "core/mem.h"

int names_add(struct names *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (str_equal(names->items[i], name)) /* SCAN may show a key twice */
            return 0;
    }
    struct str *items = mem_room(names->items, names->count, &names->cap, sizeof(*items));
    if (!items)
        return -ENOMEM;
    names->items = items;
    char *copy = mem_dup(name.ptr, name.len);
    if (!copy)
        return -ENOMEM;
    names->items[names->count++] = str_n(copy, name.len);
    return 0;
}

void names_deinit(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free((char *)(uintptr_t)names->items[i].ptr);
    mem_free(names->items);
}
