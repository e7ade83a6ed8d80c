/*
 * celeriac delayed: what waits for its time, gone through in parts, what is due first in front. What is
 * chosen of a part is ended in scripts of bounded size before the next part is looked at; what was
 * promoted meanwhile is left alone.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/selection.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "core/mem.h"
#include "message/envelope.h"
#include "message/result.h"

struct delayed {
    struct selection selection;   /* first: its flags look for it here */
    usec_t due_after, due_before; /* 0: whenever */

    const struct settings *settings;
    struct client_wait wait; /* of the part under way */
    struct str queue;
    struct broker_delayed_range range;
    struct buf cursor;
    struct table table; /* list */
    struct broker_delayed_choice *choices;
    size_t choice_count, choice_cap;
    struct texts kept; /* that the choices point to */
};

/* --- flags ------------------------------------------------------------------------------------ */

/* A moment, or how long from now it is. */
static int take_moment(const char *flag, const char *value, usec_t *ret, struct cel_error *err)
{
    usec_t duration, now = clock_wall();
    if (isotime_parse(str_of(value), ret) == 0)
        return 0;
    if (str_parse_duration(str_of(value), &duration) || duration >= USEC_NEVER - now)
        return error_set(err, -EINVAL,
                         "--%s: \"%s\" is no moment: 2h (from now), or 2027-01-31T12:00:00Z", flag,
                         value);
    *ret = now + duration;
    return 0;
}

static int take_due_before(void *data, const char *value, struct cel_error *err)
{
    return take_moment("due-before", value, &((struct delayed *)data)->due_before, err);
}

static int take_due_after(void *data, const char *value, struct cel_error *err)
{
    return take_moment("due-after", value, &((struct delayed *)data)->due_after, err);
}

static const struct verb_flag flags[] = {
    SELECTION_FLAGS,
    {"due-before", "WHEN", take_due_before, "Due until then: 2h (from now), 2027-01-31T12:00:00Z"},
    {"due-after", "WHEN", take_due_after, "Due from then on"},
};

/* --- what the server looks for ---------------------------------------------------------------- */

/* Whether every writer of JSON leaves the text as it is. */
static bool is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && !strchr("-_.:@", c))
            return false;
    }
    return text.len > 0;
}

/* A text that stands in all that is chosen spares most of a large set the way here. */
static struct str common_text(const struct selection *selection)
{
    struct str text = STR_NONE;
    if (selection->ids.count == 1) {
        text = selection->ids.items[0];
    } else if (!selection->ids.count && selection->names.count == 1) {
        text = selection->names.items[0];
        text.len = strcspn(text.ptr, "*?[\\");
    }
    return is_plain(text) ? text : STR_NONE;
}

/* --- one member ------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"task id", "task_id", false}, {"queue", "queue", false},    {"due", "due", false},
    {"in", "due_in", true},        {"retries", "retries", true}, {"task", "task", false},
};

static void
add_row(struct delayed *delayed, const struct broker_delayed *item, const struct envelope *envelope)
{
    char due[ISOTIME_SIZE];
    usec_t now = clock_wall();
    if (!selection_has_room(&delayed->selection, &delayed->table))
        return;
    table_add_text(&delayed->table, envelope->id, TINT_PLAIN);
    table_add_text(&delayed->table, delayed->queue, TINT_PLAIN);
    table_add_text(&delayed->table, isotime_format(item->due_wall, due), TINT_PLAIN);
    table_add_duration(&delayed->table, item->due_wall > now ? item->due_wall - now : 0);
    table_add_u64(&delayed->table, (uint64_t)envelope->retries, TINT_PLAIN);
    table_add_text(&delayed->table, envelope->task, TINT_PLAIN);
}

/* REVOKED, in the words of a worker that meets a revoked task: who waits for it hears so. */
static void add_result(struct delayed *delayed,
                       const struct envelope *envelope,
                       struct broker_delayed_choice *choice)
{
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(4096), document = BUF_INIT(64 * 1024);
    if (!envelope->id.len || envelope->ignore_result)
        return;
    result_add_exception_text(&exception, STR("TaskRevokedError"), STR("revoked"),
                              STR("celery.exceptions"));
    const struct result result = {.status = STR("REVOKED"),
                                  .result_json = buf_str(&exception),
                                  .date_done_wall = clock_wall(),
                                  .task_id = envelope->id,
                                  .group_id = envelope->group,
                                  .parent_id = envelope->parent_id};
    if (result_encode(&document, &result))
        return;
    choice->result_id = choice->id;
    choice->result_document = texts_add(&delayed->kept, buf_str(&document));
}

/* The same message without its due time, for which a worker would park it again. */
static struct str
without_eta(struct delayed *delayed, struct str message, const struct envelope *envelope)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(SIZE_MAX / 2);
    struct envelope now = *envelope;
    now.eta_wall = now.turn_wall = 0;
    bool is_written = envelope->id.len && envelope_encode(&bytes, &now) == 0;
    return texts_add(&delayed->kept, is_written ? buf_str(&bytes) : message);
}

static void
choose(struct delayed *delayed, const struct broker_delayed *item, const struct envelope *envelope)
{
    delayed->choices = xroom(delayed->choices, delayed->choice_count, &delayed->choice_cap,
                             sizeof(*delayed->choices));
    struct broker_delayed_choice *choice = &delayed->choices[delayed->choice_count++];
    *choice = (struct broker_delayed_choice){.member = texts_add(&delayed->kept, item->member)};
    choice->id = texts_add(&delayed->kept, envelope->id);
    if (selection_does(&delayed->selection, "cancel"))
        add_result(delayed, envelope, choice);
    else
        choice->bytes = without_eta(delayed, item->message, envelope);
}

static void take(struct delayed *delayed, const struct broker_delayed *item)
{
    CLEANUP(buf_deinit) struct buf upgraded = BUF_INIT(SIZE_MAX / 2);
    struct envelope envelope;
    bool is_read = envelope_decode_any(item->message, &upgraded, &envelope, NULL) == 0;
    if (selection_takes(&delayed->selection, STR_NONE, envelope.id, envelope.task)) {
        if (selection_does(&delayed->selection, "list"))
            add_row(delayed, item, &envelope);
        else
            choose(delayed, item, &envelope);
    }
    if (is_read)
        envelope_deinit(&envelope);
}

/* --- part by part ----------------------------------------------------------------------------- */

static void on_part(void *data,
                    int status,
                    const struct broker_delayed *items,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    struct delayed *delayed = data;
    for (size_t i = 0; i < count; i++)
        take(delayed, &items[i]);
    buf_clear(&delayed->cursor);
    buf_add_str(&delayed->cursor, cursor);
    on_client_done(&delayed->wait, status, err);
}

static int look_at_part(struct delayed *delayed, struct cel_client *client, struct cel_error *err)
{
    texts_clear(&delayed->kept);
    delayed->choice_count = 0;
    delayed->wait = (struct client_wait){.done = false};
    return client_wait(client, &delayed->wait,
                       broker_list_delayed(client->broker, delayed->queue,
                                           buf_str(&delayed->cursor), &delayed->range,
                                           client_deadline(client), on_part, delayed),
                       err);
}

static int
end_part(struct delayed *delayed, struct cel_client *client, uint64_t *total, struct cel_error *err)
{
    int status = 0;
    for (size_t at = 0; at < delayed->choice_count && !status; at += BROKER_ENDED_MAX) {
        size_t left = delayed->choice_count - at;
        const struct broker_delayed_end end = {
            .choices = delayed->choices + at,
            .count = left < BROKER_ENDED_MAX ? left : BROKER_ENDED_MAX,
            .are_cancelled = selection_does(&delayed->selection, "cancel"),
            .result_ttl = delayed->settings->result_expires,
        };
        struct client_wait wait = {.done = false};
        uint64_t count = 0;
        status =
            client_wait(client, &wait,
                        broker_end_delayed(client->broker, delayed->queue, &end,
                                           client_deadline(client), &count, on_client_done, &wait),
                        err);
        *total += count;
    }
    return status;
}

static const struct table_column *outcome_columns(const struct delayed *delayed)
{
    static const struct table_column cancelled[] = {{"queue", "queue", false},
                                                    {"cancelled", "cancelled", true}};
    static const struct table_column moved[] = {{"queue", "queue", false},
                                                {"run now", "run_now", true}};
    return selection_does(&delayed->selection, "cancel") ? cancelled : moved;
}

static int go_through(struct delayed *delayed, struct cel_client *client, struct cel_error *err)
{
    uint64_t total = 0;
    int status;
    buf_clear(&delayed->cursor);
    do {
        status = look_at_part(delayed, client, err);
        if (!status)
            status = end_part(delayed, client, &total, err);
    } while (!status && delayed->cursor.len && !delayed->selection.is_cut);
    if (!selection_does(&delayed->selection, "list"))
        selection_add_outcome(&delayed->selection, outcome_columns(delayed), delayed->queue, total);
    return status;
}

static int work(struct delayed *delayed, const struct verb_context *context)
{
    struct cel_client *client;
    struct cel_error err = {0};
    int status = verb_open_client(context, &client);
    if (status)
        return status;
    status = selection_find_queues(&delayed->selection, client, true, &err);
    for (size_t i = 0; i < delayed->selection.queues.count && !status; i++) {
        delayed->queue = delayed->selection.queues.items[i];
        status = go_through(delayed, client, &err);
    }
    cel_client_close(client);
    bool is_list = selection_does(&delayed->selection, "list");
    int ended = status && !delayed->selection.outcome.cell_count
                    ? 0
                    : selection_end(&delayed->selection, is_list ? &delayed->table : NULL);
    return status ? verb_fail(&err) : ended;
}

static int delayed_run(int argc, char **argv)
{
    static const char *const actions[] = {"list", "cancel", "run-now", NULL};
    CLEANUP(verb_end) struct verb_context context;
    struct delayed *delayed = xnew(struct delayed);
    buf_init(&delayed->cursor, SIZE_MAX / 2);
    table_init(&delayed->table, columns, ARRAY_SIZE(columns));
    int status = verb_begin(&context, &delayed_verb, argc, argv, delayed);
    if (!status)
        status = selection_begin(&delayed->selection, &context, actions,
                                 delayed->due_after || delayed->due_before);
    if (!status) {
        delayed->settings = &context.settings;
        delayed->range = (struct broker_delayed_range){
            .from_wall = delayed->due_after,
            .to_wall = delayed->due_before ? delayed->due_before : USEC_NEVER,
            .holding = common_text(&delayed->selection),
        };
        status = work(delayed, &context);
    }
    selection_deinit(&delayed->selection);
    texts_deinit(&delayed->kept);
    buf_deinit(&delayed->cursor);
    table_deinit(&delayed->table);
    mem_free(delayed->choices);
    mem_free(delayed);
    return status;
}

const struct verb delayed_verb = {
    .name = "delayed",
    .run = delayed_run,
    .mask = VERB_DELAYED,
    .summary = "Show, cancel or run now the tasks that wait for their time",
    .usage = "list|cancel|run-now [OPTION...] [ID...]",
    .about =
        "An ID is that of a task: with a countdown, an eta, between two tries, or above the rate\n"
        "limit of its worker. Several choices narrow each other. cancel stores the result "
        "REVOKED,\n"
        "for whoever waits for it. run-now puts tasks in front of what waits.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac delayed list --queue mail --due-before 1h\n"
                "celeriac delayed cancel 5a0c1f0e-0000-4000-8000-000000000001\n"
                "celeriac delayed run-now --name 'mail.*'",
    .ok = "done",
    .failed = "an ID is not there",
};
