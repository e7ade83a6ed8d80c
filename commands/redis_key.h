/*
 * Every key that Celeriac spells (docs/keys.md): kombu's and Celery's own names, and ours.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"

/* Priority step n is the list number n / 3. */
enum { STEP_COUNT = 4, STEP_WIDTH = 3, STEP_LAST = 9 };
static inline bool step_is_valid(unsigned step)
{
    return step <= STEP_LAST && step % STEP_WIDTH == 0;
}

/* What stands before and in all keys of a broker; both borrowed. */
struct key_space {
    struct str prefix; /* absent: none */
    struct str node;   /* absent: no claims can be made */
};

/* The keys of one queue. */
struct queue_keys {
    struct str name, node;
    struct str lists[STEP_COUNT], staging[STEP_COUNT];
    struct str in_flight, delayed, dead, nodes, counts, ledger;
    char *memory; /* that all of them are in */
};
int queue_keys_init(struct queue_keys *keys,
                    const struct key_space *space,
                    struct str queue) MUST_CHECK; /* -ENOMEM */
void queue_keys_deinit(struct queue_keys *keys);

/* These append one key; failures stick in `buf`. */
void key_add_list(struct buf *buf, const struct key_space *space, struct str queue, unsigned step);
void key_add_counts(struct buf *buf, const struct key_space *space, struct str queue);
void key_add_queues(struct buf *buf, const struct key_space *space);
void key_add_revoked(struct buf *buf, const struct key_space *space);
void key_add_newest_revoked(struct buf *buf, const struct key_space *space);
void key_add_revoked_until(struct buf *buf, const struct key_space *space);
void key_add_binding(struct buf *buf, const struct key_space *space, struct str exchange);
void key_add_result(struct buf *buf, const struct key_space *space, struct str id);
/* What Celery keeps of a group or chord: `suffix` "", ".j", ".t" or ".s". */
void key_add_group(struct buf *buf,
                   const struct key_space *space,
                   struct str group,
                   const char *suffix);
/* The group of such a key that ends in ".j"; absent: it is none. */
struct str key_group(struct str key, const struct key_space *space);
void key_add_fired(struct buf *buf,
                   const struct key_space *space,
                   struct str entry,
                   usec_t slot_wall);
/* The mark that the task `id` was sent to `queue`. */
void key_add_sent(struct buf *buf, const struct key_space *space, struct str queue, struct str id);

/* What the worker `name` (name@host) was told, for its next lives. */
void key_add_told(struct buf *buf, const struct key_space *space, struct str name);

/* The member of a binding's set that stands for `queue` under that routing key, or under its own name. */
void key_add_member(struct buf *buf, struct str routing_key, struct str queue);
void key_add_binding_member(struct buf *buf, struct str queue);
struct key_binding {
    struct str routing_key, pattern, queue; /* pattern: of a topic exchange, else empty */
};
struct key_binding key_binding_read(struct str member);
struct str key_binding_queue(struct str member); /* the queue of a member, or absent */

/* The field of a claim in the hash of those in flight: "<n>.<step>". */
enum { TAG_SIZE = 32 };
struct str key_tag(char buffer[TAG_SIZE], uint64_t n, unsigned step);
int key_tag_parse(struct str text, uint64_t *ret_n, unsigned *ret_step) MUST_CHECK; /* -EINVAL */

enum key_kind {
    KEY_OTHER,
    KEY_IN_FLIGHT,
    KEY_STAGING,
    KEY_DELAYED,
    KEY_DEAD,
    KEY_COUNTS,
    KEY_BINDING
};
/* Text in a glob that means itself. */
void key_add_escaped(struct buf *buf, struct str text);
/* Patterns for SCAN. */
void key_add_pattern_ours(struct buf *buf, const struct key_space *space);
void key_add_pattern_bindings(struct buf *buf, const struct key_space *space);
/* What such a key is: `*ret_name` is its queue, or the exchange of a KEY_BINDING that delivers
 * tasks (those of remote control and events are KEY_OTHER). */
enum key_kind key_parse(struct str key, const struct key_space *space, struct str *ret_name);
