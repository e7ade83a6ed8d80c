/*
 * A command as it stands on the wire: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". Failures stick in the
 * buffer (core/buf.h): CEL_E_LIMIT for a command that no server takes.
 */
#pragma once

#include "core/buf.h"

/* Begins a command of `count` words, its name included. `payload` is a guess of the bytes of all of
 * them; a good one spares a second allocation. */
struct buf write_begin(size_t count, size_t payload);
/* Begins another one behind it. */
void write_next(struct buf *buf, size_t count);
void write_arg(struct buf *buf, struct str arg);
void write_u64(struct buf *buf, uint64_t number);
/* A word made in place: begun, added to with buf_add and its like, ended when its length is known.
 */
size_t write_open(struct buf *buf);
void write_close(struct buf *buf, size_t start);
