/*
 * Tasks for tests: one for each thing that a task can do, or can do wrong. Built like the module of
 * a stranger: nothing but the public headers.
 */
#include <celeriac/task.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int noop(struct cel_task *task)
{
    (void)task;
    return CEL_OK;
}

static int add(struct cel_task *task)
{
    int64_t x, y, z = 0;
    if (cel_arg_int(task, "x", &x) || cel_arg_int(task, "y", &y))
        return CEL_FAIL;
    if (cel_value_type(cel_arg_value(task, "z")) != CEL_NULL && cel_arg_int(task, "z", &z))
        return CEL_FAIL;
    return cel_return(task, cel_int(x + y + z));
}

static int echo(struct cel_task *task)
{
    struct cel_value *both = cel_list();
    cel_list_add(both, cel_value_dup(cel_arg_value(task, "args")));
    cel_list_add(both, cel_value_dup(cel_arg_value(task, "kwargs")));
    return cel_return(task, both);
}

/* Without .params: what was sent, and one argument by name. */
static int raw(struct cel_task *task)
{
    const char *text;
    struct cel_value *all = cel_list();
    cel_list_add(all, cel_value_dup(cel_args(task)));
    cel_list_add(all, cel_value_dup(cel_kwargs(task)));
    if (cel_arg_text(task, "text", &text)) {
        cel_value_free(all);
        return CEL_FAIL;
    }
    cel_list_add(all, cel_text(text));
    return cel_return(task, all);
}

/* Reads `value` as `type` says, and returns what it got. */
static int read_as(struct cel_task *task)
{
    const char *type, *text = NULL;
    int64_t integer;
    double number;
    bool flag;
    if (cel_arg_text(task, "type", &type))
        return CEL_FAIL;
    if (strcmp(type, "int") == 0)
        return cel_arg_int(task, "value", &integer) ? CEL_FAIL : cel_return(task, cel_int(integer));
    if (strcmp(type, "float") == 0)
        return cel_arg_float(task, "value", &number) ? CEL_FAIL
                                                     : cel_return(task, cel_float(number));
    if (strcmp(type, "bool") == 0)
        return cel_arg_bool(task, "value", &flag) ? CEL_FAIL : cel_return(task, cel_bool(flag));
    if (strcmp(type, "decimal") == 0)
        return cel_arg_decimal(task, "value", &text) ? CEL_FAIL : cel_return(task, cel_text(text));
    if (strcmp(type, "missing") == 0)
        return cel_arg_text(task, "no_such_parameter", &text);
    if (cel_arg_text(task, "value", &text))
        return CEL_FAIL;
    return cel_return(task, text ? cel_text(text) : cel_null());
}

/* A map with one value of every type. */
static int types(struct cel_task *task)
{
    struct cel_value *map = cel_map(), *list = cel_list(), *inner = cel_map();
    bool with_bytes;
    if (cel_arg_bool(task, "with_bytes", &with_bytes))
        return CEL_FAIL;
    cel_map_set(map, "null", cel_null());
    cel_map_set(map, "true", cel_bool(true));
    cel_map_set(map, "int", cel_int(INT64_MIN));
    cel_map_set(map, "bigint", cel_typed(CEL_BIGINT, "123456789012345678901234567890"));
    cel_map_set(map, "float", cel_float(0.1));
    cel_map_set(map, "whole", cel_float(1));
    cel_map_set(map, "text", cel_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\xb1 \"quoted\"\n"));
    cel_map_set(map, "decimal", cel_typed(CEL_DECIMAL, "1.10"));
    cel_map_set(map, "datetime", cel_typed(CEL_DATETIME, "2024-02-29T12:00:00+00:00"));
    cel_map_set(map, "date", cel_typed(CEL_DATE, "2024-02-29"));
    cel_map_set(map, "time", cel_typed(CEL_TIME, "01:02:03"));
    cel_map_set(map, "uuid", cel_typed(CEL_UUID, "00000000-0000-0000-0000-000000000005"));
    cel_list_add(list, cel_int(1));
    cel_list_add(list, cel_list());
    cel_map_set(map, "list", list);
    cel_map_set(inner, "a", cel_map());
    cel_map_set(map, "map", inner);
    if (with_bytes)
        cel_map_set(map, "bytes", cel_bytes("\xff\x00", 2));
    return cel_return(task, map);
}

static int large(struct cel_task *task)
{
    int64_t size;
    if (cel_arg_int(task, "size", &size))
        return CEL_FAIL;
    char *text = malloc((size_t)size + 1);
    if (!text)
        return cel_fail(task, "MemoryError", "no memory");
    memset(text, 'x', (size_t)size);
    struct cel_value *value = cel_text_n(text, (size_t)size);
    free(text);
    return cel_return(task, value);
}

/* --- ends ------------------------------------------------------------------------------------- */

static int fail(struct cel_task *task)
{
    const char *type, *text;
    if (cel_arg_text(task, "type", &type) || cel_arg_text(task, "text", &text))
        return CEL_FAIL;
    return cel_fail(task, type, text);
}

/* `end` "retry": asks for a retry with that exception. */
static int fail_args(struct cel_task *task)
{
    const char *type, *end;
    if (cel_arg_text(task, "type", &type) || cel_arg_text(task, "end", &end))
        return CEL_FAIL;
    struct cel_value *args = cel_value_dup(cel_arg_value(task, "args"));
    if (strcmp(end, "bytes") == 0)
        cel_list_add(args, cel_bytes("\xff\x00", 2));
    int r = cel_fail_args(task, type, args);
    return strcmp(end, "retry") == 0 ? cel_retry(task, 0, NULL) : r;
}

/* Retries until the call has been retried `max` times; returns that count. */
static int retry(struct cel_task *task)
{
    int64_t countdown_ms, max, retries = cel_request(task)->retries;
    if (cel_arg_int(task, "countdown_ms", &countdown_ms) || cel_arg_int(task, "max", &max))
        return CEL_FAIL;
    if (retries >= max)
        return cel_return(task, cel_int(retries));
    return cel_retryf(task, countdown_ms, "attempt %lld of %lld", (long long)retries,
                      (long long)max);
}

/* Waits, then asks for one retry. */
static int retry_late(struct cel_task *task)
{
    int64_t ms;
    if (cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    int r = cel_request(task)->retries ? CEL_OK : cel_sleep_ms(task, ms);
    return r ? r : retry(task);
}

/* Asks for a retry for ever; .max_retries ends it. */
static int retry_always(struct cel_task *task)
{
    const char *type, *text;
    int64_t countdown_ms;
    if (cel_arg_text(task, "type", &type) || cel_arg_text(task, "text", &text) ||
        cel_arg_int(task, "countdown_ms", &countdown_ms))
        return CEL_FAIL;
    if (type)
        cel_fail(task, type, text); /* the exception that stands for the retry */
    return cel_retry(task, countdown_ms, type ? NULL : text);
}

/* Appends one byte to a file; returns how many there are, 0: it cannot be written. */
static int64_t leave_mark(const char *path)
{
    FILE *file = fopen(path, "a");
    if (!file)
        return 0;
    fputc('x', file);
    int64_t marks = ftell(file);
    fclose(file);
    return marks;
}

/* Rejects the call until it was run `until` times, which the file tells. */
static int reject(struct cel_task *task)
{
    const char *reason, *path;
    bool requeue;
    int64_t until, runs;
    if (cel_arg_text(task, "reason", &reason) || cel_arg_bool(task, "requeue", &requeue) ||
        cel_arg_int(task, "until", &until) || cel_arg_text(task, "path", &path))
        return CEL_FAIL;
    runs = path ? leave_mark(path) : 1;
    return runs > until ? cel_return(task, cel_int(runs)) : cel_reject(task, reason, requeue);
}

/* Tells a state of its own. */
static int state(struct cel_task *task)
{
    const char *name;
    if (cel_arg_text(task, "name", &name))
        return CEL_FAIL;
    struct cel_value *meta = cel_map();
    cel_map_set(meta, "bytes", cel_int(5));
    int r = cel_state(task, name, meta);
    return r ? cel_failf(task, "ValueError", "cel_state returned %d", r)
             : cel_sleep_ms(task, cel_value_int(cel_arg_value(task, "ms"), 0));
}

/* Returns whatever number it is given. */
static int return_code(struct cel_task *task)
{
    int64_t code;
    if (cel_arg_int(task, "code", &code))
        return CEL_FAIL;
    return (int)code;
}

static int crash(struct cel_task *task)
{
    const char *how;
    if (cel_arg_text(task, "how", &how))
        return CEL_FAIL;
    if (strcmp(how, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL); /* as without a sanitizer */
        raise(SIGSEGV);
    }
    if (strcmp(how, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    if (strcmp(how, "exit0") == 0)
        _exit(0);
    if (strcmp(how, "exit3") == 0)
        exit(3);
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGKILL);
    for (volatile unsigned long turns = 0; strcmp(how, "loop") == 0; turns++) {
    }
    return cel_fail(task, "ValueError", "how: segv, abort, exit0, exit3, kill, loop");
}

/* --- time ------------------------------------------------------------------------------------- */

static int sleep_ms(struct cel_task *task)
{
    int64_t ms;
    if (cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    return cel_sleep_ms(task, ms);
}

/* Says that it has begun, waits `ms`, and deals with the soft time limit as `how` says. */
static int soft(struct cel_task *task)
{
    int64_t ms;
    const char *how;
    if (cel_arg_int(task, "ms", &ms) || cel_arg_text(task, "how", &how))
        return CEL_FAIL;
    int struck = 0;
    if (cel_progress(task, cel_text("begun")))
        return cel_fail(task, "RuntimeError", "no progress");
    if (strcmp(how, "busy") == 0) {
        while (!cel_cancelled(task)) {
        }
        struck = CEL_CANCELLED;
    } else {
        struck = cel_sleep_ms(task, ms);
    }
    if (!struck)
        return cel_return(task, cel_text("not struck"));
    cel_log(task, CEL_LOG_INFO, "cleaning up");
    if (cel_sleep_ms(task, 20)) /* told once: cleaning up may wait */
        return cel_fail(task, "RuntimeError", "told twice");
    if (strcmp(how, "caught") == 0)
        return cel_return(task, cel_text("cleaned up"));
    if (strcmp(how, "failed") == 0)
        return CEL_FAIL;
    if (strcmp(how, "own") == 0)
        return cel_fail(task, "TimeoutError", "my own words");
    return CEL_CANCELLED;
}

static int progress(struct cel_task *task)
{
    int64_t steps, ms;
    if (cel_arg_int(task, "steps", &steps) || cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    for (int64_t done = 1; done <= steps; done++) {
        struct cel_value *meta = cel_map();
        cel_map_set(meta, "done", cel_int(done));
        cel_map_set(meta, "of", cel_int(steps));
        if (cel_progress(task, meta))
            return cel_fail(task, "RuntimeError", "no progress");
        if (cel_sleep_ms(task, ms))
            return CEL_CANCELLED;
    }
    return cel_return(task, cel_int(steps));
}

/* --- surroundings ----------------------------------------------------------------------------- */

/* Sends `name` `count` times with `args`; then ends as `end` says. Returns the ids. */
static int send(struct cel_task *task)
{
    const char *name, *end;
    int64_t count, priority;
    if (cel_arg_text(task, "name", &name) || cel_arg_text(task, "end", &end) ||
        cel_arg_int(task, "count", &count) || cel_arg_int(task, "priority", &priority))
        return CEL_FAIL;
    const struct cel_value *args = cel_arg_value(task, "args");
    struct cel_value *ids = cel_list();
    for (int64_t n = 0; n < count; n++) {
        char id[37] = "";
        struct cel_call *call = cel_call_new(name);
        for (size_t i = 0; i < cel_value_count(args); i++)
            cel_call_arg(call, cel_value_dup(cel_value_at(args, i)));
        cel_call_priority(call, (int)priority);
        int r = cel_task_send(task, call, id);
        cel_call_free(call);
        if (r) {
            cel_value_free(ids);
            return CEL_FAIL;
        }
        cel_list_add(ids, cel_text(id));
    }
    cel_return(task, ids);
    if (strcmp(end, "fail") == 0)
        return cel_fail(task, "ValueError", "nothing may be sent");
    if (strcmp(end, "retry") == 0 && cel_request(task)->retries == 0)
        return cel_retry(task, 0, "nothing may be sent yet");
    return strcmp(end, "ignore") == 0 ? CEL_IGNORE : CEL_OK;
}

/* Only after `ms`. */
static int send_late(struct cel_task *task)
{
    int64_t ms;
    if (cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    int r = cel_sleep_ms(task, ms);
    return r ? r : send(task);
}

static struct cel_value *text_or_null(const char *text)
{
    return text ? cel_text(text) : cel_null();
}

static int request(struct cel_task *task)
{
    const struct cel_request *request = cel_request(task);
    struct cel_value *map = cel_map();
    cel_map_set(map, "id", text_or_null(request->id));
    cel_map_set(map, "name", text_or_null(request->name));
    cel_map_set(map, "root_id", text_or_null(request->root_id));
    cel_map_set(map, "parent_id", text_or_null(request->parent_id));
    cel_map_set(map, "group_id", text_or_null(request->group_id));
    cel_map_set(map, "queue", text_or_null(request->queue));
    cel_map_set(map, "hostname", text_or_null(request->hostname));
    cel_map_set(map, "retries", cel_int(request->retries));
    cel_map_set(map, "eta_ms", cel_int(request->eta_ms));
    cel_map_set(map, "expires_ms", cel_int(request->expires_ms));
    cel_map_set(map, "priority", cel_int(request->priority));
    cel_map_set(map, "redelivered", cel_bool(request->redelivered));
    cel_map_set(map, "pid", cel_int(getpid()));
    const struct cel_value *header = cel_header(task, "x-test");
    cel_map_set(map, "x-test", header ? cel_value_dup(header) : cel_null());
    return cel_return(task, map);
}

/* The message that it came in, without its body. */
static int message(struct cel_task *task)
{
    struct cel_value *both = cel_list();
    cel_list_add(both, cel_value_dup(cel_headers(task)));
    cel_list_add(both, cel_value_dup(cel_properties(task)));
    return cel_return(task, both);
}

static int log_text(struct cel_task *task)
{
    const char *text;
    if (cel_arg_text(task, "text", &text))
        return CEL_FAIL;
    cel_log(task, CEL_LOG_DEBUG, "debug: %s", text);
    cel_log(task, CEL_LOG_INFO, "info: %s", text);
    cel_log(task, CEL_LOG_WARNING, "warning: %s", text);
    cel_log(task, CEL_LOG_ERROR, "error: %s", text);
    return CEL_OK;
}

static int print(struct cel_task *task)
{
    const char *text;
    if (cel_arg_text(task, "text", &text))
        return CEL_FAIL;
    printf("%s\n", text ? text : "");
    return CEL_OK;
}

static int setting(struct cel_task *task)
{
    const char *name;
    if (cel_arg_text(task, "name", &name))
        return CEL_FAIL;
    return cel_return(task, text_or_null(cel_setting(task, name)));
}

/* Appends one byte to a file: how often did it run? */
static int count(struct cel_task *task)
{
    const char *path;
    if (cel_arg_text(task, "path", &path))
        return CEL_FAIL;
    return leave_mark(path) ? CEL_OK : cel_failf(task, "FileNotFoundError", "%s", path);
}

/* --- the database ----------------------------------------------------------------------------- */

/* Runs one statement; returns the column "value" of the first row. */
static int sql(struct cel_task *task)
{
    const char *statement, *name;
    if (cel_arg_text(task, "sql", &statement) || cel_arg_text(task, "database", &name))
        return CEL_FAIL;
    struct cel_db *db = cel_db_named(task, name);
    struct cel_rows *rows = NULL;
    if (!db)
        return CEL_RETRY;
    int r = cel_query(db, statement, CEL_NO_PARAMS, &rows);
    if (r)
        return r;
    bool none = cel_row_null(rows, 0, "value");
    cel_return(task, none ? cel_null() : cel_text(cel_row_text(rows, 0, "value")));
    cel_rows_free(rows);
    return CEL_OK;
}

static int send_plain(struct cel_task *task, struct cel_db *db, const char *name)
{
    struct cel_call *call = cel_call_new(name);
    int r = db ? cel_db_send(db, call, NULL) : cel_task_send(task, call, NULL);
    cel_call_free(call);
    return r ? CEL_FAIL : 0;
}

/*
 * Runs a list of statements, where "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "ROLLBACK TO x"
 * and "RELEASE x" go through their functions and "FAIL", "RETRY", "IGNORE" end the
 * task, "SLEEP" holds it for a second; "SEND x" calls task x, "DB SEND x" through the
 * outbox. A statement behind "-" may fail. Returns the SQLSTATE of the last statement.
 */
static int replace_by_noop(struct cel_task *task)
{
    struct cel_signature *with = cel_signature(cel_call_new("tests.noop"));
    int r = cel_replace(task, with);
    cel_signature_free(with);
    return r;
}

static int step(struct cel_task *task, struct cel_db *db, const char *text, bool *ret_end)
{
    *ret_end = true;
    if (strcmp(text, "FAIL") == 0)
        return cel_fail(task, "ValueError", "asked for");
    if (strcmp(text, "RETRY") == 0)
        return cel_retry(task, 1000, "asked for");
    if (strcmp(text, "PLAIN FAIL") == 0)
        return CEL_FAIL;
    if (strcmp(text, "PLAIN RETRY") == 0)
        return CEL_RETRY;
    if (strcmp(text, "IGNORE") == 0)
        return CEL_IGNORE;
    *ret_end = false;
    if (strcmp(text, "REPLACE") == 0)
        return replace_by_noop(task) == CEL_REPLACED ? 0 : CEL_FAIL;
    if (strcmp(text, "ANALYTICS BEGIN") == 0)
        return cel_begin(cel_db_named(task, "analytics"));
    if (strncmp(text, "SEND ", 5) == 0)
        return send_plain(task, NULL, text + 5);
    if (strcmp(text, "DB SEND NOTHING") == 0)
        return cel_db_send(db, NULL, NULL);
    if (strncmp(text, "DB SEND ", 8) == 0)
        return send_plain(task, db, text + 8);
    if (strcmp(text, "SLEEP") == 0)
        return cel_sleep_ms(task, 1000);
    if (strcmp(text, "BEGIN") == 0)
        return cel_begin(db);
    if (strcmp(text, "COMMIT") == 0)
        return cel_commit(db);
    if (strcmp(text, "ROLLBACK") == 0)
        return cel_rollback(db);
    if (strncmp(text, "SAVEPOINT ", 10) == 0)
        return cel_savepoint(db, text + 10);
    if (strncmp(text, "ROLLBACK TO ", 12) == 0)
        return cel_rollback_to(db, text + 12);
    if (strncmp(text, "RELEASE ", 8) == 0)
        return cel_release(db, text + 8);
    return cel_query(db, text, CEL_NO_PARAMS, NULL);
}

static int script(struct cel_task *task)
{
    const struct cel_value *steps = cel_arg_value(task, "steps");
    struct cel_db *db = cel_db(task);
    if (!db)
        return CEL_RETRY;
    for (size_t i = 0; i < cel_value_count(steps); i++) {
        const char *text = cel_value_text(cel_value_at(steps, i), NULL);
        bool may_fail = text[0] == '-', end;
        int r = step(task, db, text + may_fail, &end);
        if (end || (r && !may_fail))
            return r;
    }
    return cel_return(task, cel_text(cel_db_sqlstate(db)));
}

CEL_TASKS(
    {.name = "tests.noop", .run = noop},
    {.name = "tests.ignored", .run = noop, .ignore_result = true},
    {.name = "tests.add", .run = add, .params = "x, y, z=null"},
    {.name = "tests.echo", .run = echo, .params = "*args, **kwargs"},
    {.name = "tests.raw", .run = raw},
    {.name = "tests.read_as", .run = read_as, .params = "type, value"},
    {.name = "tests.types", .run = types, .params = "with_bytes=false"},
    {.name = "tests.large", .run = large, .params = "size"},
    {.name = "tests.fail", .run = fail, .params = "type=\"ValueError\", text=\"boom\""},
    {.name = "tests.fail_args", .run = fail_args, .params = "type, args, end=\"fail\""},
    {.name = "tests.retry",
     .run = retry,
     .params = "countdown_ms=0, max=3",
     .max_retries = CEL_ENDLESS_RETRIES},
    {.name = "tests.retry_early",
     .run = retry_late,
     .params = "ms, countdown_ms=0, max=1",
     .acks = CEL_ACKS_EARLY},
    {.name = "tests.retry_always",
     .run = retry_always,
     .params = "type=null, text=null, countdown_ms=0",
     .max_retries = 2},
    {.name = "tests.retry_never",
     .run = retry_always,
     .params = "type=null, text=null, countdown_ms=0",
     .max_retries = CEL_NO_RETRIES},
    {.name = "tests.retry_backoff",
     .run = retry_always,
     .params = "type=null, text=null, countdown_ms=-1",
     .retry_delay_ms = 100,
     .retry_backoff = true,
     .retry_delay_max_ms = 200},
    {.name = "tests.reject",
     .run = reject,
     .params = "reason=null, requeue=false, until=1, path=null"},
    {.name = "tests.reject_early",
     .run = reject,
     .params = "reason=null, requeue=false, until=1, path=null",
     .acks = CEL_ACKS_EARLY},
    {.name = "tests.state", .run = state, .params = "name, ms=0"},
    {.name = "tests.autoretry",
     .run = fail,
     .params = "type=\"ValueError\", text=\"boom\"",
     .max_retries = 2,
     .retry_delay_ms = 1,
     .autoretry_for = "OSError, shop.errors.Busy,SoftTimeLimitExceeded"},
    {.name = "tests.autoretry_all",
     .run = return_code,
     .params = "code",
     .retry_delay_ms = 200,
     .retry_backoff = true,
     .retry_without_jitter = true,
     .autoretry_for = "Exception"},
    {.name = "tests.fail_to_quarantine",
     .run = fail,
     .params = "type=\"ValueError\", text=\"boom\"",
     .reject_on_failure = true},
    {.name = "tests.return_code", .run = return_code, .params = "code"},
    {.name = "tests.crash", .run = crash, .params = "how=\"segv\""},
    {.name = "tests.crash_once", .run = crash, .params = "how=\"segv\"", .max_crashes = 1},
    {.name = "tests.sleep", .run = sleep_ms, .params = "ms=1000"},
    {.name = "tests.sleep_early", .run = sleep_ms, .params = "ms=1000", .acks = CEL_ACKS_EARLY},
    {.name = "tests.sleep_tracked", .run = sleep_ms, .params = "ms=1000", .track_started = true},
    {.name = "tests.soft", .run = soft, .params = "ms=60000, how=\"cancelled\""},
    {.name = "tests.soft_limited",
     .run = soft,
     .params = "ms=60000, how=\"cancelled\"",
     .soft_time_limit_ms = 200,
     .hard_time_limit_ms = 5000},
    {.name = "tests.hard_limited",
     .run = crash,
     .params = "how=\"loop\"",
     .hard_time_limit_ms = 500},
    {.name = "tests.progress", .run = progress, .params = "steps=3, ms=10"},
    {.name = "tests.send", .run = send, .params = "name, args=[], count=1, end=\"ok\", priority=0"},
    {.name = "tests.send_early",
     .run = send_late,
     .params = "ms, name, args=[], count=1, end=\"ok\", priority=0",
     .acks = CEL_ACKS_EARLY},
    {.name = "tests.request", .run = request, .params = "*args, **kwargs"},
    {.name = "tests.message", .run = message, .params = ""},
    {.name = "tests.log", .run = log_text, .params = "text"},
    {.name = "tests.print", .run = print, .params = "text"},
    {.name = "tests.setting", .run = setting, .params = "name"},
    {.name = "tests.count", .run = count, .params = "path"},
    {.name = "tests.count_early", .run = count, .params = "path", .acks = CEL_ACKS_EARLY},
    {.name = "tests.count_once", .run = count, .params = "path", .once = true},
    {.name = "tests.on_other_queue", .run = noop, .queue = "other"},
    {.name = "tests.sql", .run = sql, .params = "sql, database=\"default\""},
    {.name = "tests.script", .run = script, .params = "steps"},
    {.name = "tests.script_in_transaction",
     .run = script,
     .params = "steps",
     .transaction = CEL_TRANSACTION},
    {.name = "tests.script_once",
     .run = script,
     .params = "steps",
     .max_retries = 100,
     .retry_delay_ms = 200,
     .transaction = CEL_ONCE});

CEL_SETTINGS({.name = "probe_greeting", .otherwise = "hello", .help = "what to say"});
