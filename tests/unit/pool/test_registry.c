#include "pool/registry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "core/mem.h"

static struct registry registry;

static void announce(const struct frame_task *tasks, size_t count)
{
    const struct frame_hello hello = {
        .version = FRAME_VERSION, .tasks = tasks, .task_count = count};
    assert_int_equal(registry_set(&registry, &hello), 0);
}

static int begin(void **state)
{
    (void)state;
    registry = (struct registry){.texts = BUF_INIT(FRAME_BYTES_MAX)};
    return 0;
}

static int end(void **state)
{
    (void)state;
    registry_deinit(&registry);
    return 0;
}

static void tasks_are_found_by_their_whole_name(void **state)
{
    (void)state;
    char text[] = "shop.price", rate[] = "10/s";
    const struct frame_task tasks[] = {
        {.name = str_of(text), .queue = STR("celery"), .max_retries = 1},
        {.name = STR("shop"), .queue = STR("mail"), .max_retries = 2, .rate_limit = str_of(rate)},
        {.name = STR("shop.prices"), .max_retries = 3},
        {.name = STR("a"), .max_retries = 4},
    };
    assert_null(registry_find(&registry, STR("a")));
    announce(tasks, ARRAY_SIZE(tasks));
    memset(text, '-', sizeof(text) - 1); /* it has a copy */
    memset(rate, '-', sizeof(rate) - 1);
    assert_int_equal(registry_find(&registry, STR("shop.price"))->max_retries, 1);
    assert_int_equal(registry_find(&registry, STR("shop"))->max_retries, 2);
    assert_true(str_equal(registry_find(&registry, STR("shop"))->queue, STR("mail")));
    assert_true(str_equal(registry_find(&registry, STR("shop"))->rate_limit, STR("10/s")));
    assert_int_equal(registry_find(&registry, STR("shop.prices"))->max_retries, 3);
    assert_null(registry_find(&registry, STR("shop.prices"))->rate_limit.ptr);
    assert_int_equal(registry_find(&registry, STR("a"))->max_retries, 4);
    const struct str missing[] = {STR(""), STR_NONE, STR("b"), STR("shop.pric"),
                                  STR("shop.price1")};
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
        assert_null(registry_find(&registry, missing[i]));
}

static void a_registry_that_cannot_be_replaced_stays(void **state)
{
    (void)state;
    const struct frame_task old = {.name = STR("old")}, fresh = {.name = STR("fresh")};
    announce(&old, 1);
    for (size_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_int_equal(
            registry_set(&registry, &(struct frame_hello){.tasks = &fresh, .task_count = 1}),
            -ENOMEM);
        mem_fail_after(0);
        assert_non_null(registry_find(&registry, STR("old")));
    }
    announce(&fresh, 1);
    assert_null(registry_find(&registry, STR("old")));
}

static void time_limits_that_are_set_stand_when_new_code_comes(void **state)
{
    (void)state;
    const struct frame_task tasks[] = {{.name = STR("a"), .soft_limit = 1, .hard_limit = 2},
                                       {.name = STR("b"), .hard_limit = 3}};
    announce(tasks, 2);
    assert_int_equal(registry_set_limits(&registry, STR("c"), 5, 6), -ENOENT);
    assert_int_equal(registry_set_limits(&registry, STR("a"), 5, 6), 0);
    assert_int_equal(registry_set_limits(&registry, STR("b"), 0, 9), 0);
    assert_int_equal(registry_set_limits(&registry, STR("b"), 7, 0), 0); /* the last word counts */
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(registry_find(&registry, STR("a"))->soft_limit, 5);
        assert_int_equal(registry_find(&registry, STR("a"))->hard_limit, 6);
        assert_int_equal(registry_find(&registry, STR("b"))->soft_limit, 7);
        assert_int_equal(registry_find(&registry, STR("b"))->hard_limit, 0);
        announce(tasks + 1, 1); /* a is gone for a while */
        announce(tasks, 2);
    }
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    const struct frame_task tasks[] = {{.name = STR("a"), .hard_limit = 2}};
    announce(tasks, 1);
    int r = -ENOMEM;
    for (size_t fail = 1; r; fail++) {
        mem_fail_after(fail);
        r = registry_set_limits(&registry, STR("a"), 5, 6);
        mem_fail_after(0);
        assert_true(r == 0 || r == -ENOMEM);
        assert_int_equal(registry_find(&registry, STR("a"))->hard_limit, r ? 2 : 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tasks_are_found_by_their_whole_name, begin, end),
        cmocka_unit_test_setup_teardown(a_registry_that_cannot_be_replaced_stays, begin, end),
        cmocka_unit_test_setup_teardown(time_limits_that_are_set_stand_when_new_code_comes, begin,
                                        end),
        cmocka_unit_test_setup_teardown(without_memory_nothing_changes, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
