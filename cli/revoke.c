/*
 * celeriac revoke.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/table.h"
#include "cli/verbs.h"
#include "client/handle.h"
#include "core/mem.h"
#include "message/envelope.h"

struct revoke {
    const char *signal; /* NULL: running ones go on */
    bool reads_stdin;
    struct broker_revocation *items;
    size_t count, cap;
    char *input; /* that was read; ids point into it */
};

static void add(struct revoke *revoke, struct broker_revocation item)
{
    revoke->items = xroom(revoke->items, revoke->count, &revoke->cap, sizeof(*revoke->items));
    revoke->items[revoke->count++] = item;
}

/* --- flags ------------------------------------------------------------------------------------ */

static int take_terminate(void *data, const char *value, struct cel_error *err)
{
    struct revoke *revoke = data;
    (void)value, (void)err;
    if (!revoke->signal)
        revoke->signal = "TERM";
    return 0;
}

static int take_signal(void *data, const char *value, struct cel_error *err)
{
    if (!client_knows_signal(value))
        return error_set(err, -EINVAL, "--signal: \"%s\" is no signal; TERM or KILL is", value);
    ((struct revoke *)data)->signal = value;
    return 0;
}

static int take_stamp(void *data, const char *value, struct cel_error *err)
{
    const char *at = strchr(value, '=');
    if (!at || at == value)
        return error_set(err, -EINVAL, "--stamp: \"%s\" is not NAME=VALUE", value);
    add(data, (struct broker_revocation){.stamp = str_n(value, (size_t)(at - value)),
                                         .value = str_of(at + 1)});
    return 0;
}

static int take_stdin(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct revoke *)data)->reads_stdin = true;
    return 0;
}

static const struct verb_flag flags[] = {
    {"terminate", NULL, take_terminate, "End those that run, too (with TERM)"},
    {"signal", "NAME", take_signal, "The same with this signal"},
    {"stamp", "NAME=VALUE", take_stamp, "All tasks with this stamped header, again for another"},
    {"stdin", NULL, take_stdin, "Read more ids from standard input, one a line"},
};

/* --- ids -------------------------------------------------------------------------------------- */

static int add_id(struct revoke *revoke, struct str id)
{
    if (id.len > TASK_ID_MAX)
        return verb_misused(&revoke_verb, "an id is longer than %d bytes", TASK_ID_MAX);
    if (id.len)
        add(revoke, (struct broker_revocation){.id = id});
    return 0;
}

static int read_ids(struct revoke *revoke)
{
    struct buf input = BUF_INIT(SIZE_MAX / 2);
    char part[64 * 1024];
    size_t len;
    while ((len = fread(part, 1, sizeof(part), stdin)) > 0)
        buf_add(&input, part, len);
    revoke->input = buf_take(&input, &len);
    buf_deinit(&input);
    struct str rest = str_n(revoke->input, revoke->input ? len : 0), line;
    int status = 0;
    while (!status && str_split(&rest, '\n', &line))
        status = add_id(revoke, str_trim(line));
    return status;
}

static int collect(struct revoke *revoke, const struct verb_context *context)
{
    int status = 0;
    for (size_t i = 0; i < context->config.argument_count && !status; i++)
        status = add_id(revoke, str_of(context->config.arguments[i]));
    if (!status && revoke->reads_stdin)
        status = read_ids(revoke);
    if (!status && !revoke->count)
        return verb_misused(&revoke_verb, "name the ids of tasks, or a --stamp");
    for (size_t i = 0; i < revoke->count; i++)
        revoke->items[i].signal = str_of(revoke->signal);
    return status;
}

/* --- the verb --------------------------------------------------------------------------------- */

static const struct table_column columns[] = {{"revoked", "revoked", true}};

static void print_json(size_t count)
{
    struct table table;
    table_init(&table, columns, ARRAY_SIZE(columns));
    table_add_u64(&table, count, TINT_PLAIN);
    table_print_json(&table, stdout);
    table_deinit(&table);
}

static int send_all(struct revoke *revoke, const struct verb_context *context)
{
    struct cel_client *client;
    struct cel_error err = {0};
    int status = verb_open_client(context, &client);
    if (status)
        return status;
    status =
        client_revoke(client, revoke->items, revoke->count, context->settings.revoke_expires, &err);
    cel_client_close(client);
    if (status)
        return verb_fail(&err);
    if (context->settings.json)
        print_json(revoke->count);
    return EXIT_OK;
}

static int revoke_run(int argc, char **argv)
{
    CLEANUP(verb_end) struct verb_context context;
    struct revoke revoke = {.signal = NULL};
    int status = verb_begin(&context, &revoke_verb, argc, argv, &revoke);
    if (!status)
        status = collect(&revoke, &context);
    if (!status)
        status = send_all(&revoke, &context);
    mem_free(revoke.items);
    mem_free(revoke.input);
    return status;
}

const struct verb revoke_verb = {
    .name = "revoke",
    .run = revoke_run,
    .mask = VERB_REVOKE,
    .summary = "Keep tasks from running, and end those that run",
    .usage = "[OPTION...] ID...",
    .about =
        "Redis remembers it, so workers that are down now obey as well. A task that has begun runs "
        "on unless\n"
        "--terminate is given.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac revoke 5a0c1f0e-0000-4000-8000-000000000001\n"
                "celeriac revoke --terminate --stamp customer=42\n"
                "celeriac revoke --stdin < ids",
    .ok = "revoked",
};
