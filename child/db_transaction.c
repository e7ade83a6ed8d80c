/* A function in a transaction of its own, or behind a savepoint (celeriac/db.h). */
#include "child/task.h"

/* One name serves all depths: SQL means the innermost. */
static const char savepoint[] = "cel_transaction";

/* Has the server undo what is open. Its success does not clear what made it necessary. A connection
 * that is lost has undone all of it. */
static int undo(struct cel_db *db, bool nested)
{
    if (!pg_in_transaction(db->pg))
        return 0;
    if (!nested)
        return cel_rollback(db);
    int r = cel_rollback_to(db, savepoint);
    if (r)
        return r;
    struct cel_error err = {0};
    int condition = pg_savepoint(db->pg, "RELEASE SAVEPOINT", savepoint, &err);
    return database_settle_undo(db, condition, &err);
}

static int conclude(struct cel_db *db, bool nested)
{
    if (!pg_in_transaction(db->pg) && !pg_is_lost(db->pg))
        return task_record(db->task, BY_DATABASE, RECORDED_FAIL, "RuntimeError",
                           "the function ended the transaction that it runs in (cel_transaction)");
    return nested ? cel_release(db, savepoint) : cel_commit(db);
}

int cel_transaction(struct cel_db *db, cel_transaction_fn *fn, void *data)
{
    bool nested = pg_in_transaction(db->pg);
    int r = nested ? cel_savepoint(db, savepoint) : cel_begin(db);
    if (r)
        return r;
    r = fn(db, data);
    if (!r)
        r = conclude(db, nested);
    if (!r)
        return 0;
    int failed = undo(db, nested);
    return failed ? failed : r;
}
