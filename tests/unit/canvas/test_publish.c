#include "canvas/publish.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "published.h"

#define ADD(args, n)   TASK("wire.add", args, WITH_ID(n, 0000))
#define TSUM(n)        TASK("wire.tsum", "", WITH_ID(n, 0000))
#define IDENT(args, n) TASK("wire.ident", args, WITH_ID(n, 0000))
#define ERRBACK        TASK("wire.errback_old", "", "")

static struct str open_chord_of(const struct plan *plan, size_t i, uint64_t size)
{
    assert_true(i < plan->chord_count);
    assert_int_equal(plan->chords[i].size, size);
    assert_int_equal(plan->chords[i].growth, 0);
    return plan->chords[i].group;
}

/* Publishes and compares with a recorded vector. */
static void check_vector(const char *signature, const char *name)
{
    struct plan plan = PLAN_INIT;
    publish(signature, &plan, NULL);
    assert_published(&plan, name);
    plan_deinit(&plan);
}

/* --- as Celery publishes ---------------------------------------------------------------------- */

static void a_chain_is_published_as_celery_does(void **state)
{
    (void)state;
    check_vector(CHAIN_OF(ADD("1, 2", 1) "," ADD("4", 2) "," TASK(
                              "wire.ident", "", WITH_ID(3, 0000) ", \"queue\": \"slow\""),
                          ""),
                 "q-526-chain3");
}

static void links_of_a_chain_go_to_its_last_and_errbacks_to_each(void **state)
{
    (void)state;
    check_vector(CHAIN_OF(ADD("1, 2", 1) "," ADD("4", 2) "," IDENT("", 3),
                          "\"link\": [" TASK("wire.none", "", "") "], \"link_error\": [" ERRBACK
                                                                  "]"),
                 "q-526-chain3-link-error");
}

static void a_task_is_published_with_its_links(void **state)
{
    (void)state;
    check_vector(TASK("wire.add", "1, 2",
                      WITH_ID(1, 0000) ", \"link\": " IDENT("", 2) ", \"link_error\": [" ERRBACK
                                                                   ", " TASK("wire.errback_new", "",
                                                                             "") "]"),
                 "q-526-link");
}

static void a_chord_is_published_as_celery_does(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(ADD("1, 2", 1) "," ADD("3, 4", 2), TSUM(3), ""), &plan, NULL);
    assert_published(&plan, "q-526-chord2");
    assert_int_equal(plan.chord_count, 1);
    struct str group = open_chord_of(&plan, 0, 2);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_true(
        str_equal(value_str(cel_value_get(cel_value_get(message, "headers"), "group")), group));
    assert_null(plan.chords[0].saved.ptr);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void in_a_chain_of_a_header_the_last_is_the_member(void **state)
{
    (void)state;
    check_vector(
        CHORD_OF(CHAIN_OF(ADD("1, 2", 1) "," ADD("10", 2), "") "," ADD("3, 4", 3), TSUM(4), ""),
        "q-526-chord-chain-header");
}

static void of_a_chord_in_a_header_the_body_is_the_member(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(CHORD_OF(ADD("1, 1", 1) "," ADD("2, 2", 2), TSUM(3), "") "," ADD("3, 3", 4),
                     IDENT("", 5), ""),
            &plan, NULL);
    assert_published(&plan, "q-526-chord-chord-header");
    assert_int_equal(plan.chord_count, 2);
    open_chord_of(&plan, 0, 2);
    open_chord_of(&plan, 1, 2);
    plan_deinit(&plan);
}

/* Celery counts the members of a nested group backwards: b 0, a 1, c 2. Here they keep their order. */
static void groups_in_a_header_are_flattened_in_their_order(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(GROUP_OF(IDENT("\"a\"", 1) "," IDENT("\"b\"", 2), "") "," IDENT("\"c\"", 3),
                     IDENT("", 4), ""),
            &plan, NULL);
    open_chord_of(&plan, 0, 3);
    struct cel_value *found = plan_messages(&plan),
                     *celery = vector_messages("q-526-nested-group-chord");
    const struct cel_value *order[] = {cel_value_at(celery, 1), cel_value_at(celery, 0),
                                       cel_value_at(celery, 2)};
    struct cel_value *expected = cel_list();
    for (size_t i = 0; i < 3; i++) {
        struct cel_value *message = cel_value_dup(order[i]);
        struct cel_value *headers = (struct cel_value *)cel_value_get(message, "headers");
        assert_int_equal(cel_map_set(headers, "group_index", cel_int((int64_t)i)), 0);
        assert_int_equal(cel_list_add(expected, message), 0);
    }
    anonymize(found);
    anonymize(expected);
    assert_same_value(found, expected);
    cel_value_free(found);
    cel_value_free(celery);
    cel_value_free(expected);
    plan_deinit(&plan);
}

static void a_group_that_something_follows_is_a_chord(void **state)
{
    (void)state;
    check_vector(
        CHAIN_OF(ADD("1, 1", 1) "," GROUP_OF(ADD("2", 2) "," ADD("3", 3), "") "," TSUM(4), ""),
        "q-526-chain-group-task");
    check_vector(
        CHAIN_OF(ADD("1, 1", 1) "," GROUP_OF(ADD("2", 2) "," ADD("3", 3), "") "," TSUM(4), ""),
        "q-563-chain-group-task");
}

/* The client makes the chord's body a chain before it is published: (tsum | ident). */
static void a_chord_within_a_chain_goes_along_as_it_is(void **state)
{
    (void)state;
    check_vector(CHAIN_OF(ADD("1, 1", 1) "," CHORD_OF(ADD("2", 2) "," ADD("3", 3),
                                                      CHAIN_OF(TSUM(4) "," IDENT("", 5), ""), ""),
                          ""),
                 "q-526-chain-in-chord-in-chain");
}

static void the_body_of_a_chord_without_header_is_published_at_once(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF("", TSUM(3), ""), &plan, NULL);
    assert_published(&plan, "q-526-chord-empty");
    assert_int_equal(plan.chord_count, 0);
    plan_deinit(&plan);
}

/* From Celery 5.6 on the members of a plain group are counted too; 5.2 leaves group_index null. */
static void a_group_is_published_as_celery_does(void **state)
{
    const char *group =
        GROUP_OF(ADD("1, 2", 1) "," ADD("3, 4", 2), "\"task_id\": \"" ID(9, 0000) "\"");
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(group, &plan, NULL);
    assert_published(&plan, "q-563-group2");
    plan_deinit(&plan);
}

/* Celery 5.6 also puts the header's group_id among the body's options, where nothing reads it. */
static void a_chord_of_celery_5_6_is_the_same(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(ADD("1, 2", 1) "," ADD("3, 4", 2), TSUM(3), ""), &plan, NULL);
    struct cel_value *found = plan_messages(&plan), *expected = vector_messages("q-563-chord2");
    for (size_t i = 0; i < 2; i++) {
        const struct cel_value *message = cel_value_at(expected, i);
        const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
        struct cel_value *options =
            (struct cel_value *)cel_value_get(cel_value_get(embed, "chord"), "options");
        cel_value_free(value_take(options, STR("group_id")));
    }
    anonymize(found);
    anonymize(expected);
    assert_same_value(found, expected);
    cel_value_free(found);
    cel_value_free(expected);
    plan_deinit(&plan);
}

static void stamps_go_into_the_headers(void **state)
{
    (void)state;
    check_vector(
        CHAIN_OF(
            TASK("wire.add", "1, 2",
                 WITH_ID(1, 0000) ", \"tenant\": \"t1\", \"stamped_headers\": "
                                  "[\"tenant\"]") "," TASK("wire.add", "3",
                                                           WITH_ID(2, 0000) ", \"tenant\": "
                                                                            "\"t1\", "
                                                                            "\"stamped_headers\":"
                                                                            " [\"tenant\"]"),
            ""),
        "q-563-stamp-kw");
    check_vector(TASK("wire.add", "1, 2",
                      WITH_ID(1, 0000) ", \"trace\": \"abc\", \"stamped_headers\": [\"trace\"]"),
                 "q-563-stamped");
}

static void options_of_a_chain_are_its_firsts(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(
        CHAIN_OF(
            "{\"task\": \"wire.echo\", \"args\": [1], \"kwargs\": {\"a\": 2}, \"options\": "
            "{" WITH_ID(
                1, 0000) "}},"
                         "{\"task\": \"wire.ident\", \"args\": [\"im\"], \"options\": {" WITH_ID(
                             2, 0000) "}, \"immutable\": true}",
            "\"countdown\": 5"),
        &plan, NULL);
    struct cel_value *found = plan_messages(&plan),
                     *expected = vector_messages("q-526-chain-kwargs");
    assert_string_equal(header_of((struct cel_value *)cel_value_at(found, 0), "eta"),
                        "\"2030-01-01T00:00:05+00:00\"");
    for (size_t i = 0; i < 2; i++) {
        const struct cel_value *message = cel_value_at(i ? expected : found, 0);
        cel_value_free(
            value_take((struct cel_value *)cel_value_get(message, "headers"), STR("eta")));
    }
    anonymize(found);
    anonymize(expected);
    assert_same_value(found, expected);
    cel_value_free(found);
    cel_value_free(expected);
    plan_deinit(&plan);
}

/* --- what is passed on ------------------------------------------------------------------------ */

/* Publishes `signature` within a worker's task, with `pre` before its arguments. */
static void publish_with(const char *signature, const char *pre, struct plan *plan)
{
    struct cel_value *value = read_json(signature), *first = read_json(pre);
    const struct cel_value *before[] = {first};
    struct canvas_sender sender = a_client();
    struct cel_error err = {0};
    sender.root_id = STR("root");
    sender.parent_id = STR("parent");
    if (canvas_publish(value, before, 1, &sender, plan, NULL, &err) < 0)
        fail_msg("%s", err.text);
    cel_value_free(value);
    cel_value_free(first);
}

static void arguments_come_first_unless_immutable(void **state)
{
    static const struct {
        const char *signature, *args[3];
    } cases[] = {
        {TASK("t", "1", ""), {"[\"r\",1]"}},
        {"{\"task\": \"t\", \"args\": [1], \"immutable\": true}", {"[1]"}},
        {CHAIN_OF(TASK("t", "1", "") "," TASK("u", "2", ""), ""), {"[\"r\",1]"}},
        {GROUP_OF(TASK("t", "1", "") "," TASK("u", "2", ""), ""), {"[\"r\",1]", "[\"r\",2]"}},
        {CHORD_OF(TASK("t", "1", "") "," TASK("u", "2", ""), TASK("b", "", ""), ""),
         {"[\"r\",1]", "[\"r\",2]"}},
        {"{\"task\": \"celery.map\", \"kwargs\": {\"task\": " TASK(
             "t", "", "") ", \"it\": [1, 2]}, "
                          "\"subtask_type\": \"xmap\"}",
         {"[]"}},
        {"{\"task\": \"celery.chain\", \"args\": [7], \"kwargs\": {\"tasks\": [" TASK(
             "t", "1", "") ", " TASK("u", "", "") "]}, \"subtask_type\": \"chain\"}",
         {"[\"r\",7,1]"}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plan plan = PLAN_INIT;
        publish_with(cases[i].signature, "\"r\"", &plan);
        for (size_t k = 0; k < 3 && cases[i].args[k]; k++) {
            struct cel_value *message = open_message(str_of(plan.messages[k].text));
            char *args = cel_value_to_json(cel_value_at(cel_value_get(message, "body"), 0)),
                 plain[64];
            size_t at = 0;
            for (const char *c = args; *c; c++) {
                if (*c != ' ')
                    plain[at++] = *c;
            }
            plain[at] = '\0';
            assert_string_equal(plain, cases[i].args[k]);
            assert_string_equal(header_of(message, "root_id"), "\"root\"");
            assert_string_equal(header_of(message, "parent_id"), "\"parent\"");
            free(args);
            cel_value_free(message);
        }
        plan_deinit(&plan);
    }
}

static void values_are_passed_on_unchanged(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish_with(
        TASK("t", "", ""),
        "[123456789012345678901234567890, {\"__type__\": \"uuid\", \"__value__\": {\"hex\": "
        "\"00000000000000000000000000000005\"}}, 1.0, -0.0, NaN]",
        &plan);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    char expected[] = "[[[123456789012345678901234567890, {\"__type__\": \"uuid\", \"__value__\": "
                      "{\"hex\": \"00000000000000000000000000000005\"}}, 1.0, -0.0, NaN]], {}, ";
    assert_memory_equal(body_of(message), expected, strlen(expected));
    cel_value_free(message);
    plan_deinit(&plan);
}

static void options_are_honoured(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(
        TASK("t", "1",
             "\"task_id\": \"x\", \"queue\": {\"name\": \"q1\"}, \"priority\": 7, \"eta\": "
             "\"2031-01-01T00:00:00+00:00\", \"expires\": 60.5, \"time_limit\": 10, "
             "\"soft_time_limit\": 2.5, \"retries\": 2, \"shadow\": \"nice\", \"headers\": {\"a\": "
             "[1], \"id\": \"no\"}, \"ignore_result\": true, \"replaced_task_nesting\": 3, "
             "\"reply_to\": \"there\", \"root_id\": \"r\", \"parent_id\": \"p\", \"group_id\": "
             "\"g\", "
             "\"group_index\": 4, \"unknown\": {\"x\": 1}, \"link\": null, \"compression\": "
             "\"zlib\", "
             "\"exchange\": \"e\""),
        &plan, NULL);
    assert_string_equal(plan.messages[0].queue, "q1");
    assert_string_equal(plan.messages[0].id, "x");
    assert_int_equal(plan.messages[0].step, 6);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    static const char *const headers[][2] = {
        {"id", "\"x\""},
        {"eta", "\"2031-01-01T00:00:00+00:00\""},
        {"expires", "\"2030-01-01T00:01:00.500000+00:00\""},
        {"timelimit", "[10, 2.5]"},
        {"retries", "2"},
        {"shadow", "\"nice\""},
        {"a", "[1]"},
        {"ignore_result", "true"},
        {"replaced_task_nesting", "3"},
        {"root_id", "\"r\""},
        {"parent_id", "\"p\""},
        {"group", "\"g\""},
        {"group_index", "4"},
        {"compression", "\"application/x-gzip\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
        assert_string_equal(header_of(message, headers[i][0]), headers[i][1]);
    const struct cel_value *properties = cel_value_get(message, "properties");
    assert_string_equal(cel_value_text(cel_value_get(properties, "reply_to"), NULL), "there");
    assert_int_equal(cel_value_int(cel_value_get(properties, "priority"), -1), 7);
    cel_value_free(message);
    plan_deinit(&plan);
}

static void msgpack_is_written_where_it_is_asked_for(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(TASK("t", "1", "\"serializer\": \"msgpack\""), &plan, NULL);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    assert_string_equal(cel_value_text(cel_value_get(message, "content-type"), NULL),
                        "application/x-msgpack");
    cel_value_free(message);
    plan_deinit(&plan);
}

static struct str slow_for_u(void *data, struct str task)
{
    (void)data;
    return str_equal(task, STR("u")) ? STR("slow") : STR_NONE;
}

static void a_task_goes_to_its_own_queue(void **state)
{
    struct plan plan = PLAN_INIT;
    struct canvas_sender sender = a_client();
    struct cel_value *group = read_json(GROUP_OF(
        TASK("t", "", "") "," TASK("u", "", "") "," TASK(
            "u", "",
            "\"queue\": \"own\"") ","
                                  "{\"task\": \"celery.starmap\", \"kwargs\": {\"task\": " TASK(
                                      "u", "", "") ", \"it\": []}, "
                                                   "\"subtask_type\": \"xstarmap\"}",
        ""));
    (void)state;
    sender.queue_of = slow_for_u;
    assert_int_equal(canvas_publish(group, NULL, 0, &sender, &plan, NULL, NULL), 0);
    assert_string_equal(plan.messages[0].queue, "celery");
    assert_string_equal(plan.messages[1].queue, "slow");
    assert_string_equal(plan.messages[2].queue, "own");
    assert_string_equal(plan.messages[3].queue, "slow");
    cel_value_free(group);
    plan_deinit(&plan);
}

/* --- shapes ----------------------------------------------------------------------------------- */

static void chunks_are_a_group_of_starmaps(void **state)
{
    struct plan plan = PLAN_INIT;
    CLEANUP(buf_deinit) struct buf handle = BUF_INIT(4096);
    (void)state;
    publish("{\"task\": \"celery.chunks\", \"args\": [], \"kwargs\": {\"task\": " TASK(
                "t", "", "") ", \"it\": [[1], [2], [3]], \"n\": 2}, \"options\": {\"queue\": "
                             "\"q\"}, \"subtask_type\": "
                             "\"chunks\", \"immutable\": true}",
            &plan, &handle);
    assert_int_equal(plan.message_count, 2);
    struct cel_value *last = open_message(str_of(plan.messages[1].text));
    assert_string_equal(header_of(last, "task"), "\"celery.starmap\"");
    assert_string_equal(header_of(last, "group_index"), "1");
    const struct cel_value *kwargs = cel_value_at(cel_value_get(last, "body"), 1);
    assert_int_equal(cel_value_count(cel_value_get(kwargs, "it")), 1);
    assert_string_equal(plan.messages[1].queue, "q");
    cel_value_free(last);
    plan_deinit(&plan);
}

static void a_nested_header_is_saved(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(CHAIN_OF(IDENT("1", 1) "," GROUP_OF(IDENT("", 2) "," IDENT("", 3),
                                                         "\"task_id\": \"inner\""),
                              "") "," IDENT("", 4),
                     TSUM(5), ""),
            &plan, NULL);
    struct str group = open_chord_of(&plan, 0, 3);
    char expected[1024];
    snprintf(expected, sizeof(expected),
             "{\"result\": [[\"" STR_FORMAT "\", null], [[[\"inner\", [[\"" ID(
                 1, 0000) "\", null], null]], "
                          "[[[\"" ID(2, 0000) "\", null], null], [[\"" ID(
                              3, 0000) "\", null], null]]], [[\"" ID(4, 0000) "\", null], null]]]}",
             STR_ARGS(group));
    assert_string_equal(plan.chords[0].saved.ptr, expected);
    plan_deinit(&plan);
}

/* As a chord's body is, when the chord stood in a chain: its rest, backwards, is its option. A worker of Celery's
 * that runs its last task looks at the rest of the message alone. */
static void what_follows_a_chain_stands_in_the_rest_of_its_message(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(
        CHAIN_OF(IDENT("1", 1) "," IDENT("", 2), "\"chain\": [" IDENT("", 4) "," IDENT("", 3) "]"),
        &plan, NULL);
    assert_int_equal(plan.message_count, 1);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
    const struct cel_value *rest = cel_value_get(embed, "chain");
    static const char *const ids[] = {ID(4, 0000), ID(3, 0000), ID(2, 0000)};
    assert_int_equal(cel_value_count(rest), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct cel_value *options = cel_value_get(cel_value_at(rest, i), "options");
        assert_string_equal(cel_value_text(cel_value_get(options, "task_id"), NULL), ids[i]);
        assert_null(cel_value_get(options, "chain"));
    }
    cel_value_free(message);
    plan_deinit(&plan);
}

/* Its members are members of the chord that the chain is in, all at its place. */
static void a_group_at_the_end_of_a_chain_of_a_header_has_its_members_in_the_chord(void **state)
{
    struct plan plan = PLAN_INIT, next = PLAN_INIT;
    (void)state;
    publish(CHORD_OF(CHAIN_OF(IDENT("1", 1) "," GROUP_OF(IDENT("", 2) "," IDENT("", 3), ""),
                              "") "," IDENT("", 4),
                     TSUM(5), ""),
            &plan, NULL);
    struct str group = plan.chords[0].group;
    struct cel_value *first = open_message(str_of(plan.messages[0].text));
    const struct cel_value *chain =
        cel_value_get(cel_value_at(cel_value_get(first, "body"), 2), "chain");
    char *signature = cel_value_to_json(cel_value_at(chain, 0));
    publish_with(signature, "1", &next);
    assert_int_equal(next.message_count, 2);
    for (size_t i = 0; i < 2; i++) {
        struct cel_value *message = open_message(str_of(next.messages[i].text));
        const struct cel_value *headers = cel_value_get(message, "headers");
        assert_true(str_equal(value_str(cel_value_get(headers, "group")), group));
        assert_int_equal(cel_value_int(cel_value_get(headers, "group_index"), -1), 0);
        const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
        assert_string_equal(
            cel_value_text(cel_value_get(cel_value_get(embed, "chord"), "task"), NULL),
            "wire.tsum");
        cel_value_free(message);
    }
    free(signature);
    cel_value_free(first);
    plan_deinit(&plan);
    plan_deinit(&next);
}

static void a_group_of_one_in_a_chain_is_that_one(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHAIN_OF(GROUP_OF(ADD("1, 2", 1), "") "," ADD("3", 2), ""), &plan, NULL);
    assert_int_equal(plan.message_count, 1);
    assert_int_equal(plan.chord_count, 0);
    assert_string_equal(plan.messages[0].id, ID(1, 0000));
    plan_deinit(&plan);
}

static void groups_after_groups_are_chords_in_chords(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHAIN_OF(GROUP_OF(ADD("1", 1) "," ADD("1", 2),
                              "") "," GROUP_OF(ADD("", 3) "," ADD("", 4), "") "," TSUM(5),
                     ""),
            &plan, NULL);
    assert_int_equal(plan.message_count, 2);
    open_chord_of(&plan, 0, 2);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
    assert_string_equal(
        cel_value_text(cel_value_get(cel_value_get(embed, "chord"), "subtask_type"), NULL),
        "chord");
    cel_value_free(message);
    plan_deinit(&plan);
}

static void what_follows_a_chord_follows_its_body(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHAIN_OF(CHORD_OF(ADD("1, 1", 1) "," ADD("2, 2", 2), TSUM(3),
                              "") "," IDENT("", 4) "," IDENT("", 5),
                     ""),
            &plan, NULL);
    struct cel_value *message = open_message(str_of(plan.messages[0].text));
    const struct cel_value *embed = cel_value_at(cel_value_get(message, "body"), 2);
    assert_int_equal(cel_value_type(cel_value_get(embed, "chain")), CEL_NULL);
    const struct cel_value *options = cel_value_get(cel_value_get(embed, "chord"), "options");
    const struct cel_value *chain = cel_value_get(options, "chain");
    assert_int_equal(cel_value_count(chain), 2);
    const struct cel_value *next = cel_value_get(cel_value_at(chain, 1), "options");
    assert_string_equal(cel_value_text(cel_value_get(next, "task_id"), NULL), ID(4, 0000));
    cel_value_free(message);
    plan_deinit(&plan);
}

static void children_are_what_was_sent_first(void **state)
{
    struct plan plan = PLAN_INIT;
    (void)state;
    publish(CHAIN_OF(ADD("1, 1", 1) "," ADD("1", 2), ""), &plan, NULL);
    publish(CHORD_OF(ADD("1, 1", 3) "," ADD("1", 4), TSUM(5), ""), &plan, NULL);
    publish(CHORD_OF("", TSUM(6), ""), &plan, NULL);
    char expected[1024];
    snprintf(
        expected, sizeof(expected),
        "[[\"" ID(1, 0000) "\", null], null], [[\"" STR_FORMAT
                           "\", null], [[[\"" ID(3, 0000) "\", null], null], [[\"" ID(
                               4, 0000) "\", null], null]]], [[\"" ID(6, 0000) "\", null], null]",
        STR_ARGS(plan.chords[0].group));
    assert_string_equal(plan.children.ptr, expected);
    plan_deinit(&plan);
}

/* --- what cannot be sent ---------------------------------------------------------------------- */

static void refused(const char *text, int code, const char *words)
{
    struct cel_value *signature = read_json(text);
    struct canvas_sender sender = a_client();
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    assert_int_equal(canvas_publish(signature, NULL, 0, &sender, &plan, NULL, &err), code);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_true(plan_is_empty(&plan));
    assert_int_equal(plan.children.len, 0);
    cel_value_free(signature);
    plan_deinit(&plan);
}

static void what_is_no_signature_is_refused_with_its_place(void **state)
{
    (void)state;
    refused("[]", CEL_E_FORMAT, "A signature is an object, not list");
    refused("{}", CEL_E_FORMAT, "A signature has no task");
    refused(CHAIN_OF(TASK("t", "", "") ", 3", ""), CEL_E_FORMAT, "In tasks[1] of the canvas");
    refused(CHORD_OF(TASK("t", "", "") ", {\"task\": \"u\", \"args\": 5}", TASK("b", "", ""), ""),
            CEL_E_FORMAT, "In header[1] of the canvas: The args");
    refused(TASK("t", "", "\"link\": [" TASK("u", "", "\"link_error\": 7") "]"), CEL_E_FORMAT,
            "In link[0] of the canvas: The option link_error");
    refused(CHAIN_OF("", ""), -EINVAL, "A chain without tasks");
    refused(TASK("t", "", "\"serializer\": \"pickle\""), CEL_E_UNSUPPORTED,
            "pickle is not supported");
    refused(TASK("t", "", "\"eta\": \"soon\""), CEL_E_FORMAT, "eta is no time: soon");
    refused(TASK("t", "", "\"queue\": \"\""), -EINVAL, "The name of a queue");
    /* the second of two fails: neither is sent */
    refused(GROUP_OF(TASK("t", "", "") "," TASK("u", "", "\"expires\": \"x\""), ""), CEL_E_FORMAT,
            "The task u: The option expires");
    refused("{\"task\": \"celery.chunks\", \"kwargs\": {\"task\": " TASK(
                "t", "", "") ", \"it\": [], \"n\": 0}, \"subtask_type\": \"chunks\"}",
            CEL_E_FORMAT, "The length of chunks");
}

static void a_canvas_has_limits(void **state)
{
    struct cel_value *tasks = cel_list(), *group = read_json(GROUP_OF("", ""));
    struct cel_value *task = read_json(TASK("t", "", ""));
    struct canvas_sender sender = a_client();
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    (void)state;
    for (size_t i = 0; i <= PLAN_MESSAGES_MAX; i++)
        assert_int_equal(cel_list_add(tasks, cel_value_dup(task)), 0);
    struct cel_value *kwargs = (struct cel_value *)cel_value_get(group, "kwargs");
    assert_int_equal(cel_map_set(kwargs, "tasks", tasks), 0);
    assert_int_equal(canvas_publish(group, NULL, 0, &sender, &plan, NULL, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "at most 100000 signatures"));
    cel_value_free(group);

    struct cel_value *deep = cel_value_dup(task);
    for (int i = 0; i < 70; i++) { /* a chord in the body of a chord in the body ... */
        struct cel_value *chord = read_json(CHORD_OF(TASK("t", "", ""), TASK("b", "", ""), ""));
        kwargs = (struct cel_value *)cel_value_get(chord, "kwargs");
        assert_int_equal(cel_map_set(kwargs, "body", deep), 0);
        deep = chord;
    }
    assert_int_equal(canvas_publish(deep, NULL, 0, &sender, &plan, NULL, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "at most 64 signatures deep"));
    cel_value_free(deep);

    struct cel_value *list = cel_list();
    for (int i = 0; i < 250; i++) { /* an argument */
        struct cel_value *around = cel_list();
        assert_int_equal(cel_list_add(around, list), 0);
        list = around;
    }
    deep = cel_value_dup(task);
    assert_int_equal(cel_map_set(deep, "args", list), 0);
    assert_int_equal(canvas_publish(deep, NULL, 0, &sender, &plan, NULL, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "nested too deep"));
    assert_true(plan_is_empty(&plan));
    cel_value_free(deep);
    cel_value_free(task);
    plan_deinit(&plan);
}

static void memory_that_runs_short_is_told(void **state)
{
    struct cel_value *signature = read_json(
        CHAIN_OF(ADD("1", 1) "," GROUP_OF(
                     CHAIN_OF(ADD("2", 2) "," ADD("3", 3), "") "," ADD("4", 4),
                     "") "," CHORD_OF(ADD("5", 5) "," GROUP_OF(ADD("6", 6) "," ADD("7", 7), ""),
                                      TSUM(8), ""),
                 "\"link\": [" TASK("l", "", "") "], \"link_error\": [" ERRBACK
                                                 "], \"headers\": {\"a\": 1}"));
    struct canvas_sender sender = a_client();
    int r = -ENOMEM;
    (void)state;
    for (size_t n = 1; r == -ENOMEM; n++) {
        struct plan plan = PLAN_INIT;
        struct buf handle = BUF_INIT(65536);
        struct cel_error err = {0};
        mem_fail_after(n);
        r = canvas_publish(signature, NULL, 0, &sender, &plan, &handle, &err);
        mem_fail_after(0);
        assert_int_equal(err.code, r);
        if (r < 0)
            assert_int_equal(r, -ENOMEM);
        buf_deinit(&handle);
        plan_deinit(&plan);
    }
    assert_int_equal(r, 0);
    cel_value_free(signature);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_published_as_celery_does),
        cmocka_unit_test(links_of_a_chain_go_to_its_last_and_errbacks_to_each),
        cmocka_unit_test(a_task_is_published_with_its_links),
        cmocka_unit_test(a_chord_is_published_as_celery_does),
        cmocka_unit_test(in_a_chain_of_a_header_the_last_is_the_member),
        cmocka_unit_test(of_a_chord_in_a_header_the_body_is_the_member),
        cmocka_unit_test(groups_in_a_header_are_flattened_in_their_order),
        cmocka_unit_test(a_group_that_something_follows_is_a_chord),
        cmocka_unit_test(a_chord_within_a_chain_goes_along_as_it_is),
        cmocka_unit_test(the_body_of_a_chord_without_header_is_published_at_once),
        cmocka_unit_test(a_group_is_published_as_celery_does),
        cmocka_unit_test(a_chord_of_celery_5_6_is_the_same),
        cmocka_unit_test(stamps_go_into_the_headers),
        cmocka_unit_test(options_of_a_chain_are_its_firsts),
        cmocka_unit_test(arguments_come_first_unless_immutable),
        cmocka_unit_test(values_are_passed_on_unchanged),
        cmocka_unit_test(options_are_honoured),
        cmocka_unit_test(msgpack_is_written_where_it_is_asked_for),
        cmocka_unit_test(a_task_goes_to_its_own_queue),
        cmocka_unit_test(chunks_are_a_group_of_starmaps),
        cmocka_unit_test(a_nested_header_is_saved),
        cmocka_unit_test(what_follows_a_chain_stands_in_the_rest_of_its_message),
        cmocka_unit_test(a_group_at_the_end_of_a_chain_of_a_header_has_its_members_in_the_chord),
        cmocka_unit_test(a_group_of_one_in_a_chain_is_that_one),
        cmocka_unit_test(groups_after_groups_are_chords_in_chords),
        cmocka_unit_test(what_follows_a_chord_follows_its_body),
        cmocka_unit_test(children_are_what_was_sent_first),
        cmocka_unit_test(what_is_no_signature_is_refused_with_its_place),
        cmocka_unit_test(a_canvas_has_limits),
        cmocka_unit_test(memory_that_runs_short_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
