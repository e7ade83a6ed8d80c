/* The life of a pool process: HELLO, modules and settings that cannot be used, the ways it ends. */
#include "child/child.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/process.h"
#include "tests/support/child_process.h"

enum { WAIT_MS = 20000 };

static struct frame_setup setup_of(const struct str *modules, size_t count)
{
    return (struct frame_setup){.node = STR("celery@test"),
                                .log_level = 1,
                                .log_format = 1,
                                .modules = modules,
                                .module_count = count};
}

/* Starts a process that has said HELLO. */
static void start_probe(struct child_process *process)
{
    const struct str modules[] = {STR(MODULES "/probe.so")};
    struct frame_setup setup = setup_of(modules, 1);
    child_process_start(process, &setup);
    assert_int_equal(child_process_read(process, WAIT_MS), 0);
    assert_int_equal(process->frame.type, FRAME_HELLO);
}

static const struct frame_task *task_named(const struct frame_hello *hello, const char *name)
{
    for (size_t i = 0; i < hello->task_count; i++) {
        if (str_equal(hello->tasks[i].name, str_of(name)))
            return &hello->tasks[i];
    }
    fail_msg("%s is not announced", name);
    return NULL;
}

static void hello_announces_the_tasks_with_their_rules(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    start_probe(&process);
    const struct frame_hello *hello = &process.frame.hello;
    assert_int_equal(hello->version, FRAME_VERSION);
    const struct frame_task *task = task_named(hello, "tests.noop");
    assert_true(str_equal(task->queue, STR("celery")));
    assert_int_equal(task->max_retries, 3);
    assert_int_equal(task->retry_delay, 180 * USEC_PER_SEC);
    assert_false(task->retry_backoff || task->ignore_result || task->acks_early);
    assert_false(task->track_started || task->once);
    assert_int_equal(task->soft_limit + task->hard_limit, 0);
    assert_int_equal(task_named(hello, "tests.retry")->max_retries, -1);
    assert_int_equal(task_named(hello, "tests.retry_never")->max_retries, 0);
    task = task_named(hello, "tests.retry_backoff");
    assert_true(task->retry_backoff);
    assert_int_equal(task->retry_delay, 100 * USEC_PER_MSEC);
    assert_int_equal(task->retry_delay_max, 200 * USEC_PER_MSEC);
    assert_true(task_named(hello, "tests.ignored")->ignore_result);
    assert_true(task_named(hello, "tests.sleep_early")->acks_early);
    assert_true(task_named(hello, "tests.sleep_tracked")->track_started);
    assert_true(task_named(hello, "tests.count_once")->once);
    assert_true(str_equal(task_named(hello, "tests.on_other_queue")->queue, STR("other")));
    task = task_named(hello, "tests.soft_limited");
    assert_int_equal(task->soft_limit, 200 * USEC_PER_MSEC);
    assert_int_equal(task->hard_limit, 5 * USEC_PER_SEC);
}

/* --- what cannot be used ---------------------------------------------------------------------- */

/* The process ends with `status` after one line that has `words` in it. */
static void expect_end(struct child_process *process, int status, const char *words)
{
    assert_int_equal(child_process_read(process, WAIT_MS), 1);
    int ended = child_process_wait(process, WAIT_MS);
    char *log = child_process_log(process);
    if (!strstr(log, words))
        fail_msg("%s is not in: %s", words, log);
    assert_ptr_equal(strchr(log, '\n'), log + strlen(log) - 1); /* one line */
    free(log);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), status);
}

static void a_module_that_cannot_be_used_is_named_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        struct str modules[2];
        const char *words;
    } cases[] = {
        {{STR("/nowhere/shop.so")},
         "module /nowhere/shop.so: cannot open shared object file: No such"},
        {{STR("no_such_module.so")},
         "module no_such_module.so: cannot open shared object file: No such"},
        {{STR("/etc/passwd")}, "module /etc/passwd: "},
        {{STR(MODULES "/broken_plain.so")}, "broken_plain.so: it has no CEL_TASKS"},
        {{STR(MODULES "/broken_version.so")},
         "broken_version.so: built for version 42 of celeriac/task.h, this worker has version 1"},
        {{STR(MODULES "/broken_empty.so")}, "broken_empty.so: it has no tasks"},
        {{STR(MODULES "/broken_params.so")},
         "broken_params.so: task \\\"tests.bad_params\\\": parameter \\\"y=None\\\": the default "
         "is not "
         "JSON"},
        {{STR(MODULES "/broken_symbol.so")}, "undefined symbol: function_that_nobody_has"},
        {{STR(MODULES "/probe.so"), STR(MODULES "/broken_duplicate.so")},
         "task \\\"tests.noop\\\" is registered twice: by module "},
        {{STR(MODULES "/probe.so"), STR(MODULES "/probe.so")}, "is registered twice"},
        {{STR(MODULES "/needy.so")},
         "setting \\\"needy_secret\\\" is missing in section [settings]; module " MODULES
         "/needy.so needs it: the word that opens the door"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(child_process_end) struct child_process process;
        struct frame_setup setup =
            setup_of(cases[i].modules, cases[i].modules[1].ptr ? (size_t)2 : (size_t)1);
        child_process_start(&process, &setup);
        expect_end(&process, EXIT_CONFIG, cases[i].words);
    }
}

static void a_module_of_this_folder_needs_no_path(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    const struct str modules[] = {STR("probe.so")};
    struct frame_setup setup = setup_of(modules, 1);
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(MODULES), 0);
    child_process_start(&process, &setup);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(child_process_read(&process, WAIT_MS), 0);
    assert_int_equal(process.frame.type, FRAME_HELLO);
}

static void an_unknown_setting_is_named_with_its_line(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    const struct str modules[] = {STR(MODULES "/probe.so")};
    const struct frame_pair settings[] = {
        {STR("probe_greeting"), STR("good evening"), STR("shop.ini:3")},
        {STR("prob_greeting"), STR("secret word"), STR("shop.ini:4")}};
    struct frame_setup setup = setup_of(modules, 1);
    setup.settings = settings;
    setup.setting_count = 2;
    child_process_start(&process, &setup);
    expect_end(&process, EXIT_CONFIG,
               "shop.ini:4: setting \\\"prob_greeting\\\" is declared by no module");
}

static void settings_reach_every_module_that_declares_them(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    const struct str modules[] = {STR(MODULES "/probe.so"), STR(MODULES "/needy.so")};
    const struct frame_pair settings[] = {{STR("needy_secret"), STR("sesame"), STR("shop.ini:3")},
                                          {STR("probe_greeting"), STR("hi"), STR("shop.ini:4")}};
    struct frame_setup setup = setup_of(modules, 2);
    setup.settings = settings;
    setup.setting_count = 2;
    child_process_start(&process, &setup);
    assert_int_equal(child_process_read(&process, WAIT_MS), 0);
    char *message = message_of("needy.secret_length", "[]", "{}", "");
    assert_true(str_equal(child_process_call(&process, message)->result_json, STR("6")));
    free(message);
    message = message_of("tests.setting", "[\"probe_greeting\"]", "{}", "");
    assert_true(str_equal(child_process_call(&process, message)->result_json, STR("\"hi\"")));
    free(message);
}

static void
a_database_uri_that_cannot_be_understood_ends_it_without_telling_the_password(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    const struct str modules[] = {STR(MODULES "/probe.so")};
    const struct frame_pair databases[] = {
        {STR("default"), STR("postgresql://u:S3cret%zz@h/d"), STR("shop.ini:9")}};
    struct frame_setup setup = setup_of(modules, 1);
    setup.databases = databases;
    setup.database_count = 1;
    child_process_start(&process, &setup);
    expect_end(&process, EXIT_CONFIG, "shop.ini:9: database \\\"default\\\": not a PostgreSQL URI");
    char *log = child_process_log(&process);
    assert_null(strstr(log, "S3cret"));
    free(log);
}

static void frames_out_of_turn_end_it(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process early;
    child_process_start(&early, NULL);
    child_process_run(&early, "{}");
    expect_end(&early, EXIT_INTERNAL, "the first frame is no SETUP");

    CLEANUP(child_process_end) struct child_process broken;
    child_process_start(&broken, NULL);
    child_process_write(&broken, STR("\x03\0\0\0\x93\x01\x02"));
    expect_end(&broken, EXIT_INTERNAL, "a frame cannot be read");

    CLEANUP(child_process_end) struct child_process twice;
    start_probe(&twice);
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    struct frame_setup setup = setup_of(NULL, 0);
    frame_add_setup(&buf, &setup);
    child_process_write(&twice, buf_str(&buf));
    expect_end(&twice, EXIT_INTERNAL, "a frame of type 1 instead of RUN");
}

static void without_descriptor_3_it_says_who_starts_it(void **state)
{
    (void)state;
    FILE *output = popen(CHILD_ALONE " 3<&- 2>&1", "r");
    char line[200] = "";
    assert_non_null(fgets(line, sizeof(line), output));
    assert_string_equal(line, "celeriac: --child is for the worker's own use\n");
    assert_int_equal(WEXITSTATUS(pclose(output)), EXIT_USAGE);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void the_end_of_descriptor_3_ends_it(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process idle;
    start_probe(&idle);
    close(idle.fd);
    idle.fd = 0;
    int status = child_process_wait(&idle, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK);

    CLEANUP(child_process_end) struct child_process untold;
    child_process_start(&untold, NULL);
    close(untold.fd);
    untold.fd = 0;
    status = child_process_wait(&untold, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK);
}

static void several_runs_wait_in_the_pipe(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    start_probe(&process);
    enum { RUNS = 200 };
    for (int i = 0; i < RUNS; i++) {
        char args[20];
        snprintf(args, sizeof(args), "[%d, 1]", i);
        char *message = message_of("tests.add", args, "{}", "");
        child_process_run(&process, message);
        free(message);
    }
    for (int i = 0; i < RUNS; i++) {
        char expected[20];
        snprintf(expected, sizeof(expected), "%d", i + 1);
        assert_int_equal(child_process_read(&process, WAIT_MS), 0);
        assert_int_equal(process.frame.outcome.seq, i + 1);
        assert_true(str_equal(process.frame.outcome.result_json, str_of(expected)));
    }
}

static void a_crash_ends_the_process_as_it_would_any(void **state)
{
    (void)state;
    static const struct {
        const char *how;
        int signal, status;
    } cases[] = {{"segv", SIGSEGV, 0},
                 {"abort", SIGABRT, 0},
                 {"kill", SIGKILL, 0},
                 {"exit0", 0, 0},
                 {"exit3", 0, 3}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(child_process_end) struct child_process process;
        start_probe(&process);
        char args[20];
        snprintf(args, sizeof(args), "[\"%s\"]", cases[i].how);
        char *message = message_of("tests.crash", args, "{}", "");
        child_process_run(&process, message);
        free(message);
        assert_int_equal(child_process_read(&process, WAIT_MS), 1);
        int status = child_process_wait(&process, WAIT_MS);
        assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, cases[i].signal);
        assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : 0, cases[i].status);
    }
}

static void term_ends_a_busy_one_at_once(void **state)
{
    (void)state;
    CLEANUP(child_process_end) struct child_process process;
    start_probe(&process);
    char *message = message_of("tests.crash", "[\"loop\"]", "{}", "");
    child_process_run(&process, message);
    free(message);
    kill(process.pid, SIGTERM);
    int status = child_process_wait(&process, WAIT_MS);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* A supervisor of its own, which dies in the middle of a task; tells the pid of its child. */
static void be_a_supervisor(int report)
{
    struct child_process process;
    start_probe(&process);
    char *message = message_of("tests.crash", "[\"loop\"]", "{}", "");
    child_process_run(&process, message);
    if (write(report, &process.pid, sizeof(process.pid)) < 0)
        _exit(1);
    pause();
}

static bool is_gone(pid_t pid)
{
    char path[40], state = 'Z';
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return true;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state == 'Z';
}

static void the_death_of_the_supervisor_ends_a_busy_one_within_a_second(void **state)
{
    (void)state;
    int report[2];
    pid_t child = 0;
    assert_int_equal(pipe(report), 0);
    pid_t supervisor = fork();
    if (supervisor == 0) {
        be_a_supervisor(report[1]);
        _exit(0);
    }
    close(report[1]);
    assert_int_equal(read(report[0], &child, sizeof(child)), sizeof(child));
    close(report[0]);
    assert_false(is_gone(child));
    kill(supervisor, SIGKILL);
    waitpid(supervisor, NULL, 0);
    usec_t begin = clock_mono();
    while (!is_gone(child) && clock_mono() - begin < USEC_PER_SEC)
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    assert_true(is_gone(child));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_announces_the_tasks_with_their_rules),
        cmocka_unit_test(a_module_that_cannot_be_used_is_named_with_the_reason),
        cmocka_unit_test(a_module_of_this_folder_needs_no_path),
        cmocka_unit_test(an_unknown_setting_is_named_with_its_line),
        cmocka_unit_test(settings_reach_every_module_that_declares_them),
        cmocka_unit_test(
            a_database_uri_that_cannot_be_understood_ends_it_without_telling_the_password),
        cmocka_unit_test(frames_out_of_turn_end_it),
        cmocka_unit_test(without_descriptor_3_it_says_who_starts_it),
        cmocka_unit_test(the_end_of_descriptor_3_ends_it),
        cmocka_unit_test(several_runs_wait_in_the_pipe),
        cmocka_unit_test(a_crash_ends_the_process_as_it_would_any),
        cmocka_unit_test(term_ends_a_busy_one_at_once),
        cmocka_unit_test(the_death_of_the_supervisor_ends_a_busy_one_within_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
