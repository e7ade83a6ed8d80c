/*
 * Claiming. The script (claim.lua) moves messages into the hash of those in flight under tags that
 * this side has chosen: n, n + 1, ... So a claim whose answer is lost leaves nothing behind that
 * cannot be found again: its tags are known. Such tags are kept as "unanswered"; each claim of the
 * queue asks for what they may have taken, until something was found or a minute has passed. So
 * long, because a command that was sent may wait in front of a stopped server.
 *
 * What BLMOVE has staged is asked for after each wait, and once a second for what a lost connection
 * may have staged late.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

enum { CLAIM_MAX = 256 };
#define UNANSWERED_FOR    (60 * USEC_PER_SEC)
#define STAGED_LOOK_EVERY USEC_PER_SEC

struct claim_op {
    struct redis_request request;
    struct broker *broker;
    struct broker_queue *queue;
    struct redis_tags tags;
    bool looked_at_staged;
    broker_claim_fn *cb;
    void *data;
    struct broker_claimed claimed[]; /* room for tags.count */
};

/* The oldest makes room: what it may have taken stands in the hash of those in flight. */
static void remember(struct unanswered *unanswered, struct redis_tags tags)
{
    if (unanswered->count == ARRAY_SIZE(unanswered->tags)) {
        unanswered->count--;
        memmove(unanswered->tags, unanswered->tags + 1,
                unanswered->count * sizeof(*unanswered->tags));
        memmove(unanswered->until_mono, unanswered->until_mono + 1,
                unanswered->count * sizeof(*unanswered->until_mono));
    }
    unanswered->tags[unanswered->count] = tags;
    unanswered->until_mono[unanswered->count++] = clock_mono() + UNANSWERED_FOR;
}

bool claim_is_unanswered(const struct broker_queue *queue, uint64_t tag)
{
    for (size_t i = 0; i < queue->unanswered.count; i++) {
        struct redis_tags tags = queue->unanswered.tags[i];
        if (tag >= tags.first && tag - tags.first < tags.count)
            return true;
    }
    return false;
}

/* How many tags at the front of `tags` were handed out now: they are not asked for again. */
static size_t found_of(struct redis_tags tags, const struct claim_op *op, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t tag = op->claimed[i].claim.tag;
        if (tag >= tags.first && tag - tags.first < tags.count && tag - tags.first >= found)
            found = (size_t)(tag - tags.first) + 1;
    }
    return found;
}

static void settle_unanswered(struct broker_queue *queue, const struct claim_op *op, size_t count)
{
    struct unanswered left = {.count = 0};
    for (size_t i = 0; i < queue->unanswered.count; i++) {
        struct redis_tags tags = queue->unanswered.tags[i];
        size_t found = found_of(tags, op, count);
        bool is_all = found > 0 && (found == tags.count || count < op->tags.count);
        if (is_all || clock_mono() >= queue->unanswered.until_mono[i])
            continue;
        left.tags[left.count] =
            (struct redis_tags){.first = tags.first + found, .count = tags.count - found};
        left.until_mono[left.count++] = queue->unanswered.until_mono[i];
    }
    queue->unanswered = left;
}

size_t claimed_read(const struct redis_reply *reply,
                    size_t first,
                    struct str queue,
                    struct broker_claimed *ret,
                    size_t max)
{
    size_t count = 0;
    for (size_t i = first; i + 1 < reply_count(reply) && count < max; i += 2) {
        struct broker_claimed *claimed = &ret[count];
        struct str bytes = reply_text(reply_item(reply, i + 1));
        if (!bytes.ptr || key_tag_parse(reply_text(reply_item(reply, i)), &claimed->claim.tag,
                                        &claimed->claim.step))
            continue; /* no tag of ours */
        claimed->claim.queue = queue;
        claimed->bytes = bytes;
        count++;
    }
    return count;
}

static int read_reply(struct claim_op *op, const struct redis_reply *reply, size_t *ret_count)
{
    if (reply->type == REDIS_INTEGER)
        return BROKER_E_LOST;
    op->broker->newest_revocation = revocation_id_read(reply_item(reply, 0));
    *ret_count = claimed_read(reply, 1, op->queue->keys.name, op->claimed, op->tags.count);
    return 0;
}

static void on_claimed(struct redis_request *request,
                       int status,
                       const struct redis_reply *reply,
                       const struct cel_error *err)
{
    struct claim_op *op = container_of(request, struct claim_op, request);
    struct broker_queue *queue = op->queue;
    size_t count = 0;
    if (!status)
        status = read_reply(op, reply, &count);
    if (!status) {
        settle_unanswered(queue, op, count);
    } else {
        queue->maybe_staged |= op->looked_at_staged;
        if (status == CEL_E_UNCERTAIN || status == CEL_E_SERVER)
            remember(&queue->unanswered, op->tags);
    }
    op->cb(op->data, status, count ? op->claimed : NULL, count, status < 0 ? err : NULL);
    redis_request_deinit(request);
    mem_free(op);
}

static bool should_look_at_staged(struct broker_queue *queue)
{
    usec_t now = clock_mono();
    if (!queue->wait || (!queue->maybe_staged && now - queue->looked_mono < STAGED_LOOK_EVERY))
        return false;
    queue->looked_mono = now;
    queue->maybe_staged = wait_is_armed(queue->wait);
    return true;
}

int broker_claim(struct broker *broker,
                 struct str name,
                 size_t max,
                 usec_t deadline_mono,
                 broker_claim_fn *cb,
                 void *data)
{
    struct broker_queue *queue;
    if (broker->is_closing)
        return -ECANCELED;
    if (!broker->space.node.ptr || max == 0)
        return -EINVAL;
    int status = broker_queue(broker, name, &queue);
    if (status)
        return status;
    if (max > CLAIM_MAX)
        max = CLAIM_MAX;
    struct claim_op *op = mem_alloc(sizeof(*op) + max * sizeof(op->claimed[0]));
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_claimed;
    op->request.deadline_mono = deadline_mono;
    op->broker = broker;
    op->queue = queue;
    op->tags = (struct redis_tags){.first = broker->next_tag, .count = max};
    op->looked_at_staged = should_look_at_staged(queue);
    op->cb = cb;
    op->data = data;
    status =
        redis_command_claim(&op->request, &broker->space, &queue->keys, op->tags,
                            op->looked_at_staged, queue->unanswered.tags, queue->unanswered.count);
    if (status) {
        queue->maybe_staged |= op->looked_at_staged;
        mem_free(op);
        return status;
    }
    broker->next_tag += max;
    redis_connection_send(broker->main, &op->request);
    return 0;
}
