/*
 * The commands that look: each is one function and one line of the table. Shapes and words are Celery's.
 */
#include <stdio.h>

#include "control/call_info.h"
#include "control/command.h"
#include "control/conf.h"
#include "control/revoke.h"
#include "control/scheduled.h"
#include "control/stats.h"
#include "core/json.h"
#include "core/process.h"

/* --- calls ------------------------------------------------------------------------------------ */

struct calls {
    struct cel_value *list;
    struct str node;
    bool wants_active, is_safe, has_failed;
};

static bool is_safe(const struct command *command)
{
    return cel_value_bool(cel_value_get(command->arguments, "safe"), false);
}

static void add_call(void *data, const struct control_call *call)
{
    struct calls *calls = data;
    if (call->is_active != calls->wants_active)
        return;
    struct cel_value *info = call_info_take(call, calls->node, calls->is_safe);
    calls->has_failed |= cel_list_add(calls->list, info) < 0;
}

static enum answer list_calls(struct command *command, bool wants_active)
{
    struct calls calls = {.list = cel_list(),
                          .node = command->control->options.node,
                          .wants_active = wants_active,
                          .is_safe = is_safe(command)};
    host_of(command)->each_call(host_data_of(command), add_call, &calls);
    if (calls.has_failed)
        calls.list = cel_value_free(calls.list);
    return answer_value(command, calls.list);
}

static enum answer active(struct command *command)
{
    return list_calls(command, true);
}

static enum answer reserved(struct command *command)
{
    return list_calls(command, false);
}

struct query {
    const struct cel_value *ids; /* a list, or one text */
    struct cel_value *found;
    struct str node;
    bool has_failed;
};

static bool is_asked_for(const struct query *query, struct str id)
{
    if (cel_value_type(query->ids) != CEL_LIST)
        return str_equal(value_str(query->ids), id);
    for (size_t i = 0; i < cel_value_count(query->ids); i++) {
        if (str_equal(value_str(cel_value_at(query->ids, i)), id))
            return true;
    }
    return false;
}

static void add_found(void *data, const struct control_call *call)
{
    struct query *query = data;
    if (!is_asked_for(query, call->envelope->id))
        return;
    struct cel_value *pair = cel_list();
    if (cel_list_add(pair, cel_text(call->is_active ? "active" : "reserved")) < 0 ||
        cel_list_add(pair, call_info_take(call, query->node, false)) < 0)
        pair = cel_value_free(pair);
    query->has_failed |= !pair || value_set(query->found, call->envelope->id, pair) < 0;
}

static enum answer query_task(struct command *command)
{
    struct query query = {.ids = cel_value_get(command->arguments, "ids"),
                          .found = cel_map(),
                          .node = command->control->options.node};
    if (!query.ids) {
        cel_value_free(query.found);
        return answer_missing(command, "ids");
    }
    host_of(command)->each_call(host_data_of(command), add_found, &query);
    if (query.has_failed)
        query.found = cel_value_free(query.found);
    return answer_value(command, query.found);
}

struct ids {
    struct cel_value *value; /* a list, or a map as hello has it */
    bool has_failed;
};

static void add_id(void *data, struct str id)
{
    struct ids *ids = data;
    ids->has_failed |= cel_list_add(ids->value, cel_text_n(id.ptr, id.len)) < 0;
}

static enum answer revoked(struct command *command)
{
    struct ids ids = {.value = cel_list()};
    host_of(command)->each_revoked(host_data_of(command), add_id, &ids);
    if (ids.has_failed)
        ids.value = cel_value_free(ids.value);
    return answer_value(command, ids.value);
}

/* --- tasks and queues ------------------------------------------------------------------------- */

struct tasks {
    struct cel_value *list;
    const struct cel_value *items; /* names of what is shown of each; NULL: as Celery by default */
    bool shows_builtins, has_failed;
};

static void add_seconds(struct buf *buf, usec_t time)
{
    if (time % USEC_PER_SEC)
        json_add_double(buf, (double)time / (double)USEC_PER_SEC);
    else
        buf_add_u64(buf, time / USEC_PER_SEC);
}

/* Appends " name=value" when the task has such a thing. */
static void add_item(struct buf *buf, const struct control_task *task, struct str item)
{
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(4096);
    if (str_equal(item, STR("name")))
        buf_add_str(&value, task->name);
    else if (str_equal(item, STR("rate_limit")))
        buf_add_str(&value, task->rate_limit);
    else if (str_equal(item, STR("routing_key")) || str_equal(item, STR("queue")))
        buf_add_str(&value, task->queue);
    else if (str_equal(item, STR("max_retries")) && task->max_retries >= 0)
        buf_add_i64(&value, task->max_retries);
    else if (str_equal(item, STR("default_retry_delay")))
        add_seconds(&value, task->retry_delay);
    else if (str_equal(item, STR("time_limit")) && task->hard_limit)
        add_seconds(&value, task->hard_limit);
    else if (str_equal(item, STR("soft_time_limit")) && task->soft_limit)
        add_seconds(&value, task->soft_limit);
    else if (str_equal(item, STR("ignore_result")))
        buf_add_c(&value, task->ignore_result ? "True" : "False");
    else if (str_equal(item, STR("acks_late")))
        buf_add_c(&value, task->acks_late ? "True" : "False");
    else if (str_equal(item, STR("track_started")))
        buf_add_c(&value, task->track_started ? "True" : "False");
    if (!value.len)
        return;
    buf_add_c(buf, buf->len ? " " : "");
    buf_add_str(buf, item);
    buf_add_char(buf, '=');
    buf_add_str(buf, buf_str(&value));
}

static void add_task(void *data, const struct control_task *task)
{
    struct tasks *tasks = data;
    CLEANUP(buf_deinit) struct buf items = BUF_INIT(64 * 1024);
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64 * 1024);
    if (!tasks->shows_builtins && str_starts(task->name, STR("celery.")))
        return;
    for (size_t i = 0; i < cel_value_count(tasks->items); i++)
        add_item(&items, task, value_str(cel_value_at(tasks->items, i)));
    if (!tasks->items)
        add_item(&items, task, STR("rate_limit"));
    buf_add_str(&text, task->name);
    if (items.len) {
        buf_add_c(&text, " [");
        buf_add_str(&text, buf_str(&items));
        buf_add_char(&text, ']');
    }
    tasks->has_failed |=
        buf_status(&text) < 0 || cel_list_add(tasks->list, cel_text_n(text.ptr, text.len)) < 0;
}

static enum answer registered(struct command *command)
{
    const struct cel_value *items = cel_value_get(command->arguments, "taskinfoitems");
    struct tasks tasks = {
        .list = cel_list(),
        .items = cel_value_count(items) ? items : NULL,
        .shows_builtins = cel_value_bool(cel_value_get(command->arguments, "builtins"), false),
    };
    host_of(command)->each_task(host_data_of(command), add_task, &tasks);
    if (tasks.has_failed)
        tasks.list = cel_value_free(tasks.list);
    return answer_value(command, tasks.list);
}

static struct cel_value *exchange_info(const struct control_queue *queue)
{
    struct cel_value *exchange = cel_map();
    if (cel_map_set(exchange, "name", value_text(queue->exchange)) < 0 ||
        cel_map_set(exchange, "type", value_text(queue->exchange_type)) < 0 ||
        cel_map_set(exchange, "arguments", cel_null()) < 0 ||
        cel_map_set(exchange, "durable", cel_bool(true)) < 0 ||
        cel_map_set(exchange, "passive", cel_bool(false)) < 0 ||
        cel_map_set(exchange, "auto_delete", cel_bool(false)) < 0 ||
        cel_map_set(exchange, "delivery_mode", cel_null()) < 0 ||
        cel_map_set(exchange, "no_declare", cel_bool(false)) < 0)
        return cel_value_free(exchange);
    return exchange;
}

/* What Redis's queues do not have, as a queue of Python's has it that sets nothing. */
static int set_defaults(struct cel_value *info)
{
    static const char *const absent[] = {"queue_arguments", "binding_arguments",
                                         "consumer_arguments"};
    static const char *const last[] = {"no_declare", "expires",          "message_ttl",
                                       "max_length", "max_length_bytes", "max_priority"};
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(absent) && r == 0; i++)
        r = cel_map_set(info, absent[i], cel_null());
    if (r < 0 || (r = cel_map_set(info, "durable", cel_bool(true))) < 0 ||
        (r = cel_map_set(info, "exclusive", cel_bool(false))) < 0 ||
        (r = cel_map_set(info, "auto_delete", cel_bool(false))) < 0 ||
        (r = cel_map_set(info, "no_ack", cel_bool(false))) < 0 ||
        (r = cel_map_set(info, "alias", cel_null())) < 0 ||
        (r = cel_map_set(info, "bindings", cel_list())) < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(last) && r == 0; i++)
        r = cel_map_set(info, last[i], cel_null());
    return r;
}

static void add_queue(void *data, const struct control_queue *queue)
{
    struct ids *queues = data;
    struct cel_value *info = cel_map();
    if (cel_map_set(info, "name", value_text(queue->name)) < 0 ||
        cel_map_set(info, "exchange", exchange_info(queue)) < 0 ||
        cel_map_set(info, "routing_key", value_text(queue->routing_key)) < 0 ||
        set_defaults(info) < 0)
        info = cel_value_free(info);
    queues->has_failed |= cel_list_add(queues->value, info) < 0;
}

static enum answer active_queues(struct command *command)
{
    struct ids queues = {.value = cel_list()};
    host_of(command)->each_queue(host_data_of(command), add_queue, &queues);
    if (queues.has_failed)
        queues.value = cel_value_free(queues.value);
    return answer_value(command, queues.value);
}

/* --- the node --------------------------------------------------------------------------------- */

static enum answer ping(struct command *command)
{
    return answer_ok(command, "pong");
}

static enum answer stats(struct command *command)
{
    return answer_value(command, stats_take(command->control));
}

static enum answer conf(struct command *command)
{
    return answer_value(command, conf_take(command->control));
}

static enum answer report(struct command *command)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1024 * 1024);
    conf_add_report(&text, command->control);
    if (buf_status(&text) < 0)
        return answer_value(command, NULL);
    return answer_ok(command, STR_FORMAT, STR_ARGS(buf_str(&text)));
}

static enum answer clock_value(struct command *command)
{
    struct cel_value *map = cel_map();
    if (cel_map_set(map, "clock", cel_int((int64_t)command->control->clock->value)) < 0)
        map = cel_value_free(map);
    return answer_value(command, map);
}

static enum answer memsample(struct command *command)
{
    char text[32];
    snprintf(text, sizeof(text), "%.2fMB", (double)process_rss() / (1024 * 1024));
    return answer_value(command, cel_text(text));
}

static enum answer memdump(struct command *command)
{
    return answer_null(command); /* there are no samples */
}

static enum answer objgraph(struct command *command)
{
    return answer_error(command, "ImportError('objgraph shows objects of Python: this is C')");
}

/* --- mingle ----------------------------------------------------------------------------------- */

/* {"<id>": [seconds, "<id>"]}; the number means nothing outside of the node that wrote it. */
static void add_revoked(void *data, struct str id)
{
    struct ids *ids = data;
    struct cel_value *pair = cel_list();
    if (cel_list_add(pair, cel_float((double)clock_mono() / (double)USEC_PER_SEC)) < 0 ||
        cel_list_add(pair, cel_text_n(id.ptr, id.len)) < 0)
        pair = cel_value_free(pair);
    ids->has_failed |= value_set(ids->value, id, pair) < 0;
}

static enum answer hello(struct command *command)
{
    struct control *control = command->control;
    struct str from = argument_text(command, "from_node");
    if (!from.ptr)
        return answer_missing(command, "from_node");
    if (str_equal(from, control->options.node))
        return answer_null(command);
    revoke_take_over(control, cel_value_get(command->arguments, "revoked"));
    struct ids ids = {.value = cel_map()};
    struct cel_value *reply = cel_map();
    host_of(command)->each_revoked(host_data_of(command), add_revoked, &ids);
    if (ids.has_failed)
        ids.value = cel_value_free(ids.value);
    if (cel_map_set(reply, "revoked", ids.value) < 0 ||
        cel_map_set(reply, "clock", cel_int((int64_t)lamport_tick(control->clock))) < 0)
        reply = cel_value_free(reply);
    return answer_value(command, reply);
}

const struct command_entry inspect_commands[] = {
    {"ping", ping},
    {"active", active},
    {"dump_active", active},
    {"reserved", reserved},
    {"dump_reserved", reserved},
    {"scheduled", scheduled_run},
    {"dump_schedule", scheduled_run},
    {"query_task", query_task},
    {"revoked", revoked},
    {"dump_revoked", revoked},
    {"registered", registered},
    {"dump_tasks", registered},
    {"active_queues", active_queues},
    {"stats", stats},
    {"conf", conf},
    {"dump_conf", conf},
    {"report", report},
    {"clock", clock_value},
    {"hello", hello},
    {"memsample", memsample},
    {"memdump", memdump},
    {"objgraph", objgraph},
    {NULL, NULL},
};
