/*
 * The envelope: one element of a queue list, Celery's message protocol v2 (docs/protocol.md).
 * Bytes to struct and back; no I/O, no clock, never a look into the body.
 *
 * A decoded envelope borrows the bytes it was read from; text that had escapes lives in its own
 * `scratch`. Every header but `task` and `id` may be missing; one of a wrong type counts as
 * missing.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"

#define ENVELOPE_BYTES_MAX ((size_t)64 * 1024 * 1024)
enum { ENVELOPE_DEPTH_MAX = 64, TASK_NAME_MAX = 255, TASK_ID_MAX = 255 };

/* Condition of envelope_decode: no `task` among the headers, as in an old message of protocol 1;
 * envelope_upgrade() translates it. `ret` then holds the transport's part only. */
enum { ENVELOPE_PROTOCOL_1 = 1 };

struct envelope {
    /* headers */
    struct str task, id; /* always there after a successful decode */
    struct str lang, root_id, parent_id, group, shadow, origin, argsrepr, kwargsrepr;
    struct str eta_text, expires_text; /* as they stand on the wire; absent = none */
    usec_t eta_wall, expires_wall;     /* 0: none */
    bool has_group_index;
    int64_t group_index;
    int64_t retries;               /* 0 when absent or negative */
    usec_t soft_limit, hard_limit; /* 0: not given */
    bool ignore_result;
    bool redelivered;   /* in headers or delivery_info */
    int64_t deliveries; /* celeriac_deliveries: so many workers were lost that held it */
    int64_t crashes;    /* celeriac_crashes: so many processes died of it */
    int64_t conflicts;  /* celeriac_conflicts: so many retries in a row for another's transaction */
    int64_t requeues;   /* celeriac_requeues: so often its task rejected it back to the queue */
    usec_t turn_wall; /* celeriac_turn: parked for its rate limit until about then; 0: it was not */
    int64_t replaced_task_nesting;
    struct str compression;   /* absent: not compressed */
    struct str other_headers; /* the remaining members as JSON text: "a": 1, "b": {...} */
    /* the transport's part */
    struct str content_type, content_encoding;
    struct str body; /* as on the wire, unescaped: base64 text when body_is_base64 */
    bool body_is_base64;
    struct str correlation_id, reply_to, exchange, routing_key, delivery_tag;
    int64_t priority;            /* as on the wire; priority_step() clamps */
    struct str other_properties; /* the remaining members as JSON text */

    struct buf scratch;
};

/*
 * Reads `bytes`, which must outlive `ret`. 0; ENVELOPE_PROTOCOL_1; CEL_E_FORMAT (err says what and
 * at which byte), CEL_E_LIMIT, -ENOMEM. A bad eta or expires is CEL_E_FORMAT: such a message must
 * not be run at once. On failure `ret` needs no deinit; after 0 and ENVELOPE_PROTOCOL_1 it does.
 */
int envelope_decode(struct str bytes, struct envelope *ret, struct cel_error *err) MUST_CHECK;
void envelope_deinit(struct envelope *envelope);

/*
 * Appends the whole envelope with every key a Python worker needs (docs/protocol.md): absent text
 * is written as null, times from `eta_wall` and `expires_wall` (not from their texts), a `body`
 * that is not base64 text as such. -EINVAL without task, id or delivery_tag.
 */
int envelope_encode(struct buf *buf, const struct envelope *envelope) MUST_CHECK;

/* Appends the protocol 2 form of a protocol 1 message. `delivery_tag` is used when it has none. */
int envelope_upgrade(struct str bytes,
                     struct str delivery_tag,
                     struct buf *buf,
                     struct cel_error *err) MUST_CHECK;

/*
 * Reads a message of either protocol, as envelope_decode. One of protocol 1 is translated into
 * `upgraded` (empty before, the caller's to free, whatever the end), from which `ret` then borrows.
 * On failure `*ret` is all absent.
 */
int envelope_decode_any(struct str bytes,
                        struct buf *upgraded,
                        struct envelope *ret,
                        struct cel_error *err) MUST_CHECK;

/* Kombu's priority step of a priority: 0, 3, 6 or 9. */
unsigned priority_step(int64_t priority);
