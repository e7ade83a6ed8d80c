/*
 * The task modules of a pool process: shared objects with a cel_module (celeriac/task.h), their
 * tasks by name, and their settings. Loaded once, kept until the process ends.
 */
#pragma once

#include "celeriac/task.h"
#include "child/frame.h"
#include "child/params.h"
#include "core/error.h"

struct module {
    char *path;
    const struct cel_module *tasks;
    const struct cel_module_settings *settings; /* or NULL */
    char **values;                              /* of the settings, in their order */
    cel_router_fn *const *router;               /* or NULL */
};

struct child_task {
    const struct cel_task_def *def;
    const struct module *module;
    struct params *params;   /* NULL: anything goes */
    struct str function;     /* the name behind the last dot: what Python's texts call it */
    struct frame_task rules; /* for HELLO: defaults filled in */
};

struct modules {
    struct module **items;
    size_t count;
    struct child_task *tasks; /* by name, after modules_finish() */
    size_t task_count;
    char *default_queue;
};

void modules_init(struct modules *modules, struct str default_queue);
void modules_deinit(struct modules *modules);

/* Opens the shared object `path`. CEL_E_CONFIG: it cannot be used; the sentence names it and why.
 */
int modules_load(struct modules *modules, const char *path, struct cel_error *err) MUST_CHECK;
/* The same for one that is in memory already; `path` is its name in sentences. */
int modules_add(struct modules *modules,
                const char *path,
                const struct cel_module *tasks,
                const struct cel_module_settings *settings,
                struct cel_error *err) MUST_CHECK;
/*
 * After the last module: names used twice, settings that no module declares (the sentence names the
 * origin), settings that are required and missing. CEL_E_CONFIG.
 */
int modules_finish(struct modules *modules,
                   const struct frame_pair *settings,
                   size_t setting_count,
                   struct cel_error *err) MUST_CHECK;

/* NULL: not registered. */
const struct child_task *modules_find(const struct modules *modules, struct str name);
/* NULL: not declared by this module. */
const char *module_setting(const struct module *module, const char *name);
