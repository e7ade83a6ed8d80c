/*
 * Base64 with the standard alphabet and padding (RFC 4648): bodies on the wire, bytes in JSON.
 */
#pragma once

#include "core/buf.h"

/* Appends the text of `bytes`; failures stick in `buf`. */
void base64_add(struct buf *buf, struct str bytes);

/* Appends the bytes of `text`; line ends inside it are skipped, as some encoders write them.
 * CEL_E_FORMAT for any other text, with nothing appended; or the status of `buf`. */
int base64_decode(struct buf *buf, struct str text) MUST_CHECK;
