/*
 * What others can see of a task: lines in its output, a file, keys of the Redis at REDIS_HOST and REDIS_PORT,
 * which is reached from here directly and not through the worker.
 */
#include "conformance.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int print_unicode(struct cel_task *task)
{
    const char *log_message, *print_message;
    if (cel_arg_text(task, "log_message", &log_message) ||
        cel_arg_text(task, "print_message", &print_message))
        return CEL_FAIL;
    cel_log(task, CEL_LOG_WARNING, "%s", log_message ? log_message : "");
    printf("%s\n", print_message ? print_message : "");
    fflush(stdout);
    return CEL_OK;
}

int write_to_file_and_return_int(struct cel_task *task)
{
    const char *name;
    int64_t i;
    if (cel_arg_text(task, "file_name", &name) || cel_arg_int(task, "i", &i))
        return CEL_FAIL;
    FILE *file = name ? fopen(name, "a") : NULL;
    if (!file)
        return cel_failf(task, "FileNotFoundError", "%s", name ? name : "null");
    fprintf(file, "%lld\n", (long long)i);
    return fclose(file) ? cel_fail(task, "OSError", "the file cannot be written")
                        : cel_return(task, cel_int(i));
}

/* --- Redis ------------------------------------------------------------------------------------ */

static redisContext *redis; /* kept between tasks; NULL: not connected */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? value : otherwise;
}

static int lost(struct cel_task *task)
{
    int r =
        cel_failf(task, "ConnectionError", "Redis: %s", redis ? redis->errstr : "out of memory");
    redisFree(redis);
    redis = NULL;
    return r;
}

static int connect_redis(struct cel_task *task)
{
    if (redis)
        return 0;
    int port = (int)strtol(setting("REDIS_PORT", "6379"), NULL, 10);
    redis = redisConnect(setting("REDIS_HOST", "127.0.0.1"), port);
    return redis && !redis->err ? 0 : lost(task);
}

/* Carries one command out. 0, or what the task shall return. */
static int command(struct cel_task *task, int count, const char **words, const size_t *lengths)
{
    int r = connect_redis(task);
    if (r)
        return r;
    redisReply *reply = redisCommandArgv(redis, count, words, lengths);
    if (!reply)
        return lost(task);
    if (reply->type == REDIS_REPLY_ERROR)
        r = cel_failf(task, "RuntimeError", "Redis: %s", reply->str);
    freeReplyObject(reply);
    return r;
}

static int push(struct cel_task *task, const char *key, const char *text, size_t len)
{
    return command(task, 3, (const char *[]){"RPUSH", key, text},
                   (const size_t[]){5, strlen(key), len});
}

static int increment(struct cel_task *task, const char *key)
{
    return command(task, 2, (const char *[]){"INCR", key}, (const size_t[]){4, strlen(key)});
}

int echo(struct cel_task *task, const char *key, const char *text)
{
    return push(task, key, text, strlen(text));
}

/* Texts and bytes as they are, other values as JSON. */
int redis_echo(struct cel_task *task)
{
    const char *key;
    const struct cel_value *message = cel_arg_value(task, "message");
    if (cel_arg_text(task, "redis_key", &key))
        return CEL_FAIL;
    if (!key)
        return cel_fail(task, "TypeError", "redis_key is null");
    size_t len;
    const void *bytes = cel_value_bytes(message, &len);
    if (bytes)
        return push(task, key, bytes, len);
    char *json = cel_value_to_json(message);
    int r = json ? echo(task, key, json) : cel_fail(task, "MemoryError", "out of memory");
    free(json);
    return r;
}

static int count_at(struct cel_task *task, const char *key)
{
    return key ? increment(task, key) : cel_fail(task, "TypeError", "there is no key to count at");
}

int redis_count(struct cel_task *task)
{
    const char *key;
    return cel_arg_text(task, "redis_key", &key) ? CEL_FAIL : count_at(task, key);
}

/* --- errbacks --------------------------------------------------------------------------------- */

static int count_failure(struct cel_task *task, const char *id)
{
    int r = count_at(task, id);
    return r ? r : cel_return(task, cel_text(id));
}

int errback_old_style(struct cel_task *task)
{
    const char *id;
    return cel_arg_text(task, "request_id", &id) ? CEL_FAIL : count_failure(task, id);
}

/* Called by the worker itself: (request, exception, traceback). */
int errback_new_style(struct cel_task *task)
{
    return count_failure(task,
                         cel_value_text(cel_value_get(cel_arg_value(task, "request"), "id"), NULL));
}
