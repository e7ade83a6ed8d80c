/*
 * Revocations: a stream, `celeriac:revoked`, and the id of the newest in a key of its own, which each
 * claim looks at (claim.lua). An id is never given out twice, so a worker that has read up to the one
 * that its claim tells knows of every revocation made before that claim, whatever failovers have lost.
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

struct broker_revocation_id broker_newest_revocation(const struct broker *broker)
{
    return broker->newest_revocation;
}

struct broker_revocation_id revocation_id_read(const struct redis_reply *reply)
{
    struct str text = reply_text(reply), number;
    struct broker_revocation_id id;
    if (!str_split(&text, '-', &number) || str_parse_u64(number, &id.number) ||
        str_parse_u64(text, &id.made_usec))
        return (struct broker_revocation_id){0, 0};
    return id;
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
    uint64_t until_ms;
    if (str_parse_u64(field_of(fields, STR("until")), &until_ms))
        return false;
    ret->id = field_of(fields, STR("id"));
    ret->stamp = field_of(fields, STR("stamp"));
    ret->value = field_of(fields, STR("value"));
    ret->signal = field_of(fields, STR("signal"));
    ret->until_wall = until_ms * USEC_PER_MSEC;
    return true;
}

static void on_revocations(struct redis_request *request,
                           int status,
                           const struct redis_reply *reply,
                           const struct cel_error *err)
{
    struct revocations_op *op = container_of(request, struct revocations_op, request);
    const struct redis_reply *entries = reply_item(reply, 3);
    struct broker_revocation *items = NULL;
    size_t count = 0, entry_count = status ? 0 : reply_count(entries);
    if (entry_count > 0)
        items = mem_array(entry_count, sizeof(*items));
    if (entry_count > 0 && !items)
        status = -ENOMEM;
    for (size_t i = 0; !status && i < entry_count; i++)
        count += read_revocation(reply_item(entries, i), &items[count]);
    const struct redis_reply *last =
        entry_count ? reply_item(reply_item(entries, entry_count - 1), 0) : reply_item(reply, 2);
    const struct broker_revocations found = {
        .items = items,
        .count = count,
        .has_more = entry_count == PAGE_MAX,
        .last = revocation_id_read(last),
        .newest = revocation_id_read(reply_item(reply, 0)),
        .now_wall = (usec_t)reply_integer(reply_item(reply, 1), 0) * USEC_PER_MSEC,
    };
    op->cb(op->data, status, status ? NULL : &found, status ? err : NULL);
    mem_free(items);
    redis_request_deinit(request);
    mem_free(op);
}

int broker_revocations(struct broker *broker,
                       struct broker_revocation_id after,
                       usec_t deadline_mono,
                       broker_revocations_fn *cb,
                       void *data)
{
    if (broker->is_closing)
        return -ECANCELED;
    struct revocations_op *op = mem_new(struct revocations_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_revocations;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->cb = cb;
    op->data = data;
    int status = redis_command_revocations(&op->request, &broker->space, after, PAGE_MAX);
    if (status) {
        mem_free(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}

int broker_await_revocations(struct broker *broker,
                             struct broker_revocation_id after,
                             broker_done_fn *cb,
                             void *data)
{
    const struct redis_connection_options options = {.data = broker};
    struct done_op *op;
    int status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->request.answer_within = SERVER_WAIT + SERVER_SLACK;
    if (!broker->revocations)
        status = broker_connect(broker, &broker->url, options, &broker->revocations);
    if (!status)
        status = redis_command_await_revocations(&op->request, &broker->space, after, SERVER_WAIT);
    /* no deadline until there is a connection */
    return done_op_send(op, broker->revocations, USEC_NEVER, status);
}
