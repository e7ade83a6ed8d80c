/*
 * A growing row of bytes with a ceiling. Building is written without a check at each step: the
 * first failure sticks (later additions do nothing) and buf_status() tells it at the end.
 */
#pragma once

#include <stdarg.h>

#include "core/str.h"

struct buf {
    char *ptr; /* always terminated once something was added */
    size_t len;
    size_t cap;
    size_t max; /* never grows beyond; set by buf_init */
    int status; /* 0, -ENOMEM or CEL_E_LIMIT; set by the first failure */
};

#define BUF_INIT(limit) ((struct buf){.max = (limit)})

void buf_init(struct buf *buf, size_t max);
void buf_deinit(struct buf *buf); /* takes NULL; usable again with the same ceiling */
void buf_clear(struct buf *buf);  /* forgets content and failure, keeps memory */
int buf_status(const struct buf *buf) MUST_CHECK;
struct str buf_str(const struct buf *buf); /* borrowed until the next change */
/* The bytes, terminated; the caller frees them; the buf is empty afterwards. NULL after a failure
 * or when nothing was ever added. */
char *buf_take(struct buf *buf, size_t *ret_len);

void buf_add(struct buf *buf, const void *bytes, size_t len);
void buf_add_str(struct buf *buf, struct str text);
void buf_add_c(struct buf *buf, const char *text);
void buf_add_char(struct buf *buf, char c);
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_u64(struct buf *buf, uint64_t value);
void buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes, to be filled by the caller who then calls buf_added(); NULL on
 * failure. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_added(struct buf *buf, size_t len);
/* Removes `len` bytes from the front. */
void buf_consume(struct buf *buf, size_t len);
