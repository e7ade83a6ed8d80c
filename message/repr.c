/*
 * What does not fit is cut as Celery's saferepr cuts it: the text that is too long ends in "...",
 * then
 * ", ..." and the brackets that are still open follow. `room` counts down what may still be
 * written; the tail for those closing pieces is set aside from the start.
 */
#include "message/repr.h"

#include <math.h>
#include <stdio.h>

#include "core/json.h"

enum { TAIL = sizeof("...', ...") + REPR_LEVELS_MAX + 1 };

struct repr {
    struct buf *buf;
    size_t room;
    unsigned level;
    bool is_full; /* nothing but closing brackets is written any more */
};

static bool fits(struct repr *repr, size_t len)
{
    repr->is_full = repr->is_full || len > repr->room;
    if (!repr->is_full)
        repr->room -= len;
    return !repr->is_full;
}

static void put(struct repr *repr, struct str text)
{
    if (repr->is_full)
        return;
    buf_add_str(repr->buf, fits(repr, text.len) ? text : STR(", ..."));
}

/* --- texts ------------------------------------------------------------------------------------ */

/* The character at `*at`, which moves behind it; text is valid UTF-8. */
static uint32_t take_character(const unsigned char **at)
{
    const unsigned char *from = *at;
    size_t len = from[0] < 0x80 ? 1 : from[0] < 0xE0 ? 2 : from[0] < 0xF0 ? 3 : 4;
    uint32_t code = len == 1 ? from[0] : from[0] & (0xFFU >> (len + 1));
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (from[i] & 0x3F);
    *at += len;
    return code;
}

/* Controls, format marks, odd spaces, private characters: what a terminal or a log should not get.
 */
static bool is_printable(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0x00, 0x1F},     {0x7F, 0xA0},       {0xAD, 0xAD},       {0x0600, 0x0605},
                  {0x061C, 0x061C}, {0x06DD, 0x06DD},   {0x070F, 0x070F},   {0x1680, 0x1680},
                  {0x180E, 0x180E}, {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
                  {0x3000, 0x3000}, {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},
                  {0xFFFE, 0xFFFF}, {0xE0000, 0xE00FF}, {0xF0000, 0x10FFFF}};
    for (size_t i = 0; i < ARRAY_SIZE(hidden) && code >= hidden[i].first; i++) {
        if (code <= hidden[i].last)
            return false;
    }
    return true;
}

/* One character as it stands between `quote`s; `itself` are its bytes. */
static void put_character(struct repr *repr, uint32_t code, struct str itself, char quote)
{
    char escape[16];
    if (code == (uint32_t)quote || code == '\\')
        snprintf(escape, sizeof(escape), "\\%c", (char)code);
    else if (code == '\n' || code == '\r' || code == '\t')
        snprintf(escape, sizeof(escape), "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
    else if (!itself.ptr || !is_printable(code))
        snprintf(escape, sizeof(escape),
                 code <= 0xFF     ? "\\x%02x"
                 : code <= 0xFFFF ? "\\u%04x"
                                  : "\\U%08x",
                 (unsigned)code);
    else
        escape[0] = '\0';
    struct str shown = escape[0] ? str_of(escape) : itself;
    buf_add_str(repr->buf, fits(repr, shown.len) ? shown : STR("..."));
}

/* The characters from the front that stand for themselves in every case, as many as there is room
 * for. */
static size_t plain_run(const struct repr *repr, const unsigned char *at, size_t len)
{
    size_t run = 0, most = len < repr->room ? len : repr->room;
    while (run < most && at[run] >= ' ' && at[run] < 0x7F && at[run] != '\'' && at[run] != '"' &&
           at[run] != '\\')
        run++;
    return run;
}

static char quote_for(struct str text)
{
    bool has_single = text.len > 0 && memchr(text.ptr, '\'', text.len);
    bool has_double = text.len > 0 && memchr(text.ptr, '"', text.len);
    return has_single && !has_double ? '"' : '\'';
}

static void put_quoted(struct repr *repr, struct str text, bool is_bytes)
{
    char quote = quote_for(text);
    const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;
    if (!fits(repr, is_bytes ? 3 : 2)) {
        buf_add_str(repr->buf, STR("..."));
        return;
    }
    buf_add_c(repr->buf, is_bytes ? "b" : "");
    buf_add_char(repr->buf, quote);
    while (at < end && !repr->is_full) {
        const unsigned char *begin = at;
        size_t run = plain_run(repr, at, (size_t)(end - at));
        buf_add(repr->buf, at, run);
        repr->room -= run;
        at += run;
        if (run > 0)
            continue;
        uint32_t code = is_bytes ? *at++ : take_character(&at);
        bool is_itself = !is_bytes || code < 0x7F;
        put_character(repr, code, is_itself ? str_n(begin, (size_t)(at - begin)) : STR_NONE, quote);
    }
    buf_add_char(repr->buf, quote);
}

static void put_called(struct repr *repr, struct str name, struct str text)
{
    put(repr, name);
    if (!repr->is_full)
        put_quoted(repr, text, false);
    if (!repr->is_full)
        put(repr, STR(")"));
}

/* --- values ----------------------------------------------------------------------------------- */

static void put_value(struct repr *repr, const struct cel_value *value, bool as_tuple);

enum { NUMBER_MAX = 32 }; /* bytes of an integer or a float */

static bool has_room_for_number(struct repr *repr)
{
    if (!repr->is_full && repr->room >= NUMBER_MAX)
        return true;
    repr->room = 0;
    put(repr, STR(", ..."));
    return false;
}

static void put_float(struct repr *repr, double number)
{
    size_t before = repr->buf->len;
    if (isnan(number) || isinf(number)) {
        put(repr, isnan(number) ? STR("nan") : number > 0 ? STR("inf") : STR("-inf"));
    } else if (has_room_for_number(repr)) {
        json_add_double(repr->buf, number);
        repr->room -= repr->buf->len - before;
    }
}

static void put_integer(struct repr *repr, int64_t number)
{
    size_t before = repr->buf->len;
    if (!has_room_for_number(repr))
        return;
    buf_add_i64(repr->buf, number);
    repr->room -= repr->buf->len - before;
}

static void put_items(struct repr *repr, const struct cel_value *value)
{
    size_t count = cel_value_count(value);
    for (size_t i = 0; i < count && !repr->is_full; i++) {
        if (i > 0)
            put(repr, STR(", "));
        if (value->type == CEL_MAP && !repr->is_full) {
            put_quoted(repr, value->map.pairs[i].key, false);
            put(repr, STR(": "));
        }
        if (!repr->is_full)
            put_value(repr, cel_value_at(value, i), false);
    }
}

static void put_container(struct repr *repr, const struct cel_value *value, bool as_tuple)
{
    struct str open = value->type == CEL_MAP ? STR("{") : as_tuple ? STR("(") : STR("[");
    struct str close = value->type == CEL_MAP ? STR("}") : as_tuple ? STR(")") : STR("]");
    if (as_tuple && cel_value_count(value) == 1)
        close = STR(",)");
    put(repr, open);
    if (repr->is_full)
        return;
    if (repr->level >= REPR_LEVELS_MAX) {
        put(repr, STR("..."));
    } else {
        repr->level++;
        put_items(repr, value);
        repr->level--;
    }
    buf_add_str(repr->buf, close); /* from the tail that was set aside */
}

static void put_value(struct repr *repr, const struct cel_value *value, bool as_tuple)
{
    switch (cel_value_type(value)) {
    case CEL_NULL:
        put(repr, STR("None"));
        break;
    case CEL_BOOL:
        put(repr, value->boolean ? STR("True") : STR("False"));
        break;
    case CEL_INT:
        put_integer(repr, value->integer);
        break;
    case CEL_FLOAT:
        put_float(repr, value->number);
        break;
    case CEL_BIGINT:
        put(repr, value->text);
        break;
    case CEL_DECIMAL:
        put_called(repr, STR("Decimal("), value->text);
        break;
    case CEL_UUID:
        put_called(repr, STR("UUID("), value->text);
        break;
    case CEL_TEXT:
    case CEL_DATETIME:
    case CEL_DATE:
    case CEL_TIME:
    case CEL_BYTES:
        put_quoted(repr, value->text, value->type == CEL_BYTES);
        break;
    case CEL_LIST:
    case CEL_MAP:
        put_container(repr, value, as_tuple);
        break;
    }
}

void repr_value(struct buf *buf, const struct cel_value *value, bool as_tuple, size_t max)
{
    struct repr repr = {.buf = buf, .room = max > TAIL ? max - TAIL : 0};
    put_value(&repr, value, as_tuple && cel_value_type(value) == CEL_LIST);
}

void repr_args(struct buf *buf, const struct cel_value *args)
{
    if (cel_value_count(args) == 0)
        buf_add_str(buf, STR("()"));
    else
        repr_value(buf, args, true, REPR_BYTES_MAX);
}

void repr_kwargs(struct buf *buf, const struct cel_value *kwargs)
{
    if (cel_value_count(kwargs) == 0)
        buf_add_str(buf, STR("{}"));
    else
        repr_value(buf, kwargs, false, REPR_BYTES_MAX);
}
