/* A module without tasks. */
#include <celeriac/task.h>

CEL_API extern const struct cel_module cel_module;
const struct cel_module cel_module = {CEL_MODULE_VERSION, sizeof(struct cel_task_def), 0, 0};
