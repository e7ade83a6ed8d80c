/*
 * Typed reading of arguments. With .params they are bound already; a task without .params reads its
 * keyword arguments by name.
 */
#include <errno.h>
#include <math.h>

#include "child/task.h"
#include "core/json.h"

/* The argument, or NULL with the outcome recorded. */
static const struct cel_value *find(struct cel_task *task, const char *name)
{
    struct str function = task->registered->function;
    if (!task->bound.params) {
        const struct cel_value *value = cel_value_get(task->body.kwargs, name);
        if (!value)
            task_recordf(task, BY_HELPER, RECORDED_FAIL, "TypeError",
                         STR_FORMAT "() missing 1 required keyword-only argument: '%s'",
                         STR_ARGS(function), name);
        return value;
    }
    const struct cel_value *value = params_bound_find(&task->bound, str_of(name));
    if (!value)
        task_recordf(task, BY_HELPER, RECORDED_FAIL, "RuntimeError",
                     STR_FORMAT "() has no parameter '%s' in its .params", STR_ARGS(function),
                     name);
    return value;
}

static int wrong_type(struct cel_task *task,
                      const char *name,
                      const char *wanted,
                      const struct cel_value *found)
{
    return task_recordf(task, BY_HELPER, RECORDED_FAIL, "TypeError",
                        STR_FORMAT "() argument '%s' must be %s, not %s",
                        STR_ARGS(task->registered->function), name, wanted,
                        cel_type_name(cel_value_type(found)));
}

int cel_arg_int(struct cel_task *task, const char *name, int64_t *ret_value)
{
    const struct cel_value *value = find(task, name);
    if (!value)
        return CEL_FAIL;
    if (value->type == CEL_BIGINT)
        return wrong_type(task, name, "an integer of 64 bits", value);
    if (value->type != CEL_INT)
        return wrong_type(task, name, "an integer", value);
    *ret_value = value->integer;
    return 0;
}

int cel_arg_float(struct cel_task *task, const char *name, double *ret_value)
{
    const struct cel_value *value = find(task, name);
    if (!value)
        return CEL_FAIL;
    if (value->type != CEL_FLOAT && value->type != CEL_INT)
        return wrong_type(task, name, "a number", value);
    *ret_value = cel_value_float(value, 0);
    return 0;
}

int cel_arg_bool(struct cel_task *task, const char *name, bool *ret_value)
{
    const struct cel_value *value = find(task, name);
    if (!value)
        return CEL_FAIL;
    if (value->type != CEL_BOOL)
        return wrong_type(task, name, "true or false", value);
    *ret_value = value->boolean;
    return 0;
}

int cel_arg_text(struct cel_task *task, const char *name, const char **ret_value)
{
    const struct cel_value *value = find(task, name);
    if (!value)
        return CEL_FAIL;
    struct str text = value_str(value);
    if (value->type != CEL_NULL && !text.ptr)
        return wrong_type(task, name, "text", value);
    if (text.len > 0 && memchr(text.ptr, '\0', text.len))
        return wrong_type(task, name, "text without zero bytes", value);
    *ret_value = text.ptr;
    return 0;
}

static size_t count_digits(struct str text)
{
    size_t count = 0;
    while (count < text.len && text.ptr[count] >= '0' && text.ptr[count] <= '9')
        count++;
    return count;
}

static struct str skip(struct str text, size_t len)
{
    return str_n(text.ptr + len, text.len - len);
}

static bool begins_with_any(struct str text, const char *characters)
{
    return text.len > 0 && strchr(characters, text.ptr[0]) && text.ptr[0];
}

/* [sign] digits [. digits] [e [sign] digits], as SQL and Python read a decimal. */
static bool is_decimal(struct str text)
{
    if (begins_with_any(text, "+-"))
        text = skip(text, 1);
    size_t digits = count_digits(text);
    text = skip(text, digits);
    if (begins_with_any(text, ".")) {
        text = skip(text, 1);
        size_t fraction = count_digits(text);
        digits += fraction;
        text = skip(text, fraction);
    }
    if (digits > 0 && begins_with_any(text, "eE")) {
        text = skip(text, begins_with_any(skip(text, 1), "+-") ? 2 : 1);
        digits = count_digits(text);
        text = skip(text, digits);
    }
    return digits > 0 && text.len == 0;
}

static const char *decimal_of_number(struct cel_task *task, const struct cel_value *value)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(64);
    if (value->type == CEL_INT)
        buf_add_i64(&buf, value->integer);
    else
        json_add_double(&buf, value->number);
    return buf_status(&buf) ? NULL : task_keep_text(task, buf_str(&buf));
}

int cel_arg_decimal(struct cel_task *task, const char *name, const char **ret_value)
{
    const struct cel_value *value = find(task, name);
    if (!value)
        return CEL_FAIL;
    bool number = value->type == CEL_INT || (value->type == CEL_FLOAT && isfinite(value->number));
    bool is_text =
        value->type == CEL_TEXT || value->type == CEL_DECIMAL || value->type == CEL_BIGINT;
    if (!number && !(is_text && is_decimal(value_str(value))))
        return wrong_type(task, name, "a decimal number", value);
    const char *text = number ? decimal_of_number(task, value) : value_str(value).ptr;
    if (!text)
        return task_record(task, BY_HELPER, RECORDED_FAIL, "MemoryError", "out of memory");
    *ret_value = text;
    return 0;
}

const struct cel_value *cel_arg_value(struct cel_task *task, const char *name)
{
    return find(task, name);
}

const struct cel_value *cel_args(struct cel_task *task)
{
    return task->body.args;
}

const struct cel_value *cel_kwargs(struct cel_task *task)
{
    return task->body.kwargs;
}
