#include "cli/result.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/table.h"
#include "cli/verbs.h"
#include "core/json.h"

/* --- printing --------------------------------------------------------------------------------- */

void result_add_value(struct buf *buf, const struct cel_value *value)
{
    if (cel_value_type(value) == CEL_TEXT) {
        size_t len;
        const char *text = cel_value_text(value, &len);
        buf_add(buf, text, len);
        return;
    }
    struct buf json = BUF_INIT(SIZE_MAX);
    int status = json_encode(&json, value, JSON_PLAIN);
    if (status) { /* bytes: plain JSON has no word for them */
        buf_clear(&json);
        status = json_encode(&json, value, JSON_TYPED);
    }
    if (!status)
        buf_add_str(buf, buf_str(&json));
    buf_deinit(&json);
}

/* To a terminal without control characters, to anything else untouched. */
static void print_text(struct str text)
{
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(SIZE_MAX);
    if (isatty(STDOUT_FILENO)) {
        text_add_printable(&shown, text, true);
        text = buf_str(&shown);
    }
    if (text.len)
        fwrite(text.ptr, 1, text.len, stdout);
    putchar('\n');
}

static void print_json(const struct cel_value *value)
{
    char *json = cel_value_to_json(value);
    ASSERT(json);
    puts(json);
    free(json);
}

void result_print_id(const char *id)
{
    struct cel_value *map = cel_map();
    ASSERT(!cel_map_set(map, "id", cel_text(id)));
    print_json(map);
    cel_value_free(map);
}

void result_print_json(const char *id, const struct cel_result *result)
{
    if (cel_result_document(result)) {
        print_json(cel_result_document(result));
        return;
    }
    struct cel_value *nothing = cel_map();
    ASSERT(!cel_map_set(nothing, "status", cel_text(cel_result_state(result))));
    ASSERT(!cel_map_set(nothing, "result", cel_null()));
    ASSERT(!cel_map_set(nothing, "task_id", cel_text(id)));
    print_json(nothing);
    cel_value_free(nothing);
}

static void add_error(struct buf *buf, const struct cel_result *result)
{
    const char *text = cel_result_error_text(result);
    buf_add_c(buf, cel_result_error_type(result));
    if (text && *text)
        buf_addf(buf, ": %s", text);
}

void result_print_outcome(const char *id, const struct cel_result *result)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    if (!cel_result_error_type(result)) {
        result_add_value(&text, cel_result_value(result));
        print_text(buf_str(&text));
        return;
    }
    add_error(&text, result);
    CLEANUP(buf_deinit) struct buf line = BUF_INIT(SIZE_MAX);
    text_add_printable(&line, buf_str(&text), false);
    fprintf(stderr, "celeriac: task %s ended as %s: %s\n", id, cel_result_state(result),
            line.ptr ? line.ptr : "");
}

int result_exit_status(const struct cel_result *result)
{
    bool failed = cel_result_ready(result) && cel_result_error_type(result);
    return failed || !cel_result_document(result) ? EXIT_FAILED : EXIT_OK;
}

/* --- the verb --------------------------------------------------------------------------------- */

struct request {
    bool wait;
    usec_t limit; /* 0: --timeout */
};

static int take_wait(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    request->wait = true;
    if (value && str_parse_duration(str_of(value), &request->limit))
        return error_set(err, CEL_E_CONFIG, "--wait: \"%s\" is not a duration", value);
    return 0;
}

static const struct verb_flag flags[] = {
    {"wait", "[=TIME]", take_wait, "Wait until the task has ended, at most so long (or --timeout)"},
};

static enum table_tint state_tint(const struct cel_result *result)
{
    if (!cel_result_ready(result))
        return TINT_WARN;
    return cel_result_error_type(result) ? TINT_BAD : TINT_GOOD;
}

static void print_line(const char *label, struct str text, enum table_tint tint)
{
    bool colour = output_has_colour(stdout);
    printf("%-10s %s", label, output_tint(tint, colour));
    print_text(text);
    fputs(output_tint_end(tint, colour), stdout);
}

static void print_people(const char *id, const struct cel_result *result)
{
    print_line("id", str_of(id), TINT_PLAIN);
    print_line("state", str_of(cel_result_state(result)), state_tint(result));
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    if (cel_result_error_type(result)) {
        add_error(&text, result);
        print_line("error", buf_str(&text), TINT_BAD);
    } else if (cel_result_document(result)) {
        result_add_value(&text, cel_result_value(result));
        print_line("value", buf_str(&text), TINT_PLAIN);
    }
    const struct cel_value *done = cel_value_get(cel_result_document(result), "date_done");
    if (cel_value_text(done, NULL))
        print_line("done", str_of(cel_value_text(done, NULL)), TINT_PLAIN);
    if (cel_result_traceback(result)) {
        print_line("traceback", STR(""), TINT_PLAIN);
        print_text(str_of(cel_result_traceback(result)));
    }
}

static int show(const struct verb_context *context, const struct request *request, const char *id)
{
    struct cel_client *client;
    int status = verb_open_client(context, &client);
    if (status)
        return status;
    usec_t limit = request->limit ? request->limit : context->settings.timeout;
    struct cel_result *result = NULL;
    struct cel_error err = {0};
    status = request->wait
                 ? cel_result_wait(client, id, (int64_t)(limit / USEC_PER_MSEC), &result, &err)
                 : cel_result_get(client, id, &result, &err);
    cel_client_close(client);
    if (status)
        return verb_fail(&err);
    if (context->settings.json)
        result_print_json(id, result);
    else
        print_people(id, result);
    status = result_exit_status(result);
    cel_result_free(result);
    return status;
}

static int run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct request request = {0};
    int status = verb_begin(&context, &result_verb, argc, argv, &request);
    if (status)
        return status;
    if (context.config.argument_count != 1)
        return verb_misused(&result_verb, "give one task id");
    return show(&context, &request, context.config.arguments[0]);
}

const struct verb result_verb = {
    .name = "result",
    .run = run,
    .mask = VERB_RESULT,
    .summary = "Show what became of a task",
    .usage = "[OPTION...] ID",
    .about = "Prints state, value or error, and traceback. A task of which nothing is stored is "
             "PENDING:\n"
             "it waits, runs, ignores its result, or there never was such a task.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac result 5f0c1a3e-6a0b-4c5e-9d8f-0a1b2c3d4e5f\n"
                "celeriac result --wait=2min --json 5f0c1a3e-6a0b-4c5e-9d8f-0a1b2c3d4e5f",
    .ok = "a result is stored, and it is no failure",
    .failed = "the task failed or was revoked, or nothing is stored",
};
