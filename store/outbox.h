/*
 * The outbox (sql/0002_outbox.sql) as its relay sees it. Blocking, like pg.h, with its conditions: the
 * caller has a thread to spare.
 *
 *     outbox_open   identity, and word of new rows (LISTEN), once a connection
 *     outbox_take   begins a transaction and locks rows
 *     outbox_end    deletes those that were published, marks those that cannot be, commits
 */
#pragma once

#include "store/pg.h"

enum { OUTBOX_IDENTITY_SIZE = 37 };
/* `identity` says which of several databases it is. */
int outbox_open(struct pg *pg,
                char identity[OUTBOX_IDENTITY_SIZE],
                struct cel_error *err) MUST_CHECK;
/* `*ret_rows` is freed with cel_rows_free(). */
int outbox_take(struct pg *pg, size_t most, struct cel_rows **ret_rows, struct cel_error *err)
    MUST_CHECK;

struct outbox_row {
    int64_t number;
    struct str id;
    usec_t created_wall;
    struct str call;           /* JSON: task, args, kwargs, options; or, when absent: */
    struct str queue, message; /* as it goes to Redis */
    int64_t step;
};
/* Borrowed from `rows`. */
struct outbox_row outbox_row(const struct cel_rows *rows, size_t i);

struct outbox_end {
    int64_t number;
    const char *refused; /* why it cannot be published; NULL: it was */
};
int outbox_end(struct pg *pg, const struct outbox_end *ends, size_t count, struct cel_error *err)
    MUST_CHECK;
