#include "core/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 4 }; /* of a row; then doubled */

/* Counts down to the allocation that fails; 0: none does. */
static atomic_size_t fail_after;

void mem_fail_after(size_t n)
{
    atomic_store(&fail_after, n);
}

static bool allowed(void)
{
    size_t left = atomic_load_explicit(&fail_after, memory_order_relaxed);
    if (left == 0)
        return true;
    while (!atomic_compare_exchange_weak(&fail_after, &left, left - 1)) {
        if (left == 0)
            return true;
    }
    return left != 1;
}

void *mem_alloc(size_t size)
{
    return mem_array(1, size);
}

void *mem_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !allowed())
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *mem_grow(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !allowed())
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

void *mem_room(void *row, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return row;
    size_t grown_cap = *cap ? *cap * 2 : FIRST_CAP;
    void *grown = mem_grow(row, grown_cap, size);
    if (grown)
        *cap = grown_cap;
    return grown;
}

void *mem_dup(const void *bytes, size_t len)
{
    if (len == SIZE_MAX || !allowed())
        return NULL;
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *pointer)
{
    free(pointer);
}

static void *or_end(void *pointer)
{
    if (!pointer) {
        fputs("celeriac: out of memory\n", stderr);
        abort();
    }
    return pointer;
}

void *xalloc(size_t size)
{
    return or_end(mem_alloc(size));
}

void *xgrow(void *old, size_t count, size_t size)
{
    return or_end(mem_grow(old, count, size));
}

void *xroom(void *row, size_t count, size_t *cap, size_t size)
{
    return or_end(mem_room(row, count, cap, size));
}

char *xstrdup(const char *text)
{
    return or_end(mem_dup(text, strlen(text)));
}
