#include "commands/redis_key.h"

#include <errno.h>

#include "core/mem.h"

#define SEPARATOR "\x06\x16" /* kombu's, in names of step lists and in members of bindings */
#define IN_FLIGHT "celeriac:inflight:{"
#define STAGING   "celeriac:staging:{"
#define DELAYED   "celeriac:delayed:{"
#define DEAD      "celeriac:dead:{"
#define NODES     "celeriac:nodes:{"
#define COUNTS    "celeriac:counts:{"
#define LEDGER    "celeriac:ledger:{"
#define FIRED     "celeriac:beat:"
#define REVOKED   "celeriac:revoked"
#define QUEUES    "celeriac:queues"
#define SENT      "celeriac:sent:{"
#define TOLD      "celeriac:told:"
#define OURS      "celeriac:"
#define BINDING   "_kombu.binding."
#define RESULT    "celery-task-meta-"
#define GROUP     "celery-taskset-meta-"
enum { SEPARATOR_LEN = sizeof(SEPARATOR) - 1 };

/* --- writing ---------------------------------------------------------------------------------- */

static void add_step(struct buf *buf, unsigned step)
{
    if (step)
        buf_addf(buf, SEPARATOR "%u", step);
}

void key_add_list(struct buf *buf, const struct key_space *space, struct str queue, unsigned step)
{
    buf_add_str(buf, space->prefix);
    buf_add_str(buf, queue);
    add_step(buf, step);
}

void key_add_binding(struct buf *buf, const struct key_space *space, struct str exchange)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, BINDING);
    buf_add_str(buf, exchange);
}

/* Celery's result backend ends a prefix that has no end of its own with "_"; its transport does
 * not. */
static void add_result_prefix(struct buf *buf, const struct key_space *space)
{
    buf_add_str(buf, space->prefix);
    if (space->prefix.len && !strchr(":_-.", space->prefix.ptr[space->prefix.len - 1]))
        buf_add_char(buf, '_');
}

void key_add_result(struct buf *buf, const struct key_space *space, struct str id)
{
    add_result_prefix(buf, space);
    buf_add_c(buf, RESULT);
    buf_add_str(buf, id);
}

void key_add_group(struct buf *buf,
                   const struct key_space *space,
                   struct str group,
                   const char *suffix)
{
    add_result_prefix(buf, space);
    buf_add_c(buf, GROUP);
    buf_add_str(buf, group);
    buf_add_c(buf, suffix);
}

void key_add_fired(struct buf *buf,
                   const struct key_space *space,
                   struct str entry,
                   usec_t slot_wall)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, FIRED);
    buf_add_str(buf, entry);
    buf_add_char(buf, ':');
    buf_add_u64(buf, slot_wall / USEC_PER_MSEC);
}

void key_add_sent(struct buf *buf, const struct key_space *space, struct str queue, struct str id)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, SENT);
    buf_add_str(buf, queue);
    buf_add_c(buf, "}:");
    buf_add_str(buf, id);
}

void key_add_told(struct buf *buf, const struct key_space *space, struct str name)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, TOLD);
    buf_add_str(buf, name);
}

void key_add_member(struct buf *buf, struct str routing_key, struct str queue)
{
    buf_add_str(buf, routing_key);
    buf_add_c(buf, SEPARATOR SEPARATOR);
    buf_add_str(buf, queue);
}

void key_add_binding_member(struct buf *buf, struct str queue)
{
    key_add_member(buf, queue, queue);
}

struct str key_tag(char buffer[TAG_SIZE], uint64_t n, unsigned step)
{
    char *at = buffer + TAG_SIZE;
    *--at = (char)('0' + step);
    *--at = '.';
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return str_n(at, (size_t)(buffer + TAG_SIZE - at));
}

static void add_of_queue(struct buf *buf,
                         const struct key_space *space,
                         const char *head,
                         struct str queue,
                         const char *tail)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, head);
    buf_add_str(buf, queue);
    buf_add_c(buf, tail);
}

void key_add_counts(struct buf *buf, const struct key_space *space, struct str queue)
{
    add_of_queue(buf, space, COUNTS, queue, "}");
}

void key_add_queues(struct buf *buf, const struct key_space *space)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, QUEUES);
}

void key_add_revoked(struct buf *buf, const struct key_space *space)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, REVOKED);
}

void key_add_newest_revoked(struct buf *buf, const struct key_space *space)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, REVOKED ":newest");
}

void key_add_revoked_until(struct buf *buf, const struct key_space *space)
{
    buf_add_str(buf, space->prefix);
    buf_add_c(buf, REVOKED ":until");
}

/* Closes the key that was begun at `*at`; its place in the memory is known when all are written. */
static struct str end_key(const struct buf *buf, size_t *at)
{
    struct str key = str_n(NULL, buf->len - *at);
    *at = buf->len;
    return key;
}

static void place_key(struct str *key, const char **at)
{
    key->ptr = *at;
    *at += key->len;
}

int queue_keys_init(struct queue_keys *keys, const struct key_space *space, struct str queue)
{
    struct buf buf = BUF_INIT(SIZE_MAX / 2);
    size_t at = 0;
    buf_add_str(&buf, queue);
    keys->name = end_key(&buf, &at);
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        key_add_list(&buf, space, queue, i * STEP_WIDTH);
        keys->lists[i] = end_key(&buf, &at);
        add_of_queue(&buf, space, STAGING, queue, "}:");
        buf_add_str(&buf, space->node);
        add_step(&buf, i * STEP_WIDTH);
        keys->staging[i] = end_key(&buf, &at);
    }
    add_of_queue(&buf, space, IN_FLIGHT, queue, "}:");
    buf_add_str(&buf, space->node);
    keys->in_flight = end_key(&buf, &at);
    add_of_queue(&buf, space, DELAYED, queue, "}");
    keys->delayed = end_key(&buf, &at);
    add_of_queue(&buf, space, DEAD, queue, "}");
    keys->dead = end_key(&buf, &at);
    add_of_queue(&buf, space, NODES, queue, "}");
    keys->nodes = end_key(&buf, &at);
    add_of_queue(&buf, space, COUNTS, queue, "}");
    keys->counts = end_key(&buf, &at);
    add_of_queue(&buf, space, LEDGER, queue, "}");
    keys->ledger = end_key(&buf, &at);
    keys->memory = buf_take(&buf, NULL);
    buf_deinit(&buf);
    if (!keys->memory)
        return -ENOMEM;
    const char *place = keys->memory;
    place_key(&keys->name, &place);
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        place_key(&keys->lists[i], &place);
        place_key(&keys->staging[i], &place);
    }
    place_key(&keys->in_flight, &place);
    place_key(&keys->delayed, &place);
    place_key(&keys->dead, &place);
    place_key(&keys->nodes, &place);
    place_key(&keys->counts, &place);
    place_key(&keys->ledger, &place);
    keys->node = space->node;
    return 0;
}

void queue_keys_deinit(struct queue_keys *keys)
{
    mem_free(keys->memory);
    *keys = (struct queue_keys){.memory = NULL};
}

/* --- reading ---------------------------------------------------------------------------------- */

struct key_binding key_binding_read(struct str member)
{
    struct key_binding binding = {.queue = key_binding_queue(member)};
    size_t len = binding.queue.ptr ? member.len - binding.queue.len : 0;
    if (len < 2 * SEPARATOR_LEN)
        return binding;
    struct str head = str_n(member.ptr, len - SEPARATOR_LEN); /* routing key, separator, pattern */
    const char *at = memmem(head.ptr, head.len, SEPARATOR, SEPARATOR_LEN);
    if (!at)
        return (struct key_binding){.routing_key = STR_NONE};
    binding.routing_key = str_n(head.ptr, (size_t)(at - head.ptr));
    at += SEPARATOR_LEN;
    binding.pattern = str_n(at, (size_t)(head.ptr + head.len - at));
    return binding;
}

struct str key_binding_queue(struct str member)
{
    const char *end = member.ptr + member.len;
    for (const char *at = end; at && at - member.ptr >= 2; at--) {
        if (memcmp(at - 2, SEPARATOR, 2) == 0)
            return str_n(at, (size_t)(end - at));
    }
    return STR_NONE;
}

int key_tag_parse(struct str text, uint64_t *ret_n, unsigned *ret_step)
{
    uint64_t n, step;
    struct str head;
    if (!str_split(&text, '.', &head) || str_parse_u64(head, &n) || !text.ptr ||
        str_parse_u64(text, &step) || step > STEP_LAST || !step_is_valid((unsigned)step))
        return -EINVAL;
    *ret_n = n;
    *ret_step = (unsigned)step;
    return 0;
}

void key_add_escaped(struct buf *buf, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*?[]\\", text.ptr[i]) && text.ptr[i])
            buf_add_char(buf, '\\');
        buf_add_char(buf, text.ptr[i]);
    }
}

void key_add_pattern_ours(struct buf *buf, const struct key_space *space)
{
    key_add_escaped(buf, space->prefix);
    buf_add_c(buf, OURS "*");
}

void key_add_pattern_bindings(struct buf *buf, const struct key_space *space)
{
    key_add_escaped(buf, space->prefix);
    buf_add_c(buf, BINDING "*");
}

static struct str after(struct str text, size_t len)
{
    return str_n(text.ptr + len, text.len - len);
}

/* "queue}" or "queue}:node" */
static bool cut_queue(struct str rest, bool has_node, struct str *ret_queue)
{
    for (size_t at = rest.len; at > 0; at--) {
        bool ends_here = has_node ? at < rest.len && rest.ptr[at] == ':' : at == rest.len;
        if (ends_here && rest.ptr[at - 1] == '}') {
            *ret_queue = str_n(rest.ptr, at - 1);
            return true;
        }
    }
    return false;
}

enum key_kind key_parse(struct str key, const struct key_space *space, struct str *ret_name)
{
    static const struct {
        struct str head;
        enum key_kind kind;
        bool has_node;
    } ours[] = {
        {{IN_FLIGHT, sizeof(IN_FLIGHT) - 1}, KEY_IN_FLIGHT, true},
        {{STAGING, sizeof(STAGING) - 1}, KEY_STAGING, true},
        {{DELAYED, sizeof(DELAYED) - 1}, KEY_DELAYED, false},
        {{DEAD, sizeof(DEAD) - 1}, KEY_DEAD, false},
        {{COUNTS, sizeof(COUNTS) - 1}, KEY_COUNTS, false},
    };
    if (!str_starts(key, space->prefix))
        return KEY_OTHER;
    key = after(key, space->prefix.len);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        if (str_starts(key, ours[i].head))
            return cut_queue(after(key, ours[i].head.len), ours[i].has_node, ret_name)
                       ? ours[i].kind
                       : KEY_OTHER;
    }
    if (!str_starts(key, STR(BINDING)))
        return KEY_OTHER;
    key = after(key, sizeof(BINDING) - 1);
    if (str_equal(key, STR("celeryev")) || str_ends(key, STR(".pidbox")))
        return KEY_OTHER;
    *ret_name = key;
    return KEY_BINDING;
}

struct str key_group(struct str key, const struct key_space *space)
{
    CLEANUP(buf_deinit) struct buf start = BUF_INIT(4096);
    key_add_group(&start, space, STR(""), "");
    if (buf_status(&start) || !str_starts(key, buf_str(&start)) || !str_ends(key, STR(".j")))
        return STR_NONE;
    return str_n(key.ptr + start.len, key.len - start.len - 2);
}
