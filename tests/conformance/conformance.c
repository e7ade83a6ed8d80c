/* The names of the module's tasks, as Celery's clients call them, and their parameters as Python has them. */
#include "conformance.h"

bool is_true(const struct cel_value *value)
{
    size_t length = 0;
    switch (cel_value_type(value)) {
    case CEL_NULL:
        return false;
    case CEL_BOOL:
        return cel_value_bool(value, false);
    case CEL_INT:
    case CEL_FLOAT:
        return cel_value_float(value, 0) != 0;
    case CEL_LIST:
    case CEL_MAP:
        return cel_value_count(value) > 0;
    case CEL_TEXT:
    case CEL_BYTES:
        cel_value_bytes(value, &length);
        return length > 0;
    default:
        return true;
    }
}

/* {TASK(add, "x, y")}: the function `add` under its name in Python. */
#define TASK(function, parameters) .name = MODULE #function, .run = function, .params = parameters
#define RETRY_OPTIONS              "max_retries=1, countdown=0.1"

CEL_TASKS(
    {TASK(identity, "x")},
    {TASK(add, "x, y, z=null")},
    {.name = MODULE "add_not_typed", .run = add_two, .params = "x, y"},
    {.name = MODULE "add_ignore_result", .run = add_two, .params = "x, y", .ignore_result = true},
    {TASK(mul, "x, y")},
    {TASK(tsum, "nums")},
    {TASK(xsum, "nums")},
    {TASK(add_pydantic, "data")},
    {.name = MODULE "add_pydantic_string_annotations", .run = add_pydantic, .params = "data"},
    {TASK(delayed_sum, "numbers, pause_time=1")},
    {TASK(delayed_sum_with_soft_guard, "numbers, pause_time=1")},
    {TASK(sleeping, "i, **anything")},
    {TASK(raise_error, "*args")},
    {TASK(fail, "*args")},
    {TASK(fail_unpickleable, "foo, bar")},
    {TASK(return_exception, "e")},
    {TASK(retry, "return_value=null")},
    {TASK(retry_once, "*args, expires=null, " RETRY_OPTIONS), .max_retries = 1},
    {TASK(retry_once_priority, "*args, expires=60, " RETRY_OPTIONS), .max_retries = 1},
    {TASK(retry_once_headers, "*args, " RETRY_OPTIONS), .max_retries = 1},
    {TASK(retry_unpickleable, "foo, bar, *, retry_kwargs")},
    {.name = "auto_retry_class_task",
     .run = auto_retry,
     .params = "",
     .max_retries = 1,
     .autoretry_for = "ValueError",
     .retry_backoff = true,
     .retry_delay_ms = 1000},
    {TASK(ids, "i")},
    {TASK(collect_ids, "res, i")},
    {TASK(return_priority, "*args")},
    {TASK(return_properties, "")},
    {TASK(print_unicode,
          "log_message=\"h\u00e5\u00e5\u00ae\u0192 valmuefr\u00f8\", "
          "print_message=\"hi\u00f6\u00e4\u00fc\u00df\"")},
    {TASK(write_to_file_and_return_int, "file_name, i")},
    {TASK(redis_echo, "message, redis_key=\"redis-echo\"")},
    {TASK(redis_count, "redis_key=\"redis-count\"")},
    {TASK(errback_old_style, "request_id")},
    {TASK(errback_new_style, "request, exc, tb")},
    {TASK(add_replaced, "x, y")},
    {TASK(fail_replaced, "*args")},
    {TASK(replace_with_chain, "*args, link_msg=null")},
    {TASK(replace_with_chain_which_raises, "*args, link_msg=null")},
    {TASK(replace_with_empty_chain, "*args, **kwargs")},
    {TASK(add_to_all, "nums, val")},
    {TASK(add_to_all_to_chord, "nums, val")},
    {TASK(add_chord_to_chord, "nums, val")},
    {TASK(second_order_replace1, "state=false")},
    {TASK(second_order_replace2, "state=false")},
    {TASK(build_chain_inside_task, "")});
