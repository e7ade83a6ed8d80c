/*
 * One mail over SMTP, by libcurl: one connection a mail, to the server of the setting mail_url.
 */
#pragma once

#include "shop/message.h"
#include "shop/shop.h"

/*
 * Hands `bytes`, the message of `mail`, to the server for all recipients or for none. CEL_OK;
 * CEL_RETRY after a 4xx reply or when the server cannot be reached; CEL_FAIL after a 5xx reply, for
 * settings that cannot be used, for a server that does not encrypt though it must; CEL_CANCELLED.
 */
int smtp_send(struct cel_task *task, const struct mail *mail, const char *bytes, size_t length);
