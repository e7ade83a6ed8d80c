/*
 * The commands that change something: each is one function and one line of the table. Shapes and words
 * are Celery's. Revocations are kept in Redis (docs/keys.md), so workers that are down now obey as well.
 */
#include <errno.h>

#include "control/command.h"
#include "control/notes.h"
#include "control/rate.h"
#include "control/revoke.h"
#include "core/log.h"

static enum answer cannot(struct command *command)
{
    return answer_error(command, "NotImplementedError('%s: this worker cannot do that')",
                        command->method);
}

/* What a function of the host has refused. */
static enum answer refused(struct command *command, int status, const struct cel_error *err)
{
    return answer_error(command, "%s", err->text[0] ? err->text : cel_error_name(status));
}

static int64_t argument_int(const struct command *command, const char *name, int64_t otherwise)
{
    return cel_value_int(cel_value_get(command->arguments, name), otherwise);
}

/* --- events ----------------------------------------------------------------------------------- */

static enum answer enable_events(struct command *command)
{
    struct events *events = command->control->events;
    bool were_wanted = events->are_wanted;
    events->are_wanted = true;
    return answer_ok(command, were_wanted ? "task events already enabled" : "task events enabled");
}

static enum answer disable_events(struct command *command)
{
    struct events *events = command->control->events;
    bool were_wanted = events->are_wanted;
    events->are_wanted = false;
    return answer_ok(command,
                     were_wanted ? "task events disabled" : "task events already disabled");
}

static enum answer heartbeat(struct command *command)
{
    events_beat(command->control->events);
    return answer_null(command);
}

static enum answer election(struct command *command)
{
    return answer_null(command); /* this worker is no candidate */
}

/* --- tasks ------------------------------------------------------------------------------------ */

/* Seconds; absent, null and 0: none. False when it is no number. */
static bool read_limit(const struct command *command, const char *name, usec_t *ret)
{
    const struct cel_value *value = cel_value_get(command->arguments, name);
    double seconds = cel_value_float(value, 0);
    *ret = seconds > 0 && seconds < 1e9 ? (usec_t)(seconds * (double)USEC_PER_SEC) : 0;
    enum cel_type type = cel_value_type(value);
    return type == CEL_NULL || type == CEL_INT || type == CEL_FLOAT;
}

static enum answer time_limit(struct command *command)
{
    struct cel_error err = {0};
    struct str task = argument_text(command, "task_name");
    usec_t soft, hard;
    if (!host_of(command)->set_time_limits)
        return cannot(command);
    if (!read_limit(command, "soft", &soft) || !read_limit(command, "hard", &hard))
        return answer_error(command, "TypeError('time limits are numbers of seconds')");
    int r = host_of(command)->set_time_limits(host_data_of(command), task, soft, hard, &err);
    if (r == -ENOENT)
        return answer_error(command, "unknown task");
    if (r < 0)
        return refused(command, r, &err);
    log_info("Time limits of a task were set by remote control", F_STR("task", task),
             F_USEC("soft", soft), F_USEC("hard", hard));
    return answer_ok(command, "time limits set successfully");
}

static enum answer rate_limit(struct command *command)
{
    struct cel_error err = {0};
    struct str task = argument_text(command, "task_name");
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(256);
    bool is_limit;
    if (rate_read(cel_value_get(command->arguments, "rate_limit"), &text, &is_limit, &err) < 0)
        return answer_error(command, "Invalid rate limit string: %s", err.text);
    if (!host_of(command)->set_rate_limit)
        return cannot(command);
    int r = host_of(command)->set_rate_limit(host_data_of(command), task, buf_str(&text), &err);
    if (r == -ENOENT)
        return answer_error(command, "unknown task");
    if (r < 0)
        return refused(command, r, &err);
    log_info("The rate limit of a task was set by remote control", F_STR("task", task),
             F_STR("rate", buf_str(&text)));
    answer_ok(command,
              is_limit ? "new rate limit set successfully" : "rate limit disabled successfully");
    return notes_keep(command, NOTE_RATE, task, buf_str(&text));
}

/* --- the pool --------------------------------------------------------------------------------- */

static enum answer resize(struct command *command, int64_t by, const char *done)
{
    struct cel_error err = {0};
    struct control_numbers numbers = {0};
    host_of(command)->numbers(host_data_of(command), &numbers);
    if (numbers.has_autoscale)
        return answer_error(command,
                            "%s is not supported with autoscale. Adjust autoscale range instead.",
                            command->method);
    if (!host_of(command)->resize)
        return cannot(command);
    int r = host_of(command)->resize(host_data_of(command), by, &err);
    if (r < 0)
        return refused(command, r, &err);
    log_info("The pool is resized by remote control", F_I64("by", by));
    return answer_ok(command, "%s", done);
}

enum { RESIZE_MAX = 1024 };

/* 1 when it is not given; 0: what is given makes no sense. */
static int64_t read_count(const struct command *command)
{
    int64_t n = argument_int(command, "n", cel_value_get(command->arguments, "n") ? 0 : 1);
    return n > 0 && n <= RESIZE_MAX ? n : 0;
}

static enum answer pool_grow(struct command *command)
{
    int64_t n = read_count(command);
    if (!n)
        return answer_error(command, "ValueError('n is a number from 1 to %d')", RESIZE_MAX);
    return resize(command, n, "pool will grow");
}

static enum answer pool_shrink(struct command *command)
{
    int64_t n = read_count(command);
    if (!n)
        return answer_error(command, "ValueError('n is a number from 1 to %d')", RESIZE_MAX);
    return resize(command, -n, "pool will shrink");
}

static enum answer autoscale(struct command *command)
{
    struct cel_error err = {0};
    struct control_autoscale scale = {.max = argument_int(command, "max", -1),
                                      .min = argument_int(command, "min", -1)};
    struct control_numbers numbers = {0};
    host_of(command)->numbers(host_data_of(command), &numbers);
    if (!host_of(command)->set_autoscale || !numbers.has_autoscale)
        return answer_error(command, "ValueError('Autoscale not enabled')");
    int r = host_of(command)->set_autoscale(host_data_of(command), &scale, &err);
    if (r < 0)
        return refused(command, r, &err);
    log_info("Autoscale is set by remote control", F_I64("max", scale.max),
             F_I64("min", scale.min));
    return answer_ok(command, "autoscale now max=%lld min=%lld", (long long)scale.max,
                     (long long)scale.min);
}

static enum answer pool_restart(struct command *command)
{
    struct cel_error err = {0};
    int r = host_of(command)->reload(host_data_of(command), &err);
    return r < 0 ? refused(command, r, &err) : answer_ok(command, "reload started");
}

static enum answer shut_down(struct command *command)
{
    log_info("Warm stop, by remote control");
    host_of(command)->shut_down(host_data_of(command));
    return ANSWER_NEVER;
}

/* --- queues ----------------------------------------------------------------------------------- */

static bool is_set_up(const struct command *command, struct str queue)
{
    return host_of(command)->is_set_up(host_data_of(command), queue);
}

static enum answer add_consumer(struct command *command)
{
    struct cel_error err = {0};
    struct control_queue queue = {.name = argument_text(command, "queue"),
                                  .exchange = argument_text(command, "exchange"),
                                  .exchange_type = argument_text(command, "exchange_type"),
                                  .routing_key = argument_text(command, "routing_key")};
    if (!queue.name.len)
        return answer_missing(command, "queue");
    if (!host_of(command)->add_consumer)
        return cannot(command);
    int r = host_of(command)->add_consumer(host_data_of(command), &queue, &err);
    if (r < 0)
        return refused(command, r, &err);
    log_info("A queue is consumed, by remote control", F_STR("queue", queue.name));
    answer_ok(command, "add consumer " STR_FORMAT, STR_ARGS(queue.name));
    return notes_keep(command, NOTE_QUEUE, queue.name,
                      is_set_up(command, queue.name) ? STR_NONE : NOTE_CONSUMED);
}

static enum answer cancel_consumer(struct command *command)
{
    struct cel_error err = {0};
    struct str queue = argument_text(command, "queue");
    if (!queue.len)
        return answer_missing(command, "queue");
    if (!host_of(command)->cancel_consumer)
        return cannot(command);
    int r = host_of(command)->cancel_consumer(host_data_of(command), queue, &err);
    if (r < 0 && r != -ENOENT)
        return refused(command, r, &err);
    log_info("A queue is consumed no more, by remote control", F_STR("queue", queue));
    answer_ok(command, "no longer consuming from " STR_FORMAT, STR_ARGS(queue));
    return notes_keep(command, NOTE_QUEUE, queue,
                      is_set_up(command, queue) ? NOTE_CANCELLED : STR_NONE);
}

const struct command_entry change_commands[] = {
    {"revoke", revoke_run},
    {"terminate", revoke_terminate},
    {"revoke_by_stamped_headers", revoke_stamped},
    {"rate_limit", rate_limit},
    {"time_limit", time_limit},
    {"add_consumer", add_consumer},
    {"cancel_consumer", cancel_consumer},
    {"enable_events", enable_events},
    {"disable_events", disable_events},
    {"heartbeat", heartbeat},
    {"pool_grow", pool_grow},
    {"pool_shrink", pool_shrink},
    {"autoscale", autoscale},
    {"pool_restart", pool_restart},
    {"shutdown", shut_down},
    {"election", election},
    {NULL, NULL},
};
