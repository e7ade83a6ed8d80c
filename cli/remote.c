/*
 * celeriac inspect, celeriac control and celeriac status.
 */
#include "cli/ask.h"
#include "cli/remote_command.h"
#include "cli/remote_view.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "core/mem.h"

struct remote_flags {
    bool terminates;
    const char *signal;
};

static int take_terminate(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct remote_flags *)data)->terminates = true;
    return 0;
}

static int take_signal(void *data, const char *value, struct cel_error *err)
{
    struct remote_flags *flags = data;
    if (!client_knows_signal(value))
        return error_set(err, CEL_E_CONFIG, "--signal: \"%s\" is no signal; TERM or KILL is",
                         value);
    flags->terminates = true;
    flags->signal = value;
    return 0;
}

static const struct verb_flag control_flags[] = {
    {"terminate", NULL, take_terminate, "revoke: end those that run, too"},
    {"signal", "NAME", take_signal, "The same by another signal than TERM"},
};

/* --- answers ---------------------------------------------------------------------------------- */

/* What went wrong at one node is one line. */
static int tell_errors(const struct answers *answers)
{
    int status = EXIT_OK;
    for (size_t i = 0; i < answers->count; i++) {
        size_t len;
        const struct cel_value *error = cel_value_get(answers->items[i].value, "error");
        const char *text = cel_value_text(error, &len);
        if (!error)
            continue;
        CLEANUP(buf_deinit) struct buf line = BUF_INIT(SIZE_MAX);
        text_add_printable(&line, text ? str_n(text, len) : STR("an error"), false);
        fprintf(stderr, "celeriac: %s: %s\n", answers->items[i].node, line.ptr);
        status = EXIT_FAILED;
    }
    return status;
}

static int show(const struct verb_context *context, const char *method, struct answers *answers)
{
    bool json = context->settings.json;
    if (json || answers->count > 0)
        remote_view_print(method, answers, json);
    if (answers->count > 0)
        return tell_errors(answers);
    if (!json)
        fprintf(stderr, answers->heard ? "celeriac: no node has answered in time\n"
                                       : "celeriac: no node listens\n");
    return EXIT_FAILED;
}

static int tell_sent(const struct verb_context *context, const struct answers *answers)
{
    if (!context->settings.json)
        printf("sent to %llu node%s\n", (unsigned long long)answers->heard,
               answers->heard == 1 ? "" : "s");
    return answers->heard ? EXIT_OK : EXIT_FAILED;
}

static int ask_and_show(const struct verb_context *context,
                        const struct remote_command *command,
                        const struct cel_value *arguments)
{
    struct answers answers;
    int status =
        ask_workers(context, command->name, arguments, command->kind != REMOTE_SILENT, &answers);
    if (status == 0)
        status = command->kind == REMOTE_SILENT ? tell_sent(context, &answers)
                                                : show(context, command->name, &answers);
    answers_deinit(&answers);
    return status;
}

/* --- the verbs -------------------------------------------------------------------------------- */

static void add_signal(struct cel_value *arguments, const struct remote_flags *flags)
{
    ASSERT(!cel_map_set(arguments, "terminate", cel_bool(flags->terminates)));
    ASSERT(!cel_map_set(arguments, "signal", cel_text(flags->signal ? flags->signal : "SIGTERM")));
}

static int run_command(const struct verb_context *context,
                       const struct remote_command *commands,
                       const struct remote_flags *flags)
{
    char **words = context->config.arguments;
    size_t count = context->config.argument_count;
    struct cel_error err = {0};
    struct cel_value *arguments = NULL;
    const struct remote_command *command = count ? remote_command_find(commands, words[0]) : NULL;
    if (!count)
        return verb_misused(context->verb, "name a command (celeriac %s --help lists them)",
                            context->verb->name);
    if (!command)
        return verb_misused(context->verb, "\"%s\" is no command (celeriac %s --help lists them)",
                            words[0], context->verb->name);
    if (flags->terminates && command->kind != REMOTE_REVOKES)
        return verb_misused(context->verb, "%s: --terminate and --signal mean nothing here",
                            command->name);
    if (remote_command_arguments(command, words + 1, count - 1, &arguments, &err) < 0)
        return verb_misused(context->verb, "%s: %s", command->name, err.text);
    if (command->kind == REMOTE_REVOKES)
        add_signal(arguments, flags);
    int status = ask_and_show(context, command, arguments);
    cel_value_free(arguments);
    return status;
}

static int
run_verb(const struct verb *verb, const struct remote_command *commands, int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct remote_flags flags = {.signal = NULL};
    int status = verb_begin(&context, verb, argc, argv, &flags);
    return status ? status : run_command(&context, commands, &flags);
}

static int inspect_run(int argc, char **argv)
{
    return run_verb(&inspect_verb, remote_inspect, argc, argv);
}

static int control_run(int argc, char **argv)
{
    return run_verb(&control_verb, remote_control, argc, argv);
}

static void list_inspect(struct buf *buf)
{
    remote_command_list(buf, remote_inspect);
}

static void list_control(struct buf *buf)
{
    remote_command_list(buf, remote_control);
}

const struct verb inspect_verb = {
    .name = "inspect",
    .run = inspect_run,
    .mask = VERB_INSPECT,
    .summary = "Ask workers, ours and Python's, what they do and have",
    .usage = "[OPTION...] COMMAND [ARGUMENT...]",
    .about =
        "The answer is there as soon as every node has given it; --timeout is for those that do "
        "not.",
    .list = list_inspect,
    .examples = "celeriac inspect ping\n"
                "celeriac inspect active --destination celery@web1\n"
                "celeriac inspect stats --json",
    .ok = "answered",
    .failed = "no node has answered, or one with an error",
};

const struct verb control_verb = {
    .name = "control",
    .run = control_run,
    .mask = VERB_CONTROL,
    .summary = "Have workers, ours and Python's, do something",
    .usage = "[OPTION...] COMMAND [ARGUMENT...]",
    .about = "What is revoked stays so for workers of Celeriac that are down now; those of Python "
             "hear it only while they run.",
    .list = list_control,
    .flags = control_flags,
    .flag_count = ARRAY_SIZE(control_flags),
    .examples = "celeriac control enable_events\n"
                "celeriac control revoke --terminate 5a0c1f0e-0000-4000-8000-000000000001\n"
                "celeriac control rate_limit products.tasks.send_mail 10/m\n"
                "celeriac control --destination celery@web1 shutdown",
    .ok = "done",
    .failed = "no node has answered, or one with an error",
};

/* --- status ----------------------------------------------------------------------------------- */

static int status_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    static const struct remote_command ping = {.name = "ping"};
    int status = verb_begin(&context, &status_verb, argc, argv, NULL);
    if (status)
        return status;
    if (context.config.argument_count > 0)
        return verb_misused(&status_verb, "unexpected argument \"%s\"",
                            context.config.arguments[0]);
    return ask_and_show(&context, &ping, NULL);
}

const struct verb status_verb = {
    .name = "status",
    .run = status_run,
    .mask = VERB_STATUS,
    .summary = "Show which workers are there",
    .usage = "[OPTION...]",
    .about = "Workers of Celeriac and of Python that listen to remote control.",
    .examples = "celeriac status\n"
                "celeriac status --json",
    .ok = "at least one is there",
    .failed = "none is there",
};
