#include "message/control.h"

#include "core/json.h"

static struct str text_of(const struct cel_value *map, const char *key)
{
    return value_str(cel_value_get(map, key));
}

/* A value of that type, and not an empty one. */
static const struct cel_value *
filled(const struct cel_value *map, const char *key, enum cel_type type)
{
    const struct cel_value *value = cel_value_get(map, key);
    return cel_value_type(value) == type && cel_value_count(value) > 0 ? value : NULL;
}

static uint64_t clock_of(const struct cel_value *headers)
{
    int64_t clock = cel_value_int(cel_value_get(headers, "clock"), 0);
    return clock > 0 ? (uint64_t)clock : 0;
}

int control_request_decode(struct str bytes, struct control_request *ret, struct cel_error *err)
{
    struct wrapped wrapped;
    int r = wrapper_decode(bytes, &wrapped, err);
    if (r < 0)
        return r;
    const struct cel_value *body = wrapped.body, *reply_to = cel_value_get(body, "reply_to");
    *ret = (struct control_request){
        .method = text_of(body, "method"),
        .arguments = filled(body, "arguments", CEL_MAP),
        .destination = filled(body, "destination", CEL_LIST),
        .pattern = text_of(body, "pattern"),
        .matcher = text_of(body, "matcher"),
        .ticket = text_of(body, "ticket"),
        .reply_exchange = text_of(reply_to, "exchange"),
        .reply_key = text_of(reply_to, "routing_key"),
        .clock = clock_of(wrapped.headers),
        .wrapped = wrapped,
    };
    if (ret->method.ptr)
        return 0;
    control_request_deinit(ret);
    return error_set(err, CEL_E_FORMAT, "It names no method");
}

void control_request_deinit(struct control_request *request)
{
    wrapped_deinit(&request->wrapped);
    *request = (struct control_request){.arguments = NULL};
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_text(struct buf *buf, const char *label, struct str text)
{
    buf_add_c(buf, label);
    json_add_text_or_null(buf, text);
}

static int add_value(struct buf *buf, const char *label, const struct cel_value *value)
{
    buf_add_c(buf, label);
    return json_encode(buf, value, JSON_PLAIN);
}

static int add_request(struct buf *buf, const struct control_request *request)
{
    add_text(buf, "{\"method\": ", request->method);
    int r = 0;
    if (request->arguments)
        r = add_value(buf, ", \"arguments\": ", request->arguments);
    else
        buf_add_c(buf, ", \"arguments\": {}");
    if (r == 0)
        r = add_value(buf, ", \"destination\": ", request->destination);
    add_text(buf, ", \"pattern\": ", request->pattern);
    add_text(buf, ", \"matcher\": ", request->matcher);
    if (request->reply_key.ptr) {
        add_text(buf, ", \"ticket\": ", request->ticket);
        add_text(buf, ", \"reply_to\": {\"exchange\": ", request->reply_exchange);
        add_text(buf, ", \"routing_key\": ", request->reply_key);
        buf_add_char(buf, '}');
    }
    buf_add_char(buf, '}');
    return r < 0 ? r : buf_status(buf);
}

int control_request_encode(struct buf *buf,
                           const struct control_request *request,
                           struct str delivery_tag)
{
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(WRAPPER_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf headers = BUF_INIT(256);
    int r = add_request(&body, request);
    buf_addf(&headers, "\"clock\": %llu, \"expires\": ", (unsigned long long)request->clock);
    json_add_double(&headers, (double)request->expires_wall / (double)USEC_PER_SEC);
    if (r < 0)
        return r;
    return wrapper_encode(buf, &(struct wrapper){.body_json = buf_str(&body),
                                                 .headers_json = buf_str(&headers),
                                                 .is_kept = true,
                                                 .exchange = STR(CONTROL_EXCHANGE),
                                                 .routing_key = STR(""),
                                                 .delivery_tag = delivery_tag});
}

int control_reply_encode(struct buf *buf,
                         const struct control_reply *reply,
                         struct str delivery_tag)
{
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(WRAPPER_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf headers = BUF_INIT(WRAPPER_BYTES_MAX);
    buf_add_char(&body, '{');
    json_add_text(&body, reply->node);
    int r = add_value(&body, ": ", reply->value);
    buf_add_char(&body, '}');
    add_text(&headers, "\"ticket\": ", reply->ticket);
    buf_addf(&headers, ", \"clock\": %llu", (unsigned long long)reply->clock);
    if (r == 0)
        r = buf_status(&body);
    if (r == 0)
        r = buf_status(&headers);
    if (r < 0)
        return r;
    return wrapper_encode(buf, &(struct wrapper){.body_json = buf_str(&body),
                                                 .headers_json = buf_str(&headers),
                                                 .exchange = reply->exchange,
                                                 .routing_key = reply->key,
                                                 .delivery_tag = delivery_tag});
}

int control_reply_decode(struct str bytes,
                         struct control_reply *ret,
                         struct wrapped *ret_wrapped,
                         struct cel_error *err)
{
    struct wrapped wrapped;
    int r = wrapper_decode(bytes, &wrapped, err);
    if (r < 0)
        return r;
    if (cel_value_type(wrapped.body) != CEL_MAP || cel_value_count(wrapped.body) != 1) {
        wrapped_deinit(&wrapped);
        return error_set(err, CEL_E_FORMAT, "It is not the reply of one node");
    }
    *ret = (struct control_reply){.node = str_of(cel_value_key(wrapped.body, 0)),
                                  .value = cel_value_at(wrapped.body, 0),
                                  .ticket = text_of(wrapped.headers, "ticket"),
                                  .clock = clock_of(wrapped.headers)};
    *ret_wrapped = wrapped;
    return 0;
}
