#include "message/call.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base64.h"
#include "core/json.h"
#include "core/mem.h"
#include "message/body.h"

#include "check.h"

static const usec_t now = 1893456000500000; /* 2030-01-01T00:00:00.5 */

static struct call_context context(void)
{
    return (struct call_context){.id = STR("id-1"),
                                 .delivery_tag = STR("tag-1"),
                                 .default_queue = STR("celery"),
                                 .origin = STR("gen1@host"),
                                 .now_wall = now};
}

/* An encoded call, decoded again. */
struct sent {
    struct buf text;
    struct envelope envelope;
    struct body body;
    struct str id, queue;
};

static void send_with(struct sent *sent, struct cel_call *call, const struct call_context *with)
{
    struct cel_error err = {0};
    *sent = (struct sent){.text = BUF_INIT(ENVELOPE_BYTES_MAX)};
    if (call_encode(call, with, &sent->text, &sent->id, &sent->queue, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(envelope_decode(buf_str(&sent->text), &sent->envelope, &err), 0);
    assert_int_equal(body_decode(&sent->envelope, &sent->body, &err), 0);
}

static void send(struct sent *sent, struct cel_call *call)
{
    struct call_context with = context();
    send_with(sent, call, &with);
}

static void sent_deinit(struct sent *sent)
{
    body_deinit(&sent->body);
    envelope_deinit(&sent->envelope);
    buf_deinit(&sent->text);
}

static int encode_fails(struct cel_call *call, const char *word)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct call_context with = context();
    struct cel_error err = {0};
    struct str id = STR_NONE, queue = STR_NONE;
    int r = call_encode(call, &with, &text, &id, &queue, &err);
    assert_true(r < 0);
    assert_int_equal(err.code, r);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" is not in \"%s\"", word, err.text);
    assert_int_equal(text.len, 0);
    assert_none(id);
    assert_none(queue);
    return r;
}

static void a_plain_call_is_the_message_celery_knows(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct sent sent;
    (void)state;
    cel_call_arg(call, cel_int(1));
    cel_call_kwarg(call, "k", cel_text("v"));
    send(&sent, call);
    assert_str(
        buf_str(&sent.text),
        "{\"body\": \"W1sxXSwgeyJrIjogInYifSwgeyJjYWxsYmFja3MiOiBudWxsLCAiZXJyYmFja3MiOiBudWxsLCAi"
        "Y2hhaW4iOiBudWxsLCAiY2hvcmQiOiBudWxsfV0=\", \"content-encoding\": \"utf-8\", "
        "\"content-type\": \"application/json\", \"headers\": {\"lang\": \"c\", \"task\": \"a.b\", "
        "\"id\": \"id-1\", \"shadow\": null, \"eta\": null, \"expires\": null, \"group\": null, "
        "\"group_index\": null, \"retries\": 0, \"timelimit\": [null, null], \"root_id\": "
        "\"id-1\", \"parent_id\": null, \"argsrepr\": \"(1,)\", \"kwargsrepr\": \"{'k': 'v'}\", "
        "\"origin\": \"gen1@host\", \"ignore_result\": false, \"replaced_task_nesting\": 0}, "
        "\"properties\": {\"correlation_id\": \"id-1\", \"reply_to\": null, \"delivery_mode\": 2, "
        "\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"celery\"}, \"priority\": 0, "
        "\"body_encoding\": \"base64\", \"delivery_tag\": \"tag-1\"}}");
    assert_str(sent.id, "id-1");
    assert_str(sent.queue, "celery");
    sent_deinit(&sent);
    cel_call_free(call);
    cel_call_free(NULL);
}

static void every_option_finds_its_header(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct cel_value *header = cel_list();
    struct sent sent;
    (void)state;
    cel_list_add(header, cel_int(1));
    cel_call_id(call, "first");
    cel_call_id(call, "mine");
    cel_call_queue(call, "slow \xc3\xbc");
    cel_call_priority(call, 9);
    cel_call_retries(call, 2);
    cel_call_ignore_result(call, true);
    cel_call_time_limit_ms(call, 20500, 30000);
    cel_call_shadow(call, "nice");
    cel_call_header(call, "tenant", cel_text("\xc3\xa9"));
    cel_call_header(call, "list", header);
    send(&sent, call);
    assert_str(sent.id, "mine");
    assert_str(sent.queue, "slow \xc3\xbc");
    assert_str(sent.envelope.id, "mine");
    assert_str(sent.envelope.root_id, "mine");
    assert_str(sent.envelope.correlation_id, "mine");
    assert_str(sent.envelope.routing_key, "slow \xc3\xbc");
    assert_int_equal(sent.envelope.priority, 9);
    assert_int_equal(sent.envelope.retries, 2);
    assert_true(sent.envelope.ignore_result);
    assert_int_equal(sent.envelope.soft_limit, 20500000);
    assert_int_equal(sent.envelope.hard_limit, 30000000);
    assert_str(sent.envelope.shadow, "nice");
    assert_str(sent.envelope.other_headers, "\"tenant\": \"\\u00e9\", \"list\": [1]");
    assert_none(sent.envelope.other_properties);
    sent_deinit(&sent);
    cel_call_free(call);
}

static void times_are_counted_from_the_sending(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct sent sent;
    (void)state;
    cel_call_countdown_ms(call, 10000);
    cel_call_expires_in_ms(call, 120500);
    send(&sent, call);
    assert_str(sent.envelope.eta_text, "2030-01-01T00:00:10.500000+00:00");
    assert_str(sent.envelope.expires_text, "2030-01-01T00:02:01+00:00");
    assert_str(sent.envelope.other_properties, "\"expiration\": \"120500\"");
    sent_deinit(&sent);
    cel_call_eta_ms(call, 1893456001000);
    cel_call_expires_at_ms(call, 1893456000001); /* past: "0", as Python */
    send(&sent, call);
    assert_str(sent.envelope.eta_text, "2030-01-01T00:00:01+00:00");
    assert_str(sent.envelope.expires_text, "2030-01-01T00:00:00.001000+00:00");
    assert_str(sent.envelope.other_properties, "\"expiration\": \"0\"");
    sent_deinit(&sent);
    cel_call_countdown_ms(call, 0);
    cel_call_expires_in_ms(call, 1);
    send(&sent, call);
    assert_none(sent.envelope.eta_text);
    assert_str(sent.envelope.other_properties, "\"expiration\": \"1\"");
    sent_deinit(&sent);
    cel_call_free(call);
}

static void the_sender_adds_where_the_call_comes_from(void **state)
{
    struct call_context with = context();
    struct cel_call *call = cel_call_new("a.b");
    struct sent sent;
    (void)state;
    with.root_id = STR("root");
    with.parent_id = STR("parent");
    with.periodic_task_name = STR("every \xc3\xbc");
    send_with(&sent, call, &with);
    assert_str(sent.envelope.root_id, "root");
    assert_str(sent.envelope.parent_id, "parent");
    assert_str(sent.envelope.other_headers, "\"periodic_task_name\": \"every \\u00fc\"");
    sent_deinit(&sent);
    cel_call_header(call, "a", cel_int(1));
    send_with(&sent, call, &with);
    assert_str(sent.envelope.other_headers, "\"a\": 1, \"periodic_task_name\": \"every \\u00fc\"");
    sent_deinit(&sent);
    cel_call_free(call);
}

static void serializers_carry_what_they_promise(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct sent sent;
    (void)state;
    cel_call_arg(call, cel_typed(CEL_DECIMAL, "1.10"));
    cel_call_header(call, "price", cel_typed(CEL_DECIMAL, "2.20"));
    send(&sent, call);
    assert_str(value_str(cel_value_at(sent.body.args, 0)), "1.10");
    assert_int_equal(cel_value_type(cel_value_at(sent.body.args, 0)), CEL_TEXT);
    assert_str(sent.envelope.other_headers, "\"price\": \"2.20\"");
    sent_deinit(&sent);
    cel_call_serializer(call, CEL_JSON_TYPED);
    send(&sent, call);
    assert_int_equal(cel_value_type(cel_value_at(sent.body.args, 0)), CEL_DECIMAL);
    assert_str(sent.envelope.other_headers,
               "\"price\": {\"__type__\": \"decimal\", \"__value__\": \"2.20\"}");
    sent_deinit(&sent);
    cel_call_arg(call, cel_bytes("\xff", 1));
    cel_call_serializer(call, CEL_MSGPACK);
    cel_call_compression(call, CEL_ZLIB);
    send(&sent, call);
    assert_str(sent.envelope.content_type, "application/x-msgpack");
    assert_str(sent.envelope.compression, "application/x-gzip");
    assert_int_equal(cel_value_type(cel_value_at(sent.body.args, 1)), CEL_BYTES);
    sent_deinit(&sent);
    cel_call_serializer(call, CEL_JSON);
    assert_int_equal(encode_fails(call, "bytes"), CEL_E_FORMAT);
    cel_call_free(call);
}

static void an_object_that_readers_would_misread_is_not_sent(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct cel_value *map = cel_map();
    (void)state;
    cel_map_set(map, "__value__", cel_text("x"));
    cel_map_set(map, "__type__", cel_text("mine"));
    cel_call_header(call, "h", map);
    assert_int_equal(encode_fails(call, "headers"), CEL_E_FORMAT);
    cel_call_free(call);
    call = cel_call_new("a.b");
    cel_call_kwarg(call, "__type__", cel_text("mine"));
    cel_call_kwarg(call, "__value__", cel_text("x"));
    assert_int_equal(encode_fails(call, "__type__"), CEL_E_FORMAT);
    cel_call_kwarg(call, "and", cel_text("more"));
    struct sent sent;
    send(&sent, call);
    sent_deinit(&sent);
    cel_call_free(call);
}

/* Each of these makes the call unusable. */
static void bad_id(struct cel_call *call)
{
    cel_call_id(call, "");
}
static void no_id(struct cel_call *call)
{
    cel_call_id(call, NULL);
}
static void bad_queue(struct cel_call *call)
{
    cel_call_queue(call, "a\x06\x16"
                         "3");
}
static void bad_priority(struct cel_call *call)
{
    cel_call_priority(call, 10);
}
static void bad_countdown(struct cel_call *call)
{
    cel_call_countdown_ms(call, -1);
}
static void bad_eta(struct cel_call *call)
{
    cel_call_eta_ms(call, 0);
}
static void far_eta(struct cel_call *call)
{
    cel_call_eta_ms(call, INT64_MAX);
}
static void bad_expires_in(struct cel_call *call)
{
    cel_call_expires_in_ms(call, 0);
}
static void bad_expires_at(struct cel_call *call)
{
    cel_call_expires_at_ms(call, -5);
}
static void bad_retries(struct cel_call *call)
{
    cel_call_retries(call, -1);
}
static void bad_time_limit(struct cel_call *call)
{
    cel_call_time_limit_ms(call, 1, -1);
}
static void bad_shadow(struct cel_call *call)
{
    cel_call_shadow(call, "\xff");
}
static void bad_kwarg(struct cel_call *call)
{
    cel_call_kwarg(call, "\xff", cel_int(1));
}
static void no_kwarg(struct cel_call *call)
{
    cel_call_kwarg(call, NULL, cel_int(1));
}
static void reserved_header(struct cel_call *call)
{
    cel_call_header(call, "retries", cel_int(1));
}
static void no_header(struct cel_call *call)
{
    cel_call_header(call, NULL, cel_int(1));
}
static void bad_serializer(struct cel_call *call)
{
    cel_call_serializer(call, (enum cel_serializer)7);
}
static void bad_compression(struct cel_call *call)
{
    cel_call_compression(call, (enum cel_compression)7);
}

static void a_bad_setting_is_reported_by_the_sending(void **state)
{
    static const struct {
        void (*set)(struct cel_call *call);
        const char *word;
    } cases[] = {
        {bad_id, "id"},
        {no_id, "id"},
        {bad_queue, "queue"},
        {bad_priority, "10"},
        {bad_countdown, "-1"},
        {bad_eta, "eta"},
        {far_eta, "eta"},
        {bad_expires_in, "expiry"},
        {bad_expires_at, "-5"},
        {bad_retries, "-1"},
        {bad_time_limit, "hard"},
        {bad_shadow, "shadow"},
        {bad_kwarg, "keyword"},
        {no_kwarg, "keyword"},
        {reserved_header, "retries"},
        {no_header, "header"},
        {bad_serializer, "7"},
        {bad_compression, "7"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_call *call = cel_call_new("a.b");
        cases[i].set(call);
        cel_call_priority(call, 77); /* the first error is the one that is told */
        assert_int_equal(encode_fails(call, cases[i].word), -EINVAL);
        cel_call_free(call);
        cases[i].set(NULL);
    }
}

static void setters_take_a_call_that_was_not_made(void **state)
{
    (void)state;
    cel_call_arg(NULL, cel_int(1));
    cel_call_kwarg(NULL, "a", cel_int(1));
    cel_call_header(NULL, "a", cel_int(1));
    cel_call_id(NULL, "i");
    cel_call_queue(NULL, "q");
    cel_call_shadow(NULL, "s");
    cel_call_priority(NULL, 1);
    cel_call_countdown_ms(NULL, 1);
    cel_call_eta_ms(NULL, 1);
    cel_call_expires_in_ms(NULL, 1);
    cel_call_expires_at_ms(NULL, 1);
    cel_call_time_limit_ms(NULL, 1, 1);
    cel_call_retries(NULL, 1);
    cel_call_ignore_result(NULL, true);
    cel_call_serializer(NULL, CEL_JSON);
    cel_call_compression(NULL, CEL_ZLIB);
}

static void a_task_has_a_name_of_255_bytes_at_most(void **state)
{
    char name[300];
    struct sent sent;
    (void)state;
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    struct cel_call *call = cel_call_new(name);
    send(&sent, call);
    assert_int_equal(sent.envelope.task.len, 255);
    sent_deinit(&sent);
    cel_call_free(call);
    name[255] = 'n';
    name[256] = '\0';
    const char *const names[] = {name, "", NULL, "\xff"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        call = cel_call_new(names[i]);
        assert_int_equal(encode_fails(call, "name of a task"), -EINVAL);
        cel_call_free(call);
    }
}

static void queue_names_hold_no_control_characters(void **state)
{
    char name[QUEUE_NAME_MAX + 1];
    (void)state;
    memset(name, 'q', sizeof(name));
    assert_int_equal(call_check_queue(STR("celery"), NULL), 0);
    assert_int_equal(call_check_queue(STR("a b{c}:*\xc3\xbc"), NULL), 0);
    assert_int_equal(call_check_queue(str_n(name, QUEUE_NAME_MAX), NULL), 0);
    assert_int_equal(call_check_queue(str_n(name, QUEUE_NAME_MAX + 1), NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR(""), NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR_NONE, NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR("a\nb"), NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR("a\0b"), NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR("a\x7f"), NULL), -EINVAL);
    assert_int_equal(call_check_queue(STR("a\xff"), NULL), -EINVAL);
    struct cel_call *call = cel_call_new("a");
    struct call_context with = context();
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct str id, queue;
    with.default_queue = STR("");
    assert_int_equal(call_encode(call, &with, &text, &id, &queue, NULL), -EINVAL);
    cel_call_free(call);
}

static struct cel_call *full_call(void)
{
    struct cel_call *call = cel_call_new("a.b");
    cel_call_arg(call, cel_text("argument"));
    cel_call_kwarg(call, "k", cel_float(0.5));
    cel_call_header(call, "h", cel_null());
    cel_call_id(call, "i");
    cel_call_queue(call, "q");
    cel_call_shadow(call, "s");
    cel_call_expires_in_ms(call, 1000);
    return call;
}

static void short_memory_is_reported(void **state)
{
    struct call_context with = context();
    (void)state;
    for (size_t n = 1;; n++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
        struct str id, queue;
        struct cel_error err = {0};
        mem_fail_after(n);
        struct cel_call *call = full_call();
        int r = call ? call_encode(call, &with, &text, &id, &queue, &err) : -ENOMEM;
        mem_fail_after(0);
        cel_call_free(call);
        if (r == 0) {
            assert_true(n > 20);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_call_is_the_message_celery_knows),
        cmocka_unit_test(every_option_finds_its_header),
        cmocka_unit_test(times_are_counted_from_the_sending),
        cmocka_unit_test(the_sender_adds_where_the_call_comes_from),
        cmocka_unit_test(serializers_carry_what_they_promise),
        cmocka_unit_test(an_object_that_readers_would_misread_is_not_sent),
        cmocka_unit_test(a_bad_setting_is_reported_by_the_sending),
        cmocka_unit_test(setters_take_a_call_that_was_not_made),
        cmocka_unit_test(a_task_has_a_name_of_255_bytes_at_most),
        cmocka_unit_test(queue_names_hold_no_control_characters),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
