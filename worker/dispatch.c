#include "worker/dispatch.h"

#include <errno.h>

#include "control/task_events.h"
#include "core/backoff.h"
#include "core/id.h"
#include "core/log.h"
#include "keeper/refusal.h"
#include "message/result.h"
#include "worker/monitors.h"
#include "worker/settle.h"

#define STORE_DEADLINE_USEC (10 * USEC_PER_SEC)
#define LOOK_DEADLINE_USEC  (5 * USEC_PER_SEC)
#define LOOK_AGAIN_USEC     (10 * USEC_PER_SEC)

static struct list *in_state(struct dispatch *dispatch, enum request_state state)
{
    return &dispatch->requests.lists[state];
}

static struct request *request_of(struct list_link *link)
{
    return container_of(link, struct request, link);
}

static struct request *request_of_job(struct job *job)
{
    return container_of(job, struct request, job);
}

static struct dispatch *dispatch_of(struct request *request)
{
    return container_of(request->table, struct dispatch, requests);
}

/* --- the ledger ------------------------------------------------------------------------------- */

/* "ValueError: boom" of the document that is about to be stored. */
static void describe_error(const struct request *request, struct buf *text)
{
    struct result_view view;
    struct str document = buf_str(&request->settlement.document);
    if (document.len == 0 || result_decode(document, &view, NULL) < 0)
        return;
    buf_add_str(text, view.exc_type);
    if (view.exc_text.len > 0) {
        buf_add_c(text, ": ");
        buf_add_str(text, view.exc_text);
    }
    result_view_deinit(&view);
}

static void explain(const struct request *request, struct buf *text)
{
    const struct settlement *settlement = &request->settlement;
    const struct broker_dead *dead = settlement->completion.dead;
    char how[64];
    if (request->state != REQUEST_SETTLING)
        return; /* the settlement is that of an earlier call */
    if (dead) {
        buf_add_str(text, dead->reason);
        buf_add_c(text, ": ");
        buf_add_str(text, dead->detail);
    } else if (settlement->end == END_FAILED || settlement->end == END_RETRIED) {
        describe_error(request, text);
    } else if (request->death.pid) {
        death_describe(&request->death, how, sizeof(how));
        buf_add_c(text, how);
    }
}

/* `outcome` is a constant. */
static void record(struct dispatch *dispatch, const struct request *request, struct str outcome)
{
    const struct envelope *envelope = &request->envelope;
    usec_t now_mono = clock_mono(), since_boot = clock_wall() - now_mono;
    CLEANUP(buf_deinit) struct buf error = BUF_INIT(64 * 1024);
    explain(request, &error);
    recorder_add(
        dispatch->options.recorder,
        &(struct ledger_attempt){
            .task = envelope->task,
            .id = envelope->id,
            .queue = request->claim.queue,
            .outcome = outcome,
            .error = error.len > 0 ? buf_str(&error) : STR_NONE,
            .received_wall = since_boot + request->received_mono,
            .started_wall = request->pid ? since_boot + request->job.started_mono : 0,
            .ended_wall = since_boot + (request->ended_mono ? request->ended_mono : now_mono),
            .pid = request->pid,
            .term_signal = request->death.term_signal,
            .peak_rss = request->peak_rss,
            .retries = envelope->retries,
        });
}

/* What a call came to is known to the broker, or will never be. One that goes back without having begun
 * was no attempt. */
static void record_end(struct dispatch *dispatch, const struct request *request, int status)
{
    enum request_end end = request->settlement.end;
    bool is_attempt = request->pid || (end != END_PARKED && end != END_GIVEN_BACK);
    if (dispatch->options.recorder && is_attempt)
        record(dispatch, request, status ? STR("lost") : str_of(request_end_name(end)));
}

/* --- telling ---------------------------------------------------------------------------------- */

static void on_told(void *data, struct request *request, int status)
{
    struct dispatch *dispatch = data;
    const struct settlement *settlement = &request->settlement;
    if (dispatch->abandoned)
        return;
    if (status == 0) {
        dispatch->ends[settlement->end]++;
        if (events_are_wanted(dispatch->options.monitors))
            monitors_told(dispatch->options.monitors, request);
        if (settlement->verb == SETTLE_PARK)
            dispatch->events->on_parked(dispatch->data, request->claim.queue, settlement->due_wall);
        else if (settlement->completion.retry_due_wall)
            dispatch->events->on_parked(dispatch->data, request->claim.queue,
                                        settlement->completion.retry_due_wall);
    } else {
        dispatch->lost++;
        bool held = status != BROKER_E_LOST && !request->ack.is_done;
        log_warning(
            status == BROKER_E_LOST ? "The claim was lost; nothing was recorded"
                                    : "Redis was not told what a task came to",
            F_STR("stays_in",
                  held ? broker_in_flight_key(dispatch->broker, request->claim.queue) : STR_NONE),
            F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
            F_C("outcome", request_end_name(settlement->end)));
    }
    record_end(dispatch, request, status);
    request_set_state(request, REQUEST_DONE);
    dispatch->events->on_told(dispatch->data);
}

static void look_for_follow_ups(struct dispatch *dispatch, struct request *request)
{
    request_set_state(request, REQUEST_FOLLOWING);
    follow_ask(&dispatch->follow);
}

static void on_joined(void *data, struct request *request)
{
    struct dispatch *dispatch = data;
    if (!dispatch->abandoned)
        look_for_follow_ups(dispatch, request);
}

static void on_followed(void *data, struct request *request)
{
    struct dispatch *dispatch = data;
    if (dispatch->abandoned)
        return;
    request_set_state(request, REQUEST_SETTLING);
    completions_tell(&dispatch->completions, request);
}

static void on_follow_stopped(void *data)
{
    struct dispatch *dispatch = data;
    dispatch->events->on_stopped(dispatch->data);
}

static const struct follow_events follow_events = {.on_followed = on_followed,
                                                   .on_stopped = on_follow_stopped};

static void tell(struct dispatch *dispatch, struct request *request)
{
    request_set_state(request, REQUEST_SETTLING);
    bool is_timed = dispatch->options.recorder || events_are_wanted(dispatch->options.monitors);
    request->ended_mono = is_timed ? clock_mono() : 0;
    if (request->settlement.is_awaited)
        look_for_follow_ups(dispatch, request);
    else
        completions_tell(&dispatch->completions, request);
}

/* Values for settle.c that need memory of their own. */
struct occasion {
    struct settle_context context;
    char delivery_tag[UUID_SIZE];
};

static const struct settle_context *now(const struct dispatch *dispatch, struct occasion *occasion)
{
    occasion->context =
        (struct settle_context){.now_wall = clock_wall(), .node = dispatch->options.node};
    return &occasion->context;
}

/* Chance costs a system call each, and only another attempt needs it. */
static const struct settle_context *
now_for(const struct dispatch *dispatch, enum frame_outcome_kind kind, struct occasion *occasion)
{
    now(dispatch, occasion);
    if (kind == OUTCOME_RETRY) {
        occasion->context.random = backoff_random();
        occasion->context.delivery_tag = uuid_new(occasion->delivery_tag);
    }
    return &occasion->context;
}

/* --- the log ---------------------------------------------------------------------------------- */

static void log_end(const struct request *request, usec_t runtime)
{
    static const struct {
        enum log_level level;
        const char *sentence;
    } words[REQUEST_ENDS] = {
        [END_SUCCEEDED] = {LOG_LEVEL_INFO, "Task succeeded"},
        [END_FAILED] = {LOG_LEVEL_ERROR, "Task failed"},
        [END_RETRIED] = {LOG_LEVEL_INFO, "Task retry"},
        [END_IGNORED] = {LOG_LEVEL_INFO, "Task ignored"},
        [END_SKIPPED] = {LOG_LEVEL_INFO, "Task has its result already, skipped"},
        [END_EXPIRED] = {LOG_LEVEL_INFO, "Task expired, discarded"},
        [END_REVOKED] = {LOG_LEVEL_INFO, "Task revoked, discarded"},
        [END_BURIED] = {LOG_LEVEL_ERROR, "Task put into quarantine"},
        [END_PARKED] = {LOG_LEVEL_DEBUG, "Task parked until its time"},
        [END_GIVEN_BACK] = {LOG_LEVEL_DEBUG, "Task given back"},
        [END_REJECTED] = {LOG_LEVEL_WARNING, "Task rejected, put into quarantine"},
        [END_REQUEUED] = {LOG_LEVEL_INFO, "Task rejected, back to its queue"},
        [END_REDELIVERED] = {LOG_LEVEL_WARNING, "Task's process died, delivered again"},
    };
    const struct settlement *settlement = &request->settlement;
    enum log_level level = words[settlement->end].level;
    if (!log_enabled(level))
        return;
    CLEANUP(buf_deinit) struct buf error = BUF_INIT(64 * 1024);
    char due[ISOTIME_SIZE];
    usec_t due_wall =
        settlement->due_wall ? settlement->due_wall : settlement->completion.retry_due_wall;
    if (settlement->end == END_FAILED || settlement->end == END_RETRIED)
        describe_error(request, &error);
    const struct broker_dead *dead = settlement->completion.dead;
    LOG_RECORD(level, words[settlement->end].sentence, F_STR("task", request->envelope.task),
               F_STR("task_id", request->envelope.id),
               F_STR("queue", dead ? request->claim.queue : STR_NONE),
               F_STR("reason", dead ? dead->reason : STR_NONE),
               F_STR("detail", dead ? dead->detail : STR_NONE),
               F_STR("due", due_wall ? isotime_format(due_wall, due) : STR_NONE),
               F_STR("err", error.len > 0 ? buf_str(&error) : STR_NONE),
               runtime ? F_USEC("runtime", runtime) : F_STR("runtime", STR_NONE));
}

static void log_received(const struct request *request)
{
    log_info("Task received", F_STR("task", request->envelope.task),
             F_STR("task_id", request->envelope.id), F_STR("shadow", request->envelope.shadow),
             F_STR("eta", request->envelope.eta_text));
}

/* --- before the run --------------------------------------------------------------------------- */

static void give_back(struct dispatch *dispatch, struct request *request)
{
    settle_give_back(request, &request->settlement);
    log_end(request, 0);
    tell(dispatch, request);
}

static void make_ready(struct dispatch *dispatch, struct request *request)
{
    request->ready_mono = clock_mono();
    request_set_state(request, REQUEST_READY);
    if (dispatch->draining)
        give_back(dispatch, request);
}

static bool is_success(struct str document)
{
    struct result_view view;
    if (!document.ptr || result_decode(document, &view, NULL) < 0)
        return false;
    bool success = str_equal(view.status, STR("SUCCESS"));
    result_view_deinit(&view);
    return success;
}

static void on_looked(void *data, int status, struct str document, const struct cel_error *err)
{
    struct request *request = data;
    struct dispatch *dispatch = dispatch_of(request);
    if (dispatch->abandoned)
        return;
    if (refusal_is(status)) {
        log_warning("It cannot be looked up whether the task was done before; it waits",
                    F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
                    F_C("err", err->text));
        settle_postpone(request, clock_wall() + LOOK_AGAIN_USEC, &request->settlement);
        tell(dispatch, request);
    } else if (status < 0) {
        give_back(dispatch, request);
    } else if (is_success(document)) {
        settle_skip(request, &request->settlement);
        log_end(request, 0);
        tell(dispatch, request);
    } else {
        make_ready(dispatch, request);
        dispatch_pump(dispatch);
    }
}

static void look_first(struct dispatch *dispatch, struct request *request)
{
    request->is_looked_at = true;
    usec_t deadline = clock_mono() + LOOK_DEADLINE_USEC;
    if (broker_get_result(dispatch->broker, request->envelope.id, deadline, on_looked, request) < 0)
        give_back(dispatch, request);
}

static void settle_fate(struct dispatch *dispatch, struct request *request, enum request_fate fate)
{
    struct occasion occasion;
    settle_unrun(request, fate, now(dispatch, &occasion), &request->settlement);
    log_end(request, 0);
    tell(dispatch, request);
}

static void admit(struct dispatch *dispatch, struct request *request)
{
    const struct frame_task *task =
        registry_find(&dispatch->pool->registry, request->envelope.task);
    enum request_fate fate = request_decide(&request->envelope, task, clock_wall());
    if (task && revocations_find(dispatch->revocations, &request->envelope))
        fate = FATE_REVOKED;
    if (task) {
        request_set_rules(request, task, dispatch->options.soft_limit,
                          dispatch->options.hard_limit);
        log_received(request);
    }
    bool is_new = fate == FATE_RUN || fate == FATE_LOOK_FIRST || fate == FATE_PARK;
    if (is_new && events_are_wanted(dispatch->options.monitors))
        task_events_received(dispatch->options.monitors, &request->envelope);
    if (fate == FATE_RUN)
        make_ready(dispatch, request);
    else if (fate == FATE_LOOK_FIRST)
        look_first(dispatch, request);
    else
        settle_fate(dispatch, request, fate);
}

static void on_returned(void *data, int status, const struct cel_error *err)
{
    (void)data;
    (void)status;
    (void)err;
}

static void track(struct dispatch *dispatch, struct request *request)
{
    request->claim.id = request->envelope.id;
    broker_track(dispatch->broker, &request->claim);
}

static void look_at(struct dispatch *dispatch, struct request *request)
{
    struct cel_error err = {0};
    if (dispatch->paused) {
        make_ready(dispatch, request);
    } else if (request_read(request, &err) < 0) {
        settle_undecodable(request, str_of(err.text), &request->settlement);
        log_end(request, 0);
        tell(dispatch, request);
    } else {
        if (dispatch->options.track_ids)
            track(dispatch, request);
        admit(dispatch, request);
    }
}

void dispatch_admit(struct dispatch *dispatch, const struct broker_claimed *claimed)
{
    if (dispatch->abandoned)
        return;
    struct request *request = request_new(&dispatch->requests, &claimed->claim, claimed->bytes);
    if (!request) {
        log_error("No memory for a message; it is given back");
        usec_t deadline = clock_mono() + STORE_DEADLINE_USEC;
        if (broker_give_back(dispatch->broker, &claimed->claim, deadline, on_returned, NULL) < 0)
            log_error(
                "A message stays in flight",
                F_STR("stays_in", broker_in_flight_key(dispatch->broker, claimed->claim.queue)));
        return;
    }
    dispatch->received++;
    request->received_mono = dispatch->options.recorder ? clock_mono() : 0;
    if (revocations_are_current(dispatch->revocations))
        look_at(dispatch, request);
    else
        revocations_refresh(dispatch->revocations);
}

void dispatch_resume(struct dispatch *dispatch)
{
    struct list_link *link = in_state(dispatch, REQUEST_CLAIMED)->head;
    while (link && !dispatch->abandoned) {
        struct request *request = request_of(link);
        link = link->next;
        if (!request->is_looked_at)
            look_at(dispatch, request);
    }
    dispatch_pump(dispatch);
}

void dispatch_terminate(struct dispatch *dispatch, const struct revocation *revocation)
{
    static const enum request_state states[] = {REQUEST_PIPED, REQUEST_RUNNING};
    for (size_t i = 0; i < ARRAY_SIZE(states) && !dispatch->abandoned; i++) {
        struct list_link *link = in_state(dispatch, states[i])->head;
        while (link) {
            struct request *request = request_of(link);
            link = link->next;
            if (revocation_matches(revocation, &request->envelope))
                pool_terminate(dispatch->pool, &request->job, revocation->signal);
        }
    }
}

static void check_settled(const struct request *request, int status)
{
    if (status < 0)
        log_error("An outcome cannot be written down; the task is given back",
                  F_STR("task", request->envelope.task), F_STR("task_id", request->envelope.id),
                  F_C("err", cel_error_name(status)));
}

/* --- the run ---------------------------------------------------------------------------------- */

static void on_stored(void *data, int status, const struct cel_error *err)
{
    (void)data;
    if (status < 0 && status != -ECANCELED)
        log_debug("A state of a running task was not stored", F_C("err", err ? err->text : NULL));
}

/* A state on the way: stored by the way, and not repeated. It cannot overtake our own final document,
 * which follows on the same connection; and one of others, who have the call since we were given up
 * and do not know it yet, it leaves alone, since the claim is gone then. */
static void store(struct dispatch *dispatch, struct request *request, const struct buf *document)
{
    usec_t deadline = clock_mono() + STORE_DEADLINE_USEC;
    struct broker_claim claim = request->claim;
    if (request->ack.is_done)
        claim.tag = 0;
    if (buf_status(document) < 0 ||
        broker_store_state(dispatch->broker, &claim, request->envelope.id, buf_str(document),
                           deadline, on_stored, NULL) < 0)
        log_debug("A state of a running task was not stored");
    const struct broker_result row = {.id = request->envelope.id,
                                      .document = buf_str(document),
                                      .message = buf_str(&request->bytes),
                                      .spares_final = true};
    if (buf_status(document) == 0)
        result_rows_add(dispatch->options.rows, &row, true);
}

static void started(struct dispatch *dispatch, struct request *request, int64_t pid)
{
    bool is_tracked = request->task.track_started || dispatch->options.track_started;
    if (!is_tracked || request_ignores_result(request))
        return;
    CLEANUP(buf_deinit) struct buf document = BUF_INIT(VALUE_BYTES_MAX);
    if (settle_started_document(request, dispatch->options.node, pid, &document) == 0)
        store(dispatch, request, &document);
}

/* False: no child takes it. */
static bool run(struct dispatch *dispatch, struct request *request)
{
    int64_t pid;
    int r = pool_run(dispatch->pool, request_begin_job(request), &pid);
    if (r < 0)
        return false;
    request->job.started_mono = clock_mono();
    request->pid = pid;
    request_set_state(request, REQUEST_PIPED);
    if (r > 0)
        request_set_state(request, REQUEST_RUNNING);
    started(dispatch, request, pid);
    totals_note(&dispatch->totals, request->envelope.task);
    if (events_are_wanted(dispatch->options.monitors))
        task_events_started(dispatch->options.monitors, request->envelope.id);
    return true;
}

static void acknowledge(struct dispatch *dispatch, struct request *request)
{
    request_set_state(request, REQUEST_ACKING);
    early_ack(&dispatch->early_acks, request);
}

/* It is parked until its turn is near. */
static void put_off(struct dispatch *dispatch, struct request *request)
{
    int r =
        settle_put_off(request, request->turn.wall, request->turn.back_wall, &request->settlement);
    check_settled(request, r);
    log_end(request, 0);
    tell(dispatch, request);
}

/* False: it waits for its turn. */
static bool has_turn(struct dispatch *dispatch, struct request *request)
{
    enum rate_verdict verdict = turns_ask(&dispatch->turns, request);
    if (verdict == RATE_PARK)
        put_off(dispatch, request);
    return verdict == RATE_NOW;
}

/* Those whose turn has come stand in front. */
static struct request *first_ready(struct dispatch *dispatch)
{
    turns_next(&dispatch->turns);
    struct list_link *first = in_state(dispatch, REQUEST_READY)->head;
    return first ? request_of(first) : NULL;
}

void dispatch_pump(struct dispatch *dispatch)
{
    while (!dispatch->paused && !dispatch->abandoned &&
           pool_idle(dispatch->pool) > in_state(dispatch, REQUEST_ACKING)->count) {
        struct request *request = first_ready(dispatch);
        if (!request)
            return;
        if (request->envelope.expires_wall && request_is_expired(&request->envelope, clock_wall()))
            settle_fate(dispatch, request, FATE_EXPIRED);
        else if (revocations_find(dispatch->revocations, &request->envelope))
            settle_fate(dispatch, request, FATE_REVOKED);
        else if (!has_turn(dispatch, request))
            continue;
        else if (request->task.acks_early && !request->ack.is_done)
            acknowledge(dispatch, request);
        else if (!run(dispatch, request))
            return;
    }
}

static void on_turn(void *data)
{
    struct dispatch *dispatch = data;
    struct request *late;
    if (dispatch->paused || dispatch->abandoned)
        return;
    dispatch_pump(dispatch);
    while ((late = turns_late(&dispatch->turns)))
        put_off(dispatch, late);
}

int dispatch_set_rate_limit(struct dispatch *dispatch,
                            struct str task,
                            struct str rate,
                            struct cel_error *err)
{
    if (!registry_find(&dispatch->pool->registry, task))
        return error_set(err, -ENOENT, "unknown task");
    return turns_tell(&dispatch->turns, task, rate, err);
}

static void on_acked(void *data, struct request *request, int status)
{
    struct dispatch *dispatch = data;
    if (dispatch->abandoned)
        return;
    if (status == 0) {
        make_ready(dispatch, request);
    } else {
        settle_give_back(request, &request->settlement);
        request_set_state(request, REQUEST_SETTLING);
        on_told(dispatch, request, status);
    }
    dispatch_pump(dispatch);
}

void dispatch_written(struct dispatch *dispatch, struct job *job)
{
    if (!dispatch->abandoned)
        request_set_state(request_of_job(job), REQUEST_RUNNING);
}

static void keep_arguments(struct request *request, struct str json)
{
    buf_clear(&request->arguments);
    buf_add_str(&request->arguments, json);
    if (buf_status(&request->arguments) < 0)
        buf_clear(&request->arguments);
}

void dispatch_progress(struct dispatch *dispatch,
                       struct job *job,
                       const struct frame_progress *progress)
{
    struct request *request = request_of_job(job);
    if (dispatch->abandoned)
        return;
    if (!progress->state.ptr) {
        keep_arguments(request, progress->meta_json);
        return;
    }
    buf_clear(&request->progress);
    buf_add_str(&request->progress, progress->meta_json);
    if (buf_status(&request->progress) < 0)
        buf_clear(&request->progress); /* too long to be kept */
    if (request_ignores_result(request))
        return;
    CLEANUP(buf_deinit) struct buf document = BUF_INIT(2 * FRAME_BYTES_MAX);
    if (settle_progress_document(request, progress, &document) == 0)
        store(dispatch, request, &document);
}

/* --- after the run ---------------------------------------------------------------------------- */

usec_t
dispatch_outcome(struct dispatch *dispatch, struct job *job, const struct frame_outcome *outcome)
{
    struct request *request = request_of_job(job);
    struct occasion occasion;
    usec_t took = clock_mono() - request->job.started_mono;
    if (dispatch->abandoned)
        return took;
    request->peak_rss = outcome->peak_rss;
    dispatch_pump(dispatch); /* first, so that the child is at work meanwhile */
    int r = settle_outcome(request, outcome, now_for(dispatch, outcome->kind, &occasion),
                           &request->settlement);
    check_settled(request, r);
    if (events_are_wanted(dispatch->options.monitors))
        monitors_keep(request, outcome);
    log_end(request, took);
    tell(dispatch, request);
    return took;
}

void dispatch_recall(struct dispatch *dispatch, struct job *job)
{
    struct request *request = request_of_job(job);
    if (dispatch->abandoned)
        return;
    request->pid = 0;
    make_ready(dispatch, request);
    dispatch_pump(dispatch);
}

void dispatch_death(struct dispatch *dispatch, struct job *job, const struct death *death)
{
    struct request *request = request_of_job(job);
    struct occasion occasion;
    if (dispatch->abandoned)
        return;
    request->death = *death;
    request->peak_rss = death->peak_rss;
    int r = settle_death(request, death, now(dispatch, &occasion), &request->settlement);
    check_settled(request, r);
    log_end(request, clock_mono() - request->job.started_mono);
    tell(dispatch, request);
}

/* --- giving back ------------------------------------------------------------------------------ */

size_t dispatch_held(const struct dispatch *dispatch)
{
    return dispatch->requests.lists[REQUEST_CLAIMED].count +
           dispatch->requests.lists[REQUEST_READY].count +
           dispatch->requests.lists[REQUEST_ACKING].count;
}

usec_t dispatch_ready_since(const struct dispatch *dispatch)
{
    const struct list_link *link = dispatch->requests.lists[REQUEST_READY].head;
    return link ? container_of(link, const struct request, link)->ready_mono : 0;
}

void dispatch_give_back(struct dispatch *dispatch)
{
    /* The newest first: each goes to the serving end, so the oldest comes out first. (But those
     * that are acknowledged already: they are sent anew.) */
    struct list_link *link;
    while ((link = in_state(dispatch, REQUEST_READY)->tail))
        give_back(dispatch, request_of(link));
}

/* They came before those that were ready. */
static void give_back_limited(struct dispatch *dispatch)
{
    struct list_link *link;
    turns_stop(&dispatch->turns);
    while ((link = in_state(dispatch, REQUEST_LIMITED)->tail))
        give_back(dispatch, request_of(link));
}

void dispatch_pause(struct dispatch *dispatch)
{
    dispatch->paused = true;
}

void dispatch_drain(struct dispatch *dispatch)
{
    dispatch_resume(
        dispatch); /* what was held for its revocation goes with the rest, in its order */
    dispatch->draining = true;
    completions_drain(&dispatch->completions);
    dispatch_give_back(dispatch);
    give_back_limited(dispatch);
}

void dispatch_stop(struct dispatch *dispatch)
{
    follow_stop(&dispatch->follow);
}

void dispatch_abandon(struct dispatch *dispatch)
{
    dispatch->abandoned = true;
    completions_stop(&dispatch->completions);
    early_acks_stop(&dispatch->early_acks);
    follow_abandon(&dispatch->follow);
    turns_stop(&dispatch->turns);
    for (int state = REQUEST_CLAIMED; state <= REQUEST_SETTLING; state++) {
        struct list *list = in_state(dispatch, (enum request_state)state);
        while (list->head) {
            struct request *request = request_of(list->head);
            if (request->pid)
                record_end(dispatch, request, BROKER_E_LOST);
            request_set_state(request, REQUEST_ABANDONED);
        }
    }
}

bool dispatch_knows(const struct dispatch *dispatch, const struct broker_claim *claim)
{
    for (int state = REQUEST_CLAIMED; state <= REQUEST_SETTLING; state++) {
        const struct list_link *link = dispatch->requests.lists[state].head;
        for (; link; link = link->next) {
            const struct request *request = container_of(link, const struct request, link);
            if (request->claim.tag == claim->tag)
                return true;
        }
    }
    return false;
}

void dispatch_init(struct dispatch *dispatch,
                   uv_loop_t *loop,
                   struct broker *broker,
                   struct pool *pool,
                   struct revocations *revocations,
                   const struct dispatch_options *options,
                   const struct dispatch_events *events,
                   void *data)
{
    *dispatch = (struct dispatch){.broker = broker,
                                  .pool = pool,
                                  .revocations = revocations,
                                  .options = *options,
                                  .events = events,
                                  .data = data};
    if (options->result_extended)
        dispatch->requests.extended_by = options->node;
    completions_init(&dispatch->completions, loop, broker, &dispatch->requests, options->rows,
                     on_told, on_joined, dispatch);
    follow_init(&dispatch->follow, loop, &dispatch->requests, options->children, &follow_events,
                dispatch);
    early_acks_init(&dispatch->early_acks, loop, broker, &dispatch->requests, options->lease,
                    on_acked, dispatch);
    turns_init(&dispatch->turns, loop, &dispatch->requests, on_turn, dispatch);
}

void dispatch_deinit(struct dispatch *dispatch)
{
    completions_deinit(&dispatch->completions);
    early_acks_deinit(&dispatch->early_acks);
    follow_deinit(&dispatch->follow);
    turns_deinit(&dispatch->turns);
    requests_deinit(&dispatch->requests);
    totals_deinit(&dispatch->totals);
}
