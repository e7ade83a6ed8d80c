/*
 * celeriac history: what the ledger says of attempts, one by one or in sums.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/table.h"
#include "cli/verbs.h"
#include "core/value.h"
#include "store/ledger.h"

enum { ROWS = 100 };

struct history {
    struct ledger_filter filter;
    bool has_limit, sums;
};

/* --- flags ------------------------------------------------------------------------------------ */

static int take_id(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct history *)data)->filter.id = value;
    return 0;
}

static int take_task(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct history *)data)->filter.task = value;
    return 0;
}

static int take_outcome(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct history *)data)->filter.outcome = value;
    return 0;
}

static int take_node(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct history *)data)->filter.node = value;
    return 0;
}

static int take_since(void *data, const char *value, struct cel_error *err)
{
    struct history *history = data;
    usec_t age, now = clock_wall();
    if (str_parse_duration(str_of(value), &age) == 0)
        history->filter.since_wall = age < now ? now - age : 1;
    else if (isotime_parse(str_of(value), &history->filter.since_wall))
        return error_set(err, -EINVAL,
                         "--since: \"%s\" is neither a duration, like 90s or 2h, nor a time, like "
                         "2026-01-31T12:00:00Z",
                         value);
    return 0;
}

static int take_limit(void *data, const char *value, struct cel_error *err)
{
    struct history *history = data;
    history->has_limit = true;
    if (str_parse_u64(str_of(value), &history->filter.limit) || history->filter.limit > INT64_MAX)
        return error_set(err, -EINVAL, "--limit: \"%s\" is no whole number", value);
    return 0;
}

static int take_sums(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct history *)data)->sums = true;
    return 0;
}

static const struct verb_flag flags[] = {
    {"id", "ID", take_id, "Attempts of this task"},
    {"task", "PATTERN", take_task, "Tasks of this name (* and ? stand for others)"},
    {"outcome", "WORD", take_outcome, "With this outcome: succeeded, failed, retried ..."},
    {"node", "NAME", take_node, "Of this worker, name@host"},
    {"since", "TIME", take_since, "Ended since: an age like 2h, or a time"},
    {"limit", "N", take_limit, "At most so many rows; 100, 0 is all"},
    {"sums", NULL, take_sums, "Counts and run times for each task and outcome, not attempts"},
};

/* --- rows ------------------------------------------------------------------------------------- */

static enum table_tint tint_of(const char *outcome)
{
    static const char *const bad[] = {"failed", "buried", "redelivered", "lost"};
    if (strcmp(outcome, "succeeded") == 0)
        return TINT_GOOD;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (strcmp(outcome, bad[i]) == 0)
            return TINT_BAD;
    }
    return TINT_PLAIN;
}

static void add_text(struct table *table, const struct cel_rows *rows, size_t i, const char *column)
{
    table_add_text(table, pg_row_text(rows, i, column), TINT_PLAIN);
}

static void
add_number(struct table *table, const struct cel_rows *rows, size_t i, const char *column)
{
    if (cel_row_null(rows, i, column))
        table_add_text(table, STR_NONE, TINT_PLAIN);
    else
        table_add_u64(table, (uint64_t)cel_row_int(rows, i, column), TINT_PLAIN);
}

/* To the second for people. */
static void add_time(struct table *table, usec_t wall)
{
    char exact[ISOTIME_SIZE], shown[ISOTIME_SIZE];
    table_add(table, value_text(isotime_format(wall, exact)),
              isotime_format(wall - wall % USEC_PER_SEC, shown), TINT_PLAIN);
}

/* Between two times; unknown when the first is not there. */
static void add_between(
    struct table *table, const struct cel_rows *rows, size_t i, const char *from, const char *to)
{
    int64_t usec = cel_row_int(rows, i, to) - cel_row_int(rows, i, from);
    bool is_known = !cel_row_null(rows, i, from) && !cel_row_null(rows, i, to);
    table_add_duration(table, is_known ? (usec > 0 ? (usec_t)usec : 0) : USEC_NEVER);
}

static void add_signal(struct table *table, int number)
{
    const char *name = sigabbrev_np(number);
    if (!number || !name)
        table_add(table, number ? cel_int(number) : cel_null(), number ? STR("?") : STR("-"),
                  TINT_PLAIN);
    else
        table_add(table, cel_int(number), str_of(name), TINT_BAD);
}

static const struct table_column attempt_columns[] = {
    {"ended", "ended_at", false},  {"outcome", "outcome", false}, {"task", "task", false},
    {"task id", "task_id", false}, {"queue", "queue", false},     {"node", "node", false},
    {"pid", "pid", true},          {"waited", "waited", true},    {"ran", "ran", true},
    {"retries", "retries", true},  {"signal", "signal", false},   {"peak rss", "peak_rss", true},
    {"error", "error", false},
};

static void add_attempt(struct table *table, const struct cel_rows *rows, size_t i)
{
    const char *outcome = cel_row_text(rows, i, "outcome");
    add_time(table, (usec_t)cel_row_int(rows, i, "ended_at"));
    table_add_text(table, str_of(outcome), tint_of(outcome));
    add_text(table, rows, i, "task");
    add_text(table, rows, i, "task_id");
    add_text(table, rows, i, "queue");
    add_text(table, rows, i, "node");
    add_number(table, rows, i, "pid");
    add_between(table, rows, i, "received_at", "started_at");
    add_between(table, rows, i, "started_at", "ended_at");
    add_number(table, rows, i, "retries");
    add_signal(table, (int)cel_row_int(rows, i, "signal"));
    add_number(table, rows, i, "peak_rss");
    add_text(table, rows, i, "error");
}

static const struct table_column sum_columns[] = {
    {"task", "task", false},         {"outcome", "outcome", false}, {"attempts", "attempts", true},
    {"on average", "average", true}, {"in all", "total", true},
};

static void add_sum(struct table *table, const struct cel_rows *rows, size_t i)
{
    const char *outcome = cel_row_text(rows, i, "outcome");
    add_text(table, rows, i, "task");
    table_add_text(table, str_of(outcome), tint_of(outcome));
    add_number(table, rows, i, "attempts");
    table_add_duration(table, (usec_t)cel_row_int(rows, i, "average"));
    table_add_duration(table, (usec_t)cel_row_int(rows, i, "total"));
}

/* --- the verb --------------------------------------------------------------------------------- */

static int print(const struct verb_context *context,
                 const struct history *history,
                 const struct cel_rows *rows,
                 int64_t lost)
{
    struct table table;
    size_t count = cel_rows_count(rows),
           columns = history->sums ? ARRAY_SIZE(sum_columns) : ARRAY_SIZE(attempt_columns);
    table_init(&table, history->sums ? sum_columns : attempt_columns, columns);
    for (size_t i = 0; i < count; i++)
        (history->sums ? add_sum : add_attempt)(&table, rows, i);
    if (context->settings.json)
        table_print_json(&table, stdout);
    else if (count)
        table_print(&table, stdout);
    table_deinit(&table);
    if (lost)
        fprintf(stderr,
                "celeriac: history: %lld attempts are missing: their workers could not write them "
                "in time\n",
                (long long)lost);
    if (!history->has_limit && !history->sums && count == ROWS)
        fprintf(stderr, "celeriac: history: there may be more: --limit\n");
    return count ? EXIT_OK : EXIT_FAILED;
}

static int show(const struct verb_context *context, const struct history *history, struct pg *pg)
{
    struct cel_rows *rows = NULL;
    struct cel_error err = {0};
    int64_t lost = 0;
    int r = history->sums ? ledger_read_sums(pg, &history->filter, &rows, &err)
                          : ledger_read(pg, &history->filter, &rows, &err);
    if (!r)
        r = ledger_read_lost(pg, &history->filter, &lost, &err);
    int status = r ? verb_fail(&err) : print(context, history, rows, lost);
    cel_rows_free(rows);
    return status;
}

static int run(int argc, char **argv)
{
    struct history history = {.has_limit = false};
    CLEANUP(verb_end) struct verb_context context;
    int status = verb_begin(&context, &history_verb, argc, argv, &history);
    if (status)
        return status;
    if (context.config.argument_count)
        return verb_misused(&history_verb, "an id is given as --id ID, not as \"%s\"",
                            context.config.arguments[0]);
    if (!history.has_limit && !history.sums)
        history.filter.limit = ROWS;
    struct pg *pg;
    status = verb_open_pg(&context, context.settings.ledger_database, &pg);
    if (status)
        return status;
    pg_set_patience(pg, context.settings.timeout);
    status = show(&context, &history, pg);
    pg_free(pg);
    return status;
}

const struct verb history_verb = {
    .name = "history",
    .run = run,
    .mask = VERB_HISTORY,
    .summary = "Show what became of attempts, from the ledger in PostgreSQL",
    .usage = "[OPTION...]",
    .about = "Workers write it with --ledger full, an attempt a row, or summary, which --sums "
             "shows alone. The\n"
             "newest comes first. Several choices narrow each other.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac history --task 'mail.*' --outcome failed --since 2h\n"
                "celeriac history --id 0c2f53f1-5d3b-4a53-8f8b-6f9c2f1b9f0a --json\n"
                "celeriac history --sums --since 1d",
    .ok = "something is shown",
    .failed = "there is nothing of that kind",
};
