/*
 * What a connection says for itself: the greeting, the PING, the loading of a script; and what a
 * refusal of its greeting means. It knows no key.
 */
#pragma once

#include "core/buf.h"
#include "redis/pipeline.h"
#include "redis/reply.h"
#include "redis/url.h"

/* One step of the greeting. */
enum redis_hello {
    REDIS_HELLO_AUTH,
    REDIS_HELLO_SELECT,
    REDIS_HELLO_ID,
    REDIS_HELLO_ROLE, /* of a server that a sentinel has named */
    REDIS_HELLO_PING,
};
enum { REDIS_HELLO_STEPS = 5 };

/* Writes the greeting; `ret_steps` has room for REDIS_HELLO_STEPS. 0 or -ENOMEM. */
int redis_hello(const struct url *url,
                bool wants_id,
                struct buf *buf,
                enum redis_hello *ret_steps,
                unsigned *ret_count) MUST_CHECK;
/* True when the connection is good even though `step` was answered by these words. */
bool redis_hello_may_fail(enum redis_hello step, struct str words);
/* CEL_E_AUTH or CEL_E_SERVER when these words refuse the connection for good; 0 when it may be
 * better later. */
int redis_hello_refusal(enum redis_hello step, struct str words);
/* False when the reply to ROLE says that this is no master. */
bool redis_hello_is_master(const struct redis_reply *reply);

bool redis_reply_is_push(const struct redis_reply *reply);

/* These set the bytes of a request: 0 or -ENOMEM. */
int redis_load(struct redis_request *request, const struct redis_script *script) MUST_CHECK;
int redis_ping(struct redis_request *request) MUST_CHECK;
