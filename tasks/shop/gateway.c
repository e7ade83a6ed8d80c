/*
 * Answers drawn from the order and the attempt: whether an order is declined depends on the order
 * alone, whether the gateway is busy also on the attempt.
 */
#include "shop/gateway.h"

#include <inttypes.h>
#include <stdio.h>

/* splitmix64: spreads neighbouring numbers evenly. */
static uint64_t spread(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

enum gateway_answer gateway_take(const struct gateway_charge *charge,
                                 int64_t busy_percent,
                                 int64_t decline_percent,
                                 char reference[GATEWAY_REFERENCE_SIZE])
{
    uint64_t order = spread((uint64_t)charge->order_id);
    uint64_t attempt = spread(order + (uint64_t)charge->attempt);

    if ((int64_t)(attempt % 100) < busy_percent)
        return GATEWAY_BUSY;
    if ((int64_t)(order % 100) < decline_percent)
        return GATEWAY_DECLINED;
    snprintf(reference, GATEWAY_REFERENCE_SIZE, "pay-%" PRId64 "-%08" PRIx32, charge->order_id,
             (uint32_t)order);
    return GATEWAY_TAKEN;
}
