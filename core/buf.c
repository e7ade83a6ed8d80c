#include "core/buf.h"

#include <errno.h>
#include <stdio.h>

#include "core/error.h"
#include "core/mem.h"

enum { FIRST_CAP = 64 };

void buf_init(struct buf *buf, size_t max)
{
    *buf = BUF_INIT(max);
}

void buf_deinit(struct buf *buf)
{
    if (!buf)
        return;
    mem_free(buf->ptr);
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->status = 0;
    if (buf->ptr)
        buf->ptr[0] = '\0';
}

int buf_status(const struct buf *buf)
{
    return buf->status;
}

struct str buf_str(const struct buf *buf)
{
    return str_n(buf->ptr, buf->len);
}

char *buf_take(struct buf *buf, size_t *ret_len)
{
    if (buf->status < 0 || !buf->ptr)
        return NULL;
    char *bytes = buf->ptr;
    if (ret_len)
        *ret_len = buf->len;
    buf_init(buf, buf->max);
    return bytes;
}

/* At least doubled, so that adding byte by byte stays linear; no more than the ceiling asks for. */
static size_t grown_cap(const struct buf *buf, size_t need)
{
    size_t cap = buf->cap <= SIZE_MAX / 2 ? buf->cap * 2 : SIZE_MAX;
    if (cap < FIRST_CAP)
        cap = FIRST_CAP;
    if (buf->max < SIZE_MAX && cap > buf->max + 1)
        cap = buf->max + 1;
    return cap < need ? need : cap;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (buf->status < 0)
        return NULL;
    if (len > buf->max - buf->len || len >= SIZE_MAX - buf->len) {
        buf->status = CEL_E_LIMIT;
        return NULL;
    }
    size_t need = buf->len + len + 1; /* the terminator */
    if (need > buf->cap) {
        size_t cap = grown_cap(buf, need);
        char *grown = mem_grow(buf->ptr, cap, 1);
        if (!grown) {
            buf->status = -ENOMEM;
            return NULL;
        }
        buf->ptr = grown;
        buf->cap = cap;
        buf->ptr[buf->len] = '\0';
    }
    return buf->ptr + buf->len;
}

void buf_added(struct buf *buf, size_t len)
{
    ASSERT(buf->ptr && len < buf->cap - buf->len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    char *room = buf_reserve(buf, len);
    if (!room)
        return;
    if (len > 0)
        memcpy(room, bytes, len);
    buf_added(buf, len);
}

void buf_add_str(struct buf *buf, struct str text)
{
    buf_add(buf, text.ptr, text.len);
}

void buf_add_c(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_add(buf, digits + at, sizeof(digits) - at);
}

void buf_add_i64(struct buf *buf, int64_t value)
{
    if (value < 0)
        buf_add_char(buf, '-');
    buf_add_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void buf_addf(struct buf *buf, const char *format, ...)
{
    char *room = buf_reserve(buf, 0);
    if (!room)
        return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(room, buf->cap - buf->len, format, args);
    va_end(args);
    buf->ptr[buf->len] = '\0'; /* nothing is added until it is known to fit */
    if (len < 0) {
        buf->status = -errno;
        return;
    }
    room = buf_reserve(buf, (size_t)len);
    if (!room)
        return;
    va_start(args, format);
    vsnprintf(room, (size_t)len + 1, format, args);
    va_end(args);
    buf_added(buf, (size_t)len);
}

void buf_consume(struct buf *buf, size_t len)
{
    ASSERT(len <= buf->len);
    if (len == 0)
        return;
    buf->len -= len;
    memmove(buf->ptr, buf->ptr + len, buf->len + 1);
}
