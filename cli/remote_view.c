/*
 * A view has columns, and a function that makes rows of one answer. What has none of its own is shown as
 * it is.
 */
#include "cli/remote_view.h"

#include <stdlib.h>

#include "cli/result.h"
#include "cli/table.h"
#include "core/json.h"

struct view {
    const char *method;
    const struct table_column *columns;
    size_t column_count;
    void (*add)(struct table *table, const char *node, const struct cel_value *answer);
};

/* --- cells ------------------------------------------------------------------------------------ */

static void add_c(struct table *table, const char *text)
{
    table_add_text(table, str_of(text), TINT_PLAIN);
}

static void add_value(struct table *table, const struct cel_value *value)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    bool is_null = cel_value_type(value) == CEL_NULL;
    if (!is_null)
        result_add_value(&text, value);
    table_add_text(table, is_null ? STR_NONE : text.len ? buf_str(&text) : STR(""), TINT_PLAIN);
}

static void add_member(struct table *table, const struct cel_value *map, const char *key)
{
    add_value(table, cel_value_get(map, key));
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct table_column answer_columns[] = {{"node", "node", false},
                                                     {"answer", "answer", false}};

static void add_answer(struct table *table, const char *node, const struct cel_value *answer)
{
    const struct cel_value *ok = cel_value_get(answer, "ok"), *bad = cel_value_get(answer, "error");
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    add_c(table, node);
    result_add_value(&text, bad ? bad : ok ? ok : answer);
    table_add_text(table, buf_str(&text), bad ? TINT_BAD : ok ? TINT_GOOD : TINT_PLAIN);
}

static const struct table_column call_columns[] = {
    {"node", "node", false}, {"id", "id", false},         {"task", "task", false},
    {"args", "args", false}, {"kwargs", "kwargs", false}, {"pid", "pid", true},
    {"runs", "runs", true},
};

static void add_call(struct table *table, const char *node, const struct cel_value *call)
{
    const struct cel_value *start = cel_value_get(call, "time_start");
    usec_t began = (usec_t)(cel_value_float(start, 0) * (double)USEC_PER_SEC), now = clock_wall();
    add_c(table, node);
    add_member(table, call, "id");
    add_member(table, call, "name");
    add_member(table, call, "args");
    add_member(table, call, "kwargs");
    add_member(table, call, "worker_pid");
    /* of another host, whose clock may go otherwise */
    table_add_duration(table, cel_value_type(start) == CEL_NULL ? USEC_NEVER
                              : now > began                     ? now - began
                                                                : 0);
}

static void add_calls(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++)
        add_call(table, node, cel_value_at(answer, i));
}

static const struct table_column scheduled_columns[] = {
    {"node", "node", false}, {"eta", "eta", false},   {"id", "id", false},
    {"task", "task", false}, {"args", "args", false}, {"kwargs", "kwargs", false},
};

static void add_scheduled(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++) {
        const struct cel_value *entry = cel_value_at(answer, i);
        const struct cel_value *call = cel_value_get(entry, "request");
        add_c(table, node);
        add_member(table, entry, "eta");
        add_member(table, call, "id");
        add_member(table, call, "name");
        add_member(table, call, "args");
        add_member(table, call, "kwargs");
    }
}

static const struct table_column query_columns[] = {{"node", "node", false},
                                                    {"id", "id", false},
                                                    {"state", "state", false},
                                                    {"task", "task", false}};

static void add_query(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++) {
        const struct cel_value *pair = cel_value_at(answer, i);
        add_c(table, node);
        add_c(table, cel_value_key(answer, i));
        add_value(table, cel_value_at(pair, 0));
        add_member(table, cel_value_at(pair, 1), "name");
    }
}

static const struct table_column item_columns[] = {{"node", "node", false},
                                                   {"item", "item", false}};
static const struct table_column task_columns[] = {{"node", "node", false},
                                                   {"task", "task", false}};
static const struct table_column id_columns[] = {{"node", "node", false}, {"id", "id", false}};

static void add_items(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++) {
        add_c(table, node);
        add_value(table, cel_value_at(answer, i));
    }
}

static const struct table_column queue_columns[] = {
    {"node", "node", false},
    {"queue", "queue", false},
    {"exchange", "exchange", false},
    {"type", "type", false},
    {"routing key", "routing_key", false},
};

static void add_queues(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++) {
        const struct cel_value *queue = cel_value_at(answer, i);
        const struct cel_value *exchange = cel_value_get(queue, "exchange");
        add_c(table, node);
        add_member(table, queue, "name");
        add_member(table, exchange, "name");
        add_member(table, exchange, "type");
        add_member(table, queue, "routing_key");
    }
}

static const struct table_column stats_columns[] = {
    {"node", "node", false},          {"pid", "pid", true},     {"up", "uptime", true},
    {"processes", "processes", true}, {"tasks", "tasks", true}, {"prefetch", "prefetch", true},
    {"memory", "memory", true},
};

static void add_stats(struct table *table, const char *node, const struct cel_value *answer)
{
    const struct cel_value *total = cel_value_get(answer, "total");
    const struct cel_value *pool = cel_value_get(answer, "pool");
    int64_t tasks = 0;
    char memory[32];
    for (size_t i = 0; i < cel_value_count(total); i++)
        tasks += cel_value_int(cel_value_at(total, i), 0);
    snprintf(memory, sizeof(memory), "%.1f MB",
             cel_value_float(cel_value_get(cel_value_get(answer, "rusage"), "maxrss"), 0) / 1024);
    add_c(table, node);
    add_member(table, answer, "pid");
    table_add_duration(table,
                       (usec_t)cel_value_int(cel_value_get(answer, "uptime"), 0) * USEC_PER_SEC);
    table_add_u64(table, cel_value_count(cel_value_get(pool, "processes")), TINT_PLAIN);
    table_add_u64(table, (uint64_t)tasks, TINT_PLAIN);
    add_member(table, answer, "prefetch_count");
    add_c(table, memory);
}

static const struct table_column pair_columns[] = {
    {"node", "node", false}, {"name", "name", false}, {"value", "value", false}};

static void add_pairs(struct table *table, const char *node, const struct cel_value *answer)
{
    for (size_t i = 0; i < cel_value_count(answer); i++) {
        add_c(table, node);
        add_c(table, cel_value_key(answer, i));
        add_value(table, cel_value_at(answer, i));
    }
}

#define VIEW(method, columns, add)                                                                 \
    {                                                                                              \
        method, columns, ARRAY_SIZE(columns), add                                                  \
    }
static const struct view views[] = {
    VIEW("active", call_columns, add_calls),
    VIEW("reserved", call_columns, add_calls),
    VIEW("scheduled", scheduled_columns, add_scheduled),
    VIEW("query_task", query_columns, add_query),
    VIEW("registered", task_columns, add_items),
    VIEW("revoked", id_columns, add_items),
    VIEW("active_queues", queue_columns, add_queues),
    VIEW("stats", stats_columns, add_stats),
    VIEW("conf", pair_columns, add_pairs),
    VIEW("clock", item_columns, add_items),
    VIEW(NULL, answer_columns, add_answer),
};

/* --- printing --------------------------------------------------------------------------------- */

static void print_json(const struct answers *answers)
{
    struct cel_value *map = cel_map();
    for (size_t i = 0; i < answers->count; i++)
        ASSERT(!cel_map_set(map, answers->items[i].node, cel_value_dup(answers->items[i].value)));
    char *json = cel_value_to_json(map);
    puts(json ? json : "{}");
    free(json);
    cel_value_free(map);
}

void remote_view_print(const char *method, const struct answers *answers, bool json)
{
    const struct view *view = views;
    struct table table;
    if (json) {
        print_json(answers);
        return;
    }
    while (view->method && strcmp(view->method, method) != 0)
        view++;
    table_init(&table, view->columns, view->column_count);
    for (size_t i = 0; i < answers->count; i++) {
        const struct answer_of *item = &answers->items[i];
        if (!cel_value_get(item->value, "error"))
            view->add(&table, item->node, item->value);
    }
    table_print(&table, stdout);
    table_deinit(&table);
}
