#include "canvas/handle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canvas/send.h"
#include "core/mem.h"
#include "published.h"

static struct cel_handle *handle_of(const char *signature)
{
    struct plan plan = PLAN_INIT;
    struct cel_value *value = read_json(signature);
    struct canvas_sender sender = a_client();
    const struct sending sending = {.pre_count = 0};
    struct cel_handle *handle = NULL;
    struct cel_error err = {0};
    if (send_signature(value, &sending, &sender, &plan, &handle, &err) < 0)
        fail_msg("%s", err.text);
    cel_value_free(value);
    plan_deinit(&plan);
    return handle;
}

#define T(id) TASK("t", "", "\"task_id\": \"" id "\"")

static void the_tuple_is_celerys(void **state)
{
    static const struct {
        const char *signature, *tuple;
    } cases[] = {
        {T("a"), "[[\"a\", null], null]"},
        {CHAIN_OF(T("a") "," T("b") "," T("c"), ""),
         "[[\"c\", [[\"b\", [[\"a\", null], null]], null]], null]"},
        {GROUP_OF(T("a") "," T("b"), "\"task_id\": \"g\""),
         "[[\"g\", null], [[[\"a\", null], null], [[\"b\", null], null]]]"},
        {GROUP_OF("", "\"task_id\": \"g\""), "[[\"g\", null], []]"},
        {CHAIN_OF(T("a") "," GROUP_OF(T("b") "," T("c"), "\"task_id\": \"g\"") "," T("d"), ""),
         "[[\"d\", [[\"g\", [[\"a\", null], null]], [[[\"b\", null], null], [[\"c\", null], "
         "null]]]], null]"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_handle *handle = handle_of(cases[i].signature);
        char *json = cel_handle_to_json(handle);
        assert_string_equal(json, cases[i].tuple);
        free(json);
        cel_handle_free(handle);
    }
}

static void tasks_are_counted_through_groups(void **state)
{
    struct cel_handle *handle = handle_of(
        CHAIN_OF(T("z") "," GROUP_OF(
                     T("a") "," CHAIN_OF(T("y") "," GROUP_OF(T("b") "," T("c"), ""), "") "," T("d"),
                     "\"task_id\": \"g\""),
                 ""));
    static const char *const ids[] = {"a", "b", "c", "d"};
    (void)state;
    assert_string_equal(cel_handle_id(handle), "g");
    assert_true(cel_handle_is_group(handle));
    assert_int_equal(cel_handle_count(handle), 3);
    assert_true(cel_handle_is_group(cel_handle_member(handle, 1)));
    assert_null(cel_handle_member(handle, 3));
    assert_string_equal(cel_handle_id(cel_handle_parent(handle)), "z");
    assert_null(cel_handle_parent(cel_handle_parent(handle)));
    assert_int_equal(cel_handle_tasks(handle), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(cel_handle_task_id(handle, i), ids[i]);
    assert_null(cel_handle_task_id(handle, 4));
    cel_handle_free(handle);
}

static void no_handle_is_none_of_all(void **state)
{
    (void)state;
    assert_null(cel_handle_id(NULL));
    assert_null(cel_handle_task_id(NULL, 0));
    assert_null(cel_handle_to_json(NULL));
    assert_null(cel_handle_parent(NULL));
    assert_int_equal(cel_handle_tasks(NULL), 0);
    assert_null(cel_handle_free(NULL));
}

/* Longer than any stack is deep. */
static void a_chain_may_be_long(void **state)
{
    enum { LENGTH = 20000 };
    struct cel_value *chain = read_json(CHAIN_OF("", "")), *tasks = cel_list();
    (void)state;
    for (size_t i = 0; i < LENGTH; i++)
        assert_int_equal(cel_list_add(tasks, read_json(T("x"))), 0);
    assert_int_equal(
        cel_map_set((struct cel_value *)cel_value_get(chain, "kwargs"), "tasks", tasks), 0);
    struct cel_handle *handle = handle_new(chain);
    char *json = cel_handle_to_json(handle);
    assert_int_equal(strlen(json), LENGTH * strlen("[[\"x\", ], null]") + strlen("null"));
    free(json);
    cel_handle_free(handle);
    cel_value_free(chain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tuple_is_celerys),
        cmocka_unit_test(tasks_are_counted_through_groups),
        cmocka_unit_test(no_handle_is_none_of_all),
        cmocka_unit_test(a_chain_may_be_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
