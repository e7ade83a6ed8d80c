/* A module that wants a function nobody has. */
#include <celeriac/task.h>

int function_that_nobody_has(struct cel_task *task);

CEL_TASKS({.name = "tests.unresolved", .run = function_that_nobody_has});
