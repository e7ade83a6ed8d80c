/* Tasks that change their own workflow: they replace themselves, add to their chord, or start a canvas. */
#include "conformance.h"

#include <stdlib.h>
#include <string.h>

/* --- signatures --------------------------------------------------------------------------------- */

/* A task of this module with the values of a list as its arguments; NULL: none. */
static struct cel_signature *task_of(const char *name, const struct cel_value *args)
{
    struct cel_call *call = cel_call_new(name);
    for (size_t i = 0; i < cel_value_count(args); i++)
        cel_call_arg(call, cel_value_dup(cel_value_at(args, i)));
    return cel_signature(call);
}

static struct cel_signature *add_of(const struct cel_value *x, const struct cel_value *y)
{
    struct cel_call *call = cel_call_new(MODULE "add");
    cel_call_arg(call, cel_value_dup(x));
    cel_call_arg(call, cel_value_dup(y));
    return cel_signature(call);
}

/* add(a, b); without `b` the result before is the first. */
static struct cel_signature *add_numbers(int64_t a, int64_t b)
{
    struct cel_call *call = cel_call_new(MODULE "add");
    cel_call_arg(call, cel_int(a));
    if (b)
        cel_call_arg(call, cel_int(b));
    return cel_signature(call);
}

/* `name` with the keyword argument state=true, without the result before. */
static struct cel_signature *with_state(const char *name)
{
    struct cel_call *call = cel_call_new(name);
    cel_call_kwarg(call, "state", cel_bool(true));
    struct cel_signature *signature = cel_signature(call);
    cel_immutable(signature);
    return signature;
}

/* Adds `add(n, val)` for each n of the argument `nums`. 0, or what the task shall return. */
static int add_each(struct cel_task *task, struct cel_signature *to)
{
    const struct cel_value *nums = cel_arg_value(task, "nums"), *val = cel_arg_value(task, "val");
    if (cel_value_type(nums) != CEL_LIST)
        return cel_fail(task, "TypeError", "nums is no list");
    for (size_t i = 0; i < cel_value_count(nums); i++)
        cel_signature_add(to, add_of(cel_value_at(nums, i), val));
    return 0;
}

/* --- replace ------------------------------------------------------------------------------------ */

static int replace(struct cel_task *task, struct cel_signature *with)
{
    int r = cel_replace(task, with);
    cel_signature_free(with);
    return r;
}

int add_replaced(struct cel_task *task)
{
    return replace(task, add_of(cel_arg_value(task, "x"), cel_arg_value(task, "y")));
}

int fail_replaced(struct cel_task *task)
{
    struct cel_signature *failing = task_of(MODULE "fail", cel_args(task));
    cel_immutable(failing);
    return replace(task, failing);
}

/* redis_echo: of link_msg alone, or of what it is called with. */
static struct cel_signature *echo_of(struct cel_task *task)
{
    const struct cel_value *message = cel_arg_value(task, "link_msg");
    if (!is_true(message))
        return task_of(MODULE "redis_echo", NULL);
    struct cel_call *call = cel_call_new(MODULE "redis_echo");
    cel_call_arg(call, cel_value_dup(message));
    struct cel_signature *echo = cel_signature(call);
    cel_immutable(echo);
    return echo;
}

/* identity(*args) -> `last` */
static struct cel_signature *chain_to(struct cel_task *task, const char *last)
{
    struct cel_signature *chain = cel_chain();
    cel_signature_add(chain, task_of(MODULE "identity", cel_arg_value(task, "args")));
    cel_signature_add(chain, task_of(last, NULL));
    return chain;
}

int replace_with_chain(struct cel_task *task)
{
    struct cel_signature *chain = chain_to(task, MODULE "identity");
    cel_link(chain, echo_of(task));
    return replace(task, chain);
}

int replace_with_chain_which_raises(struct cel_task *task)
{
    struct cel_signature *chain = chain_to(task, MODULE "raise_error");
    cel_link_error(chain, echo_of(task));
    return replace(task, chain);
}

int replace_with_empty_chain(struct cel_task *task)
{
    return replace(task, cel_chain());
}

int add_to_all(struct cel_task *task)
{
    struct cel_signature *group = cel_group();
    int r = add_each(task, group);
    if (r) {
        cel_signature_free(group);
        return r;
    }
    return replace(task, group);
}

/* In, what it is replaced with, and, when that has come back, Out. */
static int
second_order(struct cel_task *task, const char *in, const char *out, struct cel_signature *first)
{
    bool is_back = is_true(cel_arg_value(task, "state"));
    int r = echo(task, "redis-echo", is_back ? out : in);
    if (r || is_back) {
        cel_signature_free(first);
        return r;
    }
    struct cel_signature *chain = cel_chain();
    cel_signature_add(chain, first);
    cel_signature_add(chain, with_state(cel_request(task)->name));
    return replace(task, chain);
}

int second_order_replace1(struct cel_task *task)
{
    return second_order(task, "In A", "Out A", task_of(MODULE "second_order_replace2", NULL));
}

int second_order_replace2(struct cel_task *task)
{
    struct cel_call *call = cel_call_new(MODULE "redis_echo");
    cel_call_arg(call, cel_text("In/Out C"));
    return second_order(task, "In B", "Out B", cel_signature(call));
}

/* --- add to chord ------------------------------------------------------------------------------- */

int add_to_all_to_chord(struct cel_task *task)
{
    const struct cel_value *nums = cel_arg_value(task, "nums"), *val = cel_arg_value(task, "val");
    for (size_t i = 0; i < cel_value_count(nums); i++) {
        struct cel_signature *member = add_of(cel_value_at(nums, i), val);
        int r = cel_add_to_chord(task, member);
        cel_signature_free(member);
        if (r)
            return r;
    }
    return cel_return(task, cel_int(0));
}

int add_chord_to_chord(struct cel_task *task)
{
    struct cel_signature *chord = cel_chord(cel_group(), task_of(MODULE "tsum", NULL));
    int r = add_each(task, chord);
    if (!r)
        r = cel_add_to_chord(task, chord);
    cel_signature_free(chord);
    return r ? r : cel_return(task, cel_int(0));
}

/* --- start -------------------------------------------------------------------------------------- */

/* Celery's form of a handle as the task's result. */
static int return_handle(struct cel_task *task, const struct cel_handle *handle)
{
    struct cel_value *value = NULL;
    char *json = cel_handle_to_json(handle);
    if (json && cel_value_from_json(json, strlen(json), &value, NULL))
        value = NULL;
    free(json);
    return cel_return(task, value);
}

int build_chain_inside_task(struct cel_task *task)
{
    struct cel_handle *handle = NULL;
    struct cel_signature *group = cel_group(), *chain = cel_chain();
    cel_signature_add(group, add_numbers(3, 0));
    cel_signature_add(group, add_numbers(4, 0));
    cel_signature_add(chain, add_numbers(1, 1));
    cel_signature_add(chain, add_numbers(2, 0));
    cel_signature_add(chain, group);
    cel_signature_add(chain, add_numbers(5, 0));
    int r = cel_task_send_canvas(task, chain, &handle);
    if (!r)
        r = return_handle(task, handle);
    cel_handle_free(handle);
    cel_signature_free(chain);
    return r;
}
