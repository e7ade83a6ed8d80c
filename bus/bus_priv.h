/*
 * The inside of a bus, for ask.c.
 */
#pragma once

#include "bus/bus.h"
#include "commands/redis_command_bus.h"
#include "core/list.h"

struct bus {
    uv_loop_t *loop;
    struct turn turn;
    struct url url;
    struct redis_sentinels sentinels;
    struct bus_names names; /* owned */
    usec_t silence;
    char *read_buffer; /* of all connections */
    struct redis_connection *talker, *listener, *taker;
    struct list ears;
    struct turn_alarm ping;
    bool is_pinging;
    size_t pending; /* bytes said and not taken */
    uint64_t dropped;
    void (*on_flush)(void *data);
    void (*on_refused)(void *data, bool to_listen, const struct cel_error *err);
    void *data;
    bool is_closing;
    unsigned open; /* connections not closed */
    void (*closed)(void *data);
    void *closed_data;
};

int bus_connect(struct bus *bus,
                struct redis_connection_options options,
                struct redis_connection **ret_connection) MUST_CHECK;

/* One command and how it ended; freed when that was told. */
struct bus_op {
    struct redis_request request;
    struct bus *bus;
    bus_done_fn *cb; /* or NULL */
    void *data;
};
struct bus_op *bus_op_new(struct bus *bus, bus_done_fn *cb, void *data);
/* Sends it, or frees it and hands up `status`, that of formatting. */
int bus_op_send(struct bus_op *op, usec_t deadline_mono, int status) MUST_CHECK;
