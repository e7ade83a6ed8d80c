/* The tasks that every worker has, in a real pool process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "tests/support/child_process.h"

static struct child_process process;

static int start(void **state)
{
    (void)state;
    const struct str modules[] = {STR(MODULES "/probe.so")};
    struct frame_setup setup = {.node = STR("celery@test"),
                                .log_level = 1,
                                .log_format = 1,
                                .modules = modules,
                                .module_count = 1};
    child_process_start(&process, &setup);
    return child_process_read(&process, 20000) == 0 && process.frame.type == FRAME_HELLO ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    child_process_end(&process);
    return 0;
}

static const struct frame_outcome *call(const char *name, const char *args, const char *kwargs)
{
    char *message = message_of(name, args, kwargs, "");
    const struct frame_outcome *outcome = child_process_call(&process, message);
    free(message);
    return outcome;
}

/* The call of `task` for each item of `items`. */
static const struct frame_outcome *map(const char *name, const char *task, const char *items)
{
    char kwargs[1024];
    snprintf(kwargs, sizeof(kwargs),
             "{\"task\": {\"task\": \"%s\", \"args\": [], \"kwargs\": {}, \"options\": {}, "
             "\"subtask_type\": null, \"immutable\": false}, \"it\": %s}",
             task, items);
    return call(name, "[]", kwargs);
}

static void expect_json(struct str text, const char *expected)
{
    struct cel_value *one = NULL, *other = NULL;
    assert_int_equal(json_decode(text.ptr ? text : STR("null"), &one, NULL), 0);
    assert_int_equal(json_decode(str_of(expected), &other, NULL), 0);
    if (!value_equal(one, other))
        fail_msg("%.*s instead of %s", STR_ARGS(text), expected);
    cel_value_free(one);
    cel_value_free(other);
}

static void expect_success(const struct frame_outcome *outcome, const char *json)
{
    if (outcome->kind != OUTCOME_SUCCESS)
        fail_msg("kind %d: %.*s", outcome->kind, STR_ARGS(outcome->result_json));
    expect_json(outcome->result_json, json);
}

static void expect_failure(const struct frame_outcome *outcome,
                           const char *type,
                           const char *text,
                           const char *module)
{
    char json[400];
    snprintf(json, sizeof(json),
             "{\"exc_type\": \"%s\", \"exc_message\": [\"%s\"], \"exc_module\": \"%s\"}", type,
             text, module);
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    expect_json(outcome->result_json, json);
}

static void map_calls_the_function_with_each_item(void **state)
{
    (void)state;
    expect_success(map("celery.map", "tests.echo", "[1, [2, 3], null, {\"a\": 4}]"),
                   "[[[1], {}], [[[2, 3]], {}], [[null], {}], [[{\"a\": 4}], {}]]");
    expect_success(map("celery.map", "tests.noop", "[1, 2]"), "[null, null]");
    expect_success(map("celery.map", "tests.noop", "[]"), "[]");
    expect_success(call("celery.map", "[\"tests.echo\", [7]]", "{}"), "[[[7], {}]]");
}

static void starmap_spreads_each_item(void **state)
{
    (void)state;
    expect_success(map("celery.starmap", "tests.add", "[[1, 2], [3, 4], [5, 6, 7]]"), "[3, 7, 18]");
    expect_failure(map("celery.starmap", "tests.add", "[[1, 2], 3]"), "TypeError",
                   "item 1 of celery.starmap is integer, not a list", "builtins");
}

static void a_map_may_hold_maps(void **state)
{
    (void)state;
    expect_success(map("celery.starmap", "celery.starmap",
                       "[[\"tests.add\", [[1, 2]]], [\"tests.add\", [[3, 4], [5, 6]]]]"),
                   "[[3], [7, 11]]");
}

static void the_failure_of_an_item_is_that_of_the_map(void **state)
{
    (void)state;
    expect_failure(map("celery.starmap", "tests.fail", "[[\"KeyError\", \"lost\"]]"), "KeyError",
                   "lost", "builtins");
    expect_failure(map("celery.starmap", "tests.add", "[[1, 2], [3]]"), "TypeError",
                   "add() missing 1 required positional argument: 'y'", "builtins");
    expect_failure(map("celery.map", "tests.add", "[[1, 2]]"), "TypeError",
                   "add() missing 1 required positional argument: 'y'", "builtins");
    expect_failure(map("celery.starmap", "tests.retry_always", "[[\"OSError\", \"busy\"]]"),
                   "OSError", "busy", "builtins");
    expect_failure(map("celery.starmap", "tests.retry_always", "[[null, \"later\"]]"), "Retry",
                   "later", "celery.exceptions");
    expect_failure(map("celery.map", "tests.retry_always", "[null]"), "Retry",
                   "Task can be retried", "celery.exceptions");
}

static void what_cannot_be_mapped_says_so(void **state)
{
    (void)state;
    expect_failure(map("celery.map", "shop.unknown", "[1]"), "NotRegistered", "shop.unknown",
                   "celery.exceptions");
    expect_failure(map("celery.map", "tests.add", "5"), "TypeError",
                   "celery.map() argument 'it' must be a list, not integer", "builtins");
    expect_failure(call("celery.map", "[5, [1]]", "{}"), "TypeError",
                   "celery.map() argument 'task' is no signature", "builtins");
    expect_failure(call("celery.map", "[]", "{}"), "TypeError",
                   "map() missing 2 required positional arguments: 'task' and 'it'", "builtins");
}

static void accumulate_gives_its_arguments_back(void **state)
{
    (void)state;
    expect_success(call("celery.accumulate", "[1, [2], null]", "{}"), "[1, [2], null]");
    expect_success(call("celery.accumulate", "[1, [2], 3]", "{\"index\": null}"), "[1, [2], 3]");
    expect_success(call("celery.accumulate", "[[5, 6], 2]", "{\"index\": 0}"), "[5, 6]");
    expect_success(call("celery.accumulate", "[1, 2]", "{\"index\": -1}"), "2");
    expect_failure(call("celery.accumulate", "[1]", "{\"index\": 1}"), "IndexError",
                   "tuple index out of range", "builtins");
    expect_failure(call("celery.accumulate", "[1]", "{\"index\": -2}"), "IndexError",
                   "tuple index out of range", "builtins");
}

static void the_others_answer(void **state)
{
    (void)state;
    expect_success(call("celery.ping", "[]", "{}"), "\"pong\"");
    expect_success(call("celery.backend_cleanup", "[]", "{}"), "null");
    const struct frame_outcome *outcome = call("celery.chord_unlock", "[\"g\", {}]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_non_null(memmem(outcome->result_json.ptr, outcome->result_json.len,
                           "NotImplementedError", strlen("NotImplementedError")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_calls_the_function_with_each_item),
        cmocka_unit_test(starmap_spreads_each_item),
        cmocka_unit_test(a_map_may_hold_maps),
        cmocka_unit_test(the_failure_of_an_item_is_that_of_the_map),
        cmocka_unit_test(what_cannot_be_mapped_says_so),
        cmocka_unit_test(accumulate_gives_its_arguments_back),
        cmocka_unit_test(the_others_answer),
    };
    return cmocka_run_group_tests(tests, start, end);
}
