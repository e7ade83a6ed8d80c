/*
 * Configuration: one table feeds file, environment, command line, help and docs.
 * Weak to strong: default, file, environment, command line. Unknown keys are errors that name the
 * line. A setter stores into a struct at an offset; strings are owned by the configuration.
 *
 *     static const struct option options[] = {
 *         {.section = "celeriac", .key = "broker_url", .type = OPTION_STRING,
 *          .offset = offsetof(struct settings, broker_url), .otherwise = "redis://localhost",
 *          .env = {"CELERIAC_BROKER_URL", "CELERY_BROKER_URL"}, .flag = "broker",
 *          .short_flag = 'b', .argument = "URL", .secret = true,
 *          .help = "Redis that holds the queues"},
 *
 * Free sections ([settings], [database], [beat NAME]) are handed over as they stand, with their
 * line.
 *
 * Flags: --name value, --name=value, -x value, -xvalue, --name and --no-name for bools; "--" ends
 * them. A variable that is set but empty counts as not set.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"

enum option_type {
    OPTION_STRING,   /* char * */
    OPTION_INT,      /* int64_t */
    OPTION_BOOL,     /* bool; as a flag it needs no argument */
    OPTION_DURATION, /* usec_t */
    OPTION_SIZE,     /* uint64_t bytes */
    OPTION_LIST,     /* char *: comma-separated; a flag given again appends */
};

struct option {
    const char *section, *key; /* in the INI file; key NULL: not in the file */
    enum option_type type;
    size_t offset;         /* in the settings struct */
    const char *otherwise; /* default as text, or NULL (zero) */
    int64_t min, max;      /* inclusive, of a string its length; both 0: unchecked */
    const char *choices;   /* of a string: "one|two|three", in any case; NULL: any text */
    const char *env[2];    /* first one wins */
    const char *flag;      /* long option, or NULL */
    char short_flag;       /* or 0 */
    const char *argument;  /* placeholder in help */
    unsigned verbs;        /* bit mask: which verbs take it as a flag (config->verb) */
    bool secret;           /* value never printed */
    bool reloadable;
    const char *help; /* one sentence */
};

struct config_line {                      /* of a free section */
    char *section, *key, *value, *origin; /* origin: "path:line" */
};

struct config {
    const struct option *options;
    size_t option_count;
    void *settings;
    unsigned verb;     /* flags of other verbs are unknown; 0: all */
    bool keep_unknown; /* other --flags stay in `arguments` (celeriac call NAME --percentage 15) */
    const char *const *free_sections; /* names, NULL-terminated; one ending in '*' is a prefix */
    struct config_line *lines;
    size_t line_count;
    char **arguments; /* what is left of argv after the flags; views into argv */
    size_t argument_count;
    char **owned; /* strings the settings point to */
    size_t owned_count;
    bool wants_help;   /* --help or -h: only the defaults were loaded */
    bool blames_flags; /* config_load failed because of the command line */
};

void config_init(struct config *config,
                 const struct option *options,
                 size_t option_count,
                 void *settings,
                 const char *const *free_sections);
void config_deinit(struct config *config);
/* Defaults, then `path` (NULL: none), then the environment, then argv[1..]. CEL_E_CONFIG with a
 * sentence that names key, place ("celeriac.ini:12", "CELERIAC_BROKER_URL", "--concurrency"), value
 * and rule; -ENOMEM. Frees what an earlier load gave; after a failure the settings are not to be
 * used. */
int config_load(struct config *config,
                const char *path,
                int argc,
                char **argv,
                struct cel_error *err) MUST_CHECK;
/* The option lines of --help, and the same as a Markdown table for docs/. */
void config_help(const struct config *config, struct buf *buf);
void config_markdown(const struct config *config, struct buf *buf);
