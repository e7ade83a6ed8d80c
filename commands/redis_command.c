/*
 * Scripts are sent by their SHA-1; redis/pipeline.c sees to it that the server knows them.
 */
#include "commands/redis_command_priv.h"

#define EMBEDDED_SCRIPT(name, sha1, lua)                                                           \
    [SCRIPT_##name] = {SCRIPT_##name, {sha1, sizeof(sha1) - 1}, {lua, sizeof(lua) - 1}},
static const struct redis_script scripts[] = {
#include "embedded_scripts.inc"
};

/* --- arguments -------------------------------------------------------------------------------- */

struct buf script_begin(struct redis_request *request,
                        enum redis_script_number script,
                        size_t keys,
                        size_t args,
                        size_t payload)
{
    struct buf buf = write_begin(3 + keys + args, payload + 64);
    request->script = &scripts[script];
    write_arg(&buf, STR("EVALSHA"));
    write_arg(&buf, scripts[script].sha);
    write_u64(&buf, keys);
    return buf;
}

void command_add_list(struct buf *buf,
                      const struct key_space *space,
                      const struct broker_message *message)
{
    size_t start = write_open(buf);
    key_add_list(buf, space, message->queue, message->step);
    write_close(buf, start);
}

void command_add_result(struct buf *buf, const struct key_space *space, struct str id)
{
    size_t start = write_open(buf);
    key_add_result(buf, space, id);
    write_close(buf, start);
}

void command_add_counts(struct buf *buf, const struct key_space *space, struct str queue)
{
    size_t start = write_open(buf);
    key_add_counts(buf, space, queue);
    write_close(buf, start);
}

static void add_revoked(struct buf *buf, const struct key_space *space)
{
    size_t start = write_open(buf);
    key_add_revoked(buf, space);
    write_close(buf, start);
}

static void add_newest_revoked(struct buf *buf, const struct key_space *space)
{
    size_t start = write_open(buf);
    key_add_newest_revoked(buf, space);
    write_close(buf, start);
}

static void add_queues(struct buf *buf, const struct key_space *space)
{
    size_t start = write_open(buf);
    key_add_queues(buf, space);
    write_close(buf, start);
}

void command_add_tag(struct buf *buf, const struct broker_claim *claim)
{
    char tag[TAG_SIZE];
    write_arg(buf, key_tag(tag, claim->tag, claim->step));
}

void command_add_lists(struct buf *buf, const struct str *lists)
{
    for (size_t i = 0; i < STEP_COUNT; i++)
        write_arg(buf, lists[i]);
}

/* --- messages --------------------------------------------------------------------------------- */

int redis_command_push(struct redis_request *request,
                       const struct key_space *space,
                       const struct broker_message *messages,
                       size_t count)
{
    size_t payload = 128 + 2 * (space->prefix.len + messages->queue.len);
    for (size_t i = 0; i < count; i++)
        payload += messages[i].bytes.len;
    struct buf buf = script_begin(request, SCRIPT_push, 2, count, payload);
    command_add_list(&buf, space, messages);
    command_add_counts(&buf, space, messages->queue);
    for (size_t i = 0; i < count; i++)
        write_arg(&buf, messages[i].bytes);
    return redis_request_finish(request, &buf);
}

static void add_marks(struct buf *buf,
                      const struct key_space *space,
                      const struct broker_message *messages,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t start = write_open(buf);
        key_add_sent(buf, space, messages[i].queue, messages[i].id);
        write_close(buf, start);
    }
}

int redis_command_push_once(struct redis_request *request,
                            const struct key_space *space,
                            const struct broker_message *messages,
                            size_t count,
                            usec_t window)
{
    size_t each = space->prefix.len + messages->queue.len + 48, payload = 2 * each;
    for (size_t i = 0; i < count; i++)
        payload += each + messages[i].id.len + messages[i].bytes.len;
    struct buf buf = script_begin(request, SCRIPT_push_once, 2 + count, 1 + count, payload);
    command_add_list(&buf, space, messages);
    command_add_counts(&buf, space, messages->queue);
    add_marks(&buf, space, messages, count);
    write_u64(&buf, ms_up(window));
    for (size_t i = 0; i < count; i++)
        write_arg(&buf, messages[i].bytes);
    return redis_request_finish(request, &buf);
}

int redis_command_forget_sent(struct redis_request *request,
                              const struct key_space *space,
                              const struct broker_message *messages,
                              size_t count)
{
    size_t payload = 64;
    for (size_t i = 0; i < count; i++)
        payload += space->prefix.len + messages[i].queue.len + messages[i].id.len + 48;
    struct buf buf = write_begin(1 + count, payload);
    write_arg(&buf, STR("UNLINK"));
    add_marks(&buf, space, messages, count);
    return redis_request_finish(request, &buf);
}

/* For WAIT and WAITAOF 0 would mean for ever. */
static uint64_t server_wait_ms(usec_t limit)
{
    return limit < USEC_PER_MSEC ? 1 : limit / USEC_PER_MSEC;
}

int redis_command_wait_replicas(struct redis_request *request, unsigned replicas, usec_t limit)
{
    struct buf buf = write_begin(3, 64);
    write_arg(&buf, STR("WAIT"));
    write_u64(&buf, replicas);
    write_u64(&buf, server_wait_ms(limit));
    return redis_request_finish(request, &buf);
}

int redis_command_wait_disk(struct redis_request *request, usec_t limit)
{
    struct buf buf = write_begin(4, 64);
    write_arg(&buf, STR("WAITAOF"));
    write_arg(&buf, STR("1"));
    write_arg(&buf, STR("0"));
    write_u64(&buf, server_wait_ms(limit));
    return redis_request_finish(request, &buf);
}

int redis_command_knows_wait_disk(struct redis_request *request)
{
    struct buf buf = write_begin(3, 64);
    write_arg(&buf, STR("COMMAND"));
    write_arg(&buf, STR("INFO"));
    write_arg(&buf, STR("WAITAOF"));
    return redis_request_finish(request, &buf);
}

bool redis_knows_command(const struct redis_reply *reply)
{
    return reply_count(reply_item(reply, 0)) > 0;
}

int redis_command_declare(struct redis_request *request,
                          const struct key_space *space,
                          struct str queue)
{
    struct buf buf = write_begin(3, 3 * queue.len + 128);
    write_arg(&buf, STR("SADD"));
    size_t start = write_open(&buf);
    key_add_binding(&buf, space, queue);
    write_close(&buf, start);
    start = write_open(&buf);
    key_add_binding_member(&buf, queue);
    write_close(&buf, start);
    return redis_request_finish(request, &buf);
}

int redis_command_fire(struct redis_request *request,
                       const struct key_space *space,
                       struct str entry,
                       usec_t slot_wall,
                       usec_t mark_ttl,
                       const struct broker_message *message)
{
    struct buf buf = script_begin(request, SCRIPT_fire, 3, 2,
                                  entry.len + message->queue.len + message->bytes.len + 128);
    size_t start = write_open(&buf);
    key_add_fired(&buf, space, entry, slot_wall);
    write_close(&buf, start);
    command_add_list(&buf, space, message);
    command_add_counts(&buf, space, message->queue);
    write_u64(&buf, mark_ttl < USEC_PER_MSEC ? 1 : ms_up(mark_ttl));
    write_arg(&buf, message->bytes);
    return redis_request_finish(request, &buf);
}

int redis_command_claim(struct redis_request *request,
                        const struct key_space *space,
                        const struct queue_keys *keys,
                        struct redis_tags tags,
                        bool look_at_staged,
                        const struct redis_tags *unanswered,
                        size_t unanswered_count)
{
    struct buf buf =
        script_begin(request, SCRIPT_claim, 8 + (look_at_staged ? STEP_COUNT : 0u),
                     3 + 2 * unanswered_count, 14 * (keys->in_flight.len + keys->name.len));
    write_arg(&buf, keys->in_flight);
    write_arg(&buf, keys->nodes);
    write_arg(&buf, keys->counts);
    add_newest_revoked(&buf, space);
    command_add_lists(&buf, keys->lists);
    if (look_at_staged)
        command_add_lists(&buf, keys->staging);
    write_arg(&buf, keys->node);
    write_u64(&buf, tags.count);
    write_u64(&buf, tags.first);
    for (size_t i = 0; i < unanswered_count; i++) {
        write_u64(&buf, unanswered[i].first);
        write_u64(&buf, unanswered[i].count);
    }
    return redis_request_finish(request, &buf);
}

int redis_command_wait(struct redis_request *request,
                       const struct queue_keys *keys,
                       unsigned list,
                       usec_t server_wait)
{
    struct buf buf = write_begin(6, keys->lists[list].len + keys->staging[list].len + 64);
    write_arg(&buf, STR("BLMOVE"));
    write_arg(&buf, keys->lists[list]);
    write_arg(&buf, keys->staging[list]);
    write_arg(&buf, STR("RIGHT"));
    write_arg(&buf, STR("LEFT"));
    write_u64(&buf, seconds_up(server_wait));
    return redis_request_finish(request, &buf);
}

int redis_command_unblock(struct redis_request *request, int64_t client_id)
{
    struct buf buf = write_begin(3, 64);
    write_arg(&buf, STR("CLIENT"));
    write_arg(&buf, STR("UNBLOCK"));
    write_u64(&buf, (uint64_t)client_id);
    return redis_request_finish(request, &buf);
}

int redis_command_unstage(struct redis_request *request, const struct queue_keys *keys)
{
    struct buf buf =
        script_begin(request, SCRIPT_unstage, 2 * STEP_COUNT, 0, 8 * keys->in_flight.len);
    command_add_lists(&buf, keys->lists);
    command_add_lists(&buf, keys->staging);
    return redis_request_finish(request, &buf);
}

/* --- what becomes of a claim ------------------------------------------------------------------ */

void command_add_delayed_head(struct buf *buf,
                              const struct queue_keys *keys,
                              const struct broker_claim *claim)
{
    char tag[TAG_SIZE];
    buf_add_str(buf, keys->node);
    buf_add_char(buf, '/');
    buf_add_str(buf, key_tag(tag, claim->tag, claim->step));
    buf_add_char(buf, '\n');
}

void command_add_dead(struct buf *buf, const struct broker_dead *dead)
{
    write_arg(buf, dead->reason);
    write_arg(buf, dead->detail);
    write_arg(buf, dead->task_id);
    write_arg(buf, dead->task);
    write_u64(buf, clock_wall() / USEC_PER_MSEC);
    write_arg(buf, dead->evidence);
}

void command_add_limits(struct buf *buf, const struct dead_limits *limits)
{
    write_u64(buf, limits->count);
    write_u64(buf, limits->age / USEC_PER_MSEC);
}

int redis_command_holds(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct broker_claim *claim)
{
    struct buf buf = write_begin(3, keys->in_flight.len + 64);
    write_arg(&buf, STR("HEXISTS"));
    write_arg(&buf, keys->in_flight);
    command_add_tag(&buf, claim);
    return redis_request_finish(request, &buf);
}

int redis_command_ack(struct redis_request *request,
                      const struct queue_keys *keys,
                      const struct broker_claim *claims,
                      size_t count)
{
    bool has_ledger = claims[0].id.len > 0;
    struct buf buf =
        script_begin(request, SCRIPT_ack, has_ledger ? 3 : 2, has_ledger ? 2 * count : count,
                     3 * keys->in_flight.len + count * (has_ledger ? 64 : 16));
    write_arg(&buf, keys->in_flight);
    write_arg(&buf, keys->counts);
    if (has_ledger)
        write_arg(&buf, keys->ledger);
    for (size_t i = 0; i < count; i++)
        command_add_tag(&buf, &claims[i]);
    for (size_t i = 0; i < count && has_ledger; i++)
        write_arg(&buf, claims[i].id);
    return redis_request_finish(request, &buf);
}

int redis_command_track(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct broker_claim *claim)
{
    struct buf buf =
        script_begin(request, SCRIPT_track, 2, 3, 3 * keys->in_flight.len + claim->id.len);
    write_arg(&buf, keys->in_flight);
    write_arg(&buf, keys->ledger);
    command_add_tag(&buf, claim);
    write_arg(&buf, claim->id);
    write_arg(&buf, keys->node);
    return redis_request_finish(request, &buf);
}

int redis_command_give_back(struct redis_request *request,
                            const struct queue_keys *keys,
                            const struct broker_claim *claim)
{
    struct buf buf = script_begin(request, SCRIPT_give_back, 3, 1, 4 * keys->in_flight.len);
    write_arg(&buf, keys->in_flight);
    write_arg(&buf, keys->counts);
    write_arg(&buf, keys->lists[claim->step / STEP_WIDTH]);
    command_add_tag(&buf, claim);
    return redis_request_finish(request, &buf);
}

int redis_command_park(struct redis_request *request,
                       const struct queue_keys *keys,
                       const struct broker_claim *claim,
                       usec_t due_wall)
{
    struct buf buf = script_begin(request, SCRIPT_park, 2, 3, 4 * keys->in_flight.len);
    write_arg(&buf, keys->in_flight);
    write_arg(&buf, keys->delayed);
    command_add_tag(&buf, claim);
    write_u64(&buf, ms_up(due_wall));
    size_t start = write_open(&buf);
    command_add_delayed_head(&buf, keys, claim);
    write_close(&buf, start);
    return redis_request_finish(request, &buf);
}

int redis_command_promote(struct redis_request *request,
                          const struct queue_keys *keys,
                          usec_t now_wall,
                          unsigned max)
{
    struct buf buf = script_begin(request, SCRIPT_promote, 2 + STEP_COUNT, 2,
                                  2 * keys->delayed.len + 5 * keys->lists[STEP_COUNT - 1].len + 64);
    write_arg(&buf, keys->delayed);
    command_add_lists(&buf, keys->lists);
    write_arg(&buf, keys->counts);
    write_u64(&buf, now_wall / USEC_PER_MSEC);
    write_u64(&buf, max);
    return redis_request_finish(request, &buf);
}

/* --- the lease -------------------------------------------------------------------------------- */

int redis_command_renew(struct redis_request *request,
                        const struct key_space *space,
                        const struct queue_keys *keys,
                        usec_t ttl,
                        bool is_new)
{
    struct buf buf = script_begin(request, SCRIPT_renew, 3, 4, 8 * keys->in_flight.len);
    write_arg(&buf, keys->nodes);
    write_arg(&buf, keys->in_flight);
    add_queues(&buf, space);
    write_arg(&buf, keys->node);
    write_u64(&buf, ms_up(ttl));
    write_arg(&buf, is_new ? STR("1") : STR("0"));
    write_arg(&buf, keys->name);
    return redis_request_finish(request, &buf);
}

int redis_command_known_queues(struct redis_request *request, const struct key_space *space)
{
    struct buf buf = write_begin(2, space->prefix.len + 64);
    write_arg(&buf, STR("SMEMBERS"));
    add_queues(&buf, space);
    return redis_request_finish(request, &buf);
}

int redis_command_show(struct redis_request *request,
                       const struct queue_keys *keys,
                       const struct broker_claim *claims,
                       size_t count)
{
    struct buf buf = write_begin(2 + count, keys->in_flight.len + count * 16 + 32);
    write_arg(&buf, STR("HMGET"));
    write_arg(&buf, keys->in_flight);
    for (size_t i = 0; i < count; i++)
        command_add_tag(&buf, &claims[i]);
    return redis_request_finish(request, &buf);
}

int redis_command_leave(struct redis_request *request, const struct queue_keys *keys)
{
    struct buf buf = script_begin(request, SCRIPT_leave, 1, 1, 2 * keys->in_flight.len);
    write_arg(&buf, keys->nodes);
    write_arg(&buf, keys->node);
    return redis_request_finish(request, &buf);
}

int redis_command_dead_nodes(struct redis_request *request,
                             const struct queue_keys *keys,
                             unsigned max)
{
    struct buf buf = script_begin(request, SCRIPT_dead_nodes, 1, 1, 2 * keys->nodes.len);
    write_arg(&buf, keys->nodes);
    write_u64(&buf, max);
    return redis_request_finish(request, &buf);
}

int redis_command_take_over(struct redis_request *request,
                            const struct queue_keys *theirs,
                            size_t max,
                            usec_t remembered)
{
    struct buf buf =
        script_begin(request, SCRIPT_take_over, 2 + 2 * STEP_COUNT, 3, 12 * theirs->in_flight.len);
    write_arg(&buf, theirs->nodes);
    write_arg(&buf, theirs->in_flight);
    command_add_lists(&buf, theirs->lists);
    command_add_lists(&buf, theirs->staging);
    write_arg(&buf, theirs->node);
    write_u64(&buf, max);
    write_u64(&buf, ms_up(remembered));
    return redis_request_finish(request, &buf);
}

/* Whether the script stores a result for it. */
static bool has_result(const struct broker_rescued *rescued, const struct key_space *space)
{
    return space && rescued->dead && rescued->result_id.ptr;
}

static void
add_rescued(struct buf *buf, const struct broker_rescued *rescued, const struct key_space *space)
{
    write_arg(buf, rescued->dead ? STR("bury") : STR("push"));
    command_add_tag(buf, &rescued->claim);
    if (rescued->dead) {
        command_add_dead(buf, rescued->dead);
        write_arg(buf, has_result(rescued, space) ? rescued->result_document : STR_NONE);
        return;
    }
    write_u64(buf, 1 + rescued->claim.step / STEP_WIDTH);
    write_arg(buf, rescued->bytes);
}

int redis_command_rescue(struct redis_request *request,
                         const struct key_space *space,
                         const struct queue_keys *theirs,
                         const struct broker_rescued *rescued,
                         size_t count,
                         usec_t result_ttl,
                         const struct dead_limits *limits)
{
    size_t results = 0, args = 3, payload = 8 * theirs->in_flight.len;
    for (size_t i = 0; i < count; i++) {
        results += has_result(&rescued[i], space);
        args += rescued[i].dead ? 9 : 4;
        payload += 128 + rescued[i].bytes.len + rescued[i].result_document.len;
    }
    struct buf buf = script_begin(request, SCRIPT_rescue, 3 + STEP_COUNT + results, args, payload);
    write_arg(&buf, theirs->in_flight);
    write_arg(&buf, theirs->counts);
    write_arg(&buf, theirs->dead);
    command_add_lists(&buf, theirs->lists);
    for (size_t i = 0; i < count; i++) {
        if (has_result(&rescued[i], space))
            command_add_result(&buf, space, rescued[i].result_id);
    }
    command_add_limits(&buf, limits);
    write_u64(&buf, seconds_up(result_ttl));
    for (size_t i = 0; i < count; i++)
        add_rescued(&buf, &rescued[i], space);
    return redis_request_finish(request, &buf);
}

/* --- revocations ------------------------------------------------------------------------------ */

int redis_command_revoke(struct redis_request *request,
                         const struct key_space *space,
                         const struct broker_revocation *revocations,
                         size_t count,
                         usec_t kept)
{
    size_t payload = 3 * space->prefix.len + 192;
    for (size_t i = 0; i < count; i++)
        payload += revocations[i].id.len + revocations[i].stamp.len + revocations[i].value.len + 32;
    struct buf buf = script_begin(request, SCRIPT_revoke, 3, 1 + 4 * count, payload);
    add_revoked(&buf, space);
    add_newest_revoked(&buf, space);
    size_t start = write_open(&buf);
    key_add_revoked_until(&buf, space);
    write_close(&buf, start);
    write_u64(&buf, ms_up(kept));
    for (size_t i = 0; i < count; i++) {
        write_arg(&buf, revocations[i].id);
        write_arg(&buf, revocations[i].stamp);
        write_arg(&buf, revocations[i].value);
        write_arg(&buf, revocations[i].signal);
    }
    return redis_request_finish(request, &buf);
}

static void add_revocation_id(struct buf *buf, struct broker_revocation_id id)
{
    size_t start = write_open(buf);
    buf_add_u64(buf, id.number);
    buf_add_char(buf, '-');
    buf_add_u64(buf, id.made_usec);
    write_close(buf, start);
}

int redis_command_revocations(struct redis_request *request,
                              const struct key_space *space,
                              struct broker_revocation_id after,
                              unsigned max)
{
    struct buf buf = script_begin(request, SCRIPT_revocations, 2, 2, 2 * space->prefix.len + 128);
    add_revoked(&buf, space);
    add_newest_revoked(&buf, space);
    add_revocation_id(&buf, after);
    write_u64(&buf, max);
    return redis_request_finish(request, &buf);
}

int redis_command_await_revocations(struct redis_request *request,
                                    const struct key_space *space,
                                    struct broker_revocation_id after,
                                    usec_t server_wait)
{
    struct buf buf = write_begin(8, space->prefix.len + 128);
    write_arg(&buf, STR("XREAD"));
    write_arg(&buf, STR("COUNT"));
    write_u64(&buf, 1);
    write_arg(&buf, STR("BLOCK"));
    write_u64(&buf, ms_up(server_wait));
    write_arg(&buf, STR("STREAMS"));
    add_revoked(&buf, space);
    add_revocation_id(&buf, after);
    return redis_request_finish(request, &buf);
}
