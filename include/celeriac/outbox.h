/*
 * Calls inside a transaction of the application's own: published if and only if it is committed.
 *
 *     PQexec(conn, "BEGIN");
 *     ... the order is written ...
 *     cel_send_in(conn, call, NULL, &err);
 *     PQexec(conn, "COMMIT");
 *
 * Needs the tables of `celeriac migrate` in that database, and a `celeriac beat` that relays them to
 * Redis. This header alone needs libpq; link with -lceleriac -lpq. Other languages call the SQL function
 * celeriac.enqueue() (docs/postgresql.md).
 */
#pragma once

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "celeriac/client.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Puts `call` into the outbox of the database behind `conn`, in its transaction if there is one. The
 * call is copied and goes to its own queue, or to "celery". `ret_id` (37 bytes, or NULL) receives its
 * id, or "" when cel_call_id() gave a longer one. `conn` is used as by PQexecParams(), by one thread at a
 * time. 0; the errors of cel_call_message(); CEL_E_DATABASE with the server's sentence, and the transaction
 * has failed as after any failed statement.
 */
static inline int
cel_send_in(PGconn *conn, const struct cel_call *call, char *ret_id, struct cel_error *err)
{
    static const char sql[] = "SELECT celeriac.enqueue_message($1, $2, $3, $4, $5)";
    struct cel_message message;
    struct cel_error own;
    char step[12];
    int code = cel_call_message(call, NULL, &message, err);
    if (code)
        return code;
    snprintf(step, sizeof(step), "%d", message.step);
    const char *values[] = {message.id, message.queue, step, message.text,
                            message.ordered ? "true" : "false"};
    PGresult *result = PQexecParams(conn, sql, 5, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        code = CEL_E_DATABASE;
        if (!err)
            err = &own;
        err->code = code;
        snprintf(err->text, sizeof(err->text), "The call cannot be put into the outbox: %s",
                 PQerrorMessage(conn));
    } else if (ret_id) {
        size_t length = strlen(message.id);
        memcpy(ret_id, length < 37 ? message.id : "", length < 37 ? length + 1 : 1);
    }
    PQclear(result);
    cel_message_free(&message);
    return code;
}

#ifdef __cplusplus
}
#endif
