/*
 * The task's databases (celeriac/task.h) over store/pg.h: conditions become recorded outcomes, with
 * the exception names of Python's DB-API.
 *
 * A statement that fails because one before it had failed (SQLSTATE 25P02) keeps what was recorded
 * then: a serialization failure that the author overlooked is still a retry.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "child/task.h"
#include "core/backoff.h"
#include "core/mem.h"

#define LOOK_USEC                                                                                  \
    (30 * USEC_PER_SEC) /* for what a COMMIT came to; the hard limit is at work, too */

static const char own_transaction[] =
    "the task runs in a transaction of its own (.transaction); savepoints can be used";

/* --- life ------------------------------------------------------------------------------------- */

void databases_open(struct child *child,
                    const struct frame_pair *databases,
                    size_t count,
                    usec_t max_age)
{
    child->databases = xalloc((count + 1) * sizeof(*child->databases));
    child->database_count = count;
    for (size_t i = 0; i < count; i++) {
        struct cel_db *db = &child->databases[i];
        char *uri = str_dup(databases[i].value);
        db->name = str_dup(databases[i].name);
        db->pg = uri && db->name ? pg_new(db->name, uri, max_age, child->cancel) : NULL;
        ASSERT(db->pg);
        mem_free(uri);
    }
}

void databases_close(struct child *child)
{
    for (size_t i = 0; i < child->database_count; i++) {
        pg_free(child->databases[i].pg);
        mem_free(child->databases[i].name);
    }
    mem_free(child->databases);
    child->databases = NULL;
    child->database_count = 0;
}

/* --- errors ----------------------------------------------------------------------------------- */

static bool has_class(const char *sqlstate, const char *class)
{
    return strncmp(sqlstate, class, strlen(class)) == 0;
}

/* As Python's drivers name them. */
static const char *exception_of(const char *sqlstate)
{
    static const struct {
        const char *class, *name;
    } names[] = {
        {"22", "DataError"},        {"23", "IntegrityError"},   {"0A", "NotSupportedError"},
        {"42", "ProgrammingError"}, {"3D", "ProgrammingError"}, {"3F", "ProgrammingError"},
        {"XX", "InternalError"},    {"24", "InternalError"},    {"25", "InternalError"},
        {"08", "OperationalError"}, {"40", "OperationalError"}, {"53", "OperationalError"},
        {"54", "OperationalError"}, {"55", "OperationalError"}, {"57", "OperationalError"},
        {"58", "OperationalError"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (has_class(sqlstate, names[i].class))
            return names[i].name;
    }
    return "DatabaseError";
}

/* Beyond 32 a pause has long been the longest. */
static unsigned few(int64_t attempts)
{
    return attempts < 32 ? (unsigned)attempts : 32;
}

/* After a conflict with another transaction the next run is soon: nothing is broken. After all else
 * it is the task's own delay, since a server that is away may stay away for longer than retries
 * last. */
static int record_transient(struct cel_db *db, const struct cel_error *err)
{
    static const struct backoff pause = {100 * USEC_PER_MSEC, 10 * USEC_PER_SEC};
    struct cel_task *task = db->task;
    int r = task_record(task, BY_DATABASE, RECORDED_RETRY, "OperationalError", err->text);
    struct recorded *recorded = &task->recorded;
    if (recorded->by == BY_DATABASE && recorded->kind == RECORDED_RETRY && pg_is_conflict(db->pg)) {
        unsigned before = few(task->envelope.conflicts) + few(task->envelope.retries);
        recorded->conflict = true;
        recorded->countdown_usec = (int64_t)backoff_delay(&pause, before, backoff_random());
    }
    return r;
}

int database_settle(struct cel_db *db, int condition, const struct cel_error *err)
{
    struct cel_task *task = db->task;
    const char *sqlstate = pg_sqlstate(db->pg);
    switch (condition) {
    case 0:
        task_forget_database_error(task);
        return 0;
    case PG_E_CANCELLED:
        return task_record(task, BY_DATABASE, RECORDED_CANCELLED, NULL, NULL);
    case PG_E_TRANSIENT:
        return record_transient(db, err);
    default:
        break;
    }
    bool follows = strcmp(sqlstate, "25P02") == 0 && task->recorded.by == BY_DATABASE;
    if (follows)
        return task_recorded_code(task);
    return task_record(task, BY_DATABASE, RECORDED_FAIL, exception_of(sqlstate), err->text);
}

int database_settle_undo(struct cel_db *db, int condition, const struct cel_error *err)
{
    return condition ? database_settle(db, condition, err) : 0;
}

bool task_is_wrapped(const struct cel_task *task)
{
    return task->registered && task_target(task)->def->transaction != CEL_NO_TRANSACTION;
}

static bool is_wrapped(const struct cel_db *db)
{
    const struct cel_task *task = db->task;
    return task_is_wrapped(task) && task->database && strcmp(db->name, task->database) == 0;
}

static int refuse_own(struct cel_db *db)
{
    return task_record(db->task, BY_DATABASE, RECORDED_FAIL, "RuntimeError", own_transaction);
}

/* --- connections ------------------------------------------------------------------------------ */

static struct cel_db *find(struct cel_task *task, const char *name)
{
    struct child *child = task->child;
    for (size_t i = 0; i < child->database_count; i++) {
        if (strcmp(child->databases[i].name, name) == 0)
            return &child->databases[i];
    }
    return NULL;
}

struct cel_db *cel_db_named(struct cel_task *task, const char *name)
{
    struct cel_db *db = find(task, name);
    if (!db) {
        task_recordf(task, BY_DATABASE, RECORDED_RETRY, "OperationalError",
                     "database \"%s\": it is not configured (section [database])", name);
        return NULL;
    }
    struct cel_error err = {0};
    db->task = task;
    pg_set_limits(db->pg, task->soft_mono, task->hard_mono);
    int r = pg_connect(db->pg, &err);
    if (!r)
        return db;
    database_settle(db, r, &err);
    return NULL;
}

/* The router's answer holds for the whole run, none is one, too: the transaction around a task is on one
 * database. While it thinks, cel_db() is the default. Without an answer what it recorded stands. */
static const char *route(struct cel_task *task)
{
    cel_router_fn *const *router = task_target(task)->module->router;
    if (!task->is_routed) {
        task->is_routed = true;
        task->database = "default";
        task->database = router ? (*router)(task) : task->database;
    }
    if (!task->database && task->recorded.kind == RECORDED_NOTHING)
        task_record(task, BY_DATABASE, RECORDED_FAIL, "RuntimeError",
                    "the module's router (CEL_ROUTER) named no database");
    return task->database;
}

struct cel_db *cel_db(struct cel_task *task)
{
    const char *name = route(task);
    return name ? cel_db_named(task, name) : NULL;
}

/* --- statements ------------------------------------------------------------------------------- */

int cel_query(struct cel_db *db,
              const char *sql,
              const struct cel_param *params,
              size_t param_count,
              struct cel_rows **ret_rows)
{
    struct cel_error err = {0};
    return database_settle(db, pg_query(db->pg, sql, params, param_count, ret_rows, &err), &err);
}

int cel_begin(struct cel_db *db)
{
    struct cel_error err = {0};
    return is_wrapped(db) ? refuse_own(db)
                          : database_settle(db, pg_begin(db->pg, false, "", NULL, &err), &err);
}

int cel_commit(struct cel_db *db)
{
    struct cel_error err = {0};
    return is_wrapped(db) ? refuse_own(db) : database_settle(db, pg_commit(db->pg, &err), &err);
}

int cel_rollback(struct cel_db *db)
{
    if (is_wrapped(db))
        return refuse_own(db);
    struct cel_error err = {0};
    return database_settle_undo(db, pg_rollback(db->pg, &err), &err);
}

static int savepoint(struct cel_db *db, const char *verb, const char *name)
{
    struct cel_error err = {0};
    return database_settle(db, pg_savepoint(db->pg, verb, name, &err), &err);
}

int cel_savepoint(struct cel_db *db, const char *name)
{
    return savepoint(db, "SAVEPOINT", name);
}

int cel_rollback_to(struct cel_db *db, const char *name)
{
    struct cel_error err = {0};
    int r = pg_savepoint(db->pg, "ROLLBACK TO SAVEPOINT", name, &err);
    return database_settle_undo(db, r, &err);
}

int cel_release(struct cel_db *db, const char *name)
{
    return savepoint(db, "RELEASE SAVEPOINT", name);
}

const char *cel_db_sqlstate(struct cel_db *db)
{
    return pg_sqlstate(db->pg);
}

/* --- around a task ---------------------------------------------------------------------------- */

/* The functions of celeriac.effect are missing: that can be mended, and nothing has run. */
static int lacks_migrations(struct cel_db *db)
{
    return task_recordf(
        db->task, BY_DATABASE, RECORDED_RETRY, "OperationalError",
        "database \"%s\": it lacks Celeriac's tables for CEL_ONCE, or this role has "
        "no right to them (celeriac migrate; docs/postgresql.md)",
        db->name);
}

static bool is_lacking(const struct cel_db *db)
{
    static const char *const states[] = {"3F000", "42883", "42P01", "42501"};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcmp(pg_sqlstate(db->pg), states[i]) == 0)
            return true;
    }
    return false;
}

int databases_begin(struct cel_task *task, struct cel_rows **ret_done)
{
    struct cel_db *db = cel_db(task);
    if (!db)
        return task_recorded_code(task);
    struct cel_error err = {0};
    enum cel_transaction kind = task_target(task)->def->transaction;
    if (kind != CEL_ONCE)
        return database_settle(db, pg_begin(db->pg, kind == CEL_READ_ONLY, "", NULL, &err), &err);
    bool given_up = task->envelope.redelivered;
    int r = effect_begin(db->pg, task->envelope.id, given_up, ret_done, &err);
    return r == PG_E_FAILED && is_lacking(db) ? lacks_migrations(db) : database_settle(db, r, &err);
}

/* Whether the call's effects stand, on a new connection; no run of it is under way any more when that
 * is answered. */
static int ask_for_effect(struct cel_db *db, struct str id, bool *ret_stand, struct cel_error *err)
{
    struct cel_rows *done = NULL;
    pg_reset(db->pg);
    int r = effect_begin(db->pg, id, true, &done, err);
    *ret_stand = done != NULL;
    cel_rows_free(done);
    if (!r && pg_rollback(db->pg, NULL))
        pg_reset(db->pg);
    return r;
}

/* The connection went with the COMMIT. Whether that happened stands in the database, as soon as it
 * can be reached. */
static int look_for_effect(struct cel_db *db, struct str id, struct cel_error *err)
{
    static const struct backoff pause = {100 * USEC_PER_MSEC, 2 * USEC_PER_SEC};
    usec_t end_mono = clock_mono() + LOOK_USEC;
    bool stand;
    int r = ask_for_effect(db, id, &stand, err);
    for (unsigned attempt = 0; r && clock_mono() < end_mono; attempt++) {
        usec_t usec = backoff_delay(&pause, attempt, backoff_random());
        nanosleep(
            &(struct timespec){(time_t)(usec / USEC_PER_SEC), (long)(usec % USEC_PER_SEC * 1000)},
            NULL);
        r = ask_for_effect(db, id, &stand, err);
    }
    if (r || stand)
        return r;
    error_set(err, CEL_E_DATABASE,
              "database \"%s\": the connection was lost before the transaction was committed",
              db->name);
    return PG_E_TRANSIENT;
}

int databases_commit(struct cel_task *task, const struct effect *effect)
{
    struct cel_db *db = find(task, task->database);
    ASSERT(db && db->task == task);
    struct cel_error err = {0};
    bool is_lost = pg_is_lost(db->pg); /* before there was a COMMIT: it says so */
    if (!is_lost && !pg_in_transaction(db->pg))
        return task_record(task, BY_DATABASE, RECORDED_FAIL, "RuntimeError",
                           "the task ended the transaction that it runs in (.transaction)");
    if (!effect || is_lost)
        return database_settle(db, pg_commit(db->pg, &err), &err);
    int r = effect_commit(db->pg, effect, &err);
    if (r && pg_is_lost(db->pg))
        r = look_for_effect(db, effect->id, &err);
    return database_settle(db, r, &err);
}

const char *databases_left_open(const struct cel_task *task)
{
    for (size_t i = 0; i < task->child->database_count; i++) {
        struct cel_db *db = &task->child->databases[i];
        if (db->task && !is_wrapped(db) && pg_in_transaction(db->pg))
            return db->name;
    }
    return NULL;
}

void databases_reset(struct cel_task *task)
{
    for (size_t i = 0; i < task->child->database_count; i++) {
        struct cel_db *db = &task->child->databases[i];
        if (!db->task)
            continue;
        pg_reset(db->pg);
        db->task = NULL;
    }
}
