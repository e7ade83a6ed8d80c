/*
 * hiredis's reader calls back for each part of a reply. It finds its place through the task: `obj`
 * of the parent is the array that it belongs to, `idx` the place in it. Everything of one reply is
 * taken from chunks of memory that are kept for the next, so a reply costs no allocation as a rule
 * and its release is one step. Text is copied: the reader moves its buffer while it works.
 */
#include "redis/reply.h"

#include <errno.h>

#include <hiredis/read.h>

#include "core/error.h"
#include "core/mem.h"

enum {
    CHUNK_FIRST = 16 * 1024,
    CHUNK_KEPT_MAX = 1024 * 1024,  /* larger ones are given back after their reply */
    BUFFER_KEPT_MAX = 1024 * 1024, /* the same for the parser's own buffer */
    ALIGNMENT = 8,
};

struct reply_chunk {
    struct reply_chunk *older;
    size_t cap, used;
    char bytes[];
};

static struct reply_chunk *chunk_add(struct reply_reader *reader, size_t need)
{
    size_t cap = reader->chunks ? reader->chunks->cap * 2 : CHUNK_FIRST;
    if (cap > CHUNK_KEPT_MAX)
        cap = CHUNK_KEPT_MAX;
    if (cap < need)
        cap = need;
    struct reply_chunk *chunk = mem_grow(NULL, sizeof(*chunk) + cap, 1);
    if (!chunk)
        return NULL;
    *chunk = (struct reply_chunk){.older = reader->chunks, .cap = cap};
    reader->chunks = chunk;
    reader->bytes += cap;
    return chunk;
}

static void *refuse(struct reply_reader *reader)
{
    reader->too_large = true;
    return NULL;
}

static void *take(struct reply_reader *reader, size_t size)
{
    struct reply_chunk *chunk = reader->chunks;
    if (size > REPLY_BYTES_MAX - ALIGNMENT)
        return refuse(reader);
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (!chunk || chunk->cap - chunk->used < size) {
        if (reader->bytes > REPLY_BYTES_MAX - size)
            return refuse(reader);
        chunk = chunk_add(reader, size);
        if (!chunk)
            return NULL;
    }
    void *at = chunk->bytes + chunk->used;
    chunk->used += size;
    return at;
}

/* Keeps the newest chunk, which is the largest, unless a huge reply made it. */
static void forget(struct reply_reader *reader)
{
    struct reply_chunk *keep = reader->chunks;
    if (keep && keep->cap > CHUNK_KEPT_MAX)
        keep = NULL;
    while (reader->chunks) {
        struct reply_chunk *chunk = reader->chunks;
        reader->chunks = chunk->older;
        if (chunk != keep)
            mem_free(chunk);
    }
    reader->bytes = keep ? keep->cap : 0;
    reader->chunks = keep;
    if (keep) {
        keep->older = NULL;
        keep->used = 0;
    }
    reader->handed_out = false;
}

static struct redis_reply *place(const redisReadTask *task, enum redis_reply_type type)
{
    struct redis_reply *reply = task->parent
                                    ? &((struct redis_reply *)task->parent->obj)->items[task->idx]
                                    : take(task->privdata, sizeof(*reply));
    if (reply)
        *reply = (struct redis_reply){.type = type};
    return reply;
}

static void *create_text(const redisReadTask *task, char *bytes, size_t len)
{
    struct redis_reply *reply =
        place(task, task->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_TEXT);
    char *copy = reply ? take(task->privdata, len + 1) : NULL;
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    reply->text = str_n(copy, len);
    return reply;
}

static void *create_array(const redisReadTask *task, int count)
{
    struct redis_reply *reply = place(task, REDIS_ARRAY);
    if (!reply)
        return NULL;
    if (count < 0 || count > REPLY_ITEMS_MAX)
        return refuse(task->privdata);
    size_t size = (size_t)count * sizeof(*reply->items);
    reply->items = take(task->privdata, size ? size : 1);
    if (!reply->items)
        return NULL;
    memset(reply->items, 0, size);
    reply->count = (size_t)count;
    return reply;
}

static void *create_integer(const redisReadTask *task, long long number)
{
    struct redis_reply *reply = place(task, REDIS_INTEGER);
    if (reply)
        reply->integer = number;
    return reply;
}

static void *create_nil(const redisReadTask *task)
{
    return place(task, REDIS_NIL);
}

static void free_nothing(void *reply)
{
    (void)reply; /* it lives in the chunks */
}

static redisReplyObjectFunctions functions = {
    .createString = create_text,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_nothing,
};

int reply_reader_init(struct reply_reader *reader)
{
    *reader = (struct reply_reader){.parser = redisReaderCreateWithFunctions(&functions)};
    if (!reader->parser)
        return -ENOMEM;
    reader->parser->maxbuf = BUFFER_KEPT_MAX;
    reader->parser->privdata = reader;
    return 0;
}

void reply_reader_deinit(struct reply_reader *reader)
{
    if (!reader || !reader->parser)
        return;
    redisReaderFree(reader->parser);
    reader->parser = NULL;
    forget(reader);
    mem_free(reader->chunks);
    reader->chunks = NULL;
}

static int failure(const struct reply_reader *reader)
{
    if (reader->parser->err == REDIS_ERR_OOM)
        return reader->too_large ? CEL_E_LIMIT : -ENOMEM;
    return CEL_E_FORMAT;
}

int reply_reader_feed(struct reply_reader *reader, struct str bytes)
{
    if (reader->parser->len > REPLY_BYTES_MAX)
        return CEL_E_LIMIT;
    return redisReaderFeed(reader->parser, bytes.ptr, bytes.len) == REDIS_OK ? 0 : failure(reader);
}

int reply_reader_next(struct reply_reader *reader, const struct redis_reply **ret_reply)
{
    void *reply = NULL;
    if (reader->handed_out)
        forget(reader);
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK)
        return failure(reader);
    reader->handed_out = reply != NULL;
    *ret_reply = reply;
    return 0;
}

const struct redis_reply *reply_item(const struct redis_reply *reply, size_t index)
{
    static const struct redis_reply nothing = {.type = REDIS_NIL};
    return index < reply_count(reply) ? &reply->items[index] : &nothing;
}

struct str reply_text(const struct redis_reply *reply)
{
    return reply && reply->type == REDIS_TEXT ? reply->text : STR_NONE;
}

int64_t reply_integer(const struct redis_reply *reply, int64_t otherwise)
{
    return reply && reply->type == REDIS_INTEGER ? reply->integer : otherwise;
}

size_t reply_count(const struct redis_reply *reply)
{
    return reply && reply->type == REDIS_ARRAY ? reply->count : 0;
}
