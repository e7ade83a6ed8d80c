/*
 * The worker daemon: `celeriac worker`. One supervisor on one loop; its children are
 * `celeriac worker --child` (child.h). worker.c draws its life.
 *
 *   TERM, INT   warm stop: nothing more is claimed, running tasks finish, what waits goes back
 *   again, QUIT cold stop: children are killed, their tasks go back to the queue
 *   HUP         new children with new code; the old ones finish their task
 *   USR1        a report in the log
 */
#pragma once

/* argv[0] is the verb. Returns an exit status (core/process.h): 0 stopped as asked; 2, 69, 70, 77,
 * 78 after one line that says why. */
int worker_main(int argc, char **argv);
