#include "redis/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

struct redis_lookup {
    uv_getaddrinfo_t request;
    redis_lookup_fn *cb;
    void *data;
    bool is_cancelled;
};

static void add(struct redis_addresses *addresses, const void *address, size_t len)
{
    if (addresses->count == REDIS_ADDRESSES_MAX || len > sizeof(addresses->items[0]))
        return;
    memcpy(&addresses->items[addresses->count++], address, len);
}

static void add_number(struct redis_addresses *addresses, const char *host, uint16_t port)
{
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
    if (uv_ip4_addr(host, port, &ip4) == 0)
        add(addresses, &ip4, sizeof(ip4));
    else if (uv_ip6_addr(host, port, &ip6) == 0)
        add(addresses, &ip6, sizeof(ip6));
}

bool redis_addresses_known(const char *host, uint16_t port, struct redis_addresses *ret)
{
    *ret = (struct redis_addresses){.count = 0};
    if (strcasecmp(host, "localhost") == 0) {
        add_number(ret, "127.0.0.1", port);
        add_number(ret, "::1", port);
    } else {
        add_number(ret, host, port);
    }
    return ret->count > 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct redis_lookup *lookup = container_of(request, struct redis_lookup, request);
    struct redis_addresses addresses = {.count = 0};
    for (const struct addrinfo *info = found; info && !status; info = info->ai_next)
        add(&addresses, info->ai_addr, info->ai_addrlen);
    if (lookup->is_cancelled)
        status = UV_ECANCELED;
    else if (!status && addresses.count == 0)
        status = UV_EAI_NODATA;
    lookup->cb(lookup->data, status, status ? NULL : &addresses);
    uv_freeaddrinfo(found);
    mem_free(lookup);
}

int redis_lookup_start(uv_loop_t *loop,
                       const char *host,
                       uint16_t port,
                       redis_lookup_fn *cb,
                       void *data,
                       struct redis_lookup **ret_lookup)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char service[8];
    struct redis_lookup *lookup = mem_new(struct redis_lookup);
    if (!lookup)
        return -ENOMEM;
    lookup->cb = cb;
    lookup->data = data;
    snprintf(service, sizeof(service), "%u", port);
    int status = uv_getaddrinfo(loop, &lookup->request, on_resolved, host, service, &hints);
    if (status) {
        mem_free(lookup);
        return status;
    }
    *ret_lookup = lookup;
    return 0;
}

void redis_lookup_cancel(struct redis_lookup *lookup)
{
    lookup->is_cancelled = true;
    uv_cancel((uv_req_t *)&lookup->request);
}
