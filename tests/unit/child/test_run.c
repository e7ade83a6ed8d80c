/* Runs of tasks in a real pool process: what becomes of messages, arguments, return values. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "message/call.h"
#include "message/envelope.h"
#include "tests/support/child_process.h"

static struct child_process process;

static int start(void **state)
{
    (void)state;
    const struct str modules[] = {STR(MODULES "/probe.so")};
    struct frame_setup setup = {.node = STR("celery@test"),
                                .default_queue = STR("main"),
                                .log_level = 1,
                                .log_format = 1,
                                .modules = modules,
                                .module_count = 1};
    child_process_start(&process, &setup);
    return child_process_read(&process, 20000) == 0 && process.frame.type == FRAME_HELLO ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    child_process_end(&process);
    return 0;
}

static const struct frame_outcome *
call_with(const char *name, const char *args, const char *kwargs, const char *more_headers)
{
    char *message = message_of(name, args, kwargs, more_headers);
    const struct frame_outcome *outcome = child_process_call(&process, message);
    free(message);
    return outcome;
}

static const struct frame_outcome *call(const char *name, const char *args, const char *kwargs)
{
    return call_with(name, args, kwargs, "");
}

static void expect_json(struct str text, const char *expected)
{
    struct cel_value *one = NULL, *other = NULL;
    assert_int_equal(json_decode(text.ptr ? text : STR("null"), &one, NULL), 0);
    assert_int_equal(json_decode(str_of(expected), &other, NULL), 0);
    if (!value_equal(one, other))
        fail_msg("%.*s instead of %s", STR_ARGS(text), expected);
    cel_value_free(one);
    cel_value_free(other);
}

static void expect_success(const struct frame_outcome *outcome, const char *json)
{
    if (outcome->kind != OUTCOME_SUCCESS)
        fail_msg("kind %d: %.*s", outcome->kind, STR_ARGS(outcome->result_json));
    assert_null(outcome->traceback.ptr);
    expect_json(outcome->result_json, json);
}

/* `last_line` of the traceback, and the exception object. */
static void expect_exception(const struct frame_outcome *outcome,
                             enum frame_outcome_kind kind,
                             const char *json,
                             const char *last_line)
{
    assert_int_equal(outcome->kind, kind);
    expect_json(outcome->result_json, json);
    char line[600];
    snprintf(line, sizeof(line), "\n%s\n", last_line);
    if (!str_ends(outcome->traceback, str_of(line)))
        fail_msg("traceback: %.*s", STR_ARGS(outcome->traceback));
    assert_true(str_starts(outcome->traceback, STR("Traceback (most recent call last):\n")));
}

static void expect_type_error(const struct frame_outcome *outcome, const char *text)
{
    char json[400], line[400];
    snprintf(
        json, sizeof(json),
        "{\"exc_type\": \"TypeError\", \"exc_message\": [\"%s\"], \"exc_module\": \"builtins\"}",
        text);
    snprintf(line, sizeof(line), "TypeError: %s", text);
    expect_exception(outcome, OUTCOME_FAILURE, json, line);
}

/* --- success ---------------------------------------------------------------------------------- */

static void arguments_go_in_and_the_result_comes_out(void **state)
{
    (void)state;
    expect_success(call("tests.add", "[1, 2]", "{}"), "3");
    expect_success(call("tests.add", "[1]", "{\"y\": 2, \"z\": 39}"), "42");
    expect_success(call("tests.noop", "[]", "{}"), "null");
    expect_success(call("tests.noop", "[1, 2]", "{\"anything\": [null]}"), "null");
    expect_success(call("tests.echo", "[1, \"a\", [1.0]]", "{\"k\": {\"b\": null}}"),
                   "[[1, \"a\", [1.0]], {\"k\": {\"b\": null}}]");
    expect_success(call("tests.raw", "[1]", "{\"text\": \"gr\\u00fcn\"}"),
                   "[[1], {\"text\": \"gr\\u00fcn\"}, \"gr\\u00fcn\"]");
}

/* What tests.types returns: what JSON has, then the rest in either form. */
#define JSON_TYPES                                                                                 \
    "{\"null\": null, \"true\": true, \"int\": -9223372036854775808,"                              \
    " \"bigint\": 123456789012345678901234567890, \"float\": 0.1, \"whole\": 1.0,"                 \
    " \"text\": \"gr\\u00fc\\u00df \\ud83c\\udf31 \\\"quoted\\\"\\n\","                            \
    " \"list\": [1, []], \"map\": {\"a\": {}}, "
#define PLAIN_TYPES                                                                                \
    "\"decimal\": \"1.10\", \"datetime\": \"2024-02-29T12:00:00Z\","                               \
    " \"date\": \"2024-02-29T00:00:00\", \"time\": \"01:02:03\","                                  \
    " \"uuid\": \"00000000-0000-0000-0000-000000000005\"}"
#define TYPED_TYPES                                                                                \
    "\"decimal\": {\"__type__\": \"decimal\", \"__value__\": \"1.10\"},"                           \
    " \"datetime\": {\"__type__\": \"datetime\", \"__value__\": \"2024-02-29T12:00:00+00:00\"},"   \
    " \"date\": {\"__type__\": \"date\", \"__value__\": \"2024-02-29\"},"                          \
    " \"time\": {\"__type__\": \"time\", \"__value__\": \"01:02:03\"},"                            \
    " \"uuid\": {\"__type__\": \"uuid\", \"__value__\": {\"hex\": "                                \
    "\"00000000000000000000000000000005\"}}}"

static void every_type_goes_into_the_result_as_the_reader_knows_it(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.types", "[]", "{}");
    expect_success(outcome, JSON_TYPES TYPED_TYPES);
    assert_non_null(memmem(outcome->result_json.ptr, outcome->result_json.len, "__type__", 8));

    /* Celery 5.2 writes no stamps */
    char *message = message_of("tests.types", "[]", "{}", "");
    memcpy(strstr(message, "\"stamps\""), "\"others\"", 8);
    outcome = child_process_call(&process, message);
    assert_null(memmem(outcome->result_json.ptr, outcome->result_json.len, "__type__", 8));
    expect_success(outcome, JSON_TYPES PLAIN_TYPES);
    free(message);
}

static void bytes_in_a_result_are_for_readers_that_know_them(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.types", "[true]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_SUCCESS);
    static const char bytes[] = "{\"__type__\": \"base64\", \"__value__\": \"/wA=\"}";
    assert_non_null(
        memmem(outcome->result_json.ptr, outcome->result_json.len, bytes, strlen(bytes)));
    char *message = message_of("tests.types", "[true]", "{}", "");
    memcpy(strstr(message, "\"stamps\""), "\"others\"", 8);
    expect_exception(
        child_process_call(&process, message), OUTCOME_FAILURE,
        "{\"exc_type\": \"EncodeError\", \"exc_message\": [\"the result holds bytes, which "
        "JSON has no form for\"], \"exc_module\": \"kombu.exceptions\"}",
        "kombu.exceptions.EncodeError: the result holds bytes, which JSON has no form for");
    memcpy(strstr(message, "\"py\""), "\"js\"", 4);
    assert_int_equal(child_process_call(&process, message)->kind, OUTCOME_SUCCESS);
    free(message);
}

static void a_result_may_be_large_but_not_larger_than_the_limit(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.large", "[10000000]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_SUCCESS);
    assert_int_equal(outcome->result_json.len, 10000002);
    outcome = call("tests.large", "[17000000]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_non_null(memmem(outcome->result_json.ptr, outcome->result_json.len, "EncodeError", 11));
    expect_success(call("tests.add", "[1, 2]", "{}"), "3");
}

/* --- arguments -------------------------------------------------------------------------------- */

static void wrong_arguments_are_a_type_error_as_in_python(void **state)
{
    (void)state;
    expect_type_error(call("tests.add", "[1]", "{}"),
                      "add() missing 1 required positional argument: 'y'");
    expect_type_error(call("tests.add", "[1, 2]", "{\"wrong_arg\": 5}"),
                      "add() got an unexpected keyword argument 'wrong_arg'");
    expect_type_error(call("tests.add", "[1, 2, 3, 4]", "{}"),
                      "add() takes from 2 to 3 positional arguments but 4 were given");
    expect_type_error(call("tests.add", "[1, \"2\"]", "{}"),
                      "add() argument 'y' must be an integer, not text");
    expect_type_error(call("tests.raw", "[]", "{}"),
                      "raw() missing 1 required keyword-only argument: 'text'");
}

static void arguments_are_read_by_type(void **state)
{
    (void)state;
    static const struct {
        const char *type, *value, *expected;
    } good[] = {
        {"int", "-9223372036854775808", "-9223372036854775808"},
        {"float", "1", "1.0"},
        {"float", "0.5", "0.5"},
        {"bool", "true", "true"},
        {"text", "\"a\"", "\"a\""},
        {"text", "null", "null"},
        {"text", "123456789012345678901234567890", "\"123456789012345678901234567890\""},
        {"text", "{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}", "\"1.10\""},
        {"text", "{\"__type__\": \"date\", \"__value__\": \"2024-02-29\"}", "\"2024-02-29\""},
        {"decimal", "5", "\"5\""},
        {"decimal", "0.1", "\"0.1\""},
        {"decimal", "\"-12.50\"", "\"-12.50\""},
        {"decimal", "\"+1.e-5\"", "\"+1.e-5\""},
        {"decimal", "123456789012345678901234567890", "\"123456789012345678901234567890\""},
        {"decimal", "{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}", "\"1.10\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        char args[200];
        snprintf(args, sizeof(args), "[\"%s\", %s]", good[i].type, good[i].value);
        expect_success(call("tests.read_as", args, "{}"), good[i].expected);
    }
    static const struct {
        const char *type, *value, *words;
    } bad[] = {
        {"int", "true", "an integer, not boolean"},
        {"int", "1.0", "an integer, not float"},
        {"int", "123456789012345678901234567890", "an integer of 64 bits, not integer"},
        {"int", "null", "an integer, not null"},
        {"float", "\"1\"", "a number, not text"},
        {"bool", "1", "true or false, not integer"},
        {"text", "5", "text, not integer"},
        {"text", "[]", "text, not list"},
        {"text", "\"a\\u0000b\"", "text without zero bytes, not text"},
        {"decimal", "NaN", "a decimal number, not float"},
        {"decimal", "\"1,5\"", "a decimal number, not text"},
        {"decimal", "\".\"", "a decimal number, not text"},
        {"decimal", "\"1e\"", "a decimal number, not text"},
        {"decimal", "\"\"", "a decimal number, not text"},
        {"decimal", "null", "a decimal number, not null"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char args[200], text[200];
        snprintf(args, sizeof(args), "[\"%s\", %s]", bad[i].type, bad[i].value);
        snprintf(text, sizeof(text), "read_as() argument 'value' must be %s", bad[i].words);
        expect_type_error(call("tests.read_as", args, "{}"), text);
    }
    expect_exception(
        call("tests.read_as", "[\"missing\", 1]", "{}"), OUTCOME_FAILURE,
        "{\"exc_type\": \"RuntimeError\", \"exc_message\": [\"read_as() has no parameter "
        "'no_such_parameter' in its .params\"], \"exc_module\": \"builtins\"}",
        "RuntimeError: read_as() has no parameter 'no_such_parameter' in its .params");
}

/* --- failure and retry ------------------------------------------------------------------------ */

static void a_failure_has_type_module_and_text(void **state)
{
    (void)state;
    expect_exception(
        call("tests.fail", "[\"ValueError\", \"boom\"]", "{}"), OUTCOME_FAILURE,
        "{\"exc_type\": \"ValueError\", \"exc_message\": [\"boom\"], \"exc_module\": \"builtins\"}",
        "ValueError: boom");
    expect_exception(call("tests.fail", "[\"CardDeclined\", \"no \\\"credit\\\"\"]", "{}"),
                     OUTCOME_FAILURE,
                     "{\"exc_type\": \"CardDeclined\", \"exc_message\": [\"no \\\"credit\\\"\"], "
                     "\"exc_module\": "
                     "\"celery_c\"}",
                     "celery_c.CardDeclined: no \"credit\"");
    const struct frame_outcome *outcome = call("tests.fail", "[\"shop.errors.Gone\", \"x\"]", "{}");
    expect_exception(
        outcome, OUTCOME_FAILURE,
        "{\"exc_type\": \"Gone\", \"exc_message\": [\"x\"], \"exc_module\": \"shop.errors\"}",
        "shop.errors.Gone: x");
    assert_non_null(
        memmem(outcome->traceback.ptr, outcome->traceback.len, "probe.so\", in tests.fail", 24));
}

static void an_exception_has_any_arguments(void **state)
{
    (void)state;
    expect_exception(call("tests.fail_args", "[\"ValueError\", [\"text\", 3, [null, 0.5]]]", "{}"),
                     OUTCOME_FAILURE,
                     "{\"exc_type\": \"ValueError\", \"exc_message\": [\"text\", 3, [null, 0.5]], "
                     "\"exc_module\": \"builtins\"}",
                     "ValueError: ('text', 3, [None, 0.5])");
    expect_exception(
        call("tests.fail_args", "[\"shop.errors.Gone\", []]", "{}"), OUTCOME_FAILURE,
        "{\"exc_type\": \"Gone\", \"exc_message\": [], \"exc_module\": \"shop.errors\"}",
        "shop.errors.Gone");
    expect_exception(
        call("tests.fail_args", "[\"KeyError\", [7]]", "{\"end\": \"retry\"}"), OUTCOME_RETRY,
        "{\"exc_type\": \"KeyError\", \"exc_message\": [7], \"exc_module\": \"builtins\"}",
        "KeyError: 7");
}

static void arguments_that_json_has_no_form_for_are_told_as_text(void **state)
{
    (void)state;
    expect_exception(
        call("tests.fail_args", "[\"ValueError\", [1]]", "{\"end\": \"bytes\"}"), OUTCOME_FAILURE,
        "{\"exc_type\": \"ValueError\", \"exc_message\": [\"(1, b'\\\\xff\\\\x00')\"], "
        "\"exc_module\": \"builtins\"}",
        "ValueError: (1, b'\\xff\\x00')");
    const struct frame_outcome *outcome =
        call("tests.fail_args", "[\"ValueError\", \"no list\"]", "{}");
    assert_true(
        str_ends(outcome->traceback, STR("TypeError: cel_fail_args: the arguments are no list\n")));
}

static void a_return_value_without_words_says_so(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.return_code", "[1]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_true(str_ends(outcome->traceback,
                         STR("RuntimeError: the task returned CEL_FAIL without cel_fail()\n")));
    outcome = call("tests.return_code", "[17]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_true(
        str_ends(outcome->traceback,
                 STR("RuntimeError: the task returned 17, which is none of enum cel_outcome\n")));
    outcome = call("tests.return_code", "[2]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_RETRY);
    assert_int_equal(outcome->countdown_usec, -1);
    assert_null(outcome->result_json.ptr);
    outcome = call("tests.return_code", "[4]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_IGNORE);
    expect_success(call("tests.return_code", "[0]", "{}"), "null");
}

static void a_retry_has_countdown_and_reason(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.retry", "[1500, 2]", "{}");
    assert_int_equal(outcome->countdown_usec, 1500000);
    expect_exception(
        outcome, OUTCOME_RETRY,
        "{\"exc_type\": \"Retry\", \"exc_message\": [\"attempt 0 of 2\"], \"exc_module\": "
        "\"celery.exceptions\"}",
        "celery.exceptions.Retry: attempt 0 of 2");
    outcome = call_with("tests.retry", "[-1, 2]", "{}", ", \"retries\": 1");
    assert_int_equal(outcome->kind, OUTCOME_RETRY);
    assert_int_equal(outcome->countdown_usec, -1);
    expect_success(call_with("tests.retry", "[0, 2]", "{}", ", \"retries\": 2"), "2");
}

static void the_last_retry_in_vain_is_named_as_celery_names_it(void **state)
{
    (void)state;
    expect_exception(call_with("tests.retry_always", "[null, \"why\"]", "{}", ", \"retries\": 1"),
                     OUTCOME_RETRY,
                     "{\"exc_type\": \"Retry\", \"exc_message\": [\"why\"], \"exc_module\": "
                     "\"celery.exceptions\"}",
                     "celery.exceptions.Retry: why");
    expect_exception(call_with("tests.retry_always", "[null, \"why\"]", "{}", ", \"retries\": 2"),
                     OUTCOME_RETRY,
                     "{\"exc_type\": \"MaxRetriesExceededError\", \"exc_message\": [\"why\"], "
                     "\"exc_module\": \"celery.exceptions\"}",
                     "celery.exceptions.MaxRetriesExceededError: why");
    expect_exception(
        call_with("tests.retry_always", "[\"KeyError\", \"k\"]", "{}", ", \"retries\": 2"),
        OUTCOME_RETRY,
        "{\"exc_type\": \"KeyError\", \"exc_message\": [\"k\"], \"exc_module\": \"builtins\"}",
        "KeyError: k");
    assert_null(call("tests.retry_always", "[]", "{}")->result_json.ptr);
}

/* --- messages --------------------------------------------------------------------------------- */

static void a_task_is_retried_for_what_it_names(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        enum frame_outcome_kind kind;
    } cases[] = {
        {"[\"OSError\"]", OUTCOME_RETRY},
        {"[\"shop.errors.OSError\"]", OUTCOME_RETRY}, /* of any module */
        {"[\"shop.errors.Busy\"]", OUTCOME_RETRY},
        {"[\"Busy\"]", OUTCOME_FAILURE},
        {"[\"other.Busy\"]", OUTCOME_FAILURE},
        {"[\"ValueError\"]", OUTCOME_FAILURE},
        {"[\"OSErro\"]", OUTCOME_FAILURE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct frame_outcome *outcome = call("tests.autoretry", cases[i].args, "{}");
        if (outcome->kind != cases[i].kind)
            fail_msg("%s: kind %d", cases[i].args, outcome->kind);
        assert_int_equal(outcome->countdown_usec, -1);
    }
    expect_exception(call("tests.autoretry", "[\"shop.errors.Busy\", \"full\"]", "{}"),
                     OUTCOME_RETRY,
                     "{\"exc_type\": \"Busy\", \"exc_message\": [\"full\"], "
                     "\"exc_module\": \"shop.errors\"}",
                     "shop.errors.Busy: full");
    assert_int_equal(call("tests.autoretry_all", "[1]", "{}")->kind, OUTCOME_RETRY);
    assert_int_equal(call("tests.autoretry_all", "[3]", "{}")->kind, OUTCOME_RETRY);
    assert_int_equal(call("tests.autoretry_all", "[77]", "{}")->kind, OUTCOME_FAILURE);
    assert_int_equal(call("tests.autoretry_all", "[4]", "{}")->kind, OUTCOME_IGNORE);
    assert_int_equal(call("tests.autoretry_all", "[0]", "{}")->kind, OUTCOME_SUCCESS);
    assert_int_equal(call("tests.autoretry_all", "[]", "{}")->kind, OUTCOME_FAILURE);
}

static void a_task_may_reject_its_call(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.reject", "[\"not mine\"]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_REJECTED);
    assert_true(str_equal(outcome->detail, STR("not mine")));
    assert_null(outcome->result_json.ptr);
    outcome = call("tests.reject", "[]", "{\"requeue\": true}");
    assert_int_equal(outcome->kind, OUTCOME_REQUEUED);
    assert_null(outcome->detail.ptr);
    outcome = call("tests.return_code", "[6]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_REJECTED);
}

static void a_state_of_ones_own_is_told(void **state)
{
    (void)state;
    char *message = message_of("tests.state", "[\"UPLOADING\"]", "{}", "");
    uint64_t seq = child_process_run(&process, message);
    free(message);
    assert_int_equal(child_process_read(&process, 20000), 0);
    assert_int_equal(process.frame.type, FRAME_PROGRESS);
    assert_int_equal(process.frame.progress.seq, seq);
    assert_true(str_equal(process.frame.progress.state, STR("UPLOADING")));
    expect_json(process.frame.progress.meta_json, "{\"bytes\": 5}");
    assert_int_equal(child_process_read(&process, 20000), 0);
    assert_int_equal(process.frame.outcome.kind, OUTCOME_SUCCESS);
    static const char *const refused[] = {"SUCCESS",
                                          "FAILURE",
                                          "REVOKED",
                                          "RETRY",
                                          "PENDING",
                                          "",
                                          "X23456789012345678901234567890123456789012345678901"};
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        char args[80];
        snprintf(args, sizeof(args), "[\"%s\"]", refused[i]);
        expect_exception(call("tests.state", args, "{}"), OUTCOME_FAILURE,
                         "{\"exc_type\": \"ValueError\", \"exc_message\": "
                         "[\"cel_state returned -22\"], \"exc_module\": \"builtins\"}",
                         "ValueError: cel_state returned -22");
    }
}

static void an_unknown_task_is_not_registered(void **state)
{
    (void)state;
    expect_exception(call("tests.nobody", "[]", "{}"), OUTCOME_FAILURE,
                     "{\"exc_type\": \"NotRegistered\", \"exc_message\": [\"tests.nobody\"], "
                     "\"exc_module\": \"celery.exceptions\"}",
                     "celery.exceptions.NotRegistered: tests.nobody");
}

static void a_message_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *args, *kwargs, *type;
    } bodies[] = {
        {"[1", "{}", "DecodeError"}, {"5", "{}", "DecodeError"}, {"[]", "[]", "DecodeError"}};
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        const struct frame_outcome *outcome = call("tests.add", bodies[i].args, bodies[i].kwargs);
        assert_int_equal(outcome->kind, OUTCOME_REFUSED);
        assert_true(outcome->detail.len > 5);
        assert_null(outcome->traceback.ptr);
        assert_non_null(
            memmem(outcome->result_json.ptr, outcome->result_json.len, "DecodeError", 11));
    }
    char *message = message_of("tests.add", "[1, 2]", "{}", "");
    memcpy(strstr(message, "application/json"), "application/yaml", 16);
    const struct frame_outcome *outcome = child_process_call(&process, message);
    assert_int_equal(outcome->kind, OUTCOME_REFUSED);
    assert_non_null(
        memmem(outcome->result_json.ptr, outcome->result_json.len, "ContentDisallowed", 17));
    free(message);
    assert_int_equal(child_process_call(&process, "not JSON")->kind, OUTCOME_REFUSED);
    assert_int_equal(child_process_call(&process, "{}")->kind, OUTCOME_REFUSED);
    assert_int_equal(child_process_call(&process, "")->kind, OUTCOME_REFUSED);
    expect_success(call("tests.add", "[1, 2]", "{}"), "3");
}

static void a_message_of_protocol_1_runs(void **state)
{
    (void)state;
    static const char message[] =
        "{\"body\": \"{\\\"task\\\": \\\"tests.add\\\", \\\"id\\\": \\\"old-1\\\", \\\"args\\\": "
        "[1, 2],"
        " \\\"kwargs\\\": {}}\", \"content-type\": \"application/json\", \"content-encoding\": "
        "\"utf-8\", \"headers\": {}, \"properties\": {\"delivery_info\": {\"exchange\": \"\", "
        "\"routing_key\": \"q\"}, \"delivery_tag\": \"t\"}}";
    expect_success(child_process_call(&process, message), "3");
}

static void a_call_of_our_own_runs(void **state)
{
    (void)state;
    const enum cel_serializer serializers[] = {CEL_JSON, CEL_JSON_TYPED, CEL_MSGPACK};
    for (size_t i = 0; i < ARRAY_SIZE(serializers); i++) {
        struct cel_call *call = cel_call_new("tests.add");
        cel_call_arg(call, cel_int(40));
        cel_call_kwarg(call, "y", cel_int(2));
        cel_call_serializer(call, serializers[i]);
        cel_call_compression(call, i % 2 ? CEL_ZLIB : CEL_UNCOMPRESSED);
        struct call_context context = {.id = STR("id"),
                                       .delivery_tag = STR("tag"),
                                       .default_queue = STR("celery"),
                                       .origin = STR("o"),
                                       .now_wall = 1};
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1 << 20);
        struct str id, queue;
        assert_int_equal(call_encode(call, &context, &buf, &id, &queue, NULL), 0);
        expect_success(child_process_call(&process, buf.ptr), "42");
        cel_call_free(call);
    }
}

/* --- surroundings ----------------------------------------------------------------------------- */

static void the_request_is_known(void **state)
{
    (void)state;
    const struct frame_outcome *outcome =
        call_with("tests.request", "[]", "{}",
                  ", \"retries\": 2, \"eta\": \"2024-02-29T12:00:00.500000+00:00\", \"expires\": "
                  "\"2030-01-01T00:00:00+00:00\", \"group\": \"g-1\", \"x-test\": {\"a\": [1]}");
    char expected[700];
    snprintf(
        expected, sizeof(expected),
        "{\"id\": \"id-1\", \"name\": \"tests.request\", \"root_id\": \"root-1\", \"parent_id\": "
        "null, \"group_id\": \"g-1\", \"queue\": \"q1\", \"hostname\": \"celery@test\", "
        "\"retries\": 2, \"eta_ms\": 1709208000500, \"expires_ms\": 1893456000000, \"priority\": "
        "5, \"redelivered\": false, \"pid\": %d, \"x-test\": {\"a\": [1]}}",
        process.pid);
    expect_success(outcome, expected);
}

static void the_message_is_known(void **state)
{
    (void)state;
    expect_success(
        call_with("tests.message", "[]", "{}", ", \"x-test\": {\"a\": [1]}"),
        "[{\"lang\": \"py\", \"task\": \"tests.message\", \"id\": \"id-1\", \"root_id\": "
        "\"root-1\", "
        "\"parent_id\": null, \"stamped_headers\": null, \"stamps\": {}, \"x-test\": {\"a\": "
        "[1]}}, "
        "{\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"q1\"}, \"priority\": 5, "
        "\"delivery_tag\": \"tag-1\"}]");
}

static void settings_are_the_modules(void **state)
{
    (void)state;
    expect_success(call("tests.setting", "[\"probe_greeting\"]", "{}"), "\"hello\"");
    expect_success(call("tests.setting", "[\"needy_secret\"]", "{}"), "null");
}

static void what_a_task_logs_has_its_name_and_id(void **state)
{
    (void)state;
    call("tests.log", "[\"one\\ntwo\"]", "{}");
    call("tests.print", "[\"plain words\"]", "{}");
    char *log = child_process_log(&process);
    assert_null(strstr(log, "debug: one"));
    assert_non_null(strstr(log, "warning: one\\ntwo"));
    const char *line = strstr(log, "info: one");
    assert_non_null(line);
    char *line_end = strchr(line, '\n');
    *line_end = '\0';
    assert_non_null(strstr(line, "task=tests.log"));
    assert_non_null(strstr(line, "task_id=id-1"));
    assert_non_null(strstr(line_end + 1, "plain words\n"));
    free(log);
}

static void progress_comes_before_the_outcome(void **state)
{
    (void)state;
    char *message = message_of("tests.progress", "[3, 1]", "{}", "");
    uint64_t seq = child_process_run(&process, message);
    free(message);
    for (int i = 1; i <= 3; i++) {
        char expected[40];
        assert_int_equal(child_process_read(&process, 10000), 0);
        assert_int_equal(process.frame.type, FRAME_PROGRESS);
        assert_int_equal(process.frame.progress.seq, seq);
        assert_true(str_equal(process.frame.progress.state, STR("PROGRESS")));
        snprintf(expected, sizeof(expected), "{\"done\": %d, \"of\": 3}", i);
        expect_json(process.frame.progress.meta_json, expected);
    }
    assert_int_equal(child_process_read(&process, 10000), 0);
    assert_int_equal(process.frame.type, FRAME_OUTCOME);
    expect_success(&process.frame.outcome, "3");
}

/* --- sends ------------------------------------------------------------------------------------ */

static void sends_ride_in_the_outcome(void **state)
{
    (void)state;
    const struct frame_outcome *outcome =
        call("tests.send", "[\"other.task\", [1, \"a\"]]", "{\"count\": 2, \"priority\": 7}");
    assert_int_equal(outcome->kind, OUTCOME_SUCCESS);
    assert_int_equal(outcome->send_count, 2);
    struct cel_value *ids = NULL;
    assert_int_equal(json_decode(outcome->result_json, &ids, NULL), 0);
    char children[300];
    snprintf(children, sizeof(children), "[[[\"%s\", null], null], [[\"%s\", null], null]]",
             cel_value_text(cel_value_at(ids, 0), NULL),
             cel_value_text(cel_value_at(ids, 1), NULL));
    expect_json(outcome->children_json, children);
    for (size_t i = 0; i < 2; i++) {
        const struct frame_send *send = &outcome->sends[i];
        struct envelope envelope;
        assert_int_equal(envelope_decode(send->bytes, &envelope, NULL), 0);
        assert_true(str_equal(envelope.task, STR("other.task")));
        assert_true(str_equal(envelope.id, value_str(cel_value_at(ids, i))));
        assert_true(str_equal(envelope.root_id, STR("root-1")));
        assert_true(str_equal(envelope.parent_id, STR("id-1")));
        assert_true(str_equal(envelope.origin, STR("celery@test")));
        assert_int_equal(envelope.priority, 7);
        assert_true(str_equal(send->queue, STR("main")));
        assert_true(str_equal(envelope.routing_key, STR("main")));
        assert_int_equal(send->step, 6);
        envelope_deinit(&envelope);
    }
    cel_value_free(ids);
}

static void a_send_goes_to_the_queue_of_its_task(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.send", "[\"tests.on_other_queue\"]", "{}");
    assert_int_equal(outcome->send_count, 1);
    assert_true(str_equal(outcome->sends[0].queue, STR("other")));
    assert_int_equal(outcome->sends[0].step, 0);
}

static void nothing_is_sent_without_success(void **state)
{
    (void)state;
    const struct frame_outcome *outcome =
        call("tests.send", "[\"other.task\"]", "{\"end\": \"fail\"}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_int_equal(outcome->send_count, 0);
    assert_null(outcome->children_json.ptr);
    outcome = call("tests.send", "[\"other.task\"]", "{\"end\": \"retry\"}");
    assert_int_equal(outcome->kind, OUTCOME_RETRY);
    assert_int_equal(outcome->send_count, 0);
    outcome = call("tests.send", "[\"other.task\"]", "{\"end\": \"ignore\"}");
    assert_int_equal(outcome->kind, OUTCOME_IGNORE);
    assert_int_equal(outcome->send_count, 1);
}

static void a_call_that_cannot_be_sent_fails_the_task_that_wants_it(void **state)
{
    (void)state;
    const struct frame_outcome *outcome = call("tests.send", "[\"\"]", "{}");
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_non_null(
        memmem(outcome->traceback.ptr, outcome->traceback.len, "ValueError: cel_task_send: ", 27));
}

/* --- the soft time limit ---------------------------------------------------------------------- */

static const char soft_limit_exceeded[] =
    "{\"exc_type\": \"SoftTimeLimitExceeded\", \"exc_message\": [], \"exc_module\": "
    "\"billiard.exceptions\"}";

/* Runs tests.soft and strikes when it has begun. */
static const struct frame_outcome *strike(const char *how)
{
    char kwargs[40];
    snprintf(kwargs, sizeof(kwargs), "{\"how\": \"%s\"}", how);
    char *message = message_of("tests.soft", "[60000]", kwargs, "");
    child_process_run(&process, message);
    free(message);
    assert_int_equal(child_process_read(&process, 10000), 0);
    assert_int_equal(process.frame.type, FRAME_PROGRESS);
    kill(process.pid, SIGUSR1);
    assert_int_equal(child_process_read(&process, 10000), 0);
    assert_int_equal(process.frame.type, FRAME_OUTCOME);
    return &process.frame.outcome;
}

static void the_soft_limit_ends_a_wait(void **state)
{
    (void)state;
    expect_exception(strike("cancelled"), OUTCOME_FAILURE, soft_limit_exceeded,
                     "billiard.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded()");
}

static void a_loop_that_asks_sees_the_soft_limit(void **state)
{
    (void)state;
    expect_exception(strike("busy"), OUTCOME_FAILURE, soft_limit_exceeded,
                     "billiard.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded()");
}

static void a_soft_limit_that_is_caught_is_a_success(void **state)
{
    (void)state;
    expect_success(strike("caught"), "\"cleaned up\"");
}

static void a_failure_after_the_soft_limit_is_the_soft_limit(void **state)
{
    (void)state;
    expect_exception(strike("failed"), OUTCOME_FAILURE, soft_limit_exceeded,
                     "billiard.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded()");
    expect_exception(strike("own"), OUTCOME_FAILURE,
                     "{\"exc_type\": \"TimeoutError\", \"exc_message\": [\"my own words\"], "
                     "\"exc_module\": \"builtins\"}",
                     "TimeoutError: my own words");
}

static void a_signal_that_comes_too_late_does_not_hit_the_next_task(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        kill(process.pid, SIGUSR1);
    expect_success(call("tests.sleep", "[30]", "{}"), "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_go_in_and_the_result_comes_out),
        cmocka_unit_test(every_type_goes_into_the_result_as_the_reader_knows_it),
        cmocka_unit_test(bytes_in_a_result_are_for_readers_that_know_them),
        cmocka_unit_test(a_result_may_be_large_but_not_larger_than_the_limit),
        cmocka_unit_test(wrong_arguments_are_a_type_error_as_in_python),
        cmocka_unit_test(arguments_are_read_by_type),
        cmocka_unit_test(a_failure_has_type_module_and_text),
        cmocka_unit_test(an_exception_has_any_arguments),
        cmocka_unit_test(arguments_that_json_has_no_form_for_are_told_as_text),
        cmocka_unit_test(a_return_value_without_words_says_so),
        cmocka_unit_test(a_retry_has_countdown_and_reason),
        cmocka_unit_test(the_last_retry_in_vain_is_named_as_celery_names_it),
        cmocka_unit_test(a_task_is_retried_for_what_it_names),
        cmocka_unit_test(a_task_may_reject_its_call),
        cmocka_unit_test(a_state_of_ones_own_is_told),
        cmocka_unit_test(an_unknown_task_is_not_registered),
        cmocka_unit_test(a_message_that_cannot_be_read_is_refused),
        cmocka_unit_test(a_message_of_protocol_1_runs),
        cmocka_unit_test(a_call_of_our_own_runs),
        cmocka_unit_test(the_request_is_known),
        cmocka_unit_test(the_message_is_known),
        cmocka_unit_test(settings_are_the_modules),
        cmocka_unit_test(what_a_task_logs_has_its_name_and_id),
        cmocka_unit_test(progress_comes_before_the_outcome),
        cmocka_unit_test(sends_ride_in_the_outcome),
        cmocka_unit_test(a_send_goes_to_the_queue_of_its_task),
        cmocka_unit_test(nothing_is_sent_without_success),
        cmocka_unit_test(a_call_that_cannot_be_sent_fails_the_task_that_wants_it),
        cmocka_unit_test(the_soft_limit_ends_a_wait),
        cmocka_unit_test(a_loop_that_asks_sees_the_soft_limit),
        cmocka_unit_test(a_soft_limit_that_is_caught_is_a_success),
        cmocka_unit_test(a_failure_after_the_soft_limit_is_the_soft_limit),
        cmocka_unit_test(a_signal_that_comes_too_late_does_not_hit_the_next_task),
    };
    return cmocka_run_group_tests(tests, start, end);
}
