/*
 * Task modules: what the author of a task function sees.
 *
 *     #include <celeriac/task.h>
 *
 *     static int process_order(struct cel_task *task)
 *     {
 *         int64_t order_id;
 *         if (cel_arg_int(task, "order_id", &order_id))
 *             return CEL_FAIL;
 *         ...
 *         return cel_return(task, cel_int(order_id));
 *     }
 *
 *     CEL_TASKS({.name = "products.tasks.process_order",
 *                .run = process_order,
 *                .params = "order_id",
 *                .max_retries = 3,
 *                .retry_delay_ms = 60000});
 *
 * Build as a shared object without linking to anything of Celeriac's (the worker brings the
 * functions) and start: celeriac worker -A ./mymodule.so
 *
 * A task function runs in a process of its own, one at a time, in one thread. It may crash, loop or
 * leak: that costs this process and this task, nothing else. Names and meanings are Celery's
 * (Celery documentation: "Tasks"). `task` is valid until the function returns.
 */
#pragma once

#include "celeriac/call.h"
#include "celeriac/canvas.h"
#include "celeriac/db.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cel_task;

/* What a task function returns. Anything else is a FAILURE that says so. */
enum cel_outcome {
    CEL_OK = 0,        /* SUCCESS, with what cel_return() gave, or null */
    CEL_FAIL = 1,      /* FAILURE, as cel_fail() or a failed helper said */
    CEL_RETRY = 2,     /* run again later, as cel_retry() or a failed helper said */
    CEL_CANCELLED = 3, /* stopped because cel_cancelled(): SoftTimeLimitExceeded */
    CEL_IGNORE = 4,    /* done; nothing is stored (Celery's Ignore) */
    CEL_REPLACED = 5,  /* what cel_replace() returns: others come to what it should */
    CEL_REJECT = 6,    /* not taken, as cel_reject() said; nothing is stored (Celery's Reject) */
};

typedef int cel_task_fn(struct cel_task *task);

/* --- registration ----------------------------------------------------------------------------- */

enum { CEL_NO_RETRIES = -1, CEL_ENDLESS_RETRIES = -2 }; /* for max_retries */

enum cel_acks {
    CEL_ACKS_LATE = 0,  /* acknowledged with its outcome: runs at least once (default) */
    CEL_ACKS_EARLY = 1, /* acknowledged before it starts: runs at most once */
};

enum cel_transaction {
    CEL_NO_TRANSACTION = 0,
    CEL_TRANSACTION = 1, /* one transaction on cel_db(task) around the function: committed on
                            CEL_OK, rolled back otherwise */
    CEL_ONCE = 2,        /* the same, and its result and a marker with the task's id are committed
                            with it: delivered again, the call is not run again, and what it came to is
                            answered once more. Runs of one id at once follow one another. Needs
                            `celeriac migrate`; markers are kept for at least a week. Isolation level
                            read committed or serializable */
    CEL_READ_ONLY = 3,   /* as CEL_TRANSACTION, and the database refuses to write in it */
};

/* A zero means the default everywhere. Times are milliseconds. */
struct cel_task_def {
    const char *name; /* as Python calls it: "products.tasks.process_order" */
    cel_task_fn *run;
    const char *params; /* Python-like parameter list, defaults in JSON: "order_id",
                           "percentage=5, category=null, dry_run=false", "*args, **kwargs".
                           Arguments are checked against it before the function runs, with
                           Python's TypeError texts. NULL: anything goes. "": none */
    int max_retries;    /* default 3; CEL_NO_RETRIES, CEL_ENDLESS_RETRIES */
    int64_t
        retry_delay_ms; /* default 180000; the first delay when retry_backoff is set (then 1000) */
    bool retry_backoff; /* delay doubles with each retry, full jitter, up to retry_delay_max_ms */
    int64_t retry_delay_max_ms; /* default 600000 */
    const char *queue; /* where cel_task_send() and `celeriac call` of it go; default "celery" */
    bool ignore_result;
    enum cel_acks acks;
    bool track_started;         /* store STARTED when it begins */
    int64_t soft_time_limit_ms; /* default: the worker's */
    int64_t hard_time_limit_ms;
    enum cel_transaction transaction;
    int max_crashes; /* default 2: so many processes may die of one call (signal, exit, memory);
                        with the last one it goes to quarantine, and ends as FAILURE
                        WorkerLostError. 1: the first death is the last */
    bool once;       /* not run again when its result is already SUCCESS (a redelivery) */
    const char
        *rate_limit; /* at most so many begin in a time, in each worker: "10/s", "5/m", "1/h",
                               a number alone is per second. The others wait for their turn */
    /*
     * What one run may use, each beyond what its process uses before it begins. A run that takes more
     * processor time ends with its process: FAILURE CPUTimeLimitExceeded. One for which no more
     * address space can be had sees that where it asks for memory; if it dies of that (a signal, and an
     * allocation had failed before) it is a FAILURE MemoryLimitExceeded. Neither is delivered again;
     * both go to quarantine. With too many files open() and its like fail with EMFILE.
     */
    int64_t cpu_limit_ms;      /* of all its threads; the processes that it starts do not count */
    int64_t memory_limit;      /* bytes of address space */
    int open_files_limit;      /* a database connection that it opens is one */
    const char *autoretry_for; /* exceptions after which a failure of the function is a retry:
                                  "OperationalError, shop.errors.Busy"; a name without a module is
                                  that type of any; "Exception" is every one */
    bool
        retry_without_jitter; /* with retry_backoff: the delays are exact (Celery's retry_jitter) */
    bool reject_on_failure; /* the message of a call that failed or met its hard time limit goes to
                               quarantine, besides its result (Celery's acks_on_failure_or_timeout
                               set to False). Not with CEL_ACKS_EARLY */
};

struct cel_setting_def {
    const char *name;      /* key in the section [settings] of the configuration file */
    const char *otherwise; /* default, or NULL: required */
    const char *help;
};

/*
 * Names the database that cel_db(task) is, one of the section [database]: by the task's name
 * (cel_request), its arguments, a header ... It is asked once in a run, at the first cel_db() or
 * before the task's own transaction begins; while it is asked, cel_db(task) is "default". The text
 * must stay valid until the task returns. NULL: it cannot say; cel_db(task) is NULL for the whole run,
 * with the reason that cel_fail(), cel_retry() or a failed helper recorded. A task with .transaction
 * does not begin then, and ends as was recorded.
 */
typedef const char *cel_router_fn(struct cel_task *task);

/* One CEL_TASKS per module, and at most one CEL_SETTINGS and one CEL_ROUTER. */
#define CEL_TASKS(...)                                                                             \
    CEL_API extern const struct cel_module cel_module;                                             \
    static const struct cel_task_def cel_module_tasks_[] = {__VA_ARGS__};                          \
    const struct cel_module cel_module = {                                                         \
        CEL_MODULE_VERSION,                                                                        \
        sizeof(struct cel_task_def),                                                               \
        cel_module_tasks_,                                                                         \
        sizeof cel_module_tasks_ / sizeof cel_module_tasks_[0],                                    \
    }
#define CEL_SETTINGS(...)                                                                          \
    CEL_API extern const struct cel_module_settings cel_module_settings;                           \
    static const struct cel_setting_def cel_module_settings_[] = {__VA_ARGS__};                    \
    const struct cel_module_settings cel_module_settings = {                                       \
        sizeof(struct cel_setting_def),                                                            \
        cel_module_settings_,                                                                      \
        sizeof cel_module_settings_ / sizeof cel_module_settings_[0],                              \
    }

#define CEL_ROUTER(function)                                                                       \
    CEL_API extern cel_router_fn *const cel_module_router;                                         \
    cel_router_fn *const cel_module_router = function

enum { CEL_MODULE_VERSION = 1 };
struct cel_module {
    int version;
    size_t task_size;
    const struct cel_task_def *tasks;
    size_t task_count;
};
struct cel_module_settings {
    size_t setting_size;
    const struct cel_setting_def *settings;
    size_t setting_count;
};

/* --- arguments -------------------------------------------------------------------------------- */

/*
 * The argument bound to the parameter `name` of .params. On a value of another type they record a
 * TypeError that names task, parameter, the type wanted and the type found, and return CEL_FAIL;
 * then return that. 0 otherwise. cel_arg_text and cel_arg_value borrow from the task.
 */
CEL_API int cel_arg_int(struct cel_task *task, const char *name, int64_t *ret_value);
CEL_API int
cel_arg_float(struct cel_task *task, const char *name, double *ret_value); /* or an integer */
CEL_API int cel_arg_bool(struct cel_task *task, const char *name, bool *ret_value);
/* *ret_value is NULL for null. Text, and every type kept as text; zero bytes inside are refused. */
CEL_API int cel_arg_text(struct cel_task *task, const char *name, const char **ret_value);
/* A number as exact decimal text, from an integer, a decimal, a float or text of that form. */
CEL_API int cel_arg_decimal(struct cel_task *task, const char *name, const char **ret_value);
/* Any value; also "*args" and "**kwargs" by those names without the stars. */
CEL_API const struct cel_value *cel_arg_value(struct cel_task *task, const char *name);
/* All arguments as sent: a list and a map. */
CEL_API const struct cel_value *cel_args(struct cel_task *task);
CEL_API const struct cel_value *cel_kwargs(struct cel_task *task);

/* --- outcome ---------------------------------------------------------------------------------- */

/* Sets the return value (adopted in every case) and returns CEL_OK, or CEL_FAIL without memory. */
CEL_API int cel_return(struct cel_task *task, struct cel_value *value);
/*
 * Asks for another run after `countdown_ms` (-1: the task's own delay) and returns CEL_RETRY. When
 * the retries are used up the task ends as FAILURE with `reason`. NULL: the reason is the exception
 * that cel_fail() or a failed helper recorded before. Celery documentation: "Retrying".
 */
CEL_API int cel_retry(struct cel_task *task, int64_t countdown_ms, const char *reason);
CEL_API int cel_retryf(struct cel_task *task, int64_t countdown_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * Ends the task as FAILURE and returns CEL_FAIL. `type` is the exception's name as Python shall see
 * it: one of Python's builtins ("ValueError"), a name of your own ("CardDeclined"), or one with its
 * module ("shop.errors.CardDeclined").
 */
CEL_API int cel_fail(struct cel_task *task, const char *type, const char *text);
CEL_API int cel_failf(struct cel_task *task, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for an exception with any arguments: `args` is a list (adopted in every case), empty for
 * one without. */
CEL_API int cel_fail_args(struct cel_task *task, const char *type, struct cel_value *args);

/*
 * Does not take the call and returns CEL_REJECT: nothing is stored for it. It goes to quarantine, or,
 * with `requeue`, to the end of its queue, for another try or another worker, at once: at most a
 * hundred times, then it fails. To wait, use cel_retry(). `reason` is for the log and the
 * quarantine; or NULL. Celery documentation: "Reject".
 */
CEL_API int cel_reject(struct cel_task *task, const char *reason, bool requeue);

/* --- while it runs ---------------------------------------------------------------------------- */

/* Stores the state PROGRESS with `meta` (adopted), visible to AsyncResult at once. 0, -ENOMEM,
 * CEL_E_FORMAT for bytes, CEL_E_LIMIT for more than 16 MiB. */
CEL_API int cel_progress(struct cel_task *task, struct cel_value *meta);
/* The same with a state of your own ("UPLOADING"): 1 ... 50 bytes of UTF-8, and none of those in
 * which a task ends or waits (SUCCESS, FAILURE, REVOKED, RETRY, PENDING); then -EINVAL. */
CEL_API int cel_state(struct cel_task *task, const char *state, struct cel_value *meta);
/* True once the soft time limit has passed: clean up and return CEL_CANCELLED. */
CEL_API bool cel_cancelled(const struct cel_task *task);
/* Sleeps. 0, or CEL_CANCELLED at once when the soft time limit strikes: return that. */
CEL_API int cel_sleep_ms(struct cel_task *task, int64_t ms);

enum cel_log_level { CEL_LOG_DEBUG, CEL_LOG_INFO, CEL_LOG_WARNING, CEL_LOG_ERROR };
/* A line in the worker's log, with task name and id as fields. */
CEL_API void cel_log(struct cel_task *task, enum cel_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The value of a setting declared with CEL_SETTINGS; NULL for a name that was not declared. */
CEL_API const char *cel_setting(struct cel_task *task, const char *name);

/*
 * Sends `call` if and only if this task's success is recorded, in the same step. The call is
 * copied. `ret_id` (37 bytes, or NULL) receives its id. 0, -EINVAL, -ENOMEM.
 */
CEL_API int cel_task_send(struct cel_task *task, const struct cel_call *call, char *ret_id);
/*
 * The same for a canvas (canvas.h), which is begun whole. `ret_handle` (or NULL) receives its handle, which the
 * caller frees. 0; CEL_FAIL with the reason recorded.
 */
CEL_API int cel_task_send_canvas(struct cel_task *task,
                                 const struct cel_signature *canvas,
                                 struct cel_handle **ret_handle);
/*
 * Puts `with` in the place of this task: it takes over its id, its group and chord, links, errbacks and the rest of
 * its chain; this task ends without a result. Returns CEL_REPLACED: return that; CEL_FAIL with the reason
 * recorded. A group goes as a chord with Celery's celery.accumulate; not for CEL_ONCE. Celery documentation: Task.replace.
 */
CEL_API int cel_replace(struct cel_task *task, const struct cel_signature *with);
/* Makes `member` one more member of the chord that this task is a member of (Celery's add_to_chord). 0; CEL_FAIL
 * with the reason recorded. */
CEL_API int cel_add_to_chord(struct cel_task *task, const struct cel_signature *member);

/* --- the request ------------------------------------------------------------------------------ */

struct cel_request {
    const char *id;
    const char *name;
    const char *root_id;   /* or NULL */
    const char *parent_id; /* or NULL */
    const char *group_id;  /* or NULL */
    const char *queue;
    const char *hostname; /* of the worker: name@host */
    int64_t retries;      /* 0 at the first run */
    int64_t eta_ms;       /* Unix milliseconds; 0: none */
    int64_t expires_ms;   /* Unix milliseconds; 0: never */
    int priority;
    bool redelivered; /* another worker may have begun it before */
};
/* Borrowed; valid until the function returns. */
CEL_API const struct cel_request *cel_request(struct cel_task *task);
/* A header that the caller set (apply_async(headers={...})), or NULL. Borrowed. */
CEL_API const struct cel_value *cel_header(struct cel_task *task, const char *name);
/* All headers and all properties of the message, each a map as it stands on the wire
 * (docs/protocol.md). NULL when memory is short. Borrowed. */
CEL_API const struct cel_value *cel_headers(struct cel_task *task);
CEL_API const struct cel_value *cel_properties(struct cel_task *task);

#ifdef __cplusplus
}
#endif
