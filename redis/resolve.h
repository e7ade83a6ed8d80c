/*
 * Host name to addresses. Numbers and "localhost" are known at once; for other names libuv asks the
 * resolver in a thread of its pool.
 */
#pragma once

#include <netinet/in.h>
#include <uv.h>

#include <stdbool.h>

#include "core/attr.h"

struct redis_lookup;
enum { REDIS_ADDRESSES_MAX = 8 };

struct redis_addresses {
    struct sockaddr_storage items[REDIS_ADDRESSES_MAX];
    unsigned count;
};

/* True when `host` needs no look-up; then `ret` has its addresses. */
bool redis_addresses_known(const char *host, uint16_t port, struct redis_addresses *ret);

/* `addresses` is NULL when `status` is negative. Called once; UV_ECANCELED after
 * redis_lookup_cancel. */
typedef void redis_lookup_fn(void *data, int status, const struct redis_addresses *addresses);

/* `cb` comes from the loop; `*ret_lookup` is good until then. */
int redis_lookup_start(uv_loop_t *loop,
                       const char *host,
                       uint16_t port,
                       redis_lookup_fn *cb,
                       void *data,
                       struct redis_lookup **ret_lookup) MUST_CHECK;
/* Hurries it up; a look-up that its thread has begun ends in its own time. */
void redis_lookup_cancel(struct redis_lookup *lookup);
