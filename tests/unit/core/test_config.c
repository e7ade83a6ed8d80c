#include "core/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"

struct things {
    char *url, *list, *color;
    int64_t count;
    bool fast;
    usec_t wait;
    uint64_t size;
};

enum { VERB_ONE = 1, VERB_TWO = 2 };
#define AT(field) .offset = offsetof(struct things, field)

static const struct option options[] = {
    {AT(url), .section = "main", .key = "url", .type = OPTION_STRING, .otherwise = "redis://x",
     .min = 1, .max = 40, .env = {"TEST_URL", "OTHER_URL"}, .flag = "url", .short_flag = 'u',
     .argument = "URL", .verbs = VERB_ONE | VERB_TWO, .secret = true, .help = "Where it is"},
    {AT(list), .section = "main", .key = "list", .type = OPTION_LIST, .otherwise = "",
     .env = {"TEST_LIST"}, .flag = "list", .short_flag = 'L', .argument = "NAME,...",
     .verbs = VERB_ONE, .help = "Names"},
    {AT(color), .section = "main", .key = "color", .type = OPTION_STRING, .otherwise = "",
     .choices = "red|green", .flag = "color", .verbs = VERB_ONE, .help = "One | another"},
    {AT(count), .section = "work", .key = "count", .type = OPTION_INT, .otherwise = "2", .min = -3,
     .max = 10, .env = {"TEST_COUNT"}, .flag = "count", .short_flag = 'c', .argument = "N",
     .verbs = VERB_ONE, .help = "How many"},
    {AT(fast), .section = "work", .key = "fast", .type = OPTION_BOOL, .flag = "fast",
     .short_flag = 'f', .verbs = VERB_ONE, .reloadable = true, .help = "Hurry"},
    {AT(wait), .section = "work", .key = "wait", .type = OPTION_DURATION, .otherwise = "1.5s",
     .min = 1000, .max = 7200000000, .flag = "wait", .verbs = VERB_TWO, .help = "How long"},
    {AT(size), .section = "work", .key = "size", .type = OPTION_SIZE, .otherwise = "4K",
     .help = "How large"},
};
static const char *const free_sections[] = {"settings", "beat *", NULL};

static struct things things;
static struct config config;
static struct cel_error err;
static char folder[] = "/tmp/test_config.XXXXXX";

static int enter_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    unlink("test.ini");
    return chdir("/") < 0 || rmdir(folder) < 0 ? -1 : 0;
}

static int set_up(void **state)
{
    (void)state;
    unsetenv("TEST_URL");
    unsetenv("OTHER_URL");
    unsetenv("TEST_LIST");
    unsetenv("TEST_COUNT");
    memset(&things, 0xAA, sizeof(things));
    error_clear(&err);
    config_init(&config, options, ARRAY_SIZE(options), &things, free_sections);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_deinit(&config);
    return 0;
}

static void write_bytes(const char *text, size_t len)
{
    FILE *file = fopen("test.ini", "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static int load_file(const char *text)
{
    write_bytes(text, strlen(text));
    return config_load(&config, "test.ini", 0, NULL, &err);
}

/* LOAD(path, "--flag", "value"): the arguments behind argv[0], up to NULL. */
#define LOAD(...) load_flags(__VA_ARGS__, NULL)
static int load_flags(const char *path, ...)
{
    char *argv[32] = {"test"};
    int argc = 1;
    va_list args;
    va_start(args, path);
    while ((argv[argc] = va_arg(args, char *)))
        argc++;
    va_end(args);
    return config_load(&config, path, argc, argv, &err);
}

static void assert_file_refused(const char *text, const char *expected)
{
    assert_int_equal(load_file(text), CEL_E_CONFIG);
    assert_int_equal(err.code, CEL_E_CONFIG);
    assert_string_equal(err.text, expected);
    assert_false(config.blames_flags);
}

static void the_table_gives_the_defaults(void **state)
{
    (void)state;
    assert_int_equal(config_load(&config, NULL, 0, NULL, &err), 0);
    assert_string_equal(things.url, "redis://x");
    assert_string_equal(things.list, "");
    assert_string_equal(things.color, "");
    assert_int_equal(things.count, 2);
    assert_false(things.fast);
    assert_int_equal(things.wait, 1500000);
    assert_int_equal(things.size, 4096);
    assert_int_equal(config.argument_count, 0);
    assert_int_equal(config.line_count, 0);
}

static void a_file_gives_every_type(void **state)
{
    (void)state;
    assert_int_equal(load_file("\xEF\xBB\xBF; comment\n"
                               "[main]\r\n"
                               "url = unix:///run/x.sock?db=1 ; comment\n"
                               "list: a, b\n"
                               "   color=GREEN   \n"
                               "# comment\n"
                               "\n"
                               "[ work ] what follows is ignored\n"
                               "count = -3\n"
                               "\tfast = on\n"
                               "wait = 2h\n"
                               "size = 1M"),
                     0);
    assert_string_equal(things.url, "unix:///run/x.sock?db=1");
    assert_string_equal(things.list, "a, b");
    assert_string_equal(things.color, "GREEN");
    assert_int_equal(things.count, -3);
    assert_true(things.fast);
    assert_int_equal(things.wait, 7200 * USEC_PER_SEC);
    assert_int_equal(things.size, 1 << 20);
}

static void the_stronger_source_wins(void **state)
{
    (void)state;
    write_bytes("[work]\ncount = 3\n", 17);
    assert_int_equal(LOAD("test.ini"), 0);
    assert_int_equal(things.count, 3);
    setenv("TEST_COUNT", "4", 1);
    assert_int_equal(LOAD("test.ini"), 0);
    assert_int_equal(things.count, 4);
    assert_int_equal(LOAD("test.ini", "--count=5"), 0);
    assert_int_equal(things.count, 5);
    assert_int_equal(LOAD("test.ini", "--count=5", "-c", "6"), 0);
    assert_int_equal(things.count, 6);
}

static void the_first_variable_that_is_set_counts(void **state)
{
    (void)state;
    setenv("OTHER_URL", "other", 1);
    assert_int_equal(LOAD(NULL), 0);
    assert_string_equal(things.url, "other");
    setenv("TEST_URL", "", 1);
    assert_int_equal(LOAD(NULL), 0);
    assert_string_equal(things.url, "other");
    setenv("TEST_URL", "first", 1);
    assert_int_equal(LOAD(NULL), 0);
    assert_string_equal(things.url, "first");
}

static void a_bad_variable_is_named(void **state)
{
    (void)state;
    setenv("TEST_COUNT", "many", 1);
    assert_int_equal(LOAD(NULL), CEL_E_CONFIG);
    assert_string_equal(err.text, "TEST_COUNT: \"many\" is not a whole number");
    assert_false(config.blames_flags);
}

static void a_list_flag_given_again_appends_and_replaces_weaker_sources(void **state)
{
    (void)state;
    setenv("TEST_LIST", "weak", 1);
    assert_int_equal(LOAD(NULL, "-La,b", "--list", "c", "-L=d"), 0);
    assert_string_equal(things.list, "a,b,c,d");
}

static void flags_are_written_in_many_ways(void **state)
{
    (void)state;
    config.verb = VERB_ONE;
    assert_int_equal(LOAD(NULL, "one", "--url", "a=b", "-c4", "--fast", "-", "two", "-5", "-.5",
                          "--color=", "--", "--count", "-x"),
                     0);
    assert_string_equal(things.url, "a=b");
    assert_int_equal(things.count, 4);
    assert_true(things.fast);
    static const char *const left[] = {"one", "-", "two", "-5", "-.5", "--count", "-x"};
    assert_int_equal(config.argument_count, ARRAY_SIZE(left));
    for (size_t i = 0; i < ARRAY_SIZE(left); i++)
        assert_string_equal(config.arguments[i], left[i]);

    assert_int_equal(LOAD(NULL, "--count", "-3", "-f"), 0);
    assert_int_equal(things.count, -3);
    assert_true(things.fast);
}

static void a_bool_flag_can_be_taken_back(void **state)
{
    (void)state;
    write_bytes("[work]\nfast = yes\n", 18);
    assert_int_equal(LOAD("test.ini", "--no-fast"), 0);
    assert_false(things.fast);
    assert_int_equal(LOAD("test.ini", "--fast=no"), 0);
    assert_false(things.fast);
    assert_int_equal(LOAD(NULL, "--no-fast", "--fast"), 0);
    assert_true(things.fast);
}

static void wrong_flags_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *flag, *text;
    } wrong[] = {
        {"--coutn=4", "--coutn: unknown option (did you mean --count?)"},
        {"--zebra", "--zebra: unknown option"},
        {"--url-of=redis://:pw@h", "--url-of: unknown option"},
        {"--wait=1", "--wait: not an option of this command"},
        {"-x", "-x: unknown option"},
        {"--count", "--count: needs a value: N"},
        {"-c", "-c: needs a value: N"},
        {"--color", "--color: needs a value"},
        {"--count=", "--count: \"\" is not a whole number"},
        {"--count=4x", "--count: \"4x\" is not a whole number"},
        {"--count=11", "--count: \"11\" must be between -3 and 10"},
        {"-c-4", "-c: \"-4\" must be between -3 and 10"},
        {"--count=99999999999999999999", "--count: \"99999999999999999999\" is out of range"},
        {"--fast=maybe", "--fast: \"maybe\" is neither yes nor no"},
        {"--no-fast=1", "--no-fast: takes no value"},
        {"-fx", "-f: takes no value"},
        {"--no-count", "--no-count: unknown option"},
        {"--color=blue", "--color: \"blue\" is none of red, green"},
        {"--url=", "--url: the value must be between 1 and 40 bytes long"},
        {"--url=redis://:password@a.very.long.host.name.example",
         "--url: the value must be between 1 and 40 bytes long"},
    };
    config.verb = VERB_ONE;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        error_clear(&err);
        assert_int_equal(LOAD(NULL, wrong[i].flag), CEL_E_CONFIG);
        assert_string_equal(err.text, wrong[i].text);
        assert_true(config.blames_flags);
    }
    assert_int_equal(LOAD(NULL, "--count", "--fast"), CEL_E_CONFIG);
    assert_string_equal(err.text, "--count: needs a value: N");
    assert_int_equal(LOAD(NULL, "--count=3"), 0);
    assert_false(config.blames_flags);
}

static void unknown_flags_can_be_kept(void **state)
{
    (void)state;
    config.verb = VERB_ONE;
    config.keep_unknown = true;
    assert_int_equal(LOAD(NULL, "name", "--percentage", "15", "--count=3", "--wait=4", "--dry-run"),
                     0);
    assert_int_equal(things.count, 3);
    static const char *const left[] = {"name", "--percentage", "15", "--wait=4", "--dry-run"};
    assert_int_equal(config.argument_count, ARRAY_SIZE(left));
    for (size_t i = 0; i < ARRAY_SIZE(left); i++)
        assert_string_equal(config.arguments[i], left[i]);
    assert_int_equal(LOAD(NULL, "-x"), CEL_E_CONFIG);
}

static void help_is_wanted_whatever_else_is_wrong(void **state)
{
    (void)state;
    setenv("TEST_COUNT", "many", 1);
    assert_int_equal(LOAD("missing.ini", "--count=3", "--help"), 0);
    assert_true(config.wants_help);
    assert_int_equal(things.count, 2);
    assert_int_equal(LOAD("missing.ini", "-h"), 0);
    assert_true(config.wants_help);
    unsetenv("TEST_COUNT");
    assert_int_equal(LOAD(NULL, "--", "--help"), 0);
    assert_false(config.wants_help);
}

static void a_broken_file_is_told_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
    } broken[] = {
        {"[work]\n\n;\n  cuont = 3\n",
         "test.ini:4: [work] cuont: unknown key (did you mean \"count\"?)"},
        {"[work]\nzebra = 3\n", "test.ini:2: [work] zebra: unknown key"},
        {"[main]\ncount = 3\n", "test.ini:2: [main] count: unknown key"},
        {"\n[mian]\n", "test.ini:2: [mian]: unknown section (did you mean [main]?)"},
        {"[settnigs]\n", "test.ini:1: [settnigs]: unknown section (did you mean [settings]?)"},
        {"[]\n", "test.ini:1: []: unknown section"},
        {"[beat]\n", "test.ini:1: [beat]: unknown section (did you mean [beat *]?)"},
        {"count = 3\n", "test.ini:1: count: stands before any [section]"},
        {"[work]\ncount\n", "test.ini:2: neither [section] nor key = value nor a comment"},
        {"[work\ncount = 3\n", "test.ini:1: neither [section] nor key = value nor a comment"},
        {"[work]\njunk\ncount = x\n",
         "test.ini:2: neither [section] nor key = value nor a comment"},
        {"[work]\ncount = x\njunk\n", "test.ini:2: [work] count: \"x\" is not a whole number"},
        {"[work]\n= 3\n", "test.ini:2: no key before the sign"},
        {"[work]\ncount = 3\n[main]\n[work]\ncount = 3\n",
         "test.ini:5: [work] count: given twice (first in line 2)"},
        {"[settings]\na = 3\na = 4\n",
         "test.ini:3: [settings] a: given twice (first in test.ini:2)"},
        {"[work]\nwait = soon\n",
         "test.ini:2: [work] wait: \"soon\" is not a duration (250ms, 30s, 5min, 2h, 1d; a bare "
         "number is seconds)"},
        {"[work]\nwait = 3h\n", "test.ini:2: [work] wait: \"3h\" must be between 1ms and 2h"},
        {"[work]\nwait = 400000000d\n", "test.ini:2: [work] wait: \"400000000d\" is out of range"},
        {"[work]\nsize = big\n",
         "test.ini:2: [work] size: \"big\" is not a size (4096, 64K, 16M, 1G)"},
        {"[main]\nurl =\n",
         "test.ini:2: [main] url: the value must be between 1 and 40 bytes long"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
        assert_file_refused(broken[i].file, broken[i].text);
}

static void zero_bytes_and_endless_lines_are_refused(void **state)
{
    (void)state;
    static const char zero[] = "[main]\nurl = a\0b\nlist = c\n";
    write_bytes(zero, sizeof(zero) - 1);
    assert_int_equal(config_load(&config, "test.ini", 0, NULL, &err), CEL_E_CONFIG);
    assert_string_equal(err.text, "test.ini:2: longer than 16384 bytes, or a zero byte in it");

    static char line[20000] = "[main]\nlist = ";
    size_t head = strlen(line);
    memset(line + head, 'x', 16384 - strlen("list = "));
    assert_int_equal(load_file(line), 0);
    assert_int_equal(strlen(things.list), 16384 - strlen("list = "));
    strcat(line, "\n");
    assert_int_equal(load_file(line), 0);
    memset(line + head, 'x', 16384 - strlen("list = ") + 1);
    strcat(line, "\n[work]\ncount = 3\n");
    assert_file_refused(line, "test.ini:2: longer than 16384 bytes, or a zero byte in it");
}

static void a_file_that_cannot_be_read_is_told_with_the_reason(void **state)
{
    (void)state;
    assert_int_equal(config_load(&config, "missing.ini", 0, NULL, &err), CEL_E_CONFIG);
    assert_string_equal(err.text, "missing.ini: cannot be opened: No such file or directory");
    assert_int_equal(config_load(&config, folder, 0, NULL, &err), CEL_E_CONFIG);
    assert_non_null(strstr(err.text, ": cannot be read: Is a directory"));
    assert_int_equal(config_load(&config, "missing.ini", 0, NULL, NULL), CEL_E_CONFIG);
}

static void free_sections_are_handed_over_with_their_lines(void **state)
{
    (void)state;
    assert_int_equal(load_file("[settings]\nsmtp = smtp://h\n\n"
                               "[beat a name that is longer than the forty-nine bytes of inih]\n"
                               "task = a.b\nempty =\n[beat b]\ntask = c.d\n"),
                     0);
    static const struct config_line lines[] = {
        {(char *)"settings", (char *)"smtp", (char *)"smtp://h", (char *)"test.ini:2"},
        {(char *)"beat a name that is longer than the forty-nine bytes of inih", (char *)"task",
         (char *)"a.b", (char *)"test.ini:5"},
        {(char *)"beat a name that is longer than the forty-nine bytes of inih", (char *)"empty",
         (char *)"", (char *)"test.ini:6"},
        {(char *)"beat b", (char *)"task", (char *)"c.d", (char *)"test.ini:8"},
    };
    assert_int_equal(config.line_count, ARRAY_SIZE(lines));
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        assert_string_equal(config.lines[i].section, lines[i].section);
        assert_string_equal(config.lines[i].key, lines[i].key);
        assert_string_equal(config.lines[i].value, lines[i].value);
        assert_string_equal(config.lines[i].origin, lines[i].origin);
    }
}

static void loading_again_starts_anew(void **state)
{
    (void)state;
    assert_int_equal(load_file("[settings]\na = 1\n[work]\ncount = 7\n"), 0);
    assert_int_equal(LOAD(NULL, "x"), 0);
    assert_int_equal(config.line_count, 0);
    assert_int_equal(things.count, 2);
    assert_int_equal(config.argument_count, 1);
}

static void help_shows_the_flags_of_the_verb(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf help = BUF_INIT(10000);
    config.verb = VERB_ONE;
    assert_int_equal(LOAD(NULL, "--url=redis://:password@h"), 0);
    config_help(&config, &help);
    assert_int_equal(buf_status(&help), 0);
    assert_string_equal(help.ptr,
                        "  -u, --url URL               Where it is [default redis://x; $TEST_URL]\n"
                        "  -L, --list NAME,...         Names [$TEST_LIST]\n"
                        "      --color VALUE           One | another [red|green]\n"
                        "  -c, --count N               How many [default 2; $TEST_COUNT]\n"
                        "  -f, --fast                  Hurry\n"
                        "  -h, --help                  Show this help and exit\n");
}

static void the_table_is_shown_as_markdown(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(10000);
    config_markdown(&config, &text);
    assert_int_equal(buf_status(&text), 0);
    static const char *const rows[] = {
        "| Key | Flag | Environment | Value | Default | Meaning |\n|---|---|---|---|---|---|\n",
        "| `[main] url` | `--url` `-u` | `TEST_URL`, `OTHER_URL` | text, between 1 and 40 bytes | "
        "`redis://x` | Where it is |\n",
        "| `[main] color` | `--color` |  | red\\|green |  | One \\| another |\n",
        "| `[work] count` | `--count` `-c` | `TEST_COUNT` | whole number, between -3 and 10 | `2` "
        "| "
        "How many |\n",
        "| `[work] fast` | `--fast` `-f` |  | yes or no |  | Hurry (reloadable) |\n",
        "| `[work] wait` | `--wait` |  | duration, between 1ms and 2h | `1.5s` | How long |\n",
        "| `[work] size` |  |  | size | `4K` | How large |\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_non_null(strstr(text.ptr, rows[i]));
}

static void load_everything_with_failing(size_t n, int *ret_status)
{
    mem_fail_after(n);
    *ret_status = LOAD("test.ini", "-La", "-Lb", "--url=z", "x");
    mem_fail_after(0);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    setenv("TEST_LIST", "c", 1);
    static const char text[] = "[main]\nurl = y\n[beat a]\nb = c\n[settings]\nd = e\n";
    write_bytes(text, sizeof(text) - 1);
    int r;
    for (size_t n = 1;; n++) {
        error_clear(&err);
        load_everything_with_failing(n, &r);
        if (r == 0) {
            assert_true(n > 20);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        assert_int_equal(err.code, -ENOMEM);
        assert_false(config.blames_flags);
    }
    assert_string_equal(things.list, "a,b");
    assert_string_equal(things.url, "z");
    assert_int_equal(config.line_count, 2);
}

static void a_refusal_may_run_out_of_memory_too(void **state)
{
    (void)state;
    static const char *const wrong[] = {"--count=11", "--color=blue"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        size_t n = 1;
        int r;
        do {
            mem_fail_after(n++);
            r = LOAD(NULL, wrong[i]);
            mem_fail_after(0);
        } while (r == -ENOMEM);
        assert_int_equal(r, CEL_E_CONFIG);
        assert_true(n > 5);
    }
}

#define CONFIG_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(the_table_gives_the_defaults),
        CONFIG_TEST(a_file_gives_every_type),
        CONFIG_TEST(the_stronger_source_wins),
        CONFIG_TEST(the_first_variable_that_is_set_counts),
        CONFIG_TEST(a_bad_variable_is_named),
        CONFIG_TEST(a_list_flag_given_again_appends_and_replaces_weaker_sources),
        CONFIG_TEST(flags_are_written_in_many_ways),
        CONFIG_TEST(a_bool_flag_can_be_taken_back),
        CONFIG_TEST(wrong_flags_are_named),
        CONFIG_TEST(unknown_flags_can_be_kept),
        CONFIG_TEST(help_is_wanted_whatever_else_is_wrong),
        CONFIG_TEST(a_broken_file_is_told_with_its_line),
        CONFIG_TEST(zero_bytes_and_endless_lines_are_refused),
        CONFIG_TEST(a_file_that_cannot_be_read_is_told_with_the_reason),
        CONFIG_TEST(free_sections_are_handed_over_with_their_lines),
        CONFIG_TEST(loading_again_starts_anew),
        CONFIG_TEST(help_shows_the_flags_of_the_verb),
        CONFIG_TEST(the_table_is_shown_as_markdown),
        CONFIG_TEST(every_allocation_may_fail),
        CONFIG_TEST(a_refusal_may_run_out_of_memory_too),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
