/*
 * Building a call: setters that keep their first error, so that an application writes them without
 * a check at each step, and the one place that turns a call into a message.
 */
#include "message/call.h"

#include <errno.h>
#include <stdio.h>

#include "core/id.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/value.h"
#include "message/body.h"
#include "message/compression.h"
#include "message/envelope.h"
#include "message/repr.h"

/* Milliseconds up to the end of the year 9999: more than any time on the wire can say. */
static const int64_t ms_max = INT64_C(253402300799999);

__attribute__((format(printf, 3, 4))) static void
keep_error(struct cel_call *call, int code, const char *format, ...)
{
    va_list args;
    if (!call || call->error.code != 0)
        return;
    va_start(args, format);
    error_setv(&call->error, code, format, args);
    va_end(args);
}

static void keep_no_memory(struct cel_call *call)
{
    if (call && call->error.code == 0)
        error_no_memory(&call->error);
}

/* --- life ------------------------------------------------------------------------------------- */

/* What may stand where a name stands: 1 ... max bytes of UTF-8. */
static bool is_name(const char *text, size_t max)
{
    size_t len = text ? strnlen(text, max + 1) : 0;
    return len > 0 && len <= max && str_is_utf8(str_n(text, len));
}

static void set_text(struct cel_call *call, char **field, const char *text)
{
    char *copy = mem_dup(text, strlen(text));
    if (!copy) {
        keep_no_memory(call);
        return;
    }
    mem_free(*field);
    *field = copy;
}

struct cel_call *cel_call_new(const char *name)
{
    struct cel_call *call = mem_new(struct cel_call);
    if (!call)
        return NULL;
    call->args = cel_list();
    call->kwargs = cel_map();
    call->name = str_dup(name ? str_of(name) : STR(""));
    if (!call->args || !call->kwargs || !call->name)
        return cel_call_free(call);
    if (!is_name(name, TASK_NAME_MAX))
        keep_error(call, -EINVAL, "The name of a task is 1 to %d bytes of UTF-8", TASK_NAME_MAX);
    return call;
}

struct cel_call *cel_call_free(struct cel_call *call)
{
    if (!call)
        return NULL;
    cel_value_free(call->args);
    cel_value_free(call->kwargs);
    cel_value_free(call->headers);
    mem_free(call->name);
    mem_free(call->id);
    mem_free(call->queue);
    mem_free(call->to_exchange);
    mem_free(call->to_key);
    mem_free(call->shadow);
    mem_free(call);
    return NULL;
}

/* --- setters ---------------------------------------------------------------------------------- */

void cel_call_arg(struct cel_call *call, struct cel_value *value)
{
    if (!call)
        cel_value_free(value);
    else if (cel_list_add(call->args, value) < 0)
        keep_no_memory(call);
}

void cel_call_kwarg(struct cel_call *call, const char *name, struct cel_value *value)
{
    if (!call || !name || !str_is_utf8(str_of(name))) {
        cel_value_free(value);
        keep_error(call, -EINVAL, "The name of a keyword argument is UTF-8 text");
    } else if (cel_map_set(call->kwargs, name, value) < 0) {
        keep_no_memory(call);
    }
}

void cel_call_id(struct cel_call *call, const char *id)
{
    if (!is_name(id, TASK_ID_MAX))
        keep_error(call, -EINVAL, "A task id is 1 to %d bytes of UTF-8", TASK_ID_MAX);
    else if (call)
        set_text(call, &call->id, id);
}

int call_check_queue(struct str queue, struct cel_error *err)
{
    bool ok = queue.len > 0 && queue.len <= QUEUE_NAME_MAX && str_is_utf8(queue);
    for (size_t i = 0; ok && i < queue.len; i++)
        ok = (unsigned char)queue.ptr[i] >= 0x20 && queue.ptr[i] != 0x7F;
    if (ok)
        return 0;
    return error_set(err, -EINVAL,
                     "The name of a queue is 1 to %d bytes of UTF-8 without control characters",
                     QUEUE_NAME_MAX);
}

void cel_call_queue(struct cel_call *call, const char *queue)
{
    if (!call)
        return;
    if (call_check_queue(str_of(queue), call->error.code == 0 ? &call->error : NULL) == 0)
        set_text(call, &call->queue, queue);
}

void cel_call_exchange(struct cel_call *call, const char *exchange, const char *routing_key)
{
    struct cel_error *err = call && call->error.code == 0 ? &call->error : NULL;
    if (!is_name(exchange, QUEUE_NAME_MAX) || !routing_key ||
        (*routing_key && call_check_queue(str_of(routing_key), NULL))) {
        error_set(err, -EINVAL, "An exchange and a routing key are at most %d bytes of UTF-8",
                  QUEUE_NAME_MAX);
    } else if (call) {
        set_text(call, &call->to_exchange, exchange);
        set_text(call, &call->to_key, routing_key);
    }
}

void cel_call_priority(struct cel_call *call, int priority)
{
    if (priority < 0 || priority > 9)
        keep_error(call, -EINVAL, "A priority is 0 to 9, not %d", priority);
    else if (call)
        call->priority = priority;
}

/* `ms` as microseconds; false, with an error kept, when it is below `min` or beyond all times. */
static bool to_usec(struct cel_call *call, const char *what, int64_t ms, int64_t min, usec_t *ret)
{
    if (ms < min || ms > ms_max) {
        keep_error(call, -EINVAL, "%s of %lld ms is out of range", what, (long long)ms);
        return false;
    }
    *ret = (usec_t)ms * USEC_PER_MSEC;
    return call != NULL;
}

void cel_call_countdown_ms(struct cel_call *call, int64_t ms)
{
    usec_t usec;
    if (!to_usec(call, "A countdown", ms, 0, &usec))
        return;
    call->countdown = usec;
    call->eta_wall = 0;
}

void cel_call_eta_ms(struct cel_call *call, int64_t unix_ms)
{
    usec_t usec;
    if (!to_usec(call, "An eta", unix_ms, 1, &usec))
        return;
    call->eta_wall = usec;
    call->countdown = 0;
}

void cel_call_expires_in_ms(struct cel_call *call, int64_t ms)
{
    usec_t usec;
    if (!to_usec(call, "An expiry", ms, 1, &usec))
        return;
    call->expires_in = usec;
    call->expires_wall = 0;
}

void cel_call_expires_at_ms(struct cel_call *call, int64_t unix_ms)
{
    usec_t usec;
    if (!to_usec(call, "An expiry", unix_ms, 1, &usec))
        return;
    call->expires_wall = usec;
    call->expires_in = 0;
}

void cel_call_retries(struct cel_call *call, int64_t retries)
{
    if (retries < 0)
        keep_error(call, -EINVAL, "Retries are counted from 0, not %lld", (long long)retries);
    else if (call)
        call->retries = retries;
}

void cel_call_ignore_result(struct cel_call *call, bool ignore)
{
    if (call)
        call->ignore_result = ignore;
}

void cel_call_time_limit_ms(struct cel_call *call, int64_t soft_ms, int64_t hard_ms)
{
    usec_t soft, hard;
    if (!to_usec(call, "A soft time limit", soft_ms, 0, &soft) ||
        !to_usec(call, "A hard time limit", hard_ms, 0, &hard))
        return;
    call->soft_limit = soft;
    call->hard_limit = hard;
}

void cel_call_shadow(struct cel_call *call, const char *name)
{
    if (!is_name(name, TASK_NAME_MAX))
        keep_error(call, -EINVAL, "A shadow name is 1 to %d bytes of UTF-8", TASK_NAME_MAX);
    else if (call)
        set_text(call, &call->shadow, name);
}

/* Whoever could set them could make a message that no worker survives. */
bool call_is_reserved_header(struct str name)
{
    static const char *const reserved[] = {"lang",
                                           "task",
                                           "id",
                                           "shadow",
                                           "eta",
                                           "expires",
                                           "group",
                                           "group_index",
                                           "retries",
                                           "timelimit",
                                           "root_id",
                                           "parent_id",
                                           "argsrepr",
                                           "kwargsrepr",
                                           "origin",
                                           "compression",
                                           "ignore_result",
                                           "redelivered",
                                           "replaced_task_nesting",
                                           "periodic_task_name"};
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (str_equal(name, str_of(reserved[i])))
            return true;
    }
    return false;
}

void cel_call_header(struct cel_call *call, const char *name, struct cel_value *value)
{
    if (!call || !is_name(name, TASK_NAME_MAX) || call_is_reserved_header(str_of(name))) {
        cel_value_free(value);
        keep_error(call, -EINVAL, "\"%.60s\" cannot be the name of a header of one's own",
                   name ? name : "");
        return;
    }
    if (!call->headers)
        call->headers = cel_map();
    if (!call->headers) {
        cel_value_free(value);
        keep_no_memory(call);
    } else if (cel_map_set(call->headers, name, value) < 0) {
        keep_no_memory(call);
    }
}

void cel_call_serializer(struct cel_call *call, enum cel_serializer serializer)
{
    if (serializer != CEL_JSON && serializer != CEL_JSON_TYPED && serializer != CEL_MSGPACK)
        keep_error(call, -EINVAL, "There is no serializer %d", (int)serializer);
    else if (call)
        call->serializer = serializer;
}

void cel_call_compression(struct cel_call *call, enum cel_compression compression)
{
    if (compression != CEL_UNCOMPRESSED && !compression_name(compression).ptr)
        keep_error(call, -EINVAL, "There is no compression %d", (int)compression);
    else if (call)
        call->compression = compression;
}

void cel_call_ordered(struct cel_call *call, bool ordered)
{
    if (call)
        call->ordered = ordered;
}

/* --- the message ------------------------------------------------------------------------------ */

/* The members of the headers' map as JSON text: an object without its braces. */
static int encode_headers(const struct cel_call *call,
                          const struct call_context *context,
                          struct buf *buf,
                          struct str *ret,
                          struct cel_error *err)
{
    if (cel_value_count(call->headers) > 0) {
        enum json_style style = call->serializer == CEL_JSON_TYPED ? JSON_TYPED : JSON_PLAIN;
        int r = json_encode(buf, call->headers, style);
        if (r < 0)
            return r == -ENOMEM ? error_no_memory(err)
                                : error_set(err, r, "The headers cannot go as JSON");
        buf->len -= 1; /* the closing brace */
    }
    if (context->periodic_task_name.ptr) {
        buf_add_str(buf, STR(", \"periodic_task_name\": "));
        json_add_text(buf, context->periodic_task_name);
    }
    if (buf_status(buf) < 0)
        return error_no_memory(err);
    struct str text = buf_str(buf);
    if (text.len > 0) {
        size_t lead = text.ptr[0] == '{' ? 1 : 2;
        *ret = str_n(text.ptr + lead, text.len - lead);
    }
    return 0;
}

static usec_t eta_of(const struct cel_call *call, usec_t now_wall)
{
    return call->countdown ? now_wall + call->countdown : call->eta_wall;
}

static usec_t expires_of(const struct cel_call *call, usec_t now_wall)
{
    return call->expires_in ? now_wall + call->expires_in : call->expires_wall;
}

/* Redis ignores it; Python writes it, and so do we. */
static struct str expiration(usec_t expires_wall, usec_t now_wall, char text[64])
{
    if (!expires_wall)
        return STR_NONE;
    usec_t left = expires_wall > now_wall ? expires_wall - now_wall : 0;
    int len =
        snprintf(text, 64, "\"expiration\": \"%llu\"", (unsigned long long)(left / USEC_PER_MSEC));
    return str_n(text, (size_t)len);
}

static void
fill(struct envelope *envelope, const struct cel_call *call, const struct call_context *context)
{
    struct str queue = call->queue       ? str_of(call->queue)
                       : context->routes ? routes_queue(context->routes, str_of(call->name),
                                                        context->default_queue)
                                         : context->default_queue;
    envelope->task = str_of(call->name);
    envelope->id = call->id ? str_of(call->id) : context->id;
    envelope->lang = STR("c");
    envelope->root_id = context->root_id.ptr ? context->root_id : envelope->id;
    envelope->parent_id = context->parent_id;
    envelope->shadow = str_of(call->shadow);
    envelope->origin = context->origin;
    envelope->eta_wall = eta_of(call, context->now_wall);
    envelope->expires_wall = expires_of(call, context->now_wall);
    envelope->retries = call->retries;
    envelope->soft_limit = call->soft_limit;
    envelope->hard_limit = call->hard_limit;
    envelope->ignore_result = call->ignore_result;
    envelope->correlation_id = envelope->id;
    envelope->exchange = call->to_exchange    ? str_of(call->to_exchange)
                         : call->exchange.ptr ? call->exchange
                                              : STR("");
    envelope->group = call->group;
    envelope->has_group_index = call->has_group_index;
    envelope->group_index = call->group_index;
    envelope->replaced_task_nesting = call->replaced_task_nesting;
    envelope->reply_to = call->reply_to;
    envelope->routing_key = call->to_exchange ? str_of(call->to_key) : queue;
    envelope->delivery_tag = context->delivery_tag;
    envelope->priority = call->priority;
}

int call_encode(const struct cel_call *call,
                const struct call_context *context,
                struct buf *buf,
                struct str *ret_id,
                struct str *ret_queue,
                struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(ENVELOPE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf args = BUF_INIT(REPR_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf kwargs = BUF_INIT(REPR_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf headers = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct body_encoding encoding = {call->serializer, call->compression};
    struct envelope envelope = {0};
    char expiration_text[64];
    if (call->error.code != 0)
        return error_set(err, call->error.code, "%s", call->error.text);
    if (call->to_exchange && !context->knows_exchanges)
        return error_set(err, -EINVAL, "A call for an exchange is sent by cel_send() alone");
    fill(&envelope, call, context);
    int r = call->to_exchange ? 0 : call_check_queue(envelope.routing_key, err);
    if (r == 0)
        r = body_encode(call->args, call->kwargs, call->embed, encoding, &body, &envelope, err);
    if (r == 0)
        r = encode_headers(call, context, &headers, &envelope.other_headers, err);
    if (r < 0)
        return r;
    repr_args(&args, call->args);
    repr_kwargs(&kwargs, call->kwargs);
    envelope.body = buf_str(&body);
    envelope.argsrepr = buf_str(&args);
    envelope.kwargsrepr = buf_str(&kwargs);
    envelope.other_properties =
        expiration(envelope.expires_wall, context->now_wall, expiration_text);
    r = envelope_encode(buf, &envelope);
    if (r < 0)
        return r == -ENOMEM ? error_no_memory(err)
                            : error_set(err, r, "The message cannot be written");
    *ret_id = envelope.id;
    *ret_queue = envelope.routing_key;
    return 0;
}

void cel_message_free(struct cel_message *message)
{
    if (!message)
        return;
    mem_free(message->id);
    mem_free(message->queue);
    mem_free(message->text);
    *message = (struct cel_message){0};
}

int call_message(const struct cel_call *call,
                 const struct call_context *context,
                 struct cel_message *ret,
                 struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct str id, queue;
    if (!call)
        return error_set(err, -EINVAL, "The call is NULL");
    int status = call_encode(call, context, &bytes, &id, &queue, err);
    if (status)
        return status;
    struct cel_message message = {.id = str_dup(id),
                                  .queue = str_dup(queue),
                                  .text = buf_take(&bytes, NULL),
                                  .step = (int)priority_step(call->priority),
                                  .ordered = call->ordered};
    if (!message.id || !message.queue || !message.text) {
        cel_message_free(&message);
        return error_no_memory(err);
    }
    *ret = message;
    return 0;
}

void call_add_arguments(struct cel_call *call,
                        const struct cel_value *args,
                        const struct cel_value *kwargs)
{
    for (size_t i = 0; i < cel_value_count(args); i++)
        cel_call_arg(call, cel_value_dup(cel_value_at(args, i)));
    for (size_t i = 0; i < cel_value_count(kwargs); i++)
        cel_call_kwarg(call, cel_value_key(kwargs, i), cel_value_dup(cel_value_at(kwargs, i)));
}

void call_hand_out_id(struct str id, char *ret_id)
{
    size_t len = id.len < UUID_SIZE ? id.len : 0;
    memcpy(ret_id, id.ptr, len);
    ret_id[len] = '\0';
}
