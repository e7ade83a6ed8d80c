#include "bus/notes.h"

#include <errno.h>

#include "bus/bus_priv.h"
#include "core/mem.h"

#define NOTE_WITHIN (5 * USEC_PER_SEC)

int bus_note(struct bus *bus,
             struct str worker,
             struct str what,
             struct str value,
             bus_done_fn *cb,
             void *data)
{
    struct bus_op *op = bus_op_new(bus, cb, data);
    if (!op)
        return -ENOMEM;
    op->request.repeatable = true;
    return bus_op_send(op, clock_mono() + NOTE_WITHIN,
                       bus_command_note(&op->request, &bus->names, worker, what, value));
}

struct reading {
    struct redis_request request;
    bus_notes_fn *cb;
    void *data;
};

static void on_notes(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct reading *reading = container_of(request, struct reading, request);
    size_t count = status ? 0 : reply_count(reply) / 2;
    struct bus_noted *notes = mem_array(count ? count : 1, sizeof(*notes));
    if (!notes)
        status = status ? status : -ENOMEM;
    for (size_t i = 0; i < count && notes; i++)
        notes[i] = (struct bus_noted){.what = reply_text(reply_item(reply, 2 * i)),
                                      .value = reply_text(reply_item(reply, 2 * i + 1))};
    reading->cb(reading->data, status, notes, notes ? count : 0, err);
    mem_free(notes);
    redis_request_deinit(request);
    mem_free(reading);
}

int bus_notes(
    struct bus *bus, struct str worker, usec_t deadline_mono, bus_notes_fn *cb, void *data)
{
    struct reading *reading = bus->is_closing ? NULL : mem_new(struct reading);
    if (!reading)
        return -ENOMEM;
    int status = bus_command_notes(&reading->request, &bus->names, worker);
    if (status) {
        mem_free(reading);
        return status;
    }
    reading->request.on_reply = on_notes;
    reading->request.deadline_mono = deadline_mono;
    reading->request.repeatable = true;
    reading->cb = cb;
    reading->data = data;
    redis_connection_send(bus->talker, &reading->request);
    return 0;
}
