/*
 * Delivery of a mail, by SMTP (smtp.h) or into a folder, as the setting mail_url says.
 *
 * A mail can go out twice when the worker dies between the server's answer and the record of it.
 * Both have the same Message-ID, made of the task's id; in a folder the second replaces the first.
 */
#pragma once

#include "shop/message.h"
#include "shop/shop.h"

enum { MAIL_RECIPIENTS_MAX = 100 };

/*
 * Checks, builds and delivers `mail` to all its recipients or to none. CEL_OK; CEL_RETRY after a
 * 4xx reply or without a connection; CEL_FAIL after a 5xx reply or for a mail that may not be sent;
 * CEL_CANCELLED.
 */
int mail_deliver(struct cel_task *task, const struct mail *mail);
