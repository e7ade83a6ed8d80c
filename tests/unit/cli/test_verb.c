#include "cli/verb.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "celeriac/error.h"

/* --- a verb to try ---------------------------------------------------------------------------- */

struct taken {
    const char *name;
    int names, loud;
    const char *wait;
    bool waited;
};

static int take_name(void *data, const char *value, struct cel_error *err)
{
    struct taken *taken = data;
    if (!strcmp(value, "bad"))
        return error_set(err, CEL_E_CONFIG, "--name: bad is no name");
    taken->name = value;
    taken->names++;
    return 0;
}

static int take_loud(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    assert_null(value);
    ((struct taken *)data)->loud++;
    return 0;
}

static int take_wait(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct taken *)data)->waited = true;
    ((struct taken *)data)->wait = value;
    return 0;
}

static int run(int argc, char **argv)
{
    (void)argc, (void)argv;
    return 0;
}

static const struct verb_flag flags[] = {
    {"name", "NAME", take_name, "A name"},
    {"loud", NULL, take_loud, "Loud"},
    {"wait", "[=TIME]", take_wait, "Wait"},
};
static const struct verb verb = {
    .name = "try",
    .run = run,
    .mask = VERB_QUEUES,
    .summary = "Try",
    .usage = "[OPTION...]",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac try",
    .ok = "tried",
    .failed = "not tried",
};

/* --- what it writes --------------------------------------------------------------------------- */

static char said[4096];
static int saved_stderr;
static FILE *captured;

static void capture(void)
{
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    captured = tmpfile();
    assert_non_null(captured);
    dup2(fileno(captured), STDERR_FILENO);
}

static void capture_end(void)
{
    fflush(stderr);
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    rewind(captured);
    size_t len = fread(said, 1, sizeof(said) - 1, captured);
    said[len] = '\0';
    fclose(captured);
}

/* Runs verb_begin on words that end with NULL. */
static int begin(struct verb_context *context, struct taken *taken, char **words)
{
    int argc = 0;
    while (words[argc])
        argc++;
    *taken = (struct taken){0};
    capture();
    int status = verb_begin(context, &verb, argc, words, taken);
    capture_end();
    return status;
}

static void assert_one_line(const char *expected)
{
    assert_non_null(strstr(said, expected));
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void own_flags_are_taken_and_the_rest_is_left(void **state)
{
    (void)state;
    struct verb_context context;
    struct taken taken;
    char *words[] = {"try",       "one",      "--name", "a",   "--loud", "--broker",
                     "redis://h", "--name=b", "--wait", "two", "--json", NULL};
    assert_int_equal(begin(&context, &taken, words), 0);
    assert_string_equal(said, "");
    assert_string_equal(taken.name, "b");
    assert_int_equal(taken.names, 2);
    assert_int_equal(taken.loud, 1);
    assert_true(taken.waited);
    assert_null(taken.wait); /* an optional value comes with = alone */
    assert_string_equal(context.settings.broker_url, "redis://h");
    assert_true(context.settings.json);
    assert_int_equal(context.config.argument_count, 2);
    assert_string_equal(context.config.arguments[0], "one");
    assert_string_equal(context.config.arguments[1], "two");
    verb_end(&context);
}

static void nothing_is_a_flag_behind_two_dashes(void **state)
{
    (void)state;
    struct verb_context context;
    struct taken taken;
    char *words[] = {"try", "--wait=3s", "--", "--loud", "--nothing", NULL};
    assert_int_equal(begin(&context, &taken, words), 0);
    assert_string_equal(taken.wait, "3s");
    assert_int_equal(taken.loud, 0);
    assert_int_equal(context.config.argument_count, 2);
    assert_string_equal(context.config.arguments[0], "--loud");
    verb_end(&context);
}

static void a_wrong_command_line_is_one_line_and_status_2(void **state)
{
    (void)state;
    static const struct {
        char *words[3];
        const char *text;
    } cases[] = {
        {{"--name"}, "try: --name: needs a value: NAME"},
        {{"--name", "--loud"}, "try: --name: needs a value"},
        {{"--name", "bad"}, "try: --name: bad is no name"},
        {{"--loud=1"}, "try: --loud: takes no value"},
        {{"--nothing"}, "try: --nothing: unknown option"},
        {{"--timeout", "soon"}, "try: --timeout: \"soon\" is not a duration"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct verb_context context;
        struct taken taken;
        char *words[] = {"try", cases[i].words[0], cases[i].words[1], NULL};
        assert_int_equal(begin(&context, &taken, words), EXIT_USAGE);
        assert_one_line(cases[i].text);
        verb_end(&context);
    }
}

static void a_wrong_configuration_is_one_line_and_status_78(void **state)
{
    (void)state;
    struct verb_context context;
    struct taken taken;
    char *words[] = {"try", "--config", "/nowhere/celeriac.ini", NULL};
    assert_int_equal(begin(&context, &taken, words), EXIT_CONFIG);
    assert_one_line("/nowhere/celeriac.ini");
    verb_end(&context);
}

static void what_a_server_says_stays_on_one_line(void **state)
{
    (void)state;
    struct cel_error err = {CEL_E_SERVER, "first\nsecond \x1b[2J"};
    capture();
    int status = verb_fail(&err);
    capture_end();
    assert_int_equal(status, EXIT_INTERNAL);
    assert_string_equal(said, "celeriac: first\\nsecond \\x1b[2J\n");
}

static void help_has_usage_flags_examples_and_statuses(void **state)
{
    (void)state;
    char text[16384];
    FILE *file = fmemopen(text, sizeof(text), "w");
    verb_help(&verb, file);
    fclose(file);
    static const char *const parts[] = {"Usage: celeriac try [OPTION...]",
                                        "      --name NAME ",
                                        "      --loud ",
                                        "      --wait[=TIME] ",
                                        "  -b, --broker URL",
                                        "Examples:\n  celeriac try\n",
                                        "   0  tried\n",
                                        "   1  not tried\n",
                                        "  78  "};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        assert_non_null(strstr(text, parts[i]));
}

int main(void)
{
    unsetenv("CELERIAC_CONFIG");
    unsetenv("CELERIAC_BROKER_URL");
    unsetenv("CELERY_BROKER_URL");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_flags_are_taken_and_the_rest_is_left),
        cmocka_unit_test(nothing_is_a_flag_behind_two_dashes),
        cmocka_unit_test(a_wrong_command_line_is_one_line_and_status_2),
        cmocka_unit_test(a_wrong_configuration_is_one_line_and_status_78),
        cmocka_unit_test(what_a_server_says_stays_on_one_line),
        cmocka_unit_test(help_has_usage_flags_examples_and_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
