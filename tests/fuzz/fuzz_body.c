/*
 * A task's body behind one byte that says how it is packed: bit 0 msgpack, bit 1 zlib, bit 2
 * base64. What is decoded can be encoded, and is the same when decoded again.
 */
#include "message/body.h"
#include "tests/fuzz/fuzz.h"

static void encode_again(const struct body *body, enum cel_serializer serializer)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct body_encoding encoding = {serializer, CEL_ZLIB};
    struct envelope envelope = {0};
    struct body again;
    /* a map of just __type__ and __value__, or nested too deep for an encoder, is refused */
    if (body_encode(body->args, body->kwargs, body->embed, encoding, &text, &envelope, NULL) < 0)
        return;
    envelope.body = buf_str(&text);
    int r = body_decode(&envelope, &again, NULL);
    ASSERT(r == 0);
    ASSERT(value_equal(body->args, again.args) && value_equal(body->kwargs, again.kwargs));
    ASSERT(!body->embed || value_equal(body->embed, again.embed));
    body_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct envelope envelope = {
        .content_type = data[0] & 1 ? STR("application/x-msgpack") : STR("application/json"),
        .compression = data[0] & 2 ? STR("zlib") : STR_NONE,
        .body_is_base64 = data[0] & 4,
        .body = str_n(data + 1, size - 1),
    };
    struct cel_error err = {0};
    struct body body;
    int r = body_decode(&envelope, &body, &err);
    ASSERT(r == 0 || (r < 0 && err.code == r && err.text[0]));
    if (r < 0)
        return 0;
    encode_again(&body, data[0] & 1 ? CEL_MSGPACK : CEL_JSON_TYPED);
    body_deinit(&body);
    return 0;
}
