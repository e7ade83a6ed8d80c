/*
 * send_daily_report: one day in figures, as text with a CSV file attached. All figures, and the
 * quoting of the CSV, are SQL's, read in one snapshot that is over before the mail goes out; a day
 * is a day of the zone in the setting report_timezone, 23 to 25 hours long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shop/mail.h"
#include "shop/shop.h"

/* $1 day, $2 zone: orders that were processed on that day. */
#define OF_THE_DAY                                                                                 \
    " o.processed_at >= ($1::date)::timestamp AT TIME ZONE $2"                                     \
    " AND o.processed_at < ($1::date + 1)::timestamp AT TIME ZONE $2"

#define FIGURES                                                                                    \
    "SELECT count(*) AS orders, coalesce(sum(p.amount), 0.00)::text AS revenue"                    \
    "  FROM shop.\"order\" o JOIN shop.payment p ON p.order_id = o.id WHERE" OF_THE_DAY

#define TOP_PRODUCTS                                                                               \
    "SELECT p.name, sum(i.quantity) AS sold, sum(i.quantity * i.unit_price)::text AS revenue,"     \
    "       '\"' || replace(p.name, '\"', '\"\"') || '\"' AS quoted"                               \
    "  FROM shop.\"order\" o JOIN shop.order_item i ON i.order_id = o.id"                          \
    "  JOIN shop.product p ON p.id = i.product_id"                                                 \
    " WHERE" OF_THE_DAY " GROUP BY p.id ORDER BY sold DESC, p.name LIMIT 10"

#define LOW_STOCK                                                                                  \
    "SELECT name, stock, count(*) OVER () AS products FROM shop.product"                           \
    " WHERE stock < $1 ORDER BY stock, name LIMIT 20"

/* Without a day it is yesterday; the answer is an ISO date. With a day, `today` still has the zone
 * checked. */
#define THE_DAY                                                                                    \
    "SELECT coalesce($1::date, today - 1)::text AS day, today"                                     \
    "  FROM (SELECT (now() AT TIME ZONE $2)::date AS today) AS clock"

enum { DAY_SIZE = 11 };

struct report {
    char wanted[DAY_SIZE]; /* the argument; empty: yesterday */
    char day[DAY_SIZE];
    const char *zone;
    int64_t low_stock;
    FILE *text, *csv;
    int64_t orders;
    char revenue[32];
};

/* --- reading ---------------------------------------------------------------------------------- */

/* A date, or its midnight: so old Celery writes a date. */
static int day_read(struct cel_task *task, struct report *report)
{
    const char *text;

    if (cel_arg_text(task, "day", &text))
        return CEL_FAIL;
    if (!text)
        return CEL_OK;
    snprintf(report->wanted, sizeof report->wanted, "%s", text);
    struct cel_value *date = cel_typed(CEL_DATE, report->wanted);
    bool rest = strlen(text) >= DAY_SIZE && strcmp(text + DAY_SIZE - 1, "T00:00:00") != 0;
    bool good = date && !rest;
    cel_value_free(date);
    return good ? CEL_OK
                : cel_failf(task, "ValueError", "day: \"%s\" is not a date like 2024-02-29", text);
}

static int day_find(struct cel_task *task, struct cel_db *db, struct report *report)
{
    struct cel_rows *rows;
    const char *wanted = report->wanted[0] ? report->wanted : NULL;
    int rc =
        cel_query(db, THE_DAY, CEL_PARAMS(cel_p_text(wanted), cel_p_text(report->zone)), &rows);

    if (rc && strcmp(cel_db_sqlstate(db), "22023") == 0) /* invalid_parameter_value */
        return cel_failf(task, "ValueError",
                         "setting report_timezone: PostgreSQL knows no zone \"%s\"", report->zone);
    if (rc)
        return rc;
    snprintf(report->day, sizeof report->day, "%s", cel_row_text(rows, 0, "day"));
    cel_rows_free(rows);
    return CEL_OK;
}

static int figures_write(struct cel_db *db, struct report *report)
{
    struct cel_rows *rows;
    int rc = cel_query(db, FIGURES, CEL_PARAMS(cel_p_text(report->day), cel_p_text(report->zone)),
                       &rows);

    if (rc)
        return rc;
    report->orders = cel_row_int(rows, 0, "orders");
    snprintf(report->revenue, sizeof report->revenue, "%s", cel_row_text(rows, 0, "revenue"));
    fprintf(report->text, "Report for %s (%s)\n\nOrders processed: %lld\nRevenue:          %s\n",
            report->day, report->zone, (long long)report->orders, report->revenue);
    cel_rows_free(rows);
    return CEL_OK;
}

static int products_write(struct cel_db *db, struct report *report)
{
    struct cel_rows *rows;
    int rc = cel_query(db, TOP_PRODUCTS,
                       CEL_PARAMS(cel_p_text(report->day), cel_p_text(report->zone)), &rows);

    if (rc)
        return rc;
    fprintf(report->text, "\nTop products\n");
    fprintf(report->csv, "product,sold,revenue\r\n");
    for (size_t row = 0; row < cel_rows_count(rows); row++) {
        fprintf(report->text, "  %6lld  %12s  %s\n", (long long)cel_row_int(rows, row, "sold"),
                cel_row_text(rows, row, "revenue"), cel_row_text(rows, row, "name"));
        fprintf(report->csv, "%s,%lld,%s\r\n", cel_row_text(rows, row, "quoted"),
                (long long)cel_row_int(rows, row, "sold"), cel_row_text(rows, row, "revenue"));
    }
    cel_rows_free(rows);
    return CEL_OK;
}

static int low_stock_write(struct cel_db *db, struct report *report)
{
    struct cel_rows *rows;
    int rc = cel_query(db, LOW_STOCK, CEL_PARAMS(cel_p_int(report->low_stock)), &rows);

    if (rc)
        return rc;
    size_t shown = cel_rows_count(rows);
    int64_t products = shown > 0 ? cel_row_int(rows, 0, "products") : 0;
    fprintf(report->text, "\nLow stock (below %lld): %lld products\n", (long long)report->low_stock,
            (long long)products);
    for (size_t row = 0; row < shown; row++)
        fprintf(report->text, "  %6lld  %s\n", (long long)cel_row_int(rows, row, "stock"),
                cel_row_text(rows, row, "name"));
    if (products > (int64_t)shown)
        fprintf(report->text, "  and %lld more\n", (long long)(products - (int64_t)shown));
    cel_rows_free(rows);
    return CEL_OK;
}

/* All of it in one snapshot. A transaction that an error leaves open ends with the task. */
static int report_write(struct cel_task *task, struct cel_db *db, struct report *report)
{
    int rc = cel_begin(db);

    if (!rc)
        rc = cel_query(db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                       CEL_NO_PARAMS, NULL);
    if (!rc)
        rc = day_find(task, db, report);
    if (!rc)
        rc = figures_write(db, report);
    if (!rc)
        rc = products_write(db, report);
    if (!rc)
        rc = low_stock_write(db, report);
    return rc ? rc : cel_commit(db);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Cuts the comma-separated setting, in place, into `list`; returns how many there are, of which
 * the first `max` stand in the list. */
static size_t recipients_split(char *text, const char **list, size_t max)
{
    size_t count = 0;
    char *rest = text;

    for (char *part = strsep(&rest, ","); part; part = strsep(&rest, ",")) {
        part += strspn(part, " \t");
        size_t length = strlen(part);
        while (length > 0 && strchr(" \t", part[length - 1]))
            part[--length] = 0;
        if (length > 0 && count++ < max)
            list[count - 1] = part;
    }
    return count;
}

static int
report_send(struct cel_task *task, const struct report *report, const char *text, const char *csv)
{
    const char *recipients[MAIL_RECIPIENTS_MAX];
    char subject[64], file_name[64];
    char *setting = strdup(cel_setting(task, "report_recipients"));

    if (!setting)
        return cel_fail(task, "MemoryError", "no memory for the recipients");
    snprintf(subject, sizeof subject, "Daily report %s", report->day);
    snprintf(file_name, sizeof file_name, "top-products-%s.csv", report->day);
    struct mail mail = {
        .id = cel_request(task)->id,
        .from = cel_setting(task, "mail_from"),
        .subject = subject,
        .text = text,
        .recipients = recipients,
        .recipient_count = recipients_split(setting, recipients, MAIL_RECIPIENTS_MAX),
        .recipients_place = "setting report_recipients",
        .attachment = csv,
        .attachment_name = file_name,
    };
    int rc =
        mail.recipient_count > MAIL_RECIPIENTS_MAX
            ? cel_failf(task, "ValueError", "setting report_recipients: %zu addresses, at most %d",
                        mail.recipient_count, MAIL_RECIPIENTS_MAX)
            : mail_deliver(task, &mail);
    free(setting);
    return rc;
}

static int report_return(struct cel_task *task, const struct report *report)
{
    struct cel_value *result = cel_map();

    if (cel_map_set(result, "day", cel_text(report->day)) ||
        cel_map_set(result, "orders", cel_int(report->orders)) ||
        cel_map_set(result, "revenue", cel_text(report->revenue)))
        result = cel_value_free(result); /* cel_return reports it */
    return cel_return(task, result);
}

int send_daily_report(struct cel_task *task)
{
    struct report report = {.zone = cel_setting(task, "report_timezone")};
    char *text = NULL, *csv = NULL;
    size_t text_length, csv_length;

    if (day_read(task, &report) || setting_int(task, "low_stock", 0, INT32_MAX, &report.low_stock))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    if (!db)
        return CEL_RETRY;
    report.text = open_memstream(&text, &text_length);
    report.csv = open_memstream(&csv, &csv_length);
    int rc = report.text && report.csv ? report_write(task, db, &report)
                                       : cel_fail(task, "MemoryError", "no memory for the report");
    /* The texts are whole only after fclose, which fails when memory was short. */
    bool whole = report.text && fclose(report.text) == 0;
    whole = report.csv && fclose(report.csv) == 0 && whole;
    if (!rc)
        rc = whole ? report_send(task, &report, text, csv)
                   : cel_fail(task, "MemoryError", "no memory for the report");
    free(text);
    free(csv);
    return rc ? rc : report_return(task, &report);
}
