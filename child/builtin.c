/*
 * celery.map and celery.starmap call a registered task's function in place, item after item, within
 * their own run: while it runs, the task that runs (struct cel_task) is that one, with the item as
 * its arguments. What runs around the map is the called task's: its transaction holds all items
 * (so with CEL_ONCE the whole map is done once), its router names the database.
 */
#include "child/builtin.h"

#include "child/task.h"
#include "core/mem.h"

/* --- calls in place --------------------------------------------------------------------------- */

/* Of a signature, or the name alone. */
static struct str name_of(const struct cel_value *signature)
{
    bool is_map = cel_value_type(signature) == CEL_MAP;
    return value_str(is_map ? cel_value_get(signature, "task") : signature);
}

/* As if the function were called with these. The outer task's own are put back afterwards. */
static int call_in_place(struct cel_task *task,
                         const struct child_task *called,
                         struct cel_value *args,
                         struct cel_value *kwargs)
{
    const struct child_task *outer = task->registered;
    struct params_bound outer_bound = task->bound;
    struct body outer_body = task->body;
    struct cel_error err = {0};
    task->registered = called;
    task->bound = (struct params_bound){0};
    task->body = (struct body){.args = args, .kwargs = kwargs};
    int r = called->params
                ? params_bind(called->params, called->function, args, kwargs, &task->bound, &err)
                : 0;
    if (r == PARAMS_E_TYPE)
        r = cel_fail(task, "TypeError", err.text);
    else if (r)
        r = cel_fail(task, "MemoryError", "out of memory");
    else
        r = called->def->run(task);
    params_bound_deinit(&task->bound);
    task->registered = outer;
    task->bound = outer_bound;
    task->body = outer_body;
    return r;
}

/* A retry would repeat the items before this one, so it is a failure, as in Celery; where a
 * transaction takes them back it may be. */
static int outcome_of_item(struct cel_task *task, int returned)
{
    const struct recorded *recorded = &task->recorded;
    if (returned != CEL_RETRY || task_is_wrapped(task) || recorded->kind == RECORDED_CANCELLED)
        return returned;
    return recorded->type ? CEL_FAIL
                          : cel_fail(task, "celery.exceptions.Retry",
                                     recorded->text ? recorded->text : "Task can be retried");
}

/* Adopts `args`. */
static int call_item(struct cel_task *task,
                     const struct child_task *called,
                     struct cel_value *args,
                     struct cel_value *results)
{
    struct cel_value *kwargs = cel_map();
    if (!task_is_wrapped(task))
        task->is_routed = false; /* the router is asked for each */
    int r = args && kwargs ? call_in_place(task, called, args, kwargs)
                           : cel_fail(task, "MemoryError", "out of memory");
    cel_value_free(args);
    cel_value_free(kwargs);
    if (r != CEL_OK)
        return outcome_of_item(task, r);
    task_forget_caught(task);
    struct cel_value *result = task->result ? task->result : cel_null();
    task->result = NULL;
    return cel_list_add(results, result) ? cel_fail(task, "MemoryError", "out of memory") : CEL_OK;
}

static struct cel_value *list_of(const struct cel_value *item)
{
    struct cel_value *list = cel_list();
    if (!cel_list_add(list, cel_value_dup(item)))
        return list;
    return cel_value_free(list);
}

static int call_each(struct cel_task *task,
                     const struct child_task *called,
                     const struct cel_value *items,
                     bool spread,
                     struct cel_value *results)
{
    for (size_t i = 0; i < cel_value_count(items); i++) {
        const struct cel_value *item = cel_value_at(items, i);
        if (spread && cel_value_type(item) != CEL_LIST)
            return cel_failf(task, "TypeError", "item %zu of celery.starmap is %s, not a list", i,
                             cel_type_name(cel_value_type(item)));
        int r = call_item(task, called, spread ? cel_value_dup(item) : list_of(item), results);
        if (r != CEL_OK)
            return r;
    }
    return CEL_OK;
}

static int map_with(struct cel_task *task, bool spread)
{
    const struct cel_value *items = cel_arg_value(task, "it");
    struct str name = name_of(cel_arg_value(task, "task"));
    if (!name.ptr)
        return cel_failf(task, "TypeError", "%s() argument 'task' is no signature",
                         task->registered->def->name);
    const struct child_task *called = modules_find(&task->child->modules, name);
    if (!called)
        return cel_failf(task, "celery.exceptions.NotRegistered", STR_FORMAT, STR_ARGS(name));
    if (cel_value_type(items) != CEL_LIST)
        return cel_failf(task, "TypeError", "%s() argument 'it' must be a list, not %s",
                         task->registered->def->name, cel_type_name(cel_value_type(items)));
    struct cel_value *results = cel_list();
    int r = results ? call_each(task, called, items, spread, results) : CEL_OK;
    if (r == CEL_OK)
        return cel_return(task, results);
    cel_value_free(results);
    return r;
}

static int run_map(struct cel_task *task)
{
    return map_with(task, false);
}

static int run_starmap(struct cel_task *task)
{
    return map_with(task, true);
}

const struct child_task *task_target(const struct cel_task *task)
{
    const struct child_task *registered = task->registered;
    if (registered->def->run != run_map && registered->def->run != run_starmap)
        return registered;
    struct str name = name_of(params_bound_find(&task->bound, STR("task")));
    const struct child_task *called = modules_find(&task->child->modules, name);
    return called ? called : registered;
}

/* --- the others ------------------------------------------------------------------------------- */

/* Its positional arguments, or one of them, counted from the end if negative. */
static int run_accumulate(struct cel_task *task)
{
    const struct cel_value *args = cel_args(task), *at = cel_value_get(cel_kwargs(task), "index");
    int64_t count = (int64_t)cel_value_count(args), index = cel_value_int(at, 0);
    if (cel_value_type(at) == CEL_NULL)
        return cel_return(task, cel_value_dup(args));
    if (cel_value_type(at) != CEL_INT)
        return cel_failf(task, "TypeError", "tuple indices must be integers or slices, not %s",
                         cel_type_name(cel_value_type(at)));
    index += index < 0 ? count : 0;
    if (index < 0 || index >= count)
        return cel_fail(task, "IndexError", "tuple index out of range");
    return cel_return(task, cel_value_dup(cel_value_at(args, (size_t)index)));
}

/* Redis lets results expire by itself. */
static int run_backend_cleanup(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

static int run_chord_unlock(struct cel_task *task)
{
    return cel_fail(task, "NotImplementedError",
                    "celery.chord_unlock polls for chords of other result backends; in Redis the "
                    "last task of a chord starts its body");
}

static int run_ping(struct cel_task *task)
{
    return cel_return(task, cel_text("pong"));
}

/* --- registration ----------------------------------------------------------------------------- */

static const struct cel_task_def defs[] = {
    {.name = "celery.accumulate", .run = run_accumulate, .params = "*args, **kwargs"},
    {.name = "celery.backend_cleanup", .run = run_backend_cleanup, .params = ""},
    {.name = "celery.chord_unlock", .run = run_chord_unlock, .max_retries = CEL_NO_RETRIES},
    {.name = "celery.map", .run = run_map, .params = "task, it"},
    {.name = "celery.ping", .run = run_ping, .params = ""},
    {.name = "celery.starmap", .run = run_starmap, .params = "task, it"},
};

int builtin_register(struct modules *modules, struct cel_error *err)
{
    static const struct cel_module module = {CEL_MODULE_VERSION, sizeof(struct cel_task_def), defs,
                                             ARRAY_SIZE(defs)};
    return modules_add(modules, "built-in", &module, NULL, err);
}
