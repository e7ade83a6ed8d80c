/*
 * Messages and the chords that begin with them, as one step; and groups.
 */
#include "commands/redis_command_priv.h"

/* The next of a publication that are of the same queue and step. */
static size_t run_length(const struct broker_publication *p, size_t at)
{
    size_t end = at + 1;
    while (end < p->count && p->messages[end].step == p->messages[at].step &&
           str_equal(p->messages[end].queue, p->messages[at].queue))
        end++;
    return end - at;
}

static size_t count_runs(const struct broker_publication *p)
{
    size_t runs = 0;
    for (size_t at = 0; at < p->count; at += run_length(p, at))
        runs++;
    return runs;
}

static size_t
publish_payload(const struct key_space *space, const struct broker_publication *p, size_t keys)
{
    size_t payload = 256 + keys * (space->prefix.len + 64);
    for (size_t i = 0; i < p->count; i++)
        payload += p->messages[i].bytes.len + p->messages[i].id.len + p->messages[i].queue.len + 16;
    for (size_t i = 0; i < p->chord_count; i++)
        payload += 3 * p->chords[i].group.len + p->chords[i].saved.len + 64;
    return payload;
}

static void
add_mark(struct buf *buf, const struct key_space *space, const struct broker_message *message)
{
    size_t start = write_open(buf);
    key_add_sent(buf, space, message->queue, message->id);
    write_close(buf, start);
}

static void
add_keys(struct buf *buf, const struct key_space *space, const struct broker_publication *p)
{
    for (size_t i = 0; i < p->chord_count; i++)
        command_add_chord_keys(buf, space, &p->chords[i]);
    for (size_t at = 0, n; at < p->count; at += n) {
        n = run_length(p, at);
        command_add_list(buf, space, &p->messages[at]);
        command_add_counts(buf, space, p->messages[at].queue);
        for (size_t i = at; p->promises.once_within && i < at + n; i++)
            add_mark(buf, space, &p->messages[i]);
    }
}

static void add_actions(struct buf *buf, const struct broker_publication *p)
{
    for (size_t i = 0; i < p->chord_count; i++)
        command_add_chord(buf, &p->chords[i]);
    for (size_t at = 0, n; at < p->count; at += n) {
        n = run_length(p, at);
        write_arg(buf, STR("push"));
        write_u64(buf, n);
        for (size_t i = at; i < at + n; i++)
            write_arg(buf, p->messages[i].bytes);
    }
}

int redis_command_publish(struct redis_request *request,
                          const struct key_space *space,
                          const struct broker_publication *p,
                          usec_t result_ttl)
{
    size_t runs = count_runs(p);
    size_t keys =
        COMMAND_CHORD_KEYS * p->chord_count + 2 * runs + (p->promises.once_within ? p->count : 0);
    size_t args = 2 + COMMAND_CHORD_ARGS * p->chord_count + 2 * runs + p->count;
    struct buf buf =
        script_begin(request, SCRIPT_publish, keys, args, publish_payload(space, p, keys));
    add_keys(&buf, space, p);
    write_u64(&buf, seconds_up(result_ttl));
    write_u64(&buf, ms_up(p->promises.once_within));
    add_actions(&buf, p);
    return redis_request_finish(request, &buf);
}

int redis_command_store_group(struct redis_request *request,
                              const struct key_space *space,
                              struct str group,
                              struct str document,
                              usec_t ttl)
{
    struct buf buf = script_begin(request, SCRIPT_store, 1, 2,
                                  space->prefix.len + group.len + document.len + 96);
    command_add_group(&buf, space, group, "");
    write_u64(&buf, seconds_up(ttl));
    write_arg(&buf, document);
    return redis_request_finish(request, &buf);
}
