/*
 * Failures and retries. A retry that is asked for after cel_fail_args() has that exception, and fails with it
 * when none is left.
 */
#include "conformance.h"

enum { RETRY_MS = 5000, RETRIES = 3 };

int raise_error(struct cel_task *task)
{
    return cel_fail(task, "ValueError", "deliberate error");
}

int fail(struct cel_task *task)
{
    const struct cel_value *args = cel_args(task);
    struct cel_value *all = cel_list();
    cel_list_add(all, cel_text("Task expected to fail"));
    for (size_t i = 0; i < cel_value_count(args); i++)
        cel_list_add(all, cel_value_dup(cel_value_at(args, i)));
    return cel_fail_args(task, MODULE "ExpectedException", all);
}

int fail_unpickleable(struct cel_task *task)
{
    struct cel_value *args = cel_list();
    cel_list_add(args, cel_value_dup(cel_arg_value(task, "foo")));
    return cel_fail_args(task, MODULE "UnpickleableException", args);
}

int return_exception(struct cel_task *task)
{
    struct cel_value *list = cel_list();
    cel_list_add(list, cel_value_dup(cel_arg_value(task, "e")));
    cel_list_add(list, cel_bool(true));
    return cel_return(task, list);
}

int retry(struct cel_task *task)
{
    const struct cel_value *value = cel_arg_value(task, "return_value");
    if (is_true(value) && cel_request(task)->retries >= RETRIES)
        return cel_return(task, cel_value_dup(value));
    cel_fail_args(task, MODULE "ExpectedException", cel_list());
    return cel_retry(task, RETRY_MS, NULL);
}

/* With no countdown the task's own delay; a limit of retries of its own. */
static int retry_with(struct cel_task *task,
                      const struct cel_value *countdown,
                      const struct cel_value *max_retries)
{
    const struct cel_request *request = cel_request(task);
    if (request->retries >= cel_value_int(max_retries, RETRIES))
        return cel_failf(task, "celery.exceptions.MaxRetriesExceededError", "Can't retry %s[%s]",
                         request->name, request->id);
    return cel_retry(task, (int64_t)(cel_value_float(countdown, -1) * 1000), NULL);
}

static int retry_or(struct cel_task *task, struct cel_value *(*value)(struct cel_task *task))
{
    if (cel_request(task)->retries > 0)
        return cel_return(task, value(task));
    return retry_with(task, cel_arg_value(task, "countdown"), cel_arg_value(task, "max_retries"));
}

static struct cel_value *retries(struct cel_task *task)
{
    return cel_int(cel_request(task)->retries);
}

static struct cel_value *priority(struct cel_task *task)
{
    return cel_int(cel_request(task)->priority);
}

static struct cel_value *headers(struct cel_task *task)
{
    return cel_value_dup(cel_headers(task));
}

int retry_once(struct cel_task *task)
{
    return retry_or(task, retries);
}

int retry_once_priority(struct cel_task *task)
{
    return retry_or(task, priority);
}

int retry_once_headers(struct cel_task *task)
{
    return retry_or(task, headers);
}

int retry_unpickleable(struct cel_task *task)
{
    const struct cel_value *options = cel_arg_value(task, "retry_kwargs");
    fail_unpickleable(task);
    return retry_with(task, cel_value_get(options, "countdown"),
                      cel_value_get(options, "max_retries"));
}

/* The worker makes a retry of it (autoretry_for). */
int auto_retry(struct cel_task *task)
{
    if (cel_request(task)->retries > 0)
        return cel_return(task, retries(task));
    return cel_fail_args(task, "ValueError", cel_list());
}
