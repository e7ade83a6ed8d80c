/*
 * Acknowledges calls before they run, for tasks that ask for it (acks_late off: at most once). The
 * run waits for the answer: a call whose acknowledgement did not arrive is still in flight, and if
 * this worker died in the middle of it others would run it again.
 *
 *     ACKING --acknowledged--------------------------------------------------> READY, in front
 *        |  ^                                                                    ^
 *        |  +-- not known, not sent: once more, after a pause                    |
 *        |                                                                       |
 *        +-- gone: since an earlier try had arrived? only if the lease stands ---+
 *        +-- gone, otherwise: it is others' ------------------------------------> lost
 */
#pragma once

#include <uv.h>

#include "worker/request.h"

/* 0: it is acknowledged and may run. BROKER_E_LOST: it must not. -ECANCELED: the broker was closed. */
typedef void early_acked_fn(void *data, struct request *request, int status);

struct early_acks {
    struct broker *broker;
    struct requests *requests;
    usec_t lease; /* how long a renewed one lives */
    early_acked_fn *acked;
    void *data;
    uv_timer_t timer;  /* until failed ones are tried again */
    unsigned failures; /* in a row */
};

void early_acks_init(struct early_acks *acks,
                     uv_loop_t *loop,
                     struct broker *broker,
                     struct requests *requests,
                     usec_t lease,
                     early_acked_fn *acked,
                     void *data);
void early_acks_stop(struct early_acks *acks);
void early_acks_deinit(struct early_acks *acks);
/* Of a request in ACKING. */
void early_ack(struct early_acks *acks, struct request *request);
