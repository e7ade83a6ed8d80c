/*
 * Sending. Every call is turned into bytes before the first byte leaves, so a call that cannot be
 * sent is found while nothing has happened yet; then the messages go in slices, each one pipelined
 * write, and the next slice follows when Redis has confirmed the one before. A slice bounds what
 * the connection buffers, and what is uncertain when the connection ends.
 *
 * With a dedupe window Redis pushes a message whose id it has seen only once: then a slice whose
 * fate is not known is sent again, until the deadline, and so is one that was not confirmed because
 * its connection ended.
 */
#include <errno.h>

#include "client/exchange.h"
#include "core/id.h"
#include "core/mem.h"
#include "message/call.h"
#include "message/envelope.h"

enum { SLICE = 1024 };

struct batch {
    struct buf bytes; /* the messages, one after the other */
    struct broker_message *messages;
    size_t count;
    char (*ids)[UUID_SIZE]; /* new ones, when the messages name them; or NULL */
    bool takes_exchange;    /* one call alone: its message goes to each of these queues */
    struct queue_list queues;
};

static void batch_deinit(struct batch *batch)
{
    buf_deinit(&batch->bytes);
    mem_free(batch->messages);
    mem_free(batch->ids);
    queue_list_deinit(&batch->queues);
}

static int encode_one(const struct cel_client *client,
                      const struct cel_call *call,
                      struct batch *batch,
                      char *ret_id,
                      struct cel_error *err)
{
    if (!call)
        return error_set(err, -EINVAL, "The call is NULL");
    char id[UUID_SIZE], tag[UUID_SIZE];
    const struct call_context context = {
        .id = uuid_new(batch->ids ? batch->ids[batch->count] : id),
        .delivery_tag = uuid_new(tag),
        .default_queue = str_of(client->queue),
        .routes = &client->routes,
        .origin = str_of(client->origin),
        .now_wall = clock_wall(),
        .knows_exchanges = batch->takes_exchange,
    };
    size_t start = batch->bytes.len;
    struct str used_id, queue;
    int status = call_encode(call, &context, &batch->bytes, &used_id, &queue, err);
    if (status)
        return status;
    size_t len = batch->bytes.len - start;
    if (len > ENVELOPE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "The message has %zu bytes; %zu is the limit", len,
                         ENVELOPE_BYTES_MAX);
    if (ret_id)
        call_hand_out_id(used_id, ret_id);
    batch->messages[batch->count++] = (struct broker_message){
        .queue = queue,
        .step = priority_step(call->priority),
        .bytes =
            str_n(NULL, len), /* batch_encode knows where, when the buffer has stopped moving */
        .id = batch->ids ? used_id : STR_NONE,
    };
    return 0;
}

static int batch_encode(struct batch *batch,
                        const struct cel_client *client,
                        const struct cel_call *const *calls,
                        size_t count,
                        char (*ret_ids)[CEL_ID_SIZE],
                        struct cel_error *err)
{
    batch->messages = mem_array(count, sizeof(*batch->messages));
    if (client->promises.once_within)
        batch->ids = mem_array(count, sizeof(*batch->ids));
    if (!batch->messages || (client->promises.once_within && !batch->ids))
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        int status = encode_one(client, calls[i], batch, ret_ids ? ret_ids[i] : NULL, err);
        if (status) {
            if (count > 1)
                error_wrap(err, "call %zu of %zu", i + 1, count);
            return status;
        }
    }
    const char *at = batch->bytes.ptr;
    for (size_t i = 0; i < count; i++) {
        batch->messages[i].bytes.ptr = at;
        at += batch->messages[i].bytes.len;
    }
    return 0;
}

/* The one message of the batch becomes as many as its exchange has queues for it. */
static int spread(struct batch *batch,
                  struct cel_client *client,
                  const struct cel_call *call,
                  usec_t deadline_mono,
                  struct cel_error *err)
{
    struct queue_list *queues = &batch->queues;
    int status = exchange_find(client, str_of(call->to_exchange), str_of(call->to_key),
                               deadline_mono, queues, err);
    if (status)
        return status;
    struct broker_message *messages =
        mem_grow(batch->messages, queues->count, sizeof(*batch->messages));
    if (!messages)
        return error_no_memory(err);
    batch->messages = messages;
    batch->count = queues->count;
    for (size_t i = 0; i < queues->count; i++) {
        messages[i] = messages[0];
        messages[i].queue = str_of(queues->items[i]);
    }
    return 0;
}

/* How far a sending came: as struct broker_pushed, over all its slices. */
struct progress {
    size_t sent, possible;
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* With a dedupe window asking again does no harm; true when it may also give a better answer. */
static bool is_worth_repeating(const struct cel_client *client,
                               int status,
                               const struct broker_pushed *pushed,
                               usec_t deadline_mono)
{
    return client->promises.once_within && clock_mono() < deadline_mono &&
           (status == CEL_E_UNCERTAIN || (status == CEL_E_UNCONFIRMED && pushed->is_cut));
}

/* The next slice of `all`; with chords that is all of it, one step. */
static int push_slice(struct cel_client *client,
                      const struct broker_publication *all,
                      usec_t deadline_mono,
                      struct progress *progress,
                      struct cel_error *err)
{
    size_t left = all->count - progress->sent, begin = progress->sent;
    size_t end = begin + (left < SLICE || all->chord_count ? left : SLICE);
    struct broker_pushed pushed;
    int status;
    do {
        struct client_wait wait = {0};
        struct broker_publication slice = *all;
        slice.messages += begin;
        slice.count = end - begin;
        pushed = (struct broker_pushed){0};
        status = client_wait(
            client, &wait,
            broker_publish(client->broker, &slice, deadline_mono, &pushed, on_client_done, &wait),
            err);
        progress->sent = larger(progress->sent, begin + pushed.sure);
        progress->possible = larger(progress->possible, begin + pushed.possible);
        /* What shall be confirmed is pushed again as a whole: the first part may be with a master that
         * is none any more, and the confirmation speaks of the present one. */
        if (!client->promises.replicas && !client->promises.disk)
            begin = progress->sent;
    } while (is_worth_repeating(client, status, &pushed, deadline_mono));
    if (status && status != CEL_E_UNCONFIRMED && progress->sent == end)
        return error_set(err, CEL_E_UNCONFIRMED, "no confirmation came: %s", err->text);
    return status;
}

/* Puts in front of the reason what has become of the calls, and makes the code say so too. */
static int tell_failure(const struct broker_publication *all,
                        const struct progress *progress,
                        struct cel_error *err)
{
    size_t sent = progress->sent, count = all->count;
    bool is_one = count == 1 || all->chord_count > 0;
    if (progress->possible > sent) {
        err->code = CEL_E_UNCERTAIN;
        return is_one ? error_wrap(err, "It may have arrived")
                      : error_wrap(err,
                                   "Of %zu calls the first %zu were sent, the next %zu may "
                                   "have arrived, the others were not sent",
                                   count, sent, progress->possible - sent);
    }
    if (sent == count)
        return error_wrap(err, "%s sent%s, but", is_one ? "It was" : "All were",
                          all->promises.once_within ? "" : " (sent again it would arrive twice)");
    return is_one ? error_wrap(err, "Not sent")
                  : error_wrap(err, "Of %zu calls the first %zu were sent, the others were not",
                               count, sent);
}

static int push_all(struct cel_client *client,
                    const struct broker_publication *all,
                    usec_t deadline_mono,
                    size_t *ret_sent,
                    struct cel_error *err)
{
    struct progress progress = {0};
    int status = 0;
    while (!status && progress.sent < all->count)
        status = push_slice(client, all, deadline_mono, &progress, err);
    *ret_sent = progress.sent;
    return status ? tell_failure(all, &progress, err) : 0;
}

int client_push(struct cel_client *client,
                const struct broker_message *messages,
                size_t count,
                const struct plan_chord *chords,
                size_t chord_count,
                size_t *ret_sent,
                struct cel_error *err)
{
    const struct broker_publication all = {messages, count, chords, chord_count, client->promises};
    return push_all(client, &all, client_deadline(client), ret_sent, err);
}

/* Some of the queues of its exchange may have it. */
static int tell_spread(size_t count, size_t sent, struct cel_error *err)
{
    if (sent > 0 && err->code != CEL_E_UNCONFIRMED)
        err->code = CEL_E_UNCERTAIN;
    return error_wrap(err, "To the %zu queues of its exchange", count);
}

static int send_calls(struct cel_client *client,
                      const struct cel_call *const *calls,
                      size_t count,
                      char (*ret_ids)[CEL_ID_SIZE],
                      size_t *ret_sent,
                      struct cel_error *err)
{
    struct cel_error unheard;
    if (!err)
        err = &unheard;
    int status = client_begin(client, err);
    if (status)
        return status;
    usec_t deadline = client_deadline(client);
    CLEANUP(batch_deinit)
    struct batch batch = {.bytes = BUF_INIT(SIZE_MAX), .takes_exchange = !ret_sent};
    status = batch_encode(&batch, client, calls, count, ret_ids, err);
    if (!status && batch.takes_exchange && calls[0]->to_exchange)
        status = spread(&batch, client, calls[0], deadline, err);
    if (status)
        return status;
    const struct broker_publication all = {batch.messages, batch.count, NULL, 0, client->promises};
    size_t sent;
    status = push_all(client, &all, deadline, &sent, err);
    if (ret_sent)
        *ret_sent = sent;
    return status && batch.count > count ? tell_spread(batch.count, sent, err) : status;
}

int cel_send(struct cel_client *client,
             const struct cel_call *call,
             char *ret_id,
             struct cel_error *err)
{
    return send_calls(client, &call, 1, (char(*)[CEL_ID_SIZE])ret_id, NULL, err);
}

int cel_send_bulk(struct cel_client *client,
                  struct cel_call *const *calls,
                  size_t count,
                  char (*ret_ids)[CEL_ID_SIZE],
                  size_t *ret_sent,
                  struct cel_error *err)
{
    size_t unheard;
    if (!ret_sent)
        ret_sent = &unheard;
    *ret_sent = 0;
    if (count && !calls)
        return error_set(err, -EINVAL, "cel_send_bulk: calls is NULL");
    if (!count)
        return client_begin(client, err);
    return send_calls(client, (const struct cel_call *const *)calls, count, ret_ids, ret_sent, err);
}
