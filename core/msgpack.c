/*
 * MessagePack through msgpack-c: its packer, and its unpacker as the template that the library
 * itself is made from (msgpack/unpack_template.h), with events of ours in place of its objects. The
 * ready made msgpack_unpack() is no choice: it allocates as many items as a header of five bytes
 * claims, up to 100 GB, and refuses what is nested more than 32 deep.
 *
 * The template says when an item is complete, not when a container is; so each open container
 * counts the items it still wants. What the template calls objects means nothing here.
 */
#include "core/msgpack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/builder.h"

/* One more than the builder opens, so that it is the builder who refuses. */
#define MSGPACK_EMBED_STACK_SIZE (VALUE_DEPTH_MAX + 1)
#include <msgpack.h>
#include <msgpack/unpack_define.h>

struct decoding {
    struct builder builder;
    const char *reason; /* for CEL_E_FORMAT */
};

static int refuse(struct decoding *decoding, const char *reason)
{
    decoding->reason = reason;
    return CEL_E_FORMAT;
}

static int refuse_as_key(struct decoding *decoding)
{
    return refuse(decoding, "a key of a map is not text");
}

static int add_integer(struct decoding *decoding, int64_t integer)
{
    if (builder_wants_key(&decoding->builder))
        return refuse_as_key(decoding);
    return builder_add(&decoding->builder, cel_int(integer));
}

static int add_float(struct decoding *decoding, double number)
{
    if (builder_wants_key(&decoding->builder))
        return refuse_as_key(decoding);
    return builder_add(&decoding->builder, cel_float(number));
}

/* Closes the innermost container when it has all its items. */
static int close_if_complete(struct decoding *decoding)
{
    struct builder *builder = &decoding->builder;
    if (builder->open[builder->depth - 1].wanted > 0)
        return 0;
    return builder_place(builder, builder_close_take(builder));
}

static int open_container(struct decoding *decoding, enum cel_type type, size_t wanted)
{
    struct builder *builder = &decoding->builder;
    if (builder_wants_key(builder))
        return refuse_as_key(decoding);
    int r = builder_open(builder, type);
    if (r < 0)
        return r;
    builder->open[builder->depth - 1].wanted = wanted;
    return close_if_complete(decoding);
}

static int item_done(struct decoding *decoding)
{
    decoding->builder.open[decoding->builder.depth - 1].wanted--;
    return close_if_complete(decoding);
}

/* The events, by the names and types that the template asks for. */
#define msgpack_unpack_struct(name)    struct unpack##name
#define msgpack_unpack_func(ret, name) static __attribute__((unused)) ret unpack##name
#define msgpack_unpack_callback(name)  on##name
#define msgpack_unpack_object          char
#define msgpack_unpack_user            struct decoding

#define INTEGER_EVENT(name, type)                                                                  \
    static int on_##name(struct decoding *user, type integer, char *object)                        \
    {                                                                                              \
        *object = 0;                                                                               \
        return add_integer(user, integer);                                                         \
    }
INTEGER_EVENT(uint8, uint8_t)
INTEGER_EVENT(uint16, uint16_t)
INTEGER_EVENT(uint32, uint32_t)
INTEGER_EVENT(int8, int8_t)
INTEGER_EVENT(int16, int16_t)
INTEGER_EVENT(int32, int32_t)
INTEGER_EVENT(int64, int64_t)
#undef INTEGER_EVENT

static int on_uint64(struct decoding *user, uint64_t integer, char *object)
{
    *object = 0;
    if (integer <= INT64_MAX)
        return add_integer(user, (int64_t)integer);
    if (builder_wants_key(&user->builder))
        return refuse_as_key(user);
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, integer);
    return builder_add(&user->builder, value_typed(CEL_BIGINT, str_n(digits, (size_t)len)));
}

static int on_float(struct decoding *user, float number, char *object)
{
    *object = 0;
    return add_float(user, (double)number);
}

static int on_double(struct decoding *user, double number, char *object)
{
    *object = 0;
    return add_float(user, number);
}

static int on_nil(struct decoding *user, char *object)
{
    *object = 0;
    if (builder_wants_key(&user->builder))
        return refuse_as_key(user);
    return builder_add(&user->builder, cel_null());
}

static int add_boolean(struct decoding *user, bool b, char *object)
{
    *object = 0;
    if (builder_wants_key(&user->builder))
        return refuse_as_key(user);
    return builder_add(&user->builder, cel_bool(b));
}

static int on_true(struct decoding *user, char *object)
{
    return add_boolean(user, true, object);
}

static int on_false(struct decoding *user, char *object)
{
    return add_boolean(user, false, object);
}

static int on_array(struct decoding *user, unsigned int count, char *object)
{
    *object = 0;
    return open_container(user, CEL_LIST, count);
}

static int on_array_item(struct decoding *user, char *array, char item)
{
    (void)array, (void)item;
    return item_done(user);
}

static int on_map(struct decoding *user, unsigned int count, char *object)
{
    *object = 0;
    return open_container(user, CEL_MAP, count);
}

static int on_map_item(struct decoding *user, char *map, char key, char value)
{
    (void)map, (void)key, (void)value;
    return item_done(user);
}

static int
on_str(struct decoding *user, const char *base, const char *at, unsigned len, char *object)
{
    struct str text = str_n(at, len);
    (void)base;
    *object = 0;
    if (!str_is_utf8(text))
        return refuse(user, "text is not UTF-8");
    if (builder_wants_key(&user->builder))
        return builder_key(&user->builder, text);
    return builder_add(&user->builder, value_text(text));
}

static int
on_bin(struct decoding *user, const char *base, const char *at, unsigned len, char *object)
{
    (void)base;
    *object = 0;
    if (builder_wants_key(&user->builder))
        return refuse_as_key(user);
    return builder_add(&user->builder, cel_bytes(at, len));
}

static int
on_ext(struct decoding *user, const char *base, const char *at, unsigned len, char *object)
{
    (void)base, (void)at, (void)len;
    *object = 0;
    return refuse(user, "extension types are not supported");
}

static char on_root(struct decoding *user)
{
    (void)user;
    return 0;
}

#include <msgpack/unpack_template.h>

static int explain(int r, const struct decoding *decoding, size_t offset, struct cel_error *err)
{
    if (r == -ENOMEM)
        return error_no_memory(err);
    if (r == CEL_E_LIMIT && decoding->builder.count > VALUE_COUNT_MAX)
        return error_set(err, CEL_E_LIMIT, "msgpack with more than %d values", VALUE_COUNT_MAX);
    if (r == CEL_E_LIMIT)
        return error_set(err, CEL_E_LIMIT, "msgpack nested more than %d deep", VALUE_DEPTH_MAX);
    return error_set(err, CEL_E_FORMAT, "invalid msgpack at byte %zu: %s", offset,
                     decoding->reason);
}

int msgpack_decode(struct str bytes, struct cel_value **ret_value_take, struct cel_error *err)
{
    if (bytes.len > VALUE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "msgpack of more than %zu bytes", VALUE_BYTES_MAX);
    struct unpack_context context;
    struct decoding *decoding = &context.user;
    size_t offset = 0;
    builder_init(&decoding->builder);
    decoding->reason = "unknown type";
    unpack_init(&context);

    int r = bytes.len > 0 ? unpack_execute(&context, bytes.ptr, bytes.len, &offset) : 0;
    if (r == 0)
        r = refuse(decoding, "it ends too early");
    else if (r > 0 && offset < bytes.len)
        r = refuse(decoding, "more follows the value");
    if (r > 0)
        *ret_value_take = builder_take(&decoding->builder);
    else
        r = explain(r, decoding, offset, err);
    builder_deinit(&decoding->builder);
    return r > 0 ? 0 : r;
}

static int write_bytes(void *data, const char *bytes, size_t len)
{
    struct buf *buf = data;
    buf_add(buf, bytes, len);
    return buf_status(buf);
}

static int
pack(msgpack_packer *packer, const struct cel_value *value, unsigned depth, struct cel_error *err);

static int pack_text(msgpack_packer *packer, struct str text)
{
    int r = msgpack_pack_str(packer, text.len);
    return r < 0 ? r : msgpack_pack_str_body(packer, text.ptr, text.len);
}

static int pack_bigint(msgpack_packer *packer, struct str digits, struct cel_error *err)
{
    uint64_t integer;
    if (str_parse_u64(digits, &integer) < 0)
        return error_set(err, CEL_E_FORMAT, "msgpack has no integers beyond 64 bits");
    return msgpack_pack_uint64(packer, integer);
}

static int pack_list(msgpack_packer *packer,
                     const struct cel_value *list,
                     unsigned depth,
                     struct cel_error *err)
{
    int r = msgpack_pack_array(packer, list->list.count);
    for (size_t i = 0; i < list->list.count && r == 0; i++)
        r = pack(packer, list->list.items[i], depth, err);
    return r;
}

static int
pack_map(msgpack_packer *packer, const struct cel_value *map, unsigned depth, struct cel_error *err)
{
    int r = msgpack_pack_map(packer, map->map.count);
    for (size_t i = 0; i < map->map.count && r == 0; i++) {
        r = pack_text(packer, map->map.pairs[i].key);
        if (r == 0)
            r = pack(packer, map->map.pairs[i].value, depth, err);
    }
    return r;
}

static int pack_bytes(msgpack_packer *packer, struct str bytes)
{
    int r = msgpack_pack_bin(packer, bytes.len);
    return r < 0 ? r : msgpack_pack_bin_body(packer, bytes.ptr, bytes.len);
}

static int
pack(msgpack_packer *packer, const struct cel_value *value, unsigned depth, struct cel_error *err)
{
    switch (cel_value_type(value)) {
    case CEL_NULL:
        return msgpack_pack_nil(packer);
    case CEL_BOOL:
        return value->boolean ? msgpack_pack_true(packer) : msgpack_pack_false(packer);
    case CEL_INT:
        return msgpack_pack_int64(packer, value->integer);
    case CEL_BIGINT:
        return pack_bigint(packer, value->text, err);
    case CEL_FLOAT:
        return msgpack_pack_double(packer, value->number);
    case CEL_BYTES:
        return pack_bytes(packer, value->text);
    case CEL_TEXT:
    case CEL_DECIMAL:
    case CEL_DATETIME:
    case CEL_DATE:
    case CEL_TIME:
    case CEL_UUID:
        return pack_text(packer, value->text);
    case CEL_LIST:
    case CEL_MAP:
        break;
    }
    if (depth == VALUE_DEPTH_MAX)
        return error_set(err, CEL_E_LIMIT, "a value nested more than %d deep", VALUE_DEPTH_MAX);
    return value->type == CEL_LIST ? pack_list(packer, value, depth + 1, err)
                                   : pack_map(packer, value, depth + 1, err);
}

int msgpack_encode(struct buf *buf, const struct cel_value *value, struct cel_error *err)
{
    msgpack_packer packer;
    if (buf_status(buf) < 0)
        return error_set(err, buf_status(buf), "no msgpack: %s", cel_error_name(buf_status(buf)));
    msgpack_packer_init(&packer, buf, write_bytes);
    int r = pack(&packer, value, 0, err);
    if (buf_status(buf) < 0)
        return error_set(err, buf_status(buf), "no msgpack: %s", cel_error_name(buf_status(buf)));
    return r;
}
