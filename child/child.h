/*
 * A pool process: `celeriac worker --child`, started by the supervisor with a socket pair on
 * descriptor 3 (frame.h). It loads the modules that SETUP names, says HELLO, and runs one call
 * after the other. It ends
 *   - when descriptor 3 ends: after the task at hand, if there is one;
 *   - by SIGKILL when the supervisor dies, whatever a task does;
 *   - by SIGTERM, at once (the supervisor's way of stopping a busy one).
 * CHILD_SOFT_LIMIT_SIGNAL is the soft time limit of the task at hand.
 */
#pragma once

enum { CHILD_FD = 3 };

/*
 * Returns the exit status: 0 after the end of descriptor 3; EXIT_CONFIG (78) after one line in the
 * log, for a module, a setting or a database URI that cannot be used; EXIT_INTERNAL (70) when the
 * supervisor cannot be understood or told.
 */
int child_main(void);
