/*
 * What the verbs of the executable have in common: how a verb describes itself, its flags, its
 * help, how errors end as one line and an exit status (core/process.h).
 */
#pragma once

#include <stdio.h>

#include "core/process.h"
#include "core/settings.h"

/* A flag of one verb alone; those that every verb shares stand in core/settings.c. */
struct verb_flag {
    const char *name; /* without dashes */
    const char
        *argument; /* placeholder; NULL: takes none; "[=...]": takes one only as --name=value */
    /* Called at each occurrence with the value or NULL; keeps `value`, which is a view into argv.
     */
    int (*take)(void *data, const char *value, struct cel_error *err);
    const char *help;
};

struct verb {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns an exit status */
    unsigned mask;                     /* its VERB_... */
    const char *summary;               /* one line, no full stop */
    const char *usage;                 /* what stands behind the name */
    const char *about;                 /* a few lines, or NULL */
    void (*list)(struct buf *buf);     /* adds the lines of "Commands:"; NULL: there are none */
    const struct verb_flag *flags;
    size_t flag_count;
    const char *examples; /* a line each */
    const char *ok;       /* what exit status 0 means */
    const char *failed;   /* what 1 means, or NULL */
};

void verb_help(const struct verb *verb, FILE *out);

/* The settings of one run. */
struct verb_context {
    const struct verb *verb;
    struct settings settings;
    struct config config;
    char **argv;  /* what is left for settings_load, owned */
    char *routes; /* of the configuration */
};

/*
 * Takes the verb's own flags out of argv (`data` is handed to them), then loads the settings. 0, or
 * the exit status when something is wrong and was said.
 */
int verb_begin(struct verb_context *context,
               const struct verb *verb,
               int argc,
               char **argv,
               void *data) MUST_CHECK;
void verb_end(struct verb_context *context);

/* Print one line on stderr and return the exit status. */
int verb_fail(const struct cel_error *err);
int verb_misused(const struct verb *verb, const char *format, ...) PRINTF_LIKE(2, 3);

struct cel_client;
struct cel_client_options;
/* What the settings say of a client; its texts live as long as the context. */
struct cel_client_options verb_client_options(const struct verb_context *context);
/* Opens such a client; 0 or an exit status, said. No connection is made yet. */
int verb_open_client(const struct verb_context *context, struct cel_client **ret) MUST_CHECK;
struct pg;
/* The database `name` of the settings, not connected yet; 0 or an exit status, said. */
int verb_open_pg(const struct verb_context *context, const char *name, struct pg **ret) MUST_CHECK;
