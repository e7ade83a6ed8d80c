/* A module with a router: its tasks run on the database that their argument names. */
#include <celeriac/task.h>

#include <string.h>

static const char *by_tenant(struct cel_task *task)
{
    const char *tenant;
    if (cel_arg_text(task, "tenant", &tenant))
        return NULL;
    if (strcmp(tenant, "nobody") == 0)
        return NULL;
    if (strcmp(tenant, "wavering") == 0) { /* would say something else if it were asked again */
        static bool was_asked;
        const char *name = was_asked ? "south" : NULL;
        was_asked = true;
        return name;
    }
    if (strcmp(tenant, "broke") == 0) {
        cel_fail(task, "TenantSuspended", "it has not paid");
        return NULL;
    }
    if (strcmp(tenant, "looked up") != 0)
        return tenant;
    struct cel_rows *rows; /* asks the default database where it is */
    struct cel_db *db = cel_db(task);
    if (!db ||
        cel_query(db, "SELECT current_database() = 'celeriac' AS is_default", CEL_NO_PARAMS, &rows))
        return NULL;
    bool is_default = cel_row_bool(rows, 0, "is_default");
    cel_rows_free(rows);
    return is_default ? "south" : "default";
}

/* Writes a row; returns the name of the database. */
static int run(struct cel_task *task)
{
    struct cel_db *db = cel_db(task);
    struct cel_rows *rows;
    if (!db)
        db = cel_db(task); /* in vain: a run has one answer */
    if (!db)
        return CEL_FAIL;
    int r = cel_query(db, "INSERT INTO visit VALUES (1) RETURNING current_database() AS name",
                      CEL_NO_PARAMS, &rows);
    if (r)
        return r;
    cel_return(task, cel_text(cel_row_text(rows, 0, "name")));
    cel_rows_free(rows);
    return CEL_OK;
}

static int commit(struct cel_task *task)
{
    return cel_commit(cel_db(task));
}

CEL_TASKS(
    {.name = "routed.run", .run = run, .params = "tenant"},
    {.name = "routed.in_transaction",
     .run = run,
     .params = "tenant",
     .transaction = CEL_TRANSACTION},
    {.name = "routed.once", .run = run, .params = "tenant", .transaction = CEL_ONCE},
    {.name = "routed.commit", .run = commit, .params = "tenant", .transaction = CEL_TRANSACTION});
CEL_ROUTER(by_tenant);
