#include "message/result.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "core/mem.h"

#include "check.h"
#include "tests/support/vectors.h"

static void a_success_is_written_as_celery_writes_it(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct result result = {.status = STR("SUCCESS"),
                            .result_json = STR("3"),
                            .date_done_wall = 1893456000500000,
                            .task_id = STR("i")};
    (void)state;
    assert_int_equal(result_encode(&text, &result), 0);
    assert_str(buf_str(&text),
               "{\"status\": \"SUCCESS\", \"result\": 3, \"traceback\": null, \"children\": [], "
               "\"date_done\": \"2030-01-01T00:00:00.500000+00:00\", \"task_id\": \"i\"}");
}

static void a_failure_is_written_as_celery_writes_it(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct result result = {.status = STR("FAILURE"),
                            .result_json =
                                STR("{\"exc_type\": \"ValueError\", \"exc_message\": [\"boom\"], "
                                    "\"exc_module\": \"builtins\"}"),
                            .traceback = STR("line\nValueError: boom\n"),
                            .children_json = STR("[[[\"c\", null], null]]"),
                            .date_done_wall = 1893456000000000,
                            .task_id = STR("i"),
                            .group_id = STR("g"),
                            .parent_id = STR("p\"")};
    (void)state;
    assert_int_equal(result_encode(&text, &result), 0);
    assert_str(buf_str(&text),
               "{\"status\": \"FAILURE\", \"result\": {\"exc_type\": \"ValueError\", "
               "\"exc_message\": [\"boom\"], \"exc_module\": \"builtins\"}, \"traceback\": "
               "\"line\\nValueError: boom\\n\", \"children\": [[[\"c\", null], null]], "
               "\"date_done\": \"2030-01-01T00:00:00+00:00\", \"group_id\": \"g\", "
               "\"parent_id\": \"p\\\"\", \"task_id\": \"i\"}");
}

static void only_an_end_has_a_date(void **state)
{
    static const struct {
        struct str status;
        bool is_ready;
    } cases[] = {{STR("SUCCESS"), true},  {STR("FAILURE"), true},    {STR("REVOKED"), true},
                 {STR("STARTED"), false}, {STR("RETRY"), false},     {STR("PROGRESS"), false},
                 {STR("PENDING"), false}, {STR("MY SUCCESS"), false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
        struct result result = {
            .status = cases[i].status, .date_done_wall = 1893456000500000, .task_id = STR("i")};
        assert_int_equal(result_is_ready(cases[i].status), cases[i].is_ready);
        assert_int_equal(result_encode(&text, &result), 0);
        assert_int_equal(strstr(text.ptr, "\"date_done\": null") == NULL, cases[i].is_ready);
    }
}

static void status_and_task_id_are_asked_for(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    (void)state;
    assert_int_equal(result_encode(&text, &(struct result){.status = STR("SUCCESS")}), -EINVAL);
    assert_int_equal(result_encode(&text, &(struct result){.task_id = STR("i")}), -EINVAL);
    assert_int_equal(text.len, 0);
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(30);
    assert_int_equal(
        result_encode(&small, &(struct result){.status = STR("S"), .task_id = STR("i")}),
        CEL_E_LIMIT);
}

static void assert_module(struct str type, const char *module)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    struct cel_value *exception;
    result_add_exception(&text, type, STR_NONE, STR_NONE);
    assert_int_equal(json_decode(buf_str(&text), &exception, NULL), 0);
    struct str found = value_str(cel_value_get(exception, "exc_module"));
    if (!str_equal(found, str_of(module)))
        fail_msg(STR_FORMAT ": " STR_FORMAT, STR_ARGS(type), STR_ARGS(found));
    cel_value_free(exception);
}

static void builtin_exceptions_are_known_by_name(void **state)
{
    static const char *const builtins[] = {"ArithmeticError",   "AssertionError",
                                           "AttributeError",    "ConnectionRefusedError",
                                           "EOFError",          "Exception",
                                           "FileNotFoundError", "IOError",
                                           "IndexError",        "KeyError",
                                           "LookupError",       "MemoryError",
                                           "NameError",         "NotImplementedError",
                                           "OSError",           "OverflowError",
                                           "PermissionError",   "RuntimeError",
                                           "RuntimeWarning",    "TimeoutError",
                                           "TypeError",         "UnicodeError",
                                           "ValueError",        "Warning",
                                           "ZeroDivisionError"};
    static const char *const others[] = {"PaymentDeclined",
                                         "ValueErro",
                                         "ValueErrors",
                                         "valueError",
                                         "A",
                                         "Z",
                                         "celery.Error",
                                         "SystemExit",
                                         "KeyboardInterrupt",
                                         "GeneratorExit",
                                         "BaseException",
                                         "UnicodeDecodeError",
                                         "ExceptionGroup",
                                         "print"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
        assert_module(str_of(builtins[i]), "builtins");
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_module(str_of(others[i]), "celery_c");
    assert_module(STR_NONE, "builtins"); /* Exception */
}

static void exceptions_always_have_their_three_keys(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    (void)state;
    result_add_exception(&text, STR("TimeLimitExceeded"), STR("[30]"), STR("billiard.exceptions"));
    assert_str(buf_str(&text), "{\"exc_type\": \"TimeLimitExceeded\", \"exc_message\": [30], "
                               "\"exc_module\": \"billiard.exceptions\"}");
    buf_clear(&text);
    result_add_exception(&text, STR_NONE, STR_NONE, STR_NONE);
    assert_str(buf_str(&text), "{\"exc_type\": \"Exception\", \"exc_message\": [], "
                               "\"exc_module\": \"builtins\"}");
    buf_clear(&text);
    result_add_exception_text(&text, STR("My\"Error"), STR("b\xc3\xa9\n"), STR_NONE);
    assert_str(buf_str(&text),
               "{\"exc_type\": \"My\\\"Error\", \"exc_message\": [\"b\\u00e9\\n\"], "
               "\"exc_module\": \"celery_c\"}");
    buf_clear(&text);
    result_add_exception_text(&text, STR("ValueError"), STR_NONE, STR_NONE);
    assert_str(buf_str(&text), "{\"exc_type\": \"ValueError\", \"exc_message\": [\"\"], "
                               "\"exc_module\": \"builtins\"}");
}

/* --- decoding --------------------------------------------------------------------------------- */

static size_t decode_documents(const struct cel_value *entries, const char *key)
{
    size_t count = 0;
    for (size_t i = 0; i < cel_value_count(entries); i++) {
        struct str name =
            value_str(cel_value_get(cel_value_at(entries, i), key[0] == 'd' ? "channel" : "key"));
        struct str text = value_str(cel_value_get(cel_value_at(entries, i), key));
        struct result_view view;
        struct cel_error err = {0};
        if (!str_starts(name, STR("celery-task-meta-")) || !text.ptr)
            continue;
        if (result_decode(text, &view, &err) != 0)
            fail_msg(STR_FORMAT ": %s", STR_ARGS(text), err.text);
        assert_true(view.status.len > 0);
        assert_same_str(value_str(cel_value_get(view.document, "task_id")),
                        str_n(name.ptr + 17, name.len - 17));
        if (result_is_ready(view.status) && !str_equal(view.status, STR("SUCCESS")))
            assert_non_null(view.exc_type.ptr);
        else if (!str_equal(view.status, STR("RETRY")))
            assert_none(view.exc_type);
        result_view_deinit(&view);
        count++;
    }
    return count;
}

static size_t documents;

static void decode_vector(const char *name, const struct cel_value *vector)
{
    if (!str_starts(str_of(name), STR("r-")))
        return;
    documents += decode_documents(cel_value_get(vector, "redis"), "value");
    documents += decode_documents(cel_value_get(vector, "published"), "data");
}

static void every_recorded_document_is_decoded(void **state)
{
    (void)state;
    vectors_each(decode_vector);
    assert_true(documents > 40);
}

static struct result_view view_of(const char *text)
{
    struct result_view view;
    struct cel_error err = {0};
    if (result_decode(str_of(text), &view, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return view;
}

static void a_value_is_viewed(void **state)
{
    (void)state;
    struct result_view view =
        view_of("{\"status\": \"SUCCESS\", \"result\": [1, 2], \"traceback\": null}");
    assert_str(view.status, "SUCCESS");
    assert_int_equal(cel_value_count(view.value), 2);
    assert_none(view.exc_type);
    assert_none(view.exc_text);
    assert_none(view.traceback);
    result_view_deinit(&view);
    view = view_of("{\"status\": \"PROGRESS\", \"result\": {\"done\": 5}}");
    assert_int_equal(cel_value_int(cel_value_get(view.value, "done"), 0), 5);
    result_view_deinit(&view);
    view = view_of("{\"status\": \"SUCCESS\"}");
    assert_int_equal(cel_value_type(view.value), CEL_NULL);
    result_view_deinit(&view);
    result_view_deinit(&view);
    result_view_deinit(NULL);
}

static void an_exception_reads_as_in_python(void **state)
{
    static const struct {
        const char *exception, *type, *text;
    } cases[] = {
        {"{\"exc_type\": \"ValueError\", \"exc_message\": [\"boom\"]}", "ValueError", "boom"},
        {"{\"exc_type\": \"ValueError\", \"exc_message\": \"boom\"}", "ValueError", "boom"},
        {"{\"exc_type\": \"KeyError\", \"exc_message\": [\"k\"]}", "KeyError", "'k'"},
        {"{\"exc_type\": \"E\", \"exc_message\": []}", "E", ""},
        {"{\"exc_type\": \"E\", \"exc_message\": [30]}", "E", "30"},
        {"{\"exc_type\": \"E\", \"exc_message\": [\"a\", 1, null]}", "E", "('a', 1, None)"},
        {"{\"exc_type\": \"E\", \"exc_message\": [[\"a\"]]}", "E", "['a']"},
        {"\"text alone\"", NULL, "text alone"},
        {"{\"exc_type\": \"E\"}", "E", NULL},
        {"null", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
        buf_addf(&text, "{\"status\": \"FAILURE\", \"traceback\": \"t\", \"result\": %s}",
                 cases[i].exception);
        struct result_view view = view_of(text.ptr);
        assert_null(view.value);
        assert_str(view.traceback, "t");
        assert_same_str(view.exc_type, str_of(cases[i].type));
        assert_same_str(view.exc_text, str_of(cases[i].text));
        result_view_deinit(&view);
    }
}

static void what_is_no_document_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "junk",
                                        "5",
                                        "[]",
                                        "{}",
                                        "{\"status\": 5}",
                                        "{\"status\": \"SUCCESS\"",
                                        "{\"result\": 1}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct result_view view;
        struct cel_error err = {0};
        assert_int_equal(result_decode(str_of(texts[i]), &view, &err), CEL_E_FORMAT);
        assert_non_null(strstr(err.text, "result document"));
        assert_int_equal(result_decode(str_of(texts[i]), &view, NULL), CEL_E_FORMAT);
    }
}

static void short_memory_is_reported(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct result_view view;
        mem_fail_after(n);
        int r = result_decode(STR("{\"status\": \"FAILURE\", \"result\": {\"exc_type\": \"E\", "
                                  "\"exc_message\": [1, 2]}}"),
                              &view, NULL);
        mem_fail_after(0);
        if (r == 0) {
            assert_true(n > 5);
            result_view_deinit(&view);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_is_written_as_celery_writes_it),
        cmocka_unit_test(a_failure_is_written_as_celery_writes_it),
        cmocka_unit_test(only_an_end_has_a_date),
        cmocka_unit_test(status_and_task_id_are_asked_for),
        cmocka_unit_test(builtin_exceptions_are_known_by_name),
        cmocka_unit_test(exceptions_always_have_their_three_keys),
        cmocka_unit_test(every_recorded_document_is_decoded),
        cmocka_unit_test(a_value_is_viewed),
        cmocka_unit_test(an_exception_reads_as_in_python),
        cmocka_unit_test(what_is_no_document_is_refused),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
