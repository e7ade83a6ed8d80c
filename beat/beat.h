/*
 * `celeriac beat`: fires the entries of the configuration into Redis, slot by slot (docs/beat.md).
 * Any number of them may run beside each other.
 */
#pragma once

/* Runs until a signal ends it; argv[0] is the verb. Returns an exit status (core/process.h). */
int beat_main(int argc, char **argv);
