/* A parameter list that is none. */
#include <celeriac/task.h>

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

CEL_TASKS({.name = "tests.bad_params", .run = noop, .params = "x, y=None"});
