/* Names of a node, and the table of registered tasks. */
#include "worker/startup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "pool/registry.h"

static void expect_name(const char *pattern, const char *host, const char *expected)
{
    char *name = NULL;
    struct cel_error err = {0};
    assert_int_equal(startup_node_name(pattern, host, &name, &err), 0);
    assert_string_equal(name, expected);
    mem_free(name);
}

static void node_names_are_celerys(void **state)
{
    (void)state;
    expect_name("celery@%h", "web1.example.org", "celery@web1.example.org");
    expect_name("w1@%n", "web1.example.org", "w1@web1");
    expect_name("w1@%d", "web1.example.org", "w1@example.org");
    expect_name("w1@%n", "web1", "w1@web1");
    expect_name("%n", "web1.example.org", "web1@web1.example.org");
    expect_name("shop", "web1", "shop@web1");
    expect_name("100%%@x", "web1", "100%@x");
}

static void other_percents_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"%", "w@%", "w%i@%h", "%H"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *name = NULL;
        struct cel_error err = {0};
        assert_int_equal(startup_node_name(bad[i], "web1", &name, &err), CEL_E_CONFIG);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void tasks_are_found_by_their_whole_name(void **state)
{
    (void)state;
    char text[] = "shop.price";
    const struct frame_task tasks[] = {
        {.name = str_of(text), .queue = STR("celery"), .max_retries = 1},
        {.name = STR("shop"), .queue = STR("mail"), .max_retries = 2},
        {.name = STR("shop.prices"), .max_retries = 3},
        {.name = STR("a"), .max_retries = 4},
    };
    struct frame_hello hello = {.tasks = tasks, .task_count = ARRAY_SIZE(tasks)};
    struct registry registry = {.texts = BUF_INIT(4096)};
    assert_null(registry_find(&registry, STR("a")));
    assert_int_equal(registry_set(&registry, &hello), 0);
    memset(text, '-', sizeof(text) - 1); /* it has a copy */
    assert_int_equal(registry_find(&registry, STR("shop.price"))->max_retries, 1);
    assert_int_equal(registry_find(&registry, STR("shop"))->max_retries, 2);
    assert_true(str_equal(registry_find(&registry, STR("shop"))->queue, STR("mail")));
    assert_int_equal(registry_find(&registry, STR("shop.prices"))->max_retries, 3);
    assert_int_equal(registry_find(&registry, STR("a"))->max_retries, 4);
    const struct str missing[] = {STR(""), STR_NONE, STR("b"), STR("shop.pric"),
                                  STR("shop.price1")};
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
        assert_null(registry_find(&registry, missing[i]));
    registry_deinit(&registry);
}

static void a_registry_that_cannot_be_replaced_stays(void **state)
{
    (void)state;
    const struct frame_task old = {.name = STR("old")}, fresh = {.name = STR("fresh")};
    struct registry registry = {.texts = BUF_INIT(4096)};
    assert_int_equal(registry_set(&registry, &(struct frame_hello){.tasks = &old, .task_count = 1}),
                     0);
    for (size_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_int_equal(
            registry_set(&registry, &(struct frame_hello){.tasks = &fresh, .task_count = 1}),
            -ENOMEM);
        mem_fail_after(0);
        assert_non_null(registry_find(&registry, STR("old")));
    }
    assert_int_equal(
        registry_set(&registry, &(struct frame_hello){.tasks = &fresh, .task_count = 1}), 0);
    assert_null(registry_find(&registry, STR("old")));
    registry_deinit(&registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_names_are_celerys),
        cmocka_unit_test(other_percents_are_refused),
        cmocka_unit_test(tasks_are_found_by_their_whole_name),
        cmocka_unit_test(a_registry_that_cannot_be_replaced_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
