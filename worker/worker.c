/*
 * The daemon's life.
 *
 *   CONNECTING --PING answered--> JOINING --leases held--> STARTING --first hello--> RUNNING
 *        |                            |                        |                         |
 *        +---- Redis refuses ---------+--- a signal -----------+-------------------------+
 *                                                                                        v
 *                      CLOSING <--leases ended-- LEAVING <--nothing left to tell-- DRAINING
 *                                                   ^
 *   any --lease lost--> ABANDONING --children gone--+   Children are killed, nothing is told but the end
 *                       of the other leases; then all of it once more under a new incarnation, unless
 *                       it was to stop.
 */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "worker/worker_priv.h"

#define FIRST_ANSWER_USEC (5 * USEC_PER_SEC)  /* for Redis, at the start */
#define LAST_WORDS_USEC   (10 * USEC_PER_SEC) /* for Redis, in a cold stop */
#define PROBE_USEC        (5 * USEC_PER_SEC) /* the longest without a claim while a child is idle */
#define DEAF_USEC         (15 * USEC_PER_SEC) /* without an attempt to claim we are not well */
enum { STATUS_MS = 5000 };

static const int signals[WORKER_SIGNALS] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1};

static void stop(struct worker *worker, bool cold);

/* --- telling ---------------------------------------------------------------------------------- */

static void on_status(uv_timer_t *timer)
{
    struct worker *worker = container_of(timer, struct worker, status);
    char status[WORKER_STATUS_SIZE];
    worker_describe(worker, status);
    process_notify_status(status);
    credit_probe(&worker->credit, clock_mono() - PROBE_USEC);
}

static void tell_ready(struct worker *worker)
{
    char status[WORKER_STATUS_SIZE];
    worker_describe(worker, status);
    process_notify_ready(status);
}

/* Asserts that work is asked for, not merely that the loop turns. */
static void on_watchdog(uv_timer_t *timer)
{
    struct worker *worker = container_of(timer, struct worker, watchdog);
    credit_probe(&worker->credit, clock_mono() - uv_timer_get_repeat(timer) * USEC_PER_MSEC);
    usec_t now = clock_mono(); /* after the probe, whose attempt is not later than this */
    if (worker->phase == RUNNING && credit_is_hungry(&worker->credit) &&
        now - worker->credit.attempt_mono > DEAF_USEC)
        log_error("No claim was attempted; the watchdog is not told",
                  F_USEC("since", now - worker->credit.attempt_mono));
    else
        process_notify_watchdog();
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Between two incarnations nobody listens: what comes then must wait, not end the process. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(how, &set, NULL);
}

static void on_recorded(void *data)
{
    struct worker *worker = data;
    recorder_deinit(&worker->recorder);
    dispatch_deinit(&worker->dispatch);
    credit_deinit(&worker->credit);
    autoscale_deinit(&worker->autoscale);
    promoter_deinit(&worker->promoter);
    releaser_deinit(&worker->releaser);
    rescuer_deinit(&worker->rescuer);
    presence_deinit(&worker->presence);
    if (worker->again)
        queues_keep(&worker->queues, &worker->startup.queues);
    queues_deinit(&worker->queues);
    revocations_deinit(&worker->revocations);
    result_rows_deinit(&worker->rows);
    pool_deinit(&worker->pool);
    if (worker->again)
        hold_signals(SIG_BLOCK);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        uv_close((uv_handle_t *)&worker->signals[i], NULL);
    uv_close((uv_handle_t *)&worker->status, NULL);
    uv_close((uv_handle_t *)&worker->watchdog, NULL);
    uv_close((uv_handle_t *)&worker->stop_limit, NULL);
}

static void on_remote_stopped(void *data)
{
    struct worker *worker = data;
    recorder_stop(&worker->recorder, on_recorded, worker);
}

static void on_broker_closed(void *data)
{
    struct worker *worker = data;
    dispatch_abandon(&worker->dispatch); /* what could not be told */
    remote_stop(&worker->remote, on_remote_stopped, worker);
}

static void close_broker(void *data)
{
    struct worker *worker = data;
    broker_close(worker->broker, on_broker_closed, worker);
}

static void close_all(struct worker *worker)
{
    worker->phase = CLOSING;
    revocations_stop(&worker->revocations);
    uv_timer_stop(&worker->stop_limit);
    result_rows_stop(&worker->rows, close_broker, worker);
}

static void check_stopped(struct worker *worker)
{
    bool nothing_to_tell =
        worker->phase == ABANDONING || (worker->phase == DRAINING && worker->credit.stopped &&
                                        requests_live(&worker->dispatch.requests) == 0);
    if (!nothing_to_tell || !worker->children_gone)
        return;
    if (worker->dispatch_gone) {
        worker->phase = LEAVING;
        presence_leave(&worker->presence);
    } else {
        dispatch_stop(&worker->dispatch);
    }
}

static void on_dispatch_stopped(void *data)
{
    struct worker *worker = data;
    worker->dispatch_gone = true;
    if (worker->gives_up)
        close_all(worker);
    else
        check_stopped(worker);
}

static void on_left(void *data)
{
    struct worker *worker = data;
    if (worker->phase == LEAVING)
        close_all(worker);
}

/* Somebody else has our tasks now, or will: whatever still runs here must not end as if it were ours.
 */
static void abandon(struct worker *worker)
{
    if (worker->phase >= ABANDONING)
        return;
    log_error("The lease was lost: this node was given up by others; its children are killed",
              F_C("node", worker->startup.node), F_U64("running", pool_busy(&worker->pool)),
              F_C("then", worker->phase < DRAINING ? "it starts anew" : "it stops"));
    worker->again = worker->phase < DRAINING;
    worker->phase = ABANDONING;
    presence_lose(&worker->presence);
    rescuer_stop(&worker->rescuer);
    promoter_stop(&worker->promoter);
    releaser_stop(&worker->releaser);
    revocations_stop(&worker->revocations);
    autoscale_stop(&worker->autoscale);
    credit_abandon(&worker->credit);
    dispatch_abandon(&worker->dispatch);
    pool_kill(&worker->pool);
}

static void on_stop_limit(uv_timer_t *timer)
{
    struct worker *worker = container_of(timer, struct worker, stop_limit);
    if (worker->phase != DRAINING)
        return; /* the lease is being ended, which has a deadline of its own */
    if (!worker->cold) {
        log_warning("Running tasks did not end in time");
        stop(worker, true);
    } else if (worker->children_gone) {
        log_error("Redis cannot be told; the tasks stay in flight",
                  F_C("node", worker->startup.node),
                  F_U64("tasks", requests_live(&worker->dispatch.requests)));
        worker->gives_up = true;
        dispatch_stop(&worker->dispatch);
    } else {
        uv_timer_start(timer, on_stop_limit, 1000, 0);
    }
}

static void stop_cold(struct worker *worker)
{
    if (worker->cold)
        return;
    worker->cold = true;
    log_warning("Cold stop: children are killed, their tasks go back",
                F_U64("running", pool_busy(&worker->pool)));
    uv_timer_start(&worker->stop_limit, on_stop_limit, LAST_WORDS_USEC / USEC_PER_MSEC, 0);
    pool_stop(&worker->pool, true);
}

static void stop_warm(struct worker *worker)
{
    usec_t limit = worker->startup.settings.warm_shutdown_limit;
    worker->phase = DRAINING;
    process_notify_stopping();
    promoter_stop(&worker->promoter);
    releaser_stop(&worker->releaser);
    rescuer_stop(&worker->rescuer);
    autoscale_stop(&worker->autoscale);
    if (limit > 0)
        uv_timer_start(&worker->stop_limit, on_stop_limit, limit / USEC_PER_MSEC, 0);
    dispatch_pause(&worker->dispatch);
    credit_stop(&worker->credit);
    pool_stop(&worker->pool, false);
}

static void stop(struct worker *worker, bool cold)
{
    worker->again = false;
    if (worker->phase >= LEAVING)
        return;
    if (worker->phase != DRAINING)
        stop_warm(worker);
    if (cold)
        stop_cold(worker);
    check_stopped(worker);
}

static void fail(struct worker *worker, enum exit_status status)
{
    if (worker->exit == EXIT_OK)
        worker->exit = status;
    stop(worker, true);
}

/* --- what the parts tell ---------------------------------------------------------------------- */

static void begin(void *data)
{
    struct worker *worker = data;
    if (worker->phase != RUNNING)
        return;
    promoter_start(&worker->promoter);
    releaser_start(&worker->releaser);
    rescuer_start(&worker->rescuer);
    credit_start(&worker->credit);
    autoscale_start(&worker->autoscale);
}

static void on_code(void *data, bool reloaded)
{
    struct worker *worker = data;
    if (reloaded) {
        log_info("New code is in use; old children end with their task",
                 F_U64("tasks", worker->pool.registry.count));
        releaser_start(&worker->releaser);
        tell_ready(worker);
        return;
    }
    worker->phase = RUNNING;
    remote_recall(&worker->remote, begin, worker);
}

static void on_room(void *data)
{
    struct worker *worker = data;
    dispatch_pump(&worker->dispatch);
    credit_turn(&worker->credit);
}

static void on_written(void *data, struct job *job)
{
    struct worker *worker = data;
    dispatch_written(&worker->dispatch, job);
}

static void on_progress(void *data, struct job *job, const struct frame_progress *progress)
{
    struct worker *worker = data;
    dispatch_progress(&worker->dispatch, job, progress);
}

static void on_outcome(void *data, struct job *job, const struct frame_outcome *outcome)
{
    struct worker *worker = data;
    credit_note_run(&worker->credit, dispatch_outcome(&worker->dispatch, job, outcome));
    credit_turn(&worker->credit);
}

static void on_recall(void *data, struct job *job)
{
    struct worker *worker = data;
    dispatch_recall(&worker->dispatch, job);
    credit_turn(&worker->credit);
}

static void on_death(void *data, struct job *job, const struct death *death)
{
    struct worker *worker = data;
    dispatch_death(&worker->dispatch, job, death);
    credit_turn(&worker->credit);
}

static void on_unusable(void *data, int exit_status, bool reloading)
{
    struct worker *worker = data;
    if (reloading) {
        log_error("New code cannot be used; the old children go on");
        tell_ready(worker);
        return;
    }
    if (exit_status != EXIT_CONFIG)
        log_error("No child can be started");
    fail(worker, (enum exit_status)exit_status);
}

static void on_empty(void *data)
{
    struct worker *worker = data;
    worker->children_gone = true;
    check_stopped(worker);
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

static void look(void *data, struct credit_view *view)
{
    const struct worker *worker = data;
    view->idle = pool_idle(&worker->pool);
    view->children = view->idle + worker->pool.shared.lists[SLOT_BUSY].count;
    view->held = dispatch_held(&worker->dispatch);
    if (worker->dispatch.completions.refused >= COMPLETIONS_REFUSED_MAX ||
        worker->dispatch.requests.lists[REQUEST_SETTLING].count +
                worker->dispatch.requests.lists[REQUEST_FOLLOWING].count >=
            COMPLETIONS_UNTOLD_MAX)
        view->idle = view->children = 0; /* what comes would be refused as well */
    view->since_mono = dispatch_ready_since(&worker->dispatch);
}

static void on_claimed(void *data, const struct broker_claimed *claimed, size_t count)
{
    struct worker *worker = data;
    for (size_t i = 0; i < count; i++) {
        dispatch_admit(&worker->dispatch, &claimed[i]);
        dispatch_pump(&worker->dispatch); /* the first is at work while the next is read */
    }
}

static void give_back(void *data)
{
    struct worker *worker = data;
    dispatch_give_back(&worker->dispatch);
}

static void on_first_claim(void *data)
{
    struct worker *worker = data;
    if (worker->phase != RUNNING)
        return;
    worker_log_banner(worker);
    remote_start(&worker->remote);
    tell_ready(worker);
}

static void on_credit_stopped(void *data)
{
    struct worker *worker = data;
    dispatch_drain(&worker->dispatch);
    check_stopped(worker);
}

static void on_lost(void *data)
{
    abandon(data);
}

static void on_removed(void *data, struct str queue)
{
    struct worker *worker = data;
    queues_removed(&worker->queues, queue);
}

static void on_joined(void *data, struct str queue)
{
    struct worker *worker = data;
    queues_joined(&worker->queues, queue);
}

static const struct credit_events credit_events = {
    .look = look,
    .on_claimed = on_claimed,
    .give_back = give_back,
    .on_first_claim = on_first_claim,
    .on_stopped = on_credit_stopped,
    .on_removed = on_removed,
    .on_lost = on_lost,
};

static void on_parked(void *data, struct str queue, usec_t due_wall)
{
    struct worker *worker = data;
    promoter_note(&worker->promoter, queue, due_wall);
}

static void on_told(void *data)
{
    struct worker *worker = data;
    credit_turn(&worker->credit); /* what was refused takes room no more */
    check_stopped(worker);
}

static const struct dispatch_events dispatch_events = {
    .on_parked = on_parked, .on_told = on_told, .on_stopped = on_dispatch_stopped};

static void on_current(void *data)
{
    struct worker *worker = data;
    dispatch_resume(&worker->dispatch);
    credit_turn(&worker->credit);
}

static void on_terminate(void *data, const struct revocation *revocation)
{
    struct worker *worker = data;
    dispatch_terminate(&worker->dispatch, revocation);
}

static const struct revocations_events revocations_events = {
    .on_current = on_current,
    .on_terminate = on_terminate,
};

/* --- signals ---------------------------------------------------------------------------------- */

static bool reload(void *data)
{
    struct worker *worker = data;
    if (worker->phase != RUNNING || !pool_reload(&worker->pool)) {
        log_warning("Not now: children are being started or stopped");
        return false;
    }
    follow_reload(&worker->dispatch.follow);
    log_info("A child with new code is started");
    process_notify_reloading();
    return true;
}

static void shut_down(void *data)
{
    stop(data, false);
}

static const struct remote_events remote_events = {.reload = reload, .shut_down = shut_down};

static void on_signal(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    bool again = worker->phase == DRAINING;
    log_info("Signal", F_C("name", sigabbrev_np(number)));
    switch (number) {
    case SIGTERM:
    case SIGINT:
        if (!again)
            log_info("Warm stop: running tasks finish; the same again stops at once",
                     F_U64("running", pool_busy(&worker->pool)));
        stop(worker, again);
        break;
    case SIGQUIT:
        stop(worker, true);
        break;
    case SIGHUP:
        reload(worker);
        break;
    default:
        worker_report(worker);
        break;
    }
}

static void watch_signals(struct worker *worker)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        worker->signals[i].data = worker;
        uv_signal_init(&worker->loop, &worker->signals[i]);
        if (uv_signal_start(&worker->signals[i], on_signal, signals[i]) < 0)
            log_warning("A signal cannot be watched", F_C("name", sigabbrev_np(signals[i])));
    }
    hold_signals(SIG_UNBLOCK);
    signal(SIGPIPE, SIG_IGN); /* libuv wants it so: a closed connection is an error of write() */
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void on_first_answer(void *data, int status, const struct cel_error *err)
{
    struct worker *worker = data;
    if (worker->phase != CONNECTING)
        return;
    if (status < 0) {
        log_error("Redis cannot be used", F_C("broker", worker->startup.display),
                  F_C("err", err->text));
        fail(worker, process_exit_status(status));
        return;
    }
    worker->phase = JOINING;
    queues_start(&worker->queues);
    presence_start(&worker->presence);
}

static void on_held(void *data)
{
    struct worker *worker = data;
    if (worker->phase != JOINING)
        return;
    worker->phase = STARTING;
    revocations_start(&worker->revocations);
    pool_start(&worker->pool);
}

static void on_refused(void *data, struct str queue, const struct cel_error *err)
{
    struct worker *worker = data;
    log_error("The worker cannot start: Redis refuses its lease on a queue", F_STR("queue", queue),
              F_C("broker", worker->startup.display), F_C("err", err->text));
    fail(worker, process_exit_status(err->code));
}

static bool is_known(void *data, const struct broker_claim *claim)
{
    const struct worker *worker = data;
    return dispatch_knows(&worker->dispatch, claim);
}

static const struct presence_events presence_events = {
    .on_held = on_held,
    .on_lost = on_lost,
    .on_refused = on_refused,
    .is_known = is_known,
    .on_left = on_left,
    .on_joined = on_joined,
};

static int open_broker(struct worker *worker, struct cel_error *err)
{
    const struct settings *settings = &worker->startup.settings;
    struct broker_result_store store;
    const struct broker_options options = {
        .url = settings->broker_url,
        .result_url = *settings->result_backend ? settings->result_backend : NULL,
        .result_store = result_rows_store(&worker->rows, &store),
        .master_name = settings->master_name,
        .sentinel_username = settings->sentinel_username,
        .sentinel_password = settings->sentinel_password,
        .key_prefix = *settings->key_prefix ? str_of(settings->key_prefix) : STR_NONE,
        .node = str_of(worker->startup.node),
        .silence = BROKER_SILENCE_USEC,
        .result_ttl = settings->result_expires,
        .dead_max = (size_t)settings->dead_max,
        .dead_max_age = settings->dead_max_age,
    };
    return broker_new(&worker->loop, &options, &worker->broker, err);
}

static bool knows(void *data, struct str task)
{
    const struct worker *worker = data;
    return registry_find(&worker->pool.registry, task) != NULL;
}

static void open_keepers(struct worker *worker)
{
    const struct startup *startup = &worker->startup;
    const struct rescuer_options options = {.lease = startup->settings.lease,
                                            .max_deliveries = startup->settings.max_deliveries,
                                            .rows = &worker->rows};
    promoter_init(&worker->promoter, &worker->loop, worker->broker);
    releaser_init(&worker->releaser, &worker->loop, worker->broker, knows, worker);
    rescuer_init(&worker->rescuer, &worker->loop, worker->broker, &options);
    presence_init(&worker->presence, &worker->loop, worker->broker, &worker->rescuer,
                  str_of(startup->node), startup->settings.lease, &presence_events, worker);
}

static void open_queues(struct worker *worker)
{
    const struct queues_parts parts = {.broker = worker->broker,
                                       .credit = &worker->credit,
                                       .presence = &worker->presence,
                                       .promoter = &worker->promoter,
                                       .releaser = &worker->releaser,
                                       .rescuer = &worker->rescuer};
    queues_init(&worker->queues, &parts, &worker->startup.queues);
}

static int open_parts(struct worker *worker)
{
    const struct startup *startup = &worker->startup;
    const struct pool_options pool_options = {
        .concurrency = startup->concurrency,
        .max_tasks_per_child = startup->settings.max_tasks_per_child,
        .max_memory_per_child = (uint64_t)startup->settings.max_memory_per_child * 1024,
        .setup = startup->setup,
    };
    const struct dispatch_options dispatch_options = {
        .node = str_of(startup->name),
        .rows = &worker->rows,
        .soft_limit = startup->settings.soft_time_limit,
        .hard_limit = startup->settings.hard_time_limit,
        .lease = startup->settings.lease,
        .track_ids = startup->settings.track_ids,
        .track_started = startup->settings.track_started,
        .result_extended = startup->settings.result_extended,
        .recorder = startup->ledger == LEDGER_OFF ? NULL : &worker->recorder,
        .children = &pool_options,
        .monitors = &worker->remote.events,
    };
    const struct recorder_options recorder_options = {
        .detail = startup->ledger,
        .database = startup->settings.ledger_database,
        .uri = startup->ledger_uri,
        .node = startup->node,
        .name = startup->name,
        .days = startup->settings.ledger_days,
        .most = (size_t)startup->settings.ledger_backlog,
    };
    recorder_init(&worker->recorder, &worker->loop, &recorder_options);
    revocations_init(&worker->revocations, &worker->loop, worker->broker, &revocations_events,
                     worker);
    dispatch_init(&worker->dispatch, &worker->loop, worker->broker, &worker->pool,
                  &worker->revocations, &dispatch_options, &dispatch_events, worker);
    credit_init(&worker->credit, &worker->loop, worker->broker, startup->order, &credit_events,
                worker);
    autoscale_init(&worker->autoscale, &worker->loop, &worker->pool, &worker->credit,
                   &startup->autoscale, startup->settings.autoscale_keepalive);
    open_keepers(worker);
    open_queues(worker);
    remote_open(&worker->remote, worker->broker, &worker->dispatch, &worker->pool,
                &worker->revocations, &worker->autoscale, &worker->queues, &remote_events, worker);
    return pool_init(&worker->pool, &worker->loop, &pool_options, &pool_events, worker);
}

static void start(struct worker *worker)
{
    usec_t watchdog_ms = process_watchdog_interval() / USEC_PER_MSEC;
    struct cel_error err = {0};
    worker->started_mono = clock_mono();
    uv_timer_init(&worker->loop, &worker->status);
    uv_timer_init(&worker->loop, &worker->watchdog);
    uv_timer_init(&worker->loop, &worker->stop_limit);
    watch_signals(worker);
    uv_timer_start(&worker->status, on_status, STATUS_MS, STATUS_MS);
    if (watchdog_ms > 0)
        uv_timer_start(&worker->watchdog, on_watchdog, watchdog_ms, watchdog_ms);
    int r = open_parts(worker);
    if (r == 0)
        r = broker_ping(worker->broker, clock_mono() + FIRST_ANSWER_USEC, on_first_answer, worker);
    if (r < 0) {
        error_set(&err, r, "%s", cel_error_name(r));
        on_first_answer(worker, r, &err);
    }
}

/* One incarnation, from the first connection to the last handle. */
static void run(struct worker *worker)
{
    struct cel_error err = {0};
    const struct startup startup = worker->startup;
    *worker = (struct worker){.startup = startup};
    int r = uv_loop_init(&worker->loop);
    ASSERT(r == 0);
    r = result_rows_init(&worker->rows, &worker->loop, &startup.settings, &startup.config,
                         startup.name, &err);
    if (r == 0)
        r = open_broker(worker, &err);
    if (r == 0 && (r = remote_init(&worker->remote, &worker->loop, &worker->startup, &err)) < 0)
        broker_close(worker->broker, NULL, NULL);
    if (r < 0) {
        result_rows_deinit(&worker->rows);
        fprintf(stderr, "celeriac: %s\n", err.text);
        worker->exit = process_exit_status(r);
    } else {
        start(worker);
    }
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    r = uv_loop_close(&worker->loop);
    ASSERT(r == 0);
}

int worker_main(int argc, char **argv)
{
    struct worker *worker = xnew(struct worker);
    int status = startup_load(&worker->startup, argc, argv);
    if (status == 0) {
        run(worker);
        while (worker->again) {
            startup_rename(&worker->startup);
            run(worker);
        }
        status = (int)worker->exit;
        if (worker->broker)
            log_info("Worker stopped", F_C("node", worker->startup.name));
    }
    startup_deinit(&worker->startup);
    mem_free(worker);
    return status;
}
