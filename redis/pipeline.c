/*
 * A script is loaded in front of the first request on a socket that runs it. A server that has lost
 * it since (SCRIPT FLUSH) answers NOSCRIPT and has done nothing: the same bytes are sent again.
 */
#include "redis/pipeline.h"

#include "core/mem.h"
#include "redis/greeting.h"

enum { WRITE_MAX = 64, SCRIPT_LOADS_MAX = 3 };

static struct redis_request *request_of(const struct list_link *link)
{
    return container_of(link, struct redis_request, link);
}

int redis_request_finish(struct redis_request *request, struct buf *buf)
{
    int status = buf_status(buf);
    if (!status)
        request->bytes = buf_take(buf, &request->len);
    buf_deinit(buf);
    return status;
}

void redis_request_deinit(struct redis_request *request)
{
    mem_free(request->bytes);
    request->bytes = NULL;
}

void requests_tell(struct list *requests, int status, const struct cel_error *err)
{
    for (struct list_link *link; (link = list_pop(requests));)
        request_of(link)->on_reply(request_of(link), status, NULL, err);
}

/* --- writing ------------------------------------------------------------------------------ */

static void on_load_reply(struct redis_request *request,
                          int status,
                          const struct redis_reply *reply,
                          const struct cel_error *err)
{
    (void)status; /* a script that could not be loaded answers for itself */
    (void)reply;
    (void)err;
    redis_request_deinit(request);
    mem_free(request);
}

/* A request that loads the script of `user`, when the server of this socket needs it, or NULL. */
static struct redis_request *load_script(struct redis_socket *socket,
                                         const struct redis_request *user)
{
    unsigned bit = user->script ? 1u << user->script->number : 0;
    if (!bit || (socket->scripts & bit))
        return NULL;
    struct redis_request *request = mem_new(struct redis_request);
    if (!request)
        return NULL; /* NOSCRIPT will follow, and another attempt */
    request->on_reply = on_load_reply;
    request->deadline_mono = user->deadline_mono;
    request->answer_mono = USEC_NEVER;
    if (redis_load(request, user->script)) {
        mem_free(request);
        return NULL;
    }
    socket->scripts |= bit;
    return request;
}

/* What one call of pipeline_write hands to the socket. */
struct batch {
    uv_buf_t bufs[WRITE_MAX];
    unsigned count;
    usec_t earliest_mono;
};

static void
add_sent(struct redis_pipeline *pipeline, struct redis_request *request, struct batch *batch)
{
    list_append(&pipeline->sent, &request->link);
    batch->bufs[batch->count++] = (uv_buf_t){.base = request->bytes, .len = request->len};
    if (!request->answer_within)
        return;
    request->answer_mono = clock_mono() + request->answer_within;
    if (request->answer_mono < batch->earliest_mono)
        batch->earliest_mono = request->answer_mono;
}

/* Moves requests from `waiting` to `sent` and their bytes to `batch`. */
static void
gather(struct redis_pipeline *pipeline, struct redis_socket *socket, struct batch *batch)
{
    batch->count = 0;
    while (pipeline->waiting.head && batch->count + 2 <= WRITE_MAX) {
        struct redis_request *request = request_of(pipeline->waiting.head);
        struct redis_request *load = load_script(socket, request);
        if (load)
            add_sent(pipeline, load, batch);
        list_remove(&pipeline->waiting, &request->link);
        add_sent(pipeline, request, batch);
    }
}

/* Moves the last one that was sent back to the front of those that wait. */
static void unsend(struct redis_pipeline *pipeline)
{
    struct redis_request *request = request_of(pipeline->sent.tail);
    list_remove(&pipeline->sent, &request->link);
    request->answer_mono = USEC_NEVER;
    list_prepend(&pipeline->waiting, &request->link);
}

int pipeline_write(struct redis_pipeline *pipeline,
                   struct redis_socket *socket,
                   usec_t *earliest_mono)
{
    struct batch batch;
    int status = 0;
    batch.earliest_mono = *earliest_mono;
    while (!status && !socket->is_writing && pipeline->waiting.head) {
        unsigned taken = 0;
        gather(pipeline, socket, &batch);
        status = redis_socket_write(socket, batch.bufs, batch.count, &taken);
        for (; batch.count > taken; batch.count--)
            unsend(pipeline);
    }
    *earliest_mono = batch.earliest_mono;
    return status;
}

/* --- answers ------------------------------------------------------------------------------ */

static bool has_lost_script(const struct redis_request *request, const struct redis_reply *reply)
{
    return request->script && reply->type == REDIS_ERROR &&
           str_starts(reply->text, STR("NOSCRIPT")) && request->loads < SCRIPT_LOADS_MAX;
}

/* In front of what was never sent, behind those that wait to be sent again as well: a document must
 * not be overtaken by a later one. */
static void wait_again(struct list *waiting, struct redis_request *request)
{
    struct list before = {NULL, NULL, 0};
    while (waiting->head && request_of(waiting->head)->loads)
        list_append(&before, list_pop(waiting));
    list_prepend(waiting, &request->link);
    while (before.tail) {
        struct list_link *link = before.tail;
        list_remove(&before, link);
        list_prepend(waiting, link);
    }
}

int pipeline_answer(struct redis_pipeline *pipeline,
                    struct redis_socket *socket,
                    const struct redis_reply *reply)
{
    struct cel_error err = {0};
    /* libuv tells that a write is done one turn after it was: the answer may be here before */
    bool is_early =
        redis_socket_has_unwritten(socket) && pipeline->sent.head == pipeline->sent.tail;
    if (!pipeline->sent.head || is_early)
        return PIPELINE_E_UNASKED;
    struct redis_request *request = request_of(list_pop(&pipeline->sent));
    if (has_lost_script(request, reply)) {
        wait_again(&pipeline->waiting, request);
        request->loads++;
        request->answer_mono = USEC_NEVER;
        socket->scripts &= ~(1u << request->script->number);
        return PIPELINE_E_AGAIN;
    }
    int status = 0;
    if (reply->type == REDIS_ERROR)
        status = error_set(&err, redis_error_code(reply->text), "Redis answered: " STR_FORMAT,
                           STR_ARGS(reply->text));
    request->on_reply(request, status, reply, status ? &err : NULL);
    return 0;
}

/* --- without an answer -------------------------------------------------------------------- */

void pipeline_recall(struct redis_pipeline *pipeline, struct list *ret)
{
    for (struct list_link *link = pipeline->sent.tail, *before; link; link = before) {
        struct redis_request *request = request_of(link);
        before = link->prev;
        list_remove(&pipeline->sent, link);
        request->answer_mono = USEC_NEVER;
        list_prepend(request->repeatable ? &pipeline->waiting : ret, link);
    }
}

bool pipeline_take_back(struct redis_pipeline *pipeline, struct redis_request *request)
{
    for (const struct list_link *link = pipeline->waiting.head; link; link = link->next) {
        if (link == &request->link) {
            list_remove(&pipeline->waiting, &request->link);
            return true;
        }
    }
    return false;
}

static usec_t earliest_of(const struct list *requests)
{
    usec_t earliest = USEC_NEVER;
    for (const struct list_link *link = requests->head; link; link = link->next) {
        const struct redis_request *request = request_of(link);
        if (request->deadline_mono < earliest)
            earliest = request->deadline_mono;
        if (request->answer_mono < earliest)
            earliest = request->answer_mono;
    }
    return earliest;
}

bool pipeline_is_overdue(const struct redis_pipeline *pipeline, usec_t now_mono)
{
    return earliest_of(&pipeline->sent) <= now_mono;
}

usec_t pipeline_earliest(const struct redis_pipeline *pipeline)
{
    usec_t waiting = earliest_of(&pipeline->waiting), sent = earliest_of(&pipeline->sent);
    return waiting < sent ? waiting : sent;
}

void pipeline_expire(struct redis_pipeline *pipeline, usec_t now_mono, struct list *ret)
{
    for (struct list_link *link = pipeline->waiting.head, *next; link; link = next) {
        next = link->next;
        if (request_of(link)->deadline_mono > now_mono)
            continue;
        list_remove(&pipeline->waiting, link);
        list_append(ret, link);
    }
}
