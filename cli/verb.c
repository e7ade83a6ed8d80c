#include "cli/verb.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "celeriac/client.h"
#include "cli/table.h"
#include "core/mem.h"
#include "store/pg.h"

enum { HELP_COLUMN = 30 };

/* --- errors ----------------------------------------------------------------------------------- */

static const struct {
    enum exit_status status;
    const char *meaning;
} exits[] = {
    {EXIT_USAGE, "the command line is wrong"},
    {EXIT_UNREACHABLE, "Redis or PostgreSQL cannot be reached, or not in time"},
    {EXIT_INTERNAL, "the server answered with an error, or the program failed"},
    {EXIT_DENIED, "wrong password, no permission"},
    {EXIT_CONFIG, "configuration, URL or module that cannot be used"},
};

/* One line, whatever a server put into its message. */
static void print_line(const char *text)
{
    CLEANUP(buf_deinit) struct buf line = BUF_INIT(4096);
    text_add_printable(&line, str_of(text), false);
    fprintf(stderr, "celeriac: %s\n", line.ptr ? line.ptr : "");
}

int verb_fail(const struct cel_error *err)
{
    print_line(err->text);
    return (int)process_exit_status(err->code);
}

int verb_misused(const struct verb *verb, const char *format, ...)
{
    struct cel_error err;
    va_list args;
    va_start(args, format);
    error_setv(&err, -EINVAL, format, args);
    va_end(args);
    error_wrap(&err, "%s", verb->name);
    print_line(err.text);
    return EXIT_USAGE;
}

/* --- help ------------------------------------------------------------------------------------- */

static void add_flag(struct buf *buf, const struct verb_flag *flag)
{
    CLEANUP(buf_deinit) struct buf left = BUF_INIT(128);
    bool optional = flag->argument && str_starts(str_of(flag->argument), STR("[="));
    buf_addf(&left, "      --%s%s%s", flag->name, flag->argument && !optional ? " " : "",
             flag->argument ? flag->argument : "");
    buf_addf(buf, "%-*s %s\n", HELP_COLUMN - 1, left.ptr ? left.ptr : "", flag->help);
}

static void add_exits(struct buf *buf, const struct verb *verb)
{
    buf_addf(buf, "\nExit status:\n  %2d  %s\n", EXIT_OK, verb->ok);
    if (verb->failed)
        buf_addf(buf, "  %2d  %s\n", EXIT_FAILED, verb->failed);
    for (size_t i = 0; i < ARRAY_SIZE(exits); i++)
        buf_addf(buf, "  %2d  %s\n", exits[i].status, exits[i].meaning);
}

/* Each line of `text`, indented. */
static void add_lines(struct buf *buf, const char *text)
{
    struct str rest = str_of(text), line;
    while (str_split(&rest, '\n', &line)) {
        buf_add_c(buf, "  ");
        buf_add_str(buf, line);
        buf_add_char(buf, '\n');
    }
}

void verb_help(const struct verb *verb, FILE *out)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(64 * 1024);
    buf_addf(&buf, "%s\n\nUsage: celeriac %s %s\n", verb->summary, verb->name, verb->usage);
    if (verb->about)
        buf_addf(&buf, "\n%s\n", verb->about);
    if (verb->list) {
        buf_add_c(&buf, "\nCommands:\n");
        verb->list(&buf);
    }
    buf_add_c(&buf, "\nOptions:\n");
    for (size_t i = 0; i < verb->flag_count; i++)
        add_flag(&buf, &verb->flags[i]);
    struct settings settings;
    struct config config;
    config_init(&config, settings_options, settings_option_count, &settings,
                settings_free_sections);
    config.verb = verb->mask;
    config_help(&config, &buf);
    config_deinit(&config);
    buf_add_c(&buf, "\nExamples:\n");
    add_lines(&buf, verb->examples);
    add_exits(&buf, verb);
    fputs(buf.ptr, out);
}

/* --- flags and settings ----------------------------------------------------------------------- */

static const struct verb_flag *find_flag(const struct verb *verb, struct str name)
{
    for (size_t i = 0; i < verb->flag_count; i++) {
        if (str_equal(name, str_of(verb->flags[i].name)))
            return &verb->flags[i];
    }
    return NULL;
}

/* Hands one flag to its function; `*at` moves past a value that stands for itself. */
static int take_flag(const struct verb_flag *flag,
                     const char *value,
                     int argc,
                     char **argv,
                     int *at,
                     void *data,
                     struct cel_error *err)
{
    bool optional = flag->argument && str_starts(str_of(flag->argument), STR("[="));
    if (value && !flag->argument)
        return error_set(err, CEL_E_CONFIG, "--%s: takes no value", flag->name);
    if (!value && flag->argument && !optional) {
        if (*at + 1 >= argc || str_starts(str_of(argv[*at + 1]), STR("--")))
            return error_set(err, CEL_E_CONFIG, "--%s: needs a value: %s", flag->name,
                             flag->argument);
        value = argv[++*at];
    }
    return flag->take(data, value, err);
}

/* Leaves in context->argv what is not the verb's own. */
static int take_flags(struct verb_context *context,
                      int argc,
                      char **argv,
                      int *ret_argc,
                      void *data,
                      struct cel_error *err)
{
    int left = 0;
    bool ended = false;
    for (int i = 0; i < argc; i++) {
        struct str rest = str_of(argv[i]), name;
        ended |= !strcmp(argv[i], "--");
        const struct verb_flag *flag = NULL;
        if (i > 0 && !ended && str_starts(rest, STR("--"))) {
            str_split(&rest, '=', &name);
            flag = find_flag(context->verb, str_n(name.ptr + 2, name.len - 2));
        }
        if (!flag) {
            context->argv[left++] = argv[i];
            continue;
        }
        int status = take_flag(flag, rest.ptr, argc, argv, &i, data, err);
        if (status)
            return status;
    }
    *ret_argc = left;
    return 0;
}

int verb_begin(
    struct verb_context *context, const struct verb *verb, int argc, char **argv, void *data)
{
    *context = (struct verb_context){.verb = verb};
    context->argv = xgrow(NULL, (size_t)argc + 1, sizeof(*context->argv));
    struct cel_error err = {0};
    int left = 0;
    if (take_flags(context, argc, argv, &left, data, &err))
        return verb_misused(verb, "%s", err.text);
    context->argv[left] = NULL;
    int status =
        settings_load(&context->settings, &context->config, verb->mask, left, context->argv, &err);
    if (status && context->config.blames_flags)
        return verb_misused(verb, "%s", err.text);
    if (!status)
        context->routes = settings_routes(&context->config);
    return status ? verb_fail(&err) : 0;
}

void verb_end(struct verb_context *context)
{
    config_deinit(&context->config);
    mem_free(context->argv);
    mem_free(context->routes);
    context->argv = NULL;
    context->routes = NULL;
}

struct cel_client_options verb_client_options(const struct verb_context *context)
{
    const struct settings *settings = &context->settings;
    return (struct cel_client_options){
        .broker_url = settings->broker_url,
        .result_backend = *settings->result_backend ? settings->result_backend : NULL,
        .queue = settings->default_queue,
        .routes = context->routes,
        .timeout_ms = (int64_t)(settings->timeout / USEC_PER_MSEC),
        .key_prefix = *settings->key_prefix ? settings->key_prefix : NULL,
        .master_name = settings->master_name,
        .sentinel_username = settings->sentinel_username,
        .sentinel_password = settings->sentinel_password,
    };
}

int verb_open_client(const struct verb_context *context, struct cel_client **ret)
{
    const struct cel_client_options options = verb_client_options(context);
    struct cel_error err = {0};
    return cel_client_open(&options, ret, &err) ? verb_fail(&err) : 0;
}

int verb_open_pg(const struct verb_context *context, const char *name, struct pg **ret)
{
    const char *uri = settings_database_named(&context->settings, &context->config, name);
    struct cel_error err = {0};
    if (!uri)
        error_set(&err, CEL_E_CONFIG,
                  "%s: no database \"%s\": --database, $CELERIAC_DATABASE_URL or [database] %s",
                  context->verb->name, name, name);
    if (!uri || pg_uri_check(uri, &err))
        return verb_fail(&err);
    *ret = pg_new(name, uri, 0, NULL);
    ASSERT(*ret);
    return 0;
}
