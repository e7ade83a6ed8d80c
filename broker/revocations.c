/*
 * Revocations: a stream whose ids are numbers, `celeriac:revoked`, and the number of the newest in a
 * key of its own, which each claim looks at (claim.lua). So a worker that has read up to the number
 * that its claim tells knows of every revocation made before that claim.
 *
 * Waiting for newer ones is a blocking XREAD on a connection of its own, for as long as somebody
 * waits: it only makes the end of running tasks quick, and nothing depends on it.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { PAGE_MAX = 1000, REVOKE_MAX = 256 };
#define SERVER_WAIT  (5 * USEC_PER_SEC)
#define SERVER_SLACK (3 * USEC_PER_SEC)

int broker_revoke(struct broker *broker,
                  const struct broker_revocation *revocations,
                  size_t count,
                  usec_t kept,
                  usec_t deadline_mono,
                  broker_done_fn *cb,
                  void *data)
{
    struct done_op *op;
    if (count == 0 || count > REVOKE_MAX)
        return -EINVAL;
    int status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.repeatable = true; /* what is revoked twice is revoked */
    return done_op_send(
        op, broker->main, deadline_mono,
        redis_command_revoke(&op->request, &broker->space, revocations, count, kept));
}

uint64_t broker_newest_revocation(const struct broker *broker)
{
    return broker->newest_revocation;
}

struct revocations_op {
    struct redis_request request;
    broker_revocations_fn *cb;
    void *data;
};

static struct str field_of(const struct redis_reply *fields, struct str name)
{
    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        if (str_equal(reply_text(reply_item(fields, i)), name))
            return reply_text(reply_item(fields, i + 1));
    }
    return STR_NONE;
}

static bool read_revocation(const struct redis_reply *entry, struct broker_revocation *ret)
{
    const struct redis_reply *fields = reply_item(entry, 1);
    struct str id = reply_text(reply_item(entry, 0)), number;
    uint64_t at_ms;
    if (!str_split(&id, '-', &number) || str_parse_u64(number, &ret->number) ||
        str_parse_u64(field_of(fields, STR("at")), &at_ms))
        return false;
    ret->id = field_of(fields, STR("id"));
    ret->stamp = field_of(fields, STR("stamp"));
    ret->value = field_of(fields, STR("value"));
    ret->signal = field_of(fields, STR("signal"));
    ret->at_wall = at_ms * USEC_PER_MSEC;
    return true;
}

static void on_revocations(struct redis_request *request,
                           int status,
                           const struct redis_reply *reply,
                           const struct cel_error *err)
{
    struct revocations_op *op = container_of(request, struct revocations_op, request);
    /* [[key, [[id, fields] ...]]], or nil when there is nothing */
    const struct redis_reply *entries = reply_item(reply_item(reply, 0), 1);
    struct broker_revocation *found = NULL;
    size_t count = 0, entry_count = status ? 0 : reply_count(entries);
    if (entry_count > 0)
        found = mem_array(entry_count, sizeof(*found));
    if (entry_count > 0 && !found)
        status = -ENOMEM;
    for (size_t i = 0; !status && i < entry_count; i++)
        count += read_revocation(reply_item(entries, i), &found[count]);
    op->cb(op->data, status, found, count, entry_count == PAGE_MAX, status ? err : NULL);
    mem_free(found);
    redis_request_deinit(request);
    mem_free(op);
}

static int start(struct broker *broker,
                 uint64_t after,
                 usec_t server_wait,
                 broker_revocations_fn *cb,
                 void *data,
                 struct revocations_op **ret_op)
{
    struct revocations_op *op = mem_new(struct revocations_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_revocations;
    op->cb = cb;
    op->data = data;
    int status =
        redis_command_revocations(&op->request, &broker->space, after, PAGE_MAX, server_wait);
    if (status)
        mem_free(op);
    else
        *ret_op = op;
    return status;
}

int broker_revocations(struct broker *broker,
                       uint64_t after,
                       usec_t deadline_mono,
                       broker_revocations_fn *cb,
                       void *data)
{
    struct revocations_op *op;
    int status = broker->is_closing ? -ECANCELED : start(broker, after, 0, cb, data, &op);
    if (status)
        return status;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    redis_connection_send(broker->main, &op->request);
    return 0;
}

int broker_await_revocations(struct broker *broker,
                             uint64_t after,
                             broker_revocations_fn *cb,
                             void *data)
{
    const struct redis_connection_options options = {.data = broker};
    struct revocations_op *op;
    int status = broker->is_closing ? -ECANCELED : 0;
    if (!status && !broker->revocations)
        status = broker_connect(broker, &broker->url, options, &broker->revocations);
    if (!status)
        status = start(broker, after, SERVER_WAIT, cb, data, &op);
    if (status)
        return status;
    op->request.deadline_mono = USEC_NEVER; /* until there is a connection */
    op->request.answer_within = SERVER_WAIT + SERVER_SLACK;
    redis_connection_send(broker->revocations, &op->request);
    return 0;
}
