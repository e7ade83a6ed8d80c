#include "message/wrapper.h"

#include "core/base64.h"
#include "core/json.h"
#include "message/body.h"

int wrapper_encode(struct buf *buf, const struct wrapper *wrapper)
{
    buf_add_str(buf, STR("{\"body\": \""));
    base64_add(buf, wrapper->body_json);
    buf_add_str(buf, STR("\", \"content-encoding\": \"utf-8\", \"content-type\": "
                         "\"application/json\", \"headers\": {"));
    buf_add_str(buf, wrapper->headers_json);
    buf_add_str(buf, wrapper->is_kept ? STR("}, \"properties\": {\"delivery_mode\": 2")
                                      : STR("}, \"properties\": {\"delivery_mode\": 1"));
    buf_add_str(buf, STR(", \"delivery_info\": {\"exchange\": "));
    json_add_text(buf, wrapper->exchange);
    buf_add_str(buf, STR(", \"routing_key\": "));
    json_add_text(buf, wrapper->routing_key);
    buf_add_str(buf, STR("}, \"priority\": 0, \"body_encoding\": \"base64\", \"delivery_tag\": "));
    json_add_text(buf, wrapper->delivery_tag);
    buf_add_str(buf, STR("}}"));
    return buf_status(buf);
}

static struct str text_of(const struct cel_value *map, const char *key)
{
    return value_str(cel_value_get(map, key));
}

int wrapper_decode(struct str bytes, struct wrapped *ret, struct cel_error *err)
{
    struct wrapped wrapped = {.whole = NULL};
    if (bytes.len > WRAPPER_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "A message of %zu bytes is too long", bytes.len);
    int r = json_decode(bytes, &wrapped.whole, err);
    if (r < 0)
        return r;
    const struct cel_value *headers = cel_value_get(wrapped.whole, "headers");
    const struct cel_value *properties = cel_value_get(wrapped.whole, "properties");
    struct envelope envelope = {
        .content_type = text_of(wrapped.whole, "content-type"),
        .compression = text_of(headers, "compression"),
        .body = text_of(wrapped.whole, "body"),
        .body_is_base64 = str_equal(text_of(properties, "body_encoding"), STR("base64")),
    };
    if (!envelope.body.ptr || !envelope.content_type.ptr)
        r = error_set(err, CEL_E_FORMAT, "Its body or its content-type is missing or not text");
    if (r == 0)
        r = body_decode_value(&envelope, &wrapped.body, err);
    if (r < 0) {
        wrapped_deinit(&wrapped);
        return r;
    }
    wrapped.headers = cel_value_type(headers) == CEL_MAP ? headers : NULL;
    *ret = wrapped;
    return 0;
}

void wrapped_deinit(struct wrapped *wrapped)
{
    cel_value_free(wrapped->whole);
    cel_value_free(wrapped->body);
    *wrapped = (struct wrapped){.whole = NULL};
}
