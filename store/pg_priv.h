/*
 * What stands between the connection (pg.c) and the values that go in and come out (pg_values.c).
 * Only these two include it.
 */
#pragma once

#include <libpq-fe.h>

#include "store/pg.h"

/* Parameters as the arrays that libpq wants; they borrow the texts of `params`. */
struct pg_arguments {
    const char **values;
    int *lengths, *formats;
    Oid *types;
    char (*numbers)[32]; /* integers and floats as text */
};
/* 0; -ENOMEM; -EINVAL for too many parameters or one that cannot be sent. */
int pg_arguments_init(struct pg_arguments *args,
                      const struct cel_param *params,
                      size_t count) MUST_CHECK;
void pg_arguments_deinit(struct pg_arguments *args);

/* Rows around `result`, which is cleared when memory is short; then NULL. */
struct cel_rows *pg_rows_adopt(PGresult *result);
