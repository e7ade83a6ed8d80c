/*
 * One run of `celeriac migrate`:
 *
 *     migration_set_read   the folder, before anything is asked of the database
 *     migrate_begin        session lock, so that several runs at once follow one another; the table
 *     migrate_compare      what was applied, beside what the folder has; checksums by the server
 *     migrate_check        refuses when history and folder disagree
 *     migrate_apply        BEGIN, the file, its record, COMMIT; for each pending one
 *
 * The lock is held by the session, not by a transaction, because each file has a transaction of its
 * own and the next run must see all of them.
 */
#include "store/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/mem.h"
#include "store/pg.h"
#include "store/sql_text.h"

#define LOCK_KEY       "7163384635117891945" /* any constant of our own */
#define LOCK_WAIT      "10min"
#define NUMBER_MIN_LEN ((size_t)4)

/* --- the folder ------------------------------------------------------------------------------- */

const char *migration_state_name(enum migration_state state)
{
    static const char *const names[] = {
        [MIGRATION_PENDING] = "pending",
        [MIGRATION_APPLIED] = "applied",
        [MIGRATION_CHANGED] = "changed",
        [MIGRATION_GONE] = "gone",
    };
    return names[state];
}

static void migration_deinit(struct migration *migration)
{
    free(migration->name);
    free(migration->path);
    free(migration->sql);
    free(migration->checksum);
    free(migration->applied_at);
    *migration = (struct migration){0};
}

void migration_set_deinit(struct migration_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        migration_deinit(&set->items[i]);
    mem_free(set->items);
    free(set->name);
    *set = (struct migration_set){0};
}

static void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static int cannot_read(const char *path, struct cel_error *err)
{
    int code = -errno;
    return error_set(err, code, "Cannot read %s: %s", path, cel_error_name(code));
}

static int read_file(const char *path, char **ret_text, struct cel_error *err)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (fd < 0 || fstat(fd, &about))
        return cannot_read(path, err);
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(MIGRATION_FILE_MAX);
    for (;;) {
        char part[65536];
        ssize_t len = read(fd, part, sizeof(part));
        if (len < 0)
            return cannot_read(path, err);
        if (len == 0)
            break;
        buf_add(&buf, part, (size_t)len);
    }
    buf_add(&buf, "", 0);
    if (buf_status(&buf))
        return error_set(err, buf_status(&buf), "%s: more than %d bytes, or no memory", path,
                         MIGRATION_FILE_MAX);
    if (memchr(buf.ptr, 0, buf.len) || !str_is_utf8(buf_str(&buf)))
        return error_set(err, CEL_E_FORMAT, "%s: not UTF-8 text", path);
    *ret_text = buf_take(&buf, NULL);
    return 0;
}

/* "0042_name.sql": its number and name. */
static int parse_file_name(const char *file, int64_t *ret_number, struct str *ret_name)
{
    struct str name = str_of(file);
    struct str digits;
    name.len -= strlen(".sql");
    if (!str_split(&name, '_', &digits) || digits.len < NUMBER_MIN_LEN || !name.ptr || !name.len)
        return -EINVAL;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return -EINVAL;
    }
    *ret_name = name;
    return str_parse_i64(digits, ret_number);
}

static struct migration *set_append(struct migration_set *set)
{
    struct migration *items = mem_grow(set->items, set->count + 1, sizeof(*items));
    if (!items)
        return NULL;
    set->items = items;
    items[set->count] = (struct migration){0};
    return &items[set->count++];
}

/* A migration without its text. */
static int append_named(struct migration_set *set,
                        const char *folder,
                        const char *file,
                        struct migration **ret,
                        struct cel_error *err)
{
    int64_t number;
    struct str name;
    if (parse_file_name(file, &number, &name))
        return error_set(err, -EINVAL, "%s/%s: the name must be NNNN_name.sql", folder, file);
    struct migration *migration = set_append(set);
    if (!migration)
        return error_no_memory(err);
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(PATH_MAX);
    buf_addf(&path, "%s/%s", folder, file);
    migration->number = number;
    migration->name = str_dup(name);
    migration->path = buf_take(&path, NULL);
    *ret = migration;
    return migration->name && migration->path ? 0 : error_no_memory(err);
}

static int
add_file(struct migration_set *set, const char *folder, const char *file, struct cel_error *err)
{
    struct migration *migration;
    int status = append_named(set, folder, file, &migration, err);
    return status ? status : read_file(migration->path, &migration->sql, err);
}

static int by_number(const void *a, const void *b)
{
    const struct migration *one = a, *other = b;
    return (one->number > other->number) - (one->number < other->number);
}

static void set_sort(struct migration_set *set)
{
    if (set->count > 1)
        qsort(set->items, set->count, sizeof(*set->items), by_number);
}

static int check_numbers(const struct migration_set *set, const char *folder, struct cel_error *err)
{
    if (!set->count)
        return error_set(err, -EINVAL, "%s: there is no file NNNN_name.sql", folder);
    for (size_t i = 1; i < set->count; i++) {
        if (set->items[i].number == set->items[i - 1].number)
            return error_set(err, -EINVAL, "%s: %s has the same number", set->items[i].path,
                             set->items[i - 1].path);
    }
    return 0;
}

/* The last part of a path without links and dots; a folder called "sql" is named by its parent. */
static char *default_name(const char *folder)
{
    char *real = realpath(folder, NULL);
    if (!real)
        return NULL;
    char *last = strrchr(real, '/');
    if (!strcmp(last, "/sql") || !strcmp(last, "/migrations")) {
        *last = '\0';
        last = strrchr(real, '/');
    }
    char *name = last && last[1] ? str_dup(str_of(last + 1)) : NULL;
    free(real);
    return name;
}

static void dir_close(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int read_folder(struct migration_set *set, const char *folder, struct cel_error *err)
{
    CLEANUP(dir_close) DIR *dir = opendir(folder);
    if (!dir)
        return cannot_read(folder, err);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? cannot_read(folder, err) : 0;
        if (entry->d_name[0] == '.' || !str_ends(str_of(entry->d_name), STR(".sql")))
            continue;
        int status = add_file(set, folder, entry->d_name, err);
        if (status)
            return status;
    }
}

int migration_set_read(const char *name,
                       const char *folder,
                       struct migration_set *ret,
                       struct cel_error *err)
{
    struct migration_set set = {.name = name ? str_dup(str_of(name)) : default_name(folder)};
    int status = read_folder(&set, folder, err);
    if (!status && !set.name)
        status = error_set(err, -EINVAL, "%s: the set needs a name: --dir NAME=DIR", folder);
    if (!status) {
        set_sort(&set);
        status = check_numbers(&set, folder, err);
    }
    if (status) {
        migration_set_deinit(&set);
        return status;
    }
    *ret = set;
    return 0;
}

/* --- inside the program ----------------------------------------------------------------------- */

static const struct {
    const char *file, *sql;
} own_files[] = {
#include "embedded_sql.inc"
};

int migration_set_own(struct migration_set *ret, struct cel_error *err)
{
    struct migration_set set = {.name = str_dup(STR("celeriac"))};
    int status = set.name ? 0 : error_no_memory(err);
    for (size_t i = 0; !status && i < ARRAY_SIZE(own_files); i++) {
        struct migration *migration;
        status = append_named(&set, set.name, own_files[i].file, &migration, err);
        if (!status && !(migration->sql = str_dup(str_of(own_files[i].sql))))
            status = error_no_memory(err);
    }
    if (status) {
        migration_set_deinit(&set);
        return status;
    }
    *ret = set;
    return 0;
}

/* --- the database ----------------------------------------------------------------------------- */

static void rows_free(struct cel_rows **rows)
{
    cel_rows_free(*rows);
}

/* A condition of pg.h as a code: not allowed, not reachable, or refused by the database. */
static int failed(const struct pg *pg, int status, struct cel_error *err)
{
    if (status == 0)
        return 0;
    const char *sqlstate = pg_sqlstate(pg);
    int code = CEL_E_DATABASE;
    if (!strncmp(sqlstate, "28", 2) || !strcmp(sqlstate, "42501"))
        code = CEL_E_AUTH;
    else if (!strncmp(sqlstate, "08", 2) || !strncmp(sqlstate, "57P0", 4))
        code = -ECONNREFUSED;
    else if (!strcmp(sqlstate, "3D000") || (err && err->code == CEL_E_CONFIG))
        code = CEL_E_CONFIG; /* no such database; a URI that is none */
    if (err)
        err->code = code;
    return code;
}

static int run(struct pg *pg, const char *sql, struct cel_error *err)
{
    return failed(pg, pg_exec(pg, sql, err), err);
}

static int query(struct pg *pg,
                 const char *sql,
                 const struct cel_param *params,
                 size_t param_count,
                 struct cel_rows **ret_rows,
                 struct cel_error *err)
{
    return failed(pg, pg_query(pg, sql, params, param_count, ret_rows, err), err);
}

int migrate_begin(struct pg *pg, struct cel_error *err)
{
    int status = failed(pg, pg_connect(pg, err), err);
    if (!status && pg_is_pooled(pg)) /* its lock would be another session's */
        return error_set(err, CEL_E_CONFIG,
                         "a pooler stands before the database, and a migration needs a session of "
                         "its own: give the address of the server itself");
    if (!status)
        status = run(pg, "SET lock_timeout = '" LOCK_WAIT "'", err);
    if (!status && (status = run(pg, "SELECT pg_advisory_lock(" LOCK_KEY ")", err)))
        error_wrap(err, "Another migration may be running");
    if (!status)
        status = run(pg,
                     "RESET lock_timeout;"
                     "SET client_min_messages = warning;"
                     "CREATE SCHEMA IF NOT EXISTS celeriac;"
                     "CREATE TABLE IF NOT EXISTS celeriac.migration ("
                     " set text NOT NULL,"
                     " number bigint NOT NULL,"
                     " name text NOT NULL,"
                     " checksum text NOT NULL,"
                     " applied_at timestamptz NOT NULL DEFAULT now(),"
                     " PRIMARY KEY (set, number));"
                     "RESET client_min_messages",
                     err);
    return status;
}

static int compute_checksum(struct pg *pg, struct migration *migration, struct cel_error *err)
{
    CLEANUP(rows_free) struct cel_rows *rows = NULL;
    int status = query(pg, "SELECT encode(sha256($1), 'hex') AS sum",
                       CEL_PARAMS(cel_p_bytes(migration->sql, strlen(migration->sql))), &rows, err);
    if (status)
        return status;
    migration->checksum = str_dup(str_of(cel_row_text(rows, 0, "sum")));
    return migration->checksum ? 0 : error_no_memory(err);
}

static struct migration *find(struct migration_set *set, int64_t number)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].number == number)
            return &set->items[i];
    }
    return NULL;
}

static int take_record(struct migration_set *set,
                       const struct cel_rows *rows,
                       size_t row,
                       struct cel_error *err)
{
    int64_t number = cel_row_int(rows, row, "number");
    const char *checksum = cel_row_text(rows, row, "checksum");
    struct migration *migration = find(set, number);
    if (migration) {
        bool same = !strcmp(migration->checksum, checksum);
        migration->state = same ? MIGRATION_APPLIED : MIGRATION_CHANGED;
    } else {
        migration = set_append(set);
        if (!migration)
            return error_no_memory(err);
        migration->number = number;
        migration->state = MIGRATION_GONE;
        migration->name = str_dup(str_of(cel_row_text(rows, row, "name")));
        migration->checksum = str_dup(str_of(checksum));
    }
    migration->applied_at = str_dup(str_of(cel_row_text(rows, row, "applied_at")));
    bool complete = migration->name && migration->checksum && migration->applied_at;
    return complete ? 0 : error_no_memory(err);
}

int migrate_compare(struct pg *pg, struct migration_set *set, struct cel_error *err)
{
    for (size_t i = 0; i < set->count; i++) {
        int status = compute_checksum(pg, &set->items[i], err);
        if (status)
            return status;
    }
    CLEANUP(rows_free) struct cel_rows *exists = NULL;
    int status = query(pg, "SELECT to_regclass('celeriac.migration') IS NOT NULL AS yes",
                       CEL_NO_PARAMS, &exists, err);
    if (status || !cel_row_bool(exists, 0, "yes"))
        return status;
    CLEANUP(rows_free) struct cel_rows *rows = NULL;
    status = query(pg,
                   "SELECT number, name, checksum,"
                   " to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
                   " AS applied_at FROM celeriac.migration WHERE set = $1 ORDER BY number",
                   CEL_PARAMS(cel_p_text(set->name)), &rows, err);
    for (size_t i = 0; !status && i < cel_rows_count(rows); i++)
        status = take_record(set, rows, i, err);
    set_sort(set);
    return status;
}

int migrate_check(const struct migration_set *set, struct cel_error *err)
{
    const struct migration *last = NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].state == MIGRATION_CHANGED)
            return error_set(err, CEL_E_CONFIG,
                             "%s: the file was changed after it had been applied at %s; write a "
                             "new one instead",
                             set->items[i].path, set->items[i].applied_at);
        if (set->items[i].state != MIGRATION_PENDING)
            last = &set->items[i];
    }
    for (size_t i = 0; last && &set->items[i] < last; i++) {
        if (set->items[i].state == MIGRATION_PENDING)
            return error_set(err, CEL_E_CONFIG,
                             "%s: it comes too late, %04lld_%s is already applied; give it a "
                             "higher number",
                             set->items[i].path, (long long)last->number, last->name);
    }
    return 0;
}

/* Puts file and line in front of the server's sentence: the place that it names, else that of the
 * statement that failed. */
static int name_place(const struct pg *pg, const struct migration *migration, struct cel_error *err)
{
    size_t position = pg_error_position(pg), line, column;
    if (position) {
        sql_position(migration->sql, position, &line, &column);
        return error_wrap(err, "%s:%zu:%zu", migration->path, line, column);
    }
    line = sql_statement_line(migration->sql, pg_statements_done(pg));
    if (line)
        return error_wrap(err, "%s:%zu", migration->path, line);
    return error_wrap(err, "%s", migration->path);
}

static int apply_file(struct pg *pg, const struct migration *migration, struct cel_error *err)
{
    int status = run(pg, migration->sql, err);
    if (status) {
        name_place(pg, migration, err);
        return status;
    }
    if (!pg_in_transaction(pg))
        return error_set(err, CEL_E_DATABASE,
                         "%s: the file ends the transaction that it runs in (COMMIT, ROLLBACK); "
                         "what came before may stay",
                         migration->path);
    return 0;
}

static int
record(struct pg *pg, const char *set, const struct migration *migration, struct cel_error *err)
{
    return query(pg,
                 "INSERT INTO celeriac.migration (set, number, name, checksum)"
                 " VALUES ($1, $2, $3, $4)",
                 CEL_PARAMS(cel_p_text(set), cel_p_int(migration->number),
                            cel_p_text(migration->name), cel_p_text(migration->checksum)),
                 NULL, err);
}

int migrate_apply(struct pg *pg,
                  const char *set,
                  struct migration *migration,
                  struct cel_error *err)
{
    int status = run(pg, "BEGIN", err);
    if (!status)
        status = apply_file(pg, migration, err);
    if (!status)
        status = record(pg, set, migration, err);
    if (!status && (status = failed(pg, pg_commit(pg, err), err)))
        error_wrap(err, "%s", migration->path); /* deferred constraints are checked here */
    if (status) {
        int also_failed = pg_rollback(pg, NULL);
        (void)also_failed; /* the connection is gone, and the transaction with it */
        return status;
    }
    migration->state = MIGRATION_APPLIED;
    /* What the file set for its session does not reach the next one. */
    return run(pg, "RESET SESSION AUTHORIZATION; RESET ALL", err);
}
