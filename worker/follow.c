#include "worker/follow.h"

#include <errno.h>
#include <stdio.h>

#include "core/log.h"
#include "message/result.h"
#include "worker/settle.h"

/* For reading a body, and for the errbacks that are called there. */
#define FOLLOW_LIMIT_USEC (60 * USEC_PER_SEC)

static struct request *request_of(struct job *job)
{
    return container_of(job, struct request, job);
}

static void ask_next(struct follow *follow);

/* --- answers ---------------------------------------------------------------------------------------- */

static void end(struct follow *follow, struct request *request)
{
    request->job.follow = NULL;
    follow->asked = NULL;
    follow->events->on_followed(follow->data, request);
    ask_next(follow);
}

static void give_up(struct follow *follow, struct request *request, struct str why)
{
    log_error(
        "What follows from the end of a task cannot be found out; its message goes to quarantine",
        F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
        F_STR("err", why));
    settle_unfollowed(request, why, &request->settlement);
    end(follow, request);
}

static void on_outcome(void *data, struct job *job, const struct frame_outcome *outcome)
{
    struct follow *follow = data;
    struct request *request = request_of(job);
    if (outcome->kind != OUTCOME_FOLLOWS)
        give_up(follow, request, STR("its child answered something else"));
    else if (outcome->detail.len > 0)
        give_up(follow, request, outcome->detail);
    else if (settle_follow(outcome, &request->settlement) < 0)
        give_up(follow, request, STR("out of memory"));
    else
        end(follow, request);
}

static void on_death(void *data, struct job *job, const struct death *death)
{
    struct follow *follow = data;
    char how[64], why[128];
    death_describe(death, how, sizeof(how));
    snprintf(why, sizeof(why), "the child that looked for it ended: %s",
             death->cause == DEATH_HARD_LIMIT ? "it took too long" : how);
    give_up(follow, request_of(job), str_of(why));
}

static void on_recall(void *data, struct job *job)
{
    struct follow *follow = data;
    job->follow = NULL;
    follow->asked = NULL; /* the request is in its list still */
    ask_next(follow);
}

static void on_room(void *data)
{
    ask_next(data);
}

static void on_code(void *data, bool reloaded)
{
    (void)data;
    (void)reloaded;
}

static void on_written(void *data, struct job *job)
{
    (void)data;
    (void)job;
}

static void on_progress(void *data, struct job *job, const struct frame_progress *progress)
{
    (void)data;
    (void)job;
    (void)progress;
}

static void on_unusable(void *data, int exit_status, bool reloading)
{
    struct follow *follow = data;
    (void)exit_status;
    struct list *waiting = &follow->requests->lists[REQUEST_FOLLOWING];
    follow->unusable = !reloading;
    while (!reloading && waiting->head && !follow->asked)
        give_up(follow, container_of(waiting->head, struct request, link),
                STR("no child can be started"));
}

static void on_empty(void *data)
{
    struct follow *follow = data;
    follow->stopped = true;
    follow->events->on_stopped(follow->data);
}

static const struct pool_events pool_events = {
    .on_code = on_code,
    .on_room = on_room,
    .on_written = on_written,
    .on_progress = on_progress,
    .on_outcome = on_outcome,
    .on_recall = on_recall,
    .on_death = on_death,
    .on_unusable = on_unusable,
    .on_empty = on_empty,
};

/* --- asking ----------------------------------------------------------------------------------------- */

/* The end as its document has it, whether that is stored or not. */
static int describe_end(struct request *request, struct buf *scratch)
{
    const struct settlement *settlement = &request->settlement;
    struct frame_follow *ask = &request->follow;
    struct result result;
    *ask = (struct frame_follow){.seq = request->job.seq,
                                 .hard_limit = FOLLOW_LIMIT_USEC,
                                 .envelope = buf_str(&request->bytes),
                                 .state = STR("SUCCESS"),
                                 .joined = settlement->follow_ups.joined,
                                 .joined_count = settlement->follow_ups.joined_count};
    if (settlement->document.len == 0) /* a success that stores nothing */
        return 0;
    buf_deinit(scratch);
    int r = result_scan(buf_str(&settlement->document), scratch, &result);
    if (r < 0)
        return r;
    ask->state = result.status;
    ask->result_json = result.result_json;
    ask->traceback = result.traceback;
    return 0;
}

static int ask(struct follow *follow, struct request *request)
{
    struct job *job = request_begin_job(request);
    int64_t pid;
    int r = describe_end(request, &follow->scratch);
    if (r < 0)
        return r;
    job->soft_limit = 0;
    job->hard_limit = FOLLOW_LIMIT_USEC;
    job->follow = &request->follow;
    follow->asked = request;
    return pool_run(&follow->pool, job, &pid);
}

static void ask_next(struct follow *follow)
{
    struct list_link *head = follow->requests->lists[REQUEST_FOLLOWING].head;
    if (!head || follow->asked || pool_idle(&follow->pool) == 0)
        return;
    struct request *request = container_of(head, struct request, link);
    int r = ask(follow, request);
    if (r == -EAGAIN)
        on_recall(follow, &request->job);
    else if (r < 0)
        give_up(follow, request,
                r == CEL_E_LIMIT ? STR("the results of the chord are too large together")
                                 : str_of(cel_error_name(r)));
}

void follow_ask(struct follow *follow)
{
    if (!follow->started) {
        int r = pool_init(&follow->pool, follow->loop, &follow->options, &pool_events, follow);
        if (r < 0) {
            on_unusable(follow, 0, false);
            return;
        }
        follow->started = true;
        pool_start(&follow->pool);
    } else if (follow->unusable) {
        follow->unusable = false;
        pool_reload(&follow->pool); /* its first child again */
    }
    ask_next(follow);
}

/* --- life ------------------------------------------------------------------------------------------- */

void follow_init(struct follow *follow,
                 uv_loop_t *loop,
                 struct requests *requests,
                 const struct pool_options *options,
                 const struct follow_events *events,
                 void *data)
{
    *follow = (struct follow){
        .options = *options, .loop = loop, .requests = requests, .events = events, .data = data};
    follow->options.concurrency = 1;
}

void follow_reload(struct follow *follow)
{
    if (follow->started)
        pool_reload(&follow->pool);
}

void follow_stop(struct follow *follow)
{
    if (!follow->started || follow->stopped)
        on_empty(follow);
    else
        pool_stop(&follow->pool, true);
}

void follow_abandon(struct follow *follow)
{
    if (follow->started)
        pool_kill(&follow->pool);
}

void follow_deinit(struct follow *follow)
{
    if (follow->started)
        pool_deinit(&follow->pool);
    buf_deinit(&follow->scratch);
}
