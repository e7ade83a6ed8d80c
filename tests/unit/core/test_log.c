#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/json.h"
#include "core/mem.h"

static int ends[2];

static usec_t stopped(void)
{
    return 1709209815123456;
}

#define TIME "2024-02-29T12:30:15.123456+00:00"

/* A pipe in packet mode: one read gives what one write gave. */
static int open_pipe(void **state)
{
    (void)state;
    clock_replace(stopped, stopped);
    return pipe2(ends, O_DIRECT | O_NONBLOCK);
}

static int close_pipe(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
    clock_replace(NULL, NULL);
    close(ends[0]);
    return close(ends[1]);
}

static const char *written(void)
{
    static char text[65536];
    ssize_t len = read(ends[0], text, sizeof(text) - 1);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static void text_is_a_line_for_a_person(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    log_info("Worker ready", F_C("node", "celery@host"), F_U64("concurrency", 4));
    assert_string_equal(written(), TIME " info    Worker ready node=celery@host concurrency=4\n");
    log_warning("No field");
    assert_string_equal(written(), TIME " warning No field\n");
}

static void logfmt_is_keys_and_values(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, ends[1]);
    log_debug("Task done", F_C("task", "a.b"), F_I64("left", -5), F_USEC("runtime", 1002003),
              F_C("err", "no row"));
    assert_string_equal(written(), "time=" TIME " level=debug msg=\"Task done\" task=a.b left=-5 "
                                   "runtime=1.002003 err=\"no row\"\n");
}

static void json_is_one_object_a_line(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, ends[1]);
    log_error("Task failed", F_C("task", "a.b"), F_I64("slot", 3), F_U64("most", UINT64_MAX),
              F_USEC("runtime", 2500000), (struct log_field){"load", LOG_DOUBLE, .number = 0.5});
    assert_string_equal(written(),
                        "{\"time\": \"" TIME "\", \"level\": \"error\", \"msg\": \"Task failed\", "
                        "\"task\": \"a.b\", \"slot\": 3, \"most\": 18446744073709551615, "
                        "\"runtime\": 2.500000, \"load\": 0.5}\n");
}

static void absent_fields_are_left_out(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, ends[1]);
    log_info("x", F_STR("none", STR_NONE), F_C("null", NULL), F_C("empty", ""));
    assert_string_equal(written(), "{\"time\": \"" TIME
                                   "\", \"level\": \"info\", \"msg\": \"x\", \"empty\": \"\"}\n");
}

static void values_cannot_break_the_line(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    log_info("x", F_C("a", "line\nend\r\t\x1B[31m\x7F"), F_C("b", "C1 \xC2\x9B end"),
             F_C("c", "say \"hi\" \\ there"), F_C("d", ""), F_C("e", "k=v"),
             F_STR("f", STR("z\0z")));
    assert_string_equal(written(),
                        TIME " info    x a=\"line\\nend\\r\\t\\u001b[31m\\u007f\" "
                             "b=\"C1 \\u009b end\" c=\"say \\\"hi\\\" \\\\ there\" d=\"\" "
                             "e=\"k=v\" f=\"z\\u0000z\"\n");
}

static void other_alphabets_stay_readable_and_broken_bytes_are_marked(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, ends[1]);
    log_info("x", F_C("a", "gr\xC3\xBC\xC3\x9F"), F_C("b", "\xE2\x82\xAC\xF0\x9F\x98\x80"),
             F_C("c", "cut \xE2\x82"), F_C("d", "\xFF\x80z"));
    assert_string_equal(written(), "time=" TIME " level=info msg=x a=\"gr\xC3\xBC\xC3\x9F\" "
                                   "b=\"\xE2\x82\xAC\xF0\x9F\x98\x80\" "
                                   "c=\"cut \xEF\xBF\xBD\xEF\xBF\xBD\" "
                                   "d=\"\xEF\xBF\xBD\xEF\xBF\xBDz\"\n");
}

static void every_byte_gives_valid_json(void **state)
{
    (void)state;
    char bytes[256];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, ends[1]);
    log_info("x", F_STR("bytes", str_n(bytes, sizeof(bytes))),
             (struct log_field){"nan", LOG_DOUBLE, .number = NAN},
             (struct log_field){"inf", LOG_DOUBLE, .number = -INFINITY});
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    const char *line = written();
    assert_int_equal(json_decode(str_n(line, strlen(line) - 1), &value, &err), 0);
    const struct cel_value *text = cel_value_get(value, "bytes");
    assert_int_equal(cel_value_type(text), CEL_TEXT);
    size_t len;
    assert_memory_equal(cel_value_text(text, &len), bytes, 128);
    assert_int_equal(cel_value_type(cel_value_get(value, "nan")), CEL_TEXT);
    assert_string_equal(cel_value_text(cel_value_get(value, "inf"), NULL), "-inf");
    cel_value_free(value);
}

static void levels_below_the_chosen_one_are_silent(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_WARNING, LOG_FORMAT_TEXT, ends[1]);
    assert_false(log_enabled(LOG_LEVEL_INFO));
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    log_debug("no");
    log_info("no");
    assert_string_equal(written(), "");
    log_warning("yes");
    assert_string_equal(written(), TIME " warning yes\n");
}

static void a_journal_gets_syslog_levels(void **state)
{
    (void)state;
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(ends[1], &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_open(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, ends[1]);
    log_debug("x");
    assert_int_equal(strncmp(written(), "<7>time=", 8), 0);
    log_info("x");
    assert_int_equal(strncmp(written(), "<6>", 3), 0);
    log_warning("x");
    assert_int_equal(strncmp(written(), "<4>", 3), 0);
    log_error("x");
    assert_int_equal(strncmp(written(), "<3>", 3), 0);

    setenv("JOURNAL_STREAM", "1:2", 1); /* another stream than ours */
    log_open(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, ends[1]);
    log_info("x");
    assert_int_equal(strncmp(written(), "time=", 5), 0);
}

static void long_values_are_cut_at_whole_characters(void **state)
{
    (void)state;
    static char text[5000], expected[5000];
    memset(text, 'x', sizeof(text));
    memcpy(text + 4094, "\xE2\x82\xAC", 3);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    int flags = fcntl(ends[1], F_GETFL);
    fcntl(ends[1], F_SETFL, flags & ~O_DIRECT); /* a packet holds 4096 bytes */
    log_info("y", F_STR("a", str_n(text, sizeof(text))), F_C("b", "z"));
    snprintf(expected, sizeof(expected), TIME " info    y a=%.4094s b=z\n", text);
    assert_string_equal(written(), expected);
}

static void fields_that_do_not_fit_are_left_out(void **state)
{
    (void)state;
    static char controls[4096];
    static struct log_field fields[64];
    for (size_t i = 0; i < ARRAY_SIZE(fields) - 2; i++)
        fields[i] = F_STR("big", str_n(controls, sizeof(controls))); /* each 24 KiB when escaped */
    fields[ARRAY_SIZE(fields) - 2] = F_C("last", "z");

    char path[] = "/tmp/test_log.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, fd);
    log_record(LOG_LEVEL_INFO, "x", fields);
    static char line[300000];
    ssize_t len = pread(fd, line, sizeof(line), 0);
    close(fd);
    assert_in_range(len, 200000, 262152);
    struct cel_value *value = NULL;
    assert_int_equal(json_decode(str_n(line, (size_t)len - 1), &value, NULL), 0);
    assert_non_null(cel_value_get(value, "big"));
    assert_string_equal(cel_value_text(cel_value_get(value, "last"), NULL), "z");
    cel_value_free(value);
}

static void a_short_memory_costs_fields_and_never_breaks_a_line(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof(text));
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, ends[1]);
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        log_info("x", F_STR("a", str_n(text, sizeof(text))), F_C("b", "z"));
        mem_fail_after(0);
        const char *line = written();
        assert_true(str_ends(str_of(line), STR("}\n")));
        struct cel_value *value = NULL;
        assert_int_equal(json_decode(str_of(line), &value, NULL), 0);
        bool is_whole = cel_value_get(value, "a") && cel_value_get(value, "b");
        cel_value_free(value);
        if (is_whole) {
            assert_true(n > 2);
            return;
        }
    }
}

static void a_full_descriptor_does_not_stop_the_program(void **state)
{
    (void)state;
    char junk[4096] = {0};
    while (write(ends[1], junk, sizeof(junk)) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, ends[1]);
    errno = ENOENT;
    log_info("lost");
    assert_int_equal(errno, ENOENT);
    while (read(ends[0], junk, sizeof(junk)) > 0)
        assert_int_equal(junk[0], 0);
}

static void a_closed_descriptor_does_not_stop_the_program(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, -1);
    errno = 0;
    log_info("lost");
    assert_int_equal(errno, 0);
}

static void levels_and_formats_are_parsed_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_LEVEL_DEBUG},     {"info", LOG_LEVEL_INFO},    {"INFO", LOG_LEVEL_INFO},
        {"Warning", LOG_LEVEL_WARNING}, {"WARN", LOG_LEVEL_WARNING}, {"ERROR", LOG_LEVEL_ERROR},
        {"CRITICAL", LOG_LEVEL_ERROR},  {"FATAL", LOG_LEVEL_ERROR},
    };
    enum log_level level;
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        level = LOG_LEVEL_DEBUG;
        assert_int_equal(log_level_parse(str_of(levels[i].name), &level), 0);
        assert_int_equal(level, levels[i].level);
    }
    assert_int_equal(log_level_parse(STR("loud"), &level), -EINVAL);
    assert_int_equal(log_level_parse(STR("inf"), &level), -EINVAL);
    assert_int_equal(log_level_parse(STR_NONE, &level), -EINVAL);
    static const char *const formats[] = {
        [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_LOGFMT] = "logfmt", [LOG_FORMAT_JSON] = "json"};
    enum log_format format;
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        assert_int_equal(log_format_parse(str_of(formats[i]), &format), 0);
        assert_int_equal(format, i);
    }
    assert_int_equal(log_format_parse(STR("xml"), &format), -EINVAL);
}

#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, open_pipe, close_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(text_is_a_line_for_a_person),
        LOG_TEST(logfmt_is_keys_and_values),
        LOG_TEST(json_is_one_object_a_line),
        LOG_TEST(absent_fields_are_left_out),
        LOG_TEST(values_cannot_break_the_line),
        LOG_TEST(other_alphabets_stay_readable_and_broken_bytes_are_marked),
        LOG_TEST(every_byte_gives_valid_json),
        LOG_TEST(levels_below_the_chosen_one_are_silent),
        LOG_TEST(a_journal_gets_syslog_levels),
        LOG_TEST(long_values_are_cut_at_whole_characters),
        LOG_TEST(fields_that_do_not_fit_are_left_out),
        LOG_TEST(a_short_memory_costs_fields_and_never_breaks_a_line),
        LOG_TEST(a_full_descriptor_does_not_stop_the_program),
        LOG_TEST(a_closed_descriptor_does_not_stop_the_program),
        LOG_TEST(levels_and_formats_are_parsed_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
