#include "core/json_typed.h"

#include <errno.h>

#include "core/base64.h"
#include "core/error.h"
#include "core/json.h"
#include "core/typed.h"

enum { UUID_LEN = 36, UUID_HEX_LEN = 32 };

static const struct str type_key = {"__type__", 8}, value_key = {"__value__", 9};

static const struct {
    struct str name;
    enum cel_type type;
} kinds[] = {
    {{"datetime", 8}, CEL_DATETIME}, {{"date", 4}, CEL_DATE}, {{"time", 4}, CEL_TIME},
    {{"decimal", 7}, CEL_DECIMAL},   {{"uuid", 4}, CEL_UUID}, {{"bytes", 5}, CEL_BYTES},
};

bool json_is_typed_object(const struct cel_value *map)
{
    return cel_value_type(map) == CEL_MAP && map->map.count == 2 && value_find(map, type_key) &&
           value_find(map, value_key);
}

static int decode_text(enum cel_type type, struct str text, struct cel_value **ret_value_take)
{
    char room[TYPED_ROOM];
    struct str form;
    if (!text.ptr || !typed_form(type, text, room, &form))
        return JSON_TYPED_UNKNOWN;
    *ret_value_take = value_typed(type, form);
    return *ret_value_take ? 0 : -ENOMEM;
}

/* {"hex": ...}: 32 digits, to which the dashes are added. */
static int decode_uuid(const struct cel_value *value, struct cel_value **ret_value_take)
{
    struct str hex = value_str(cel_value_get(value, "hex"));
    char dashed[UUID_LEN];
    size_t len = 0;
    if (cel_value_count(value) != 1 || !hex.ptr)
        return JSON_TYPED_UNKNOWN;
    if (hex.len != UUID_HEX_LEN)
        return decode_text(CEL_UUID, hex, ret_value_take);
    for (size_t i = 0; i < hex.len; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            dashed[len++] = '-';
        dashed[len++] = hex.ptr[i];
    }
    return decode_text(CEL_UUID, str_n(dashed, len), ret_value_take);
}

static int decode_base64(struct str text, struct cel_value **ret_value_take)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(VALUE_BYTES_MAX);
    int r = text.ptr ? base64_decode(&bytes, text) : CEL_E_FORMAT;
    if (r == CEL_E_FORMAT)
        return JSON_TYPED_UNKNOWN;
    if (r < 0)
        return r;
    *ret_value_take = cel_bytes(bytes.ptr, bytes.len);
    return *ret_value_take ? 0 : -ENOMEM;
}

int json_typed_decode(const struct cel_value *map, struct cel_value **ret_value_take)
{
    const struct cel_value *type = value_find(map, type_key), *value = value_find(map, value_key);
    struct str name = cel_value_type(type) == CEL_TEXT ? type->text : STR_NONE;
    struct str text = cel_value_type(value) == CEL_TEXT ? value->text : STR_NONE;
    if (str_equal(name, STR("base64")))
        return decode_base64(text, ret_value_take);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (!str_equal(name, kinds[i].name))
            continue;
        if (kinds[i].type == CEL_UUID)
            return decode_uuid(value, ret_value_take);
        if (kinds[i].type != CEL_BYTES)
            return decode_text(kinds[i].type, text, ret_value_take);
        if (!text.ptr)
            return JSON_TYPED_UNKNOWN;
        *ret_value_take = cel_bytes(text.ptr, text.len);
        return *ret_value_take ? 0 : -ENOMEM;
    }
    return JSON_TYPED_UNKNOWN;
}

static struct str name_of(const struct cel_value *value)
{
    if (value->type == CEL_BYTES && !str_is_utf8(value->text))
        return STR("base64");
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].type == value->type)
            return kinds[i].name;
    }
    return STR_NONE;
}

static void add_uuid(struct buf *buf, struct str text)
{
    buf_add_c(buf, "{\"hex\": \"");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '-')
            buf_add_char(buf, text.ptr[i]);
    }
    buf_add_c(buf, "\"}");
}

void json_typed_encode(struct buf *buf, const struct cel_value *value)
{
    struct str name = name_of(value);
    ASSERT(name.ptr);
    buf_add_c(buf, "{\"__type__\": \"");
    buf_add_str(buf, name);
    buf_add_c(buf, "\", \"__value__\": ");
    if (value->type == CEL_UUID) {
        add_uuid(buf, value->text);
    } else if (str_equal(name, STR("base64"))) {
        buf_add_char(buf, '"');
        base64_add(buf, value->text);
        buf_add_char(buf, '"');
    } else {
        json_add_text(buf, value->text);
    }
    buf_add_char(buf, '}');
}
