/*
 * Asking one sentinel where the master is: a socket of its own, one question, one answer. It knows
 * no time; whoever asks gives up when it takes too long.
 *
 *   LOOKING UP -> CONNECTING -> ASKING -> answered -> (closing) -> ended
 *        \____________\___________\________ ^ failed, or given up
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "redis/reply.h"
#include "redis/url.h"

#include <uv.h>

struct redis_sentinel;

struct redis_sentinel_master {
    char host[256]; /* address or name */
    uint16_t port;
};

/* What the connections to one URL know together; zeroed at first. */
struct redis_sentinels {
    unsigned first;                      /* which one is asked first: it knew better than others */
    struct redis_sentinel_master master; /* as one has named it; host "": none has */
    usec_t asked_mono, answered_mono;    /* by a connection that is READY, to stay so */
};

struct redis_sentinel_events {
    /* At most once, never from inside redis_sentinel_ask and not after redis_sentinel_give_up.
     * `master` is NULL when there is no answer; then `why` says so. */
    void (*answered)(void *owner, const struct redis_sentinel_master *master, const char *why);
    void (*ended)(void *owner); /* the last word */
};

/* Asks number `index` of the URL's sentinels. -ENOMEM, or a failure of libuv, and then no event. */
int redis_sentinel_ask(uv_loop_t *loop,
                       const struct url *url,
                       unsigned index,
                       struct str read_buffer,
                       const struct redis_sentinel_events *events,
                       void *owner,
                       struct redis_sentinel **ret_sentinel) MUST_CHECK;
void redis_sentinel_give_up(struct redis_sentinel *sentinel);

/* The question as it goes out; `*ret_replies` answers follow. 0 or -ENOMEM. */
int redis_sentinel_question(const struct url *url,
                            struct buf *buf,
                            unsigned *ret_replies) MUST_CHECK;
/* Reads the last of them. CEL_E_FORMAT: it names no server, and `err` says what it is instead. */
int redis_sentinel_read(const struct redis_reply *reply,
                        struct redis_sentinel_master *ret,
                        struct cel_error *err) MUST_CHECK;
