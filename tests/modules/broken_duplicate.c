/* A task whose name stands in probe.c too. */
#include <celeriac/task.h>

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

CEL_TASKS({.name = "tests.noop", .run = noop});
