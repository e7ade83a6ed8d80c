/* Remote control: what Celery has asked is understood, what we ask and reply is what it would. */
#include "message/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "check.h"
#include "core/base64.h"
#include "core/json.h"
#include "core/mem.h"
#include "tests/support/vectors.h"

static struct cel_value *json(const char *text)
{
    struct cel_value *value = NULL;
    assert_int_equal(json_decode(str_of(text), &value, NULL), 0);
    return value;
}

static const struct cel_value *member(const struct cel_value *map, const char *key)
{
    return cel_value_get(map, key);
}

static size_t compared;

static void check_same(const struct cel_value *recorded, const char *key, struct str found)
{
    assert_same_str(value_str(member(recorded, key)), found);
}

/* Written again it reads as it was recorded. */
static void check_rewritten(const struct control_request *request)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(VALUE_BYTES_MAX);
    struct wrapped again;
    assert_int_equal(control_request_encode(&message, request, STR("tag")), 0);
    assert_int_equal(wrapper_decode(buf_str(&message), &again, NULL), 0);
    assert_true(value_equal(again.body, request->wrapped.body));
    assert_int_equal(cel_value_int(member(again.headers, "clock"), -1), request->clock);
    wrapped_deinit(&again);
}

static void check_vector(const char *name, const struct cel_value *vector)
{
    const struct cel_value *requests = member(vector, "requests");
    const struct cel_value *decoded = member(vector, "decoded_requests");
    for (size_t i = 0; name[0] == 'c' && i < cel_value_count(requests); i++) {
        struct control_request request;
        const struct cel_value *body = member(cel_value_at(decoded, i), "body");
        struct str data = value_str(member(cel_value_at(requests, i), "data"));
        assert_int_equal(control_request_decode(data, &request, NULL), 0);
        check_same(body, "method", request.method);
        check_same(body, "ticket", request.ticket);
        check_same(body, "pattern", request.pattern);
        check_same(member(body, "reply_to"), "routing_key", request.reply_key);
        check_same(member(body, "reply_to"), "exchange", request.reply_exchange);
        assert_int_equal(cel_value_count(request.destination),
                         cel_value_count(member(body, "destination")));
        check_rewritten(&request);
        control_request_deinit(&request);
        compared++;
    }
}

static void every_recorded_request_is_understood_and_written_alike(void **state)
{
    (void)state;
    vectors_each(check_vector);
    assert_true(compared >= 28);
}

/* The command by which Celery's worker pushed its reply, as MONITOR shows it: escapes taken out. */
static void copy_reply(const struct cel_value *commands, struct buf *reply)
{
    for (size_t i = 0; i < cel_value_count(commands); i++) {
        const char *line = cel_value_text(cel_value_at(commands, i), NULL);
        const char *start = strstr(line, "LPUSH") ? strstr(line, "\"{") : NULL;
        for (const char *c = start ? start + 1 : ""; *c && !(*c == '"' && !c[1]); c++)
            buf_add_char(reply, *c == '\\' ? *++c : *c);
    }
}

static void a_reply_is_written_as_celery_writes_it(void **state)
{
    static const char *const names[] = {"c-526-ping", "c-526-rate-limit", "c-526-heartbeat"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP(buf_deinit) struct buf theirs = BUF_INIT(VALUE_BYTES_MAX);
        CLEANUP(buf_deinit) struct buf ours = BUF_INIT(VALUE_BYTES_MAX);
        struct cel_value *vector = vectors_load(names[i]);
        struct control_reply reply;
        struct wrapped wrapped;
        copy_reply(member(vector, "commands"), &theirs);
        assert_int_equal(control_reply_decode(buf_str(&theirs), &reply, &wrapped, NULL), 0);
        const struct cel_value *properties = member(wrapped.whole, "properties");
        const struct cel_value *info = member(properties, "delivery_info");
        reply.exchange = value_str(member(info, "exchange"));
        reply.key = value_str(member(info, "routing_key"));
        struct str tag = value_str(member(properties, "delivery_tag"));
        assert_int_equal(control_reply_encode(&ours, &reply, tag), 0);
        assert_same_str(buf_str(&ours), buf_str(&theirs));
        wrapped_deinit(&wrapped);
        cel_value_free(vector);
    }
}

/* A message with that body. */
static void wrap(const char *body, const char *headers, struct buf *message)
{
    assert_int_equal(wrapper_encode(message, &(struct wrapper){.body_json = str_of(body),
                                                               .headers_json = str_of(headers),
                                                               .exchange = STR("e"),
                                                               .routing_key = STR(""),
                                                               .delivery_tag = STR("t")}),
                     0);
}

static void wrong_types_count_as_missing(void **state)
{
    static const char *const bodies[] = {
        ("{\"method\": \"ping\", \"arguments\": [1], \"destination\": \"w\", \"pattern\": 7, "
         "\"ticket\": {}, \"reply_to\": \"x\"}"),
        "{\"method\": \"ping\", \"reply_to\": {\"exchange\": 1, \"routing_key\": null}}",
        "{\"method\": \"ping\", \"arguments\": null, \"destination\": []}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        struct control_request request;
        wrap(bodies[i], "\"clock\": \"soon\"", &message);
        assert_int_equal(control_request_decode(buf_str(&message), &request, NULL), 0);
        assert_str(request.method, "ping");
        assert_null(request.arguments);
        assert_null(request.destination);
        assert_none(request.pattern);
        assert_none(request.ticket);
        assert_none(request.reply_key);
        assert_int_equal(request.clock, 0);
        control_request_deinit(&request);
    }
}

static void what_is_no_request_is_refused(void **state)
{
    static const char *const bodies[] = {"{}", "{\"method\": 7}", "[]", "null", "\"ping\"", "1"};
    static const char *const messages[] = {
        "",
        "ping",
        "[]",
        "{\"body\": \"e30=\"}",
        "{\"body\": 1, \"content-type\": 2}",
        ("{\"body\": \"!\", \"content-type\": \"application/json\", \"properties\": "
         "{\"body_encoding\": \"base64\"}}"),
        "{\"body\": \"{\", \"content-type\": \"application/json\"}",
    };
    struct control_request request;
    struct cel_error err = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        wrap(bodies[i], "", &message);
        assert_int_equal(control_request_decode(buf_str(&message), &request, &err), CEL_E_FORMAT);
        assert_string_equal(err.text, "It names no method");
    }
    for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
        assert_true(control_request_decode(str_of(messages[i]), &request, &err) < 0);
    assert_int_equal(
        control_request_decode(
            STR("{\"body\": \"x\", \"content-type\": \"application/x-python-serialize\"}"),
            &request, &err),
        CEL_E_REFUSED);
}

static void a_reply_is_that_of_one_node(void **state)
{
    static const char *const bodies[] = {"{}", "{\"a\": 1, \"b\": 2}", "[1]", "null"};
    struct control_reply reply;
    struct wrapped wrapped;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        wrap(bodies[i], "", &message);
        assert_int_equal(control_reply_decode(buf_str(&message), &reply, &wrapped, NULL),
                         CEL_E_FORMAT);
    }
}

static void short_memory_is_reported(void **state)
{
    struct cel_value *arguments = json("{\"a\": [1]}");
    int r = -1;
    (void)state;
    for (size_t n = 1; r != 0; n++) {
        CLEANUP(buf_deinit) struct buf message = BUF_INIT(4096);
        struct control_request request = {.method = STR("m"), .arguments = arguments}, read;
        assert_true(n < 1000);
        mem_fail_after(n);
        r = control_request_encode(&message, &request, STR("t"));
        if (r == 0 && (r = control_request_decode(buf_str(&message), &read, NULL)) == 0)
            control_request_deinit(&read);
        mem_fail_after(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    cel_value_free(arguments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_request_is_understood_and_written_alike),
        cmocka_unit_test(a_reply_is_written_as_celery_writes_it),
        cmocka_unit_test(wrong_types_count_as_missing),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(a_reply_is_that_of_one_node),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
