/*
 * Replies come from a server that may be another or broken. Whatever the bytes and however they are
 * cut: the same replies come out, of no more memory than the limits say, and reading them in a way
 * that does not fit leads nowhere.
 */
#include <errno.h>

#include "celeriac/error.h"
#include "commands/redis_key.h"
#include "core/mem.h"
#include "redis/reply.h"
#include "tests/fuzz/fuzz.h"

static uint64_t digest(const struct redis_reply *reply, uint64_t sum)
{
    sum = sum * 31 + (uint64_t)reply->type;
    switch (reply->type) {
    case REDIS_NIL:
        break;
    case REDIS_INTEGER:
        sum = sum * 31 + (uint64_t)reply->integer;
        break;
    case REDIS_TEXT:
    case REDIS_ERROR:
        ASSERT(reply->text.ptr && reply->text.ptr[reply->text.len] == '\0');
        for (size_t i = 0; i < reply->text.len; i++)
            sum = sum * 31 + (unsigned char)reply->text.ptr[i];
        break;
    case REDIS_ARRAY:
        for (size_t i = 0; i < reply->count; i++)
            sum = digest(&reply->items[i], sum);
        break;
    }
    return sum;
}

/* What the broker's files ask of any reply. */
static void ask_anything(const struct redis_reply *reply)
{
    const struct key_space space = {.prefix = STR_NONE};
    struct str name = STR_NONE;
    uint64_t n;
    unsigned step;
    ASSERT(reply_item(reply, reply_count(reply))->type == REDIS_NIL);
    (void)reply_integer(reply_item(reply_item(reply, 0), 1), 0);
    struct str text = reply_text(reply_item(reply, 0));
    if (!text.ptr)
        return;
    if (key_tag_parse(text, &n, &step) == 0)
        ASSERT(step_is_valid(step));
    if (key_parse(text, &space, &name) != KEY_OTHER)
        ASSERT(name.ptr >= text.ptr && name.ptr + name.len <= text.ptr + text.len);
    name = key_binding_queue(text);
    ASSERT(name.len <= text.len);
}

/* Feeds `bytes` in parts of `part`; returns a digest of all replies and how the stream ended. */
static uint64_t read_all(struct str bytes, size_t part)
{
    struct reply_reader reader;
    uint64_t sum = 1;
    int r = reply_reader_init(&reader);
    ASSERT(r == 0);
    for (size_t at = 0; at < bytes.len && !r; at += part) {
        size_t len = bytes.len - at < part ? bytes.len - at : part;
        r = reply_reader_feed(&reader, str_n(bytes.ptr + at, len));
        const struct redis_reply *reply = NULL;
        while (!r && (r = reply_reader_next(&reader, &reply)) == 0 && reply) {
            ask_anything(reply);
            sum = digest(reply, sum);
        }
    }
    ASSERT(r == 0 || r == CEL_E_FORMAT || r == CEL_E_LIMIT);
    reply_reader_deinit(&reader);
    return sum * 31 + (uint64_t)-r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n(data, size);
    if (size == 0)
        return 0;
    uint64_t whole = read_all(bytes, size);
    ASSERT(read_all(bytes, 1) == whole);
    ASSERT(read_all(bytes, 1 + size / 3) == whole);
    return 0;
}
