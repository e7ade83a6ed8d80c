/*
 * What stands between the connection (pg.c), what goes in (pg_params.c), what comes out (pg_rows.c) and
 * COPY (pg_copy.c). Only these include it.
 */
#pragma once

#include <libpq-fe.h>

#include "store/pg.h"

/* Parameters as the arrays that libpq wants; they borrow the texts of `params`. */
struct pg_arguments {
    const char **values;
    char **owned; /* those that were made here */
    int *lengths, *formats;
    Oid *types;
    size_t count;
};
/* 0; -ENOMEM; -EINVAL for too many parameters or one that cannot be sent. */
int pg_arguments_init(struct pg_arguments *args,
                      const struct cel_param *params,
                      size_t count) MUST_CHECK;
void pg_arguments_deinit(struct pg_arguments *args);

bool pg_param_is_null(const struct cel_param *param);
/* Appends a parameter that is not NULL as the text that its type reads. What has no such text sticks
 * in `buf`. */
void pg_add_param(struct buf *buf, const struct cel_param *param);

/* Rows around `result`, which is cleared when memory is short; then NULL. */
struct cel_rows *pg_rows_adopt(PGresult *result);
