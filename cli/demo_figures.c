#include "cli/demo.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/table.h"
#include "core/buf.h"
#include "store/pg.h"

/* The moment at which the result was stored, from the document. */
static usec_t result_done_wall(const struct cel_result *result)
{
    const char *text =
        cel_value_text(cel_value_get(cel_result_document(result), "date_done"), NULL);
    usec_t wall;

    return text && isotime_parse(str_of(text), &wall) == 0 ? wall : 0;
}

static void order_take_result(struct demo_order *order, const struct cel_result *result)
{
    usec_t done_wall = result_done_wall(result);

    order->ended = true;
    order->failed = strcmp(cel_result_state(result), "SUCCESS") != 0;
    order->attempts = cel_value_int(cel_value_get(cel_result_value(result), "attempts"), 0);
    order->latency = done_wall > order->sent_wall ? done_wall - order->sent_wall : 1;
}

int demo_collect(struct cel_client *client, struct demo_figures *figures, struct cel_error *err)
{
    for (size_t i = 0; i < DEMO_ORDERS; i++) {
        struct demo_order *order = &figures->orders[i];
        struct cel_result *result = NULL;
        if (order->ended)
            continue;
        int rc = cel_result_get(client, order->id, &result, err);
        if (rc)
            return rc;
        if (cel_result_ready(result)) {
            order_take_result(order, result);
            figures->ended++;
            figures->failed += order->failed;
        }
        cel_result_free(result);
    }
    return 0;
}

size_t demo_count_mails(const char *folder)
{
    DIR *directory = opendir(folder);
    size_t count = 0;

    if (!directory)
        return 0;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        count += str_ends(str_of(entry->d_name), STR(".eml"));
    closedir(directory);
    return count;
}

void demo_progress(const struct demo_figures *figures, size_t mails)
{
    double seconds = (double)(clock_mono() - figures->begun_mono) / (double)USEC_PER_SEC;

    if (isatty(STDOUT_FILENO)) {
        printf("\r  %5.1f s   orders %3zu/%d   mails %3zu ", seconds, figures->ended, DEMO_ORDERS,
               mails);
        fflush(stdout);
    }
}

static int compare_latency(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;

    return (x > y) - (x < y);
}

static void
row_add(struct table *table, const char *name, enum table_tint tint, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void
row_add(struct table *table, const char *name, enum table_tint tint, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_add_text(table, str_of(name), TINT_PLAIN);
    table_add_text(table, str_of(text), tint);
}

static void add_task_rows(struct table *table, const struct demo_figures *figures)
{
    usec_t latencies[DEMO_ORDERS];
    int64_t attempts = 0;
    size_t retried = 0;

    for (size_t i = 0; i < DEMO_ORDERS; i++) {
        const struct demo_order *order = &figures->orders[i];
        latencies[i] = order->latency;
        retried += order->attempts > 1;
        attempts += order->attempts > 1 ? order->attempts - 1 : 0;
    }
    qsort(latencies, DEMO_ORDERS, sizeof latencies[0], compare_latency);
    row_add(table, "order tasks: SUCCESS / FAILURE", figures->failed ? TINT_WARN : TINT_GOOD,
            "%zu / %zu", figures->ended - figures->failed, figures->failed);
    row_add(table, "orders retried", TINT_PLAIN, "%zu (%lld retries)", retried,
            (long long)attempts);
    row_add(table, "all ended after", TINT_PLAIN, "%.2f s",
            (double)(figures->ended_mono - figures->begun_mono) / (double)USEC_PER_SEC);
    row_add(table, "throughput until 90 % had ended", TINT_PLAIN, "%.0f orders/s",
            0.9 * DEMO_ORDERS * USEC_PER_SEC / (double)latencies[DEMO_ORDERS * 90 / 100]);
    row_add(table, "sent to result, half of them within", TINT_PLAIN, "%.0f ms",
            (double)latencies[DEMO_ORDERS / 2] / 1000);
    row_add(table, "sent to result, 99 % within", TINT_PLAIN, "%.0f ms",
            (double)latencies[DEMO_ORDERS * 99 / 100] / 1000);
}

#define BOOKS                                                                                      \
    "SELECT (SELECT count(*) FROM shop.\"order\" WHERE status = 'processed') AS processed,"        \
    " (SELECT count(*) FROM shop.\"order\" WHERE status = 'cancelled') AS cancelled,"              \
    " (SELECT coalesce(sum(total), 0)::text FROM shop.\"order\" WHERE status = 'processed') AS "   \
    "due,"                                                                                         \
    " (SELECT coalesce(sum(amount), 0)::text FROM shop.payment) AS taken,"                         \
    " (SELECT count(DISTINCT run) FROM shop.price_change) AS price_runs,"                          \
    " (SELECT count(*) FROM shop.price_change) AS prices,"                                         \
    " (SELECT sum(broken) FROM shop.consistency) AS broken"

/* Returns whether the books are right. */
static bool add_book_rows(struct table *table,
                          const struct cel_rows *rows,
                          const struct demo_figures *figures,
                          size_t mails)
{
    int64_t processed = cel_row_int(rows, 0, "processed");
    int64_t cancelled = cel_row_int(rows, 0, "cancelled");
    bool orders = processed + cancelled == (int64_t)(figures->ended - figures->failed);
    bool few_failed = figures->failed * 50 < DEMO_ORDERS; /* 1 in 10,000 has four busy gateways */
    bool revenue = strcmp(cel_row_text(rows, 0, "due"), cel_row_text(rows, 0, "taken")) == 0;
    bool rules = cel_row_int(rows, 0, "broken") == 0;
    bool mailed = (int64_t)mails > processed;

    row_add(table, "orders processed / cancelled", orders ? TINT_GOOD : TINT_BAD, "%lld / %lld",
            (long long)processed, (long long)cancelled);
    row_add(table, "mails: confirmations and reports", mailed ? TINT_GOOD : TINT_BAD,
            "%lld and %lld", (long long)processed, (long long)((int64_t)mails - processed));
    row_add(table, "price updates fired by beat", TINT_PLAIN, "%lld (%lld prices)",
            (long long)cel_row_int(rows, 0, "price_runs"),
            (long long)cel_row_int(rows, 0, "prices"));
    row_add(table, "revenue: orders = payments", revenue ? TINT_GOOD : TINT_BAD, "%s %s %s",
            cel_row_text(rows, 0, "due"), revenue ? "=" : "is not", cel_row_text(rows, 0, "taken"));
    row_add(table, "rows that break a rule of the shop", rules ? TINT_GOOD : TINT_BAD, "%lld",
            (long long)cel_row_int(rows, 0, "broken"));
    return orders && few_failed && revenue && rules && mailed &&
           cel_row_int(rows, 0, "price_runs") > 0;
}

int demo_summary(const struct demo_figures *figures,
                 size_t mails,
                 const char *database_url,
                 struct cel_error *err)
{
    static const struct table_column columns[] = {{"what", "what", false},
                                                  {"figure", "figure", true}};
    struct pg *pg = pg_new("demo", database_url, 0, NULL);
    struct cel_rows *rows = NULL;
    struct table table;

    int rc = pg ? pg_query(pg, BOOKS, NULL, 0, &rows, err) : error_no_memory(err);
    if (rc) {
        pg_free(pg);
        return rc > 0 ? CEL_E_DATABASE : rc;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    add_task_rows(&table, figures);
    bool adds_up = add_book_rows(&table, rows, figures, mails);
    printf("\n\n");
    table_print(&table, stdout);
    printf("%s\n", adds_up ? "The numbers add up." : "THE NUMBERS DO NOT ADD UP.");
    table_deinit(&table);
    cel_rows_free(rows);
    pg_free(pg);
    return adds_up;
}
