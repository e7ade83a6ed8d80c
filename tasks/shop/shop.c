/*
 * The shop as a task module: names, parameters and retry rules of its tasks, and its settings.
 */
#include "shop/shop.h"

#include <errno.h>
#include <stdlib.h>

CEL_TASKS({.name = "products.tasks.send_email_notification",
           .run = send_email_notification,
           .params = "subject, message, recipient_list",
           .max_retries = 5,
           .retry_backoff = true,
           .retry_delay_ms = 5000},
          {.name = "products.tasks.update_product_prices",
           .run = update_product_prices,
           .params = "percentage=5, category=null, dry_run=false"},
          {.name = "products.tasks.process_order",
           .run = process_order,
           .params = "order_id",
           .max_retries = 3,
           .retry_delay_ms = 60000,
           .transaction = CEL_TRANSACTION},
          {.name = "products.tasks.send_daily_report",
           .run = send_daily_report,
           .params = "day=null"});

CEL_SETTINGS(
    {"mail_url", "smtp://localhost:25",
     "smtp://host:port, smtps://host:port (encrypted from the first byte), or file:///folder: each "
     "mail becomes a file"},
    {"mail_starttls", "try",
     "of smtp://: no; try: encrypt if the server offers it, without asking who it is; require: "
     "encrypt or do not send, and check the server's certificate; with mail_user, try is require"},
    {"mail_ca_file", "", "file of certificates to trust, PEM; empty: the system's"},
    {"mail_user", "", "SMTP user; empty: no login"},
    {"mail_password", "", "SMTP password"},
    {"mail_from", "shop@localhost", "sender of every mail"},
    {"report_recipients", "shop@localhost", "comma-separated addresses of the daily report"},
    {"report_timezone", "UTC", "the zone whose days the report counts, as PostgreSQL names it"},
    {"low_stock", "5", "units below which the report lists a product"},
    {"order_retry_ms", "60000",
     "delay before an order whose payment could not be taken is tried again"},
    {"gateway_busy_percent", "0", "how often the payment gateway fails for a moment"},
    {"gateway_decline_percent", "0", "how often it declines for good"});

int setting_int(
    struct cel_task *task, const char *name, int64_t min, int64_t max, int64_t *ret_value)
{
    const char *text = cel_setting(task, name);
    char *end;

    errno = 0;
    long long value = text ? strtoll(text, &end, 10) : 0;
    if (!text || end == text || *end || errno || value < min || value > max)
        return cel_failf(task, "ValueError",
                         "setting %s: \"%s\" is not a whole number from %lld to %lld", name,
                         text ? text : "", (long long)min, (long long)max);
    *ret_value = value;
    return CEL_OK;
}
