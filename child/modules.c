#include "child/modules.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"
#include "core/rate.h"
#include "message/envelope.h"

enum { DEFAULT_MAX_RETRIES = 3, DEFAULT_MAX_CRASHES = 2 };
#define DEFAULT_RETRY_DELAY_MS   INT64_C(180000)
#define DEFAULT_BACKOFF_FIRST_MS INT64_C(1000)
#define DEFAULT_RETRY_MAX_MS     INT64_C(600000)
#define LONGEST_MS               (INT64_C(365) * 24 * 3600 * 1000) /* of any delay or limit */

void modules_init(struct modules *modules, struct str default_queue)
{
    *modules = (struct modules){0};
    modules->default_queue = str_dup(default_queue.len ? default_queue : STR("celery"));
    ASSERT(modules->default_queue);
}

static void module_free(struct module *module)
{
    for (size_t i = 0; module->values && i < module->settings->setting_count; i++)
        mem_free(module->values[i]);
    mem_free(module->values);
    mem_free(module->path);
    mem_free(module);
}

void modules_deinit(struct modules *modules)
{
    if (!modules)
        return;
    for (size_t i = 0; i < modules->task_count; i++)
        params_free(modules->tasks[i].params);
    for (size_t i = 0; i < modules->count; i++)
        module_free(modules->items[i]);
    mem_free(modules->tasks);
    mem_free(modules->items);
    mem_free(modules->default_queue);
    *modules = (struct modules){0};
}

/* --- one module ------------------------------------------------------------------------------- */

static int refuse_task(const struct cel_task_def *def, struct cel_error *err, const char *why)
{
    return error_set(err, CEL_E_CONFIG, "task \"%s\": %s", def->name, why);
}

static bool is_duration(int64_t ms)
{
    return ms >= 0 && ms <= LONGEST_MS;
}

/* Those of .autoretry_for. */
static int check_names(const struct cel_task_def *def, struct cel_error *err)
{
    struct str rest = str_of(def->autoretry_for), name;
    if (!str_is_utf8(rest))
        return refuse_task(def, err, ".autoretry_for is no UTF-8");
    while (str_split(&rest, ',', &name)) {
        if (!str_trim(name).len)
            return refuse_task(def, err, ".autoretry_for has an empty name");
    }
    return 0;
}

static int check_def(const struct cel_task_def *def, struct cel_error *err)
{
    struct str name = str_of(def->name);
    if (!name.len)
        return error_set(err, CEL_E_CONFIG, "a task has no name");
    if (name.len > TASK_NAME_MAX || !str_is_utf8(name))
        return error_set(err, CEL_E_CONFIG, "a task's name is no UTF-8 of at most %d bytes",
                         TASK_NAME_MAX);
    if (!def->run)
        return refuse_task(def, err, ".run is missing");
    if (def->max_retries < CEL_ENDLESS_RETRIES)
        return refuse_task(def, err, ".max_retries is no count");
    if (def->max_crashes < 0)
        return refuse_task(def, err, ".max_crashes is no count");
    if (!is_duration(def->retry_delay_ms) || !is_duration(def->retry_delay_max_ms))
        return refuse_task(def, err, "a retry delay is negative or longer than a year");
    if (!is_duration(def->soft_time_limit_ms) || !is_duration(def->hard_time_limit_ms))
        return refuse_task(def, err, "a time limit is negative or longer than a year");
    if (def->acks != CEL_ACKS_LATE && def->acks != CEL_ACKS_EARLY)
        return refuse_task(def, err, ".acks is unknown");
    usec_t interval;
    if (rate_parse(str_of(def->rate_limit), &interval) < 0)
        return refuse_task(def, err, ".rate_limit is no rate: \"10/s\", \"5/m\", \"1/h\" are some");
    if (!is_duration(def->cpu_limit_ms) || def->memory_limit < 0 || def->open_files_limit < 0)
        return refuse_task(def, err, "a limit of its runs is negative, or longer than a year");
    if (def->transaction < CEL_NO_TRANSACTION || def->transaction > CEL_READ_ONLY)
        return refuse_task(def, err, ".transaction is unknown");
    if (def->reject_on_failure && def->acks == CEL_ACKS_EARLY)
        return refuse_task(def, err, ".reject_on_failure has nothing to reject after an early ack");
    return check_names(def, err);
}

static usec_t usec_or(int64_t ms, int64_t otherwise)
{
    return (usec_t)(ms ? ms : otherwise) * USEC_PER_MSEC;
}

static struct frame_task rules_of(const struct cel_task_def *def, const char *default_queue)
{
    int64_t max_retries = def->max_retries;
    if (max_retries == 0)
        max_retries = DEFAULT_MAX_RETRIES;
    else if (max_retries == CEL_NO_RETRIES)
        max_retries = 0;
    else if (max_retries == CEL_ENDLESS_RETRIES)
        max_retries = -1;
    usec_t interval = 0;
    if (rate_parse(str_of(def->rate_limit), &interval) < 0)
        interval = 0; /* it was looked at before */
    int64_t delay = def->retry_backoff ? DEFAULT_BACKOFF_FIRST_MS : DEFAULT_RETRY_DELAY_MS;
    return (struct frame_task){
        .name = str_of(def->name),
        .queue = str_of(def->queue ? def->queue : default_queue),
        .max_retries = max_retries,
        .retry_delay = usec_or(def->retry_delay_ms, delay),
        .retry_delay_max = usec_or(def->retry_delay_max_ms, DEFAULT_RETRY_MAX_MS),
        .retry_backoff = def->retry_backoff,
        .retry_without_jitter = def->retry_without_jitter,
        .ignore_result = def->ignore_result,
        .acks_early = def->acks == CEL_ACKS_EARLY,
        .track_started = def->track_started,
        .once = def->once,
        .reject_on_failure = def->reject_on_failure,
        .soft_limit = usec_or(def->soft_time_limit_ms, 0),
        .hard_limit = usec_or(def->hard_time_limit_ms, 0),
        .rate_interval = interval,
        .rate_limit = str_of(def->rate_limit),
        .cpu_limit = usec_or(def->cpu_limit_ms, 0),
        .memory_limit = (uint64_t)def->memory_limit,
        .max_crashes = def->max_crashes ? def->max_crashes : DEFAULT_MAX_CRASHES,
    };
}

static struct str last_part(struct str name)
{
    const char *dot = memrchr(name.ptr, '.', name.len);
    return dot ? str_n(dot + 1, (size_t)(name.ptr + name.len - dot - 1)) : name;
}

static int add_task(struct modules *modules,
                    const struct module *module,
                    const struct cel_task_def *def,
                    struct cel_error *err)
{
    int r = check_def(def, err);
    struct params *params = NULL;
    if (!r && def->params && (r = params_parse(def->params, &params, err)))
        error_wrap(err, "task \"%s\"", def->name);
    if (r)
        return r;
    modules->tasks[modules->task_count++] = (struct child_task){
        .def = def,
        .module = module,
        .params = params,
        .function = last_part(str_of(def->name)),
        .rules = rules_of(def, modules->default_queue),
    };
    return 0;
}

static int check_module(const struct cel_module *tasks,
                        const struct cel_module_settings *settings,
                        struct cel_error *err)
{
    if (tasks->version != CEL_MODULE_VERSION)
        return error_set(err, CEL_E_CONFIG,
                         "built for version %d of celeriac/task.h, this worker has version %d",
                         tasks->version, CEL_MODULE_VERSION);
    if (tasks->task_size != sizeof(struct cel_task_def) ||
        (settings && settings->setting_size != sizeof(struct cel_setting_def)))
        return error_set(err, CEL_E_CONFIG, "built with another celeriac/task.h than this worker");
    if (tasks->task_count == 0)
        return error_set(err, CEL_E_CONFIG, "it has no tasks");
    return 0;
}

static int add_tasks(struct modules *modules, const struct module *module, struct cel_error *err)
{
    int r = check_module(module->tasks, module->settings, err);
    if (r)
        return r;
    modules->tasks = xgrow(modules->tasks, modules->task_count + module->tasks->task_count,
                           sizeof(*modules->tasks));
    for (size_t i = 0; !r && i < module->tasks->task_count; i++)
        r = add_task(modules, module, &module->tasks->tasks[i], err);
    return r;
}

int modules_add(struct modules *modules,
                const char *path,
                const struct cel_module *tasks,
                const struct cel_module_settings *settings,
                struct cel_error *err)
{
    struct module *module = xnew(struct module);
    module->path = xstrdup(path);
    module->tasks = tasks;
    module->settings = settings;
    modules->items = xgrow(modules->items, modules->count + 1, sizeof(*modules->items));
    modules->items[modules->count++] = module;
    int r = add_tasks(modules, module, err);
    if (r)
        error_wrap(err, "module %s", path);
    return r;
}

/* A bare name means a file of this folder, if there is one; else the linker's folders are searched.
 */
static void *open_object(const char *path)
{
    CLEANUP(buf_deinit) struct buf here = BUF_INIT(8192);
    buf_addf(&here, "./%s", path);
    bool in_folder = !strchr(path, '/') && !buf_status(&here) && access(here.ptr, F_OK) == 0;
    return dlopen(in_folder ? here.ptr : path, RTLD_NOW | RTLD_LOCAL);
}

int modules_load(struct modules *modules, const char *path, struct cel_error *err)
{
    void *object = open_object(path);
    if (!object) {
        struct str why = str_of(dlerror()), own = str_of(path);
        if (str_starts(why, own)) /* "path: reason", where the path is long enough once */
            why = str_trim(str_n(why.ptr + own.len + 1, why.len - own.len - 1));
        return error_set(err, CEL_E_CONFIG, "module %s: " STR_FORMAT, path, STR_ARGS(why));
    }
    const struct cel_module *tasks = dlsym(object, "cel_module");
    if (!tasks)
        return error_set(err, CEL_E_CONFIG, "module %s: it has no CEL_TASKS", path);
    int r = modules_add(modules, path, tasks, dlsym(object, "cel_module_settings"), err);
    if (!r)
        modules->items[modules->count - 1]->router = dlsym(object, "cel_module_router");
    return r;
}

/* --- all modules ------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    const struct child_task *one = a, *other = b;
    return strcmp(one->def->name, other->def->name);
}

static int check_duplicates(const struct modules *modules, struct cel_error *err)
{
    for (size_t i = 1; i < modules->task_count; i++) {
        const struct child_task *one = &modules->tasks[i - 1], *other = &modules->tasks[i];
        if (strcmp(one->def->name, other->def->name) == 0)
            return error_set(err, CEL_E_CONFIG,
                             "task \"%s\" is registered twice: by module %s and by module %s",
                             one->def->name, one->module->path, other->module->path);
    }
    return 0;
}

/* Gives the setting to every module that declares it. */
static bool give_setting(struct modules *modules, const struct frame_pair *pair)
{
    bool declared = false;
    for (size_t m = 0; m < modules->count; m++) {
        const struct module *module = modules->items[m];
        for (size_t i = 0; module->settings && i < module->settings->setting_count; i++) {
            if (!str_equal(str_of(module->settings->settings[i].name), pair->name))
                continue;
            declared = true;
            mem_free(module->values[i]);
            module->values[i] = str_dup(pair->value);
            ASSERT(module->values[i]);
        }
    }
    return declared;
}

static int fill_defaults(const struct module *module, struct cel_error *err)
{
    for (size_t i = 0; module->settings && i < module->settings->setting_count; i++) {
        const struct cel_setting_def *def = &module->settings->settings[i];
        if (module->values[i])
            continue;
        if (!def->otherwise)
            return error_set(
                err, CEL_E_CONFIG,
                "setting \"%s\" is missing in section [settings]; module %s needs it%s%s",
                def->name, module->path, def->help ? ": " : "", def->help ? def->help : "");
        module->values[i] = xstrdup(def->otherwise);
    }
    return 0;
}

static int check_setting_names(const struct module *module, struct cel_error *err)
{
    for (size_t i = 0; module->settings && i < module->settings->setting_count; i++) {
        if (!str_of(module->settings->settings[i].name).len)
            return error_set(err, CEL_E_CONFIG, "module %s: a setting has no name", module->path);
    }
    return 0;
}

static int unknown_setting(const struct frame_pair *pair, struct cel_error *err)
{
    return error_set(err, CEL_E_CONFIG,
                     STR_FORMAT "%ssetting \"" STR_FORMAT "\" is declared by no module",
                     STR_ARGS(pair->origin), pair->origin.len ? ": " : "", STR_ARGS(pair->name));
}

int modules_finish(struct modules *modules,
                   const struct frame_pair *settings,
                   size_t setting_count,
                   struct cel_error *err)
{
    if (modules->task_count > 0)
        qsort(modules->tasks, modules->task_count, sizeof(*modules->tasks), by_name);
    int r = check_duplicates(modules, err);
    for (size_t m = 0; !r && m < modules->count; m++) {
        struct module *module = modules->items[m];
        r = check_setting_names(module, err);
        if (module->settings && !module->values)
            module->values =
                xalloc((module->settings->setting_count + 1) * sizeof(*module->values));
    }
    for (size_t i = 0; !r && i < setting_count; i++) {
        if (!give_setting(modules, &settings[i]))
            r = unknown_setting(&settings[i], err);
    }
    for (size_t m = 0; !r && m < modules->count; m++)
        r = fill_defaults(modules->items[m], err);
    return r;
}

const struct child_task *modules_find(const struct modules *modules, struct str name)
{
    size_t low = 0, high = modules->task_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct str found = modules->tasks[middle].rules.name;
        size_t len = found.len < name.len ? found.len : name.len;
        int order = len ? memcmp(name.ptr, found.ptr, len) : 0;
        if (order == 0 && name.len == found.len)
            return &modules->tasks[middle];
        if (order > 0 || (order == 0 && name.len > found.len))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *module_setting(const struct module *module, const char *name)
{
    for (size_t i = 0; module->settings && i < module->settings->setting_count; i++) {
        if (strcmp(module->settings->settings[i].name, name) == 0)
            return module->values[i];
    }
    return NULL;
}
