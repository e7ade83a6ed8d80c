#include "canvas/join.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "published.h"

#define BODY(id, options) TASK("body", "", "\"task_id\": \"" id "\"" options)
#define MEMBER_OF(group, chord)                                                                    \
    ", \"group_id\": \"" group "\", \"group_index\": 3, \"chord\": " chord

/* An end in the chord "g", whose body is given, and what was read of it. */
struct end {
    struct cel_value *embed;
    struct envelope envelope;
    struct ended ended;
};

static struct end end_with(const char *body, const char *state, const char *result)
{
    char text[8192];
    snprintf(text, sizeof(text), "{\"chord\": %s}", body);
    struct end end = {.embed = read_json(text)};
    end.envelope = (struct envelope){.id = STR("x"),
                                     .task = STR("t"),
                                     .root_id = STR("r"),
                                     .group = STR("g"),
                                     .has_group_index = true,
                                     .group_index = 1};
    end.ended =
        (struct ended){.embed = end.embed, .state = str_of(state), .result_json = str_of(result)};
    return end;
}

#define PART(id, state, result) "[1, \"" id "\", \"" state "\", " result "]"
#define ERROR_OF(type, message)                                                                    \
    "{\"exc_type\": \"" type "\", \"exc_message\": " message ", \"exc_module\": \"builtins\"}"

struct read {
    struct plan_joined chords[4];
    struct str parts[4][8];
    size_t count;
};

static void add_read(struct read *read, const char *group, const char *first, const char *second)
{
    struct plan_joined *chord = &read->chords[read->count];
    struct str *parts = read->parts[read->count++];
    parts[0] = str_of(first);
    parts[1] = str_of(second);
    *chord =
        (struct plan_joined){.group = str_of(group), .parts = parts, .part_count = second ? 2 : 1};
}

static int
try_join(struct end *end, const struct read *read, struct plan *plan, struct cel_error *err)
{
    struct canvas_sender sender = a_client();
    end->ended.envelope = &end->envelope;
    return canvas_join(&end->ended, read->chords, read->count, &sender, plan, err);
}

static void join(struct end *end, const struct read *read, struct plan *plan)
{
    struct cel_error err = {0};
    if (try_join(end, read, plan, &err) < 0)
        fail_msg("%s", err.text);
    cel_value_free(end->embed);
}

static struct cel_value *document_of(const struct plan *plan, const char *id)
{
    for (size_t i = 0; i < plan->document_count; i++) {
        if (str_equal(plan->documents[i].id, str_of(id)))
            return read_json_str(plan->documents[i].text);
    }
    fail_msg("there is no document of %s", id);
    return NULL;
}

/* That `id` has ended as a ChordError that says so. */
static void assert_chord_error(const struct plan *plan, const char *id, const char *text)
{
    struct cel_value *document = document_of(plan, id);
    const struct cel_value *result = cel_value_get(document, "result");
    assert_string_equal(cel_value_text(cel_value_get(document, "status"), NULL), "FAILURE");
    assert_string_equal(cel_value_text(cel_value_get(result, "exc_type"), NULL), "ChordError");
    assert_string_equal(cel_value_text(cel_value_get(result, "exc_module"), NULL),
                        "celery.exceptions");
    assert_string_equal(cel_value_text(cel_value_at(cel_value_get(result, "exc_message"), 0), NULL),
                        text);
    cel_value_free(document);
}

static void assert_closed(const struct plan *plan, size_t i, const char *group, bool failed)
{
    assert_true(i < plan->closed_count);
    assert_true(str_equal(plan->closed[i].group, str_of(group)));
    assert_int_equal(plan->closed[i].failed, failed);
}

/* --- the body is sent ------------------------------------------------------------------------- */

static void the_body_gets_the_results_as_they_came(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(TASK("body", "7", "\"task_id\": \"b\", \"queue\": \"q\""), "SUCCESS",
                              "123456789012345678901234567890");
    (void)state;
    add_read(&read, "g",
             PART("w", "SUCCESS", "{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}"),
             PART("x", "SUCCESS", "123456789012345678901234567890"));
    join(&end, &read, &plan);
    assert_int_equal(plan.message_count, 1);
    assert_string_equal(plan.messages[0].queue, "q");
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const char expected[] = "[[[{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}, "
                            "123456789012345678901234567890], 7], {}, ";
    assert_memory_equal(body_of(message), expected, strlen(expected));
    assert_string_equal(header_of(message, "root_id"), "\"r\"");
    assert_string_equal(header_of(message, "parent_id"), "\"x\"");
    assert_closed(&plan, 0, "g", false);
    assert_int_equal(plan.document_count + plan.part_count, 0);
    assert_int_equal(plan.children.len, 0);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void a_nested_header_gives_nested_results(void **state)
{
    static const struct plan_document leaves[] = {
        {STR("w"), STR("{\"status\": \"SUCCESS\", \"result\": 0}")},
        {STR("d"), STR("{\"status\": \"SUCCESS\", \"result\": {\"from\": \"its document\"}}")},
    };
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(BODY("b", ""), "SUCCESS", "2");
    (void)state;
    add_read(&read, "g", PART("x", "SUCCESS", "2"), PART("w", "SUCCESS", "1"));
    read.chords[0].saved =
        STR("{\"result\": [[\"g\", null], [[[\"inner\", [[\"before\", null], null]], [[[\"w\", "
            "null], null], "
            "[[\"x\", null], null], [[\"e\", null], []]]], [[\"d\", null], null]]]}");
    read.chords[0].leaves = leaves;
    read.chords[0].leaf_count = 2;
    join(&end, &read, &plan);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const char expected[] = "[[[[1, 2, []], {\"from\": \"its document\"}]], {}, ";
    assert_memory_equal(body_of(message), expected, strlen(expected));
    cel_value_free(message);
    plan_deinit(&plan);
}

/* --- the body fails --------------------------------------------------------------------------- */

static void the_exception_is_told_as_python_writes_it(void **state)
{
    static const struct {
        const char *exception, *text;
    } cases[] = {
        {ERROR_OF("ValueError", "[\"boom\"]"), "ValueError('boom')"},
        {ERROR_OF("E", "[\"a\", 3, null]"), "E('a', 3, None)"},
        {ERROR_OF("E", "[]"), "E()"},
        {ERROR_OF("Outer.Inner", "[\"it's\"]"), "Inner(\\\"it's\\\")"},
        {ERROR_OF("E", "\"one text\""), "E('one text')"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan plan = PLAN_INIT;
        struct read read = {.count = 0};
        struct end end = end_with(BODY("b", ""), "FAILURE", cases[i].exception);
        char part[512], expected[512];
        snprintf(part, sizeof(part), "[1, \"x\", \"FAILURE\", %s]", cases[i].exception);
        snprintf(expected, sizeof(expected), "\"Dependency x raised %s\"", cases[i].text);
        struct cel_value *text = read_json(expected);
        add_read(&read, "g", PART("w", "SUCCESS", "1"), part);
        join(&end, &read, &plan);
        assert_chord_error(&plan, "b", cel_value_text(text, NULL));
        assert_closed(&plan, 0, "g", true);
        assert_int_equal(plan.message_count, 0);
        cel_value_free(text);
        plan_deinit(&plan);
    }
}

/* Whichever comes first in the header, though it did not end first. */
static void the_first_failure_of_the_header_counts(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(BODY("b", ""), "SUCCESS", "1");
    (void)state;
    add_read(&read, "g", PART("w", "REVOKED", ERROR_OF("TaskRevokedError", "[\"revoked\"]")),
             PART("x", "SUCCESS", "1"));
    join(&end, &read, &plan);
    assert_chord_error(&plan, "b", "Dependency w raised TaskRevokedError('revoked')");
    plan_deinit(&plan);
}

static void errbacks_of_the_body_get_its_id(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(BODY("b", ", \"link_error\": [" TASK("oops", "5", "") "]"), "FAILURE",
                              ERROR_OF("E", "[]"));
    (void)state;
    add_read(&read, "g", PART("x", "FAILURE", ERROR_OF("E", "[]")), NULL);
    join(&end, &read, &plan);
    assert_int_equal(plan.message_count, 1);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_memory_equal(body_of(message), "[[\"b\", 5], {}, ", 14);
    assert_string_equal(header_of(message, "root_id"), "\"b\"");
    assert_string_equal(header_of(message, "parent_id"), "\"b\"");
    /* its document tells of it */
    struct cel_value *document = document_of(&plan, "b");
    const struct cel_value *children = cel_value_get(document, "children");
    assert_int_equal(cel_value_count(children), 1);
    assert_int_equal(cel_value_count(cel_value_at(cel_value_at(children, 0), 1)), 1);
    assert_int_equal(plan.children.len, 0);
    cel_value_free(document);
    cel_value_free(message);
    plan_deinit(&plan);
}

/* Celery stores nothing at all here, and whoever waits for the chain waits for ever. */
static void a_body_chain_fails_as_a_whole(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end =
        end_with(CHAIN_OF(BODY("b1", "") "," CHORD_OF(BODY("h1", ""), BODY("b2", ""), "") "," BODY(
                              "b3", MEMBER_OF("outer", TASK("after", "", ""))),
                          "\"link_error\": [" TASK("oops", "", "") "]"),
                 "FAILURE", ERROR_OF("E", "[]"));
    (void)state;
    add_read(&read, "g", PART("x", "FAILURE", ERROR_OF("E", "[]")), NULL);
    join(&end, &read, &plan);
    for (size_t i = 0; i < 4; i++)
        assert_chord_error(&plan, ((const char *[]){"b1", "h1", "b2", "b3"})[i],
                           "Dependency x raised E()");
    assert_int_equal(plan.document_count, 4);
    assert_int_equal(plan.message_count, 1); /* one errback, with the id of the first */
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_memory_equal(body_of(message), "[[\"b1\"], ", 9);
    assert_int_equal(plan.part_count, 1);
    assert_true(str_equal(plan.parts[0].group, STR("outer")));
    assert_int_equal(plan.parts[0].index, 3);
    assert_true(str_starts(plan.parts[0].text,
                           STR("[1, \"b3\", \"FAILURE\", {\"exc_type\": \"ChordError\"")));
    cel_value_free(message);
    plan_deinit(&plan);
}

static void of_a_body_group_each_member_fails(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(
        GROUP_OF(BODY("b1", "") "," BODY("b2", ", \"link_error\": [" TASK("oops", "", "") "]"),
                 "\"task_id\": \"bg\", \"group_id\": \"outer\", \"chord\": " TASK("after", "", "")),
        "FAILURE", ERROR_OF("E", "[]"));
    (void)state;
    add_read(&read, "g", PART("x", "FAILURE", ERROR_OF("E", "[]")), NULL);
    join(&end, &read, &plan);
    assert_chord_error(&plan, "b1", "Dependency x raised E()");
    assert_chord_error(&plan, "b2", "Dependency x raised E()");
    assert_int_equal(plan.document_count, 2);
    assert_int_equal(plan.message_count, 1);
    assert_int_equal(plan.part_count, 2); /* they all are members of the outer chord */
    plan_deinit(&plan);
}

static void what_was_to_follow_the_body_fails_too(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with(
        BODY("b", ", \"chain\": [" BODY("last", MEMBER_OF("outer", TASK("after", "", ""))) "," BODY(
                      "next", "") "]"),
        "FAILURE", ERROR_OF("E", "[]"));
    (void)state;
    add_read(&read, "g", PART("x", "FAILURE", ERROR_OF("E", "[]")), NULL);
    join(&end, &read, &plan);
    assert_int_equal(plan.document_count, 3);
    assert_chord_error(&plan, "next", "Dependency x raised E()");
    assert_chord_error(&plan, "last", "Dependency x raised E()");
    assert_int_equal(plan.part_count, 1);
    plan_deinit(&plan);
}

/* The failure of the inner body completes the outer chord: it is told in the next round. */
static void a_chord_in_a_chord_fails_outwards(void **state)
{
    struct plan first = PLAN_INIT, second = PLAN_INIT;
    struct read read = {.count = 0};
    const char *body =
        BODY("b", MEMBER_OF("outer", BODY("ob", ", \"link_error\": [" TASK("oops", "", "") "]")));
    struct end end = end_with(body, "FAILURE", ERROR_OF("E", "[]"));
    struct cel_error err = {0};
    (void)state;
    add_read(&read, "g", PART("x", "FAILURE", ERROR_OF("E", "[]")), NULL);
    assert_int_equal(try_join(&end, &read, &first, &err), 0);
    assert_int_equal(first.document_count, 1);
    assert_int_equal(first.part_count, 1);
    add_read(&read, "outer", PART("y", "SUCCESS", "1"), first.parts[0].text.ptr);
    join(&end, &read, &second);
    assert_chord_error(&second, "b", "Dependency x raised E()");
    assert_chord_error(&second, "ob", "Dependency b raised ChordError('Dependency x raised E()')");
    assert_closed(&second, 0, "g", true);
    assert_closed(&second, 1, "outer", true);
    assert_int_equal(second.message_count, 1);
    assert_int_equal(second.part_count, 1);
    plan_deinit(&first);
    plan_deinit(&second);
}

static void what_cannot_be_joined_fails(void **state)
{
    static const struct {
        const char *part, *saved, *words;
    } cases[] = {
        {"nonsense", NULL, "Join error: a part cannot be read"},
        {"[1, \"x\"]", NULL, "Join error: a part is not [1, id, state, result]"},
        {PART("x", "SUCCESS", "1"), "{\"result\": 5}",
         "Join error: the saved header cannot be read"},
        {PART("x", "SUCCESS", "1"), "{\"result\": [[\"x\", null], null]}",
         "Join error: the saved header is no group"},
        {PART("x", "SUCCESS", "1"), "{\"result\": [[\"g\", null], [[[\"z\", null], null]]]}",
         "Join error: there is no result of z"},
        {PART("x", "SUCCESS", "{\"__type__\": \"odd\", \"__value__\": 1}"), NULL,
         "Callback error: "},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan plan = PLAN_INIT;
        struct read read = {.count = 0};
        struct end end = end_with(BODY("b", ""), "SUCCESS", "1");
        add_read(&read, "g", cases[i].part, NULL);
        read.chords[0].saved = str_of(cases[i].saved);
        join(&end, &read, &plan);
        struct cel_value *document = document_of(&plan, "b");
        const struct cel_value *result = cel_value_get(document, "result");
        const char *text =
            cel_value_text(cel_value_at(cel_value_get(result, "exc_message"), 0), NULL);
        if (strncmp(text, cases[i].words, strlen(cases[i].words)) != 0)
            fail_msg("\"%s\" is not \"%s\"", text, cases[i].words);
        assert_closed(&plan, 0, "g", true);
        assert_int_equal(plan.message_count, 0);
        cel_value_free(document);
        plan_deinit(&plan);
    }
}

static void a_body_that_is_none_closes_its_chord(void **state)
{
    struct plan plan = PLAN_INIT;
    struct read read = {.count = 0};
    struct end end = end_with("{\"args\": 5}", "SUCCESS", "1");
    (void)state;
    add_read(&read, "g", PART("x", "SUCCESS", "1"), NULL);
    add_read(&read, "not ours", PART("x", "SUCCESS", "1"), NULL);
    join(&end, &read, &plan);
    assert_int_equal(plan.closed_count, 1);
    assert_closed(&plan, 0, "g", true);
    plan_deinit(&plan);
}

static void memory_that_runs_short_is_told(void **state)
{
    struct read read = {.count = 0};
    (void)state;
    add_read(&read, "g", PART("w", "FAILURE", ERROR_OF("E", "[1, 2]")), PART("x", "SUCCESS", "1"));
    struct end end = end_with(
        CHAIN_OF(BODY("b1", ", \"link_error\": [" TASK("oops", "", "") "]") "," BODY("b2", ""), ""),
        "SUCCESS", "1");
    int r = -ENOMEM;
    for (size_t n = 1; r == -ENOMEM; n++) {
        struct plan plan = PLAN_INIT;
        struct cel_error err = {0};
        mem_fail_after(n);
        r = try_join(&end, &read, &plan, &err);
        mem_fail_after(0);
        if (r < 0)
            assert_true(r == -ENOMEM && plan_is_empty(&plan));
        else
            assert_int_equal(plan.document_count, 2);
        plan_deinit(&plan);
    }
    assert_int_equal(r, 0);
    cel_value_free(end.embed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_body_gets_the_results_as_they_came),
        cmocka_unit_test(a_nested_header_gives_nested_results),
        cmocka_unit_test(the_exception_is_told_as_python_writes_it),
        cmocka_unit_test(the_first_failure_of_the_header_counts),
        cmocka_unit_test(errbacks_of_the_body_get_its_id),
        cmocka_unit_test(a_body_chain_fails_as_a_whole),
        cmocka_unit_test(of_a_body_group_each_member_fails),
        cmocka_unit_test(what_was_to_follow_the_body_fails_too),
        cmocka_unit_test(a_chord_in_a_chord_fails_outwards),
        cmocka_unit_test(what_cannot_be_joined_fails),
        cmocka_unit_test(a_body_that_is_none_closes_its_chord),
        cmocka_unit_test(memory_that_runs_short_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
