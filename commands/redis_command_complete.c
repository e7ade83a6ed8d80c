/*
 * The step that ends a claim, and what follows it among the results.
 */
#include "commands/redis_command_priv.h"

/* --- what follows in chords -------------------------------------------------------------------- */

enum { DOCUMENT_KEYS = 1, PART_KEYS = 4, CLOSE_KEYS = 3 };
enum { DOCUMENT_ARGS = 2, PART_ARGS = 5, CLOSE_ARGS = 2 };

static bool has_results(const struct plan_results *r)
{
    return r->document_count + r->part_count + r->chord_count + r->closed_count > 0;
}

static size_t results_keys(const struct plan_results *r)
{
    return DOCUMENT_KEYS * r->document_count + PART_KEYS * r->part_count +
           COMMAND_CHORD_KEYS * r->chord_count + CLOSE_KEYS * r->closed_count;
}

static size_t results_args(const struct plan_results *r)
{
    return DOCUMENT_ARGS * r->document_count + PART_ARGS * r->part_count +
           COMMAND_CHORD_ARGS * r->chord_count + CLOSE_ARGS * r->closed_count;
}

static size_t results_payload(const struct plan_results *r)
{
    size_t payload = 128 * (results_keys(r) + results_args(r));
    for (size_t i = 0; i < r->document_count; i++)
        payload += r->documents[i].text.len;
    for (size_t i = 0; i < r->part_count; i++)
        payload += r->parts[i].text.len;
    for (size_t i = 0; i < r->chord_count; i++)
        payload += r->chords[i].saved.len;
    return payload;
}

void command_add_group(struct buf *buf,
                       const struct key_space *space,
                       struct str group,
                       const char *suffix)
{
    size_t start = write_open(buf);
    key_add_group(buf, space, group, suffix);
    write_close(buf, start);
}

void command_add_chord_keys(struct buf *buf,
                            const struct key_space *space,
                            const struct plan_chord *chord)
{
    command_add_group(buf, space, chord->group, ".t");
    command_add_group(buf, space, chord->group, ".s");
    command_add_group(buf, space, chord->group, "");
}

void command_add_chord(struct buf *buf, const struct plan_chord *chord)
{
    write_arg(buf, STR("chord"));
    write_u64(buf, chord->size);
    write_u64(buf, chord->growth);
    write_arg(buf, chord->saved);
}

static void
add_results_keys(struct buf *buf, const struct key_space *space, const struct plan_results *r)
{
    for (size_t i = 0; i < r->closed_count; i++) {
        command_add_group(buf, space, r->closed[i].group, ".j");
        command_add_group(buf, space, r->closed[i].group, ".t");
        command_add_group(buf, space, r->closed[i].group, ".s");
    }
    for (size_t i = 0; i < r->document_count; i++)
        command_add_result(buf, space, r->documents[i].id);
    for (size_t i = 0; i < r->chord_count; i++)
        command_add_chord_keys(buf, space, &r->chords[i]);
    for (size_t i = 0; i < r->part_count; i++) {
        command_add_group(buf, space, r->parts[i].group, ".j");
        command_add_group(buf, space, r->parts[i].group, ".t");
        command_add_group(buf, space, r->parts[i].group, ".s");
        command_add_group(buf, space, r->parts[i].group, "");
    }
}

static void
add_results(struct buf *buf, const struct key_space *space, const struct plan_results *r)
{
    for (size_t i = 0; i < r->closed_count; i++) {
        write_arg(buf, STR("close"));
        write_u64(buf, r->closed[i].failed);
    }
    for (size_t i = 0; i < r->document_count; i++) {
        write_arg(buf, STR("document"));
        write_arg(buf, r->documents[i].text);
    }
    for (size_t i = 0; i < r->chord_count; i++)
        command_add_chord(buf, &r->chords[i]);
    for (size_t i = 0; i < r->part_count; i++) {
        write_arg(buf, STR("part"));
        if (r->parts[i].index == PLAN_NO_INDEX)
            write_arg(buf, STR("+inf"));
        else
            write_u64(buf, (uint64_t)r->parts[i].index);
        write_arg(buf, r->parts[i].text);
        write_arg(buf, r->parts[i].prefix);
        command_add_result(buf, space, STR(""));
    }
}

int redis_command_results(struct redis_request *request,
                          const struct key_space *space,
                          const struct broker_completion *c,
                          usec_t result_ttl)
{
    const struct plan_results *r = &c->results;
    struct buf buf = script_begin(request, SCRIPT_results, 1 + results_keys(r), 3 + results_args(r),
                                  256 + c->result_document.len + results_payload(r));
    command_add_result(&buf, space, c->result_id.ptr ? c->result_id : STR(""));
    add_results_keys(&buf, space, r);
    write_u64(&buf, seconds_up(result_ttl));
    write_arg(&buf, c->result_id.ptr ? c->result_document : STR_NONE);
    write_arg(&buf, broker_spares_final(c) ? STR("spare") : STR(""));
    add_results(&buf, space, r);
    return redis_request_finish(request, &buf);
}

int redis_command_close_chords(struct redis_request *request,
                               const struct key_space *space,
                               const struct plan_results *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->closed_count; i++)
        count += r->closed[i].failed ? 2 : 3;
    struct buf buf = write_begin(1 + count, 128 * count);
    write_arg(&buf, STR("DEL"));
    for (size_t i = 0; i < r->closed_count; i++) {
        command_add_group(&buf, space, r->closed[i].group, ".t");
        command_add_group(&buf, space, r->closed[i].group, ".s");
        if (!r->closed[i].failed)
            command_add_group(&buf, space, r->closed[i].group, ".j");
    }
    return redis_request_finish(request, &buf);
}

/* --- the step ----------------------------------------------------------------------------------- */

/* Whether the ledger has the call, and need have it no more. */
static bool ends_in_ledger(const struct broker_completion *c)
{
    return c->claim.tag && c->claim.id.len && !c->retry.ptr && !c->dead;
}

static size_t complete_payload(const struct broker_completion *c, const struct queue_keys *keys)
{
    size_t payload =
        256 + keys->in_flight.len * 3 + c->result_id.len + c->result_document.len + c->retry.len;
    for (size_t i = 0; i < c->follow_up_count; i++)
        payload +=
            2 * c->follow_ups[i].queue.len + keys->counts.len + c->follow_ups[i].bytes.len + 48;
    if (c->dead)
        payload += keys->dead.len + c->dead->reason.len + c->dead->detail.len +
                   c->dead->task_id.len + c->dead->task.len + c->dead->evidence.len + 64;
    if (ends_in_ledger(c))
        payload += keys->ledger.len + c->claim.id.len;
    return payload + results_payload(&c->results);
}

static void add_complete_keys(struct buf *buf,
                              const struct key_space *space,
                              const struct queue_keys *keys,
                              const struct broker_completion *c)
{
    write_arg(buf, keys->in_flight);
    write_arg(buf, keys->counts);
    if (c->result_id.ptr)
        command_add_result(buf, space, c->result_id);
    else
        write_arg(buf, keys->in_flight); /* a place that the script leaves alone */
    for (size_t i = 0; i < c->follow_up_count; i++) {
        command_add_list(buf, space, &c->follow_ups[i]);
        command_add_counts(buf, space, c->follow_ups[i].queue);
    }
    if (c->retry.ptr || c->is_uncertain)
        write_arg(buf, c->retry_due_wall || c->is_uncertain
                           ? keys->delayed
                           : keys->lists[c->claim.step / STEP_WIDTH]);
    if (c->dead)
        write_arg(buf, keys->dead);
    if (ends_in_ledger(c))
        write_arg(buf, keys->ledger);
    add_results_keys(buf, space, &c->results);
}

/* As a member of the delayed set. */
static void
add_parked(struct buf *buf, const struct queue_keys *keys, const struct broker_completion *c)
{
    size_t start = write_open(buf);
    command_add_delayed_head(buf, keys, &c->claim);
    buf_add_str(buf, c->retry);
    write_close(buf, start);
}

static void
add_retry(struct buf *buf, const struct queue_keys *keys, const struct broker_completion *c)
{
    if (!c->retry_due_wall) {
        write_arg(buf, STR("again"));
        write_arg(buf, c->retry);
        return;
    }
    write_arg(buf, STR("park"));
    write_u64(buf, ms_up(c->retry_due_wall));
    add_parked(buf, keys, c);
}

/* What was pushed at once, or is no retry, nobody can look for. */
static void
add_unless(struct buf *buf, const struct queue_keys *keys, const struct broker_completion *c)
{
    write_arg(buf, STR("unless"));
    if (c->retry_due_wall)
        add_parked(buf, keys, c);
    else
        write_arg(buf, STR(""));
}

static void
add_burial(struct buf *buf, const struct broker_dead *dead, const struct dead_limits *limits)
{
    write_arg(buf, STR("bury"));
    command_add_limits(buf, limits);
    command_add_dead(buf, dead);
}

/* The field of the counts; a call that goes on or is buried stands somewhere else. */
static struct str ending_of(const struct broker_completion *c)
{
    static const struct str names[] = {
        [BROKER_DONE] = STR("done"),
        [BROKER_EXPIRED] = STR("expired"),
        [BROKER_REVOKED] = STR("revoked"),
    };
    return c->retry.ptr || c->dead ? STR("") : names[c->ending];
}

int redis_command_complete(struct redis_request *request,
                           const struct key_space *space,
                           const struct queue_keys *keys,
                           const struct broker_completion *c,
                           usec_t result_ttl,
                           const struct dead_limits *limits)
{
    size_t retry_args = c->is_uncertain ? 2 : !c->retry.ptr ? 0 : c->retry_due_wall ? 3 : 2;
    bool is_end = ends_in_ledger(c);
    size_t keys_count = 3 + 2 * c->follow_up_count + (retry_args ? 1 : 0) + (c->dead ? 1 : 0) +
                        is_end + results_keys(&c->results);
    size_t args_count = 4 + 2 * c->follow_up_count + retry_args + (c->dead ? 9 : 0) +
                        (is_end ? 2 : 0) + results_args(&c->results);
    enum redis_script_number script =
        has_results(&c->results) ? SCRIPT_complete_canvas : SCRIPT_complete;
    struct buf buf =
        script_begin(request, script, keys_count, args_count, complete_payload(c, keys));
    add_complete_keys(&buf, space, keys, c);
    if (c->claim.tag)
        command_add_tag(&buf, &c->claim);
    else
        write_arg(&buf, STR(""));
    write_u64(&buf, seconds_up(result_ttl));
    write_arg(&buf, c->result_id.ptr ? c->result_document : STR_NONE);
    write_arg(&buf, ending_of(c));
    for (size_t i = 0; i < c->follow_up_count; i++) {
        write_arg(&buf, STR("push"));
        write_arg(&buf, c->follow_ups[i].bytes);
    }
    if (c->is_uncertain)
        add_unless(&buf, keys, c);
    else if (c->retry.ptr)
        add_retry(&buf, keys, c);
    if (c->dead)
        add_burial(&buf, c->dead, limits);
    if (is_end) {
        write_arg(&buf, STR("forget"));
        write_arg(&buf, c->claim.id);
    }
    add_results(&buf, space, &c->results);
    return redis_request_finish(request, &buf);
}
