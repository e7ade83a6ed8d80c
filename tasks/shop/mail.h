/*
 * Delivery of a mail, by SMTP (libcurl) or into a folder, as the settings say.
 */
#pragma once

#include "shop/message.h"
#include "shop/shop.h"

/*
 * Checks, builds and delivers `mail` to all its recipients or to none. CEL_OK; CEL_RETRY after a
 * 4xx answer or without a connection; CEL_FAIL after a 5xx answer or for a mail that may not be
 * sent; CEL_CANCELLED.
 */
int mail_deliver(struct cel_task *task, const struct mail *mail);
