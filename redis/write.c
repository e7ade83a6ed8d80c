/*
 * hiredis could format commands (redisFormatCommandArgv), at a price that shows: it measures every
 * argument with sprintf. For the three arguments of a push it takes 260 ns where this takes 40, for
 * the nine of a completion 630 ns against 100, when the whole task costs the supervisor a few
 * microseconds.
 */
#include "redis/write.h"

#define COMMAND_BYTES_MAX ((size_t)1024 * 1024 * 1024) /* Redis's client-query-buffer-limit */
enum { HEAD_MAX = 24 };                                /* "$<digits>\r\n" */

static size_t write_head(char *at, char kind, size_t number)
{
    char digits[HEAD_MAX];
    size_t first = sizeof(digits), len = 0;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    at[len++] = kind;
    memcpy(at + len, digits + first, sizeof(digits) - first);
    len += sizeof(digits) - first;
    at[len++] = '\r';
    at[len++] = '\n';
    return len;
}

struct buf write_begin(size_t count, size_t payload)
{
    struct buf buf = BUF_INIT(COMMAND_BYTES_MAX);
    if (buf_reserve(&buf, HEAD_MAX + payload + count * 12))
        write_next(&buf, count);
    return buf;
}

void write_next(struct buf *buf, size_t count)
{
    char *at = buf_reserve(buf, HEAD_MAX);
    if (at)
        buf_added(buf, write_head(at, '*', count));
}

void write_arg(struct buf *buf, struct str arg)
{
    char *at = buf_reserve(buf, HEAD_MAX + arg.len + 2);
    if (!at)
        return;
    size_t len = write_head(at, '$', arg.len);
    if (arg.len)
        memcpy(at + len, arg.ptr, arg.len);
    len += arg.len;
    at[len++] = '\r';
    at[len++] = '\n';
    buf_added(buf, len);
}

void write_u64(struct buf *buf, uint64_t number)
{
    char digits[HEAD_MAX];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    write_arg(buf, str_n(digits + first, sizeof(digits) - first));
}

size_t write_open(struct buf *buf)
{
    if (buf_reserve(buf, HEAD_MAX))
        buf_added(buf, HEAD_MAX);
    return buf->len;
}

void write_close(struct buf *buf, size_t start)
{
    char head[HEAD_MAX];
    if (buf_status(buf))
        return;
    size_t len = buf->len - start, head_len = write_head(head, '$', len);
    memmove(buf->ptr + start - HEAD_MAX + head_len, buf->ptr + start, len);
    memcpy(buf->ptr + start - HEAD_MAX, head, head_len);
    buf->len -= HEAD_MAX - head_len;
    buf_add(buf, "\r\n", 2);
}
