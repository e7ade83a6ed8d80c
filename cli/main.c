/*
 * celeriac VERB ...: the verb table. --help is answered here, for all verbs alike.
 */
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"

static const struct verb *const verbs[] = {
    &worker_verb,  &beat_verb,   &call_verb,    &result_verb, &queues_verb,  &purge_verb,
    &revoke_verb,  &dead_verb,   &delayed_verb, &audit_verb,  &history_verb, &inspect_verb,
    &control_verb, &status_verb, &migrate_verb, &demo_verb,
};

static void help(FILE *out)
{
    fprintf(out, "Celeriac runs background tasks written in C, and speaks Celery's protocol.\n\n"
                 "Usage: celeriac VERB [OPTION...] [ARGUMENT...]\n\nVerbs:\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(out, "  %-10s%s\n", verbs[i]->name, verbs[i]->summary);
    fprintf(
        out,
        "\n  celeriac VERB --help     options, examples and exit statuses of a verb\n"
        "  celeriac --version       version\n"
        "  celeriac --settings      all settings, as the table of the manual\n\n"
        "Settings come from the command line, else from the environment, else from the INI file\n"
        "named by --config or $CELERIAC_CONFIG.\n\n"
        "Examples:\n"
        "  export CELERIAC_BROKER_URL=redis://localhost:6379/0\n"
        "  celeriac worker -A ./shop.so -c 4\n"
        "  celeriac call products.tasks.process_order 42 --wait\n\n"
        "Exit status: 0 success, 1 the task failed or nothing was found, 2 wrong command line,\n"
        "69 unreachable or not in time, 70 the server answered with an error or the program\n"
        "failed, 77 wrong password or no permission, 78 wrong configuration.\n");
}

static void print_settings(void)
{
    struct settings settings;
    struct config config;
    struct buf table = BUF_INIT(SIZE_MAX);
    config_init(&config, settings_options, settings_option_count, &settings,
                settings_free_sections);
    config_markdown(&config, &table);
    fputs(table.ptr, stdout);
    buf_deinit(&table);
    config_deinit(&config);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    }
    return false;
}

/* Standard output that could not be written is a failure too: a full disk, a closed pipe. */
static int flushed(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "celeriac: cannot write to standard output\n");
    return status ? status : EXIT_INTERNAL;
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    if (asks_for_help(argc, argv)) {
        verb_help(verb, stdout);
        return EXIT_OK;
    }
    return verb->run(argc, argv);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        help(stdout);
        return flushed(EXIT_OK);
    }
    if (!strcmp(word, "--version")) {
        puts("celeriac " CELERIAC_VERSION);
        return flushed(EXIT_OK);
    }
    if (!strcmp(word, "--settings")) {
        print_settings();
        return flushed(EXIT_OK);
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!strcmp(word, verbs[i]->name))
            return flushed(run_verb(verbs[i], argc - 1, argv + 1));
    }
    if (argc < 2)
        help(stderr);
    else
        fprintf(stderr, "celeriac: \"%s\" is no verb (celeriac --help lists them)\n", word);
    return EXIT_USAGE;
}
