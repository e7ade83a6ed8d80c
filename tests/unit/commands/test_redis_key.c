#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "commands/redis_key.h"

static void check(struct str actual, const char *expected)
{
    if (!str_equal(actual, str_of(expected)))
        fail_msg("\"" STR_FORMAT "\", not \"%s\"", STR_ARGS(actual), expected);
}

static void the_keys_of_a_queue_are_those_of_the_documentation(void **state)
{
    const struct key_space space = {.prefix = STR("p:"), .node = STR("n@h:1")};
    struct queue_keys keys;
    (void)state;
    assert_int_equal(queue_keys_init(&keys, &space, STR("mail")), 0);
    check(keys.name, "mail");
    check(keys.lists[0], "p:mail");
    check(keys.lists[1], "p:mail\x06\x16"
                         "3");
    check(keys.lists[3], "p:mail\x06\x16"
                         "9");
    check(keys.staging[0], "p:celeriac:staging:{mail}:n@h:1");
    check(keys.staging[2], "p:celeriac:staging:{mail}:n@h:1\x06\x16"
                           "6");
    check(keys.in_flight, "p:celeriac:inflight:{mail}:n@h:1");
    check(keys.delayed, "p:celeriac:delayed:{mail}");
    check(keys.dead, "p:celeriac:dead:{mail}");
    queue_keys_deinit(&keys);
}

static void results_end_the_prefix_as_celery_does(void **state)
{
    static const char *const cases[][2] = {
        {"", "celery-task-meta-i"},        {"p", "p_celery-task-meta-i"},
        {"p:", "p:celery-task-meta-i"},    {"p_", "p_celery-task-meta-i"},
        {"p-", "p-celery-task-meta-i"},    {"p.", "p.celery-task-meta-i"},
        {"{p}", "{p}_celery-task-meta-i"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct key_space space = {.prefix = str_of(cases[i][0])};
        struct buf key = BUF_INIT(256);
        key_add_result(&key, &space, STR("i"));
        check(buf_str(&key), cases[i][1]);
        buf_deinit(&key);
    }
}

static void tags_go_there_and_back(void **state)
{
    static const uint64_t numbers[] = {1, 9, 10, 123456789, UINT64_MAX};
    char text[TAG_SIZE];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        for (unsigned step = 0; step <= STEP_LAST; step += STEP_WIDTH) {
            uint64_t n;
            unsigned read_step;
            assert_int_equal(key_tag_parse(key_tag(text, numbers[i], step), &n, &read_step), 0);
            assert_true(n == numbers[i] && read_step == step);
        }
    }
    check(key_tag(text, 17, 3), "17.3");
}

static void what_is_no_tag_is_refused(void **state)
{
    static const char *const texts[] = {
        "", ".", "1", "1.", ".0", "1.1", "1.12", "x.0", "1.0.0", "-1.0", "18446744073709551616.0"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        uint64_t n;
        unsigned step;
        if (key_tag_parse(str_of(texts[i]), &n, &step) != -EINVAL)
            fail_msg("%s", texts[i]);
    }
}

static void keys_tell_what_they_are(void **state)
{
    static const struct {
        const char *key;
        enum key_kind kind;
        const char *name;
    } cases[] = {
        {"pceleriac:inflight:{mail}:n@h:1", KEY_IN_FLIGHT, "mail"},
        {"pceleriac:staging:{mail}:n@h:1\x06\x16"
         "3",
         KEY_STAGING, "mail"},
        {"pceleriac:inflight:{a}:{b}:n", KEY_IN_FLIGHT, "a}:{b"},
        {"pceleriac:delayed:{a{b}c}", KEY_DELAYED, "a{b}c"},
        {"pceleriac:dead:{mail}", KEY_DEAD, "mail"},
        {"pceleriac:delayed:{mail}x", KEY_OTHER, NULL},
        {"pceleriac:inflight:{mail}", KEY_OTHER, NULL},
        {"pceleriac:inflight:{", KEY_OTHER, NULL},
        {"pceleriac:beat:x:1", KEY_OTHER, NULL},
        {"celeriac:dead:{mail}", KEY_OTHER, NULL},
        {"p_kombu.binding.mail", KEY_BINDING, "mail"},
        {"p_kombu.binding.celeryev", KEY_OTHER, NULL},
        {"p_kombu.binding.celery.pidbox", KEY_OTHER, NULL},
        {"p_kombu.binding.reply.celery.pidbox", KEY_OTHER, NULL},
        {"p", KEY_OTHER, NULL},
        {"", KEY_OTHER, NULL},
    };
    const struct key_space space = {.prefix = STR("p")};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str name = STR_NONE;
        if (key_parse(str_of(cases[i].key), &space, &name) != cases[i].kind)
            fail_msg("%s", cases[i].key);
        if (cases[i].name)
            check(name, cases[i].name);
    }
}

static void bindings_name_their_queue(void **state)
{
    struct buf member = BUF_INIT(64);
    (void)state;
    key_add_binding_member(&member, STR("mail"));
    check(buf_str(&member), "mail\x06\x16\x06\x16mail");
    check(key_binding_queue(buf_str(&member)), "mail");
    check(key_binding_queue(STR("rk\x06\x16^a$\x06\x16q")), "q");
    assert_null(key_binding_queue(STR("x")).ptr);
    assert_null(key_binding_queue(STR("")).ptr);
    buf_deinit(&member);
}

static void patterns_mean_the_prefix_itself(void **state)
{
    const struct key_space space = {.prefix = STR("a*[b]?\\")};
    struct buf pattern = BUF_INIT(128);
    (void)state;
    key_add_pattern_ours(&pattern, &space);
    check(buf_str(&pattern), "a\\*\\[b\\]\\?\\\\celeriac:*");
    buf_deinit(&pattern);
}

static void a_binding_is_read_in_its_parts(void **state)
{
    static const struct {
        struct str member;
        const char *key, *pattern, *queue;
    } cases[] = {
        {STR("celery\x06\x16\x06\x16"
             "celery"),
         "celery", "", "celery"},
        {STR("a.*\x06\x16^a\\..*?[^\\.]$\x06\x16q"), "a.*", "^a\\..*?[^\\.]$", "q"},
        {STR("\x06\x16\x06\x16q"), "", "", "q"},
        {STR("a\x06\x16\x06\x16"), "a", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_binding binding = key_binding_read(cases[i].member);
        check(binding.routing_key, cases[i].key);
        check(binding.pattern, cases[i].pattern);
        check(binding.queue, cases[i].queue);
    }
    static const struct str odd[] = {STR(""), STR("q"), STR("\x06\x16q"), STR("a\x06\x16q")};
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
        assert_int_equal(key_binding_read(odd[i]).routing_key.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_binding_is_read_in_its_parts),
        cmocka_unit_test(the_keys_of_a_queue_are_those_of_the_documentation),
        cmocka_unit_test(results_end_the_prefix_as_celery_does),
        cmocka_unit_test(tags_go_there_and_back),
        cmocka_unit_test(what_is_no_tag_is_refused),
        cmocka_unit_test(keys_tell_what_they_are),
        cmocka_unit_test(bindings_name_their_queue),
        cmocka_unit_test(patterns_mean_the_prefix_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
