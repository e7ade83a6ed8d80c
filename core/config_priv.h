/*
 * The inside of config.h, for the files that implement it: config.c reads the sources one after the
 * other, config_flags.c sorts the command line, config_value.c checks and keeps a value,
 * config_help.c describes the table.
 */
#pragma once

#include "core/config.h"

/* A flag that stood on the command line; views into argv. */
struct config_flag {
    const struct option *option;
    struct str place; /* as it was written: "--queues", "-Q" */
    struct str value;
};

/* Checks `value` and puts it into the settings; `place` begins every error text. `append` adds to a
 * list instead of replacing it. */
int config_store(struct config *config,
                 const struct option *option,
                 const char *place,
                 struct str value,
                 bool append,
                 struct cel_error *err) MUST_CHECK;

/* Sorts argv[1..] into `flags` (room for argc), config->arguments (the same) and wants_help; stores
 * nothing yet. */
int config_scan_flags(struct config *config,
                      int argc,
                      char **argv,
                      struct config_flag *flags,
                      size_t *ret_count,
                      struct cel_error *err) MUST_CHECK;
bool config_takes_flag(const struct config *config, const struct option *option);

/* "between 1 and 1024", "at least 1s"; the option must have bounds. */
void config_add_bounds(struct buf *buf, const struct option *option);

/* The likeliest of several names for a word that is none of them. */
struct config_guess {
    const char *name; /* NULL: nothing is near */
    size_t distance;
};
void config_guess(struct config_guess *guess, struct str word, const char *name);
