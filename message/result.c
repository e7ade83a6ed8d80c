#include "message/result.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/json.h"
#include "message/fields.h"
#include "message/repr.h"

bool result_is_ready(struct str status)
{
    return str_equal(status, STR("SUCCESS")) || str_equal(status, STR("FAILURE")) ||
           str_equal(status, STR("REVOKED"));
}

/* Their `result` is an exception object. */
static bool is_exception_state(struct str status)
{
    return str_equal(status, STR("FAILURE")) || str_equal(status, STR("RETRY")) ||
           str_equal(status, STR("REVOKED"));
}

/* --- encoding --------------------------------------------------------------------------------- */

static void add_text(struct buf *buf, struct str label, struct str text)
{
    buf_add_str(buf, label);
    json_add_text_or_null(buf, text);
}

static void add_json(struct buf *buf, struct str label, struct str json, struct str otherwise)
{
    buf_add_str(buf, label);
    buf_add_str(buf, json.len > 0 ? json : otherwise);
}

int result_encode(struct buf *buf, const struct result *result)
{
    char date[ISOTIME_SIZE];
    struct str done =
        result_is_ready(result->status) ? isotime_format(result->date_done_wall, date) : STR_NONE;
    if (!result->status.ptr || !result->task_id.ptr)
        return -EINVAL;
    add_text(buf, STR("{\"status\": "), result->status);
    add_json(buf, STR(", \"result\": "), result->result_json, STR("null"));
    add_text(buf, STR(", \"traceback\": "), result->traceback);
    add_json(buf, STR(", \"children\": "), result->children_json, STR("[]"));
    add_text(buf, STR(", \"date_done\": "), done);
    if (result->group_id.ptr)
        add_text(buf, STR(", \"group_id\": "), result->group_id);
    if (result->parent_id.ptr)
        add_text(buf, STR(", \"parent_id\": "), result->parent_id);
    add_text(buf, STR(", \"task_id\": "), result->task_id);
    if (result->more.len > 0) {
        buf_add_c(buf, ", ");
        buf_add_str(buf, result->more);
    }
    buf_add_char(buf, '}');
    return buf_status(buf);
}

int result_scan(struct str text, struct buf *scratch, struct result *ret)
{
    static const struct field members[] = {
        {STR("status"), field_text, offsetof(struct result, status)},
        {STR("result"), field_raw, offsetof(struct result, result_json)},
        {STR("traceback"), field_text, offsetof(struct result, traceback)},
    };
    *ret = (struct result){.status = STR_NONE};
    struct fields fields = {.target = ret, .scratch = scratch};
    scan_init(&fields.scan, text, VALUE_DEPTH_MAX + 2);
    int r = fields_object(&fields, members, ARRAY_SIZE(members), NULL);
    return r == 0 && !ret->status.ptr ? CEL_E_FORMAT : r;
}

/*
 * Python's builtin exceptions, sorted. Left out are those that cannot be made from one text (the
 * reader would get a plain Exception of an odd text) and those that are no Exception: raised by the
 * reader, they would end its program.
 */
static const char *const builtins[] = {
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EncodingWarning",
    "EnvironmentError",
    "Exception",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeError",
    "UnicodeWarning",
    "UserWarning",
    "ValueError",
    "Warning",
    "ZeroDivisionError",
};

static int compare_name(const void *key, const void *member)
{
    const struct str *name = key;
    const char *other = *(const char *const *)member;
    size_t len = strlen(other), common = name->len < len ? name->len : len;
    int order = memcmp(name->ptr, other, common);
    return order ? order : (name->len > len) - (name->len < len);
}

struct str result_exception_module(struct str type)
{
    bool is_builtin = type.ptr && bsearch(&type, builtins, ARRAY_SIZE(builtins),
                                          sizeof(builtins[0]), compare_name);
    return is_builtin ? STR("builtins") : STR("celery_c");
}

static void add_type(struct buf *buf, struct str type)
{
    add_text(buf, STR("{\"exc_type\": "), type.len > 0 ? type : STR("Exception"));
}

static void add_module(struct buf *buf, struct str type, struct str module)
{
    if (!module.ptr)
        module = result_exception_module(type.len > 0 ? type : STR("Exception"));
    add_text(buf, STR(", \"exc_module\": "), module);
    buf_add_char(buf, '}');
}

void result_add_exception(struct buf *buf,
                          struct str type,
                          struct str message_json,
                          struct str module)
{
    add_type(buf, type);
    add_json(buf, STR(", \"exc_message\": "), message_json, STR("[]"));
    add_module(buf, type, module);
}

void result_add_exception_text(struct buf *buf, struct str type, struct str text, struct str module)
{
    add_type(buf, type);
    add_text(buf, STR(", \"exc_message\": ["), text.ptr ? text : STR(""));
    buf_add_char(buf, ']');
    add_module(buf, type, module);
}

/* --- decoding --------------------------------------------------------------------------------- */

enum { EXC_TEXT_MAX = 64 * 1024 };

void result_add_shown(struct buf *buf, struct str type, const struct cel_value *message)
{
    bool is_list = cel_value_type(message) == CEL_LIST;
    const struct cel_value *only = is_list && cel_value_count(message) == 1
                                       ? cel_value_at(message, 0)
                                   : is_list ? NULL
                                             : message;
    if (is_list && cel_value_count(message) == 0)
        return;
    if (is_list && !only)
        repr_value(buf, message, true, EXC_TEXT_MAX);
    else if (cel_value_type(only) == CEL_TEXT && !str_equal(type, STR("KeyError")))
        buf_add_str(buf, value_str(only));
    else
        repr_value(buf, only, false, EXC_TEXT_MAX);
}

static int view_exception(struct result_view *view, const struct cel_value *exception)
{
    bool is_object = cel_value_type(exception) == CEL_MAP;
    const struct cel_value *message =
        is_object ? cel_value_get(exception, "exc_message") : exception;
    if (cel_value_type(exception) == CEL_NULL)
        return 0;
    view->exc_type = value_str(cel_value_get(exception, "exc_type"));
    if (cel_value_type(message) == CEL_NULL)
        return 0;
    buf_add_str(&view->scratch, STR("")); /* there is a text, be it empty */
    result_add_shown(&view->scratch, view->exc_type, message);
    view->exc_text = buf_str(&view->scratch);
    return buf_status(&view->scratch);
}

int result_decode(struct str text, struct result_view *ret, struct cel_error *err)
{
    struct result_view view = {.scratch = BUF_INIT(VALUE_BYTES_MAX)};
    int r = json_decode(text, &view.document, err);
    if (r < 0) {
        error_wrap(err, "The result document");
        return r;
    }
    view.status = value_str(cel_value_get(view.document, "status"));
    view.traceback = value_str(cel_value_get(view.document, "traceback"));
    if (!view.status.ptr) {
        result_view_deinit(&view);
        return error_set(err, CEL_E_FORMAT, "The result document has no status");
    }
    const struct cel_value *value = cel_value_get(view.document, "result");
    if (!is_exception_state(view.status)) {
        view.value = value;
    } else if ((r = view_exception(&view, value)) < 0) {
        result_view_deinit(&view);
        return r == -ENOMEM ? error_no_memory(err)
                            : error_set(err, r, "The exception's text is too long");
    }
    *ret = view;
    return 0;
}

void result_view_deinit(struct result_view *view)
{
    if (!view)
        return;
    cel_value_free(view->document);
    buf_deinit(&view->scratch);
    *view = (struct result_view){0};
}
