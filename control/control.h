/*
 * Remote control of this node: requests are heard on the bus, each is a function in one table
 * (inspect.c, change.c), and the answer goes to who asked, if that one still waits.
 *
 *   heard --is it for us?--> command --now--> answer
 *                               |        \--never (shutdown)
 *                               +--later: the broker is asked first --> answer
 */
#pragma once

#include "broker/broker.h"
#include "bus/bus.h"
#include "control/events.h"
#include "control/host.h"
#include "core/list.h"
#include "core/value.h"

struct control_options {
    struct str node; /* name@host */
    const struct settings *settings;
    const struct control_host *host;
    void *host_data;
};

struct control {
    struct broker *broker;
    struct bus *bus;
    struct lamport *clock;
    struct events *events;
    struct control_options options;
    struct list commands; /* that wait for the broker */
    void (*recalled)(void *data);
    void *recalled_data;
    uint64_t heard, refused;
    bool is_on;
};

void control_init(struct control *control,
                  struct broker *broker,
                  struct bus *bus,
                  struct lamport *clock,
                  struct events *events,
                  const struct control_options *options);
/* Does again what this node was told in its earlier lives; `recalled` when that is done, so that nothing is
 * claimed before (notes.h). */
void control_recall(struct control *control, void (*recalled)(void *data), void *data);
/* Listens from now on, and writes down that it does. */
void control_start(struct control *control);
/* Answers nothing any more; strikes out that it listens. */
void control_stop(struct control *control);
/* When the broker is closed. */
void control_deinit(struct control *control);
