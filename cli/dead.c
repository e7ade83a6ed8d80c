/*
 * celeriac dead: what stands in quarantine, and what becomes of it.
 *
 * Each queue is gone through in parts, as they were when the first was asked for; what is chosen of a
 * part is ended in one script before the next is looked at. An entry that somebody else has ended
 * meanwhile is left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/selection.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "core/base64.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/value.h"
#include "message/envelope.h"

struct dead {
    struct selection selection; /* first: its flags look for it here */
    struct texts reasons;
    usec_t older, newer; /* than this age; 0: not asked for */
    bool is_raw;

    struct client_wait wait; /* of the part under way */
    struct str queue;
    struct buf name; /* of the entry under way: queues may have the same ids */
    struct buf cursor;
    struct table table;      /* list */
    struct cel_value *shown; /* show --json */
    struct buf message;      /* show --raw */
    size_t shown_count;
    struct broker_dead_choice choices[BROKER_ENDED_MAX];
    size_t choice_count;
    struct texts kept; /* that the choices point to */
};

/* --- flags ------------------------------------------------------------------------------------ */

static int take_reason(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    texts_add(&((struct dead *)data)->reasons, str_of(value));
    return 0;
}

static int take_age(const char *flag, const char *value, usec_t *ret, struct cel_error *err)
{
    if (str_parse_duration(str_of(value), ret) || !*ret)
        return error_set(err, -EINVAL, "--%s: \"%s\" is no duration, like 90s or 2h", flag, value);
    return 0;
}

static int take_older(void *data, const char *value, struct cel_error *err)
{
    return take_age("older-than", value, &((struct dead *)data)->older, err);
}

static int take_newer(void *data, const char *value, struct cel_error *err)
{
    return take_age("newer-than", value, &((struct dead *)data)->newer, err);
}

static int take_raw(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct dead *)data)->is_raw = true;
    return 0;
}

static const struct verb_flag flags[] = {
    SELECTION_FLAGS,
    {"reason", "TEXT", take_reason, "Set aside for this reason, again for another"},
    {"older-than", "TIME", take_older, "Set aside longer ago than this"},
    {"newer-than", "TIME", take_newer, "Set aside since"},
    {"raw", NULL, take_raw, "show: the bytes of one message, and nothing else"},
};

static bool is_chosen(struct dead *dead, const struct broker_dead_entry *entry)
{
    usec_t now = clock_wall();
    usec_t age = entry->buried_wall < now ? now - entry->buried_wall : 0;
    bool has_reason = dead->reasons.count == 0;
    buf_clear(&dead->name);
    buf_add_str(&dead->name, dead->queue);
    buf_add_char(&dead->name, '/');
    buf_add_str(&dead->name, entry->entry);
    for (size_t i = 0; i < dead->reasons.count && !has_reason; i++)
        has_reason = str_equal(dead->reasons.items[i], entry->dead.reason);
    return has_reason && (!dead->older || age > dead->older) &&
           (!dead->newer || age < dead->newer) &&
           selection_takes(&dead->selection, buf_str(&dead->name), entry->dead.task_id,
                           entry->dead.task);
}

/* --- list ------------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"entry", "entry", false},   {"queue", "queue", false}, {"time", "time", false},
    {"reason", "reason", false}, {"task", "task", false},   {"task id", "task_id", false},
    {"detail", "detail", false},
};

static struct str or_none(struct str text)
{
    return text.len ? text : STR_NONE;
}

static struct str time_of(const struct broker_dead_entry *entry, char buffer[ISOTIME_SIZE])
{
    return isotime_format(entry->buried_wall - entry->buried_wall % USEC_PER_SEC, buffer);
}

static void add_row(struct dead *dead, const struct broker_dead_entry *entry)
{
    char time[ISOTIME_SIZE];
    if (!selection_has_room(&dead->selection, &dead->table))
        return;
    table_add_text(&dead->table, buf_str(&dead->name), TINT_PLAIN);
    table_add_text(&dead->table, dead->queue, TINT_PLAIN);
    table_add_text(&dead->table, time_of(entry, time), TINT_PLAIN);
    table_add_text(&dead->table, entry->dead.reason, TINT_BAD);
    table_add_text(&dead->table, or_none(entry->dead.task), TINT_PLAIN);
    table_add_text(&dead->table, or_none(entry->dead.task_id), TINT_PLAIN);
    table_add_text(&dead->table, or_none(entry->dead.detail), TINT_PLAIN);
}

/* --- show ------------------------------------------------------------------------------------- */

static void print_field(const char *name, struct str text)
{
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(SIZE_MAX);
    text_add_printable(&shown, text, false);
    if (shown.len)
        printf("%-10s%s\n", name, shown.ptr);
}

static void print_entry(struct dead *dead, const struct broker_dead_entry *entry)
{
    char time[ISOTIME_SIZE];
    if (dead->shown_count > 1)
        putchar('\n');
    print_field("entry", buf_str(&dead->name));
    print_field("queue", dead->queue);
    print_field("time", time_of(entry, time));
    print_field("reason", entry->dead.reason);
    print_field("detail", entry->dead.detail);
    print_field("task", entry->dead.task);
    print_field("task id", entry->dead.task_id);
    print_field("evidence", entry->dead.evidence);
    printf("%-10s%zu\n", "bytes", entry->message.len);
    print_field("message", entry->message);
}

static void set(struct cel_value *map, const char *key, struct cel_value *item)
{
    int status = cel_map_set(map, key, item);
    ASSERT(status == 0); /* short of memory */
}

static void set_text(struct cel_value *map, const char *key, struct str text)
{
    bool is_text = text.len && str_is_utf8(text);
    set(map, key, is_text ? value_text(text) : cel_null());
}

/* As JSON when it is that, else as text. */
static void set_evidence(struct cel_value *map, struct str evidence)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    struct cel_value *value = NULL;
    bool is_json =
        json_decode(evidence, &value, NULL) == 0 && json_encode(&text, value, JSON_PLAIN) == 0;
    if (is_json) {
        set(map, "evidence", value);
        return;
    }
    cel_value_free(value);
    set_text(map, "evidence", evidence);
}

static void add_shown(struct dead *dead, const struct broker_dead_entry *entry)
{
    char time[ISOTIME_SIZE];
    struct cel_value *map = cel_map();
    set_text(map, "entry", buf_str(&dead->name));
    set_text(map, "queue", dead->queue);
    set_text(map, "time", isotime_format(entry->buried_wall, time));
    set_text(map, "reason", entry->dead.reason);
    set_text(map, "detail", entry->dead.detail);
    set_text(map, "task", entry->dead.task);
    set_text(map, "task_id", entry->dead.task_id);
    set_evidence(map, entry->dead.evidence);
    set_text(map, "message", entry->message);
    if (!str_is_utf8(entry->message)) {
        CLEANUP(buf_deinit) struct buf base64 = BUF_INIT(SIZE_MAX);
        base64_add(&base64, entry->message);
        set_text(map, "message_base64", buf_str(&base64));
    }
    int status = cel_list_add(dead->shown, map);
    ASSERT(status == 0);
}

static void show(struct dead *dead, const struct broker_dead_entry *entry)
{
    dead->shown_count++;
    if (dead->is_raw) {
        buf_clear(&dead->message);
        buf_add_str(&dead->message, entry->message);
    } else if (dead->selection.is_json) {
        add_shown(dead, entry);
    } else {
        print_entry(dead, entry);
    }
}

static int end_show(struct dead *dead)
{
    if (dead->is_raw && dead->shown_count > 1) {
        fprintf(stderr, "celeriac: dead: --raw is for one message, and %zu are meant\n",
                dead->shown_count);
        return EXIT_FAILED;
    }
    if (dead->is_raw)
        fwrite(dead->message.ptr, 1, dead->message.len, stdout);
    if (dead->selection.is_json) {
        char *text = cel_value_to_json(dead->shown);
        ASSERT(text);
        puts(text);
        mem_free(text);
    }
    dead->selection.is_json = false; /* printed */
    return selection_end(&dead->selection, NULL);
}

/* --- retry, release, drop --------------------------------------------------------------------- */

/*
 * A message that was lost with workers, or ended processes, has the counts of that in its headers,
 * written by us; with them it would be buried again at once. A retry by hand starts them afresh. Any
 * other message goes back byte for byte.
 */
static void start_afresh(struct dead *dead, struct str message, struct str *ret_bytes)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(SIZE_MAX / 2);
    struct envelope envelope;
    if (envelope_decode(message, &envelope, NULL))
        return;
    bool is_counted = envelope.deliveries || envelope.crashes || envelope.requeues;
    envelope.deliveries = envelope.crashes = envelope.requeues = 0;
    if (is_counted && envelope_encode(&bytes, &envelope) == 0)
        *ret_bytes = texts_add(&dead->kept, buf_str(&bytes));
    envelope_deinit(&envelope);
}

static void choose(struct dead *dead, const struct broker_dead_entry *entry)
{
    struct broker_dead_choice *choice = &dead->choices[dead->choice_count++];
    *choice = (struct broker_dead_choice){.entry = texts_add(&dead->kept, entry->entry)};
    if (!selection_does(&dead->selection, "drop"))
        start_afresh(dead, entry->message, &choice->bytes);
}

static const struct table_column *outcome_columns(const struct dead *dead)
{
    static const struct table_column retried[] = {{"queue", "queue", false},
                                                  {"retried", "retried", true}};
    static const struct table_column released[] = {{"queue", "queue", false},
                                                   {"released", "released", true}};
    static const struct table_column dropped[] = {{"queue", "queue", false},
                                                  {"dropped", "dropped", true}};
    if (selection_does(&dead->selection, "drop"))
        return dropped;
    return selection_does(&dead->selection, "retry") ? retried : released;
}

/* --- part by part ----------------------------------------------------------------------------- */

static void on_part(void *data,
                    int status,
                    const struct broker_dead_entry *entries,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    struct dead *dead = data;
    for (size_t i = 0; i < count; i++) {
        if (!is_chosen(dead, &entries[i]))
            continue;
        if (selection_does(&dead->selection, "list"))
            add_row(dead, &entries[i]);
        else if (selection_does(&dead->selection, "show"))
            show(dead, &entries[i]);
        else if (dead->choice_count < BROKER_ENDED_MAX)
            choose(dead, &entries[i]);
    }
    buf_clear(&dead->cursor);
    buf_add_str(&dead->cursor, cursor);
    on_client_done(&dead->wait, status, err);
}

static int look_at_part(struct dead *dead, struct cel_client *client, struct cel_error *err)
{
    bool with_messages =
        !selection_does(&dead->selection, "list") && !selection_does(&dead->selection, "drop");
    texts_clear(&dead->kept);
    dead->choice_count = 0;
    dead->wait = (struct client_wait){.done = false};
    return client_wait(client, &dead->wait,
                       broker_list_dead(client->broker, dead->queue, buf_str(&dead->cursor),
                                        with_messages, client_deadline(client), on_part, dead),
                       err);
}

static int
end_part(struct dead *dead, struct cel_client *client, uint64_t *total, struct cel_error *err)
{
    struct client_wait wait = {.done = false};
    uint64_t count = 0;
    if (dead->choice_count == 0)
        return 0;
    int status =
        client_wait(client, &wait,
                    broker_end_dead(client->broker, dead->queue, dead->choices, dead->choice_count,
                                    selection_does(&dead->selection, "drop"),
                                    client_deadline(client), &count, on_client_done, &wait),
                    err);
    *total += count;
    return status;
}

static int go_through(struct dead *dead, struct cel_client *client, struct cel_error *err)
{
    uint64_t total = 0;
    int status;
    buf_clear(&dead->cursor);
    do {
        status = look_at_part(dead, client, err);
        if (!status)
            status = end_part(dead, client, &total, err);
    } while (!status && dead->cursor.len && !dead->selection.is_cut);
    if (!selection_does(&dead->selection, "list") && !selection_does(&dead->selection, "show"))
        selection_add_outcome(&dead->selection, outcome_columns(dead), dead->queue, total);
    return status;
}

static int end_verb(struct dead *dead)
{
    if (selection_does(&dead->selection, "show"))
        return end_show(dead);
    return selection_end(&dead->selection,
                         selection_does(&dead->selection, "list") ? &dead->table : NULL);
}

static int work(struct dead *dead, const struct verb_context *context)
{
    struct cel_client *client;
    struct cel_error err = {0};
    int status = verb_open_client(context, &client);
    if (status)
        return status;
    status = selection_find_queues(&dead->selection, client, false, &err);
    for (size_t i = 0; i < dead->selection.queues.count && !status; i++) {
        dead->queue = dead->selection.queues.items[i];
        status = go_through(dead, client, &err);
    }
    cel_client_close(client);
    int ended = status && !dead->selection.outcome.cell_count ? 0 : end_verb(dead);
    return status ? verb_fail(&err) : ended;
}

static int begin(struct dead *dead, const struct verb_context *context)
{
    static const char *const actions[] = {"list", "show", "retry", "drop", "release", NULL};
    bool has_more = dead->reasons.count || dead->older || dead->newer;
    int status = selection_begin(&dead->selection, context, actions, has_more);
    if (status)
        return status;
    if (dead->is_raw && (!selection_does(&dead->selection, "show") || dead->selection.is_json))
        return verb_misused(&dead_verb, "--raw is for show, and without --json");
    if (!selection_does(&dead->selection, "release"))
        return 0;
    if (dead->reasons.count)
        return verb_misused(&dead_verb, "release: the reason is \"unregistered\"; retry takes any");
    texts_add(&dead->reasons, STR("unregistered"));
    return 0;
}

static int dead_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct dead *dead = xnew(struct dead);
    buf_init(&dead->name, 64 * 1024);
    buf_init(&dead->cursor, SIZE_MAX / 2);
    buf_init(&dead->message, SIZE_MAX / 2);
    table_init(&dead->table, columns, ARRAY_SIZE(columns));
    dead->shown = cel_list();
    int status = verb_begin(&context, &dead_verb, argc, argv, dead);
    if (!status)
        status = begin(dead, &context);
    if (!status)
        status = work(dead, &context);
    selection_deinit(&dead->selection);
    texts_deinit(&dead->reasons);
    texts_deinit(&dead->kept);
    buf_deinit(&dead->name);
    buf_deinit(&dead->cursor);
    buf_deinit(&dead->message);
    table_deinit(&dead->table);
    cel_value_free(dead->shown);
    mem_free(dead);
    return status;
}

const struct verb dead_verb = {
    .name = "dead",
    .run = dead_run,
    .mask = VERB_DEAD,
    .summary = "Show, retry or drop the messages that were set aside",
    .usage = "list|show|retry|drop|release [OPTION...] [ID...]",
    .about = "An ID is that of an entry, as list shows it, or of a task. Several choices narrow "
             "each other.\n"
             "retry sends a message once more, behind what waits, byte for byte; only its counts "
             "of crashes\n"
             "and lost workers start afresh. release is that for tasks that no worker knew. drop "
             "deletes.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac dead list --reason crash --newer-than 1h\n"
                "celeriac dead show mail/1764292887123-0\n"
                "celeriac dead retry --queue mail --name 'mail.*'\n"
                "celeriac dead drop --older-than 30d",
    .ok = "done",
    .failed = "an ID is not there",
};
