#include "canvas/follow.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "published.h"

#define FAILED "{\"exc_type\": \"E\", \"exc_message\": [\"m\"], \"exc_module\": \"builtins\"}"

static const struct envelope envelope = {.id = STR("x"), .task = STR("t"), .root_id = STR("r")};
static const struct envelope member = {.id = STR("x"),
                                       .task = STR("t"),
                                       .root_id = STR("r"),
                                       .group = STR("g"),
                                       .has_group_index = true,
                                       .group_index = 2};

static int try_follow(const struct envelope *of,
                      const char *embed,
                      const char *state,
                      const char *result,
                      struct canvas_sender sender,
                      struct plan *plan,
                      struct cel_error *err)
{
    struct cel_value *value = read_json(embed);
    struct ended ended = {.envelope = of,
                          .embed = value,
                          .state = str_of(state),
                          .result_json = str_of(result),
                          .traceback = STR("trace")};
    int r = canvas_follow(&ended, &sender, plan, err);
    cel_value_free(value);
    return r;
}

static void follow(const struct envelope *of,
                   const char *embed,
                   const char *state,
                   const char *result,
                   struct plan *plan)
{
    struct cel_error err = {0};
    if (try_follow(of, embed, state, result, a_client(), plan, &err) < 0)
        fail_msg("%s", err.text);
}

static struct cel_value *message_at(const struct plan *plan, size_t i)
{
    assert_true(i < plan->message_count);
    return open_message(str_of(plan->messages[i].text));
}

static void assert_args(const struct plan *plan, size_t i, const char *args)
{
    struct cel_value *message = message_at(plan, i);
    struct cel_value *expected = read_json(args);
    assert_same_value(cel_value_at(cel_value_get(message, "body"), 0), expected);
    assert_string_equal(header_of(message, "parent_id"), "\"x\"");
    cel_value_free(expected);
    cel_value_free(message);
}

static void what_is_awaited_depends_on_the_end(void **state)
{
    static const struct {
        const struct envelope *of;
        const char *embed;
        bool success, failure, revoked;
    } cases[] = {
        {&envelope, "{}", false, false, false},
        {&envelope, "{\"callbacks\": null, \"errbacks\": [], \"chain\": [], \"chord\": null}",
         false, false, false},
        {&envelope, "{\"callbacks\": [" TASK("c", "", "") "]}", true, false, false},
        {&envelope, "{\"errbacks\": [" TASK("c", "", "") "]}", false, true, false},
        {&envelope, "{\"chain\": [" TASK("c", "", "") "]}", true, true, false},
        {&envelope, "{\"chord\": " TASK("c", "", "") "}", false, false, false}, /* of no group */
        {&member, "{\"chord\": " TASK("c", "", "") "}", true, true, true},
        {&member, "{}", false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_value *embed = read_json(cases[i].embed);
        assert_int_equal(canvas_is_awaited(cases[i].of, embed, STR("SUCCESS")), cases[i].success);
        assert_int_equal(canvas_is_awaited(cases[i].of, embed, STR("FAILURE")), cases[i].failure);
        assert_int_equal(canvas_is_awaited(cases[i].of, embed, STR("REVOKED")), cases[i].revoked);
        cel_value_free(embed);
    }
    assert_false(canvas_is_awaited(&member, NULL, STR("SUCCESS")));
}

static void a_success_goes_to_callbacks_and_to_the_next_of_the_chain(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    follow(
        &member,
        "{\"callbacks\": [" TASK("c", "1", "\"task_id\": \"cb\"") "], \"chain\": [" TASK(
            "last", "", "") "," TASK("next", "2",
                                     "\"task_id\": \"n\"") "], \"chord\": " TASK("b", "", "") "}",
        "SUCCESS", "{\"a\": 1}", &plan);
    assert_int_equal(plan.message_count, 2);
    assert_args(&plan, 0, "[{\"a\": 1}, 1]");
    assert_args(&plan, 1, "[{\"a\": 1}, 2]");
    struct cel_value *next = message_at(&plan, 1);
    const struct cel_value *rest =
        cel_value_get(cel_value_at(cel_value_get(next, "body"), 2), "chain");
    assert_int_equal(cel_value_count(rest), 1);
    assert_string_equal(header_of(next, "root_id"), "\"r\"");
    assert_string_equal(plan.children.ptr, "[[\"cb\", null], null], [[\"n\", null], null]");
    assert_int_equal(plan.part_count, 1);
    assert_true(str_equal(plan.parts[0].text, STR("[1, \"x\", \"SUCCESS\", {\"a\": 1}]")));
    assert_true(str_equal(plan.parts[0].prefix, STR("[1, \"x\",")));
    assert_int_equal(plan.parts[0].index, 2);
    assert_int_equal(plan.document_count, 0);
    cel_value_free(next);
    plan_deinit(&plan);
}

static void several_callbacks_are_a_group(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    follow(&envelope,
           "{\"callbacks\": [" TASK("c", "1", "") "," GROUP_OF(
               TASK("d", "2", "") "," TASK("e", "3", ""), "") "," TASK("f", "4", "") "]}",
           "SUCCESS", "5", &plan);
    assert_int_equal(plan.message_count, 4); /* a group among them goes by itself, before */
    struct cel_value *messages[4];
    for (size_t i = 0; i < 4; i++)
        messages[i] = message_at(&plan, i);
    assert_args(&plan, 0, "[5, 2]");
    assert_args(&plan, 2, "[5, 1]");
    assert_args(&plan, 3, "[5, 4]");
    struct str first = value_str(cel_value_get(cel_value_get(messages[2], "headers"), "group"));
    struct str second = value_str(cel_value_get(cel_value_get(messages[3], "headers"), "group"));
    assert_true(first.len > 0 && str_equal(first, second));
    for (size_t i = 0; i < 4; i++)
        cel_value_free(messages[i]);
    plan_deinit(&plan);
}

static void a_chord_in_a_chain_is_opened(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    follow(&envelope,
           "{\"chain\": [" TASK("last", "", "") "," CHORD_OF(
               TASK("h", "1", "") "," TASK("h", "2", ""), TASK("b", "", ""), "") "]}",
           "SUCCESS", "5", &plan);
    assert_int_equal(plan.message_count, 2);
    assert_int_equal(plan.chord_count, 1);
    assert_int_equal(plan.chords[0].size, 2);
    assert_args(&plan, 0, "[5, 1]");
    struct cel_value *message = message_at(&plan, 0);
    const struct cel_value *chord =
        cel_value_get(cel_value_at(cel_value_get(message, "body"), 2), "chord");
    assert_int_equal(cel_value_count(cel_value_get(cel_value_get(chord, "options"), "chain")), 1);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void a_failure_ends_the_rest_of_the_chain(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    follow(
        &member,
        "{\"callbacks\": [" TASK("c", "", "") "], \"errbacks\": [" TASK(
            "oops", "7",
            "") "], \"chain\": [" TASK("last", "",
                                       "\"task_id\": \"l\", \"group_id\": \"outer\", "
                                       "\"group_index\": 1, \"chord\": " TASK(
                                           "b", "",
                                           "")) ", 5, " CHORD_OF(TASK("h", "",
                                                                      "\"task_id\": \"h\""),
                                                                 TASK("hb", "",
                                                                      "\"task_id\": \"hb\""),
                                                                 "") "], \"chord\": " TASK("b", "",
                                                                                           "") "}",
        "FAILURE", FAILED, &plan);
    assert_int_equal(plan.message_count, 1);
    assert_args(&plan, 0, "[\"x\", 7]");
    assert_int_equal(plan.document_count, 3);
    for (size_t i = 0; i < 3; i++) {
        struct cel_value *document = read_json_str(plan.documents[i].text),
                         *expected = read_json(FAILED);
        assert_same_value(cel_value_get(document, "result"), expected);
        assert_string_equal(cel_value_text(cel_value_get(document, "traceback"), NULL), "trace");
        assert_true(str_equal(value_str(cel_value_get(document, "task_id")), plan.documents[i].id));
        cel_value_free(document);
        cel_value_free(expected);
    }
    assert_int_equal(plan.part_count, 2);
    assert_true(str_equal(plan.parts[0].group, STR("g")));
    assert_true(str_equal(plan.parts[1].group, STR("outer")));
    assert_true(str_equal(plan.parts[1].text, STR("[1, \"l\", \"FAILURE\", " FAILED "]")));
    plan_deinit(&plan);
}

static void a_revocation_is_a_part_alone(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    follow(&member,
           "{\"errbacks\": [" TASK("oops", "", "") "], \"chain\": [" TASK(
               "n", "", "\"task_id\": \"n\"") "], \"chord\": " TASK("b", "", "") "}",
           "REVOKED", FAILED, &plan);
    assert_int_equal(plan.part_count, 1);
    assert_int_equal(plan.message_count + plan.document_count, 0);
    plan_deinit(&plan);
}

/* Errbacks of more than one argument are called where the failure is. */
static bool
is_called_here(void *data, const struct cel_value *signature, const struct canvas_failure *failure)
{
    assert_true(str_equal(failure->id, STR("x")));
    assert_true(str_equal(failure->task, STR("t")));
    assert_true(str_equal(failure->exception_json, STR(FAILED)));
    assert_true(str_equal(failure->traceback, STR("trace")));
    ++*(int *)data;
    return strcmp(cel_value_text(cel_value_get(signature, "task"), NULL), "here") == 0;
}

static void errbacks_may_be_called_at_once(void **state)
{
    struct plan plan = PLAN_INIT;
    struct canvas_sender sender = a_client();
    int asked = 0;
    (void)state;
    sender.errback = is_called_here;
    sender.data = &asked;
    assert_int_equal(
        try_follow(&envelope,
                   "{\"errbacks\": [" TASK("here", "", "") "," TASK("there", "", "") "]}",
                   "FAILURE", FAILED, sender, &plan, NULL),
        0);
    assert_int_equal(asked, 2);
    assert_int_equal(plan.message_count, 1);
    struct cel_value *message = message_at(&plan, 0);
    assert_string_equal(header_of(message, "task"), "\"there\"");
    assert_string_equal(header_of(message, "root_id"), "\"r\"");
    cel_value_free(message);
    plan_deinit(&plan);
}

static void what_cannot_be_sent_is_told_and_nothing_is_planned(void **state)
{
    static const struct {
        const char *embed, *result;
        int code;
    } cases[] = {
        {"{\"callbacks\": {\"task\": \"c\"}}", "1", CEL_E_FORMAT},
        {"{\"chain\": [" TASK("ok", "", "") ", {}]}", "1", CEL_E_FORMAT},
        {"{\"callbacks\": [" TASK("ok", "", "") "], \"chain\": [7]}", "1", CEL_E_FORMAT},
        {"{\"callbacks\": [" TASK("ok", "", "") "]}", "{\"__type__\": \"odd\", \"__value__\": 1}",
         CEL_E_FORMAT},
        {"{\"callbacks\": [" TASK("ok", "", "") "]}", "not JSON", CEL_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan plan = PLAN_INIT;
        struct cel_error err = {0};
        assert_int_equal(try_follow(&member, cases[i].embed, "SUCCESS", cases[i].result, a_client(),
                                    &plan, &err),
                         cases[i].code);
        assert_true(err.text[0]);
        assert_true(plan_is_empty(&plan));
        assert_int_equal(plan.children.len, 0);
        plan_deinit(&plan);
    }
}

static void memory_that_runs_short_is_told(void **state)
{
    static const char *const states[] = {"SUCCESS", "FAILURE"};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        int r = -ENOMEM;
        for (size_t n = 1; r == -ENOMEM; n++) {
            struct plan plan = PLAN_INIT;
            struct cel_value *embed = read_json("{\"callbacks\": [" TASK("c", "", "") "," TASK(
                "d", "",
                "") "], \"errbacks\": [" TASK("e", "",
                                              "") "], \"chain\": [" TASK("n", "",
                                                                         "\"task_id\": "
                                                                         "\"n\"") "], "
                                                                                  "\"chord"
                                                                                  "\":"
                                                                                  " " TASK("b", "",
                                                                                           "") "}");
            struct ended ended = {.envelope = &member,
                                  .embed = embed,
                                  .state = str_of(states[k]),
                                  .result_json = STR("[1]")};
            struct canvas_sender sender = a_client();
            mem_fail_after(n);
            r = canvas_follow(&ended, &sender, &plan, NULL);
            mem_fail_after(0);
            assert_true(r == 0 || (r == -ENOMEM && plan_is_empty(&plan)));
            cel_value_free(embed);
            plan_deinit(&plan);
        }
        assert_int_equal(r, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_awaited_depends_on_the_end),
        cmocka_unit_test(a_success_goes_to_callbacks_and_to_the_next_of_the_chain),
        cmocka_unit_test(several_callbacks_are_a_group),
        cmocka_unit_test(a_chord_in_a_chain_is_opened),
        cmocka_unit_test(a_failure_ends_the_rest_of_the_chain),
        cmocka_unit_test(a_revocation_is_a_part_alone),
        cmocka_unit_test(errbacks_may_be_called_at_once),
        cmocka_unit_test(what_cannot_be_sent_is_told_and_nothing_is_planned),
        cmocka_unit_test(memory_that_runs_short_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
