/*
 * Bare libpq loops, the measure for what Celeriac does in PostgreSQL, and the outbox beside them.
 * Says how fast, as one JSON line.
 *
 *     bench_database MODE COUNT CONNECTIONS CONNINFO
 *
 * COUNT is for all connections together, each of which is a process of its own. Statements that
 * repeat are prepared. In `once` and the single modes each is a transaction (BEGIN, the statements,
 * COMMIT, one after the other), in the bulk ones a thousand are.
 */
#include <celeriac/outbox.h>

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accounts.h"

enum { BULK = 1000, ID_SIZE = 37, CALL_SIZE = 160 };

/* What celeriac.enqueue() writes into its row for this task, and its arguments. */
static const char call_json[] = "{\"args\": [12345], \"task\": \"bench.noop\", \"kwargs\": {}, "
                                "\"options\": {\"queue\": \"bench\"}}";
static const char *const enqueue_values[] = {"bench.noop", "[12345]", "{\"queue\": \"bench\"}"};

static const struct statement {
    const char *name, *sql;
} statements[] = {
    {"update", accounts_sql},
    {"marker",
     "INSERT INTO celeriac.effect (task_id, slot, task, done_at, result, children, sends) "
     "VALUES ($1, celeriac.effect_slot(clock_timestamp()), 'bench.credit', "
     "clock_timestamp(), NULL, '[]', '[]')"},
    {"insert-call", "INSERT INTO plain (id, ordered, call) VALUES ($1, false, $2)"},
    {"insert-calls", "INSERT INTO plain (id, ordered, call) SELECT id, false, call::json "
                     "FROM unnest($1::text[], $2::text[]) AS row(id, call)"},
    {"insert-message",
     "INSERT INTO plain (id, ordered, queue, step, message) VALUES ($1, false, $2, $3, $4)"},
    {"enqueue", "SELECT celeriac.enqueue($1, $2, options => $3)"},
    {"enqueue-many", "SELECT celeriac.enqueue_many($1)"},
};

static void die(const char *text)
{
    fprintf(stderr, "bench_database: %s\n", text);
    exit(1);
}

static void check(PGconn *conn, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(PQerrorMessage(conn));
    PQclear(result);
}

static void run(PGconn *conn, const char *name, int count, const char *const *values)
{
    check(conn, PQexecPrepared(conn, name, count, values, NULL, NULL, 0));
}

static void begin(PGconn *conn)
{
    check(conn, PQexec(conn, "BEGIN"));
}

static void commit(PGconn *conn)
{
    check(conn, PQexec(conn, "COMMIT"));
}

static void make_id(char id[ID_SIZE])
{
    static unsigned made;

    snprintf(id, ID_SIZE, "%08x-0000-4000-8000-%012lx", ++made, (unsigned long)getpid());
}

/* --- tasks whose effects stand once, without the task ------------------------------------------ */

static void update(PGconn *conn)
{
    char account[12];
    const char *values[] = {account};

    snprintf(account, sizeof account, "%ld", random() % ACCOUNTS + 1);
    run(conn, "update", 1, values);
}

static void update_loop(PGconn *conn, int count)
{
    for (int i = 0; i < count; i++) {
        begin(conn);
        update(conn);
        commit(conn);
    }
}

static void marker_loop(PGconn *conn, int count)
{
    char id[ID_SIZE];
    const char *values[] = {id};

    for (int i = 0; i < count; i++) {
        begin(conn);
        update(conn);
        make_id(id);
        run(conn, "marker", 1, values);
        commit(conn);
    }
}

/* --- the outbox, and rows like its own ---------------------------------------------------------- */

/* `each` is run `count` times, `together` of them in a transaction. */
static void in_transactions(PGconn *conn, int count, int together, void (*each)(PGconn *conn))
{
    for (int i = 0; i < count; i++) {
        if (i % together == 0)
            begin(conn);
        each(conn);
        if (i % together == together - 1 || i == count - 1)
            commit(conn);
    }
}

static void insert_call(PGconn *conn)
{
    char id[ID_SIZE];
    const char *values[] = {id, call_json};

    make_id(id);
    run(conn, "insert-call", 2, values);
}

static void enqueue(PGconn *conn)
{
    run(conn, "enqueue", 3, enqueue_values);
}

static struct cel_call *call_make(void)
{
    struct cel_call *call = cel_call_new("bench.noop");

    cel_call_queue(call, "bench");
    cel_call_arg(call, cel_int(12345));
    return call;
}

static void send_in(PGconn *conn)
{
    struct cel_error err;
    struct cel_call *call = call_make();

    if (cel_send_in(conn, call, NULL, &err))
        die(err.text);
    cel_call_free(call);
}

/* The message is written once, and only its row each time. */
static void insert_message(PGconn *conn)
{
    static struct cel_message message;
    struct cel_error err;
    char id[ID_SIZE], step[12];

    if (!message.text) {
        struct cel_call *call = call_make();
        if (cel_call_message(call, NULL, &message, &err))
            die(err.text);
        cel_call_free(call);
    }
    make_id(id);
    snprintf(step, sizeof step, "%d", message.step);
    const char *values[] = {id, message.queue, step, message.text};
    run(conn, "insert-message", 4, values);
}

static void insert_call_single(PGconn *conn, int count)
{
    in_transactions(conn, count, 1, insert_call);
}

static void enqueue_single(PGconn *conn, int count)
{
    in_transactions(conn, count, 1, enqueue);
}

static void insert_message_single(PGconn *conn, int count)
{
    in_transactions(conn, count, 1, insert_message);
}

static void insert_message_bulk(PGconn *conn, int count)
{
    in_transactions(conn, count, BULK, insert_message);
}

static void send_single(PGconn *conn, int count)
{
    in_transactions(conn, count, 1, send_in);
}

static void send_bulk(PGconn *conn, int count)
{
    in_transactions(conn, count, BULK, send_in);
}

/* BULK rows in one statement: two arrays of text. */
static void insert_call_bulk(PGconn *conn, int count)
{
    static char ids[BULK * ID_SIZE + 3], calls[BULK * CALL_SIZE + 3];
    const char *values[] = {ids, calls};

    for (int left = count; left > 0; left -= BULK) {
        char *id = ids, *call = calls;
        for (int i = 0; i < BULK; i++) {
            *id++ = i ? ',' : '{';
            make_id(id);
            id += ID_SIZE - 1;
            *call++ = i ? ',' : '{';
            *call++ = '"';
            for (const char *at = call_json; *at; at++) {
                if (*at == '"')
                    *call++ = '\\';
                *call++ = *at;
            }
            *call++ = '"';
        }
        strcpy(id, "}");
        strcpy(call, "}");
        begin(conn);
        run(conn, "insert-calls", 2, values);
        commit(conn);
    }
}

static void enqueue_bulk(PGconn *conn, int count)
{
    static char calls[BULK * CALL_SIZE];
    const char *values[] = {calls};
    char *at = calls;

    for (int i = 0; i < BULK; i++)
        at += sprintf(at, "%s%s", i ? "," : "[", call_json);
    strcpy(at, "]");
    for (int left = count; left > 0; left -= BULK) {
        begin(conn);
        run(conn, "enqueue-many", 1, values);
        commit(conn);
    }
}

static const struct mode {
    const char *name;
    void (*loop)(PGconn *conn, int count);
} modes[] = {
    {"update", update_loop},
    {"update-marker", marker_loop},
    {"insert-call", insert_call_single},
    {"insert-call-bulk", insert_call_bulk},
    {"enqueue", enqueue_single},
    {"enqueue-bulk", enqueue_bulk},
    {"insert-message", insert_message_single},
    {"insert-message-bulk", insert_message_bulk},
    {"send", send_single},
    {"send-bulk", send_bulk},
};

/* --- processes ---------------------------------------------------------------------------------- */

/* One connection: tells `ready` when it is there, begins when `go` ends. */
static void work(const struct mode *mode, int count, const char *conninfo, int ready, int go)
{
    PGconn *conn = PQconnectdb(conninfo);
    char byte = 0;

    if (PQstatus(conn) != CONNECTION_OK)
        die(PQerrorMessage(conn));
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        check(conn, PQprepare(conn, statements[i].name, statements[i].sql, 0, NULL));
    srandom((unsigned)getpid());
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
        die("no sign to begin");
    mode->loop(conn, count);
    PQfinish(conn);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    const struct mode *mode = modes, *end = modes + sizeof modes / sizeof *modes;
    int ready[2], go[2], status;
    bool failed = false;
    char byte;

    if (argc != 5)
        die("MODE COUNT CONNECTIONS CONNINFO");
    while (mode < end && strcmp(mode->name, argv[1]) != 0)
        mode++;
    int count = atoi(argv[2]), connections = atoi(argv[3]);
    if (mode == end || connections < 1 || pipe(ready) || pipe(go))
        die("unknown mode, or no pipe");
    for (int i = 0; i < connections; i++) {
        if (fork() == 0) {
            close(go[1]);
            work(mode, count / connections, argv[4], ready[1], go[0]);
            _exit(0);
        }
    }
    close(ready[1]);
    for (int i = 0; i < connections; i++)
        if (read(ready[0], &byte, 1) != 1)
            die("a connection failed");
    double begun = now();
    close(go[1]);
    while (wait(&status) > 0)
        failed = failed || status;
    if (failed)
        die("a connection failed");
    printf("{\"per_second\": %.0f}\n", count / connections * connections / (now() - begun));
    return 0;
}
