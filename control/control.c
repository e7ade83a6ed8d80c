#include "control/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "control/command.h"
#include "control/match.h"
#include "core/id.h"
#include "core/log.h"
#include "core/mem.h"

/* --- answering -------------------------------------------------------------------------------- */

static void free_command(struct command *command)
{
    cel_value_free(command->reply);
    mem_free(command->texts);
    mem_free(command);
}

static int send_reply(struct command *command, const struct cel_value *value)
{
    struct control *control = command->control;
    char tag[UUID_SIZE];
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(2 * WRAPPER_BYTES_MAX);
    int r = control_reply_encode(&message,
                                 &(struct control_reply){.node = control->options.node,
                                                         .value = value,
                                                         .ticket = command->ticket,
                                                         .clock = lamport_tick(control->clock),
                                                         .exchange = command->exchange,
                                                         .key = command->key},
                                 uuid_new(tag));
    return r < 0 ? r : bus_reply(control->bus, command->exchange, command->key, buf_str(&message));
}

static struct cel_value *map_of(const char *key, const char *text)
{
    struct cel_value *map = cel_map();
    if (cel_map_set(map, key, cel_text(text)) < 0)
        return cel_value_free(map);
    return map;
}

void command_answer(struct command *command)
{
    if (command->is_waiting)
        list_remove(&command->control->commands, &command->link);
    if (!command->reply && !command->is_null)
        answer_error(command, "MemoryError()");
    int r = command->key.ptr ? send_reply(command, command->reply) : 0;
    if (r == CEL_E_LIMIT || r == CEL_E_FORMAT) {
        answer_error(command, "The reply cannot be sent: %s", cel_error_name(r));
        r = send_reply(command, command->reply);
    }
    if (r < 0)
        log_warning("A reply of remote control was not sent", F_C("command", command->method),
                    F_C("err", cel_error_name(r)));
    free_command(command);
}

enum answer answer_value(struct command *command, struct cel_value *reply)
{
    cel_value_free(command->reply);
    command->reply = reply;
    command->is_null = false;
    return ANSWER_NOW;
}

enum answer answer_null(struct command *command)
{
    answer_value(command, NULL);
    command->is_null = true;
    return ANSWER_NOW;
}

static enum answer
answer_text(struct command *command, const char *key, const char *format, va_list args)
{
    char *printed = NULL;
    if (vasprintf(&printed, format, args) < 0)
        printed = NULL;
    answer_value(command, printed ? map_of(key, printed) : NULL);
    mem_free(printed);
    return ANSWER_NOW;
}

enum answer answer_ok(struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum answer answer = answer_text(command, "ok", format, args);
    va_end(args);
    return answer;
}

enum answer answer_error(struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum answer answer = answer_text(command, "error", format, args);
    va_end(args);
    return answer;
}

enum answer answer_missing(struct command *command, const char *argument)
{
    return answer_error(command, "TypeError(\"%s() missing 1 required positional argument: '%s'\")",
                        command->method, argument);
}

struct str argument_text(const struct command *command, const char *name)
{
    return value_str(cel_value_get(command->arguments, name));
}

/* --- hearing ---------------------------------------------------------------------------------- */

static const struct command_entry *find(struct str method)
{
    static const struct command_entry *const tables[] = {inspect_commands, change_commands};
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const struct command_entry *entry = tables[i]; entry->name; entry++) {
            if (str_equal(method, str_of(entry->name)))
                return entry;
        }
    }
    return NULL;
}

static struct str keep(char **at, struct str text)
{
    if (!text.ptr)
        return STR_NONE;
    struct str kept = str_n(*at, text.len);
    memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return kept;
}

static struct command *command_new(struct control *control, const struct control_request *request)
{
    struct command *command = mem_new(struct command);
    size_t size = request->ticket.len + request->reply_exchange.len + request->reply_key.len;
    char *at = command ? mem_alloc(size + 1) : NULL;
    if (!at) {
        mem_free(command);
        return NULL;
    }
    command->control = control;
    command->texts = at;
    command->arguments = request->arguments;
    command->ticket = keep(&at, request->ticket);
    command->exchange = keep(&at, request->reply_exchange);
    command->key = request->reply_exchange.ptr ? keep(&at, request->reply_key) : STR_NONE;
    return command;
}

static void log_command(const struct control_request *request, const struct command_entry *entry)
{
    log_debug("Remote control", F_STR("command", request->method),
              F_STR("asked_by", request->reply_key));
    if (!entry)
        log_error("An unknown command of remote control", F_STR("command", request->method));
}

static void run(struct control *control, const struct control_request *request)
{
    const struct command_entry *entry = find(request->method);
    struct command *command = command_new(control, request);
    log_command(request, entry);
    if (!command) {
        log_error("No memory for a command of remote control");
        return;
    }
    enum answer answer = ANSWER_NOW;
    command->method = entry ? entry->name : "unknown";
    if (entry)
        answer = entry->run(command);
    else
        answer_error(command, "KeyError('" STR_FORMAT "')", STR_ARGS(request->method));
    command->arguments = NULL;
    if (answer == ANSWER_LATER) {
        command->is_waiting = true;
        list_append(&control->commands, &command->link);
    } else if (answer == ANSWER_NOW) {
        command_answer(command);
    } else {
        free_command(command);
    }
}

/* What is no request is somebody's mistake, and no reason to stop. */
static void refuse(struct control *control, const struct cel_error *err)
{
    control->refused++;
    log_warning("A message of remote control cannot be used", F_C("err", err->text));
}

static void on_heard(void *data, struct str message)
{
    struct control *control = data;
    struct control_request request;
    struct cel_error err = {0};
    if (!control->is_on)
        return;
    if (control_request_decode(message, &request, &err) < 0) {
        refuse(control, &err);
        return;
    }
    lamport_adjust(control->clock, request.clock);
    int r = match_request(control->options.node, &request, &err);
    if (r > 0) {
        control->heard++;
        run(control, &request);
    } else if (r < 0) {
        refuse(control, &err);
    }
    control_request_deinit(&request);
}

/* Workers of Celery elect one that acts; it waits until all who send heartbeats have said something. */
static void on_election(void *data, struct str message)
{
    struct control *control = data;
    struct cel_value *event = NULL;
    if (!control->is_on || event_decode(message, &event, NULL) < 0)
        return;
    int64_t clock = cel_value_int(cel_value_get(event, "clock"), 0);
    lamport_adjust(control->clock, clock > 0 ? (uint64_t)clock : 0);
    struct str id = value_str(cel_value_get(event, "id"));
    if (id.ptr)
        events_ack_election(control->events, id);
    cel_value_free(event);
}

/* --- being there ------------------------------------------------------------------------------ */

static void on_bound(void *data, int status, const struct cel_error *err)
{
    (void)data;
    if (status < 0 && status != -ECANCELED)
        log_warning("It could not be written down that this node listens to remote control",
                    F_C("err", err->text));
}

static void bind_pidbox(struct control *control, bool is_bound)
{
    CLEANUP(buf_deinit) struct buf queue = BUF_INIT(1024);
    buf_add_str(&queue, control->options.node);
    buf_add_str(&queue, STR("." CONTROL_EXCHANGE));
    if (buf_status(&queue) < 0 || bus_bind(control->bus, STR(CONTROL_EXCHANGE), STR(""),
                                           buf_str(&queue), is_bound, on_bound, control) < 0)
        log_warning("It could not be written down that this node listens to remote control");
}

void control_init(struct control *control,
                  struct broker *broker,
                  struct bus *bus,
                  struct lamport *clock,
                  struct events *events,
                  const struct control_options *options)
{
    *control = (struct control){
        .broker = broker, .bus = bus, .clock = clock, .events = events, .options = *options};
}

void control_start(struct control *control)
{
    if (control->is_on)
        return;
    control->is_on = true;
    bind_pidbox(control, true);
    if (bus_listen(control->bus, STR(CONTROL_EXCHANGE), STR(""), on_heard, control) < 0 ||
        bus_listen(control->bus, STR(EVENT_EXCHANGE), STR("worker.elect"), on_election, control) <
            0)
        log_error("No memory: this node does not listen to remote control");
}

void control_stop(struct control *control)
{
    if (!control->is_on)
        return;
    control->is_on = false;
    bind_pidbox(control, false);
}

void control_deinit(struct control *control)
{
    for (struct list_link *link; (link = list_pop(&control->commands));)
        free_command(container_of(link, struct command, link));
}
