#include "core/base64.h"

#include "core/error.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits of each character, plus one; 0 for what is none of the alphabet. */
static const unsigned char codes[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

void base64_add(struct buf *buf, struct str bytes)
{
    size_t len = (bytes.len + 2) / 3 * 4;
    char *to = buf_reserve(buf, len);
    if (!to)
        return;
    const unsigned char *from = (const unsigned char *)bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 3; left -= 3, from += 3, to += 4) {
        to[0] = alphabet[from[0] >> 2];
        to[1] = alphabet[(from[0] & 0x03) << 4 | from[1] >> 4];
        to[2] = alphabet[(from[1] & 0x0F) << 2 | from[2] >> 6];
        to[3] = alphabet[from[2] & 0x3F];
    }
    if (left > 0) {
        unsigned second = left > 1 ? from[1] : 0;
        to[0] = alphabet[from[0] >> 2];
        to[1] = alphabet[(from[0] & 0x03U) << 4 | second >> 4];
        to[2] = left > 1 ? alphabet[(second & 0x0F) << 2] : '=';
        to[3] = '=';
    }
    buf_added(buf, len);
}

/* Decodes whole groups of four from the front of `*text`, and stops before the first that holds
 * anything else than the alphabet. Returns the number of bytes written. */
static size_t decode_groups(struct str *text, char *to)
{
    const unsigned char *from = (const unsigned char *)text->ptr;
    size_t left = text->len;
    char *at = to;
    for (; left >= 4; left -= 4, from += 4, at += 3) {
        unsigned a = codes[from[0]], b = codes[from[1]], c = codes[from[2]], d = codes[from[3]];
        if (!a || !b || !c || !d)
            break;
        unsigned bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        at[0] = (char)(bits >> 16);
        at[1] = (char)(bits >> 8);
        at[2] = (char)bits;
    }
    *text = str_n(from, left);
    return (size_t)(at - to);
}

/* Takes the next group of four, line ends left out; false when there is none or a part of one. */
static bool take_group(struct str *text, char group[4])
{
    size_t count = 0;
    for (; text->len > 0 && count < 4; text->ptr++, text->len--) {
        if (text->ptr[0] != '\n' && text->ptr[0] != '\r')
            group[count++] = text->ptr[0];
    }
    return count == 4;
}

static bool only_line_ends(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\n' && text.ptr[i] != '\r')
            return false;
    }
    return true;
}

/* Decodes the last, padded group; the number of bytes, or 0 when it is none. */
static size_t decode_padded(const char group[4], char *to)
{
    unsigned a = codes[(unsigned char)group[0]], b = codes[(unsigned char)group[1]];
    unsigned c = codes[(unsigned char)group[2]];
    if (!a || !b || group[3] != '=' || (!c && group[2] != '='))
        return 0;
    to[0] = (char)((a - 1) << 2 | (b - 1) >> 4);
    if (!c)
        return 1;
    to[1] = (char)((b - 1) << 4 | (c - 1) >> 2);
    return 2;
}

int base64_decode(struct buf *buf, struct str text)
{
    char *to = buf_reserve(buf, text.len / 4 * 3);
    if (!to)
        return buf_status(buf);
    size_t len = decode_groups(&text, to);
    while (!only_line_ends(text)) {
        char group[4];
        if (!take_group(&text, group))
            return CEL_E_FORMAT;
        struct str view = str_n(group, sizeof(group));
        size_t added = decode_groups(&view, to + len);
        if (added == 0) {
            added = decode_padded(group, to + len);
            if (added == 0 || !only_line_ends(text))
                return CEL_E_FORMAT;
            len += added;
            break;
        }
        len += added;
        len += decode_groups(&text, to + len);
    }
    buf_added(buf, len);
    return 0;
}
