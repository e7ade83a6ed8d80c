#include "pool/pool.h"

#include <errno.h>

#include "core/backoff.h"
#include "core/log.h"
#include "core/process.h"

/* Between the starts of a child that dies before it did anything. */
static const struct backoff respawn_backoff = {.first = 100 * USEC_PER_MSEC,
                                               .cap = 30 * USEC_PER_SEC};
/* A first child that dies so often before its hello is taken for one that cannot start. */
enum { TRIAL_DEATHS_MAX = 3 };

static struct slot *slot_of(struct list_link *link)
{
    return container_of(link, struct slot, link);
}

static struct pool *pool_of(struct slot *slot)
{
    return container_of(slot->shared, struct pool, shared);
}

/* Calls `visit` for each slot that is in the state now; it may change that state. */
static void for_each(struct pool *pool,
                     enum slot_state state,
                     void (*visit)(struct pool *pool, struct slot *slot))
{
    struct list_link *link = pool->shared.lists[state].head;
    while (link) {
        struct list_link *next = link->next;
        visit(pool, slot_of(link));
        link = next;
    }
}

static size_t count_processes(const struct pool *pool)
{
    size_t count = 0;
    for (size_t i = SLOT_STARTING; i <= SLOT_STOPPING; i++)
        count += pool->shared.lists[i].count;
    return count;
}

static void spawn(struct pool *pool, unsigned generation)
{
    slot_spawn(slot_new(&pool->shared, ++pool->last_number, generation));
}

/* --- deadlines: one timer --------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void wake_at(struct pool *pool, usec_t when_mono)
{
    if (when_mono >= pool->timer_mono)
        return;
    usec_t now = clock_mono();
    usec_t delay = when_mono > now ? when_mono - now : 0;
    pool->timer_mono = when_mono;
    uv_update_time(pool->shared.loop);
    uv_timer_start(&pool->timer, on_timer, (delay + USEC_PER_MSEC - 1) / USEC_PER_MSEC, 0);
}

static void tick(struct pool *pool, struct slot *slot)
{
    wake_at(pool, slot_tick(slot, clock_mono()));
}

static void on_timer(uv_timer_t *timer)
{
    struct pool *pool = container_of(timer, struct pool, timer);
    pool->timer_mono = USEC_NEVER;
    for (int state = SLOT_STARTING; state <= SLOT_EXITED; state++)
        for_each(pool, (enum slot_state)state, tick); /* twice does no harm */
}

/* --- what the slots tell ---------------------------------------------------------------------- */

static void retire_old(struct pool *pool, struct slot *slot)
{
    if (slot->generation != pool->generation)
        slot_retire(slot);
}

static void free_old(struct pool *pool, struct slot *slot)
{
    if (slot->generation != pool->generation)
        slot_free(slot);
}

static void retire_all_old(struct pool *pool)
{
    for (int state = SLOT_STOPPING; state >= SLOT_STARTING; state--)
        for_each(pool, (enum slot_state)state, retire_old);
    for_each(pool, SLOT_EXITED, free_old);
    for_each(pool, SLOT_DISABLED, free_old);
}

/* The first hello of new code: it is used from here on. */
static void accept_code(struct pool *pool, struct slot *slot, const struct frame_hello *hello)
{
    bool reloaded = pool->generation != 0;
    if (registry_set(&pool->registry, hello) < 0) {
        log_error("No memory for the registry; the child is started again");
        slot_stop(slot, DEATH_CRASH);
        return;
    }
    pool->generation = pool->trial;
    pool->trial = 0;
    retire_all_old(pool);
    for (unsigned i = 1; i < pool->options.concurrency; i++)
        spawn(pool, pool->generation);
    pool->events->on_code(pool->data, reloaded);
}

static void on_hello(struct slot *slot, const struct frame_hello *hello)
{
    struct pool *pool = pool_of(slot);
    if (pool->stopping) {
        slot_retire(slot);
        return;
    }
    if (slot->generation == pool->trial)
        accept_code(pool, slot, hello);
    pool->events->on_room(pool->data);
}

static void on_written(struct slot *slot, struct job *job)
{
    struct pool *pool = pool_of(slot);
    pool->events->on_written(pool->data, job);
}

static void on_progress(struct slot *slot, struct job *job, const struct frame_progress *progress)
{
    struct pool *pool = pool_of(slot);
    pool->events->on_progress(pool->data, job, progress);
}

static bool is_too_big(const struct pool *pool, const struct slot *slot)
{
    uint64_t most = pool->options.max_memory_per_child;
    uint64_t rss = most ? process_rss_of(slot->pid) : 0;
    if (rss <= most)
        return false;
    log_info("Child has too much memory and is replaced", F_I64("pid", slot->pid),
             F_U64("slot", slot->number), F_U64("rss", rss), F_U64("limit", most));
    return true;
}

static bool is_used_up(const struct pool *pool, const struct slot *slot)
{
    int64_t most = pool->options.max_tasks_per_child;
    return (most > 0 && slot->tasks >= (uint64_t)most) || is_too_big(pool, slot);
}

static void on_outcome(struct slot *slot, struct job *job, const struct frame_outcome *outcome)
{
    struct pool *pool = pool_of(slot);
    if (slot->state == SLOT_IDLE && is_used_up(pool, slot))
        slot_stop(slot, DEATH_CRASH);
    pool->events->on_outcome(pool->data, job, outcome);
}

static void on_recall(struct slot *slot, struct job *job)
{
    struct pool *pool = pool_of(slot);
    pool->events->on_recall(pool->data, job);
}

static void on_death(struct slot *slot, struct job *job, const struct death *death)
{
    struct pool *pool = pool_of(slot);
    pool->events->on_death(pool->data, job, death);
}

/* --- replacing dead ones ---------------------------------------------------------------------- */

static void forsake_trial(struct pool *pool, struct slot *slot, int exit_status)
{
    slot_set_state(slot, SLOT_DISABLED);
    slot_free(slot);
    pool->trial = 0;
    pool->events->on_unusable(pool->data, exit_status, pool->generation != 0);
}

static void disable(struct pool *pool, struct slot *slot)
{
    log_error("Child cannot be started with these settings or modules; there is one less",
              F_U64("slot", slot->number));
    slot_set_state(slot, SLOT_DISABLED);
    if (count_processes(pool) == 0 && pool->shared.lists[SLOT_EXITED].count == 0)
        pool->events->on_unusable(pool->data, EXIT_CONFIG, false);
}

static void replace(struct pool *pool, struct slot *slot)
{
    bool trial = slot->generation == pool->trial;
    if (trial && (slot->fatal || slot->bad_starts >= TRIAL_DEATHS_MAX)) {
        forsake_trial(pool, slot, slot->fatal ? EXIT_CONFIG : EXIT_INTERNAL);
        return;
    }
    if (slot->fatal && !slot->proven) {
        disable(pool, slot);
        return;
    }
    if (slot->fatal) /* it worked before: a file is being replaced, most likely */
        log_error("Child cannot be replaced for now; it is tried again",
                  F_U64("slot", slot->number));
    usec_t delay = 0;
    if (slot->bad_starts > 0)
        delay = backoff_delay(&respawn_backoff, slot->bad_starts - 1, backoff_random());
    slot_respawn_at(slot, clock_mono() + delay);
}

static void free_slot(struct pool *pool, struct slot *slot)
{
    (void)pool;
    slot_free(slot);
}

static void tell_when_empty(struct pool *pool)
{
    if (pool->stopping && count_processes(pool) == 0)
        pool->events->on_empty(pool->data);
}

static void on_exited(struct slot *slot)
{
    struct pool *pool = pool_of(slot);
    if (slot->retired || pool->stopping)
        slot_free(slot);
    else
        replace(pool, slot);
    tell_when_empty(pool);
}

static void on_wake(struct slot *slot, usec_t wake_mono)
{
    wake_at(pool_of(slot), wake_mono);
}

static const struct slot_events slot_events = {
    .on_hello = on_hello,
    .on_written = on_written,
    .on_progress = on_progress,
    .on_outcome = on_outcome,
    .on_recall = on_recall,
    .on_death = on_death,
    .on_exited = on_exited,
    .on_wake = on_wake,
};

/* --- for the owner ---------------------------------------------------------------------------- */

int pool_init(struct pool *pool,
              uv_loop_t *loop,
              const struct pool_options *options,
              const struct pool_events *events,
              void *data)
{
    *pool = (struct pool){
        .events = events, .data = data, .options = *options, .timer_mono = USEC_NEVER};
    pool->shared.loop = loop;
    pool->shared.events = &slot_events;
    buf_init(&pool->shared.setup, FRAME_BYTES_MAX);
    buf_init(&pool->shared.out, FRAME_BYTES_MAX + FRAME_HEADER);
    buf_init(&pool->registry.texts, FRAME_BYTES_MAX);
    frame_add_setup(&pool->shared.setup, &options->setup);
    pool->options.setup = (struct frame_setup){0};
    uv_timer_init(loop, &pool->timer);
    return buf_status(&pool->shared.setup);
}

void pool_start(struct pool *pool)
{
    pool->trial = 1;
    spawn(pool, pool->trial);
}

bool pool_reload(struct pool *pool)
{
    if (pool->trial != 0 || pool->stopping)
        return false;
    pool->trial = pool->generation + 1;
    spawn(pool, pool->trial);
    return true;
}

static void retire(struct pool *pool, struct slot *slot)
{
    (void)pool;
    slot_retire(slot);
}

/* --- how many --------------------------------------------------------------------------------- */

static bool lasts(const struct pool *pool, const struct slot *slot)
{
    return !slot->retired && slot->generation == pool->generation;
}

size_t pool_size(const struct pool *pool)
{
    size_t count = 0;
    for (size_t state = 0; state < SLOT_STATES; state++) {
        for (struct list_link *link = pool->shared.lists[state].head; link; link = link->next)
            count += lasts(pool, slot_of(link));
    }
    return count;
}

static void send_away(struct slot *slot)
{
    if (slot->state == SLOT_EXITED || slot->state == SLOT_DISABLED)
        slot_free(slot);
    else
        slot_retire(slot);
}

void pool_resize(struct pool *pool, unsigned size)
{
    static const enum slot_state order[] = {SLOT_DISABLED, SLOT_EXITED, SLOT_STOPPING,
                                            SLOT_STARTING, SLOT_IDLE,   SLOT_BUSY};
    pool->options.concurrency = size < 1 ? 1 : size < POOL_SIZE_MAX ? size : POOL_SIZE_MAX;
    if (pool->stopping || pool->generation == 0)
        return; /* the first hello brings the others */
    size_t have = pool_size(pool);
    for (; have < pool->options.concurrency; have++)
        spawn(pool, pool->generation);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        struct list_link *link = pool->shared.lists[order[i]].head;
        while (link && have > pool->options.concurrency) {
            struct slot *slot = slot_of(link);
            link = link->next;
            if (!lasts(pool, slot))
                continue;
            send_away(slot);
            have--;
        }
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void kill_busy(struct pool *pool, struct slot *slot)
{
    (void)pool;
    slot->retired = true;
    slot_stop(slot, DEATH_SHUTDOWN);
}

void pool_stop(struct pool *pool, bool cold)
{
    pool->stopping = true;
    if (cold) {
        for_each(pool, SLOT_RETIRING, kill_busy);
        for_each(pool, SLOT_BUSY, kill_busy);
    }
    for (int state = SLOT_BUSY; state >= SLOT_STARTING; state--)
        for_each(pool, (enum slot_state)state, retire);
    for_each(pool, SLOT_EXITED, free_slot);
    for_each(pool, SLOT_DISABLED, free_slot);
    tell_when_empty(pool);
}

void pool_terminate(struct pool *pool, const struct job *job, int signal_number)
{
    static const enum slot_state states[] = {SLOT_BUSY, SLOT_RETIRING};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        for (struct list_link *link = pool->shared.lists[states[i]].head; link; link = link->next) {
            if (slot_of(link)->job == job) {
                slot_terminate(slot_of(link), signal_number);
                return;
            }
        }
    }
}

static void kill_now(struct pool *pool, struct slot *slot)
{
    (void)pool;
    slot->retired = true;
    slot_kill(slot, DEATH_SHUTDOWN);
}

void pool_kill(struct pool *pool)
{
    pool->stopping = true;
    for (int state = SLOT_STOPPING; state >= SLOT_STARTING; state--)
        for_each(pool, (enum slot_state)state, kill_now);
    for_each(pool, SLOT_EXITED, free_slot);
    for_each(pool, SLOT_DISABLED, free_slot);
    tell_when_empty(pool);
}

void pool_deinit(struct pool *pool)
{
    ASSERT(count_processes(pool) == 0);
    for (size_t i = 0; i < SLOT_STATES; i++)
        for_each(pool, (enum slot_state)i, free_slot);
    registry_deinit(&pool->registry);
    buf_deinit(&pool->shared.setup);
    buf_deinit(&pool->shared.out);
    uv_close((uv_handle_t *)&pool->timer, NULL);
}

int pool_run(struct pool *pool, struct job *job, int64_t *ret_pid)
{
    struct list_link *link;
    while ((link = pool->shared.lists[SLOT_IDLE].tail)) {
        struct slot *slot = slot_of(link);
        int64_t pid = slot->pid;
        int r = slot_run(slot, job);
        if (r >= 0)
            *ret_pid = pid;
        if (r >= 0 || slot->state == SLOT_IDLE)
            return r;
    }
    return -EAGAIN;
}

void pool_each(const struct pool *pool,
               void (*visit)(void *data, int64_t pid, uint64_t tasks),
               void *data)
{
    for (size_t state = SLOT_STARTING; state <= SLOT_STOPPING; state++) {
        for (const struct list_link *link = pool->shared.lists[state].head; link;
             link = link->next) {
            const struct slot *slot = container_of(link, const struct slot, link);
            visit(data, slot->pid, slot->tasks);
        }
    }
}

void pool_report(const struct pool *pool)
{
    usec_t now = clock_mono();
    for (size_t state = 0; state < SLOT_STATES; state++) {
        for (const struct list_link *link = pool->shared.lists[state].head; link;
             link = link->next) {
            const struct slot *slot = container_of(link, const struct slot, link);
            const struct job *job = slot->job;
            log_info("Child", F_U64("slot", slot->number), F_I64("pid", slot->pid),
                     F_C("state", slot_state_name(slot->state)), F_U64("tasks", slot->tasks),
                     F_STR("task", job ? job->task : STR_NONE),
                     F_STR("task_id", job ? job->task_id : STR_NONE),
                     F_USEC("running", job ? now - job->started_mono : 0));
        }
    }
}
