/*
 * Tasks for the benches: one that does nothing, one that says when it started.
 */
#include <celeriac/task.h>
#include <time.h>

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

CEL_TASKS({.name = "bench.noop", .run = noop, .ignore_result = true},
          {.name = "bench.noop_result", .run = noop},
          {.name = "bench.started", .run = started, .params = ""});
