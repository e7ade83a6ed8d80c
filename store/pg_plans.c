/*
 * Statements that repeat are prepared, so that the server parses and plans them once: the second time
 * that a connection is given the same text with the same types. Those that were used least recently
 * give way.
 *
 * A statement that only changes its literals is seen once and takes a place; when that was one of a
 * prepared statement, the server is told to forget it, which is a round trip. With more than PLANS_MAX
 * texts in turn none is ever seen twice, and all go as if this file were not.
 */
#include <stdio.h>

#include "core/mem.h"
#include "store/pg_priv.h"

enum { SQL_MAX = 8192, NAME_SIZE = 48 };

static const char *name_of(const struct pg_plan *plan, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, PG_PLAN_PREFIX "%llu", (unsigned long long)plan->number);
    return name;
}

void pg_plan_forget(struct pg_plan *plan)
{
    mem_free(plan->sql);
    mem_free(plan->types);
    *plan = (struct pg_plan){0};
}

void pg_plans_forget(struct pg *pg)
{
    for (size_t i = 0; i < PLANS_MAX; i++)
        pg_plan_forget(&pg->plans.items[i]);
}

static bool is_plan(const struct pg_plan *plan, const char *sql, const Oid *types, size_t count)
{
    return plan->sql && plan->count == count && strcmp(plan->sql, sql) == 0 &&
           (count == 0 || memcmp(plan->types, types, count * sizeof(*types)) == 0);
}

static struct pg_plan *find(struct pg *pg, const char *sql, const Oid *types, size_t count)
{
    for (size_t i = 0; i < PLANS_MAX; i++) {
        if (is_plan(&pg->plans.items[i], sql, types, count))
            return &pg->plans.items[i];
    }
    return NULL;
}

static int run(struct pg *pg, int sent, struct cel_error *err)
{
    PGresult *result = NULL;
    int r =
        pg_send_and_wait(pg, sent, (struct pg_wait){pg_answer_deadline(pg), true}, &result, err);
    PQclear(result);
    return r;
}

/* A place for one more, the server's statement of it closed. */
static int make_room(struct pg *pg, struct pg_plan **ret, struct cel_error *err)
{
    struct pg_plan *oldest = &pg->plans.items[0];
    for (size_t i = 1; i < PLANS_MAX; i++) {
        if (pg->plans.items[i].used < oldest->used)
            oldest = &pg->plans.items[i];
    }
    int r = 0;
    if (oldest->number) {
        char name[NAME_SIZE], sql[NAME_SIZE + 16];
        snprintf(sql, sizeof(sql), "DEALLOCATE %s", name_of(oldest, name));
        r = run(pg, PQsendQuery(pg->conn, sql), err);
    }
    if (r)
        return r;
    pg_plan_forget(oldest);
    *ret = oldest;
    return 0;
}

/* Without memory it is not noted, and will be seen for the first time again. */
static int
note(struct pg *pg, const char *sql, const Oid *types, size_t count, struct cel_error *err)
{
    struct pg_plan *plan;
    int r = make_room(pg, &plan, err);
    if (r)
        return r;
    char *copy = str_dup(str_of(sql));
    Oid *own_types = mem_array(count + 1, sizeof(*own_types));
    if (!copy || !own_types) {
        mem_free(copy);
        mem_free(own_types);
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        own_types[i] = types[i];
    *plan =
        (struct pg_plan){.sql = copy, .types = own_types, .count = count, .used = ++pg->plans.uses};
    return 0;
}

/* A name is never used twice: whether the server knows one that it was interrupted at is not known. */
static int prepare(struct pg *pg, struct pg_plan *plan, struct cel_error *err)
{
    char name[NAME_SIZE];
    plan->number = ++pg->plans.names;
    int r = run(
        pg, PQsendPrepare(pg->conn, name_of(plan, name), plan->sql, (int)plan->count, plan->types),
        err);
    if (r && pg->conn) /* else it is forgotten already */
        pg_plan_forget(plan);
    return r;
}

int pg_plans_send(struct pg *pg,
                  const char *sql,
                  const struct pg_arguments *args,
                  size_t count,
                  int *ret_sent,
                  struct pg_plan **ret_plan,
                  struct cel_error *err)
{
    char name[NAME_SIZE];
    bool has_failed = PQtransactionStatus(pg->conn) == PQTRANS_INERROR; /* it only rolls back */
    bool fits = !pg->is_pooled && !has_failed && strlen(sql) <= SQL_MAX;
    struct pg_plan *plan = fits ? find(pg, sql, args->types, count) : NULL;
    int r = 0;
    if (plan)
        plan->used = ++pg->plans.uses;
    if (plan && !plan->number)
        r = prepare(pg, plan, err);
    else if (!plan && fits)
        r = note(pg, sql, args->types, count, err);
    if (r)
        return r;
    *ret_plan = plan;
    if (plan)
        *ret_sent = PQsendQueryPrepared(pg->conn, name_of(plan, name), (int)count, args->values,
                                        args->lengths, args->formats, 0);
    else
        *ret_sent = PQsendQueryParams(pg->conn, sql, (int)count, args->types, args->values,
                                      args->lengths, args->formats, 0);
    return 0;
}
