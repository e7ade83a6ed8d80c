/*
 * The payment gateway, as an order sees it. This one keeps its books nowhere and answers by rule,
 * so that a demonstration can be repeated; a real one is an HTTP call with the same three answers.
 * It would also be told of orders that end cancelled, to give back what a lost transaction had
 * taken.
 */
#pragma once

#include <celeriac/task.h>

enum gateway_answer {
    GATEWAY_TAKEN,    /* the amount is captured; `reference` names the transaction */
    GATEWAY_BUSY,     /* not now; nothing was captured */
    GATEWAY_DECLINED, /* never */
};

enum { GATEWAY_REFERENCE_SIZE = 64 };

struct gateway_charge {
    int64_t order_id;
    int64_t attempt;    /* 0 at first */
    const char *amount; /* decimal text */
};

/*
 * Takes a payment. The order's id is the idempotency key: charging an order again after it was
 * taken gives the same reference. `busy_percent` and `decline_percent` are 0 ... 100.
 */
enum gateway_answer gateway_take(const struct gateway_charge *charge,
                                 int64_t busy_percent,
                                 int64_t decline_percent,
                                 char reference[GATEWAY_REFERENCE_SIZE]);
