/*
 * With results on the same connection a completion is one script. With results elsewhere it is
 * three steps, each after the answer of the one before: is the claim still ours; store; the script
 * without the document. A failure in between leaves the claim, so the task comes again: at least
 * once. A result store (broker.h) takes the second step alike, a document after the other; chords are
 * then kept by the last step. With results on another server a chord is closed when its body has been pushed: the
 * last of four steps.
 */
#include <errno.h>

#include "broker/broker_priv.h"
#include "core/mem.h"

struct complete_op {
    struct redis_request holds, store, complete, close; /* formatted at the beginning */
    struct broker_result *results;                      /* for a result store; their texts: */
    size_t result_count, stored;
    struct buf texts;
    bool is_uncertain, is_spared; /* what stands elsewhere */
    struct broker *broker;
    void (*on_joined)(void *data, const struct plan_joined *joined, size_t count);
    broker_done_fn *cb;
    void *data;
};

static int complete_free(struct complete_op *op, int status)
{
    redis_request_deinit(&op->holds);
    redis_request_deinit(&op->store);
    redis_request_deinit(&op->complete);
    redis_request_deinit(&op->close);
    buf_deinit(&op->texts);
    mem_free(op->results);
    mem_free(op);
    return status;
}

static void complete_end(struct complete_op *op, int status, const struct cel_error *err)
{
    op->cb(op->data, status, err);
    complete_free(op, status);
}

/* --- chords that would become complete --------------------------------------------------------- */

/* What part_chord.lua read of one; `texts` has room for its parts and leaves. */
static void read_joined(const struct complete_op *op,
                        const struct redis_reply *reply,
                        struct str *parts,
                        struct plan_document *leaves,
                        struct plan_joined *ret)
{
    const struct redis_reply *documents = reply_item(reply, 2), *texts = reply_item(reply, 3);
    struct str saved = reply_text(reply_item(reply, 1));
    *ret = (struct plan_joined){.group =
                                    key_group(reply_text(reply_item(reply, 0)), &op->broker->space),
                                .parts = parts,
                                .part_count = reply_count(texts),
                                .saved = saved.len ? saved : STR_NONE,
                                .leaves = leaves,
                                .leaf_count = reply_count(documents) / 2};
    for (size_t i = 0; i < ret->part_count; i++)
        parts[i] = reply_text(reply_item(texts, i));
    for (size_t i = 0; i < ret->leaf_count; i++) {
        struct str document = reply_text(reply_item(documents, 2 * i + 1));
        leaves[i] = (struct plan_document){reply_text(reply_item(documents, 2 * i)),
                                           document.len ? document : STR_NONE};
    }
}

static int tell_joined(struct complete_op *op, const struct redis_reply *reply)
{
    size_t count = reply_count(reply), part_count = 0, leaf_count = 0;
    for (size_t i = 0; i < count; i++) {
        part_count += reply_count(reply_item(reply_item(reply, i), 3));
        leaf_count += reply_count(reply_item(reply_item(reply, i), 2)) / 2;
    }
    struct plan_joined *joined = mem_array(count, sizeof(*joined));
    struct str *parts = mem_array(part_count + 1, sizeof(*parts));
    struct plan_document *leaves = mem_array(leaf_count + 1, sizeof(*leaves));
    struct str *next_part = parts;
    struct plan_document *next_leaf = leaves;
    int status = joined && parts && leaves ? BROKER_E_JOINED : -ENOMEM;
    for (size_t i = 0; status == BROKER_E_JOINED && i < count; i++) {
        read_joined(op, reply_item(reply, i), next_part, next_leaf, &joined[i]);
        next_part += joined[i].part_count;
        next_leaf += joined[i].leaf_count;
    }
    if (status == BROKER_E_JOINED)
        op->on_joined(op->data, joined, count);
    mem_free(joined);
    mem_free(parts);
    mem_free(leaves);
    return status;
}

/* What a script with chords says beside an error. */
static int chord_status(struct complete_op *op, const struct redis_reply *reply)
{
    if (reply_count(reply) > 0)
        return op->on_joined ? tell_joined(op, reply) : -EINVAL;
    return reply_integer(reply, 1) < 0 ? BROKER_E_CLOSED : 0;
}

/* --- the steps ----------------------------------------------------------------------------------- */

static void on_closed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, close);
    (void)status; /* the body is on its way, and the keys run out */
    (void)reply;
    (void)err;
    complete_end(op, 0, NULL);
}

static void on_completed(struct redis_request *request,
                         int status,
                         const struct redis_reply *reply,
                         const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, complete);
    int64_t answer = reply_integer(reply, 1);
    if (!status && answer == 0)
        status = BROKER_E_LOST;
    else if (!status)
        status = chord_status(op, reply);
    if (!status && (answer == 2 || op->is_spared))
        status = BROKER_E_SPARED;
    if (status || !op->close.len)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->results, &op->close);
}

static void on_stored(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, store);
    op->is_spared = op->is_uncertain && reply_integer(reply, 1) == 0;
    if (!status)
        status = chord_status(op, reply);
    if (status)
        complete_end(op, status, err);
    else
        redis_connection_send(op->broker->main, &op->complete);
}

static void end_unstored(struct complete_op *op, int status)
{
    struct cel_error err;
    error_set(&err, status, "The result cannot be stored now: %s", cel_error_name(status));
    complete_end(op, status, &err);
}

static void on_kept(void *data, int status, const struct cel_error *err)
{
    struct complete_op *op = data;
    const struct broker_result_store *store = &op->broker->result_store;
    if (status) {
        complete_end(op, status, err);
    } else if (++op->stored == op->result_count) {
        redis_connection_send(op->broker->main, &op->complete);
    } else {
        status = store->store(store->data, &op->results[op->stored], on_kept, op);
        if (status)
            end_unstored(op, status);
    }
}

static int store_elsewhere(struct complete_op *op)
{
    const struct broker_result_store *store = &op->broker->result_store;
    if (store->store)
        return store->store(store->data, op->results, on_kept, op);
    redis_connection_send(op->broker->results, &op->store);
    return 0;
}

static void on_held(struct redis_request *request,
                    int status,
                    const struct redis_reply *reply,
                    const struct cel_error *err)
{
    struct complete_op *op = container_of(request, struct complete_op, holds);
    if (!status && reply_integer(reply, 1) == 0)
        status = BROKER_E_LOST;
    if (!status && (status = store_elsewhere(op)) < 0)
        end_unstored(op, status);
    else if (status)
        complete_end(op, status, err);
}

/* --- formatting --------------------------------------------------------------------------------- */

/* Where the results of a completion go. */
enum place { PLACE_NOWHERE, PLACE_SAME, PLACE_SERVER, PLACE_STORE };

static bool has_results(const struct plan_results *r)
{
    return r->document_count + r->part_count + r->chord_count + r->closed_count > 0;
}

static enum place place_of(const struct broker *broker, const struct broker_completion *completion)
{
    bool has_documents = completion->result_id.ptr || completion->results.document_count > 0;
    if (broker->result_store.store)
        return has_documents ? PLACE_STORE : PLACE_SAME;
    if (!broker->has_results)
        return PLACE_NOWHERE;
    bool is_elsewhere = broker_results_are_elsewhere(broker) &&
                        (has_documents || has_results(&completion->results));
    return is_elsewhere ? PLACE_SERVER : PLACE_SAME;
}

static struct str keep_text(struct buf *texts, struct str text)
{
    size_t at = texts->len;
    buf_add_str(texts, text);
    return str_n(texts->ptr ? texts->ptr + at : "", text.len); /* room for all was made before */
}

static void add_result(struct complete_op *op,
                       struct str id,
                       struct str document,
                       const struct broker_completion *completion)
{
    bool is_own = id.ptr == completion->result_id.ptr;
    op->results[op->result_count++] = (struct broker_result){
        .id = keep_text(&op->texts, id),
        .document = keep_text(&op->texts, document),
        .message = is_own ? keep_text(&op->texts, completion->message) : STR_NONE,
        .spares_final = is_own && broker_spares_final(completion)};
}

/* The documents of those that will never run come first: with the last one the call itself is known. */
static int copy_results(struct complete_op *op, const struct broker_completion *completion)
{
    const struct plan_results *results = &completion->results;
    size_t count = results->document_count + (completion->result_id.ptr ? 1 : 0);
    size_t size =
        completion->result_id.len + completion->result_document.len + completion->message.len;
    for (size_t i = 0; i < results->document_count; i++)
        size += results->documents[i].id.len + results->documents[i].text.len;
    buf_init(&op->texts, SIZE_MAX / 2);
    op->results = mem_array(count, sizeof(*op->results));
    int status = op->results && buf_reserve(&op->texts, size) ? 0 : -ENOMEM;
    for (size_t i = 0; !status && i < results->document_count; i++)
        add_result(op, results->documents[i].id, results->documents[i].text, completion);
    if (!status && completion->result_id.ptr)
        add_result(op, completion->result_id, completion->result_document, completion);
    return status;
}

static int format_server(struct complete_op *op, const struct broker_completion *completion)
{
    const struct broker *broker = op->broker;
    const struct key_space *space = &broker->space;
    int status = completion->results.closed_count
                     ? redis_command_close_chords(&op->close, space, &completion->results)
                     : 0;
    if (status)
        return status;
    if (has_results(&completion->results))
        return redis_command_results(&op->store, space, completion, broker->result_ttl);
    if (broker_spares_final(completion))
        return redis_command_store_state(&op->store, space, STR_NONE, &completion->claim,
                                         completion->result_id, completion->result_document,
                                         broker->result_ttl);
    return redis_command_store(&op->store, space, completion->result_id,
                               completion->result_document, broker->result_ttl);
}

static int format(struct complete_op *op,
                  const struct broker_queue *queue,
                  const struct broker_completion *completion,
                  enum place place)
{
    struct broker *broker = op->broker;
    struct broker_completion step = *completion;
    int status = 0;
    if (place == PLACE_SERVER || place == PLACE_STORE)
        status = redis_command_holds(&op->holds, &queue->keys, &completion->claim);
    if (!status && place == PLACE_SERVER)
        status = format_server(op, completion);
    if (!status && place == PLACE_STORE)
        status = copy_results(op, completion);
    if (place != PLACE_SAME)
        step.result_id = STR_NONE;
    if (place == PLACE_STORE)
        step.results.document_count = 0;
    else if (place != PLACE_SAME)
        step.results = (struct plan_results){.document_count = 0};
    return status ? status
                  : redis_command_complete(&op->complete, &broker->space, &queue->keys, &step,
                                           broker->result_ttl, &broker->dead_limits);
}

static int check_completion(struct broker *broker,
                            const struct broker_completion *completion,
                            struct broker_queue **ret_queue)
{
    for (size_t i = 0; i < completion->follow_up_count; i++) {
        if (!completion->follow_ups[i].queue.len || !step_is_valid(completion->follow_ups[i].step))
            return -EINVAL;
    }
    if (completion->result_id.ptr && !completion->result_document.len)
        return -EINVAL;
    struct broker_claim claim = completion->claim;
    if (!claim.tag && !completion->dead)
        claim.tag = 1; /* acknowledged already: its queue and step alone matter */
    return broker_claim_queue(broker, &claim, ret_queue);
}

int broker_complete(struct broker *broker,
                    const struct broker_completion *completion,
                    usec_t deadline_mono,
                    broker_done_fn *cb,
                    void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : check_completion(broker, completion, &queue);
    if (status)
        return status;
    struct complete_op *op = mem_new(struct complete_op);
    if (!op)
        return -ENOMEM;
    enum place place = place_of(broker, completion);
    op->broker = broker;
    op->is_uncertain = completion->is_uncertain;
    op->on_joined = completion->on_joined;
    op->cb = cb;
    op->data = data;
    op->holds.on_reply = on_held;
    op->store.on_reply = on_stored;
    op->complete.on_reply = on_completed;
    op->close.on_reply = on_closed;
    op->holds.deadline_mono = op->store.deadline_mono = op->complete.deadline_mono =
        op->close.deadline_mono = deadline_mono;
    /* Only the last step can be uncertain. */
    op->holds.repeatable = op->store.repeatable = op->close.repeatable = true;
    status = format(op, queue, completion, place);
    if (!status && (place == PLACE_SAME || place == PLACE_NOWHERE))
        redis_connection_send(broker->main, &op->complete);
    else if (!status && completion->claim.tag)
        redis_connection_send(broker->main, &op->holds);
    else if (!status)
        status = store_elsewhere(op);
    return status ? complete_free(op, status) : 0;
}
