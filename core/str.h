/*
 * Views of text, and checked parsing. A view borrows: pointer and length, not terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/attr.h"

struct str {
    const char *ptr; /* NULL: absent; empty text has a pointer */
    size_t len;
};

#define STR(literal)  ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE      ((struct str){NULL, 0})
#define STR_FORMAT    "%.*s"
#define STR_ARGS(str) (int)(str).len, (str).ptr ? (str).ptr : ""

static inline struct str str_of(const char *text) /* NULL gives STR_NONE */
{
    return text ? (struct str){text, strlen(text)} : STR_NONE;
}
static inline struct str str_n(const void *ptr, size_t len)
{
    return (struct str){(const char *)ptr, len};
}
static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* By bytes, as qsort wants it. */
int str_compare(struct str a, struct str b);
bool str_starts(struct str text, struct str prefix);
bool str_ends(struct str text, struct str suffix);
struct str str_trim(struct str text);
/* Cuts `*text` at the first `separator` and returns what stood before it; false when `*text` is
 * used up (absent). "a,,b" gives "a", "", "b". */
bool str_split(struct str *text, char separator, struct str *ret_part);
/* A terminated copy, freed with free(); NULL when memory is short. */
char *str_dup(struct str text);
bool str_is_utf8(struct str text);

/* Whole-text parsers: 0, -EINVAL for anything else than such a text, -ERANGE out of range. */
int str_parse_i64(struct str text, int64_t *ret_value) MUST_CHECK;
int str_parse_u64(struct str text, uint64_t *ret_value) MUST_CHECK;
int str_parse_double(struct str text, double *ret_value) MUST_CHECK; /* C locale, no hex */
int str_parse_bool(struct str text, bool *ret_value) MUST_CHECK; /* yes no true false on off 1 0 */
/* "250ms", "30s", "5min" or "5m", "2h", "1d", "1.5s", plain number = seconds; in microseconds. */
int str_parse_duration(struct str text, uint64_t *ret_usec) MUST_CHECK;
/* "4096", "64K", "16M", "1G"; in bytes. */
int str_parse_size(struct str text, uint64_t *ret_bytes) MUST_CHECK;
