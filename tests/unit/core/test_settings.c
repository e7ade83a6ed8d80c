#include "core/settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"

static struct settings settings;
static struct config config;
static struct cel_error err;
static char path[32];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_option_count; i++) {
        for (size_t j = 0; j < 2 && settings_options[i].env[j]; j++)
            unsetenv(settings_options[i].env[j]);
    }
    memset(&settings, 0xAA, sizeof(settings));
    memset(&config, 0, sizeof(config));
    error_clear(&err);
    path[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_deinit(&config);
    return path[0] ? unlink(path) : 0;
}

static void write_file(const char *text)
{
    strcpy(path, "/tmp/test_settings.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

/* LOAD(verb, "--flag", "value"): the arguments behind argv[0], up to NULL. */
#define LOAD(...) load(__VA_ARGS__, NULL)
static int load(unsigned verb, ...)
{
    config_deinit(&config);
    char *argv[32] = {"celeriac"};
    int argc = 1;
    va_list args;
    va_start(args, verb);
    while ((argv[argc] = va_arg(args, char *)))
        argc++;
    va_end(args);
    return settings_load(&settings, &config, verb, argc, argv, &err);
}

static void the_defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    assert_int_equal(LOAD(VERB_WORKER), 0);
    assert_string_equal(settings.config_file, "");
    assert_string_equal(settings.broker_url, "redis://localhost:6379/0");
    assert_string_equal(settings.result_backend, "");
    assert_int_equal(settings.result_expires, 86400 * USEC_PER_SEC);
    assert_string_equal(settings.key_prefix, "");
    assert_string_equal(settings.default_queue, "celery");
    assert_string_equal(settings.log_level, "info");
    assert_string_equal(settings.log_format, "");
    assert_string_equal(settings.database_url, "");
    assert_string_equal(settings.modules, "");
    assert_string_equal(settings.queues, "");
    assert_int_equal(settings.concurrency, 0);
    assert_string_equal(settings.node_name, "celery@%h");
    assert_int_equal(settings.max_tasks_per_child, 0);
    assert_int_equal(settings.soft_time_limit, 0);
    assert_int_equal(settings.hard_time_limit, 0);
    assert_int_equal(settings.warm_shutdown_limit, 0);
    assert_int_equal(settings.database_max_age, 600 * USEC_PER_SEC);
    assert_int_equal(settings.dead_max, 10000);
    assert_int_equal(settings.beat_max_interval, 300 * USEC_PER_SEC);
    assert_false(settings.json);
    assert_int_equal(settings.timeout, 5 * USEC_PER_SEC);
}

static void a_worker_takes_the_flags_of_celery(void **state)
{
    (void)state;
    assert_int_equal(LOAD(VERB_WORKER, "-A", "shop.so", "-A", "more.so", "-Q", "a,b", "-c", "8",
                          "-n", "w1@%h", "-l", "INFO", "-b", "redis://h"),
                     0);
    assert_string_equal(settings.modules, "shop.so,more.so");
    assert_string_equal(settings.queues, "a,b");
    assert_int_equal(settings.concurrency, 8);
    assert_string_equal(settings.node_name, "w1@%h");
    assert_string_equal(settings.log_level, "INFO");
    assert_string_equal(settings.broker_url, "redis://h");
    assert_int_equal(LOAD(VERB_WORKER, "--app=shop.so", "--queues=a", "--concurrency=2",
                          "--hostname=w2", "--loglevel=error", "--max-tasks-per-child=100",
                          "--soft-time-limit=30", "--time-limit=1.5min", "--broker=redis://g",
                          "--result-backend=redis://r", "--database=postgres://d"),
                     0);
    assert_string_equal(settings.modules, "shop.so");
    assert_string_equal(settings.queues, "a");
    assert_int_equal(settings.concurrency, 2);
    assert_string_equal(settings.node_name, "w2");
    assert_string_equal(settings.log_level, "error");
    assert_int_equal(settings.max_tasks_per_child, 100);
    assert_int_equal(settings.soft_time_limit, 30 * USEC_PER_SEC);
    assert_int_equal(settings.hard_time_limit, 90 * USEC_PER_SEC);
    assert_string_equal(settings.broker_url, "redis://g");
    assert_string_equal(settings.result_backend, "redis://r");
    assert_string_equal(settings.database_url, "postgres://d");
}

static void celerys_variables_stand_in_for_ours(void **state)
{
    (void)state;
    setenv("CELERY_BROKER_URL", "redis://theirs", 1);
    setenv("CELERY_RESULT_BACKEND", "redis://theirs/1", 1);
    assert_int_equal(LOAD(VERB_CALL), 0);
    assert_string_equal(settings.broker_url, "redis://theirs");
    assert_string_equal(settings.result_backend, "redis://theirs/1");
    setenv("CELERIAC_BROKER_URL", "redis://ours", 1);
    setenv("CELERIAC_RESULT_BACKEND", "redis://ours/1", 1);
    setenv("CELERIAC_DATABASE_URL", "postgres://ours", 1);
    setenv("CELERIAC_LOG_LEVEL", "debug", 1);
    setenv("CELERIAC_LOG_FORMAT", "json", 1);
    assert_int_equal(LOAD(VERB_CALL), 0);
    assert_string_equal(settings.broker_url, "redis://ours");
    assert_string_equal(settings.result_backend, "redis://ours/1");
    assert_string_equal(settings.database_url, "postgres://ours");
    assert_string_equal(settings.log_level, "debug");
    assert_string_equal(settings.log_format, "json");
    assert_int_equal(LOAD(VERB_CALL, "-b", "redis://flag"), 0);
    assert_string_equal(settings.broker_url, "redis://flag");
}

static void the_file_is_found_by_flag_or_variable(void **state)
{
    (void)state;
    write_file(
        "[celeriac]\nbroker_url = redis://file\n[worker]\nconcurrency = 3\n"
        "[database]\nanalytics = postgres://a\n[beat report]\ntask = t\n[settings]\nk = v\n");
    setenv("CELERIAC_CONFIG", path, 1);
    assert_int_equal(LOAD(VERB_BEAT), 0);
    assert_string_equal(settings.config_file, path);
    assert_string_equal(settings.broker_url, "redis://file");
    assert_int_equal(settings.concurrency, 3);
    assert_int_equal(config.line_count, 3);
    assert_string_equal(config.lines[0].section, "database");
    assert_string_equal(config.lines[1].section, "beat report");

    setenv("CELERIAC_CONFIG", "/nonexistent/file.ini", 1);
    assert_int_equal(LOAD(VERB_WORKER, "--config", path, "-c", "5", "rest"), 0);
    assert_string_equal(settings.broker_url, "redis://file");
    assert_int_equal(settings.concurrency, 5);
    assert_int_equal(config.argument_count, 1);
    assert_string_equal(config.arguments[0], "rest");

    assert_int_equal(LOAD(VERB_WORKER), CEL_E_CONFIG);
    assert_string_equal(err.text,
                        "/nonexistent/file.ini: cannot be opened: No such file or directory");
    assert_false(config.blames_flags);
    assert_int_equal(LOAD(VERB_WORKER, "--help"), 0);
    assert_true(config.wants_help);
}

static void a_call_keeps_the_flags_that_are_keyword_arguments(void **state)
{
    (void)state;
    assert_int_equal(LOAD(VERB_CALL, "a.task", "--percentage", "15", "--dry-run", "--json"), 0);
    assert_true(settings.json);
    assert_int_equal(config.argument_count, 4);
    assert_string_equal(config.arguments[3], "--dry-run");
    assert_int_equal(LOAD(VERB_RESULT, "--percentage", "15"), CEL_E_CONFIG);
    assert_true(config.blames_flags);
}

static void each_verb_takes_its_own_flags(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        unsigned verbs;
    } flags[] = {
        {"--broker=x", VERB_ALL & ~(unsigned)(VERB_MIGRATE | VERB_DEMO | VERB_HISTORY)},
        {"--config=/dev/null", VERB_ALL & ~(unsigned)VERB_DEMO},
        {"--concurrency=1", VERB_WORKER},
        {"--app=x", VERB_WORKER},
        {"--queues=x", VERB_WORKER | VERB_QUEUES | VERB_PURGE | VERB_AUDIT},
        {"--max-interval=1s", VERB_BEAT},
        {"--loglevel=info", VERB_WORKER | VERB_BEAT},
        {"--json", VERB_ALL & ~(unsigned)(VERB_WORKER | VERB_BEAT | VERB_DEMO)},
        {"--timeout=1s",
         VERB_ALL & ~(unsigned)(VERB_WORKER | VERB_BEAT | VERB_MIGRATE | VERB_DEMO)},
        {"--database=x", VERB_WORKER | VERB_BEAT | VERB_MIGRATE | VERB_HISTORY},
        {"--ledger=full", VERB_WORKER},
    };
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        for (unsigned verb = 1; verb < VERB_ALL; verb <<= 1) {
            int r = LOAD(verb, flags[i].flag);
            bool is_taken = r == 0 && config.argument_count == 0;
            if (is_taken != ((flags[i].verbs & verb) != 0))
                fail_msg("%s for verb %u: %d %s", flags[i].flag, verb, r, err.text);
        }
    }
}

static void the_table_names_nothing_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_option_count; i++) {
        const struct option *a = &settings_options[i];
        assert_non_null(a->help);
        assert_true(a->key || a->flag);
        assert_true(!a->flag == !a->verbs);
        assert_true(a->type == OPTION_BOOL || a->argument || !a->flag);
        for (size_t j = 0; j < i; j++) {
            const struct option *b = &settings_options[j];
            assert_true(a->offset != b->offset);
            assert_false(a->short_flag && a->short_flag == b->short_flag);
            assert_false(a->flag && b->flag && strcmp(a->flag, b->flag) == 0);
            assert_false(a->key && b->key && strcmp(a->key, b->key) == 0 &&
                         strcmp(a->section, b->section) == 0);
        }
    }
}

static void no_string_is_null(void **state)
{
    (void)state;
    assert_int_equal(LOAD(VERB_WORKER), 0);
    for (size_t i = 0; i < settings_option_count; i++) {
        const struct option *option = &settings_options[i];
        if (option->type != OPTION_STRING && option->type != OPTION_LIST)
            continue;
        char *text;
        memcpy(&text, (char *)&settings + option->offset, sizeof(text));
        assert_non_null(text);
    }
}

static void every_choice_is_understood_by_the_log(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_option_count; i++) {
        const struct option *option = &settings_options[i];
        struct str rest = str_of(option->choices), choice;
        if (option->key && !str_starts(str_of(option->key), STR("log_")))
            continue;
        while (str_split(&rest, '|', &choice)) {
            enum log_level level;
            enum log_format format;
            bool is_level = strcmp(option->key, "log_level") == 0;
            assert_int_equal(
                is_level ? log_level_parse(choice, &level) : log_format_parse(choice, &format), 0);
        }
    }
}

static void passwords_never_appear(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        ("[celeriac]\nbroker_url = redis://:hunter2@h\nresult_backend = redis://:hunter2@h\n"
         "[database]\ndefault = postgres://u:hunter2@h\n[worker]\nconcurrency = x\n"),
        "[celeriac]\nbroker_ulr = redis://:hunter2@h\n",
        "[celeriac]\nbroker_url redis://:hunter2@h\n",
        "[celeriac]\nbroker_url = redis://h\nbroker_url = redis://:hunter2@h\n",
        "[database]\na = postgres://u:hunter2@h\na = postgres://u:hunter2@h\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        write_file(wrong[i]);
        assert_int_equal(LOAD(VERB_WORKER, "--config", path), CEL_E_CONFIG);
        assert_null(strstr(err.text, "hunter2"));
        unlink(path);
        path[0] = '\0';
    }
    char longer[5000] = "--broker=redis://:hunter2@";
    memset(longer + strlen(longer), 'h', sizeof(longer) - strlen(longer) - 1);
    assert_int_equal(LOAD(VERB_WORKER, longer), CEL_E_CONFIG);
    assert_null(strstr(err.text, "hunter2"));
    assert_int_equal(LOAD(VERB_WORKER, "--borker=redis://:hunter2@h"), CEL_E_CONFIG);
    assert_null(strstr(err.text, "hunter2"));

    setenv("CELERIAC_BROKER_URL", "redis://:hunter2@h", 1);
    assert_int_equal(LOAD(VERB_WORKER, "--help"), 0);
    CLEANUP(buf_deinit) struct buf help = BUF_INIT(100000);
    config_help(&config, &help);
    config_markdown(&config, &help);
    assert_int_equal(buf_status(&help), 0);
    assert_null(strstr(help.ptr, "hunter2"));
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    write_file("[worker]\nqueues = a\n[beat a]\ntask = t\n");
    for (size_t n = 1;; n++) {
        error_clear(&err);
        mem_fail_after(n);
        int r = LOAD(VERB_WORKER, "--config", path, "-n", "x");
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 20);
            assert_string_equal(settings.queues, "a");
            return;
        }
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(err.code, -ENOMEM);
    }
}

#define SETTINGS_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

static void a_queue_may_have_a_weight(void **state)
{
    (void)state;
    static const struct {
        const char *item, *name;
        unsigned weight;
    } cases[] = {
        {"mail", "mail", 0},
        {"mail:5", "mail", 5},
        {"mail:1000", "mail", 1000},
        {"a:b", "a:b", 0},
        {"a:b:2", "a:b", 2},
        {"mail5", "mail5", 0},
        {"mail:", "mail:", 0},
        {"mail:x5", "mail:x5", 0},
        {":7", "", 7},
        {"", "", 0},
        {"7", "7", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str name;
        unsigned weight;
        assert_int_equal(settings_queue(str_of(cases[i].item), &name, &weight, &err), 0);
        assert_true(str_equal(name, str_of(cases[i].name)));
        assert_int_equal(weight, cases[i].weight);
    }
    static const char *const refused[] = {"mail:0", "mail:1001", "mail:99999999999999999999"};
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct str name;
        unsigned weight;
        assert_int_equal(settings_queue(str_of(refused[i]), &name, &weight, &err), CEL_E_CONFIG);
        assert_non_null(strstr(err.text, refused[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SETTINGS_TEST(a_queue_may_have_a_weight),
        SETTINGS_TEST(the_defaults_are_those_of_the_manual),
        SETTINGS_TEST(a_worker_takes_the_flags_of_celery),
        SETTINGS_TEST(celerys_variables_stand_in_for_ours),
        SETTINGS_TEST(the_file_is_found_by_flag_or_variable),
        SETTINGS_TEST(a_call_keeps_the_flags_that_are_keyword_arguments),
        SETTINGS_TEST(each_verb_takes_its_own_flags),
        SETTINGS_TEST(the_table_names_nothing_twice),
        SETTINGS_TEST(no_string_is_null),
        SETTINGS_TEST(every_choice_is_understood_by_the_log),
        SETTINGS_TEST(passwords_never_appear),
        SETTINGS_TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
