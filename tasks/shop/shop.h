/*
 * The shop's task functions. Each is one subject, in a file of its own; shop.c registers them.
 */
#pragma once

#include <celeriac/task.h>

int process_order(struct cel_task *task);           /* orders.c */
int update_product_prices(struct cel_task *task);   /* prices.c */
int send_daily_report(struct cel_task *task);       /* report.c */
int send_email_notification(struct cel_task *task); /* mail.c */

/* A setting declared in shop.c as a whole number; a FAILURE that names it otherwise. */
int setting_int(
    struct cel_task *task, const char *name, int64_t min, int64_t max, int64_t *ret_value);
