/*
 * From the wire inwards: base64, decompression, the serializer, the three elements; and outwards
 * the same way back. A content type or compression that is not accepted is refused before anything
 * is unpacked.
 */
#include "message/body.h"

#include <errno.h>

#include "core/base64.h"
#include "core/json.h"
#include "core/msgpack.h"
#include "message/compression.h"

#define TYPE_JSON    STR("application/json")
#define TYPE_MSGPACK STR("application/x-msgpack")

bool body_accepts(struct str content_type)
{
    return str_equal(content_type, TYPE_JSON) || str_equal(content_type, TYPE_MSGPACK);
}

/* Kombu's names of what it could read if it were told to. */
static struct str serializer_name(struct str content_type)
{
    if (str_equal(content_type, STR("application/x-python-serialize")))
        return STR("pickle");
    if (str_equal(content_type, STR("application/x-yaml")))
        return STR("yaml");
    return content_type;
}

static struct str shown(struct str text)
{
    return str_n(text.ptr, text.len < 100 ? text.len : 100);
}

static int refuse(const struct envelope *envelope, struct cel_error *err)
{
    struct str type = shown(envelope->content_type), compression = shown(envelope->compression);
    if (!body_accepts(envelope->content_type))
        return error_set(err, CEL_E_REFUSED,
                         "Refusing to deserialize disabled content of type " STR_FORMAT
                         " (" STR_FORMAT ")",
                         STR_ARGS(serializer_name(type)), STR_ARGS(type));
    if (compression.ptr && !compression_find(envelope->compression))
        return error_set(err, CEL_E_REFUSED,
                         "Refusing to decompress a body of compression " STR_FORMAT
                         ": only zlib, bzip2, lzma and zstd are supported",
                         STR_ARGS(compression));
    return 0;
}

/* --- decoding --------------------------------------------------------------------------------- */

static int fail(int status, const char *what, struct cel_error *err)
{
    if (status == -ENOMEM)
        return error_no_memory(err);
    if (status == CEL_E_LIMIT)
        return error_set(err, status, "The body exceeds %zu bytes or %d levels", VALUE_BYTES_MAX,
                         (int)VALUE_DEPTH_MAX);
    return error_set(err, status, "The body %s", what);
}

/* The serialized bytes of the body: a view of the envelope or of `buf`. */
static int
unpack(const struct envelope *envelope, struct buf *buf, struct str *ret, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf packed = BUF_INIT(VALUE_BYTES_MAX);
    struct str bytes = envelope->body;
    bool is_packed = envelope->compression.ptr != NULL;
    if (envelope->body_is_base64) {
        struct buf *to = is_packed ? &packed : buf;
        int r = base64_decode(to, bytes);
        if (r < 0)
            return fail(r, "is not base64", err);
        bytes = buf_str(to);
    }
    if (is_packed) {
        int r = compression_unpack(compression_find(envelope->compression), bytes, buf, err);
        if (r < 0)
            return r;
        bytes = buf_str(buf);
    }
    *ret = bytes;
    return 0;
}

int body_decode_value(const struct envelope *envelope,
                      struct cel_value **ret_value_take,
                      struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(VALUE_BYTES_MAX);
    struct str bytes;
    int r = refuse(envelope, err);
    if (r == 0)
        r = unpack(envelope, &buf, &bytes, err);
    if (r < 0)
        return r;
    r = str_equal(envelope->content_type, TYPE_MSGPACK) ? msgpack_decode(bytes, ret_value_take, err)
                                                        : json_decode(bytes, ret_value_take, err);
    if (r < 0)
        error_wrap(err, "The body");
    return r;
}

static bool is_type_or_null(const struct cel_value *value, enum cel_type type)
{
    return cel_value_type(value) == type || cel_value_type(value) == CEL_NULL;
}

/* Takes element `index` out of a list; NULL for null. */
static struct cel_value *take(struct cel_value *list, size_t index)
{
    struct cel_value *item = list->list.items[index];
    if (cel_value_type(item) == CEL_NULL)
        return NULL;
    list->list.items[index] = NULL;
    return item;
}

static int take_body(struct cel_value *value, struct body *ret, struct cel_error *err)
{
    if (cel_value_type(value) != CEL_LIST || cel_value_count(value) != 3)
        return fail(CEL_E_FORMAT, "is not a list of three: arguments, keyword arguments, embed",
                    err);
    if (!is_type_or_null(cel_value_at(value, 0), CEL_LIST))
        return fail(CEL_E_FORMAT, "has arguments that are not a list", err);
    if (!is_type_or_null(cel_value_at(value, 1), CEL_MAP))
        return fail(CEL_E_FORMAT, "has keyword arguments that are not an object", err);
    if (!is_type_or_null(cel_value_at(value, 2), CEL_MAP))
        return fail(CEL_E_FORMAT, "has an embed that is neither an object nor null", err);
    struct body body = {take(value, 0), take(value, 1), take(value, 2)};
    if (!body.args)
        body.args = cel_list();
    if (!body.kwargs)
        body.kwargs = cel_map();
    if (!body.args || !body.kwargs) {
        body_deinit(&body);
        return error_no_memory(err);
    }
    *ret = body;
    return 0;
}

int body_decode(const struct envelope *envelope, struct body *ret, struct cel_error *err)
{
    struct cel_value *value;
    int r = body_decode_value(envelope, &value, err);
    if (r < 0)
        return r;
    r = take_body(value, ret, err);
    cel_value_free(value);
    return r;
}

void body_deinit(struct body *body)
{
    if (!body)
        return;
    cel_value_free(body->args);
    cel_value_free(body->kwargs);
    cel_value_free(body->embed);
    *body = (struct body){0};
}

/* --- encoding --------------------------------------------------------------------------------- */

/* [args, kwargs, embed]; what is not given stands as Python writes it when there is none. */
static int serialize(const struct cel_value *const parts[3],
                     enum cel_serializer serializer,
                     struct buf *buf,
                     struct cel_error *err)
{
    static struct cel_value null = {.type = CEL_NULL};
    static struct cel_pair links[] = {{STR("callbacks"), &null},
                                      {STR("errbacks"), &null},
                                      {STR("chain"), &null},
                                      {STR("chord"), &null}};
    static struct cel_value no_args = {.type = CEL_LIST}, no_kwargs = {.type = CEL_MAP},
                            no_embed = {.type = CEL_MAP, .map = {links, ARRAY_SIZE(links), 0}};
    /* The encoders take the list as const and leave all of it alone. */
    struct cel_value *items[3] = {parts[0] ? (struct cel_value *)parts[0] : &no_args,
                                  parts[1] ? (struct cel_value *)parts[1] : &no_kwargs,
                                  parts[2] ? (struct cel_value *)parts[2] : &no_embed};
    struct cel_value body = {.type = CEL_LIST, .list = {items, ARRAY_SIZE(items), 0}};
    if (serializer == CEL_MSGPACK)
        return msgpack_encode(buf, &body, err);
    int r = json_encode(buf, &body, serializer == CEL_JSON_TYPED ? JSON_TYPED : JSON_PLAIN);
    return r < 0 ? fail(r,
                        "cannot go as JSON: it holds bytes (use CEL_JSON_TYPED or CEL_MSGPACK), or "
                        "an object of just __type__ and __value__",
                        err)
                 : 0;
}

int body_encode(const struct cel_value *args,
                const struct cel_value *kwargs,
                const struct cel_value *embed,
                struct body_encoding encoding,
                struct buf *buf,
                struct envelope *envelope,
                struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf plain = BUF_INIT(VALUE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf packed = BUF_INIT(VALUE_BYTES_MAX);
    const struct cel_value *const parts[3] = {args, kwargs, embed};
    bool is_packed = encoding.compression != CEL_UNCOMPRESSED;
    int r = serialize(parts, encoding.serializer, &plain, err);
    if (r < 0)
        return r;
    if (is_packed && (r = compression_pack(encoding.compression, buf_str(&plain), &packed)) < 0)
        return fail(r, "", err);
    base64_add(buf, buf_str(is_packed ? &packed : &plain));
    r = buf_status(buf);
    if (r < 0)
        return fail(r, "", err);
    envelope->content_type = encoding.serializer == CEL_MSGPACK ? TYPE_MSGPACK : TYPE_JSON;
    envelope->content_encoding = encoding.serializer == CEL_MSGPACK ? STR("binary") : STR("utf-8");
    envelope->compression = compression_name(encoding.compression);
    envelope->body_is_base64 = true;
    return 0;
}
