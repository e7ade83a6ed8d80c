/*
 * Compiler attributes and the few macros that everything uses.
 */
#pragma once

#include <stddef.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(at, first) __attribute__((__format__(printf, at, first)))
/* An owning local: `CLEANUP(buf_deinit) struct buf buf = ...;` ends with buf_deinit(&buf). */
#define CLEANUP(fn)                         __attribute__((cleanup(fn)))
#define ARRAY_SIZE(array)                   (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* For our own mistakes only, never for bytes, replies, files or limits. Always compiled in. */
#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
__attribute__((noreturn)) void assert_failed(const char *condition, const char *file, int line);
