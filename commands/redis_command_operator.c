/*
 * The commands of who looks after queues: what is set aside, what there is, what is to go.
 */
#include "commands/redis_command_priv.h"

/* --- what is set aside ------------------------------------------------------------------------ */

int redis_command_dead_list(struct redis_request *request,
                            const struct queue_keys *keys,
                            struct str cursor,
                            unsigned max,
                            bool with_messages)
{
    struct buf buf = script_begin(request, SCRIPT_dead_list, 1, 3, keys->dead.len + cursor.len);
    write_arg(&buf, keys->dead);
    write_arg(&buf, cursor);
    write_u64(&buf, max);
    write_arg(&buf, with_messages ? STR("1") : STR("0"));
    return redis_request_finish(request, &buf);
}

int redis_command_dead_end(struct redis_request *request,
                           const struct queue_keys *keys,
                           const struct broker_dead_choice *choices,
                           size_t count,
                           bool are_dropped)
{
    size_t payload = 8 * keys->dead.len;
    for (size_t i = 0; i < count; i++)
        payload += choices[i].entry.len + choices[i].bytes.len + 32;
    struct buf buf = script_begin(request, SCRIPT_dead_end, are_dropped ? 3 : 3 + STEP_COUNT,
                                  2 * count, payload);
    write_arg(&buf, keys->dead);
    write_arg(&buf, keys->counts);
    write_arg(&buf, keys->ledger);
    if (!are_dropped)
        command_add_lists(&buf, keys->lists);
    for (size_t i = 0; i < count; i++) {
        write_arg(&buf, choices[i].entry);
        write_arg(&buf, choices[i].bytes);
    }
    return redis_request_finish(request, &buf);
}

int redis_command_delayed_list(struct redis_request *request,
                               const struct queue_keys *keys,
                               struct str cursor,
                               const struct broker_delayed_range *range,
                               unsigned max)
{
    struct buf buf = script_begin(request, SCRIPT_delayed_list, 1, 5,
                                  keys->delayed.len + cursor.len + range->holding.len + 64);
    write_arg(&buf, keys->delayed);
    write_arg(&buf, cursor);
    if (range->from_wall == 0)
        write_arg(&buf, STR("-inf"));
    else
        write_u64(&buf, ms_up(range->from_wall));
    if (range->to_wall == USEC_NEVER)
        write_arg(&buf, STR("+inf"));
    else
        write_u64(&buf, range->to_wall / USEC_PER_MSEC);
    write_u64(&buf, max);
    write_arg(&buf, range->holding);
    return redis_request_finish(request, &buf);
}

/* The text that belongs to a member in the script. */
static struct str text_of(const struct broker_delayed_choice *choice,
                          const struct key_space *space,
                          bool is_cancelled)
{
    if (!is_cancelled)
        return choice->bytes;
    return space && choice->result_id.ptr ? choice->result_document : STR_NONE;
}

int redis_command_delayed_end(struct redis_request *request,
                              const struct key_space *space,
                              const struct queue_keys *keys,
                              const struct broker_delayed_end *end)
{
    size_t payload = 9 * keys->delayed.len, results = end->are_cancelled ? end->count : 0;
    for (size_t i = 0; i < end->count; i++)
        payload += end->choices[i].member.len + end->choices[i].bytes.len + keys->delayed.len +
                   end->choices[i].result_id.len + end->choices[i].result_document.len + 64;
    struct buf buf = script_begin(request, SCRIPT_delayed_end, 3 + STEP_COUNT + results,
                                  2 + (results ? 3 : 2) * end->count, payload);
    write_arg(&buf, keys->delayed);
    write_arg(&buf, keys->counts);
    command_add_lists(&buf, keys->lists);
    write_arg(&buf, keys->ledger);
    for (size_t i = 0; i < results; i++) {
        if (space && end->choices[i].result_id.ptr)
            command_add_result(&buf, space, end->choices[i].result_id);
        else
            write_arg(&buf, keys->delayed); /* a place that the script leaves alone */
    }
    write_arg(&buf, end->are_cancelled ? STR("cancel") : STR("run"));
    write_u64(&buf, seconds_up(end->result_ttl));
    for (size_t i = 0; i < end->count; i++) {
        write_arg(&buf, end->choices[i].member);
        write_arg(&buf, text_of(&end->choices[i], space, end->are_cancelled));
        if (end->are_cancelled)
            write_arg(&buf, end->choices[i].id);
    }
    return redis_request_finish(request, &buf);
}

/* --- looking ---------------------------------------------------------------------------------- */

int redis_command_scan(struct redis_request *request,
                       const struct key_space *space,
                       enum redis_scan what,
                       struct str cursor)
{
    struct buf buf = write_begin(6, space->prefix.len + 128);
    write_arg(&buf, STR("SCAN"));
    write_arg(&buf, cursor);
    write_arg(&buf, STR("MATCH"));
    size_t start = write_open(&buf);
    if (what == REDIS_SCAN_OURS)
        key_add_pattern_ours(&buf, space);
    else
        key_add_pattern_bindings(&buf, space);
    write_close(&buf, start);
    write_arg(&buf, STR("COUNT"));
    write_arg(&buf, STR("1000"));
    return redis_request_finish(request, &buf);
}

int redis_command_members(struct redis_request *request, struct str key)
{
    struct buf buf = write_begin(2, key.len + 32);
    write_arg(&buf, STR("SMEMBERS"));
    write_arg(&buf, key);
    return redis_request_finish(request, &buf);
}

int redis_command_page(struct redis_request *request,
                       struct str key,
                       struct str cursor,
                       unsigned max,
                       bool wants_fields)
{
    struct buf buf = script_begin(request, SCRIPT_page, 1, 3, key.len + cursor.len + 32);
    write_arg(&buf, key);
    write_arg(&buf, cursor);
    write_u64(&buf, max);
    write_arg(&buf, wants_fields ? STR("1") : STR("0"));
    return redis_request_finish(request, &buf);
}

int redis_command_unlink(struct redis_request *request, struct str key)
{
    struct buf buf = write_begin(2, key.len + 32);
    write_arg(&buf, STR("UNLINK"));
    write_arg(&buf, key);
    return redis_request_finish(request, &buf);
}

/* A key without the node's name at its end. */
static struct str without_node(struct str key, struct str node)
{
    return str_n(key.ptr, key.len - node.len);
}

int redis_command_stats(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct str *in_flight,
                        size_t in_flight_count,
                        const struct str *staging,
                        size_t staging_count)
{
    size_t count = in_flight_count + staging_count;
    struct buf buf = script_begin(request, SCRIPT_stats, 8 + count, 3,
                                  (10 + 2 * count) * (keys->in_flight.len + 16));
    command_add_lists(&buf, keys->lists);
    write_arg(&buf, keys->delayed);
    write_arg(&buf, keys->dead);
    write_arg(&buf, keys->counts);
    write_arg(&buf, keys->nodes);
    for (size_t i = 0; i < in_flight_count; i++)
        write_arg(&buf, in_flight[i]);
    for (size_t i = 0; i < staging_count; i++)
        write_arg(&buf, staging[i]);
    write_u64(&buf, in_flight_count);
    write_arg(&buf, without_node(keys->in_flight, keys->node));
    write_arg(&buf, without_node(keys->staging[0], keys->node));
    return redis_request_finish(request, &buf);
}

int redis_command_purge(struct redis_request *request, const struct queue_keys *keys, bool delayed)
{
    struct buf buf = script_begin(request, SCRIPT_purge, 1 + STEP_COUNT + (delayed ? 1u : 0u), 0,
                                  7 * keys->in_flight.len);
    write_arg(&buf, keys->counts);
    command_add_lists(&buf, keys->lists);
    if (delayed)
        write_arg(&buf, keys->delayed);
    return redis_request_finish(request, &buf);
}
