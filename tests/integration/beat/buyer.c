/*
 * An application that enqueues in its own transactions, as a user of libceleriac and libpq writes it:
 *
 *     buyer CONNINFO FIRST COUNT [TASK [PAUSE_US]]
 *
 * Transaction number n = FIRST, FIRST + 1 ... writes n into the table `bought` and sends TASK(n) through the
 * outbox; every second one is rolled back. One whose fate is unknown, because the server went, is looked
 * up. Prints how many were committed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "celeriac/outbox.h"

static PGconn *conn;

static void need_connection(const char *info)
{
    for (int tries = 0; PQstatus(conn) != CONNECTION_OK && tries < 600; tries++) {
        PQfinish(conn);
        conn = PQconnectdb(info);
        if (PQstatus(conn) != CONNECTION_OK)
            usleep(100000);
    }
}

static int is_done(const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    int done = status == PGRES_COMMAND_OK || (status == PGRES_TUPLES_OK && PQntuples(result) > 0);
    PQclear(result);
    return done;
}

/* 1: committed, 0: not, -1: nobody knows. */
static int buy(long n, const char *task)
{
    char sql[80];
    struct cel_error err = {0};
    snprintf(sql, sizeof(sql), "INSERT INTO bought VALUES (%ld)", n);
    if (!is_done("BEGIN"))
        return 0;
    if (!is_done(sql)) {
        is_done("ROLLBACK");
        return 0;
    }
    struct cel_call *call = cel_call_new(task);
    cel_call_arg(call, cel_int(n));
    int status = cel_send_in(conn, call, NULL, &err);
    cel_call_free(call);
    if (status && PQstatus(conn) == CONNECTION_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    if (status)
        return 0;
    if (n % 2) { /* changed its mind */
        is_done("ROLLBACK");
        return 0;
    }
    return is_done("COMMIT") ? 1 : -1;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    const char *info = argv[1], *task = argc > 4 ? argv[4] : "tests.noop";
    long first = atol(argv[2]), count = atol(argv[3]), committed = 0;
    unsigned pause = argc > 5 ? (unsigned)atol(argv[5]) : 0;
    need_connection(info);
    for (long n = first; n < first + count; n++) {
        int fate = buy(n, task);
        need_connection(info);
        if (fate < 0) {
            char sql[80];
            snprintf(sql, sizeof(sql), "SELECT FROM bought WHERE n = %ld", n);
            fate = is_done(sql);
        }
        committed += fate;
        if (pause)
            usleep(pause);
    }
    PQfinish(conn);
    printf("%ld\n", committed);
    return 0;
}
