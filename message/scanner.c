/*
 * How it is fast: most of an envelope lies between quotes, so the end of a text is looked for in
 * blocks of 16 bytes (the compiler's vector type: SSE2, NEON or plain words), which also notes
 * whether a byte above 127 was met; only such text is checked to be UTF-8. All else is one look at
 * one byte. Nothing is allocated and no byte behind `end` is read.
 */
#include "message/scanner.h"

#include "celeriac/error.h"

void scan_init(struct scanner *scan, struct str text, unsigned depth_max)
{
    const char *begin = text.ptr ? text.ptr : "";
    *scan = (struct scanner){
        .begin = begin, .pos = begin, .end = begin + text.len, .depth_max = depth_max};
}

int scan_fail(struct scanner *scan, int status, const char *problem)
{
    if (scan->status == 0) {
        scan->status = status;
        scan->problem = problem;
    }
    return scan->status;
}

static int malformed(struct scanner *scan, const char *problem)
{
    return scan_fail(scan, CEL_E_FORMAT, problem);
}

/* --- bytes ------------------------------------------------------------------------------------ */

typedef uint8_t block __attribute__((vector_size(16)));
typedef uint64_t words __attribute__((vector_size(16)));

static bool is_special(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* The first byte whose lane is set, 16 for none. */
static inline size_t first_set(words lanes)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (lanes[0])
        return (size_t)__builtin_ctzll(lanes[0]) / 8;
    return lanes[1] ? 8 + (size_t)__builtin_ctzll(lanes[1]) / 8 : 16;
#else
    if (lanes[0])
        return (size_t)__builtin_clzll(lanes[0]) / 8;
    return lanes[1] ? 8 + (size_t)__builtin_clzll(lanes[1]) / 8 : 16;
#endif
}

/* Where plain text ends: at a quote, a backslash, a control character or `end`. Bytes above 127 set
 * bits in `*high`. */
static inline const char *plain_end(const char *at, const char *end, uint64_t *high)
{
    for (; end - at >= (ptrdiff_t)sizeof(block); at += sizeof(block)) {
        block bytes;
        memcpy(&bytes, at, sizeof(bytes));
        words special = (words)((bytes == '"') | (bytes == '\\') | (bytes < 0x20));
        words above = (words)(bytes & 0x80);
        *high |= above[0] | above[1]; /* what lies behind the end costs a check, no more */
        size_t first = first_set(special);
        if (first < sizeof(block))
            return at + first;
    }
    for (; at < end && !is_special(*at); at++)
        *high |= (unsigned char)*at & 0x80;
    return at;
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct scanner *scan)
{
    while (scan->pos < scan->end && is_space(*scan->pos))
        scan->pos++;
}

static inline bool take(struct scanner *scan, char c)
{
    if (scan->pos >= scan->end || *scan->pos != c)
        return false;
    scan->pos++;
    return true;
}

/* --- texts ------------------------------------------------------------------------------------ */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of \uXXXX, or -1. */
static int32_t hex4(const char *at, const char *end)
{
    if (end - at < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Behind a backslash: passes the rest of a well-formed escape. */
static int skip_escape(struct scanner *scan)
{
    if (take(scan, 'u')) {
        if (hex4(scan->pos, scan->end) < 0)
            return malformed(scan, "a \\u without four hexadecimal digits");
        scan->pos += 4;
        return 0;
    }
    if (scan->pos >= scan->end || !strchr("\"\\/bfnrt", *scan->pos) || *scan->pos == '\0')
        return malformed(scan, "an unknown escape");
    scan->pos++;
    return 0;
}

int scan_text(struct scanner *scan, struct scan_text *ret)
{
    if (scan->status < 0)
        return scan->status;
    if (!take(scan, '"'))
        return malformed(scan, "no text where one must stand");
    const char *begin = scan->pos;
    uint64_t high = 0;
    bool has_escapes = false;
    for (;;) {
        scan->pos = plain_end(scan->pos, scan->end, &high);
        if (take(scan, '"'))
            break;
        if (!take(scan, '\\'))
            return malformed(scan, scan->pos < scan->end ? "a control character in a text"
                                                         : "a text without an end");
        if (skip_escape(scan) < 0)
            return scan->status;
        has_escapes = true;
    }
    struct str raw = str_n(begin, (size_t)(scan->pos - 1 - begin));
    if (high && !str_is_utf8(raw)) {
        scan->pos = begin;
        return malformed(scan, "a text that is not UTF-8");
    }
    *ret = (struct scan_text){raw, has_escapes};
    return 0;
}

static size_t put_utf8(uint32_t code, char *to)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xC0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character of the \uXXXX whose digits begin at `*at`, with the second half of a pair. */
static uint32_t take_unicode(const char **at, const char *end)
{
    uint32_t code = (uint32_t)hex4(*at, end);
    *at += 4;
    if (code < 0xD800 || code > 0xDFFF)
        return code;
    if (code <= 0xDBFF && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        uint32_t low = (uint32_t)hex4(*at + 2, end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *at += 6;
            return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return 0xFFFD;
}

static char simple_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* quote, backslash, slash */
    }
}

size_t scan_unescape(struct str raw, char *to)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    char *out = to;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);
        memcpy(out, at, plain);
        out += plain;
        if (!escape)
            break;
        at = escape + 2;
        if (escape[1] == 'u')
            out += put_utf8(take_unicode(&at, end), out);
        else
            *out++ = simple_escape(escape[1]);
    }
    return (size_t)(out - to);
}

bool scan_is_plain(struct str text)
{
    uint64_t high = 0;
    if (text.len == 0)
        return true;
    const char *end = text.ptr + text.len;
    return plain_end(text.ptr, end, &high) == end && !high;
}

/* --- values ----------------------------------------------------------------------------------- */

char scan_peek(struct scanner *scan)
{
    skip_space(scan);
    return scan->pos < scan->end ? *scan->pos : '\0';
}

bool scan_open(struct scanner *scan, char bracket)
{
    char end = bracket == '{' ? '}' : ']';
    if (scan->status < 0)
        return false;
    if (scan_peek(scan) != bracket) {
        malformed(scan, bracket == '{' ? "no object where one must stand"
                                       : "no list where one must stand");
        return false;
    }
    if (scan->depth >= scan->depth_max) {
        scan_fail(scan, CEL_E_LIMIT, "too many levels");
        return false;
    }
    scan->pos++;
    if (scan_peek(scan) == end) {
        scan->pos++;
        return false;
    }
    scan->depth++;
    return true;
}

bool scan_next(struct scanner *scan, char bracket)
{
    if (scan->status < 0)
        return false;
    skip_space(scan);
    if (take(scan, ',')) {
        skip_space(scan);
        return true;
    }
    if (take(scan, bracket))
        scan->depth--;
    else
        malformed(scan, "neither a comma nor the closing bracket");
    return false;
}

int scan_key(struct scanner *scan, struct scan_text *ret)
{
    if (scan_text(scan, ret) < 0)
        return scan->status;
    skip_space(scan);
    if (!take(scan, ':'))
        return malformed(scan, "no colon behind a key");
    skip_space(scan);
    return 0;
}

static size_t skip_digits(struct scanner *scan)
{
    const char *begin = scan->pos;
    while (scan->pos < scan->end && *scan->pos >= '0' && *scan->pos <= '9')
        scan->pos++;
    return (size_t)(scan->pos - begin);
}

static bool take_word(struct scanner *scan, struct str word)
{
    if ((size_t)(scan->end - scan->pos) < word.len || memcmp(scan->pos, word.ptr, word.len) != 0)
        return false;
    scan->pos += word.len;
    return true;
}

/* The bare words that Python writes for what JSON has no number for. */
static bool take_odd_number(struct scanner *scan)
{
    return take_word(scan, STR("NaN")) || take_word(scan, STR("Infinity")) ||
           take_word(scan, STR("-Infinity"));
}

/* The digits behind a point or in an exponent. */
static int skip_tail(struct scanner *scan, bool *is_integer)
{
    *is_integer = false;
    return skip_digits(scan) > 0 ? 0 : malformed(scan, "a number that breaks off");
}

int scan_number(struct scanner *scan, struct str *ret, bool *ret_is_integer)
{
    if (scan->status < 0)
        return scan->status;
    const char *begin = scan->pos;
    bool is_integer = !take_odd_number(scan);
    if (is_integer) {
        take(scan, '-');
        if (!take(scan, '0') && skip_digits(scan) == 0)
            return malformed(scan, "no value where one must stand");
        if (take(scan, '.') && skip_tail(scan, &is_integer) < 0)
            return scan->status;
        if (take(scan, 'e') || take(scan, 'E')) {
            if (!take(scan, '-'))
                take(scan, '+');
            if (skip_tail(scan, &is_integer) < 0)
                return scan->status;
        }
    }
    *ret = str_n(begin, (size_t)(scan->pos - begin));
    *ret_is_integer = is_integer;
    return 0;
}

static int skip_object(struct scanner *scan)
{
    struct scan_text key;
    for (bool more = scan_open(scan, '{'); more; more = scan_next(scan, '}')) {
        if (scan_key(scan, &key) < 0 || scan_skip(scan) < 0)
            break;
    }
    return scan->status;
}

static int skip_list(struct scanner *scan)
{
    for (bool more = scan_open(scan, '['); more; more = scan_next(scan, ']')) {
        if (scan_skip(scan) < 0)
            break;
    }
    return scan->status;
}

int scan_skip(struct scanner *scan)
{
    struct scan_text text;
    struct str number;
    bool is_integer;
    if (scan->status < 0)
        return scan->status;
    switch (scan_peek(scan)) {
    case '"':
        return scan_text(scan, &text);
    case '{':
        return skip_object(scan);
    case '[':
        return skip_list(scan);
    case 't':
        return take_word(scan, STR("true")) ? 0 : malformed(scan, "an unknown word");
    case 'f':
        return take_word(scan, STR("false")) ? 0 : malformed(scan, "an unknown word");
    case 'n':
        return take_word(scan, STR("null")) ? 0 : malformed(scan, "an unknown word");
    default:
        return scan_number(scan, &number, &is_integer);
    }
}

int scan_finish(struct scanner *scan)
{
    if (scan->status < 0)
        return scan->status;
    if (scan_peek(scan) == '\0' && scan->pos >= scan->end)
        return 0;
    return malformed(scan, "more behind the end");
}
