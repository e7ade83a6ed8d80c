#include "cli/texts.h"

#include "core/mem.h"

struct str texts_add(struct texts *texts, struct str text)
{
    texts->items = xroom(texts->items, texts->count, &texts->cap, sizeof(*texts->items));
    char *copy = xalloc(text.len + 1);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return texts->items[texts->count++] = str_n(copy, text.len);
}

void texts_clear(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        mem_free((char *)(uintptr_t)texts->items[i].ptr);
    texts->count = 0;
}

void texts_deinit(struct texts *texts)
{
    texts_clear(texts);
    mem_free(texts->items);
    *texts = (struct texts){.items = NULL};
}
