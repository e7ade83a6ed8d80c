#include "worker/remote.h"

#include <errno.h>

#include "core/log.h"
#include "core/mem.h"

#define GOODBYE_USEC (1 * USEC_PER_SEC) /* for Redis, at the end */

/* --- looking ---------------------------------------------------------------------------------- */

static void show_calls(const struct remote *remote,
                       enum request_state state,
                       control_call_fn *visit,
                       void *visit_data)
{
    const struct list_link *link = remote->dispatch->requests.lists[state].head;
    for (; link; link = link->next) {
        const struct request *request = container_of(link, const struct request, link);
        bool is_active = state == REQUEST_PIPED || state == REQUEST_RUNNING;
        if (!request->envelope.id.ptr)
            continue; /* it is held unread, until its revocations are known */
        visit(visit_data, &(struct control_call){
                              .envelope = &request->envelope,
                              .is_active = is_active,
                              .is_acknowledged = is_active || request->ack.is_done,
                              .started_wall = remote->since_boot + request->job.started_mono,
                              .pid = request->pid,
                          });
    }
}

static void each_call(void *data, control_call_fn *visit, void *visit_data)
{
    static const enum request_state states[] = {REQUEST_RUNNING, REQUEST_PIPED, REQUEST_ACKING,
                                                REQUEST_READY, REQUEST_CLAIMED};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        show_calls(data, states[i], visit, visit_data);
}

static void each_task(void *data, control_task_fn *visit, void *visit_data)
{
    const struct remote *remote = data;
    const struct registry *registry = &remote->pool->registry;
    for (size_t i = 0; i < registry->count; i++) {
        const struct frame_task *task = &registry->tasks[i];
        visit(visit_data, &(struct control_task){
                              .name = task->name,
                              .queue = task->queue,
                              .rate_limit = turns_look(&remote->dispatch->turns, task).limit,
                              .max_retries = task->max_retries,
                              .retry_delay = task->retry_delay,
                              .soft_limit = task->soft_limit,
                              .hard_limit = task->hard_limit,
                              .ignore_result = task->ignore_result,
                              .acks_late = !task->acks_early,
                              .track_started = task->track_started,
                              .runs = totals_of(&remote->dispatch->totals, task->name),
                          });
    }
}

static void each_queue(void *data, control_queue_fn *visit, void *visit_data)
{
    const struct remote *remote = data;
    for (const struct list_link *link = remote->queues->list.head; link; link = link->next) {
        const struct queue *queue = container_of(link, const struct queue, link);
        struct str name = str_of(queue->plan.name);
        if (queue->wanted)
            visit(visit_data, &(struct control_queue){.name = name,
                                                      .exchange = name,
                                                      .exchange_type = STR("direct"),
                                                      .routing_key = name});
    }
}

static void each_revoked(void *data, control_id_fn *visit, void *visit_data)
{
    const struct remote *remote = data;
    revocations_each(remote->revocations, visit, visit_data);
}

static void each_process(void *data, control_process_fn *visit, void *visit_data)
{
    const struct remote *remote = data;
    pool_each(remote->pool, visit, visit_data);
}

static void numbers(void *data, struct control_numbers *ret)
{
    const struct remote *remote = data;
    const struct settings *settings = &remote->startup->settings;
    *ret = (struct control_numbers){
        .uptime = clock_mono() - remote->started_mono,
        .concurrency = pool_size(remote->pool),
        .prefetch = dispatch_held(remote->dispatch) + pool_size(remote->pool),
        .soft_limit = settings->soft_time_limit,
        .hard_limit = settings->hard_time_limit,
        .max_tasks_per_child = settings->max_tasks_per_child,
        .has_autoscale = remote->autoscale->bounds.max > 0,
        .autoscale = {.max = remote->autoscale->bounds.max,
                      .min = remote->autoscale->bounds.min,
                      .current = (int64_t)pool_size(remote->pool)},
    };
}

static bool is_set_up(void *data, struct str queue)
{
    const struct remote *remote = data;
    return queue_plans_have(&remote->startup->queues, queue);
}

static bool is_revoked(void *data, struct str id)
{
    const struct remote *remote = data;
    return revocations_find(remote->revocations, &(struct envelope){.id = id}) != NULL;
}

static bool runs_stamped(void *data, struct str stamp, struct str value)
{
    static const enum request_state states[] = {REQUEST_PIPED, REQUEST_RUNNING};
    const struct revocation revocation = {.id = STR(""), .stamp = stamp, .value = value};
    const struct remote *remote = data;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        const struct list_link *link = remote->dispatch->requests.lists[states[i]].head;
        for (; link; link = link->next) {
            if (revocation_matches(&revocation,
                                   &container_of(link, const struct request, link)->envelope))
                return true;
        }
    }
    return false;
}

/* --- changing --------------------------------------------------------------------------------- */

static int
set_time_limits(void *data, struct str task, usec_t soft, usec_t hard, struct cel_error *err)
{
    struct remote *remote = data;
    int r = registry_set_limits(&remote->pool->registry, task, soft, hard);
    return r < 0 ? error_set(err, r, "%s", cel_error_name(r)) : 0;
}

static int set_rate_limit(void *data, struct str task, struct str rate, struct cel_error *err)
{
    struct remote *remote = data;
    return dispatch_set_rate_limit(remote->dispatch, task, rate, err);
}

static int resize(void *data, int64_t by, struct cel_error *err)
{
    struct remote *remote = data;
    int64_t size = (int64_t)pool_size(remote->pool) + by;
    if (size < 1 || size > POOL_SIZE_MAX)
        return error_set(err, -ERANGE, "ValueError('a pool has 1 to %d processes')", POOL_SIZE_MAX);
    pool_resize(remote->pool, (unsigned)size);
    return 0;
}

static int set_autoscale(void *data, struct control_autoscale *scale, struct cel_error *err)
{
    struct remote *remote = data;
    struct autoscale_bounds bounds = remote->autoscale->bounds;
    bool is_sane = scale->max <= POOL_SIZE_MAX && scale->min <= POOL_SIZE_MAX;
    if (scale->max >= 0 && is_sane)
        bounds.max = (unsigned)scale->max;
    if (scale->min >= 0 && is_sane)
        bounds.min = (unsigned)scale->min;
    int r = is_sane ? autoscale_set(remote->autoscale, &bounds) : -EINVAL;
    if (r < 0)
        return error_set(err, r, "ValueError('max is 1 to %d, and min no more than max')",
                         POOL_SIZE_MAX);
    scale->max = bounds.max;
    scale->min = bounds.min;
    return 0;
}

/* As Celery: a queue that is consumed already is consumed, and one that is not is not. */
static int add_consumer(void *data, const struct control_queue *queue, struct cel_error *err)
{
    struct remote *remote = data;
    int r = queues_add(remote->queues, queue->name, 1, err);
    return r < 0 ? r : 0;
}

static int cancel_consumer(void *data, struct str queue, struct cel_error *err)
{
    struct remote *remote = data;
    (void)err;
    queues_cancel(remote->queues, queue);
    return 0;
}

static int reload(void *data, struct cel_error *err)
{
    const struct remote *remote = data;
    return remote->owner->reload(remote->owner_data)
               ? 0
               : error_set(err, -EBUSY, "children are being started or stopped");
}

static void shut_down(void *data)
{
    const struct remote *remote = data;
    remote->owner->shut_down(remote->owner_data);
}

static const struct control_host host = {
    .each_call = each_call,
    .each_task = each_task,
    .each_queue = each_queue,
    .each_revoked = each_revoked,
    .each_process = each_process,
    .numbers = numbers,
    .is_set_up = is_set_up,
    .is_revoked = is_revoked,
    .runs_stamped = runs_stamped,
    .set_time_limits = set_time_limits,
    .set_rate_limit = set_rate_limit,
    .resize = resize,
    .set_autoscale = set_autoscale,
    .add_consumer = add_consumer,
    .cancel_consumer = cancel_consumer,
    .reload = reload,
    .shut_down = shut_down,
};

/* --- life ------------------------------------------------------------------------------------- */

static void look(void *data, struct events_vitals *vitals)
{
    const struct remote *remote = data;
    vitals->active = pool_busy(remote->pool);
    vitals->processed = remote->dispatch->totals.runs;
}

static void on_flush(void *data)
{
    struct remote *remote = data;
    events_flush(&remote->events);
}

static void on_refused(void *data, bool to_listen, const struct cel_error *err)
{
    struct remote *remote = data;
    struct refusal *refusal = to_listen ? &remote->listening : &remote->speaking;
    if (err && refusal_note(refusal, err))
        log_warning(to_listen ? "Redis refuses to let this worker hear remote control"
                              : "Redis refuses events: monitors do not see this worker",
                    F_C("err", err->text));
    else if (!err && refusal_end(refusal))
        log_info(to_listen ? "Remote control is heard again" : "Redis takes events again");
}

int remote_init(struct remote *remote,
                uv_loop_t *loop,
                const struct startup *startup,
                struct cel_error *err)
{
    const struct settings *settings = &startup->settings;
    const struct bus_options bus_options = {
        .url = settings->broker_url,
        .master_name = settings->master_name,
        .sentinel_username = settings->sentinel_username,
        .sentinel_password = settings->sentinel_password,
        .key_prefix = *settings->key_prefix ? str_of(settings->key_prefix) : STR_NONE,
        .fanout_prefix = settings->fanout_prefix,
        .silence = BROKER_SILENCE_USEC,
        .on_flush = on_flush,
        .on_refused = on_refused,
        .data = remote,
    };
    const struct events_options events_options = {
        .node = str_of(startup->name),
        .is_silent = settings->without_heartbeat,
        .wants_tasks = settings->task_events,
        .look = look,
        .data = remote,
    };
    *remote = (struct remote){.startup = startup, .started_mono = clock_mono()};
    remote->since_boot = clock_wall() - remote->started_mono;
    int r = bus_new(loop, &bus_options, &remote->bus, err);
    if (r == 0)
        events_init(&remote->events, loop, remote->bus, &remote->clock, &events_options);
    return r;
}

void remote_open(struct remote *remote,
                 struct broker *broker,
                 struct dispatch *dispatch,
                 struct pool *pool,
                 struct revocations *revocations,
                 struct autoscale *autoscale,
                 struct queues *queues,
                 const struct remote_events *owner,
                 void *data)
{
    const struct control_options options = {
        .node = str_of(remote->startup->name),
        .settings = &remote->startup->settings,
        .host = &host,
        .host_data = remote,
    };
    remote->dispatch = dispatch;
    remote->pool = pool;
    remote->revocations = revocations;
    remote->autoscale = autoscale;
    remote->queues = queues;
    remote->owner = owner;
    remote->owner_data = data;
    control_init(&remote->control, broker, remote->bus, &remote->clock, &remote->events, &options);
    remote->has_control = true;
}

void remote_recall(struct remote *remote, void (*recalled)(void *data), void *data)
{
    if (remote->startup->settings.remote_control)
        control_recall(&remote->control, recalled, data);
    else
        recalled(data);
}

void remote_start(struct remote *remote)
{
    events_start(&remote->events);
    if (remote->startup->settings.remote_control)
        control_start(&remote->control);
}

uint64_t remote_lost(const struct remote *remote)
{
    return remote->events.lost + bus_dropped(remote->bus);
}

static void on_closed(void *data)
{
    struct remote *remote = data;
    refusal_end(&remote->speaking);
    refusal_end(&remote->listening);
    if (remote->stopped)
        remote->stopped(remote->stopped_data);
}

static void on_drained(void *data)
{
    struct remote *remote = data;
    events_deinit(&remote->events);
    if (remote->has_control)
        control_deinit(&remote->control);
    bus_close(remote->bus, on_closed, remote);
}

void remote_stop(struct remote *remote, void (*stopped)(void *data), void *data)
{
    bool was_seen = remote->events.is_online || remote->control.is_on;
    remote->stopped = stopped;
    remote->stopped_data = data;
    if (was_seen) {
        events_stop(&remote->events);
        control_stop(&remote->control);
    }
    if (!was_seen || bus_drain(remote->bus, clock_mono() + GOODBYE_USEC, on_drained, remote) < 0)
        on_drained(remote);
}
