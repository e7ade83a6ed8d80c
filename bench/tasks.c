/*
 * Tasks for the benches: one that does nothing, one that says when it started, one whose effects
 * stand once.
 */
#include <celeriac/task.h>
#include <time.h>

#include "accounts.h"

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

static int started(struct cel_task *task)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return cel_return(task, cel_float((double)now.tv_sec + (double)now.tv_nsec / 1e9));
}

static int credit(struct cel_task *task)
{
    int64_t n;
    struct cel_db *db = cel_db(task);

    if (!db || cel_arg_int(task, "n", &n))
        return CEL_FAIL;
    return cel_query(db, accounts_sql, CEL_PARAMS(cel_p_int(n % ACCOUNTS + 1)), NULL);
}

CEL_TASKS({.name = "bench.noop", .run = noop, .ignore_result = true},
          {.name = "bench.noop_result", .run = noop},
          {.name = "bench.started", .run = started, .params = ""},
          {.name = "bench.credit",
           .run = credit,
           .params = "n",
           .transaction = CEL_ONCE,
           .ignore_result = true});
