/*
 * A script is loaded in front of the first request on a socket that runs it. A server that has lost
 * it since (SCRIPT FLUSH) answers NOSCRIPT and has done nothing: the same bytes are sent again. So
 * are those of what was refused with other words that say so (words.h), `repeatable` or not.
 */
#include "redis/pipeline.h"

#include "core/mem.h"
#include "redis/greeting.h"
#include "redis/words.h"

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
    if (pipeline->refused.head)
        return 0;
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

/* What the error reply asks for, as a condition; 0: `request` is told. */
static int condition_of(const struct redis_request *request, struct str words)
{
    switch (redis_words(words)->reaction) {
    case REDIS_LOAD:
        return request->script && request->loads < SCRIPT_LOADS_MAX ? PIPELINE_E_AGAIN : 0;
    case REDIS_PAUSE:
        return PIPELINE_E_PAUSE;
    case REDIS_LEAVE:
        return PIPELINE_E_LEAVE;
    default:
        return 0;
    }
}

/* Those refused were sent before all that wait: when the last of them is known, they go in front. */
static void put_refused_in_front(struct redis_pipeline *pipeline)
{
    while (pipeline->refused.tail) {
        struct list_link *link = pipeline->refused.tail;
        list_remove(&pipeline->refused, link);
        list_prepend(&pipeline->waiting, link);
    }
}

static void wait_again(struct redis_pipeline *pipeline,
                       struct redis_socket *socket,
                       struct redis_request *request,
                       int condition)
{
    request->answer_mono = USEC_NEVER;
    list_append(&pipeline->refused, &request->link);
    if (condition != PIPELINE_E_AGAIN)
        return;
    request->loads++;
    socket->scripts &= ~(1u << request->script->number);
}

static int answer(struct redis_pipeline *pipeline,
                  struct redis_socket *socket,
                  struct redis_request *request,
                  const struct redis_reply *reply)
{
    struct cel_error err = {0};
    int condition = reply->type == REDIS_ERROR ? condition_of(request, reply->text) : 0;
    if (condition) {
        wait_again(pipeline, socket, request, condition);
        return condition;
    }
    int status = reply->type == REDIS_ERROR ? redis_words_error(reply->text, &err) : 0;
    request->on_reply(request, status, reply, status ? &err : NULL);
    return 0;
}

int pipeline_answer(struct redis_pipeline *pipeline,
                    struct redis_socket *socket,
                    const struct redis_reply *reply)
{
    /* libuv tells that a write is done one turn after it was: the answer may be here before */
    bool is_early =
        redis_socket_has_unwritten(socket) && pipeline->sent.head == pipeline->sent.tail;
    if (!pipeline->sent.head || is_early)
        return PIPELINE_E_UNASKED;
    int condition = answer(pipeline, socket, request_of(list_pop(&pipeline->sent)), reply);
    if (!pipeline->sent.head)
        put_refused_in_front(pipeline);
    return condition;
}

/* --- without an answer -------------------------------------------------------------------- */

void pipeline_recall(struct redis_pipeline *pipeline, struct list *ret)
{
    for (struct list_link *link; (link = list_pop(&pipeline->sent));) {
        struct redis_request *request = request_of(link);
        request->answer_mono = USEC_NEVER;
        list_append(request->repeatable ? &pipeline->refused : ret, link);
    }
    put_refused_in_front(pipeline);
}

static bool remove_from(struct list *list, struct list_link *wanted)
{
    for (const struct list_link *link = list->head; link; link = link->next) {
        if (link == wanted) {
            list_remove(list, wanted);
            return true;
        }
    }
    return false;
}

bool pipeline_take_back(struct redis_pipeline *pipeline, struct redis_request *request)
{
    return remove_from(&pipeline->waiting, &request->link) ||
           remove_from(&pipeline->refused, &request->link);
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
    usec_t waiting = earliest_of(&pipeline->waiting), sent = earliest_of(&pipeline->sent),
           refused = earliest_of(&pipeline->refused), earliest = waiting < sent ? waiting : sent;
    return refused < earliest ? refused : earliest;
}

static void expire(struct list *list, usec_t now_mono, struct list *ret)
{
    for (struct list_link *link = list->head, *next; link; link = next) {
        next = link->next;
        if (request_of(link)->deadline_mono > now_mono)
            continue;
        list_remove(list, link);
        list_append(ret, link);
    }
}

void pipeline_expire(struct redis_pipeline *pipeline, usec_t now_mono, struct list *ret)
{
    expire(&pipeline->refused, now_mono, ret);
    expire(&pipeline->waiting, now_mono, ret);
}
