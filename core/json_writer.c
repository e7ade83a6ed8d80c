#include <errno.h>

#include "core/error.h"
#include "core/json.h"
#include "core/json_typed.h"

static void fail(struct buf *buf, int code)
{
    if (buf->status == 0)
        buf->status = code;
}

enum { REPLACEMENT = 0xFFFD };

/* Takes one character off the front of `*text`. What is no UTF-8 gives the replacement character
 * once for as many bytes as could have begun a character, as Python and browsers count them. */
static unsigned take_character(struct str *text)
{
    const unsigned char *at = (const unsigned char *)text->ptr;
    unsigned first = at[0], low = 0x80, high = 0xBF;
    size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1, used = 1;
    bool good = first >= 0xC2 && first <= 0xF4;
    unsigned code = first & (0x3FU >> more);
    if (first == 0xE0 || first == 0xF0) /* the shorter form exists */
        low = first == 0xE0 ? 0xA0 : 0x90;
    if (first == 0xED || first == 0xF4) /* a surrogate; beyond U+10FFFF */
        high = first == 0xED ? 0x9F : 0x8F;
    for (; good && used <= more; used++) {
        if (used == text->len || at[used] < low || at[used] > high) {
            good = false;
            break;
        }
        code = code << 6 | (at[used] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *text = str_n(text->ptr + used, text->len - used);
    return good ? code : REPLACEMENT;
}

static void add_code(struct buf *buf, unsigned code)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\',          'u', hex[code >> 12], hex[code >> 8 & 15], hex[code >> 4 & 15],
                    hex[code & 15]};
    buf_add(buf, text, sizeof(text));
}

static void add_character(struct buf *buf, unsigned code)
{
    if (code <= 0xFFFF) {
        add_code(buf, code);
    } else {
        add_code(buf, 0xD800 + ((code - 0x10000) >> 10));
        add_code(buf, 0xDC00 + ((code - 0x10000) & 0x3FF));
    }
}

/* The letter of a short escape, or 0. */
static char short_escape(char c)
{
    static const char letters[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    return (unsigned char)c < sizeof(letters) ? letters[(unsigned char)c] : 0;
}

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

void json_add_text(struct buf *buf, struct str text)
{
    buf_add_char(buf, '"');
    while (text.len > 0) {
        size_t plain = 0;
        while (plain < text.len && is_plain(text.ptr[plain]))
            plain++;
        buf_add(buf, text.ptr, plain);
        text = str_n(text.ptr + plain, text.len - plain);
        if (text.len == 0)
            break;
        char letter = short_escape(text.ptr[0]);
        if (letter) {
            char escape[2] = {'\\', letter};
            buf_add(buf, escape, sizeof(escape));
            text = str_n(text.ptr + 1, text.len - 1);
        } else if ((unsigned char)text.ptr[0] < 0x80) {
            add_code(buf, (unsigned char)text.ptr[0]);
            text = str_n(text.ptr + 1, text.len - 1);
        } else {
            add_character(buf, take_character(&text));
        }
    }
    buf_add_char(buf, '"');
}

void json_add_text_or_null(struct buf *buf, struct str text)
{
    if (text.ptr)
        json_add_text(buf, text);
    else
        buf_add_c(buf, "null");
}

/* As Celery 5.2: a date is the midnight it begins with, UTC is "Z". */
static void add_plain(struct buf *buf, const struct cel_value *value)
{
    struct str text = value->text;
    if (value->type == CEL_BYTES) {
        fail(buf, CEL_E_FORMAT);
    } else if (value->type == CEL_DATE) {
        buf_addf(buf, "\"" STR_FORMAT "T00:00:00\"", STR_ARGS(text));
    } else if (value->type == CEL_DATETIME && str_ends(text, STR("+00:00"))) {
        buf_addf(buf, "\"" STR_FORMAT "Z\"", STR_ARGS(str_n(text.ptr, text.len - 6)));
    } else {
        json_add_text(buf, text);
    }
}

static void
add_value(struct buf *buf, const struct cel_value *value, enum json_style style, unsigned depth);

static void
add_list(struct buf *buf, const struct cel_value *list, enum json_style style, unsigned depth)
{
    buf_add_char(buf, '[');
    for (size_t i = 0; i < list->list.count && buf->status == 0; i++) {
        if (i > 0)
            buf_add(buf, ", ", 2);
        add_value(buf, list->list.items[i], style, depth);
    }
    buf_add_char(buf, ']');
}

/* Whether a map may stand on the wire: readers of kombu 5.3 take some for typed values. */
static int check_map(const struct cel_value *map)
{
    struct cel_value *typed = NULL;
    if (!json_is_typed_object(map))
        return 0;
    int r = json_typed_decode(map, &typed);
    cel_value_free(typed);
    return r == JSON_TYPED_UNKNOWN ? CEL_E_FORMAT : r;
}

static void
add_map(struct buf *buf, const struct cel_value *map, enum json_style style, unsigned depth)
{
    int r = check_map(map);
    if (r < 0)
        fail(buf, r);
    buf_add_char(buf, '{');
    for (size_t i = 0; i < map->map.count && buf->status == 0; i++) {
        if (i > 0)
            buf_add(buf, ", ", 2);
        json_add_text(buf, map->map.pairs[i].key);
        buf_add(buf, ": ", 2);
        add_value(buf, map->map.pairs[i].value, style, depth);
    }
    buf_add_char(buf, '}');
}

/* How many containers a value that is not a plain leaf opens: a UUID is an object in an object. */
static unsigned depth_of(enum cel_type type)
{
    return type == CEL_UUID ? 2 : 1;
}

static void
add_value(struct buf *buf, const struct cel_value *value, enum json_style style, unsigned depth)
{
    enum cel_type type = cel_value_type(value);
    if (type == CEL_NULL)
        buf_add(buf, "null", 4);
    else if (type == CEL_BOOL)
        buf_add_c(buf, value->boolean ? "true" : "false");
    else if (type == CEL_INT)
        buf_add_i64(buf, value->integer);
    else if (type == CEL_BIGINT)
        buf_add_str(buf, value->text);
    else if (type == CEL_FLOAT)
        json_add_double(buf, value->number);
    else if (type == CEL_TEXT)
        json_add_text(buf, value->text);
    else if (type != CEL_LIST && type != CEL_MAP && style == JSON_PLAIN)
        add_plain(buf, value);
    else if (depth + depth_of(type) > VALUE_DEPTH_MAX)
        fail(buf, CEL_E_LIMIT);
    else if (type == CEL_LIST)
        add_list(buf, value, style, depth + 1);
    else if (type == CEL_MAP)
        add_map(buf, value, style, depth + 1);
    else
        json_typed_encode(buf, value);
}

int json_encode(struct buf *buf, const struct cel_value *value, enum json_style style)
{
    add_value(buf, value, style, 0);
    return buf_status(buf);
}

char *cel_value_to_json(const struct cel_value *value)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(VALUE_BYTES_MAX);
    return json_encode(&buf, value, JSON_TYPED) == 0 ? buf_take(&buf, NULL) : NULL;
}
