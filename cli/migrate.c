/*
 * celeriac migrate: Celeriac's own set and the folders given, one after the other, under one lock.
 */
#include <errno.h>
#include <stdlib.h>

#include "cli/table.h"
#include "cli/verbs.h"
#include "core/mem.h"
#include "store/migrate.h"
#include "store/pg.h"

struct request {
    const char **folders; /* DIR or NAME=DIR, as given */
    size_t folder_count;
    bool dry_run, status;
};

static int take_dir(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    struct request *request = data;
    request->folders =
        xgrow(request->folders, request->folder_count + 1, sizeof(*request->folders));
    request->folders[request->folder_count++] = value;
    return 0;
}

static int take_dry_run(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct request *)data)->dry_run = true;
    return 0;
}

static int take_status(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct request *)data)->status = true;
    return 0;
}

static const struct verb_flag flags[] = {
    {"dir", "[NAME=]DIR", take_dir, "Folder of NNNN_name.sql files; may be given again"},
    {"dry-run", NULL, take_dry_run, "Say what would be applied, and change nothing"},
    {"status", NULL, take_status, "Show every migration and whether it was applied"},
};

static const struct table_column columns[] = {{"set", "set", false},
                                              {"number", "number", true},
                                              {"name", "name", false},
                                              {"state", "state", false},
                                              {"applied at", "applied_at", false}};

static void add_row(struct table *table, const char *set, const struct migration *migration)
{
    static const enum table_tint tints[] = {
        [MIGRATION_PENDING] = TINT_WARN,
        [MIGRATION_APPLIED] = TINT_GOOD,
        [MIGRATION_CHANGED] = TINT_BAD,
        [MIGRATION_GONE] = TINT_DIM,
    };
    table_add_text(table, str_of(set), TINT_PLAIN);
    table_add_u64(table, (uint64_t)migration->number, TINT_PLAIN);
    table_add_text(table, str_of(migration->name), TINT_PLAIN);
    table_add_text(table, str_of(migration_state_name(migration->state)), tints[migration->state]);
    table_add_text(table, str_of(migration->applied_at), TINT_PLAIN);
}

/* The pending ones of a set: applied, or with --dry-run only listed. */
static int advance(struct pg *pg,
                   const struct request *request,
                   struct migration_set *set,
                   struct table *table,
                   struct cel_error *err)
{
    int status = migrate_check(set, err);
    for (size_t i = 0; !status && i < set->count; i++) {
        struct migration *migration = &set->items[i];
        if (migration->state != MIGRATION_PENDING)
            continue;
        if (!request->dry_run)
            status = migrate_apply(pg, set->name, migration, err);
        if (!status)
            add_row(table, set->name, migration);
    }
    return status;
}

static int one_set(struct pg *pg,
                   const struct request *request,
                   struct migration_set *set,
                   struct table *table,
                   struct cel_error *err)
{
    int status = migrate_compare(pg, set, err);
    if (!status && !request->status)
        status = advance(pg, request, set, table, err);
    for (size_t i = 0; !status && request->status && i < set->count; i++)
        add_row(table, set->name, &set->items[i]);
    return status;
}

static int read_folder(const char *folder, struct migration_set *ret, struct cel_error *err)
{
    struct str path = str_of(folder), name;
    str_split(&path, '=', &name);
    char *set_name = path.ptr ? str_dup(name) : NULL;
    int status = migration_set_read(set_name, path.ptr ? path.ptr : folder, ret, err);
    free(set_name);
    if (status && status != -ENOMEM && status != -EACCES)
        status = err->code = CEL_E_CONFIG; /* a folder that cannot be used, for whatever reason */
    return status;
}

/* The set number `i`: our own, then the folders. */
static int
read_set(const struct request *request, size_t i, struct migration_set *ret, struct cel_error *err)
{
    return i == 0 ? migration_set_own(ret, err) : read_folder(request->folders[i - 1], ret, err);
}

static void print(const struct verb_context *context, const struct table *table)
{
    if (context->settings.json)
        table_print_json(table, stdout);
    else if (table->cell_count)
        table_print(table, stdout);
    else
        puts("Nothing to do.");
}

static int migrate(const struct verb_context *context, const struct request *request, struct pg *pg)
{
    struct table table;
    table_init(&table, columns, ARRAY_SIZE(columns));
    struct cel_error err = {0};
    size_t count = 1 + request->folder_count;
    struct migration_set *sets =
        xalloc(count * sizeof(*sets)); /* all, before anything is applied */
    int status = 0;
    for (size_t i = 0; !status && i < count; i++)
        status = read_set(request, i, &sets[i], &err);
    if (!status && !request->dry_run && !request->status)
        status = migrate_begin(pg, &err);
    for (size_t i = 0; !status && i < count; i++)
        status = one_set(pg, request, &sets[i], &table, &err);
    for (size_t i = 0; i < count; i++)
        migration_set_deinit(&sets[i]);
    mem_free(sets);
    if (!status || table.cell_count)
        print(context, &table);
    table_deinit(&table);
    return status ? verb_fail(&err) : EXIT_OK;
}

static void request_deinit(struct request *request)
{
    mem_free(request->folders);
}

static int run(int argc, char **argv)
{
    CLEANUP(request_deinit) struct request request = {0};
    CLEANUP(verb_end) struct verb_context context;
    int status = verb_begin(&context, &migrate_verb, argc, argv, &request);
    if (status)
        return status;
    if (context.config.argument_count)
        return verb_misused(&migrate_verb, "folders are given as --dir DIR, not as \"%s\"",
                            context.config.arguments[0]);
    struct pg *pg;
    status = verb_open_pg(&context, "default", &pg);
    if (status)
        return status;
    status = migrate(&context, &request, pg);
    pg_free(pg);
    return status;
}

const struct verb migrate_verb = {
    .name = "migrate",
    .run = run,
    .mask = VERB_MIGRATE,
    .summary = "Apply numbered SQL files to the database, each once",
    .usage = "[OPTION...] [--dir [NAME=]DIR...]",
    .about = "First Celeriac's own set, \"celeriac\": the schema celeriac. Then each folder, a set "
             "called NAME or\n"
             "like the folder: its files NNNN_name.sql are applied in order, each in a transaction "
             "of its own, and\n"
             "recorded in celeriac.migration. Several runs at once are safe. A file that was "
             "applied must not\n"
             "change.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac migrate --dir tasks/shop/sql\n"
                "celeriac migrate --status --json --dir shop=/usr/share/celeriac/shop/sql",
    .ok = "everything is applied",
};
