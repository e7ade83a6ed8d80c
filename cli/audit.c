/*
 * celeriac audit: do the numbers of each queue add up, and if they do not, which ids are they?
 *
 * The scripts that move messages count what they do. What was claimed and did not come back must be
 * somewhere: in flight, delayed, set aside, or ended in one of the ways that are counted. Messages
 * that others push and take are not counted; they follow from the rest.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/queue_names.h"
#include "cli/table.h"
#include "cli/texts.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "message/envelope.h"
#include "message/result.h"

enum {
    LOOKS = 4,
    PAUSE_US = 300000
}; /* what moves while it is looked for is found at the next look */

struct audit {
    struct client_wait wait; /* first: it is the data of callbacks */
    struct cel_client *client;
    bool wants_ids, forgets;
    struct queue_names names;
    struct texts queues; /* all that were counted */
    struct table counts, ids;
    int64_t missing;  /* over all queues, without its sign */
    size_t found;     /* ids that are no more, or twice */
    size_t nowhere;   /* of them: without a result that says their end */
    size_t elsewhere; /* ids that are no more, and have one: others ended them */
};

/* --- flags ------------------------------------------------------------------------------------ */

static int take_ids(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct audit *)data)->wants_ids = true;
    return 0;
}

static int take_forget(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct audit *)data)->forgets = true;
    return 0;
}

static const struct verb_flag flags[] = {
    {"ids", NULL, take_ids,
     "Name the ids that workers with --track-ids have noted and that are nowhere, or twice"},
    {"forget-ids", NULL, take_forget, "Begin the ledger of ids anew"},
};

/* --- the numbers ------------------------------------------------------------------------------ */

static const struct table_column count_columns[] = {
    {"queue", "name", false},         {"published", "published", true},
    {"by others", "by_others", true}, {"waiting", "waiting", true},
    {"in flight", "in_flight", true}, {"delayed", "delayed", true},
    {"dead", "dead", true},           {"done", "done", true},
    {"expired", "expired", true},     {"revoked", "revoked", true},
    {"removed", "removed", true},     {"missing", "missing", true},
};

/* What was claimed and is nowhere; negative: more came out than went in. */
static int64_t missing_of(const struct broker_queue_stats *stats)
{
    const struct broker_counts *counts = &stats->counts;
    return (int64_t)(counts->claimed - counts->returned - stats->in_flight - stats->delayed -
                     stats->dead - counts->done - counts->expired - counts->revoked -
                     counts->dropped - counts->cancelled);
}

/* What others pushed, less what others took. */
static int64_t others_of(const struct broker_queue_stats *stats)
{
    const struct broker_counts *counts = &stats->counts;
    return (int64_t)(stats->waiting + stats->staged + counts->claimed + counts->purged -
                     counts->returned - counts->published);
}

static void add_signed(struct table *table, int64_t number, enum table_tint tint)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, number);
    table_add(table, cel_int(number), str_of(text), tint);
}

static void add_counts(struct audit *audit, const struct broker_queue_stats *stats)
{
    const struct broker_counts *counts = &stats->counts;
    int64_t missing = missing_of(stats);
    table_add_text(&audit->counts, stats->queue, TINT_PLAIN);
    table_add_u64(&audit->counts, counts->published, TINT_PLAIN);
    add_signed(&audit->counts, others_of(stats), TINT_PLAIN);
    table_add_u64(&audit->counts, stats->waiting + stats->staged, TINT_PLAIN);
    table_add_u64(&audit->counts, stats->in_flight, TINT_PLAIN);
    table_add_u64(&audit->counts, stats->delayed, TINT_PLAIN);
    table_add_u64(&audit->counts, stats->dead, TINT_PLAIN);
    table_add_u64(&audit->counts, counts->done, TINT_PLAIN);
    table_add_u64(&audit->counts, counts->expired, TINT_PLAIN);
    table_add_u64(&audit->counts, counts->revoked, TINT_PLAIN);
    table_add_u64(&audit->counts, counts->dropped + counts->cancelled + counts->purged, TINT_PLAIN);
    add_signed(&audit->counts, missing, missing ? TINT_BAD : TINT_GOOD);
    audit->missing += missing < 0 ? -missing : missing;
}

static void on_stats(void *data,
                     int status,
                     const struct broker_queue_stats *stats,
                     size_t count,
                     const struct cel_error *err)
{
    struct audit *audit = data;
    for (size_t i = 0; status == 0 && i < count; i++) {
        add_counts(audit, &stats[i]);
        texts_add(&audit->queues, stats[i].queue);
    }
    on_client_done(&audit->wait, status, err);
}

/* --- the ids ---------------------------------------------------------------------------------- */

struct look {
    struct client_wait wait; /* first */
    struct texts ledger, found;
};

static int by_text(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static void sort(struct texts *ids)
{
    if (ids->count)
        qsort(ids->items, ids->count, sizeof(*ids->items), by_text);
}

/* How often `id` is there. */
static size_t count_of(const struct texts *ids, struct str id)
{
    const struct str *at =
        ids->count ? bsearch(&id, ids->items, ids->count, sizeof(id), by_text) : NULL;
    if (!at)
        return 0;
    size_t count = 1;
    for (const struct str *before = at; before > ids->items && str_equal(before[-1], id); before--)
        count++;
    for (const struct str *end = ids->items + ids->count - 1; at < end && str_equal(at[1], id);
         at++)
        count++;
    return count;
}

static void on_page(void *data, bool are_ids, const struct str *texts, size_t count)
{
    struct look *look = data;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_deinit) struct buf upgraded = BUF_INIT(2 * ENVELOPE_BYTES_MAX);
        struct envelope envelope;
        if (are_ids) {
            texts_add(&look->ledger, texts[i]);
        } else if (envelope_decode_any(texts[i], &upgraded, &envelope, NULL) == 0) {
            texts_add(&look->found, envelope.id);
            envelope_deinit(&envelope);
        }
    }
}

/* Those of `suspects` (all, when NULL) that this look shows missing or doubled. */
static int look_for(struct audit *audit,
                    struct str queue,
                    const struct texts *suspects,
                    struct texts *ret,
                    struct look *look,
                    struct cel_error *err)
{
    *look = (struct look){.ledger = {0}};
    int status = client_wait(audit->client, &look->wait,
                             broker_walk(audit->client->broker, queue, audit->client->timeout,
                                         on_page, on_client_done, look),
                             err);
    sort(&look->ledger);
    sort(&look->found);
    for (size_t i = 0; i < look->ledger.count && !status; i++) {
        struct str id = look->ledger.items[i];
        if (count_of(&look->found, id) != 1 && (!suspects || count_of(suspects, id)))
            texts_add(ret, id);
    }
    return status;
}

struct state_look {
    struct client_wait wait; /* first */
    struct buf *state;       /* stays empty when there is no result */
};

static void on_result(void *data, int status, struct str document, const struct cel_error *err)
{
    struct state_look *look = data;
    struct result_view view;
    if (document.ptr && result_decode(document, &view, NULL) == 0) {
        buf_add_str(look->state, view.status);
        result_view_deinit(&view);
    }
    on_client_done(&look->wait, status, err);
}

/* One that is nowhere may have been ended by a worker that does not strike out: a result says so. */
static int
add_id(struct audit *audit, struct str queue, struct str id, size_t places, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf state = BUF_INIT(SIZE_MAX);
    struct state_look look = {.state = &state};
    int status = client_wait(audit->client, &look.wait,
                             broker_get_result(audit->client->broker, id,
                                               client_deadline(audit->client), on_result, &look),
                             err);
    if (status)
        return status;
    if (places == 0 && result_is_ready(buf_str(&state))) {
        audit->elsewhere++;
        return 0;
    }
    audit->found++;
    audit->nowhere += places == 0;
    table_add_text(&audit->ids, queue, TINT_PLAIN);
    table_add_text(&audit->ids, id, TINT_PLAIN);
    table_add_u64(&audit->ids, places, TINT_BAD);
    table_add_text(&audit->ids, state.len ? buf_str(&state) : STR_NONE, TINT_PLAIN);
    return 0;
}

static int find_ids(struct audit *audit, struct str queue, struct cel_error *err)
{
    struct texts suspects = {0};
    struct look look = {.ledger = {0}};
    int status = 0;
    for (int i = 0; i < LOOKS && !status && (i == 0 || suspects.count); i++) {
        struct texts still = {0};
        if (i > 0)
            usleep(PAUSE_US);
        texts_deinit(&look.ledger);
        texts_deinit(&look.found);
        status = look_for(audit, queue, i ? &suspects : NULL, &still, &look, err);
        texts_deinit(&suspects);
        suspects = still;
    }
    for (size_t i = 0; i < suspects.count && !status; i++)
        status =
            add_id(audit, queue, suspects.items[i], count_of(&look.found, suspects.items[i]), err);
    texts_deinit(&look.ledger);
    texts_deinit(&look.found);
    texts_deinit(&suspects);
    return status;
}

static int forget_ids(struct audit *audit, struct str queue, struct cel_error *err)
{
    struct client_wait wait = {0};
    return client_wait(audit->client, &wait,
                       broker_forget_ledger(audit->client->broker, queue,
                                            client_deadline(audit->client), on_client_done, &wait),
                       err);
}

static const struct table_column id_columns[] = {{"queue", "queue", false},
                                                 {"id", "id", false},
                                                 {"found", "found", true},
                                                 {"state", "state", false}};

/* --- the verb --------------------------------------------------------------------------------- */

static int count(struct audit *audit, struct cel_error *err)
{
    int status =
        client_wait(audit->client, &audit->wait,
                    broker_queues(audit->client->broker, audit->names.items, audit->names.count,
                                  client_deadline(audit->client), on_stats, audit),
                    err);
    for (size_t i = 0; i < audit->queues.count && !status; i++) {
        if (audit->wants_ids)
            status = find_ids(audit, audit->queues.items[i], err);
        if (audit->forgets && !status)
            status = forget_ids(audit, audit->queues.items[i], err);
    }
    return status;
}

static void print(const struct audit *audit, bool json)
{
    const struct table *table = audit->wants_ids ? &audit->ids : &audit->counts;
    if (json) {
        table_print_json(table, stdout);
        return;
    }
    table_print(&audit->counts, stdout);
    if (audit->ids.cell_count) {
        putchar('\n');
        table_print(&audit->ids, stdout);
    }
}

static int work(struct audit *audit, const struct verb_context *context)
{
    struct cel_error err = {0};
    int status = verb_open_client(context, &audit->client);
    if (status)
        return status;
    status = count(audit, &err);
    cel_client_close(audit->client);
    if (status)
        return verb_fail(&err);
    print(audit, context->settings.json);
    if (audit->missing)
        fprintf(stderr, "celeriac: the numbers do not add up: %" PRId64 " messages\n",
                audit->missing);
    if (audit->elsewhere)
        fprintf(stderr, "celeriac: %zu ids were ended by workers that do not note ids\n",
                audit->elsewhere);
    if (audit->nowhere)
        fprintf(stderr,
                "celeriac: %zu ids are nowhere and have no final result: lost, removed, or ended "
                "by workers that do not note ids\n",
                audit->nowhere);
    return audit->missing || audit->found ? EXIT_FAILED : EXIT_OK;
}

static int audit_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct audit audit = {.wants_ids = false};
    int status = verb_begin(&context, &audit_verb, argc, argv, &audit);
    if (status)
        return status;
    queue_names_of(&audit.names, &context);
    table_init(&audit.counts, count_columns, ARRAY_SIZE(count_columns));
    table_init(&audit.ids, id_columns, ARRAY_SIZE(id_columns));
    status = work(&audit, &context);
    table_deinit(&audit.counts);
    table_deinit(&audit.ids);
    texts_deinit(&audit.queues);
    queue_names_deinit(&audit.names);
    return status;
}

const struct verb audit_verb = {
    .name = "audit",
    .run = audit_run,
    .mask = VERB_AUDIT,
    .summary = "Check that no message of a queue is missing",
    .usage = "[OPTION...] [QUEUE...]",
    .about = "The scripts that move messages count what they do, so that at any moment\n"
             "\n"
             "  published + by others = waiting + in flight + delayed + dead\n"
             "                        + done + expired + revoked + removed\n"
             "\n"
             "\"by others\" is what programs other than Celeriac's pushed, less what they took: it "
             "follows\n"
             "from the rest. \"removed\" was dropped, cancelled or purged. \"missing\" was claimed "
             "by a\n"
             "worker and is nowhere: it must be 0. Workers that run with --track-ids note the ids "
             "that they\n"
             "claim; then --ids names those that are in two places, and those that are nowhere "
             "and have no\n"
             "final result: lost, purged, or ended without a result by a worker that does not "
             "note ids.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac audit\n"
                "celeriac audit --ids celery",
    .ok = "the numbers add up",
    .failed = "they do not, or ids are missing",
};
