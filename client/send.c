/*
 * Sending. Every call is turned into bytes before the first byte leaves, so a call that cannot be
 * sent is found while nothing has happened yet; then the messages go in slices, each one pipelined
 * write, and the next slice follows when Redis has confirmed the one before. A slice bounds what
 * the connection buffers, and what is uncertain when the connection ends.
 */
#include <errno.h>

#include "client/handle.h"
#include "core/id.h"
#include "core/mem.h"
#include "message/call.h"
#include "message/envelope.h"

enum { SLICE = 1024 };

struct batch {
    struct buf bytes; /* the messages, one after the other */
    struct broker_message *messages;
    size_t count;
};

static void batch_deinit(struct batch *batch)
{
    buf_deinit(&batch->bytes);
    mem_free(batch->messages);
}

static void hand_out_id(struct str id, char *ret_id)
{
    size_t len = id.len < CEL_ID_SIZE ? id.len : 0;
    memcpy(ret_id, id.ptr, len);
    ret_id[len] = '\0';
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
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = str_of(client->queue),
        .origin = str_of(client->origin),
        .now_wall = clock_wall(),
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
        hand_out_id(used_id, ret_id);
    batch->messages[batch->count++] = (struct broker_message){
        .queue = queue,
        .step = priority_step(call->priority),
        .bytes =
            str_n(NULL, len), /* batch_encode knows where, when the buffer has stopped moving */
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
    if (!batch->messages)
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

static int push_slices(struct cel_client *client,
                       const struct batch *batch,
                       size_t *ret_sent,
                       struct cel_error *err)
{
    usec_t deadline = client_deadline(client);
    for (size_t sent = 0; sent < batch->count;) {
        size_t count = batch->count - sent < SLICE ? batch->count - sent : SLICE;
        size_t pushed = 0;
        struct client_wait wait = {0};
        int status = client_wait(client, &wait,
                                 broker_push(client->broker, batch->messages + sent, count,
                                             deadline, &pushed, on_client_done, &wait),
                                 err);
        sent += status ? pushed : count;
        if (ret_sent)
            *ret_sent = sent;
        if (status)
            return status;
    }
    return 0;
}

static int send_calls(struct cel_client *client,
                      const struct cel_call *const *calls,
                      size_t count,
                      char (*ret_ids)[CEL_ID_SIZE],
                      size_t *ret_sent,
                      struct cel_error *err)
{
    int status = client_begin(client, err);
    if (status)
        return status;
    CLEANUP(batch_deinit) struct batch batch = {.bytes = BUF_INIT(SIZE_MAX)};
    status = batch_encode(&batch, client, calls, count, ret_ids, err);
    return status ? status : push_slices(client, &batch, ret_sent, err);
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
    if (ret_sent)
        *ret_sent = 0;
    if (count && !calls)
        return error_set(err, -EINVAL, "cel_send_bulk: calls is NULL");
    if (!count)
        return client_begin(client, err);
    return send_calls(client, (const struct cel_call *const *)calls, count, ret_ids, ret_sent, err);
}
