#include "message/envelope.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "check.h"
#include "core/mem.h"
#include "messages.h"

/* A copy without a byte behind it; kept until the next one. */
static char *kept;

static struct str keep(struct str text)
{
    free(kept);
    kept = malloc(text.len ? text.len : 1);
    assert_non_null(kept);
    memcpy(kept, text.ptr, text.len);
    return str_n(kept, text.len);
}

static int decode(struct str text, struct envelope *envelope, struct cel_error *err)
{
    *err = (struct cel_error){0};
    int r = envelope_decode(keep(text), envelope, err);
    assert_int_equal(err->code, r < 0 ? r : 0);
    return r;
}

/* An envelope whose headers and properties end in the given members. */
static int decode_with(const char *headers,
                       const char *properties,
                       struct envelope *envelope,
                       struct cel_error *err)
{
    char text[4096];
    int len = snprintf(text, sizeof(text),
                       "{\"body\": \"W10=\", \"content-type\": \"application/json\", \"headers\": "
                       "{\"task\": \"t\", \"id\": \"i\"%s}, \"properties\": "
                       "{\"body_encoding\": \"base64\"%s}}",
                       headers, properties);
    return decode(str_n(text, (size_t)len), envelope, err);
}

static struct envelope with(const char *headers, const char *properties)
{
    struct envelope envelope;
    struct cel_error err;
    if (decode_with(headers, properties, &envelope, &err) != 0)
        fail_msg("%s %s: %s", headers, properties, err.text);
    return envelope;
}

static void a_plain_message_is_read_whole(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    struct str bytes = message_load("q-526-basic");
    (void)state;
    assert_int_equal(envelope_decode(bytes, &envelope, &err), 0);
    assert_str(envelope.task, "wire.add");
    assert_str(envelope.id, "00000001-0000-4000-8000-000000000000");
    assert_str(envelope.root_id, "00000001-0000-4000-8000-000000000000");
    assert_str(envelope.lang, "py");
    assert_str(envelope.argsrepr, "(1, 2)");
    assert_str(envelope.kwargsrepr, "{}");
    assert_str(envelope.origin, "gen32416@host.example");
    assert_none(envelope.parent_id);
    assert_none(envelope.group);
    assert_none(envelope.shadow);
    assert_none(envelope.eta_text);
    assert_none(envelope.expires_text);
    assert_none(envelope.compression);
    assert_none(envelope.other_headers);
    assert_none(envelope.other_properties);
    assert_false(envelope.has_group_index || envelope.ignore_result || envelope.redelivered);
    assert_int_equal(envelope.eta_wall + envelope.expires_wall, 0);
    assert_int_equal(envelope.soft_limit + envelope.hard_limit, 0);
    assert_int_equal(envelope.retries, 0);
    assert_str(envelope.content_type, "application/json");
    assert_str(envelope.content_encoding, "utf-8");
    assert_true(envelope.body_is_base64);
    assert_str(envelope.correlation_id, "00000001-0000-4000-8000-000000000000");
    assert_str(envelope.reply_to, "814ff93c-7875-3afc-9f55-882a1ec647c8");
    assert_str(envelope.exchange, "");
    assert_str(envelope.routing_key, "celery");
    assert_str(envelope.delivery_tag, "620f0e94-1610-4a03-b0d4-458d0a18e5be");
    assert_int_equal(envelope.priority, 0);
    assert_null(envelope.scratch.ptr);
    envelope_deinit(&envelope);
    free((void *)bytes.ptr);
}

static void headers_of_every_kind_are_read(void **state)
{
    (void)state;
    struct envelope envelope = with(
        ", \"group\": \"g\", \"group_index\": 3, \"retries\": 2, \"timelimit\": [30, 20.5], "
        "\"shadow\": \"s\", \"parent_id\": \"p\", \"ignore_result\": true, "
        "\"replaced_task_nesting\": 1, \"compression\": \"zlib\", \"redelivered\": true, "
        "\"eta\": \"2030-01-01T00:00:00+00:00\", \"expires\": \"2024-02-29T12:30:15.5Z\"",
        ", \"priority\": 12, \"delivery_info\": {\"exchange\": \"e\", \"routing_key\": \"r\"}");
    assert_str(envelope.group, "g");
    assert_true(envelope.has_group_index);
    assert_int_equal(envelope.group_index, 3);
    assert_int_equal(envelope.retries, 2);
    assert_int_equal(envelope.hard_limit, 30000000);
    assert_int_equal(envelope.soft_limit, 20500000);
    assert_str(envelope.shadow, "s");
    assert_str(envelope.parent_id, "p");
    assert_true(envelope.ignore_result && envelope.redelivered);
    assert_int_equal(envelope.replaced_task_nesting, 1);
    assert_str(envelope.compression, "zlib");
    assert_str(envelope.eta_text, "2030-01-01T00:00:00+00:00");
    assert_int_equal(envelope.eta_wall, 1893456000000000);
    assert_int_equal(envelope.expires_wall, 1709209815500000);
    assert_int_equal(envelope.priority, 12);
    assert_str(envelope.exchange, "e");
    assert_str(envelope.routing_key, "r");
    envelope_deinit(&envelope);
}

static void optional_headers_of_a_wrong_type_count_as_missing(void **state)
{
    (void)state;
    struct envelope envelope =
        with(", \"lang\": 1, \"shadow\": {\"a\": [1]}, \"group\": [], \"group_index\": \"3\", "
             "\"retries\": 1.5, \"timelimit\": {\"hard\": 1}, \"root_id\": false, "
             "\"argsrepr\": [\"(1,)\"], \"ignore_result\": 1, \"replaced_task_nesting\": null, "
             "\"compression\": 5, \"origin\": -1e5",
             ", \"priority\": \"9\", \"delivery_info\": [1], \"correlation_id\": 7, "
             "\"delivery_tag\": 9");
    assert_none(envelope.lang);
    assert_none(envelope.shadow);
    assert_none(envelope.group);
    assert_none(envelope.root_id);
    assert_none(envelope.argsrepr);
    assert_none(envelope.compression);
    assert_none(envelope.correlation_id);
    assert_none(envelope.delivery_tag);
    assert_none(envelope.routing_key);
    assert_false(envelope.has_group_index || envelope.ignore_result);
    assert_int_equal(envelope.group_index, 0);
    assert_int_equal(envelope.retries, 0);
    assert_int_equal(envelope.priority, 0);
    assert_int_equal(envelope.hard_limit + envelope.soft_limit, 0);
    envelope_deinit(&envelope);
}

static void numbers_out_of_range_count_as_missing(void **state)
{
    (void)state;
    struct envelope envelope =
        with(", \"retries\": 99999999999999999999, \"timelimit\": [-1, 1e300, 5], "
             "\"group_index\": NaN",
             ", \"priority\": 99999999999999999999");
    assert_int_equal(envelope.retries, 0);
    assert_int_equal(envelope.hard_limit + envelope.soft_limit, 0);
    assert_false(envelope.has_group_index);
    assert_int_equal(envelope.priority, 0);
    envelope = with(", \"retries\": -3, \"timelimit\": [Infinity, 0.0000015]", "");
    assert_int_equal(envelope.retries, 0);
    assert_int_equal(envelope.hard_limit, 0);
    assert_int_equal(envelope.soft_limit, 2);
    envelope = with(", \"timelimit\": [2.5]", "");
    assert_int_equal(envelope.hard_limit, 2500000);
    envelope = with(", \"timelimit\": []", "");
    assert_int_equal(envelope.hard_limit, 0);
}

static void a_bad_time_makes_the_message_invalid(void **state)
{
    static const char *const headers[] = {
        ", \"eta\": \"\"",       ", \"eta\": \"soon\"", ", \"eta\": 12",
        ", \"expires\": 1.5e9",  ", \"expires\": \"\"", ", \"expires\": \"2030-13-01\"",
        ", \"expires\": [null]", ", \"eta\": true",
    };
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        assert_int_equal(decode_with(headers[i], "", &envelope, &err), CEL_E_FORMAT);
        assert_non_null(strstr(err.text, i == 3 || i == 4 || i == 5 || i == 6 ? "expires" : "eta"));
    }
}

static void task_and_id_must_be_text(void **state)
{
    static const struct {
        const char *headers;
        int status;
        const char *word;
    } cases[] = {
        {"\"task\": \"t\"", CEL_E_FORMAT, "id"},
        {"\"task\": \"t\", \"id\": 5", CEL_E_FORMAT, "id"},
        {"\"task\": \"t\", \"id\": null", CEL_E_FORMAT, "id"},
        {"\"task\": \"t\", \"id\": \"\"", CEL_E_FORMAT, "id"},
        {"\"task\": \"\", \"id\": \"i\"", CEL_E_FORMAT, "task"},
    };
    struct envelope envelope;
    struct cel_error err;
    char text[1000];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        snprintf(text, sizeof(text),
                 "{\"body\": \"\", \"content-type\": \"application/json\", \"headers\": {%s}}",
                 cases[i].headers);
        assert_int_equal(decode(str_of(text), &envelope, &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].word));
    }
    char headers[700] = ", \"id\": \"";
    size_t at = strlen(headers);
    memset(headers + at, 'x', TASK_ID_MAX + 1);
    memcpy(headers + at + TASK_ID_MAX + 1, "\"", 2);
    assert_int_equal(decode_with(headers, "", &envelope, &err), CEL_E_LIMIT);
    memcpy(headers + at + TASK_ID_MAX, "\"", 2);
    assert_int_equal(decode_with(headers, "", &envelope, &err), 0);
}

static void body_and_content_type_must_be_there(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    assert_int_equal(decode(STR("{\"content-type\": \"application/json\", \"headers\": "
                                "{\"task\": \"t\", \"id\": \"i\"}}"),
                            &envelope, &err),
                     CEL_E_FORMAT);
    assert_non_null(strstr(err.text, "body"));
    assert_int_equal(
        decode(STR("{\"body\": [], \"content-type\": \"application/json\"}"), &envelope, &err),
        CEL_E_FORMAT);
    assert_int_equal(decode(STR("{\"body\": \"\", \"headers\": {\"task\": \"t\", \"id\": \"i\"}}"),
                            &envelope, &err),
                     CEL_E_FORMAT);
    assert_non_null(strstr(err.text, "content-type"));
    assert_int_equal(decode_with("", ", \"body_encoding\": \"rot13\"", &envelope, &err),
                     CEL_E_FORMAT);
    assert_non_null(strstr(err.text, "rot13"));
}

static void a_message_without_a_task_is_of_protocol_1(void **state)
{
    static const char *const headers[] = {"", ", \"headers\": {}", ", \"headers\": null",
                                          ", \"headers\": {\"id\": \"i\"}", ", \"headers\": 5"};
    struct envelope envelope;
    struct cel_error err;
    char text[1000];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        snprintf(text, sizeof(text),
                 "{\"body\": \"e30=\", \"content-type\": \"application/json\"%s, "
                 "\"properties\": {\"delivery_tag\": \"d\", \"body_encoding\": \"base64\"}}",
                 headers[i]);
        assert_int_equal(decode(str_of(text), &envelope, &err), ENVELOPE_PROTOCOL_1);
        assert_str(envelope.delivery_tag, "d");
        assert_str(envelope.body, "e30=");
        assert_true(envelope.body_is_base64);
        envelope_deinit(&envelope);
    }
}

static void other_members_are_kept_as_text(void **state)
{
    (void)state;
    struct envelope envelope =
        with(", \"tenant\": \"a\", \"n\":1 ,\"deep\": {\"x\": [1, NaN]}",
             ", \"delivery_mode\": 2, \"expiration\": \"5\", \"periodic_task_name\": \"\\u00e9\"");
    assert_str(envelope.other_headers, "\"tenant\": \"a\", \"n\":1 ,\"deep\": {\"x\": [1, NaN]}");
    assert_str(envelope.other_properties,
               "\"expiration\": \"5\", \"periodic_task_name\": \"\\u00e9\"");
    assert_null(envelope.scratch.ptr);
    envelope_deinit(&envelope);
}

static void other_members_that_stand_apart_are_gathered(void **state)
{
    (void)state;
    struct envelope envelope =
        with(", \"a\": 1, \"lang\": \"p\\ty\", \"b\": [2] , \"retries\": 1, \"c\": {\"task\": 0}, "
             "\"shadow\": \"\\\"\"",
             ", \"x\": 1, \"priority\": 3, \"y\" : \"\\n\"");
    assert_str(envelope.other_headers, "\"a\": 1,\"b\": [2],\"c\": {\"task\": 0}");
    assert_str(envelope.other_properties, "\"x\": 1,\"y\" : \"\\n\"");
    assert_str(envelope.lang, "p\ty");
    assert_str(envelope.shadow, "\"");
    assert_int_equal(envelope.retries, 1);
    assert_int_equal(envelope.priority, 3);
    envelope_deinit(&envelope);
}

static void the_last_of_two_members_counts(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    envelope = with(", \"id\": \"j\", \"retries\": 1, \"retries\": 2, \"shadow\": \"s\", "
                    "\"shadow\": null, \"eta\": \"junk\", \"eta\": null, \"redelivered\": true, "
                    "\"redelivered\": false, \"group_index\": 1, \"group_index\": null, "
                    "\"timelimit\": [1, 2], \"timelimit\": null",
                    ", \"delivery_info\": {\"exchange\": \"x\", \"redelivered\": true, "
                    "\"priority\": 3}, \"delivery_info\": {\"routing_key\": \"r\"}");
    assert_str(envelope.id, "j");
    assert_int_equal(envelope.retries, 2);
    assert_none(envelope.shadow);
    assert_int_equal(envelope.eta_wall, 0);
    assert_false(envelope.redelivered || envelope.has_group_index);
    assert_int_equal(envelope.hard_limit + envelope.soft_limit, 0);
    assert_none(envelope.exchange);
    assert_str(envelope.routing_key, "r");
    assert_int_equal(envelope.priority, 0);
    envelope_deinit(&envelope);
    assert_int_equal(
        decode(STR("{\"headers\": {\"task\": \"a\", \"id\": \"b\", \"retries\": 4, \"z\": 1, "
                   "\"lang\": \"\\u0041\", \"y\": 1}, \"body\": \"1\", \"properties\": "
                   "{\"priority\": 9, \"delivery_tag\": \"1\", \"q\": 0}, \"content-type\": \"x\", "
                   "\"headers\": {\"task\": \"c\", \"id\": \"d\"}, \"body\": \"2\", "
                   "\"properties\": {\"correlation_id\": \"e\"}, \"content-type\": \"y\"}"),
               &envelope, &err),
        0);
    assert_str(envelope.task, "c");
    assert_str(envelope.id, "d");
    assert_none(envelope.lang);
    assert_none(envelope.other_headers);
    assert_none(envelope.other_properties);
    assert_int_equal(envelope.retries, 0);
    assert_str(envelope.body, "2");
    assert_int_equal(envelope.priority, 0);
    assert_none(envelope.delivery_tag);
    assert_str(envelope.content_type, "y");
    envelope_deinit(&envelope);
}

static void escaped_text_lives_in_the_scratch(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    assert_int_equal(
        decode(STR("{\"\\u0062ody\": \"a\\/b=\", \"content-type\": \"application\\/json\", "
                   "\"headers\": {\"t\\u0061sk\": \"t\\u00e9\", \"id\": \"\\ud83d\\ude00\", "
                   "\"argsrepr\": \"('\\\\n',)\", \"shadow\": \"\\ud800\", "
                   "\"\\u0061\\u0062\\u0063\": 1, \"n\\u00f6\": 2}, "
                   "\"properties\": {\"body_encoding\": \"b\\u0061se64\"}}"),
               &envelope, &err),
        0);
    assert_str(envelope.body, "a/b=");
    assert_str(envelope.content_type, "application/json");
    assert_str(envelope.task, "t\xc3\xa9");
    assert_str(envelope.id, "\xf0\x9f\x98\x80");
    assert_str(envelope.argsrepr, "('\\n',)");
    assert_str(envelope.shadow, "\xef\xbf\xbd");
    assert_str(envelope.other_headers, "\"\\u0061\\u0062\\u0063\": 1, \"n\\u00f6\": 2");
    assert_true(envelope.body_is_base64);
    envelope_deinit(&envelope);
}

static void messages_of_other_clients_are_understood(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    /* celery-node: few headers, camel case, no priority */
    assert_int_equal(
        decode(STR("{\"body\":\"W1sxXSx7fSx7fV0=\",\"content-type\":\"application/json\","
                   "\"content-encoding\":\"utf-8\",\"headers\":{\"lang\":\"js\",\"task\":\"a.b\","
                   "\"id\":\"7\"},\"properties\":{\"correlationId\":\"7\",\"replyTo\":\"\","
                   "\"delivery_mode\":2,\"delivery_info\":{\"exchange\":\"\",\"routing_key\":"
                   "\"celery\"},\"body_encoding\":\"base64\",\"delivery_tag\":\"5\"}}"),
               &envelope, &err),
        0);
    assert_str(envelope.task, "a.b");
    assert_none(envelope.correlation_id);
    assert_none(envelope.reply_to);
    assert_true(envelope.body_is_base64);
    envelope_deinit(&envelope);
    /* celery-ts: the body is the JSON text itself, times with milliseconds */
    assert_int_equal(
        decode(STR("{\"body\":\"[[1],{\\\"a\\\":null},{}]\",\"content-encoding\":\"utf-8\","
                   "\"content-type\":\"application/json\",\"headers\":{\"lang\":\"py\",\"task\":"
                   "\"t\",\"id\":\"i\",\"eta\":\"2030-01-01T00:00:00.123Z\",\"expires\":null},"
                   "\"properties\":{\"body_encoding\":\"utf-8\",\"delivery_tag\":\"celery\","
                   "\"priority\":4,\"queue\":\"celery\"}}"),
               &envelope, &err),
        0);
    assert_str(envelope.body, "[[1],{\"a\":null},{}]");
    assert_false(envelope.body_is_base64);
    assert_str(envelope.delivery_tag, "celery");
    assert_int_equal(envelope.eta_wall, 1893456000123000);
    assert_int_equal(envelope.priority, 4);
    envelope_deinit(&envelope);
    /* celery-ts, compressed */
    assert_int_equal(
        decode(STR("{\"body\":\"eJw=\",\"content-encoding\":\"base64\",\"content-type\":"
                   "\"application/json\",\"headers\":{\"task\":\"t\",\"id\":\"i\"},"
                   "\"properties\":{\"body_encoding\":\"utf-8\"}}"),
               &envelope, &err),
        0);
    assert_true(envelope.body_is_base64);
    envelope_deinit(&envelope);
    /* node-celery, gocelery: protocol 1, priority in delivery_info, no headers at all */
    assert_int_equal(
        decode(STR("{\"body\":\"e30=\",\"content-type\":\"application/json\",\"properties\":"
                   "{\"body_encoding\":\"base64\",\"delivery_info\":{\"priority\":6,"
                   "\"exchange\":\"celery\",\"routing_key\":\"celery\"},\"delivery_tag\":\"1\"},"
                   "\"content-encoding\":\"utf-8\"}"),
               &envelope, &err),
        ENVELOPE_PROTOCOL_1);
    assert_int_equal(envelope.priority, 6);
    assert_str(envelope.exchange, "celery");
    envelope_deinit(&envelope);
}

static void what_is_no_envelope_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *word;
    } cases[] = {
        {"", CEL_E_FORMAT, "byte 0"},
        {"this is not json", CEL_E_FORMAT, "byte 0"},
        {"[]", CEL_E_FORMAT, "no object where one must stand at byte 0"},
        {"null", CEL_E_FORMAT, "byte 0"},
        {"{\"body\": \"x\"", CEL_E_FORMAT, "byte 12"},
        {"{\"body\": \"x}", CEL_E_FORMAT, "without an end at byte 12"},
        {"{} x", CEL_E_FORMAT, "more behind the end at byte 3"},
        {"{\"headers\": {\"retries\": 1.}}", CEL_E_FORMAT, "byte 26"},
        {"{\"headers\": {\"timelimit\": [1, }}", CEL_E_FORMAT, "byte 30"},
        {"{\"headers\": {\"ignore_result\": tru}}", CEL_E_FORMAT, "byte 30"},
        {"{\"properties\": {\"delivery_info\": {\"priority\": 0x}}}", CEL_E_FORMAT, "byte 47"},
        {"{\"zz\": \"\xff\"}", CEL_E_FORMAT, "not UTF-8"},
    };
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int r = decode(str_of(cases[i].text), &envelope, &err);
        if (r != cases[i].status || !strstr(err.text, cases[i].word))
            fail_msg("%s: %d %s", cases[i].text, r, err.text);
    }
    char deep[400];
    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"headers\":", 11);
    assert_int_equal(decode(str_n(deep, sizeof(deep)), &envelope, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "levels"));
    assert_int_equal(envelope_decode(str_n("", ENVELOPE_BYTES_MAX + 1), &envelope, &err),
                     CEL_E_LIMIT);
    assert_int_equal(envelope_decode(STR_NONE, &envelope, NULL), CEL_E_FORMAT);
}

/* Every beginning of a message fails, and every byte of it may be any other. */
static void damaged_messages_do_no_harm(void **state)
{
    static const char bytes[] = {'"', '\\', '{', '}', '[', ']', ',', ':', 0, ' ', '1', 'n', '\xff'};
    struct str message = message_load("q-526-custom-headers");
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    for (size_t len = 0; len < message.len; len++)
        assert_int_equal(decode(str_n(message.ptr, len), &envelope, &err), CEL_E_FORMAT);
    char *copy = malloc(message.len);
    assert_non_null(copy);
    for (size_t at = 0; at < message.len; at++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            memcpy(copy, message.ptr, message.len);
            copy[at] = bytes[i];
            int r = envelope_decode(str_n(copy, message.len), &envelope, &err);
            assert_true(r == 0 || r == ENVELOPE_PROTOCOL_1 || r == CEL_E_FORMAT);
            if (r >= 0)
                envelope_deinit(&envelope);
        }
    }
    free(copy);
    free((void *)message.ptr);
}

static void short_memory_is_reported(void **state)
{
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    mem_fail_after(1);
    assert_int_equal(decode_with(", \"shadow\": \"\\n\"", "", &envelope, &err), -ENOMEM);
    mem_fail_after(1);
    assert_int_equal(decode_with(", \"a\": 1, \"lang\": \"\", \"b\": 1", "", &envelope, &err),
                     -ENOMEM);
    mem_fail_after(0);
    envelope_deinit(NULL);
}

static void priorities_fall_into_kombus_steps(void **state)
{
    static const struct {
        int64_t priority;
        unsigned step;
    } cases[] = {{0, 0}, {1, 0}, {2, 0},  {3, 3},  {5, 3},         {6, 6},
                 {8, 6}, {9, 9}, {12, 9}, {-1, 0}, {INT64_MIN, 0}, {INT64_MAX, 9}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(priority_step(cases[i].priority), cases[i].step);
}

static int free_kept(void **state)
{
    (void)state;
    free(kept);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_message_is_read_whole),
        cmocka_unit_test(headers_of_every_kind_are_read),
        cmocka_unit_test(optional_headers_of_a_wrong_type_count_as_missing),
        cmocka_unit_test(numbers_out_of_range_count_as_missing),
        cmocka_unit_test(a_bad_time_makes_the_message_invalid),
        cmocka_unit_test(task_and_id_must_be_text),
        cmocka_unit_test(body_and_content_type_must_be_there),
        cmocka_unit_test(a_message_without_a_task_is_of_protocol_1),
        cmocka_unit_test(other_members_are_kept_as_text),
        cmocka_unit_test(other_members_that_stand_apart_are_gathered),
        cmocka_unit_test(the_last_of_two_members_counts),
        cmocka_unit_test(escaped_text_lives_in_the_scratch),
        cmocka_unit_test(messages_of_other_clients_are_understood),
        cmocka_unit_test(what_is_no_envelope_is_refused_with_its_place),
        cmocka_unit_test(damaged_messages_do_no_harm),
        cmocka_unit_test(short_memory_is_reported),
        cmocka_unit_test(priorities_fall_into_kombus_steps),
    };
    return cmocka_run_group_tests(tests, NULL, free_kept);
}
