#include "beat/entries.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "message/call.h"

enum { LINES_MAX = 32 };

/* A configuration from "[section]" and "key=value" texts; line n of the file is text n. */
struct file {
    struct config config;
    struct config_line lines[LINES_MAX];
    char texts[LINES_MAX][3][512];
};

static struct file *file_of(const char *const *texts)
{
    static struct file file;
    const char *section = "";

    file.config = (struct config){.lines = file.lines};
    for (size_t i = 0; texts[i]; i++) {
        if (texts[i][0] == '[') {
            section = texts[i];
            continue;
        }
        size_t n = file.config.line_count++;
        const char *sign = strchr(texts[i], '=');
        snprintf(file.texts[n][0], sizeof file.texts[n][0], "%.*s", (int)strlen(section) - 2,
                 section + 1);
        snprintf(file.texts[n][1], sizeof file.texts[n][1], "%.*s", (int)(sign - texts[i]),
                 texts[i]);
        snprintf(file.texts[n][2], sizeof file.texts[n][2], "x.ini:%zu", i + 1);
        file.lines[n] = (struct config_line){file.texts[n][0], file.texts[n][1],
                                             (char *)(uintptr_t)(sign + 1), file.texts[n][2]};
    }
    return &file;
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct entries load(const char *const *texts)
{
    struct entries entries = {0};
    struct cel_error err = {0};

    if (entries_load(&file_of(texts)->config, &entries, &err) != 0)
        fail_msg("%s", err.text);
    return entries;
}

static void assert_refused(const char *const *texts, const char *expected)
{
    struct entries entries = {0};
    struct cel_error err = {0};

    assert_int_equal(entries_load(&file_of(texts)->config, &entries, &err), CEL_E_CONFIG);
    assert_int_equal(err.code, CEL_E_CONFIG);
    assert_string_equal(err.text, expected);
    assert_int_equal(entries.count, 0);
}

static void every_key_is_read(void **state)
{
    struct entries entries =
        load(LINES("[database]", "default=postgresql:///shop", "[beat daily report]",
                   "task=shop.report", "crontab=0 9 * * mon-fri", "timezone=Europe/Berlin",
                   "args=[1, \"two\", null]", "kwargs={\"day\": \"today\", \"dry\": true}",
                   "queue=mail", "priority=6", "expires=1.5s", "enabled=yes"));
    const struct entry *entry = entries.items[0];

    (void)state;
    assert_int_equal(entries.count, 1);
    assert_string_equal(entry->name, "daily report");
    assert_string_equal(entry->origin, "x.ini:4");
    assert_int_equal(entry->every, 0);
    assert_int_equal(entry->crontab.hours, 1 << 9);
    assert_int_equal(entry->crontab.weekdays, 0x3E);
    assert_string_equal(zone_name(entry->zone), "Europe/Berlin");
    assert_true(entry->enabled);
    assert_string_equal(entry->call->name, "shop.report");
    assert_string_equal(entry->call->queue, "mail");
    assert_int_equal(entry->call->priority, 6);
    assert_int_equal(entry->call->expires_in, 1500 * USEC_PER_MSEC);
    assert_int_equal(cel_value_count(entry->call->args), 3);
    assert_string_equal(cel_value_text(cel_value_at(entry->call->args, 1), NULL), "two");
    assert_int_equal(cel_value_count(entry->call->kwargs), 2);
    assert_true(cel_value_bool(cel_value_get(entry->call->kwargs, "dry"), false));
    entries_deinit(&entries);
    assert_int_equal(entries.count, 0);
    entries_deinit(NULL);
}

static void what_is_left_out_has_a_default(void **state)
{
    struct entries entries = load(LINES("[beat a]", "task=t", "every=10ms", "[beat b]",
                                        "crontab=* * * * *", "enabled=no", "task=t"));

    (void)state;
    assert_int_equal(entries.count, 2);
    assert_string_equal(entries.items[0]->name, "a");
    assert_int_equal(entries.items[0]->every, 10 * USEC_PER_MSEC);
    assert_true(entries.items[0]->enabled);
    assert_null(entries.items[0]->call->queue);
    assert_int_equal(entries.items[0]->call->priority, 0);
    assert_int_equal(entries.items[0]->call->expires_in, 0);
    assert_string_equal(zone_name(entries.items[0]->zone), "UTC");
    assert_string_equal(zone_name(entries.items[1]->zone), "UTC");
    assert_false(entries.items[1]->enabled);
    assert_int_equal(entries.items[1]->index, 1);
    entries_deinit(&entries);
}

static void a_fault_names_place_key_and_rule(void **state)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"taks=t", "taks: unknown key (task, crontab, every, timezone, args, kwargs, queue, "
                   "priority, expires and enabled are known)"},
        {"task=", "task: a task name has 1 to 255 bytes"},
        {"crontab=61 * * * *", "crontab: minute \"61\": 61 is not within 0-59"},
        {"crontab=", "crontab: 0 fields instead of five: minute hour day-of-month month "
                     "day-of-week"},
        {"every=9ms", "every: a duration from 10ms to 3660d, like 30s, 5min or 1d"},
        {"every=0", "every: a duration from 10ms to 3660d, like 30s, 5min or 1d"},
        {"every=-1s", "every: a duration from 10ms to 3660d, like 30s, 5min or 1d"},
        {"every=3661d", "every: a duration from 10ms to 3660d, like 30s, 5min or 1d"},
        {"every=soon", "every: a duration from 10ms to 3660d, like 30s, 5min or 1d"},
        {"timezone=Mars/Base", "timezone: no time zone \"Mars/Base\": UTC, an offset like +05:30 "
                               "or a name of the tz database like Europe/Berlin"},
        {"args={}", "args: a JSON list, like [1, \"two\"]"},
        {"kwargs=[]", "kwargs: a JSON object, like {\"key\": 1}"},
        {"queue=", "queue: "},
        {"priority=10", "priority: a number from 0 (first) to 9 (last)"},
        {"priority=high", "priority: a number from 0 (first) to 9 (last)"},
        {"expires=0", "expires: a duration from 1ms to 3660d, like 30s, 5min or 1d"},
        {"enabled=maybe", "enabled: yes or no"},
        {"args=[1, ", "args: "},
        {"kwargs={\"a\": 1", "kwargs: "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct entries entries = {0};
        struct cel_error err = {0};
        char expected[512];
        const char *const *lines = LINES("[beat a]", cases[i].line);
        snprintf(expected, sizeof expected, "x.ini:2: [beat a]: %s", cases[i].text);
        assert_int_equal(entries_load(&file_of(lines)->config, &entries, &err), CEL_E_CONFIG);
        if (strncmp(err.text, expected, strlen(expected)) != 0)
            fail_msg("%s\nis not\n%s", err.text, expected);
        assert_true(strlen(err.text) >= strlen(expected) + (expected[strlen(expected) - 1] == ' '));
    }
}

static void a_section_must_make_sense_as_a_whole(void **state)
{
    (void)state;
    assert_refused(LINES("[beat a]", "every=1s"), "x.ini:2: [beat a]: task is missing");
    assert_refused(LINES("[beat a]", "task=t"), "x.ini:2: [beat a]: crontab or every is missing");
    assert_refused(LINES("[beat a]", "task=t", "every=1s", "crontab=* * * * *"),
                   "x.ini:2: [beat a]: either crontab or every, not both");
    assert_refused(LINES("[beat a]", "task=t", "every=1s", "timezone=UTC"),
                   "x.ini:2: [beat a]: timezone belongs to crontab; every counts from "
                   "1970-01-01T00:00:00Z");
    assert_refused(LINES("[beat  ]", "task=t", "every=1s"),
                   "x.ini:2: [beat  ]: the name of an entry has 1 to 200 bytes");
    assert_refused(LINES("[beat a\tb]", "task=t", "every=1s"),
                   "x.ini:2: [beat a\tb]: the name of an entry has 1 to 200 bytes");
}

static void a_name_stands_for_one_entry(void **state)
{
    (void)state;
    assert_refused(LINES("[beat a]", "task=t", "every=1s", "[beat b]", "task=t", "every=1s",
                         "[beat  a]", "task=u", "every=2s"),
                   "x.ini:8: [beat a]: given twice (first in x.ini:2)");
}

static void without_memory_nothing_is_left_behind(void **state)
{
    const char *const *lines =
        LINES("[beat a]", "task=t", "every=1s", "args=[1]", "kwargs={\"k\": [2]}", "queue=q",
              "[beat b]", "task=t", "crontab=* * * * *", "timezone=+01:00", "expires=5s");
    int status = -ENOMEM;

    (void)state;
    for (size_t n = 1; status == -ENOMEM; n++) {
        struct entries entries = {0};
        struct cel_error err = {0};
        mem_fail_after(n);
        status = entries_load(&file_of(lines)->config, &entries, &err);
        mem_fail_after(0);
        assert_true(status == 0 || (status == -ENOMEM && n < 1000));
        assert_int_equal(err.code, status);
        assert_int_equal(entries.count, status == 0 ? 2 : 0);
        entries_deinit(&entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_is_left_out_has_a_default),
        cmocka_unit_test(a_fault_names_place_key_and_rule),
        cmocka_unit_test(a_section_must_make_sense_as_a_whole),
        cmocka_unit_test(a_name_stands_for_one_entry),
        cmocka_unit_test(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
