/*
 * update_product_prices: a change of many prices in short transactions.
 *
 * Each chunk of products is locked, changed and recorded in shop.price_change by one statement, in
 * a transaction of its own. What stands there under this task's id is done, so a run that was cut
 * short (retry, redelivery) goes on where it stopped and never raises a price twice. Should the
 * same run be under way in two places, the later statement on a chunk waits for the earlier, is
 * refused by the key of price_change and looks at the chunk again. All arithmetic is PostgreSQL's
 * numeric, rounded to cents.
 */
#include <stdio.h>
#include <string.h>

#include "shop/shop.h"

#define CHUNK "200"

struct price_run {
    const char *id;         /* the task's */
    const char *percentage; /* decimal text */
    const char *category;   /* slug, or NULL: every one */
    bool dry_run;
};

/* $1 run, $2 percentage, $3 category: the run's products with both prices, without those that it
 * has changed already. */
#define PRICED                                                                                     \
    "SELECT p.id, p.price AS old_price,"                                                           \
    "       round(p.price * (100 + $2::numeric) / 100, 2) AS new_price"                            \
    "  FROM shop.product p"                                                                        \
    " WHERE ($3::text IS NULL"                                                                     \
    "        OR p.category_id = (SELECT id FROM shop.category WHERE slug = $3))"                   \
    "   AND NOT EXISTS"                                                                            \
    "       (SELECT FROM shop.price_change c WHERE c.run = $1 AND c.product_id = p.id)"

#define RUN_PARAMS(run)                                                                            \
    cel_p_text((run)->id), cel_p_text((run)->percentage), cel_p_text((run)->category)

#define CHECK                                                                                      \
    "SELECT $2::numeric > -100 AND $2::numeric <= 1000 AS sane,"                                   \
    "       $3::text IS NULL OR EXISTS (SELECT FROM shop.category WHERE slug = $3) AS known,"      \
    "       CASE WHEN $2::numeric <= 1000 THEN"                                                    \
    "           (SELECT min(p.slug) FROM (" PRICED ") AS priced JOIN shop.product p USING (id)"    \
    "             WHERE new_price >= 100000000) END AS too_dear"

/* The next products after the id $4. */
#define CHANGE_CHUNK                                                                               \
    "WITH chunk AS (" PRICED " AND p.id > $4 ORDER BY p.id LIMIT " CHUNK " FOR UPDATE OF p),"      \
    " changed AS ("                                                                                \
    "  UPDATE shop.product p SET price = chunk.new_price FROM chunk"                               \
    "   WHERE p.id = chunk.id AND chunk.new_price <> chunk.old_price RETURNING p.id),"             \
    " recorded AS ("                                                                               \
    "  INSERT INTO shop.price_change (run, product_id, old_price, new_price)"                      \
    "  SELECT $1, chunk.id, chunk.old_price, chunk.new_price FROM chunk JOIN changed USING (id))"  \
    " SELECT max(id) AS last FROM chunk"

#define TOTALS                                                                                     \
    "SELECT count(*) AS count, coalesce(sum(old_price), 0.00)::text AS old_total,"                 \
    "       coalesce(sum(new_price), 0.00)::text AS new_total"
#define TOTALS_OF_RUN         TOTALS " FROM shop.price_change WHERE run = $1"
#define TOTALS_WITHOUT_CHANGE TOTALS " FROM (" PRICED ") AS priced WHERE new_price <> old_price"

static int run_check(struct cel_task *task, struct cel_db *db, const struct price_run *run)
{
    struct cel_rows *rows;
    int rc = cel_query(db, CHECK, CEL_PARAMS(RUN_PARAMS(run)), &rows);

    if (rc)
        return rc;
    if (!cel_row_bool(rows, 0, "sane"))
        rc = cel_failf(task, "ValueError", "percentage: %s is not above -100 and at most 1000",
                       run->percentage);
    else if (!cel_row_bool(rows, 0, "known"))
        rc = cel_failf(task, "ValueError", "category: there is none with the slug \"%s\"",
                       run->category);
    else if (!cel_row_null(rows, 0, "too_dear"))
        rc = cel_failf(task, "ValueError", "percentage: %s would raise %s above 99999999.99",
                       run->percentage, cel_row_text(rows, 0, "too_dear"));
    cel_rows_free(rows);
    return rc;
}

/* One chunk after `*last`; `*ret_more` is false when nothing was left. */
static int
chunk_change(struct cel_db *db, const struct price_run *run, int64_t *last, bool *ret_more)
{
    struct cel_rows *rows;
    int rc = cel_query(db, CHANGE_CHUNK, CEL_PARAMS(RUN_PARAMS(run), cel_p_int(*last)), &rows);

    *ret_more = true;
    if (rc) /* unique_violation: the same run, elsewhere, has just changed these */
        return strcmp(cel_db_sqlstate(db), "23505") == 0 ? CEL_OK : rc;
    *ret_more = !cel_row_null(rows, 0, "last");
    if (*ret_more)
        *last = cel_row_int(rows, 0, "last");
    cel_rows_free(rows);
    return CEL_OK;
}

static int run_change(struct cel_task *task, struct cel_db *db, const struct price_run *run)
{
    int64_t last = 0;
    bool more = true;

    while (more) {
        if (cel_cancelled(task))
            return CEL_CANCELLED;
        int rc = chunk_change(db, run, &last, &more); /* one statement: its own transaction */
        if (rc)
            return rc;
    }
    return CEL_OK;
}

static int run_report(struct cel_task *task, struct cel_db *db, const struct price_run *run)
{
    struct cel_rows *rows;
    int rc = run->dry_run ? cel_query(db, TOTALS_WITHOUT_CHANGE, CEL_PARAMS(RUN_PARAMS(run)), &rows)
                          : cel_query(db, TOTALS_OF_RUN, CEL_PARAMS(cel_p_text(run->id)), &rows);
    if (rc)
        return rc;
    struct cel_value *result = cel_map();
    if (cel_map_set(result, "count", cel_int(cel_row_int(rows, 0, "count"))) ||
        cel_map_set(result, "old_total", cel_text(cel_row_text(rows, 0, "old_total"))) ||
        cel_map_set(result, "new_total", cel_text(cel_row_text(rows, 0, "new_total"))) ||
        cel_map_set(result, "dry_run", cel_bool(run->dry_run)))
        result = cel_value_free(result); /* cel_return reports it */
    cel_rows_free(rows);
    return cel_return(task, result);
}

int update_product_prices(struct cel_task *task)
{
    struct price_run run = {.id = cel_request(task)->id};

    if (cel_arg_decimal(task, "percentage", &run.percentage) ||
        cel_arg_text(task, "category", &run.category) ||
        cel_arg_bool(task, "dry_run", &run.dry_run))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    if (!db)
        return CEL_RETRY;
    int rc = run_check(task, db, &run);
    if (!rc && !run.dry_run)
        rc = run_change(task, db, &run);
    return rc ? rc : run_report(task, db, &run);
}
