/*
 * The pool with real processes: this program is its own child (fake_child.h). Callbacks record;
 * the tests assert after the loop has returned.
 */
#include "pool/pool.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "celeriac/error.h"
#include "core/log.h"
#include "core/process.h"
#include "fake_child.h"

enum { WAIT_MS = 20000 };

static struct fixture {
    uv_loop_t loop;
    uv_timer_t guard;
    struct pool pool;
    struct job jobs[300]; /* that a test makes */
    size_t job_count;
    unsigned codes, reloads, written, progress, outcomes, recalls, deaths;
    int unusable;
    bool empty, timed_out;
    int64_t last_pid; /* that answered */
    enum frame_outcome_kind last_kind;
    struct death last_death;
} f;

static void on_code(void *data, bool reloaded)
{
    (void)data;
    f.codes++;
    f.reloads += reloaded;
}

static void on_room(void *data)
{
    (void)data;
}

static void on_written(void *data, struct job *job)
{
    (void)data;
    f.written += job->seq > 0;
}

static void on_progress(void *data, struct job *job, const struct frame_progress *progress)
{
    (void)data;
    f.progress += progress->seq == job->seq;
}

static void on_outcome(void *data, struct job *job, const struct frame_outcome *outcome)
{
    (void)data;
    int64_t pid = 0;
    if (str_parse_i64(outcome->result_json, &pid) == 0)
        f.last_pid = pid;
    f.last_kind = outcome->kind;
    f.outcomes++;
    (void)job;
}

static void on_recall(void *data, struct job *job)
{
    (void)data;
    f.recalls++;
    (void)job;
}

static void on_death(void *data, struct job *job, const struct death *death)
{
    (void)data;
    f.deaths++;
    f.last_death = *death;
    (void)job;
}

static void on_unusable(void *data, int exit_status, bool reloading)
{
    (void)data;
    f.unusable = reloading ? -exit_status : exit_status;
}

static void on_empty(void *data)
{
    (void)data;
    f.empty = true;
}

static const struct pool_events events = {
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

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    f.timed_out = true;
}

static void start(const char *script, unsigned concurrency, int64_t max_tasks)
{
    f = (struct fixture){.last_pid = 0};
    struct str module = str_of(script);
    struct pool_options options = {
        .concurrency = concurrency,
        .max_tasks_per_child = max_tasks,
        .setup = {.node = STR("w@h"), .modules = &module, .module_count = 1},
    };
    assert_int_equal(uv_loop_init(&f.loop), 0);
    uv_timer_init(&f.loop, &f.guard);
    assert_int_equal(pool_init(&f.pool, &f.loop, &options, &events, NULL), 0);
    pool_start(&f.pool);
}

/* Turns the loop until `condition`, which is evaluated anew after each turn. */
#define run_until(condition)                                                                       \
    do {                                                                                           \
        f.timed_out = false;                                                                       \
        uv_timer_start(&f.guard, on_guard, WAIT_MS, 0);                                            \
        while (!(condition) && !f.timed_out)                                                       \
            uv_run(&f.loop, UV_RUN_ONCE);                                                          \
        uv_timer_stop(&f.guard);                                                                   \
        assert_false(f.timed_out);                                                                 \
    } while (0)

static void run_for(uint64_t ms)
{
    f.timed_out = false;
    uv_timer_start(&f.guard, on_guard, ms, 0);
    while (!f.timed_out)
        uv_run(&f.loop, UV_RUN_ONCE);
}

static void stop(bool cold)
{
    pool_stop(&f.pool, cold);
    run_until(f.empty);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie, no child left */
    assert_int_equal(errno, ECHILD);
    pool_deinit(&f.pool);
    uv_close((uv_handle_t *)&f.guard, NULL);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f.loop), 0);
}

static struct job *job_of(const char *word)
{
    assert_true(f.job_count < ARRAY_SIZE(f.jobs));
    struct job *job = &f.jobs[f.job_count++];
    *job = (struct job){.seq = f.job_count, .envelope = str_of(word), .task_id = STR("an id")};
    return job;
}

/* Hands it to a child and tells which process that is. */
static int64_t given(struct job *job)
{
    int64_t pid = 0;
    int r = pool_run(&f.pool, job, &pid);
    assert_true(r >= 0);
    return pid;
}

static int64_t answered(const char *word)
{
    unsigned before = f.outcomes;
    given(job_of(word));
    run_until(f.outcomes > before);
    return f.last_pid;
}

/* Some child ended with status 78. */
static bool pool_slot_was_fatal(void)
{
    const struct list_link *exited = f.pool.shared.lists[SLOT_EXITED].head;
    return f.unusable != 0 || (exited && container_of(exited, const struct slot, link)->fatal);
}

static void children_start_and_answer(void **state)
{
    (void)state;
    start("answer", 3, 0);
    run_until(pool_idle(&f.pool) == 3);
    assert_int_equal(f.codes, 1);
    assert_non_null(registry_find(&f.pool.registry, STR("fake.task")));
    assert_null(registry_find(&f.pool.registry, STR("fake")));
    int64_t pid = given(job_of("x"));
    assert_int_equal(pool_idle(&f.pool), 2);
    assert_int_equal(pool_busy(&f.pool), 1);
    run_until(f.outcomes == 1);
    assert_int_equal(f.last_pid, pid);
    assert_int_equal(f.last_kind, OUTCOME_SUCCESS);
    assert_int_equal(pool_idle(&f.pool), 3);
    stop(false);
}

static void without_an_idle_child_a_job_stays(void **state)
{
    (void)state;
    int64_t pid;
    start("answer", 1, 0);
    struct job *job = job_of("x");
    assert_int_equal(pool_run(&f.pool, job, &pid), -EAGAIN);
    run_until(pool_idle(&f.pool) == 1);
    given(job);
    run_until(f.outcomes == 1);
    stop(false);
}

/* It costs neither the child nor whoever comes next. */
static void a_frame_that_is_too_large_is_refused(void **state)
{
    (void)state;
    int64_t pid;
    char *text = malloc(FRAME_BYTES_MAX);
    memset(text, 'x', FRAME_BYTES_MAX);
    const struct str part = str_n(text, FRAME_BYTES_MAX);
    const struct plan_joined joined = {.group = STR("g"), .parts = &part, .part_count = 1};
    const struct frame_follow follow = {
        .state = STR("SUCCESS"), .joined = &joined, .joined_count = 1};
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    struct job *job = job_of("x");
    job->follow = &follow;
    assert_int_equal(pool_run(&f.pool, job, &pid), CEL_E_LIMIT);
    assert_int_equal(pool_idle(&f.pool), 1);
    answered("x");
    stop(false);
    free(text);
}

static void progress_comes_before_the_outcome(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    answered("progress");
    assert_int_equal(f.progress, 1);
    stop(false);
}

static void a_long_message_arrives_whole(void **state)
{
    (void)state;
    const size_t size = 8 * 1024 * 1024; /* more than a socket takes at once */
    char *message = malloc(size + 1);
    memset(message, 'x', size);
    message[size] = '\0';
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    answered(message);
    assert_int_equal(f.recalls, 0);
    stop(false);
    free(message);
}

static void a_death_costs_one_job_and_one_process(void **state)
{
    (void)state;
    start("answer", 2, 0);
    run_until(pool_idle(&f.pool) == 2);
    int64_t pid = given(job_of("die"));
    run_until(f.deaths == 1);
    assert_int_equal(f.last_death.cause, DEATH_CRASH);
    assert_int_equal(f.last_death.term_signal, SIGKILL);
    run_until(pool_idle(&f.pool) == 2);
    assert_int_not_equal(answered("x"), pid);
    given(job_of("exit"));
    run_until(f.deaths == 2);
    assert_int_equal(f.last_death.term_signal, 0);
    assert_int_equal(f.last_death.exit_status, 0);
    stop(false);
}

static void an_outcome_counts_although_its_child_died(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    for (unsigned i = 1; i <= 20; i++) {
        run_until(pool_idle(&f.pool) == 1);
        int64_t pid = given(job_of("last"));
        run_until(f.outcomes + f.deaths == i);
        assert_int_equal(f.deaths, 0);
        assert_int_equal(f.last_pid, pid);
        run_until(pool_idle(&f.pool) == 0);
    }
    stop(false);
}

static void an_idle_child_that_is_killed_is_replaced(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    int64_t pid = answered("x");
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    run_until(pool_idle(&f.pool) == 0);
    run_until(pool_idle(&f.pool) == 1);
    assert_int_not_equal(answered("x"), pid);
    assert_int_equal(f.deaths, 0);
    stop(false);
}

static void nonsense_on_the_socket_is_a_crash(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    given(job_of("garbage"));
    run_until(f.deaths == 1);
    assert_int_equal(f.last_death.cause, DEATH_CRASH);
    run_until(pool_idle(&f.pool) == 1);
    stop(false);
}

static void an_outcome_of_what_was_not_yet_given_is_nonsense(void **state)
{
    (void)state;
    const size_t size = 8 * 1024 * 1024; /* more than a socket takes at once */
    char *message = malloc(size + 1);
    memset(message, 'x', size);
    message[size] = '\0';
    start("hasty", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    given(job_of(message));
    run_until(f.outcomes + f.recalls + f.deaths > 0);
    assert_int_equal(f.recalls, 1);
    stop(true);
    free(message);
}

static void a_child_that_cannot_be_replaced_is_tried_again(void **state)
{
    (void)state;
    char path[] = "/tmp/celeriac-test-pool-XXXXXX", script[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    snprintf(script, sizeof(script), "flag %s", path);
    start(script, 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    int64_t old = answered("x");
    FILE *flag = fopen(path, "w");
    assert_non_null(flag);
    fclose(flag);
    kill((pid_t)old, SIGKILL);
    run_until(pool_idle(&f.pool) == 0);
    run_until(pool_slot_was_fatal());
    unlink(path);
    run_until(pool_idle(&f.pool) == 1 || f.unusable != 0);
    assert_int_equal(f.unusable, 0);
    assert_int_not_equal(answered("x"), old);
    stop(false);
}

static void the_hard_limit_kills(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    struct job *job = job_of("hang");
    job->hard_limit = 50 * USEC_PER_MSEC;
    usec_t before = clock_mono();
    given(job);
    run_until(f.deaths == 1);
    assert_int_equal(f.last_death.cause, DEATH_HARD_LIMIT);
    assert_int_equal(f.last_death.term_signal, SIGKILL);
    assert_true(clock_mono() - before >= 50 * USEC_PER_MSEC);
    /* a limit that was not reached harms nothing later */
    run_until(pool_idle(&f.pool) == 1);
    job = job_of("x");
    job->hard_limit = job->soft_limit = 30 * USEC_PER_MSEC;
    given(job);
    run_until(f.outcomes == 1);
    given(job_of("hang"));
    run_for(100);
    assert_int_equal(f.deaths, 1);
    stop(true);
}

static void a_child_is_replaced_after_its_tasks(void **state)
{
    (void)state;
    start("answer", 1, 3);
    run_until(pool_idle(&f.pool) == 1);
    int64_t first = answered("x");
    assert_int_equal(answered("x"), first);
    assert_int_equal(answered("x"), first);
    assert_int_equal(pool_idle(&f.pool), 0);
    run_until(pool_idle(&f.pool) == 1);
    assert_int_not_equal(answered("x"), first);
    assert_int_equal(f.deaths, 0);
    stop(false);
}

static void a_child_with_too_much_memory_is_replaced_and_its_outcome_stands(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    int64_t first = answered("x");
    f.pool.options.max_memory_per_child = process_rss_of(first) + 32 * 1024 * 1024;
    assert_int_equal(answered("x"), first);
    assert_int_equal(answered("swell"), first);
    assert_int_equal(f.last_kind, OUTCOME_SUCCESS);
    assert_int_equal(pool_idle(&f.pool), 0);
    run_until(pool_idle(&f.pool) == 1);
    assert_int_not_equal(answered("x"), first);
    assert_int_equal(f.deaths, 0);
    stop(false);
}

static size_t processes(void)
{
    size_t count = 0;
    for (size_t i = SLOT_STARTING; i <= SLOT_EXITED; i++)
        count += f.pool.shared.lists[i].count;
    return count;
}

static void the_pool_grows_and_shrinks(void **state)
{
    (void)state;
    start("answer", 1, 0);
    run_until(pool_idle(&f.pool) == 1);
    pool_resize(&f.pool, 4);
    assert_int_equal(pool_size(&f.pool), 4);
    run_until(pool_idle(&f.pool) == 4);
    assert_int_equal(f.codes, 1);
    pool_resize(&f.pool, 2);
    assert_int_equal(pool_size(&f.pool), 2);
    run_until(processes() == 2);
    assert_int_equal(pool_idle(&f.pool), 2);
    int64_t kept = answered("x");
    kill((pid_t)kept, SIGKILL); /* those that stay are replaced as ever */
    run_until(pool_idle(&f.pool) == 1);
    run_until(pool_idle(&f.pool) == 2);
    pool_resize(&f.pool, 0); /* nothing would ever run */
    assert_int_equal(pool_size(&f.pool), 1);
    run_until(processes() == 1);
    assert_int_equal(f.deaths, 0);
    stop(false);
}

static void a_pool_that_shrinks_takes_idle_children_first_and_lets_busy_ones_finish(void **state)
{
    (void)state;
    start("answer", 3, 0);
    run_until(pool_idle(&f.pool) == 3);
    given(job_of("nap"));
    int64_t second = given(job_of("nap"));
    pool_resize(&f.pool, 2);
    assert_int_equal(pool_busy(&f.pool), 2);
    assert_int_equal(f.pool.shared.lists[SLOT_BUSY].count, 2);
    pool_resize(&f.pool, 1);
    assert_int_equal(f.pool.shared.lists[SLOT_RETIRING].count, 1);
    assert_int_equal(pool_size(&f.pool), 1);
    run_until(f.outcomes == 2 && processes() == 1);
    assert_int_equal(f.deaths, 0);
    assert_int_equal(answered("x"), second); /* the one that was longest at work went */
    stop(false);
}

static void a_size_that_is_set_before_the_first_hello_holds(void **state)
{
    (void)state;
    start("answer", 1, 0);
    pool_resize(&f.pool, 3);
    run_until(pool_idle(&f.pool) == 3);
    assert_true(pool_reload(&f.pool));
    pool_resize(&f.pool, 2);
    run_until(f.reloads == 1 && processes() == 2 && pool_idle(&f.pool) == 2);
    stop(false);
}

static void a_module_that_cannot_be_used_is_told_once(void **state)
{
    (void)state;
    start("78", 4, 0);
    run_until(f.unusable != 0);
    assert_int_equal(f.unusable, 78);
    assert_int_equal(f.pool.last_number, 1); /* one child, so one line */
    stop(false);
}

static void a_first_child_that_always_dies_is_given_up(void **state)
{
    (void)state;
    start("mute", 4, 0);
    run_until(f.unusable != 0);
    assert_int_equal(f.unusable, 70);
    stop(false);
}

static void new_code_takes_over_and_old_children_finish(void **state)
{
    (void)state;
    start("answer", 2, 0);
    run_until(pool_idle(&f.pool) == 2);
    struct job *job = job_of("hang");
    int64_t old = given(job);
    assert_true(pool_reload(&f.pool));
    assert_false(pool_reload(&f.pool)); /* one at a time */
    run_until(f.reloads == 1 && pool_idle(&f.pool) == 2);
    assert_int_equal(f.pool.shared.lists[SLOT_RETIRING].count, 1);
    assert_int_not_equal(answered("x"), old);
    kill((pid_t)old, SIGKILL);
    run_until(f.deaths == 1);
    run_until(f.pool.shared.lists[SLOT_RETIRING].count == 0);
    run_until(pool_idle(&f.pool) == 2);
    stop(false);
}

static void new_code_that_fails_leaves_the_old(void **state)
{
    (void)state;
    char path[] = "/tmp/celeriac-test-pool-XXXXXX", script[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    snprintf(script, sizeof(script), "flag %s", path);
    start(script, 2, 0);
    run_until(pool_idle(&f.pool) == 2);
    int64_t old = answered("x");
    FILE *flag = fopen(path, "w");
    assert_non_null(flag);
    fclose(flag);
    assert_true(pool_reload(&f.pool));
    run_until(f.pool.trial == 0);
    assert_int_equal(f.reloads, 0);
    assert_int_equal(f.unusable, -78);
    assert_int_equal(answered("x"), old);
    unlink(path);
    assert_true(pool_reload(&f.pool)); /* and the next one works */
    run_until(f.reloads == 1 && pool_idle(&f.pool) == 2);
    stop(false);
}

static void a_warm_stop_waits_for_the_busy(void **state)
{
    (void)state;
    start("answer", 2, 0);
    run_until(pool_idle(&f.pool) == 2);
    int64_t pid = given(job_of("hang"));
    pool_stop(&f.pool, false);
    run_until(f.pool.shared.lists[SLOT_STOPPING].count == 0);
    assert_false(f.empty);
    assert_int_equal(pool_busy(&f.pool), 1);
    kill((pid_t)pid, SIGKILL);
    stop(false);
    assert_int_equal(f.deaths, 1);
}

static void a_cold_stop_kills_and_says_so(void **state)
{
    (void)state;
    start("answer", 2, 0);
    run_until(pool_idle(&f.pool) == 2);
    given(job_of("hang"));
    given(job_of("hang"));
    pool_stop(&f.pool, false);
    stop(true);
    assert_int_equal(f.deaths, 2);
    assert_int_equal(f.last_death.cause, DEATH_SHUTDOWN);
}

static void a_stop_while_starting_leaves_nothing(void **state)
{
    (void)state;
    start("answer", 4, 0);
    stop(false);
    assert_int_equal(f.codes, 0);
}

int main(int argc, char **argv)
{
    if (fake_child_wanted(argc, argv))
        return fake_child_main();
    log_open(LOG_LEVEL_ERROR + 1, LOG_FORMAT_TEXT, 2);
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_start_and_answer),
        cmocka_unit_test(without_an_idle_child_a_job_stays),
        cmocka_unit_test(a_frame_that_is_too_large_is_refused),
        cmocka_unit_test(progress_comes_before_the_outcome),
        cmocka_unit_test(a_long_message_arrives_whole),
        cmocka_unit_test(a_death_costs_one_job_and_one_process),
        cmocka_unit_test(an_outcome_counts_although_its_child_died),
        cmocka_unit_test(an_idle_child_that_is_killed_is_replaced),
        cmocka_unit_test(nonsense_on_the_socket_is_a_crash),
        cmocka_unit_test(an_outcome_of_what_was_not_yet_given_is_nonsense),
        cmocka_unit_test(a_child_that_cannot_be_replaced_is_tried_again),
        cmocka_unit_test(the_hard_limit_kills),
        cmocka_unit_test(a_child_is_replaced_after_its_tasks),
        cmocka_unit_test(a_child_with_too_much_memory_is_replaced_and_its_outcome_stands),
        cmocka_unit_test(the_pool_grows_and_shrinks),
        cmocka_unit_test(a_pool_that_shrinks_takes_idle_children_first_and_lets_busy_ones_finish),
        cmocka_unit_test(a_size_that_is_set_before_the_first_hello_holds),
        cmocka_unit_test(a_module_that_cannot_be_used_is_told_once),
        cmocka_unit_test(a_first_child_that_always_dies_is_given_up),
        cmocka_unit_test(new_code_takes_over_and_old_children_finish),
        cmocka_unit_test(new_code_that_fails_leaves_the_old),
        cmocka_unit_test(a_warm_stop_waits_for_the_busy),
        cmocka_unit_test(a_cold_stop_kills_and_says_so),
        cmocka_unit_test(a_stop_while_starting_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
