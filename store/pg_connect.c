/*
 * How a connection is opened: the URI, the hand-shake with a deadline, the words of a refusal without
 * a password, and what must be known of the server behind it.
 */
#include <errno.h>
#include <poll.h>

#include "core/buf.h"
#include "core/mem.h"
#include "store/pg_priv.h"

#define CONNECT_WAIT_USEC (10 * USEC_PER_SEC) /* unless the URI has connect_timeout */

enum { CHECK_INTERVAL_SINCE = 140000 };

/* --- the URI ---------------------------------------------------------------------------------- */

/* Calls `use` for every option that `uri` gives. libpq's own sentences about a URI repeat it with
 * its password, so they are not passed on. */
static int
each_option(const char *uri,
            int (*use)(void *data, const char *key, const char *value, struct cel_error *err),
            void *data,
            struct cel_error *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(uri, &message);
    PQfreemem(message);
    if (!options)
        return error_set(err, CEL_E_CONFIG,
                         "not a PostgreSQL URI (postgresql://user:password@host/name, special "
                         "characters percent-encoded) or key=value list");
    int r = 0;
    for (const PQconninfoOption *option = options; !r && option->keyword; option++) {
        if (option->val)
            r = use(data, option->keyword, option->val, err);
    }
    PQconninfoFree(options);
    return r;
}

static int check_option(void *data, const char *key, const char *value, struct cel_error *err)
{
    (void)data;
    if (strcmp(key, "host") == 0 && strchr(value, '@'))
        return error_set(err, CEL_E_CONFIG, "an @ in the password must be written %%40");
    int64_t seconds;
    if (strcmp(key, "connect_timeout") == 0 && str_parse_i64(str_of(value), &seconds))
        return error_set(err, CEL_E_CONFIG, "connect_timeout is a number of seconds");
    return 0;
}

int pg_uri_check(const char *uri, struct cel_error *err)
{
    return each_option(uri, check_option, NULL, err);
}

static int keep_option(void *data, const char *key, const char *value, struct cel_error *err)
{
    struct pg *pg = data;
    int64_t seconds;
    if (strcmp(key, "connect_timeout") == 0 && !str_parse_i64(str_of(value), &seconds) &&
        seconds > 0 && seconds < 86400)
        pg->connect_wait = (usec_t)seconds * USEC_PER_SEC;
    if (strcmp(key, "target_session_attrs") == 0)
        pg->wants_writable = strcmp(value, "read-write") == 0 || strcmp(value, "primary") == 0;
    if (strcmp(key, "password") == 0 && *value && !pg->password) {
        pg->password = str_dup(str_of(value));
        if (!pg->password)
            return error_no_memory(err);
    }
    return 0;
}

int pg_read_uri(struct pg *pg)
{
    pg->connect_wait = CONNECT_WAIT_USEC;
    return each_option(pg->uri, keep_option, pg, NULL) == -ENOMEM ? -ENOMEM : 0;
}

/* --- the hand-shake --------------------------------------------------------------------------- */

static void ignore_notice(void *data, const PGresult *result)
{
    (void)data;
    (void)result;
}

static PGconn *start_connection(const char *uri)
{
    /* What stands before dbname can be overridden by the URI. */
    static const char *const keys[] = {
        "fallback_application_name", "keepalives_idle", "keepalives_interval",
        "keepalives_count",          "dbname",          NULL};
    const char *const values[] = {"celeriac", "30", "10", "3", uri, NULL};
    return PQconnectStartParams(keys, values, 1);
}

/* Waits for the hand-shake. 0, -ECANCELED, -ETIMEDOUT, -ECONNREFUSED with libpq's message. */
static int finish_connection(struct pg *pg)
{
    struct pg_wait wait = {clock_mono() + pg->connect_wait, true};
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        if (PQstatus(pg->conn) == CONNECTION_BAD)
            return -ECONNREFUSED;
        int r = pg_wait_ready(pg, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, wait);
        if (r)
            return r;
        status = PQconnectPoll(pg->conn);
    }
    return status == PGRES_POLLING_OK ? 0 : -ECONNREFUSED;
}

/* What the server says about itself, asked for after connecting. A process id other than the one that
 * came with the connection is that of a pooler's connection: it is lent for a transaction, so
 * nothing may be set in it that lasts longer. */
static void add_greeting(const struct pg *pg, struct buf *sql)
{
    if (PQserverVersion(pg->conn) >= CHECK_INTERVAL_SINCE)
        buf_addf(sql,
                 "SELECT set_config('client_connection_check_interval', '" PG_CHECK_INTERVAL
                 "', pg_backend_pid() <> %d);",
                 PQbackendPID(pg->conn));
    buf_addf(sql,
             "SELECT pg_backend_pid() <> %d,"
             " extract(epoch FROM current_setting('statement_timeout')::interval) * 1000,"
             " extract(epoch FROM current_setting('lock_timeout')::interval) * 1000",
             PQbackendPID(pg->conn));
}

static int64_t number_at(const PGresult *result, int column)
{
    struct str text = str_of(PQgetvalue(result, 0, column)), whole;
    int64_t value = 0;
    return str_split(&text, '.', &whole) && !str_parse_i64(whole, &value) ? value : 0;
}

/* All of this is a help, not a need: a server that refuses to say serves as a pooler does. Fails only
 * when the connection is gone. */
static int greet(struct pg *pg, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(1024);
    struct pg_wait wait = {clock_mono() + pg->connect_wait, false};
    PGresult *result = NULL;
    add_greeting(pg, &sql);
    pg->is_pooled = true;
    pg->can_check = false;
    if (buf_status(&sql))
        return 0;
    int r = pg_send_and_wait(pg, PQsendQuery(pg->conn, sql.ptr), wait, &result, err);
    if (!r) {
        pg->can_check = PQserverVersion(pg->conn) >= CHECK_INTERVAL_SINCE;
        pg->is_pooled = strcmp(PQgetvalue(result, 0, 0), "f") != 0;
        pg->own = pg->current = (struct pg_timeouts){number_at(result, 1), number_at(result, 2)};
    }
    PQclear(result);
    return pg->conn ? 0 : r;
}

/* The SQLSTATE in a verbose message of libpq's, "... FATAL:  28P01: password ...", or NULL. */
static const char *find_sqlstate(const char *message)
{
    const char *found = NULL;
    for (const char *at = message; (at = strstr(at, ":  ")) != NULL; at += 3) {
        size_t len = strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (len == SQLSTATE_LEN && strncmp(at + 3 + len, ": ", 2) == 0)
            found = at + 3;
    }
    return found;
}

/* What libpq says about a connection that the server refused: the sentence without what verbosity
 * added to it. Sets the SQLSTATE, which libpq tells in no other way. */
static void add_refusal(struct pg *pg, struct buf *buf)
{
    const char *message = PQerrorMessage(pg->conn), *sqlstate = find_sqlstate(message);
    if (!sqlstate) {
        pg_set_sqlstate(pg, PQconnectionNeedsPassword(pg->conn) ? "28P01" : "08001");
        buf_add_c(buf, message);
        return;
    }
    pg_set_sqlstate(pg, sqlstate);
    const char *words = sqlstate + SQLSTATE_LEN + 2, *end = strstr(words, "\nLOCATION:");
    buf_add(buf, message, (size_t)(sqlstate - message));
    buf_add(buf, words, end ? (size_t)(end - words) : strlen(words));
}

static int connect_failure(struct pg *pg, int code, struct cel_error *err)
{
    if (code == -ECANCELED) {
        pg_drop(pg);
        return pg_cancelled(pg, err);
    }
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(MESSAGE_MAX);
    buf_add_c(&buf, "cannot connect: ");
    pg_set_sqlstate(pg, "08001");
    if (code == -ECONNREFUSED)
        add_refusal(pg, &buf);
    else
        buf_add_c(&buf, cel_error_name(code));
    pg_set_error(pg, PG_E_TRANSIENT, err, buf_status(&buf) ? "cannot connect" : buf.ptr);
    if (err && strncmp(pg->sqlstate, "28", 2) == 0)
        err->code = CEL_E_AUTH;
    pg_drop(pg);
    return PG_E_TRANSIENT;
}

int pg_open(struct pg *pg, struct cel_error *err)
{
    if (pg_uri_check(pg->uri, err)) {
        error_wrap(err, "database \"%s\"", pg->name);
        return PG_E_TRANSIENT;
    }
    pg->conn = start_connection(pg->uri);
    if (!pg->conn)
        return pg_set_error(pg, PG_E_TRANSIENT, err, "out of memory");
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
    PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE); /* for find_sqlstate */
    int r = finish_connection(pg);
    if (r)
        return connect_failure(pg, r, err);
    PQsetErrorVerbosity(pg->conn, PQERRORS_DEFAULT);
    PQsetnonblocking(pg->conn, 1);
    pg->opened_mono = clock_mono();
    r = greet(pg, err);
    if (!r)
        pg_set_sqlstate(pg, NULL);
    return r;
}
