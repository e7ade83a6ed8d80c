/* Events: what Celery's own workers have sent is what we send of the same things. */
#include "message/event.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "check.h"
#include "core/json.h"
#include "core/mem.h"
#include "message/wrapper.h"
#include "tests/support/vectors.h"

static const struct cel_value *member(const struct cel_value *map, const char *key)
{
    return cel_value_get(map, key);
}

static struct str text_of(const struct cel_value *map, const char *key)
{
    return value_str(member(map, key));
}

static usec_t time_of(const struct cel_value *map, const char *key)
{
    return (usec_t)(cel_value_float(member(map, key), 0) * 1e6 + 0.5);
}

static int64_t integer_of(const struct cel_value *map, const char *key)
{
    return cel_value_int(member(map, key), 0);
}

/* The struct that stands for a recorded event; false: it is none of ours. */
static bool read_event(const struct cel_value *from, struct event *ret)
{
    char key[64];
    bool is_ours = false;
    for (int type = 0; type < EVENT_TYPES && !is_ours; type++) {
        struct str routing_key = event_routing_key((enum event_type)type);
        snprintf(key, sizeof(key), STR_FORMAT, STR_ARGS(routing_key));
        for (char *c = key; *c; c++)
            *c = *c == '.' ? '-' : *c;
        ret->type = (enum event_type)type;
        is_ours = str_equal(text_of(from, "type"), str_of(key));
    }
    ret->hostname = text_of(from, "hostname");
    ret->pid = integer_of(from, "pid");
    ret->clock = (uint64_t)integer_of(from, "clock");
    ret->timestamp_wall = time_of(from, "timestamp");
    ret->freq = time_of(from, "freq");
    ret->active = (uint64_t)integer_of(from, "active");
    ret->processed = (uint64_t)integer_of(from, "processed");
    for (size_t i = 0; i < 3; i++)
        ret->load[i] = cel_value_float(cel_value_at(member(from, "loadavg"), i), 0);
    ret->uuid = text_of(from, "uuid");
    ret->name = text_of(from, "name");
    ret->args = text_of(from, "args");
    ret->kwargs = text_of(from, "kwargs");
    ret->root_id = text_of(from, "root_id");
    ret->parent_id = text_of(from, "parent_id");
    ret->retries = integer_of(from, "retries");
    ret->eta = text_of(from, "eta");
    ret->expires = text_of(from, "expires");
    ret->result = text_of(from, "result");
    ret->runtime = time_of(from, "runtime");
    ret->exception = text_of(from, "exception");
    ret->traceback = text_of(from, "traceback");
    ret->requeue = cel_value_bool(member(from, "requeue"), false);
    ret->terminated = cel_value_bool(member(from, "terminated"), false);
    ret->expired = cel_value_bool(member(from, "expired"), false);
    ret->signum = (int)integer_of(from, "signum");
    return is_ours;
}

/* Every member of theirs but their time zone is one of ours, with the same value. */
static void compare(const char *name, const struct cel_value *theirs, const struct cel_value *ours)
{
    static const char *const apart[] = {"utcoffset", "sw_ident", "sw_ver", "runtime", "timestamp"};
    for (size_t i = 0; i < cel_value_count(theirs); i++) {
        const char *key = cel_value_key(theirs, i);
        bool is_apart = false;
        for (size_t k = 0; k < ARRAY_SIZE(apart); k++)
            is_apart |= strcmp(apart[k], key) == 0;
        if (strcmp(key, "utcoffset") != 0 && !member(ours, key))
            fail_msg("%s: no %s", name, key);
        if (!is_apart && !value_equal(member(ours, key), cel_value_at(theirs, i)))
            fail_msg("%s: another %s", name, key);
    }
    assert_true(labs((long)time_of(ours, "runtime") - (long)time_of(theirs, "runtime")) <= 1);
    assert_true(labs((long)time_of(ours, "timestamp") - (long)time_of(theirs, "timestamp")) <= 1);
    assert_int_equal(cel_value_count(ours) + 1, cel_value_count(theirs));
    assert_null(member(ours, "utcoffset"));
}

static size_t compared;

static void check_event(const char *name, const struct cel_value *theirs)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(VALUE_BYTES_MAX);
    struct cel_value *ours = NULL;
    struct event event = {0};
    if (!read_event(theirs, &event))
        return; /* task-sent is the clients' */
    event_add(&text, &event);
    assert_int_equal(json_decode(buf_str(&text), &ours, NULL), 0);
    compare(name, theirs, ours);
    cel_value_free(ours);
    compared++;
}

static void check_vector(const char *name, const struct cel_value *vector)
{
    const struct cel_value *published = member(vector, "published");
    if (name[0] != 'e')
        return;
    for (size_t i = 0; i < cel_value_count(published); i++) {
        struct wrapped wrapped;
        struct str data = text_of(cel_value_at(published, i), "data");
        assert_int_equal(wrapper_decode(data, &wrapped, NULL), 0);
        bool are_many = cel_value_type(wrapped.body) == CEL_LIST;
        for (size_t k = 0; k < (are_many ? cel_value_count(wrapped.body) : 1); k++)
            check_event(name, are_many ? cel_value_at(wrapped.body, k) : wrapped.body);
        wrapped_deinit(&wrapped);
    }
}

static void every_recorded_event_is_written_alike(void **state)
{
    (void)state;
    vectors_each(check_vector);
    assert_true(compared >= 24);
}

static void a_message_has_what_kombu_looks_for(void **state)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
    (void)state;
    assert_int_equal(event_message(&message, STR("[{\"type\": \"task-started\"}]"),
                                   STR(EVENT_MANY_ROUTING_KEY), STR("w@h"), STR("t")),
                     0);
    assert_str(buf_str(&message),
               "{\"body\": \"W3sidHlwZSI6ICJ0YXNrLXN0YXJ0ZWQifV0=\", \"content-encoding\": "
               "\"utf-8\", \"content-type\": \"application/json\", \"headers\": {\"hostname\": "
               "\"w@h\"}, \"properties\": {\"delivery_mode\": 1, \"delivery_info\": {\"exchange\": "
               "\"celeryev\", \"routing_key\": \"task.multi\"}, \"priority\": 0, "
               "\"body_encoding\": \"base64\", \"delivery_tag\": \"t\"}}");
}

static void an_event_of_others_is_read_alone_and_among_many(void **state)
{
    static const char *const bodies[] = {"{\"type\": \"worker-elect\", \"id\": \"e\"}",
                                         "[{\"type\": \"worker-elect\", \"id\": \"e\"}, {}]"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        struct cel_value *event = NULL;
        assert_int_equal(
            event_message(&message, str_of(bodies[i]), STR("worker.elect"), STR("w"), STR("t")), 0);
        assert_int_equal(event_decode(buf_str(&message), &event, NULL), 0);
        assert_str(text_of(event, "id"), "e");
        cel_value_free(event);
    }
}

static void what_is_no_event_is_refused(void **state)
{
    static const char *const bodies[] = {"[]", "7", "[7]", "\"x\"", "null"};
    struct cel_value *event;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        assert_int_equal(
            event_message(&message, str_of(bodies[i]), STR("task.multi"), STR("w"), STR("t")), 0);
        assert_int_equal(event_decode(buf_str(&message), &event, NULL), CEL_E_FORMAT);
    }
    assert_int_equal(event_decode(STR("no json"), &event, NULL), CEL_E_FORMAT);
    assert_int_equal(event_decode(STR("{}"), &event, NULL), CEL_E_FORMAT);
}

static void short_memory_is_reported(void **state)
{
    int r = -1;
    (void)state;
    for (size_t n = 1; r != 0; n++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        struct cel_value *event = NULL;
        assert_true(n < 1000);
        mem_fail_after(n);
        r = event_message(&message, STR("{\"a\": [1, \"b\"]}"), STR("k"), STR("w"), STR("t"));
        if (r == 0)
            r = event_decode(buf_str(&message), &event, NULL);
        mem_fail_after(0);
        assert_true(r == 0 || r == -ENOMEM);
        cel_value_free(event);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_event_is_written_alike),
        cmocka_unit_test(a_message_has_what_kombu_looks_for),
        cmocka_unit_test(an_event_of_others_is_read_alone_and_among_many),
        cmocka_unit_test(what_is_no_event_is_refused),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
