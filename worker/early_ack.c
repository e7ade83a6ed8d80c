#include "worker/early_ack.h"

#include <errno.h>

#include "core/backoff.h"
#include "core/log.h"

#define ACK_DEADLINE_USEC (10 * USEC_PER_SEC)
static const struct backoff ack_backoff = {.first = 20 * USEC_PER_MSEC, .cap = USEC_PER_SEC};

void early_acks_init(struct early_acks *acks,
                     uv_loop_t *loop,
                     struct broker *broker,
                     struct requests *requests,
                     usec_t lease,
                     early_acked_fn *acked,
                     void *data)
{
    *acks = (struct early_acks){
        .broker = broker, .requests = requests, .lease = lease, .acked = acked, .data = data};
    uv_timer_init(loop, &acks->timer);
}

void early_acks_stop(struct early_acks *acks)
{
    uv_timer_stop(&acks->timer);
}

void early_acks_deinit(struct early_acks *acks)
{
    uv_close((uv_handle_t *)&acks->timer, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct early_acks *acks = container_of(timer, struct early_acks, timer);
    struct list_link *link = acks->requests->lists[REQUEST_ACKING].head;
    while (link) {
        struct request *request = container_of(link, struct request, link);
        link = link->next;
        if (!request->ack.under_way)
            early_ack(acks, request);
    }
}

static void try_later(struct early_acks *acks, const struct cel_error *err)
{
    if (uv_is_active((uv_handle_t *)&acks->timer))
        return;
    if (acks->failures == 0)
        log_warning("Tasks cannot be acknowledged before they run; they wait",
                    F_C("err", err ? err->text : NULL));
    usec_t delay = backoff_delay(&ack_backoff, acks->failures++, backoff_random());
    uv_timer_start(&acks->timer, on_timer, delay / USEC_PER_MSEC, 0);
}

static void finish(struct early_acks *acks, struct request *request, int status)
{
    acks->failures = 0;
    request->ack.is_done = status == 0;
    acks->acked(acks->data, request, status);
}

/* The lease stands after the claim was found gone: nobody else has taken it from here. (A failover that
 * lost the claim, and not the lease, has the message in its queue still: then it runs twice.) */
static void on_renewed(void *data,
                       int status,
                       const struct broker_claim *held,
                       size_t count,
                       const struct cel_error *err)
{
    struct request *request = data;
    struct early_acks *acks = request->ack.acks;
    (void)held, (void)count;
    request->ack.under_way = false;
    if (status == 0 || status == BROKER_E_LOST || status == -ECANCELED)
        finish(acks, request, status);
    else
        try_later(acks, err);
}

static void look(struct early_acks *acks, struct request *request)
{
    usec_t deadline = clock_mono() + ACK_DEADLINE_USEC;
    request->ack.under_way = broker_renew(acks->broker, request->claim.queue, acks->lease, false,
                                          deadline, on_renewed, request) == 0;
    if (!request->ack.under_way)
        try_later(acks, NULL);
}

static void on_acked(void *data, int status, const struct cel_error *err)
{
    struct request *request = data;
    struct early_acks *acks = request->ack.acks;
    request->ack.under_way = false;
    if (status == BROKER_E_LOST && request->ack.uncertain) {
        look(acks, request);
    } else if (status == 0 || status == BROKER_E_LOST || status == -ECANCELED) {
        finish(acks, request, status);
    } else {
        if (status == CEL_E_UNCERTAIN)
            request->ack.uncertain = true;
        try_later(acks, err);
    }
}

void early_ack(struct early_acks *acks, struct request *request)
{
    usec_t deadline = clock_mono() + ACK_DEADLINE_USEC;
    ASSERT(request->state == REQUEST_ACKING && !request->ack.under_way);
    request->ack.acks = acks;
    request->ack.under_way =
        broker_ack(acks->broker, &request->claim, deadline, on_acked, request) == 0;
    if (!request->ack.under_way)
        try_later(acks, NULL);
}
