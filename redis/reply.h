/*
 * Replies of a Redis server: bytes to a tree, by hiredis's reader. A reader belongs to one socket;
 * the reply it hands out lives until the next call of reply_reader_next or the reader's end.
 */
#pragma once

#include "core/str.h"

enum redis_reply_type {
    REDIS_NIL,
    REDIS_INTEGER,
    REDIS_TEXT,  /* bulk and status replies */
    REDIS_ERROR, /* its words in `text` */
    REDIS_ARRAY,
};

struct redis_reply {
    enum redis_reply_type type;
    union {
        int64_t integer;
        struct str text;
        struct {
            struct redis_reply *items;
            size_t count;
        };
    };
};

#define REPLY_BYTES_MAX ((size_t)2 * 1024 * 1024 * 1024) /* of one reply with its tree */
enum { REPLY_ITEMS_MAX = 1024 * 1024 };                  /* of one array */

struct reply_chunk;
struct reply_reader {
    struct redisReader *parser;
    struct reply_chunk *chunks; /* where the present reply lives; the newest first */
    size_t bytes;               /* in all chunks */
    bool handed_out;            /* the present reply is complete: the next call forgets it */
    bool too_large;             /* why the parser was told that memory is short */
};

int reply_reader_init(struct reply_reader *reader) MUST_CHECK; /* 0 or -ENOMEM */
void reply_reader_deinit(struct reply_reader *reader);

/* Takes in a copy of `bytes`. -ENOMEM, or CEL_E_FORMAT once the stream was found broken. */
int reply_reader_feed(struct reply_reader *reader, struct str bytes) MUST_CHECK;
/*
 * The next whole reply, or NULL in `*ret_reply` when more bytes are needed. CEL_E_FORMAT: this is
 * not the Redis protocol; CEL_E_LIMIT: a reply beyond the limits; -ENOMEM. After a failure the
 * stream has no meaning any more: the connection must end.
 */
int reply_reader_next(struct reply_reader *reader, const struct redis_reply **ret_reply) MUST_CHECK;

/* Item `index` of an array, or a nil when there is none: no reply can lead astray. */
const struct redis_reply *reply_item(const struct redis_reply *reply, size_t index);
/* The text (number) of a reply, or absent (`otherwise`) when it is something else. */
struct str reply_text(const struct redis_reply *reply);
int64_t reply_integer(const struct redis_reply *reply, int64_t otherwise);
size_t reply_count(const struct redis_reply *reply); /* 0 for what is no array */
