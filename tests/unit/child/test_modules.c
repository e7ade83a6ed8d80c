/* The table of tasks and settings, with modules that stand in this program. Loading shared objects
 * is tested in test_child.c. */
#include "child/modules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

static struct cel_module module_of(const struct cel_task_def *tasks, size_t count)
{
    return (struct cel_module){CEL_MODULE_VERSION, sizeof(*tasks), tasks, count};
}

static struct cel_module_settings settings_of(const struct cel_setting_def *settings, size_t count)
{
    return (struct cel_module_settings){sizeof(*settings), settings, count};
}

static void tasks_are_found_by_their_whole_name(void **state)
{
    (void)state;
    static const struct cel_task_def tasks[] = {{.name = "b.two", .run = noop},
                                                {.name = "a", .run = noop},
                                                {.name = "b.two.three", .run = noop},
                                                {.name = "a.one", .run = noop},
                                                {.name = "gr\xc3\xbc\xc3\x9f", .run = noop}};
    struct cel_module module = module_of(tasks, ARRAY_SIZE(tasks));
    CLEANUP(modules_deinit) struct modules modules;
    modules_init(&modules, STR_NONE);
    assert_int_equal(modules_add(&modules, "m", &module, NULL, NULL), 0);
    assert_int_equal(modules_finish(&modules, NULL, 0, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
        assert_ptr_equal(modules_find(&modules, str_of(tasks[i].name))->def, &tasks[i]);
    assert_true(str_equal(modules_find(&modules, STR("b.two.three"))->function, STR("three")));
    assert_true(str_equal(modules_find(&modules, STR("a"))->function, STR("a")));
    const struct str others[] = {STR("b"), STR("b.tw"), STR("b.two.thre"), STR("b.two.threee"),
                                 STR(""),  STR("zzz"),  STR("A")};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_null(modules_find(&modules, others[i]));
}

static void zeros_become_defaults(void **state)
{
    (void)state;
    static const struct cel_task_def tasks[] = {
        {.name = "a", .run = noop},
        {.name = "b", .run = noop, .retry_backoff = true, .max_retries = CEL_ENDLESS_RETRIES},
        {.name = "c",
         .run = noop,
         .max_retries = CEL_NO_RETRIES,
         .queue = "own",
         .retry_delay_ms = 7,
         .rate_limit = "5/m",
         .cpu_limit_ms = 2500,
         .memory_limit = 4096},
    };
    struct cel_module module = module_of(tasks, ARRAY_SIZE(tasks));
    CLEANUP(modules_deinit) struct modules modules;
    modules_init(&modules, STR("main"));
    assert_int_equal(modules_add(&modules, "m", &module, NULL, NULL), 0);
    assert_int_equal(modules_finish(&modules, NULL, 0, NULL), 0);
    const struct frame_task *a = &modules_find(&modules, STR("a"))->rules;
    assert_int_equal(a->max_retries, 3);
    assert_int_equal(a->retry_delay, 180 * USEC_PER_SEC);
    assert_int_equal(a->retry_delay_max, 600 * USEC_PER_SEC);
    assert_true(str_equal(a->queue, STR("main")));
    const struct frame_task *b = &modules_find(&modules, STR("b"))->rules;
    assert_int_equal(b->max_retries, -1);
    assert_int_equal(b->retry_delay, USEC_PER_SEC);
    const struct frame_task *c = &modules_find(&modules, STR("c"))->rules;
    assert_int_equal(c->max_retries, 0);
    assert_int_equal(c->retry_delay, 7 * USEC_PER_MSEC);
    assert_true(str_equal(c->queue, STR("own")));
    assert_int_equal(c->rate_interval, 12 * USEC_PER_SEC);
    assert_true(str_equal(c->rate_limit, STR("5/m")));
    assert_int_equal(c->cpu_limit, 2500 * USEC_PER_MSEC);
    assert_int_equal(c->memory_limit, 4096);
    assert_int_equal(b->rate_interval, 0);
    assert_null(b->rate_limit.ptr);
}

static void a_definition_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static char long_name[300];
    memset(long_name, 'x', sizeof(long_name) - 1);
    static const struct {
        struct cel_task_def def;
        const char *text;
    } cases[] = {
        {{.run = noop}, "module m: a task has no name"},
        {{.name = "", .run = noop}, "module m: a task has no name"},
        {{.name = long_name, .run = noop}, "no UTF-8 of at most 255 bytes"},
        {{.name = "\xff", .run = noop}, "no UTF-8 of at most 255 bytes"},
        {{.name = "t"}, "module m: task \"t\": .run is missing"},
        {{.name = "t", .run = noop, .max_retries = -3}, ".max_retries is no count"},
        {{.name = "t", .run = noop, .retry_delay_ms = -1}, "a retry delay is negative"},
        {{.name = "t", .run = noop, .retry_delay_max_ms = INT64_MAX}, "longer than a year"},
        {{.name = "t", .run = noop, .soft_time_limit_ms = -1}, "a time limit is negative"},
        {{.name = "t", .run = noop, .hard_time_limit_ms = INT64_MAX}, "longer than a year"},
        {{.name = "t", .run = noop, .acks = (enum cel_acks)2}, ".acks is unknown"},
        {{.name = "t", .run = noop, .rate_limit = "10/d"}, "task \"t\": .rate_limit is no rate"},
        {{.name = "t", .run = noop, .cpu_limit_ms = -1}, "a limit of its runs is negative"},
        {{.name = "t", .run = noop, .memory_limit = -1}, "a limit of its runs is negative"},
        {{.name = "t", .run = noop, .open_files_limit = -1}, "a limit of its runs is negative"},
        {{.name = "t", .run = noop, .transaction = (enum cel_transaction)4},
         ".transaction is unknown"},
        {{.name = "t", .run = noop, .params = "x y"}, "task \"t\": parameter \"x y\": not a name"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_module module = module_of(&cases[i].def, 1);
        CLEANUP(modules_deinit) struct modules modules;
        struct cel_error err = {0};
        modules_init(&modules, STR_NONE);
        assert_int_equal(modules_add(&modules, "m", &module, NULL, &err), CEL_E_CONFIG);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

static void a_module_of_another_header_is_refused(void **state)
{
    (void)state;
    static const struct cel_task_def tasks[] = {{.name = "a", .run = noop}};
    static const struct cel_setting_def settings[] = {{.name = "s", .otherwise = ""}};
    struct cel_module version = module_of(tasks, 1), size = version, good = version;
    struct cel_module_settings setting_size = settings_of(settings, 1);
    version.version++;
    size.task_size += 8;
    setting_size.setting_size -= 8;
    CLEANUP(modules_deinit) struct modules modules;
    modules_init(&modules, STR_NONE);
    assert_int_equal(modules_add(&modules, "m", &version, NULL, NULL), CEL_E_CONFIG);
    assert_int_equal(modules_add(&modules, "m", &size, NULL, NULL), CEL_E_CONFIG);
    assert_int_equal(modules_add(&modules, "m", &good, &setting_size, NULL), CEL_E_CONFIG);
}

static void a_name_has_one_task(void **state)
{
    (void)state;
    static const struct cel_task_def one[] = {{.name = "x", .run = noop},
                                              {.name = "same", .run = noop}};
    static const struct cel_task_def other[] = {{.name = "same", .run = noop}};
    struct cel_module first = module_of(one, 2), second = module_of(other, 1);
    CLEANUP(modules_deinit) struct modules modules;
    struct cel_error err = {0};
    modules_init(&modules, STR_NONE);
    assert_int_equal(modules_add(&modules, "first.so", &first, NULL, NULL), 0);
    assert_int_equal(modules_add(&modules, "second.so", &second, NULL, NULL), 0);
    assert_int_equal(modules_finish(&modules, NULL, 0, &err), CEL_E_CONFIG);
    assert_non_null(strstr(err.text, "task \"same\" is registered twice"));
    assert_non_null(strstr(err.text, "first.so"));
    assert_non_null(strstr(err.text, "second.so"));
}

static void settings_are_given_defaulted_and_required(void **state)
{
    (void)state;
    static const struct cel_task_def one[] = {{.name = "x", .run = noop}};
    static const struct cel_task_def other[] = {{.name = "y", .run = noop}};
    static const struct cel_setting_def declared[] = {{.name = "url", .otherwise = "file:///"},
                                                      {.name = "word"}};
    static const struct cel_setting_def shared[] = {{.name = "url", .otherwise = "another"}};
    struct cel_module first = module_of(one, 1), second = module_of(other, 1);
    struct cel_module_settings of_first = settings_of(declared, 2),
                               of_second = settings_of(shared, 1);
    const struct frame_pair given[] = {{STR("word"), STR("sesame"), STR("c.ini:1")},
                                       {STR("url"), STR("smtp://x"), STR("c.ini:2")},
                                       {STR("ulr"), STR("secret"), STR("c.ini:3")}};
    const struct {
        size_t count;
        int result;
        const char *word, *first_url, *second_url, *text;
    } cases[] = {
        {0, CEL_E_CONFIG, NULL, NULL, NULL, "setting \"word\" is missing in section [settings]"},
        {1, 0, "sesame", "file:///", "another", ""},
        {2, 0, "sesame", "smtp://x", "smtp://x", ""},
        {3, CEL_E_CONFIG, NULL, NULL, NULL, "c.ini:3: setting \"ulr\" is declared by no module"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(modules_deinit) struct modules modules;
        struct cel_error err = {0};
        modules_init(&modules, STR_NONE);
        assert_int_equal(modules_add(&modules, "1", &first, &of_first, NULL), 0);
        assert_int_equal(modules_add(&modules, "2", &second, &of_second, NULL), 0);
        assert_int_equal(modules_finish(&modules, given, cases[i].count, &err), cases[i].result);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_null(strstr(err.text, "secret"));
        if (cases[i].result)
            continue;
        assert_string_equal(module_setting(modules.items[0], "word"), cases[i].word);
        assert_string_equal(module_setting(modules.items[0], "url"), cases[i].first_url);
        assert_string_equal(module_setting(modules.items[1], "url"), cases[i].second_url);
        assert_null(module_setting(modules.items[1], "word"));
    }
}

static void without_settings_any_setting_is_unknown(void **state)
{
    (void)state;
    static const struct cel_task_def tasks[] = {{.name = "x", .run = noop}};
    struct cel_module module = module_of(tasks, 1);
    const struct frame_pair given = {STR("x"), STR("y"), STR_NONE};
    CLEANUP(modules_deinit) struct modules modules;
    struct cel_error err = {0};
    modules_init(&modules, STR_NONE);
    assert_int_equal(modules_add(&modules, "m", &module, NULL, NULL), 0);
    assert_int_equal(modules_finish(&modules, &given, 1, &err), CEL_E_CONFIG);
    assert_string_equal(err.text, "setting \"x\" is declared by no module");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_are_found_by_their_whole_name),
        cmocka_unit_test(zeros_become_defaults),
        cmocka_unit_test(a_definition_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_module_of_another_header_is_refused),
        cmocka_unit_test(a_name_has_one_task),
        cmocka_unit_test(settings_are_given_defaulted_and_required),
        cmocka_unit_test(without_settings_any_setting_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
