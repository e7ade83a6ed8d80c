#include "canvas/replace.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "published.h"

static const struct envelope envelope = {
    .id = STR("x"),
    .task = STR("t"),
    .root_id = STR("r"),
    .parent_id = STR("p"),
    .group = STR("g"),
    .has_group_index = true,
    .group_index = 2,
    .replaced_task_nesting = 1,
    .other_headers = STR(
        "\"tenant\": \"a\", \"stamped_headers\": [\"trace\"], \"stamps\": {\"trace\": \"abc\"}"),
};
#define EMBED                                                                                      \
    "{\"callbacks\": [" TASK("cb", "", "") "], \"errbacks\": [" TASK(                              \
        "eb", "", "") "], \"chain\": [" TASK("last", "",                                           \
                                             "") "," TASK("next", "",                              \
                                                          "") "], \"chord\": " TASK("body", "",    \
                                                                                    "") "}"

typedef int change_fn(const struct envelope *,
                      const struct cel_value *,
                      const struct cel_value *,
                      const struct canvas_sender *,
                      struct plan *,
                      struct cel_error *);

static int change(change_fn *fn,
                  const struct envelope *of,
                  const char *embed,
                  const char *with,
                  struct plan *plan,
                  struct cel_error *err)
{
    struct cel_value *value = read_json(embed), *signature = read_json(with);
    struct canvas_sender sender = a_client();
    int r = fn(of, value, signature, &sender, plan, err);
    cel_value_free(value);
    cel_value_free(signature);
    return r;
}

static void replace(const char *with, struct plan *plan)
{
    struct cel_error err = {0};
    if (change(canvas_replace, &envelope, EMBED, with, plan, &err) < 0)
        fail_msg("%s", err.text);
}

static size_t embedded(const struct cel_value *message, const char *name)
{
    const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
    return cel_value_count(cel_value_get(embed, name));
}

static void a_task_takes_the_place_of_another(void **state)
{
    static const char *const headers[][2] = {{"id", "\"x\""},
                                             {"group", "\"g\""},
                                             {"group_index", "2"},
                                             {"root_id", "\"r\""},
                                             {"parent_id", "\"x\""},
                                             {"replaced_task_nesting", "2"},
                                             {"stamped_headers", "[\"trace\"]"},
                                             {"stamps", "{\"trace\": \"abc\"}"},
                                             {"tenant", "null"}};
    struct plan plan = PLAN_INIT;
    (void)state;
    replace(TASK("new", "1", "\"task_id\": \"forgotten\", \"link\": [" TASK("own", "", "") "]"),
            &plan);
    assert_int_equal(plan.message_count, 1);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        assert_string_equal(header_of(message, headers[i][0]), headers[i][1]);
    assert_int_equal(embedded(message, "callbacks"), 2);
    assert_int_equal(embedded(message, "errbacks"), 1);
    assert_int_equal(embedded(message, "chain"), 2);
    assert_true(embedded(message, "chord") > 0);
    assert_int_equal(plan.part_count + plan.document_count + plan.chord_count, 0);
    cel_value_free(message);
    plan_deinit(&plan);
}

/* As it was recorded: run-526-replace-in-chord. */
static void celery_replaces_in_the_same_way(void **state)
{
    struct plan plan = PLAN_INIT;
    struct envelope of = {.id = STR(ID(1, 0035)),
                          .task = STR("wire.replace"),
                          .root_id = STR(ID(1, 0035)),
                          .group = STR("30801e5e-f1c0-43e3-9a66-02a41dfb157f"),
                          .has_group_index = true};
    (void)state;
    assert_int_equal(
        change(canvas_replace, &of,
               "{\"callbacks\": null, \"chord\": " TASK("wire.tsum", "", WITH_ID(3, 0035)) "}",
               TASK("wire.add", "1, 100", ""), &plan, NULL),
        0);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_string_equal(header_of(message, "id"), "\"" ID(1, 0035) "\"");
    assert_string_equal(header_of(message, "parent_id"), "\"" ID(1, 0035) "\"");
    assert_string_equal(header_of(message, "root_id"), "\"" ID(1, 0035) "\"");
    assert_string_equal(header_of(message, "group"), "\"30801e5e-f1c0-43e3-9a66-02a41dfb157f\"");
    assert_string_equal(header_of(message, "group_index"), "0");
    assert_string_equal(header_of(message, "replaced_task_nesting"), "1");
    assert_true(embedded(message, "chord") > 0);
    cel_value_free(message);
    plan_deinit(&plan);
}

/* The last of a chain has the id, the links and the place; the rest of the old chain comes after it. */
static void a_chain_takes_the_place_of_a_task(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    replace(CHAIN_OF(TASK("one", "", "") "," TASK("two", "", ""), ""), &plan);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const struct cel_value *chain =
        cel_value_get(cel_value_at(cel_value_get(message, "body"), 2), "chain");
    assert_string_equal(header_of(message, "task"), "\"one\"");
    assert_string_equal(header_of(message, "group"), "null");
    assert_string_equal(header_of(message, "replaced_task_nesting"), "2");
    assert_int_equal(embedded(message, "errbacks"), 1);
    assert_int_equal(embedded(message, "callbacks"), 0);
    assert_int_equal(cel_value_count(chain), 3);
    const struct cel_value *two = cel_value_get(cel_value_at(chain, 2), "options");
    assert_string_equal(cel_value_text(cel_value_get(two, "task_id"), NULL), "x");
    assert_string_equal(cel_value_text(cel_value_get(two, "group_id"), NULL), "g");
    assert_int_equal(cel_value_int(cel_value_get(two, "group_index"), 0), 2);
    assert_int_equal(cel_value_count(cel_value_get(two, "link")), 1);
    assert_int_equal(cel_value_count(cel_value_get(two, "link_error")), 1);
    assert_string_equal(cel_value_text(cel_value_get(cel_value_at(chain, 1), "task"), NULL),
                        "next");
    cel_value_free(message);
    plan_deinit(&plan);
}

static void a_group_becomes_a_chord_that_gathers(void **state)
{
    static const char *const cases[] = {
        GROUP_OF(TASK("one", "", "") "," TASK("two", "", ""), ""),
        GROUP_OF(TASK("one", "", ""), ""),
        CHORD_OF(TASK("zero", "", ""), GROUP_OF(TASK("one", "", "") "," TASK("two", "", ""), ""),
                 ""),
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan plan = PLAN_INIT;
        replace(cases[i], &plan);
        struct cel_value *message = open_message(str_of(plan.messages[0].text));
        const struct cel_value *body =
            cel_value_get(cel_value_at(cel_value_get(message, "body"), 2), "chord");
        if (i == 2)
            body = cel_value_get(cel_value_get(body, "kwargs"), "body");
        const struct cel_value *options = cel_value_get(body, "options");
        assert_string_equal(cel_value_text(cel_value_get(body, "task"), NULL), "celery.accumulate");
        assert_int_equal(cel_value_int(cel_value_get(cel_value_get(body, "kwargs"), "index"), -1),
                         0);
        assert_string_equal(cel_value_text(cel_value_get(options, "task_id"), NULL), "x");
        assert_string_equal(cel_value_text(cel_value_get(options, "group_id"), NULL), "g");
        assert_int_equal(cel_value_count(cel_value_get(options, "link")), 1);
        assert_int_equal(plan.chord_count, 1);
        cel_value_free(message);
        plan_deinit(&plan);
    }
}

static void an_empty_group_is_an_empty_list(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    replace(GROUP_OF("", ""), &plan);
    assert_int_equal(plan.message_count, 1);
    assert_int_equal(plan.chord_count, 0);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_string_equal(header_of(message, "task"), "\"celery.accumulate\"");
    assert_string_equal(header_of(message, "id"), "\"x\"");
    assert_memory_equal(body_of(message), "[[[]], {\"index\": 0}, ", 20);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void what_cannot_take_a_place_is_refused(void **state)
{
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    (void)state;
    assert_int_equal(change(canvas_replace, &envelope, EMBED, CHAIN_OF("", ""), &plan, &err),
                     CEL_E_CONFIG);
    assert_string_equal(err.text, "Cannot replace with an empty chain");
    assert_int_equal(change(canvas_replace, &envelope, EMBED,
                            TASK("n", "", "\"chord\": " TASK("b", "", "")), &plan, &err),
                     CEL_E_CONFIG);
    assert_string_equal(err.text, "A signature replacing a task must not be part of a chord");
    assert_int_equal(change(canvas_replace, &envelope, EMBED, "{}", &plan, &err), CEL_E_FORMAT);
    assert_true(plan_is_empty(&plan));
    plan_deinit(&plan);
}

static void a_chord_grows_by_what_is_added(void **state)
{
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    (void)state;
    assert_int_equal(change(canvas_add_to_chord, &envelope, EMBED,
                            TASK("new", "1", "\"task_id\": \"n\""), &plan, &err),
                     0);
    assert_int_equal(
        change(canvas_add_to_chord, &envelope, EMBED,
               CHORD_OF(TASK("h", "", "") "," TASK("h", "", ""), TASK("b", "", ""), ""), &plan,
               &err),
        0);
    assert_int_equal(plan.message_count, 3);
    assert_int_equal(plan.chord_count, 3);
    static const uint64_t growth[] = {1, 1, 0}, size[] = {0, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(plan.chords[i].growth, growth[i]);
        assert_int_equal(plan.chords[i].size, size[i]);
        assert_int_equal(str_equal(plan.chords[i].group, STR("g")), i < 2);
    }
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_string_equal(header_of(message, "id"), "\"n\"");
    assert_string_equal(header_of(message, "group"), "\"g\"");
    assert_string_equal(header_of(message, "group_index"), "2");
    assert_string_equal(header_of(message, "parent_id"), "\"x\"");
    assert_true(embedded(message, "chord") > 0);
    assert_int_equal(embedded(message, "chain"), 0);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void who_is_in_no_chord_cannot_add_to_it(void **state)
{
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    (void)state;
    assert_int_equal(change(canvas_add_to_chord, &envelope, "{\"chord\": null}",
                            TASK("new", "", ""), &plan, &err),
                     -EINVAL);
    assert_string_equal(err.text, "Current task is not member of any chord");
    assert_true(plan_is_empty(&plan));
    plan_deinit(&plan);
}

static void memory_that_runs_short_is_told(void **state)
{
    static change_fn *const changes[] = {canvas_replace, canvas_add_to_chord};
    struct cel_value *embed = read_json(EMBED);
    struct cel_value *signature = read_json(CHAIN_OF(
        TASK("one", "1", "") "," GROUP_OF(TASK("two", "", "") "," TASK("three", "", ""), ""), ""));
    struct canvas_sender sender = a_client();
    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(changes); k++) {
        int r = -ENOMEM;
        for (size_t n = 1; r == -ENOMEM; n++) {
            struct plan plan = PLAN_INIT;
            mem_fail_after(n);
            r = changes[k](&envelope, embed, signature, &sender, &plan, NULL);
            mem_fail_after(0);
            assert_true(r == 0 || (r == -ENOMEM && plan_is_empty(&plan)));
            plan_deinit(&plan);
        }
        assert_int_equal(r, 0);
    }
    cel_value_free(embed);
    cel_value_free(signature);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_takes_the_place_of_another),
        cmocka_unit_test(celery_replaces_in_the_same_way),
        cmocka_unit_test(a_chain_takes_the_place_of_a_task),
        cmocka_unit_test(a_group_becomes_a_chord_that_gathers),
        cmocka_unit_test(an_empty_group_is_an_empty_list),
        cmocka_unit_test(what_cannot_take_a_place_is_refused),
        cmocka_unit_test(a_chord_grows_by_what_is_added),
        cmocka_unit_test(who_is_in_no_chord_cannot_add_to_it),
        cmocka_unit_test(memory_that_runs_short_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
