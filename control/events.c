#include "control/events.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/id.h"

enum { BATCH_MAX = 24 }; /* as Celery's workers */
#define BATCH_BYTES_MAX ((size_t)2 * 1024 * 1024)

static void
send_message(struct events *events, struct str json, struct str routing_key, size_t count)
{
    char tag[UUID_SIZE];
    buf_clear(&events->message);
    if (event_message(&events->message, json, routing_key, events->options.node, uuid_new(tag)) <
        0) {
        events->lost += count;
        return;
    }
    events->sent += count;
    bus_say(events->bus, STR(EVENT_EXCHANGE), routing_key, buf_str(&events->message), count);
}

static void fill_in(struct events *events, struct event *event)
{
    event->hostname = events->options.node;
    event->pid = events->pid;
    event->clock = lamport_tick(events->clock);
    event->timestamp_wall = clock_wall();
}

/* --- of the worker ---------------------------------------------------------------------------- */

static void send_alone(struct events *events, struct event *event)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(BATCH_BYTES_MAX);
    fill_in(events, event);
    event_add(&json, event);
    if (buf_status(&json) < 0)
        events->lost++;
    else
        send_message(events, buf_str(&json), event_routing_key(event->type), 1);
}

static void send_vitals(struct events *events, enum event_type type)
{
    struct events_vitals vitals = {0};
    struct event event = {.type = type, .freq = EVENTS_FREQ_USEC};
    if (!events->is_online)
        return;
    events->options.look(events->options.data, &vitals);
    event.active = vitals.active;
    event.processed = vitals.processed;
    if (getloadavg(event.load, 3) < 3)
        event.load[0] = event.load[1] = event.load[2] = 0;
    for (size_t i = 0; i < 3; i++) /* two digits, as Celery */
        event.load[i] = (double)(int64_t)(event.load[i] * 100 + 0.5) / 100;
    send_alone(events, &event);
}

void events_beat(struct events *events)
{
    send_vitals(events, EVENT_WORKER_HEARTBEAT);
}

static void on_beat(uv_timer_t *timer)
{
    events_beat(container_of(timer, struct events, beat));
}

void events_start(struct events *events)
{
    uint64_t every = EVENTS_FREQ_USEC / USEC_PER_MSEC;
    if (events->options.is_silent || events->is_online)
        return;
    events->is_online = true;
    send_vitals(events, EVENT_WORKER_ONLINE);
    uv_timer_start(&events->beat, on_beat, every, every);
}

void events_stop(struct events *events)
{
    uv_timer_stop(&events->beat);
    events_flush(events);
    send_vitals(events, EVENT_WORKER_OFFLINE);
    events->is_online = events->are_wanted = false;
}

void events_ack_election(struct events *events, struct str election)
{
    if (events->is_online)
        send_alone(events, &(struct event){.type = EVENT_WORKER_ELECT_ACK, .election = election});
}

/* --- of tasks --------------------------------------------------------------------------------- */

void events_flush(struct events *events)
{
    if (!events->batched)
        return;
    size_t count = events->batched;
    events->batched = 0;
    buf_add_char(&events->batch, ']');
    if (buf_status(&events->batch) < 0)
        events->lost += count;
    else
        send_message(events, buf_str(&events->batch), STR(EVENT_MANY_ROUTING_KEY), count);
    buf_clear(&events->batch);
}

void events_tell(struct events *events, struct event *event)
{
    fill_in(events, event);
    buf_add_str(&events->batch, events->batched ? STR(", ") : STR("["));
    event_add(&events->batch, event);
    if (events->batched++ == 0)
        bus_wake(events->bus);
    if (events->batched == BATCH_MAX)
        events_flush(events);
}

void events_init(struct events *events,
                 uv_loop_t *loop,
                 struct bus *bus,
                 struct lamport *clock,
                 const struct events_options *options)
{
    *events = (struct events){.bus = bus,
                              .clock = clock,
                              .options = *options,
                              .are_wanted = options->wants_tasks,
                              .pid = getpid()};
    buf_init(&events->batch, BATCH_BYTES_MAX);
    buf_init(&events->message, 2 * BATCH_BYTES_MAX);
    uv_timer_init(loop, &events->beat);
}

void events_deinit(struct events *events)
{
    buf_deinit(&events->batch);
    buf_deinit(&events->message);
    uv_close((uv_handle_t *)&events->beat, NULL);
}
