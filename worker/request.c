#include "worker/request.h"

#include "core/log.h"
#include "core/mem.h"
#include "message/body.h"

/* Memory of finished requests that is kept: so many objects, each with buffers of so many bytes. */
enum { SPARE_MAX = 512, SPARE_BYTES_MAX = 16 * 1024 };
/* What a quarantine entry shows of a task's last progress. */
enum { PROGRESS_KEPT_MAX = 64 * 1024 };

static const char *const state_names[REQUEST_STATES] = {
    "CLAIMED", "READY",     "LIMITED",  "ACKING",    "PIPED",
    "RUNNING", "FOLLOWING", "SETTLING", "ABANDONED", "DONE"};
static const char *const end_names[REQUEST_ENDS] = {
    "succeeded", "failed", "retried",    "ignored",     "skipped",  "expired", "revoked",
    "buried",    "parked", "given back", "redelivered", "rejected", "requeued"};

#define TO(state) (1U << REQUEST_##state)
static const unsigned transitions[REQUEST_STATES] = {
    [REQUEST_CLAIMED] = TO(READY) | TO(SETTLING) | TO(ABANDONED),
    [REQUEST_READY] = TO(LIMITED) | TO(ACKING) | TO(PIPED) | TO(SETTLING) | TO(ABANDONED),
    [REQUEST_LIMITED] = TO(READY) | TO(SETTLING) | TO(ABANDONED),
    [REQUEST_ACKING] = TO(READY) | TO(SETTLING) | TO(ABANDONED),
    [REQUEST_PIPED] = TO(RUNNING) | TO(READY) | TO(ABANDONED),
    [REQUEST_RUNNING] = TO(SETTLING) | TO(ABANDONED),
    [REQUEST_FOLLOWING] = TO(SETTLING) | TO(ABANDONED),
    [REQUEST_SETTLING] = TO(FOLLOWING) | TO(DONE) | TO(ABANDONED),
    [REQUEST_DONE] = TO(CLAIMED),
};
#undef TO

const char *request_end_name(enum request_end end)
{
    return end_names[end];
}

static struct request *request_of(struct list_link *link)
{
    return container_of(link, struct request, link);
}

static void request_free(struct request *request)
{
    envelope_deinit(&request->envelope);
    buf_deinit(&request->bytes);
    buf_deinit(&request->settlement.document);
    buf_deinit(&request->settlement.retry);
    buf_deinit(&request->settlement.evidence);
    buf_deinit(&request->progress);
    buf_deinit(&request->arguments);
    follow_ups_clear(&request->settlement.follow_ups);
    mem_free(request);
}

void requests_deinit(struct requests *requests)
{
    for (size_t i = 0; i < REQUEST_STATES; i++) {
        struct list_link *link;
        while ((link = list_pop(&requests->lists[i])))
            request_free(request_of(link));
    }
}

size_t requests_live(const struct requests *requests)
{
    size_t live = 0;
    for (size_t i = 0; i < REQUEST_DONE; i++)
        live += requests->lists[i].count;
    return live;
}

static void clear_buf(struct buf *buf)
{
    if (buf->cap > SPARE_BYTES_MAX)
        buf_deinit(buf);
    else
        buf_clear(buf);
}

static void forget(struct request *request)
{
    struct settlement *settlement = &request->settlement;
    envelope_deinit(&request->envelope);
    request->envelope = (struct envelope){0};
    request->task = (struct frame_task){0};
    clear_buf(&request->bytes);
    clear_buf(&settlement->document);
    clear_buf(&settlement->retry);
    clear_buf(&settlement->evidence);
    clear_buf(&request->progress);
    clear_buf(&request->arguments);
    follow_ups_clear(&settlement->follow_ups);
}

struct request *
request_new(struct requests *requests, const struct broker_claim *claim, struct str bytes)
{
    struct list_link *spare = list_pop(&requests->lists[REQUEST_DONE]);
    struct request *request = spare ? request_of(spare) : mem_new(struct request);
    if (!request)
        return NULL;
    if (!spare) {
        /* What comes in is bounded by the broker and by the frames; these must hold all of it. */
        buf_init(&request->bytes, 2 * ENVELOPE_BYTES_MAX);
        buf_init(&request->settlement.document, 2 * FRAME_BYTES_MAX);
        buf_init(&request->settlement.retry, 4 * ENVELOPE_BYTES_MAX);
        buf_init(&request->settlement.evidence, 2 * PROGRESS_KEPT_MAX);
        buf_init(&request->progress, PROGRESS_KEPT_MAX);
        buf_init(&request->arguments, FRAME_BYTES_MAX);
    }
    request->table = requests;
    request->claim = *claim;
    request->job = (struct job){.seq = 0};
    request->ready_mono = 0;
    request->received_mono = request->ended_mono = 0;
    request->pid = 0;
    request->peak_rss = 0;
    request->death = (struct death){.pid = 0};
    request->claimed_len = bytes.len;
    request->ack = (struct request_ack){.acks = NULL};
    request->turn = (struct request_turn){.bucket = NULL};
    request->is_looked_at = false;
    request->settlement.under_way = request->settlement.uncertain = false;
    request->settlement.refusals = 0;
    request->settlement.is_refused = request->settlement.is_awaited = false;
    if (bytes.len <= ENVELOPE_BYTES_MAX)
        buf_add_str(&request->bytes, bytes);
    if (buf_status(&request->bytes) < 0) {
        request_free(request);
        return NULL;
    }
    request->state = REQUEST_CLAIMED;
    list_append(&requests->lists[REQUEST_CLAIMED], &request->link);
    return request;
}

void request_set_state(struct request *request, enum request_state state)
{
    ASSERT(transitions[request->state] & (1U << state));
    log_debug("Request moves", F_STR("task_id", request->envelope.id),
              F_C("from", state_names[request->state]), F_C("to", state_names[state]));
    /* A child waits for it, or had it before those that wait now. */
    bool is_first = state == REQUEST_READY && request->state != REQUEST_CLAIMED;
    list_remove(&request->table->lists[request->state], &request->link);
    request->state = state;
    struct list *list = &request->table->lists[state];
    if (state != REQUEST_DONE) {
        (is_first ? list_prepend : list_append)(list, &request->link);
        return;
    }
    if (list->count >= SPARE_MAX) {
        request_free(request);
        return;
    }
    forget(request);
    list_append(list, &request->link);
}

int request_read(struct request *request, struct cel_error *err)
{
    struct buf upgraded = BUF_INIT(request->bytes.max);
    if (request->claimed_len > ENVELOPE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "a message of %zu bytes is too long",
                         request->claimed_len);
    int r = envelope_decode_any(buf_str(&request->bytes), &upgraded, &request->envelope, err);
    if (r < 0 || upgraded.len == 0) {
        buf_deinit(&upgraded);
        return r;
    }
    buf_deinit(&request->bytes);
    request->bytes = upgraded;
    return 0;
}

bool request_is_expired(const struct envelope *envelope, usec_t now_wall)
{
    return envelope->expires_wall != 0 && now_wall > envelope->expires_wall;
}

enum request_fate
request_decide(const struct envelope *envelope, const struct frame_task *task, usec_t now_wall)
{
    if (!task)
        return FATE_UNREGISTERED;
    if (!body_accepts(envelope->content_type))
        return FATE_REFUSED;
    if (request_is_expired(envelope, now_wall))
        return FATE_EXPIRED;
    if (envelope->eta_wall > now_wall)
        return FATE_PARK;
    if (task->once && envelope->redelivered)
        return FATE_LOOK_FIRST;
    return FATE_RUN;
}

static usec_t first_given(usec_t a, usec_t b, usec_t c)
{
    if (a)
        return a;
    return b ? b : c;
}

void request_set_rules(struct request *request,
                       const struct frame_task *task,
                       usec_t worker_soft,
                       usec_t worker_hard)
{
    request->task = *task;
    request->task.name = request->task.queue = STR_NONE; /* they go when new code comes */
    request->task.rate_limit = STR_NONE;
    request->job.cpu_limit = task->cpu_limit;
    request->job.soft_limit =
        first_given(request->envelope.soft_limit, task->soft_limit, worker_soft);
    request->job.hard_limit =
        first_given(request->envelope.hard_limit, task->hard_limit, worker_hard);
}

struct job *request_begin_job(struct request *request)
{
    struct job *job = &request->job;
    job->seq = ++request->table->last_seq;
    job->envelope = buf_str(&request->bytes);
    job->task = request->envelope.task;
    job->task_id = request->envelope.id;
    return job;
}

bool request_ignores_result(const struct request *request)
{
    return request->envelope.ignore_result || request->task.ignore_result;
}
