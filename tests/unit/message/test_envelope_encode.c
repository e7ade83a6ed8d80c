#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"
#include "message/envelope.h"

#include "check.h"
#include "messages.h"
#include "tests/support/vectors.h"

static void assert_same_envelope(const struct envelope *a, const struct envelope *b)
{
    static const size_t texts[] = {offsetof(struct envelope, task),
                                   offsetof(struct envelope, id),
                                   offsetof(struct envelope, lang),
                                   offsetof(struct envelope, root_id),
                                   offsetof(struct envelope, parent_id),
                                   offsetof(struct envelope, group),
                                   offsetof(struct envelope, shadow),
                                   offsetof(struct envelope, origin),
                                   offsetof(struct envelope, argsrepr),
                                   offsetof(struct envelope, kwargsrepr),
                                   offsetof(struct envelope, compression),
                                   offsetof(struct envelope, other_headers),
                                   offsetof(struct envelope, content_type),
                                   offsetof(struct envelope, content_encoding),
                                   offsetof(struct envelope, correlation_id),
                                   offsetof(struct envelope, reply_to),
                                   offsetof(struct envelope, exchange),
                                   offsetof(struct envelope, routing_key),
                                   offsetof(struct envelope, delivery_tag),
                                   offsetof(struct envelope, other_properties),
                                   offsetof(struct envelope, body)};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        const struct str *text = (const void *)((const char *)a + texts[i]);
        const struct str *other = (const void *)((const char *)b + texts[i]);
        if (i < ARRAY_SIZE(texts) - 1 || a->body_is_base64)
            assert_same_str(*text, *other);
    }
    assert_int_equal(a->eta_wall, b->eta_wall);
    assert_int_equal(a->expires_wall, b->expires_wall);
    assert_int_equal(a->has_group_index, b->has_group_index);
    assert_int_equal(a->group_index, b->group_index);
    assert_int_equal(a->retries, b->retries);
    assert_int_equal(a->soft_limit, b->soft_limit);
    assert_int_equal(a->hard_limit, b->hard_limit);
    assert_int_equal(a->ignore_result, b->ignore_result);
    assert_int_equal(a->redelivered, b->redelivered);
    assert_int_equal(a->replaced_task_nesting, b->replaced_task_nesting);
    assert_int_equal(a->priority, b->priority);
    assert_true(b->body_is_base64);
}

static void assert_survives(struct str bytes)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct envelope envelope, again;
    struct cel_error err = {0};
    if (envelope_decode(bytes, &envelope, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(envelope_encode(&text, &envelope), 0);
    if (envelope_decode(buf_str(&text), &again, &err) != 0)
        fail_msg("%s: %s", text.ptr, err.text);
    assert_same_envelope(&envelope, &again);
    envelope_deinit(&again);
    envelope_deinit(&envelope);
}

static size_t survived;

static void survive(const char *name, size_t index, struct str bytes)
{
    struct envelope envelope;
    (void)name;
    (void)index;
    int r = envelope_decode(bytes, &envelope, NULL);
    if (r >= 0)
        envelope_deinit(&envelope);
    if (r != 0)
        return; /* protocol 1 and what is no message: test_body.c */
    survived++;
    assert_survives(bytes);
}

static void survive_all(const char *name, const struct cel_value *vector)
{
    if (messages_in(name))
        messages_each(name, vector, survive);
}

static void every_vector_survives_reading_and_writing(void **state)
{
    (void)state;
    vectors_each(survive_all);
    assert_true(survived > 80);
}

static void every_field_survives(void **state)
{
    (void)state;
    assert_survives(
        STR("{\"body\": \"W1tdLHt9LG51bGxd\", \"content-encoding\": \"binary\", \"content-type\": "
            "\"application/x-msgpack\", \"headers\": {\"lang\": \"c\\u00e9\", \"task\": \"t\\n\", "
            "\"id\": \"\\\"\\ud83d\\ude00\", \"shadow\": \"\\\\\", "
            "\"eta\": \"2030-01-01 10:00+05:30\", \"expires\": \"2031-01-01T00:00:00.000001\", "
            "\"group\": \"g\", \"group_index\": -1, \"retries\": 12, \"timelimit\": [0.25, 7200], "
            "\"root_id\": \"r\", \"parent_id\": \"p\", \"argsrepr\": \"a\", \"kwargsrepr\": \"k\", "
            "\"origin\": \"o\", \"ignore_result\": true, \"replaced_task_nesting\": 3, "
            "\"compression\": \"gzip\", \"redelivered\": true, \"mine\": {\"a\": [1, 1.5]}}, "
            "\"properties\": {\"correlation_id\": \"c\", \"reply_to\": \"q\", \"delivery_info\": "
            "{\"exchange\": \"x\", \"routing_key\": \"y\"}, \"priority\": 9, \"body_encoding\": "
            "\"base64\", \"delivery_tag\": \"d\", \"expiration\": \"100\"}}"));
}

static struct envelope smallest(void)
{
    return (struct envelope){.task = STR("a.b"),
                             .id = STR("1"),
                             .delivery_tag = STR("2"),
                             .body = STR("W10="),
                             .body_is_base64 = true};
}

static void everything_that_python_needs_is_written(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct envelope envelope = smallest();
    (void)state;
    assert_int_equal(envelope_encode(&text, &envelope), 0);
    assert_string_equal(
        text.ptr,
        "{\"body\": \"W10=\", \"content-encoding\": null, \"content-type\": \"\", \"headers\": "
        "{\"lang\": null, \"task\": \"a.b\", \"id\": \"1\", \"shadow\": null, \"eta\": null, "
        "\"expires\": null, \"group\": null, \"group_index\": null, \"retries\": 0, "
        "\"timelimit\": [null, null], \"root_id\": null, \"parent_id\": null, \"argsrepr\": null, "
        "\"kwargsrepr\": null, \"origin\": null, \"ignore_result\": false, "
        "\"replaced_task_nesting\": 0}, \"properties\": {\"correlation_id\": null, "
        "\"reply_to\": null, \"delivery_mode\": 2, \"delivery_info\": {\"exchange\": \"\", "
        "\"routing_key\": \"\"}, \"priority\": 0, \"body_encoding\": \"base64\", "
        "\"delivery_tag\": \"2\"}}");
}

static void times_and_limits_are_written_as_python_reads_them(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct envelope envelope = smallest();
    (void)state;
    envelope.eta_text = STR("2030-01-01T00:00:00.5Z"); /* which Celery 5.2 would misread */
    envelope.eta_wall = 1893456000500000;
    envelope.expires_wall = 1893456000000000;
    envelope.hard_limit = 30 * USEC_PER_SEC;
    envelope.soft_limit = 20500 * USEC_PER_MSEC;
    assert_int_equal(envelope_encode(&text, &envelope), 0);
    assert_non_null(strstr(text.ptr, "\"eta\": \"2030-01-01T00:00:00.500000+00:00\""));
    assert_non_null(strstr(text.ptr, "\"expires\": \"2030-01-01T00:00:00+00:00\""));
    assert_non_null(strstr(text.ptr, "\"timelimit\": [30, 20.5]"));
}

static void a_body_that_is_no_base64_becomes_it(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct envelope envelope = smallest(), again;
    (void)state;
    envelope.body = STR("[[\"\xc3\xa9\"],{},null]");
    envelope.body_is_base64 = false;
    envelope.content_type = STR("application/json");
    assert_int_equal(envelope_encode(&text, &envelope), 0);
    assert_int_equal(envelope_decode(buf_str(&text), &again, NULL), 0);
    assert_true(again.body_is_base64);
    assert_str(again.body, "W1siw6kiXSx7fSxudWxsXQ==");
    envelope_deinit(&again);
}

static void no_text_can_break_the_envelope(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct envelope envelope = smallest(), again;
    (void)state;
    envelope.task = STR("a\", \"id\": 5, \"");
    envelope.body = STR("\"}{\n");
    envelope.content_type = STR("application/json\0");
    envelope.routing_key = STR("\x01\xff");
    assert_int_equal(envelope_encode(&text, &envelope), 0);
    assert_int_equal(envelope_decode(buf_str(&text), &again, NULL), 0);
    assert_same_str(again.task, envelope.task);
    assert_same_str(again.body, envelope.body);
    assert_same_str(again.content_type, envelope.content_type);
    assert_str(again.routing_key, "\x01\xef\xbf\xbd");
    envelope_deinit(&again);
}

static void what_must_be_there_is_asked_for(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct envelope envelope = smallest();
    (void)state;
    envelope.task = STR_NONE;
    assert_int_equal(envelope_encode(&text, &envelope), -EINVAL);
    envelope = smallest();
    envelope.id = STR_NONE;
    assert_int_equal(envelope_encode(&text, &envelope), -EINVAL);
    envelope = smallest();
    envelope.delivery_tag = STR_NONE;
    assert_int_equal(envelope_encode(&text, &envelope), -EINVAL);
    assert_int_equal(text.len, 0);
}

static void a_full_buffer_and_short_memory_are_reported(void **state)
{
    struct envelope envelope = smallest();
    (void)state;
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(100);
    assert_int_equal(envelope_encode(&small, &envelope), CEL_E_LIMIT);
    for (size_t n = 1;; n++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
        mem_fail_after(n);
        int r = envelope_encode(&text, &envelope);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 1);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_survives_reading_and_writing),
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(everything_that_python_needs_is_written),
        cmocka_unit_test(times_and_limits_are_written_as_python_reads_them),
        cmocka_unit_test(a_body_that_is_no_base64_becomes_it),
        cmocka_unit_test(no_text_can_break_the_envelope),
        cmocka_unit_test(what_must_be_there_is_asked_for),
        cmocka_unit_test(a_full_buffer_and_short_memory_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
