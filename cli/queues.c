/*
 * celeriac queues and celeriac purge: the two verbs that look at queues and not at tasks.
 */
#include <stdlib.h>
#include <unistd.h>

#include "cli/queue_names.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "core/mem.h"
#include "message/envelope.h"

/* --- queues ----------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"queue", "name", false},     {"waiting", "waiting", true}, {"in flight", "in_flight", true},
    {"delayed", "delayed", true}, {"dead", "dead", true},       {"oldest", "oldest_age", true},
};

struct listing {
    struct client_wait wait;
    struct table *table;
};

/*
 * How long the message served next is overdue. Celery's messages do not carry the moment at which
 * they were sent, so this is known only of those that were to run at a moment: calls with countdown
 * or eta, and retries.
 */
static usec_t age_of(struct str message)
{
    struct envelope envelope;
    if (!message.ptr || envelope_decode(message, &envelope, NULL))
        return USEC_NEVER;
    usec_t due = envelope.eta_wall, now = clock_wall();
    envelope_deinit(&envelope);
    return due && due <= now ? now - due : USEC_NEVER;
}

static int by_name(const void *a, const void *b)
{
    const struct broker_queue_stats *one = *(const struct broker_queue_stats *const *)a;
    const struct broker_queue_stats *other = *(const struct broker_queue_stats *const *)b;
    return str_compare(one->queue, other->queue);
}

static void add_row(struct table *table, const struct broker_queue_stats *stats)
{
    table_add_text(table, stats->queue, TINT_PLAIN);
    table_add_u64(table, stats->waiting, TINT_PLAIN);
    table_add_u64(table, stats->staged + stats->in_flight, TINT_PLAIN);
    table_add_u64(table, stats->delayed, TINT_PLAIN);
    table_add_u64(table, stats->dead, stats->dead ? TINT_BAD : TINT_PLAIN);
    table_add_duration(table, age_of(stats->oldest));
}

static void on_stats(void *data,
                     int status,
                     const struct broker_queue_stats *stats,
                     size_t count,
                     const struct cel_error *err)
{
    struct listing *listing = data;
    if (status == 0 && count > 0) {
        const struct broker_queue_stats **sorted = xgrow(NULL, count, sizeof(const void *));
        for (size_t i = 0; i < count; i++)
            sorted[i] = &stats[i];
        qsort(sorted, count, sizeof(const void *), by_name);
        for (size_t i = 0; i < count; i++)
            add_row(listing->table, sorted[i]);
        mem_free(sorted);
    }
    on_client_done(&listing->wait, status, err);
}

static int list_queues(const struct verb_context *context,
                       const struct queue_names *names,
                       struct cel_client *client)
{
    struct table table;
    table_init(&table, columns, ARRAY_SIZE(columns));
    struct listing listing = {.table = &table};
    struct cel_error err = {0};
    int status = client_wait(client, &listing.wait,
                             broker_queues(client->broker, names->items, names->count,
                                           client_deadline(client), on_stats, &listing),
                             &err);
    if (!status && context->settings.json)
        table_print_json(&table, stdout);
    else if (!status)
        table_print(&table, stdout);
    table_deinit(&table);
    return status ? verb_fail(&err) : EXIT_OK;
}

static int queues_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    int status = verb_begin(&context, &queues_verb, argc, argv, NULL);
    if (status)
        return status;
    CLEANUP(queue_names_deinit) struct queue_names names = {0};
    queue_names_of(&names, &context);
    struct cel_client *client;
    status = verb_open_client(&context, &client);
    if (status)
        return status;
    status = list_queues(&context, &names, client);
    cel_client_close(client);
    return status;
}

const struct verb queues_verb = {
    .name = "queues",
    .run = queues_run,
    .mask = VERB_QUEUES,
    .summary = "Show what waits, runs, is delayed or was set aside in each queue",
    .usage = "[OPTION...] [QUEUE...]",
    .about =
        "Without names: every queue that a worker or a sender has announced. \"oldest\" is how "
        "long the\n"
        "message served next is overdue; it is known of messages with an eta (countdown, retry).",
    .examples = "celeriac queues\n"
                "celeriac queues --json celery mail",
    .ok = "listed",
};

/* --- purge ------------------------------------------------------------------------------------ */

struct purge {
    bool force, delayed;
};

static int take_force(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct purge *)data)->force = true;
    return 0;
}

static int take_delayed(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct purge *)data)->delayed = true;
    return 0;
}

static const struct verb_flag purge_flags[] = {
    {"force", NULL, take_force, "Do not ask"},
    {"delayed", NULL, take_delayed, "Delete delayed messages too: countdown, eta, retries"},
};

static const struct table_column purge_columns[] = {{"queue", "name", false},
                                                    {"deleted", "deleted", true}};

static bool confirmed(const struct queue_names *names)
{
    fprintf(stderr, "Delete all messages that wait in");
    for (size_t i = 0; i < names->count; i++)
        fprintf(stderr, "%s " STR_FORMAT, i ? "," : "", STR_ARGS(names->items[i]));
    fprintf(stderr, "? [y/N] ");
    char answer[16];
    if (!fgets(answer, sizeof(answer), stdin))
        return false;
    return answer[0] == 'y' || answer[0] == 'Y';
}

static int purge_queue(struct cel_client *client,
                       struct str queue,
                       bool delayed,
                       struct table *table,
                       struct cel_error *err)
{
    uint64_t purged = 0;
    struct client_wait wait = {0};
    int status = client_wait(client, &wait,
                             broker_purge(client->broker, queue, delayed, client_deadline(client),
                                          &purged, on_client_done, &wait),
                             err);
    if (status)
        return status;
    table_add_text(table, queue, TINT_PLAIN);
    table_add_u64(table, purged, TINT_PLAIN);
    return 0;
}

static int purge_all(const struct verb_context *context,
                     const struct purge *purge,
                     const struct queue_names *names)
{
    struct cel_client *client;
    int status = verb_open_client(context, &client);
    if (status)
        return status;
    struct table table;
    table_init(&table, purge_columns, ARRAY_SIZE(purge_columns));
    struct cel_error err = {0};
    for (size_t i = 0; !status && i < names->count; i++)
        status = purge_queue(client, names->items[i], purge->delayed, &table, &err);
    /* What was deleted before a failure is told too. */
    if (table.cell_count && context->settings.json)
        table_print_json(&table, stdout);
    else if (table.cell_count)
        table_print(&table, stdout);
    table_deinit(&table);
    cel_client_close(client);
    return status ? verb_fail(&err) : EXIT_OK;
}

static int purge_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct purge purge = {0};
    int status = verb_begin(&context, &purge_verb, argc, argv, &purge);
    if (status)
        return status;
    CLEANUP(queue_names_deinit) struct queue_names names = {0};
    queue_names_of(&names, &context);
    if (!names.count)
        return verb_misused(&purge_verb, "name the queues to purge");
    if (!purge.force && !isatty(STDIN_FILENO))
        return verb_misused(&purge_verb, "without a terminal to ask on it needs --force");
    if (!purge.force && !confirmed(&names)) {
        fprintf(stderr, "celeriac: nothing was deleted\n");
        return EXIT_FAILED;
    }
    return purge_all(&context, &purge, &names);
}

const struct verb purge_verb = {
    .name = "purge",
    .run = purge_run,
    .mask = VERB_PURGE,
    .summary = "Delete the messages that wait in queues",
    .usage = "[OPTION...] QUEUE...",
    .about = "What runs is left alone. Asks first, on a terminal; elsewhere --force is needed.",
    .flags = purge_flags,
    .flag_count = ARRAY_SIZE(purge_flags),
    .examples = "celeriac purge mail\n"
                "celeriac purge --force --delayed celery mail",
    .ok = "deleted",
    .failed = "the question was not answered with yes",
};
