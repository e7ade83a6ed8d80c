#include "cli/selection.h"

#include <fnmatch.h>
#include <stdlib.h>

#include "client/handle.h"
#include "core/mem.h"

enum { LIMIT_DEFAULT = 1000 };

/* --- flags ------------------------------------------------------------------------------------ */

int selection_take_queue(void *data, const char *value, struct cel_error *err)
{
    if (!*value)
        return error_set(err, -EINVAL, "--queue: a queue has a name");
    texts_add(&((struct selection *)data)->queues, str_of(value));
    return 0;
}

int selection_take_name(void *data, const char *value, struct cel_error *err)
{
    if (!*value)
        return error_set(err, -EINVAL, "--name: a task has a name");
    texts_add(&((struct selection *)data)->names, str_of(value));
    return 0;
}

int selection_take_all(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct selection *)data)->all = true;
    return 0;
}

int selection_take_limit(void *data, const char *value, struct cel_error *err)
{
    struct selection *selection = data;
    if (str_parse_u64(str_of(value), &selection->limit))
        return error_set(err, -EINVAL, "--limit: \"%s\" is no whole number", value);
    if (!selection->limit)
        selection->limit = UINT64_MAX;
    return 0;
}

/* --- arguments -------------------------------------------------------------------------------- */

static int take_action(struct selection *selection, const char *word, const char *const *actions)
{
    CLEANUP(buf_deinit) struct buf known = BUF_INIT(1024);
    for (size_t i = 0; actions[i]; i++) {
        if (word && !strcmp(word, actions[i])) {
            selection->action = actions[i];
            return 0;
        }
        buf_addf(&known, "%s%s", i == 0 ? "" : actions[i + 1] ? ", " : " or ", actions[i]);
    }
    return word ? verb_misused(selection->verb, "\"%s\" is no action; say %s", word, known.ptr)
                : verb_misused(selection->verb, "say what to do: %s", known.ptr);
}

int selection_begin(struct selection *selection,
                    const struct verb_context *context,
                    const char *const *actions,
                    bool has_more)
{
    const struct config *config = &context->config;
    selection->verb = context->verb;
    selection->is_json = context->settings.json;
    if (!selection->limit)
        selection->limit = LIMIT_DEFAULT;
    int status =
        take_action(selection, config->argument_count ? config->arguments[0] : NULL, actions);
    for (size_t i = 1; i < config->argument_count && !status; i++)
        texts_add(&selection->ids, str_of(config->arguments[i]));
    if (status)
        return status;
    selection->is_found = xalloc(selection->ids.count + 1);
    if (selection->all && selection->ids.count)
        return verb_misused(selection->verb, "either ids or --all");
    has_more |= selection->all || selection->ids.count || selection->names.count;
    if (!has_more && !selection_does(selection, "list"))
        return verb_misused(selection->verb,
                            "%s: say which ones: ids, --name and its like, or --all",
                            selection->action);
    return 0;
}

void selection_deinit(struct selection *selection)
{
    texts_deinit(&selection->ids);
    texts_deinit(&selection->names);
    texts_deinit(&selection->queues);
    mem_free(selection->is_found);
    table_deinit(&selection->outcome);
}

bool selection_does(const struct selection *selection, const char *action)
{
    return !strcmp(selection->action, action);
}

/* --- queues ----------------------------------------------------------------------------------- */

struct finding {
    struct client_wait wait;
    struct texts *queues;
    bool delayed;
};

static void on_stats(void *data,
                     int status,
                     const struct broker_queue_stats *stats,
                     size_t count,
                     const struct cel_error *err)
{
    struct finding *finding = data;
    for (size_t i = 0; i < count; i++) {
        if (finding->delayed ? stats[i].delayed : stats[i].dead)
            texts_add(finding->queues, stats[i].queue);
    }
    on_client_done(&finding->wait, status, err);
}

int selection_find_queues(struct selection *selection,
                          struct cel_client *client,
                          bool delayed,
                          struct cel_error *err)
{
    struct finding finding = {.queues = &selection->queues, .delayed = delayed};
    if (selection->queues.count)
        return 0;
    return client_wait(
        client, &finding.wait,
        broker_queues(client->broker, NULL, 0, client_deadline(client), on_stats, &finding), err);
}

/* --- which ones ------------------------------------------------------------------------------- */

static bool takes_id(struct selection *selection, struct str entry, struct str task_id)
{
    bool takes = selection->ids.count == 0;
    for (size_t i = 0; i < selection->ids.count; i++) {
        struct str id = selection->ids.items[i];
        if (!str_equal(id, task_id) && !(entry.ptr && str_equal(id, entry)))
            continue;
        selection->is_found[i] = true;
        takes = true;
    }
    return takes;
}

static bool takes_name(const struct selection *selection, struct str task)
{
    char *name = selection->names.count ? xalloc(task.len + 1) : NULL;
    bool takes = !name;
    if (name && task.len)
        memcpy(name, task.ptr, task.len);
    for (size_t i = 0; i < selection->names.count && !takes; i++)
        takes = fnmatch(selection->names.items[i].ptr, name, 0) == 0;
    mem_free(name);
    return takes;
}

bool selection_takes(struct selection *selection,
                     struct str entry,
                     struct str task_id,
                     struct str task)
{
    return takes_name(selection, task) && takes_id(selection, entry, task_id);
}

/* --- the end ---------------------------------------------------------------------------------- */

bool selection_has_room(struct selection *selection, const struct table *table)
{
    bool has_room = table->cell_count / table->column_count < selection->limit;
    selection->is_cut |= !has_room;
    return has_room;
}

void selection_add_outcome(struct selection *selection,
                           const struct table_column columns[2],
                           struct str queue,
                           uint64_t count)
{
    struct table *outcome = &selection->outcome;
    if (!outcome->columns)
        table_init(outcome, columns, 2);
    table_add_text(outcome, queue, TINT_PLAIN);
    table_add_u64(outcome, count, TINT_PLAIN);
}

int selection_end(struct selection *selection, const struct table *table)
{
    int status = EXIT_OK;
    if (!table)
        table = &selection->outcome;
    if (selection->is_json)
        table_print_json(table, stdout);
    else if (table->columns)
        table_print(table, stdout);
    if (selection->is_cut)
        fprintf(stderr, "celeriac: there are more; --limit 0 shows all\n");
    for (size_t i = 0; i < selection->ids.count; i++) {
        if (selection->is_found[i])
            continue;
        CLEANUP(buf_deinit) struct buf id = BUF_INIT(SIZE_MAX);
        text_add_printable(&id, selection->ids.items[i], false);
        fprintf(stderr, "celeriac: %s: there is no %s\n", selection->verb->name,
                id.ptr ? id.ptr : "\"\"");
        status = EXIT_FAILED;
    }
    return status;
}
