/*
 * Tasks whose executions can be counted from outside, for the harnesses of tests/chaos: each run
 * leaves a line in a file or a row in PostgreSQL, also one whose outcome nobody ever hears of.
 */
#include <celeriac/task.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One write to a file opened for appending: whole, whoever else writes and whatever comes next. */
static int note(struct cel_task *task, const char *path)
{
    const struct cel_request *request = cel_request(task);
    char line[128];
    int length =
        snprintf(line, sizeof(line), "%s %lld\n", request->id, (long long)request->retries);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || length < 0 || write(file, line, (size_t)length) != length)
        return cel_failf(task, "OSError", "%s", path);
    close(file);
    return CEL_OK;
}

/* Sends one call like this one, which then ends well. */
static int send(struct cel_task *task, const char *path)
{
    char id[37];
    struct cel_call *call = cel_call_new("chaos.mark");
    cel_call_arg(call, cel_text(path));
    int r = cel_task_send(task, call, id);
    cel_call_free(call);
    return r ? CEL_FAIL : cel_return(task, cel_text(id));
}

/* Adds a line "<id> <retries>" to the file `path`, waits `ms`, and ends as `how` says. */
static int mark(struct cel_task *task)
{
    const char *path, *how;
    int64_t ms;
    if (cel_arg_text(task, "path", &path) || cel_arg_text(task, "how", &how) ||
        cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    if (note(task, path) || cel_sleep_ms(task, ms))
        return CEL_FAIL;
    if (strcmp(how, "fail") == 0)
        return cel_fail(task, "ValueError", "asked for");
    if (strcmp(how, "retry") == 0 && cel_request(task)->retries == 0)
        return cel_retry(task, 200, "asked for");
    if (strcmp(how, "now") == 0 && cel_request(task)->retries == 0)
        return cel_retry(task, 0, "asked for");
    if (strcmp(how, "crash") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(how, "send") == 0)
        return send(task, path);
    if (strcmp(how, "progress") == 0 && cel_progress(task, cel_text("half")))
        return CEL_FAIL;
    return CEL_OK;
}

/* Waits `ms` and adds the row `n` to the table effect (n bigint, node text, at timestamptz), committed
 * before the outcome is told. */
static int effect(struct cel_task *task)
{
    int64_t n, ms;
    if (cel_arg_int(task, "n", &n) || cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    if (!db || cel_sleep_ms(task, ms) ||
        cel_query(db, "INSERT INTO effect (n, node, at) VALUES ($1, $2, clock_timestamp())",
                  CEL_PARAMS(cel_p_int(n), cel_p_text(cel_request(task)->hostname)), NULL))
        return cel_retry(task, 200, NULL);
    return CEL_OK;
}

/* Adds the row `n` to the table executed, and one to a counter of 16: in one transaction with its marker. */
static int once(struct cel_task *task)
{
    int64_t n, ms;
    if (cel_arg_int(task, "n", &n) || cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    struct cel_db *db = cel_db(task);
    int r = db ? 0 : CEL_RETRY;
    if (!r)
        r = cel_query(db, "INSERT INTO executed (n, node, at) VALUES ($1, $2, clock_timestamp())",
                      CEL_PARAMS(cel_p_int(n), cel_p_text(cel_request(task)->hostname)), NULL);
    if (!r)
        r = cel_sleep_ms(task, ms);
    if (!r)
        r = cel_query(db, "UPDATE counter SET total = total + 1 WHERE shard = $1 % 16",
                      CEL_PARAMS(cel_p_int(n)), NULL);
    return r ? r : cel_return(task, cel_int(n));
}

CEL_TASKS(
    {.name = "chaos.mark", .run = mark, .params = "path, how=\"ok\", ms=0"},
    {.name = "chaos.mark_early",
     .run = mark,
     .params = "path, how=\"ok\", ms=0",
     .acks = CEL_ACKS_EARLY},
    {.name = "chaos.mark_once", .run = mark, .params = "path, how=\"ok\", ms=0", .once = true},
    {.name = "chaos.mark_tracked",
     .run = mark,
     .params = "path, how=\"progress\", ms=0",
     .track_started = true},
    {.name = "chaos.effect",
     .run = effect,
     .params = "n, ms=0",
     .max_retries = CEL_ENDLESS_RETRIES},
    {.name = "chaos.once",
     .run = once,
     .params = "n, ms=0",
     .retry_delay_ms = 200,
     .max_retries = CEL_ENDLESS_RETRIES,
     .transaction = CEL_ONCE},
    {.name = "chaos.effect_ignored",
     .run = effect,
     .params = "n, ms=0",
     .ignore_result = true,
     .max_retries = CEL_ENDLESS_RETRIES});
