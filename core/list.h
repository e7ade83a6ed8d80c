/*
 * An intrusive doubly linked list that counts. A link is in at most one list; links that are in
 * none are zeroed. The owner embeds `struct list_link` and finds itself with container_of.
 */
#pragma once

#include "core/attr.h"

struct list_link {
    struct list_link *prev;
    struct list_link *next;
};

struct list {
    struct list_link *head;
    struct list_link *tail;
    size_t count;
};

static inline void list_append(struct list *list, struct list_link *link)
{
    ASSERT(!link->prev && !link->next && list->head != link);
    link->prev = list->tail;
    *(list->tail ? &list->tail->next : &list->head) = link;
    list->tail = link;
    list->count++;
}

static inline void list_prepend(struct list *list, struct list_link *link)
{
    ASSERT(!link->prev && !link->next && list->head != link);
    link->next = list->head;
    *(list->head ? &list->head->prev : &list->tail) = link;
    list->head = link;
    list->count++;
}

/* Behind `before`, which is in the list, or in front of all when that is NULL. */
static inline void list_insert(struct list *list, struct list_link *before, struct list_link *link)
{
    if (!before) {
        list_prepend(list, link);
        return;
    }
    ASSERT(!link->prev && !link->next);
    link->prev = before;
    link->next = before->next;
    *(before->next ? &before->next->prev : &list->tail) = link;
    before->next = link;
    list->count++;
}

static inline void list_remove(struct list *list, struct list_link *link)
{
    *(link->prev ? &link->prev->next : &list->head) = link->next;
    *(link->next ? &link->next->prev : &list->tail) = link->prev;
    *link = (struct list_link){NULL, NULL};
    list->count--;
}

static inline struct list_link *list_pop(struct list *list)
{
    struct list_link *link = list->head;
    if (link)
        list_remove(list, link);
    return link;
}
