/*
 * A pool process without task code: it speaks frames as the real child does and behaves as the
 * script says that came as the only module of SETUP. A test program calls this from its main() when
 * its arguments are `worker --child`.
 *
 *   "answer"     HELLO with one task, then SUCCESS for each RUN, whose result is its own pid
 *   "78"         ends with status 78 before its HELLO
 *   "mute"       dies of SIGSEGV before its HELLO
 *   "flag PATH"  as "answer" if the file PATH is not there, else as "78"
 *
 * The message of a RUN is a word for it: "die" SIGKILL, "exit" exit(0), "hang" for ever, "nap"
 * 0.3 s, "swell" keeps 64 MiB, "progress", "garbage" bytes that are no frame, "last" answers and
 * dies, "again" RETRY; anything else is answered.
 */
#pragma once

#include <stdbool.h>

bool fake_child_wanted(int argc, char **argv);
int fake_child_main(void);
