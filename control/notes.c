/*
 * A note is "<kind><name>": the text of a rate; "consumed" or "cancelled" of a queue.
 */
#include "control/notes.h"

#include <errno.h>

#include "bus/notes.h"
#include "core/log.h"

#define RECALL_WITHIN (5 * USEC_PER_SEC)

/* --- writing ---------------------------------------------------------------------------------- */

static void on_noted(void *data, int status, const struct cel_error *err)
{
    struct command *command = data;
    if (status == -ECANCELED) /* the end: control_deinit() has freed it */
        return;
    if (status < 0) {
        log_warning("What this node was told holds now, and could not be noted",
                    F_C("command", command->method), F_C("err", err->text));
        answer_error(command,
                     "OperationalError('done, but Redis did not note it for the next start: %s')",
                     err->text);
    }
    command_answer(command);
}

enum answer notes_keep(struct command *command, struct str kind, struct str name, struct str value)
{
    CLEANUP(buf_deinit) struct buf what = BUF_INIT(64 * 1024);
    buf_add_str(&what, kind);
    buf_add_str(&what, name);
    int r = buf_status(&what);
    if (r == 0)
        r = bus_note(command->control->bus, command->control->options.node, buf_str(&what), value,
                     on_noted, command);
    if (r == 0)
        return ANSWER_LATER;
    return answer_error(command, "OperationalError('done, but not noted for the next start: %s')",
                        cel_error_name(r));
}

/* --- reading ---------------------------------------------------------------------------------- */

static int
recall_rate(struct control *control, struct str task, struct str rate, struct cel_error *err)
{
    const struct control_host *host = control->options.host;
    return host->set_rate_limit ? host->set_rate_limit(control->options.host_data, task, rate, err)
                                : 0;
}

static int
recall_queue(struct control *control, struct str name, struct str value, struct cel_error *err)
{
    const struct control_host *host = control->options.host;
    void *data = control->options.host_data;
    if (str_equal(value, NOTE_CANCELLED))
        return host->cancel_consumer ? host->cancel_consumer(data, name, err) : 0;
    return host->add_consumer ? host->add_consumer(data, &(struct control_queue){.name = name}, err)
                              : 0;
}

static void recall(struct control *control, const struct bus_noted *note)
{
    struct str rest = note->what;
    struct cel_error err = {0};
    int r = -EINVAL;
    if (str_starts(rest, NOTE_RATE))
        r = recall_rate(control, str_n(rest.ptr + NOTE_RATE.len, rest.len - NOTE_RATE.len),
                        note->value, &err);
    else if (str_starts(rest, NOTE_QUEUE))
        r = recall_queue(control, str_n(rest.ptr + NOTE_QUEUE.len, rest.len - NOTE_QUEUE.len),
                         note->value, &err);
    if (r < 0)
        log_warning("What this node was told in an earlier life cannot be done now",
                    F_STR("told", note->what), F_STR("value", note->value),
                    F_C("err", err.text[0] ? err.text : cel_error_name(r)));
    else
        log_info("Told in an earlier life", F_STR("told", note->what), F_STR("value", note->value));
}

static void read_notes(struct control *control);

static void on_notes(void *data,
                     int status,
                     const struct bus_noted *notes,
                     size_t count,
                     const struct cel_error *err)
{
    struct control *control = data;
    bool is_refused = status == CEL_E_SERVER || status == CEL_E_AUTH;
    if (status == -ECANCELED)
        return;
    if (status < 0)
        log_warning("What this node was told in earlier lives cannot be read",
                    F_C("err", err->text), F_C("then", is_refused ? "it begins" : "once more"));
    for (size_t i = 0; i < count; i++)
        recall(control, &notes[i]);
    if (status < 0 && !is_refused)
        read_notes(control); /* nothing could be claimed either */
    else
        control->recalled(control->recalled_data);
}

static void read_notes(struct control *control)
{
    if (bus_notes(control->bus, control->options.node, clock_mono() + RECALL_WITHIN, on_notes,
                  control) == 0)
        return;
    log_warning("No memory for what this node was told in earlier lives");
    control->recalled(control->recalled_data);
}

void control_recall(struct control *control, void (*recalled)(void *data), void *data)
{
    control->recalled = recalled;
    control->recalled_data = data;
    read_notes(control);
}
