/*
 * The commands of the bus (bus/bus.h), and the names that are its own: kombu's fanout channels, the
 * bindings of the queues of remote control (docs/keys.md). As those of redis_command.h they set a
 * request's bytes and return 0, -ENOMEM or CEL_E_LIMIT.
 */
#pragma once

#include "commands/redis_key.h"
#include "redis/connection.h"

/* What stands in the names; borrowed. */
struct bus_names {
    struct key_space space;   /* of keys; its node is not used */
    struct str fanout_prefix; /* "/0." */
};

/* <key prefix><fanout prefix><exchange>[/<routing key>] */
void bus_add_channel(struct buf *buf,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key);

int bus_command_publish(struct redis_request *request,
                        const struct bus_names *names,
                        struct str exchange,
                        struct str routing_key,
                        struct str message) MUST_CHECK;
/* A channel as PSUBSCRIBE wants it: what is no wildcard is escaped. */
void bus_add_pattern(struct buf *buf,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key);
/* Replies ["psubscribe", pattern, count]. */
int bus_command_listen(struct redis_request *request, struct str pattern) MUST_CHECK;
/* Writes down, or strikes out, that `queue` hears of what goes to the exchange under that key. */
int bus_command_bind(struct redis_request *request,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key,
                     struct str queue,
                     bool is_bound) MUST_CHECK;
/* Pushes to the queue "<key>.<exchange>" if that is bound under its key. */
int bus_command_reply(struct redis_request *request,
                      const struct bus_names *names,
                      struct str exchange,
                      struct str key,
                      struct str message) MUST_CHECK;
/* Notes `value` as what the worker was told of `what`, or (absent) strikes that out. */
int bus_command_note(struct redis_request *request,
                     const struct bus_names *names,
                     struct str worker,
                     struct str what,
                     struct str value) MUST_CHECK;
/* Replies what, value, what, value ... */
int bus_command_notes(struct redis_request *request,
                      const struct bus_names *names,
                      struct str worker) MUST_CHECK;
/* Takes the next reply; the server waits at most `limit`. Replies [list, message] or nil. */
int bus_command_take(struct redis_request *request,
                     const struct bus_names *names,
                     struct str queue,
                     usec_t limit) MUST_CHECK;
int bus_command_delete(struct redis_request *request,
                       const struct bus_names *names,
                       struct str queue) MUST_CHECK;
