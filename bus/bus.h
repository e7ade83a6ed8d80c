/*
 * The bus: what is said to all and heard by whoever listens, kombu's fanout exchanges over Redis
 * pub/sub. It knows no events and no commands, only exchanges, routing keys and bytes.
 *
 *   talker    PUBLISH, bindings, replies
 *   listener  PSUBSCRIBE; made when something is first listened to
 *
 * Both are connections of its own, so that no queue waits for what is said here. What Redis does not
 * take in time is dropped and counted; what is heard while the connection is gone is missed, as
 * everywhere in pub/sub. A bus belongs to one uv loop.
 */
#pragma once

#include <uv.h>

#include "core/clock.h"
#include "core/error.h"

struct bus;

struct bus_options {
    const char *url; /* as broker_options has it */
    const char *master_name, *sentinel_username, *sentinel_password;
    struct str key_prefix;     /* global_keyprefix; absent: none */
    const char *fanout_prefix; /* "/{db}.", in which {db} is the number of the database */
    usec_t silence;            /* as broker_options has it */
    /* Before what was said in a turn of the loop is written; may say more. May be NULL. */
    void (*on_flush)(void *data);
    /* Redis refuses to let this bus speak, or listen, and would again; or (NULL) it does no more. May be NULL.
     */
    void (*on_refused)(void *data, bool to_listen, const struct cel_error *err);
    void *data;
};

/* Checks the URL; connects when something is said or listened to. -EINVAL, CEL_E_UNSUPPORTED, -ENOMEM. */
int bus_new(uv_loop_t *loop,
            const struct bus_options *options,
            struct bus **ret_bus,
            struct cel_error *err) MUST_CHECK;
/* Ends both connections, whatever is under way; `closed` comes when the bus is freed. */
void bus_close(struct bus *bus, void (*closed)(void *data), void *data);

/* Says `message`, which stands for `weight` things, to all who listen. It is copied. */
void bus_say(struct bus *bus,
             struct str exchange,
             struct str routing_key,
             struct str message,
             size_t weight);
/* Has on_flush called before the loop sleeps next. */
void bus_wake(struct bus *bus);
/* How many things were said in vain. */
uint64_t bus_dropped(const struct bus *bus);

/* What is heard; `message` is borrowed. Everything of one exchange (and routing key), from now on and
 * again after each loss of the connection. For the life of the bus. */
typedef void bus_heard_fn(void *data, struct str message);
int bus_listen(struct bus *bus,
               struct str exchange,
               struct str routing_key,
               bus_heard_fn *on_heard,
               void *data) MUST_CHECK;

/* How something on the talker ended; may be NULL where it is taken. */
typedef void bus_done_fn(void *data, int status, const struct cel_error *err);
/* Writes down (or strikes out) that `queue` hears of an exchange under that key, for those who look it
 * up there. */
int bus_bind(struct bus *bus,
             struct str exchange,
             struct str routing_key,
             struct str queue,
             bool is_bound,
             bus_done_fn *cb,
             void *data) MUST_CHECK;
/* Replies to who waits on the queue "<key>.<exchange>", if that is still bound. */
int bus_reply(struct bus *bus, struct str exchange, struct str key, struct str message) MUST_CHECK;

/* Calls `cb` when all that was said or asked for until now has ended, at the latest then. */
int bus_drain(struct bus *bus, usec_t deadline_mono, void (*cb)(void *data), void *data) MUST_CHECK;
