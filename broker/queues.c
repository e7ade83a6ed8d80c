/*
 * Looking at queues. In flight and staged messages stand in one key for each node, and nothing
 * lists the nodes; so the keys are found by SCAN, which never holds Redis up for long. Then each
 * queue is counted by one script, which sees it at one moment.
 *
 *     SCAN our keys --> [ SCAN bindings --> SMEMBERS of each ] --> stats of each queue --> cb
 *                         only when all queues are asked for
 *
 * One request is under way at a time; it is used again for the next step.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/broker_priv.h"
#include "broker/names.h"
#include "core/mem.h"

struct look {
    struct str name;
    struct names in_flight, staging; /* keys of all nodes */
};

enum step { SCANNING_OURS, SCANNING_BINDINGS, READING_BINDINGS, COUNTING };

struct look_op {
    struct redis_request request;
    struct broker *broker;
    bool wants_all;
    enum step step;
    struct look *looks;
    size_t look_count, look_cap;
    struct names bindings;
    size_t at; /* binding or queue under way */
    struct broker_queue_stats *stats;
    broker_stats_fn *cb;
    void *data;
};

static struct look *find_look(struct look_op *op, struct str name)
{
    for (size_t i = 0; i < op->look_count; i++) {
        if (str_equal(op->looks[i].name, name))
            return &op->looks[i];
    }
    return NULL;
}

static int add_look(struct look_op *op, struct str name)
{
    if (find_look(op, name))
        return 0;
    struct look *looks = mem_room(op->looks, op->look_count, &op->look_cap, sizeof(*looks));
    if (!looks)
        return -ENOMEM;
    op->looks = looks;
    char *copy = mem_dup(name.ptr, name.len);
    if (!copy)
        return -ENOMEM;
    op->looks[op->look_count++] = (struct look){.name = str_n(copy, name.len)};
    return 0;
}

static void free_op(struct look_op *op)
{
    for (size_t i = 0; i < op->look_count; i++) {
        mem_free((char *)(uintptr_t)op->looks[i].name.ptr);
        names_deinit(&op->looks[i].in_flight);
        names_deinit(&op->looks[i].staging);
        if (op->stats)
            mem_free((char *)(uintptr_t)op->stats[i].oldest.ptr);
    }
    names_deinit(&op->bindings);
    mem_free(op->looks);
    mem_free(op->stats);
    redis_request_deinit(&op->request);
    mem_free(op);
}

/* --- answers ---------------------------------------------------------------------------------- */

static int take_our_key(struct look_op *op, struct str key)
{
    struct str name;
    enum key_kind kind = key_parse(key, &op->broker->space, &name);
    if (kind == KEY_OTHER || kind == KEY_BINDING)
        return 0;
    int status = op->wants_all ? add_look(op, name) : 0;
    struct look *look = status ? NULL : find_look(op, name);
    if (look && kind == KEY_IN_FLIGHT)
        status = names_add(&look->in_flight, key);
    else if (look && kind == KEY_STAGING)
        status = names_add(&look->staging, key);
    return status;
}

static int take_binding(struct look_op *op, struct str key)
{
    struct str name;
    bool is_binding = key_parse(key, &op->broker->space, &name) == KEY_BINDING;
    return is_binding ? names_add(&op->bindings, key) : 0;
}

static int take_keys(struct look_op *op, const struct redis_reply *keys)
{
    int status = 0;
    for (size_t i = 0; i < reply_count(keys) && !status; i++) {
        struct str key = reply_text(reply_item(keys, i));
        if (key.ptr)
            status = op->step == SCANNING_OURS ? take_our_key(op, key) : take_binding(op, key);
    }
    return status;
}

static int take_members(struct look_op *op, const struct redis_reply *members)
{
    int status = 0;
    for (size_t i = 0; i < reply_count(members) && !status; i++) {
        struct str member = reply_text(reply_item(members, i));
        struct str queue = member.ptr ? key_binding_queue(member) : STR_NONE;
        if (queue.len)
            status = add_look(op, queue);
    }
    return status;
}

static uint64_t number(const struct redis_reply *reply, size_t index)
{
    int64_t value = reply_integer(reply_item(reply, index), 0);
    return value > 0 ? (uint64_t)value : 0;
}

/* Name, number, name, number ... */
static void take_counts(struct broker_counts *counts, const struct redis_reply *reply)
{
    const struct {
        struct str name;
        uint64_t *count;
    } places[] = {
        {STR("published"), &counts->published}, {STR("claimed"), &counts->claimed},
        {STR("returned"), &counts->returned},   {STR("done"), &counts->done},
        {STR("expired"), &counts->expired},     {STR("revoked"), &counts->revoked},
        {STR("dropped"), &counts->dropped},     {STR("cancelled"), &counts->cancelled},
        {STR("purged"), &counts->purged},
    };
    for (size_t i = 0; i + 1 < reply_count(reply); i += 2) {
        struct str name = reply_text(reply_item(reply, i));
        for (size_t at = 0; at < ARRAY_SIZE(places); at++) {
            if (str_equal(name, places[at].name) &&
                str_parse_u64(reply_text(reply_item(reply, i + 1)), places[at].count))
                *places[at].count = 0;
        }
    }
}

static int take_stats(struct look_op *op, const struct redis_reply *reply)
{
    struct broker_queue_stats *stats = &op->stats[op->at];
    struct str oldest = reply_text(reply_item(reply, 5));
    *stats = (struct broker_queue_stats){
        .queue = op->looks[op->at].name,
        .waiting = number(reply, 0),
        .staged = number(reply, 1),
        .in_flight = number(reply, 2),
        .delayed = number(reply, 3),
        .dead = number(reply, 4),
    };
    take_counts(&stats->counts, reply_item(reply, 6));
    if (!oldest.ptr)
        return 0;
    char *copy = mem_dup(oldest.ptr, oldest.len);
    if (!copy)
        return -ENOMEM;
    stats->oldest = str_n(copy, oldest.len);
    return 0;
}

/* --- steps ------------------------------------------------------------------------------------ */

static int format_scan(struct look_op *op, struct str cursor)
{
    return redis_command_scan(&op->request, &op->broker->space,
                              op->step == SCANNING_OURS ? REDIS_SCAN_OURS : REDIS_SCAN_BINDINGS,
                              cursor);
}

static int format_count(struct look_op *op)
{
    struct queue_keys keys;
    const struct look *look = &op->looks[op->at];
    if (queue_keys_init(&keys, &op->broker->space, look->name))
        return -ENOMEM;
    int status =
        redis_command_stats(&op->request, &keys, look->in_flight.items, look->in_flight.count,
                            look->staging.items, look->staging.count);
    queue_keys_deinit(&keys);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return str_compare(((const struct look *)a)->name, ((const struct look *)b)->name);
}

/* Enters the step after the present one; those with nothing to do are passed over. */
static int next_step(struct look_op *op, bool *ret_done)
{
    op->at = 0;
    if (op->step == SCANNING_OURS && op->wants_all) {
        op->step = SCANNING_BINDINGS;
        return format_scan(op, STR("0"));
    }
    if (op->step == SCANNING_BINDINGS && op->bindings.count) {
        op->step = READING_BINDINGS;
        return redis_command_members(&op->request, op->bindings.items[0]);
    }
    if (op->step == COUNTING || op->look_count == 0) {
        *ret_done = true;
        return 0;
    }
    op->step = COUNTING;
    if (op->wants_all)
        qsort(op->looks, op->look_count, sizeof(*op->looks), by_name);
    op->stats = mem_array(op->look_count, sizeof(*op->stats));
    return op->stats ? format_count(op) : -ENOMEM;
}

static int take_answer(struct look_op *op, const struct redis_reply *reply, bool *ret_done)
{
    struct str cursor;
    int status = 0;
    switch (op->step) {
    case SCANNING_OURS:
    case SCANNING_BINDINGS:
        cursor = reply_text(reply_item(reply, 0));
        status = take_keys(op, reply_item(reply, 1));
        if (status)
            return status;
        return cursor.ptr && !str_equal(cursor, STR("0")) ? format_scan(op, cursor)
                                                          : next_step(op, ret_done);
    case READING_BINDINGS:
        status = take_members(op, reply);
        if (status)
            return status;
        return ++op->at < op->bindings.count
                   ? redis_command_members(&op->request, op->bindings.items[op->at])
                   : next_step(op, ret_done);
    case COUNTING:
        status = take_stats(op, reply);
        if (status)
            return status;
        return ++op->at < op->look_count ? format_count(op) : next_step(op, ret_done);
    }
    return -EINVAL;
}

static void on_answer(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct look_op *op = container_of(request, struct look_op, request);
    struct cel_error own = {0};
    bool is_done = false;
    redis_request_deinit(request);
    request->script = NULL;
    request->loads = 0;
    if (!status) {
        status = take_answer(op, reply, &is_done);
        if (status)
            error_set(&own, status, "%s", cel_error_name(status));
        err = &own;
    }
    if (!status && !is_done) {
        redis_connection_send(op->broker->main, request);
        return;
    }
    op->cb(op->data, status, status ? NULL : op->stats, status ? 0 : op->look_count,
           status ? err : NULL);
    free_op(op);
}

int broker_queues(struct broker *broker,
                  const struct str *queues,
                  size_t count,
                  usec_t deadline_mono,
                  broker_stats_fn *cb,
                  void *data)
{
    if (broker->is_closing)
        return -ECANCELED;
    struct look_op *op = mem_new(struct look_op);
    if (!op)
        return -ENOMEM;
    op->request.on_reply = on_answer;
    op->request.deadline_mono = deadline_mono;
    op->request.repeatable = true;
    op->broker = broker;
    op->wants_all = count == 0;
    op->cb = cb;
    op->data = data;
    int status = 0;
    for (size_t i = 0; i < count && !status; i++)
        status = queues[i].len ? add_look(op, queues[i]) : -EINVAL;
    if (!status)
        status = format_scan(op, STR("0"));
    if (status) {
        free_op(op);
        return status;
    }
    redis_connection_send(broker->main, &op->request);
    return 0;
}

/* --- purging ---------------------------------------------------------------------------------- */

int broker_purge(struct broker *broker,
                 struct str name,
                 bool delayed,
                 usec_t deadline_mono,
                 uint64_t *ret_purged,
                 broker_done_fn *cb,
                 void *data)
{
    struct broker_queue *queue;
    int status = broker->is_closing ? -ECANCELED : broker_queue(broker, name, &queue);
    if (status)
        return status;
    struct done_op *op;
    status = done_op_new(broker, cb, data, &op);
    if (status)
        return status;
    op->ret_count = ret_purged;
    return done_op_send(op, broker->main, deadline_mono,
                        redis_command_purge(&op->request, &queue->keys, delayed));
}
