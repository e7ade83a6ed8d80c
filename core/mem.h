/*
 * Allocation. Library rooms (core, message, broker, client) use mem_* and hand up -ENOMEM; program
 * rooms may use xnew, which ends the program, for small fixed sizes. Tests let the n-th allocation
 * fail (mem_fail_after).
 */
#pragma once

#include <stddef.h>

#include "core/attr.h"

void *mem_alloc(size_t size) MUST_CHECK;               /* zeroed; NULL when memory is short */
void *mem_array(size_t count, size_t size) MUST_CHECK; /* zeroed; checks the product */
void *mem_grow(void *old, size_t count, size_t size) MUST_CHECK; /* realloc, checks the product */
/* Room for one more in a row of `count` with `*cap` places: the row, moved perhaps, or NULL. */
void *mem_room(void *row, size_t count, size_t *cap, size_t size) MUST_CHECK;
void *mem_dup(const void *bytes, size_t len) MUST_CHECK; /* with a zero byte behind it */
void mem_free(void *pointer);

void *xalloc(size_t size); /* zeroed, or the program ends with a line on stderr */
void *xgrow(void *old, size_t count, size_t size);
void *xroom(void *row, size_t count, size_t *cap, size_t size);
char *xstrdup(const char *text);
#define xnew(type)    ((type *)xalloc(sizeof(type)))
#define mem_new(type) ((type *)mem_alloc(sizeof(type)))

/* For tests: the n-th allocation from now fails (1 = the next), once; 0 switches it off. */
void mem_fail_after(size_t n);
