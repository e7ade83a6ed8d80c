#include "message/event.h"

#include "core/json.h"
#include "message/wrapper.h"

/* Groups of fields. */
enum {
    HAS_VITALS = 1 << 0,
    HAS_ELECTION = 1 << 1,
    HAS_CALL = 1 << 2,
    HAS_UUID = 1 << 3,
    HAS_RESULT = 1 << 4,
    HAS_EXCEPTION = 1 << 5,
    HAS_REQUEUE = 1 << 6,
    HAS_REVOCATION = 1 << 7,
};

static const struct {
    struct str name, routing_key;
    unsigned fields;
} types[EVENT_TYPES] = {
    [EVENT_WORKER_ONLINE] = {STR("worker-online"), STR("worker.online"), HAS_VITALS},
    [EVENT_WORKER_HEARTBEAT] = {STR("worker-heartbeat"), STR("worker.heartbeat"), HAS_VITALS},
    [EVENT_WORKER_OFFLINE] = {STR("worker-offline"), STR("worker.offline"), HAS_VITALS},
    [EVENT_WORKER_ELECT_ACK] = {STR("worker-elect-ack"), STR("worker.elect.ack"), HAS_ELECTION},
    [EVENT_TASK_RECEIVED] = {STR("task-received"), STR("task.received"), HAS_UUID | HAS_CALL},
    [EVENT_TASK_STARTED] = {STR("task-started"), STR("task.started"), HAS_UUID},
    [EVENT_TASK_SUCCEEDED] = {STR("task-succeeded"), STR("task.succeeded"), HAS_UUID | HAS_RESULT},
    [EVENT_TASK_FAILED] = {STR("task-failed"), STR("task.failed"), HAS_UUID | HAS_EXCEPTION},
    [EVENT_TASK_REJECTED] = {STR("task-rejected"), STR("task.rejected"), HAS_UUID | HAS_REQUEUE},
    [EVENT_TASK_REVOKED] = {STR("task-revoked"), STR("task.revoked"), HAS_UUID | HAS_REVOCATION},
    [EVENT_TASK_RETRIED] = {STR("task-retried"), STR("task.retried"), HAS_UUID | HAS_EXCEPTION},
};

struct str event_routing_key(enum event_type type)
{
    return types[type].routing_key;
}

/* --- fields ----------------------------------------------------------------------------------- */

static void add_name(struct buf *buf, const char *name)
{
    buf_add_str(buf, STR(", \""));
    buf_add_c(buf, name);
    buf_add_str(buf, STR("\": "));
}

static void add_text(struct buf *buf, const char *name, struct str text)
{
    add_name(buf, name);
    json_add_text_or_null(buf, text);
}

static void add_integer(struct buf *buf, const char *name, int64_t number)
{
    add_name(buf, name);
    buf_add_i64(buf, number);
}

static void add_flag(struct buf *buf, const char *name, bool flag)
{
    add_name(buf, name);
    buf_add_c(buf, flag ? "true" : "false");
}

static void add_seconds(struct buf *buf, const char *name, usec_t time)
{
    add_name(buf, name);
    json_add_double(buf, (double)time / (double)USEC_PER_SEC);
}

static void add_vitals(struct buf *buf, const struct event *event)
{
    add_seconds(buf, "freq", event->freq);
    add_integer(buf, "active", (int64_t)event->active);
    add_integer(buf, "processed", (int64_t)event->processed);
    add_name(buf, "loadavg");
    for (size_t i = 0; i < 3; i++) {
        buf_add_c(buf, i == 0 ? "[" : ", ");
        json_add_double(buf, event->load[i]);
    }
    buf_add_str(buf, STR("], \"sw_ident\": \"celeriac\", \"sw_ver\": \"" CELERIAC_VERSION
                         "\", \"sw_sys\": \"Linux\""));
}

static void add_call(struct buf *buf, const struct event *event)
{
    add_text(buf, "name", event->name);
    add_text(buf, "args", event->args);
    add_text(buf, "kwargs", event->kwargs);
    add_text(buf, "root_id", event->root_id);
    add_text(buf, "parent_id", event->parent_id);
    add_integer(buf, "retries", event->retries);
    add_text(buf, "eta", event->eta);
    add_text(buf, "expires", event->expires);
}

static void add_exception(struct buf *buf, const struct event *event)
{
    add_text(buf, "exception", event->exception);
    if (event->traceback.ptr)
        add_text(buf, "traceback", event->traceback);
}

static void add_revocation(struct buf *buf, const struct event *event)
{
    add_flag(buf, "terminated", event->terminated);
    if (event->signum)
        add_integer(buf, "signum", event->signum);
    else
        add_text(buf, "signum", STR_NONE);
    add_flag(buf, "expired", event->expired);
}

/* No utcoffset: receivers would shift the timestamp by it, which is in UTC already. */
void event_add(struct buf *buf, const struct event *event)
{
    unsigned fields = types[event->type].fields;
    buf_add_str(buf, STR("{\"hostname\": "));
    json_add_text(buf, event->hostname);
    add_integer(buf, "pid", event->pid);
    add_integer(buf, "clock", (int64_t)event->clock);
    if (fields & HAS_VITALS)
        add_vitals(buf, event);
    if (fields & HAS_ELECTION)
        add_text(buf, "id", event->election);
    if (fields & HAS_UUID)
        add_text(buf, "uuid", event->uuid);
    if (fields & HAS_CALL)
        add_call(buf, event);
    if (fields & HAS_RESULT) {
        add_text(buf, "result", event->result);
        add_seconds(buf, "runtime", event->runtime);
    }
    if (fields & HAS_EXCEPTION)
        add_exception(buf, event);
    if (fields & HAS_REQUEUE)
        add_flag(buf, "requeue", event->requeue);
    if (fields & HAS_REVOCATION)
        add_revocation(buf, event);
    add_seconds(buf, "timestamp", event->timestamp_wall);
    add_text(buf, "type", types[event->type].name);
    buf_add_char(buf, '}');
}

/* --- messages --------------------------------------------------------------------------------- */

int event_message(struct buf *buf,
                  struct str json,
                  struct str routing_key,
                  struct str hostname,
                  struct str delivery_tag)
{
    CLEANUP(buf_deinit) struct buf headers = BUF_INIT(WRAPPER_BYTES_MAX);
    buf_add_str(&headers, STR("\"hostname\": "));
    json_add_text(&headers, hostname);
    int r = buf_status(&headers);
    if (r < 0)
        return r;
    return wrapper_encode(buf, &(struct wrapper){.body_json = json,
                                                 .headers_json = buf_str(&headers),
                                                 .exchange = STR(EVENT_EXCHANGE),
                                                 .routing_key = routing_key,
                                                 .delivery_tag = delivery_tag});
}

int event_decode(struct str bytes, struct cel_value **ret_event_take, struct cel_error *err)
{
    struct wrapped wrapped;
    int r = wrapper_decode(bytes, &wrapped, err);
    if (r < 0)
        return r;
    const struct cel_value *event = wrapped.body;
    if (cel_value_type(event) == CEL_LIST)
        event = cel_value_at(event, 0);
    struct cel_value *copy = cel_value_type(event) == CEL_MAP ? cel_value_dup(event) : NULL;
    if (cel_value_type(event) != CEL_MAP)
        r = error_set(err, CEL_E_FORMAT, "It holds no event");
    else if (!copy)
        r = error_no_memory(err);
    else
        *ret_event_take = copy;
    wrapped_deinit(&wrapped);
    return r;
}
