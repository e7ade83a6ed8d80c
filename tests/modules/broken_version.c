/* A module built for another version of the header. */
#include <celeriac/task.h>

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

static const struct cel_task_def tasks[] = {{.name = "tests.noop", .run = noop}};
CEL_API extern const struct cel_module cel_module;
const struct cel_module cel_module = {CEL_MODULE_VERSION + 41, sizeof(tasks[0]), tasks, 1};
