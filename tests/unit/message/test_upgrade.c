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
#include "core/msgpack.h"
#include "message/body.h"

#include "check.h"
#include "messages.h"

/* A protocol 1 message around the JSON text of its body. */
static void add_message(struct buf *message, const char *body)
{
    buf_add_c(message, "{\"body\": \"");
    base64_add(message, str_of(body));
    buf_add_c(message,
              "\", \"content-type\": \"application/json\", \"content-encoding\": \"utf-8\", "
              "\"headers\": {\"mine\": 1}, \"properties\": {\"body_encoding\": \"base64\", "
              "\"reply_to\": \"r\", \"correlation_id\": \"c\", \"priority\": 6, "
              "\"delivery_info\": {\"exchange\": \"e\", \"routing_key\": \"k\"}}}");
}

static int upgrade(const char *body, struct buf *upgraded, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(1 << 20);
    add_message(&message, body);
    *err = (struct cel_error){0};
    buf_clear(upgraded);
    int r = envelope_upgrade(buf_str(&message), STR("tag"), upgraded, err);
    assert_int_equal(err->code, r);
    return r;
}

/* The upgraded message, decoded; both are to be freed. */
static void upgraded(struct str text, struct envelope *envelope, struct body *body)
{
    struct cel_error err = {0};
    if (envelope_decode(text, envelope, &err) != 0 || body_decode(envelope, body, &err) != 0)
        fail_msg(STR_FORMAT ": %s", STR_ARGS(text), err.text);
}

static void the_recorded_message_becomes_the_one_of_protocol_2(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct str old = message_load("q-526-protocol1"), plain = message_load("q-526-basic");
    struct envelope envelope, expected;
    struct body body, expected_body;
    (void)state;
    assert_int_equal(envelope_upgrade(old, STR("unused"), &text, NULL), 0);
    upgraded(buf_str(&text), &envelope, &body);
    upgraded(plain, &expected, &expected_body);
    assert_same_str(envelope.task, expected.task);
    assert_same_str(envelope.id, expected.id);
    assert_same_str(envelope.root_id, expected.root_id);
    assert_same_str(envelope.parent_id, expected.parent_id);
    assert_same_str(envelope.group, expected.group);
    assert_same_str(envelope.correlation_id, expected.correlation_id);
    assert_same_str(envelope.routing_key, expected.routing_key);
    assert_str(envelope.delivery_tag, "9953bcc9-6d45-4a99-9e2b-9dbd3397c99f");
    assert_int_equal(envelope.retries + envelope.priority, 0);
    assert_true(value_equal(body.args, expected_body.args));
    assert_true(value_equal(body.kwargs, expected_body.kwargs));
    assert_true(value_equal(body.embed, expected_body.embed));
    body_deinit(&body);
    body_deinit(&expected_body);
    envelope_deinit(&envelope);
    envelope_deinit(&expected);
    free((void *)old.ptr);
    free((void *)plain.ptr);
}

static void everything_in_the_body_finds_its_place(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct envelope envelope;
    struct cel_error err;
    struct body body;
    (void)state;
    assert_int_equal(
        upgrade("{\"task\": \"a.b\", \"id\": \"i\", \"args\": [{\"__type__\": \"decimal\", "
                "\"__value__\": \"1.10\"}, 1], \"kwargs\": {\"k\": NaN}, \"taskset\": \"g\", "
                "\"group\": null, \"group_index\": 2, \"retries\": 3, "
                "\"eta\": \"2030-01-01T00:00:00.123Z\", \"expires\": \"2031-01-01T00:00:00\", "
                "\"utc\": true, \"timelimit\": [10, 2.5], \"callbacks\": [{\"task\": \"x\"}], "
                "\"errbacks\": [], \"chord\": {\"task\": \"y\"}}",
                &text, &err),
        0);
    upgraded(buf_str(&text), &envelope, &body);
    assert_str(envelope.task, "a.b");
    assert_str(envelope.group, "g");
    assert_int_equal(envelope.group_index, 2);
    assert_true(envelope.has_group_index);
    assert_int_equal(envelope.retries, 3);
    assert_int_equal(envelope.eta_wall, 1893456000123000);
    assert_int_equal(envelope.expires_wall, 1924992000000000);
    assert_int_equal(envelope.hard_limit, 10000000);
    assert_int_equal(envelope.soft_limit, 2500000);
    assert_int_equal(envelope.priority, 6);
    assert_str(envelope.exchange, "e");
    assert_str(envelope.reply_to, "r");
    assert_str(envelope.correlation_id, "c");
    assert_str(envelope.delivery_tag, "tag");
    assert_str(envelope.other_headers, "\"mine\": 1");
    assert_int_equal(cel_value_type(cel_value_at(body.args, 0)), CEL_DECIMAL);
    assert_int_equal(cel_value_count(cel_value_get(body.embed, "callbacks")), 1);
    assert_int_equal(cel_value_type(cel_value_get(body.embed, "errbacks")), CEL_LIST);
    assert_str(value_str(cel_value_get(cel_value_get(body.embed, "chord"), "task")), "y");
    assert_int_equal(cel_value_type(cel_value_get(body.embed, "chain")), CEL_NULL);
    body_deinit(&body);
    envelope_deinit(&envelope);
}

static void a_body_with_little_in_it_is_enough(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct envelope envelope;
    struct cel_error err;
    struct body body;
    (void)state;
    assert_int_equal(
        upgrade("{\"task\": \"a\", \"id\": \"i\", \"eta\": null, \"retries\": -1}", &text, &err),
        0);
    upgraded(buf_str(&text), &envelope, &body);
    assert_int_equal(cel_value_count(body.args) + cel_value_count(body.kwargs), 0);
    assert_int_equal(envelope.retries, 0);
    assert_none(envelope.group);
    assert_false(envelope.has_group_index);
    body_deinit(&body);
    envelope_deinit(&envelope);
}

static void what_is_no_call_is_refused(void **state)
{
    static const char *const bodies[] = {
        "[[], {}, {}]", /* m-526-raw-no-headers */
        "5",
        "{\"id\": \"i\"}",
        "{\"task\": \"t\"}",
        "{\"task\": 5, \"id\": \"i\"}",
        "{\"task\": \"t\", \"id\": \"\"}",
        "{\"task\": \"t\", \"id\": \"i\", \"args\": {}}",
        "{\"task\": \"t\", \"id\": \"i\", \"kwargs\": [1]}",
        "{\"task\": \"t\", \"id\": \"i\", \"eta\": \"\"}",
        "{\"task\": \"t\", \"id\": \"i\", \"expires\": 5}",
        "{\"task\": ",
    };
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct cel_error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        if (upgrade(bodies[i], &text, &err) != CEL_E_FORMAT || text.len > 0)
            fail_msg("%s: %d %s", bodies[i], err.code, err.text);
    }
}

static void other_messages_are_handed_back(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct str plain = message_load("q-526-basic");
    (void)state;
    assert_int_equal(envelope_upgrade(plain, STR("t"), &text, NULL), -EINVAL);
    assert_int_equal(envelope_upgrade(STR("junk"), STR("t"), &text, NULL), CEL_E_FORMAT);
    assert_int_equal(
        envelope_upgrade(STR("{\"body\": \"x\", \"content-type\": \"application/x-yaml\"}"),
                         STR("t"), &text, NULL),
        CEL_E_REFUSED);
    assert_int_equal(text.len, 0);
    free((void *)plain.ptr);
}

static void msgpack_stays_msgpack(void **state)
{
    CLEANUP(buf_deinit) struct buf packed = BUF_INIT(1 << 20);
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(1 << 20);
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct cel_value *call = cel_map(), *args = cel_list();
    struct envelope envelope;
    struct body body;
    (void)state;
    cel_list_add(args, cel_bytes("\xff", 1));
    cel_map_set(call, "task", cel_text("t"));
    cel_map_set(call, "id", cel_text("i"));
    cel_map_set(call, "args", args);
    assert_int_equal(msgpack_encode(&packed, call, NULL), 0);
    buf_add_c(&message, "{\"body\": \"");
    base64_add(&message, buf_str(&packed));
    buf_add_c(&message, "\", \"content-type\": \"application/x-msgpack\", \"properties\": "
                        "{\"body_encoding\": \"base64\"}}");
    assert_int_equal(envelope_upgrade(buf_str(&message), STR("t"), &text, NULL), 0);
    upgraded(buf_str(&text), &envelope, &body);
    assert_str(envelope.content_type, "application/x-msgpack");
    assert_str(envelope.correlation_id, "i");
    assert_true(value_equal(body.args, args));
    body_deinit(&body);
    envelope_deinit(&envelope);
    cel_value_free(call);
}

static void short_memory_is_reported(void **state)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(1 << 20);
    (void)state;
    add_message(&message, "{\"task\": \"a\", \"id\": \"i\", \"args\": [1], \"callbacks\": [{}]}");
    for (size_t n = 1;; n++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
        mem_fail_after(n);
        int r = envelope_upgrade(buf_str(&message), STR("t"), &text, NULL);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 10);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recorded_message_becomes_the_one_of_protocol_2),
        cmocka_unit_test(everything_in_the_body_finds_its_place),
        cmocka_unit_test(a_body_with_little_in_it_is_enough),
        cmocka_unit_test(what_is_no_call_is_refused),
        cmocka_unit_test(other_messages_are_handed_back),
        cmocka_unit_test(msgpack_stays_msgpack),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
