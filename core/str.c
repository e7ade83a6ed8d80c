#include "core/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "core/mem.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool equal_ignoring_case(struct str text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.ptr, word, text.len) == 0;
}

int str_compare(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str text, struct str prefix)
{
    return text.len >= prefix.len && str_equal(str_n(text.ptr, prefix.len), prefix);
}

bool str_ends(struct str text, struct str suffix)
{
    if (text.len < suffix.len)
        return false;
    return suffix.len == 0 || memcmp(text.ptr + text.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

struct str str_trim(struct str text)
{
    while (text.len > 0 && is_space(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

bool str_split(struct str *text, char separator, struct str *ret_part)
{
    if (!text->ptr)
        return false;
    const char *end = text->len > 0 ? memchr(text->ptr, separator, text->len) : NULL;
    if (!end) {
        *ret_part = *text;
        *text = STR_NONE;
        return true;
    }
    size_t len = (size_t)(end - text->ptr);
    *ret_part = str_n(text->ptr, len);
    *text = str_n(end + 1, text->len - len - 1);
    return true;
}

char *str_dup(struct str text)
{
    return mem_dup(text.ptr, text.len);
}

/* The length of the well-formed sequence that begins at `at`, of more than one byte; 0 for none. */
static size_t utf8_sequence(const unsigned char *at, size_t left)
{
    size_t len = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || left < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90))
        return 0; /* longer than needed */
    if ((at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF4 && at[1] > 0x8F))
        return 0; /* a surrogate; beyond U+10FFFF */
    return len;
}

bool str_is_utf8(struct str text)
{
    const unsigned char *at = (const unsigned char *)text.ptr;
    size_t left = text.len;
    while (left > 0) {
        uint64_t eight;
        if (left >= sizeof(eight)) {
            memcpy(&eight, at, sizeof(eight));
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof(eight);
                left -= sizeof(eight);
                continue;
            }
        }
        size_t len = at[0] < 0x80 ? 1 : utf8_sequence(at, left);
        if (len == 0)
            return false;
        at += len;
        left -= len;
    }
    return true;
}

int str_parse_u64(struct str text, uint64_t *ret_value)
{
    if (text.len == 0)
        return -EINVAL;
    uint64_t value = 0;
    bool overflow = false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]))
            return -EINVAL;
        overflow |= __builtin_mul_overflow(value, 10u, &value);
        overflow |= __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value);
    }
    if (overflow)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int str_parse_i64(struct str text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t digits;
    int r = str_parse_u64(negative ? str_n(text.ptr + 1, text.len - 1) : text, &digits);
    if (r < 0)
        return r;
    if (digits > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *ret_value = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return 0;
}

static size_t count_digits(struct str text, size_t from)
{
    size_t at = from;
    while (at < text.len && is_digit(text.ptr[at]))
        at++;
    return at - from;
}

/* [-] digits [. digits] [e [+-] digits], with a digit on one side of the point at least; or NaN or
 * infinity as C and Python write them. What strtod takes beyond that (hex, nan(...)) is refused. */
static bool is_double(struct str text)
{
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    struct str word = str_n(text.ptr + at, text.len - at);
    if (word.len == 0)
        return false;
    if (equal_ignoring_case(word, "nan") || equal_ignoring_case(word, "inf") ||
        equal_ignoring_case(word, "infinity"))
        return true;

    size_t digits = count_digits(text, at);
    at += digits;
    if (at < text.len && text.ptr[at] == '.') {
        size_t fraction = count_digits(text, ++at);
        digits += fraction;
        at += fraction;
    }
    if (digits == 0)
        return false;
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        at++;
        if (at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+'))
            at++;
        size_t exponent = count_digits(text, at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return at == text.len;
}

int str_parse_double(struct str text, double *ret_value)
{
    if (!is_double(text))
        return -EINVAL;
    char small[128];
    char *large = NULL;
    if (text.len < sizeof(small)) {
        memcpy(small, text.ptr, text.len);
        small[text.len] = '\0';
    } else {
        large = str_dup(text);
        if (!large)
            return -ENOMEM;
    }
    /* The application may have set another locale, with another decimal point. glibc hands out its
     * C locale without allocating. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(large ? large : small, NULL, c_locale);
    freelocale(c_locale);
    mem_free(large);
    if (isinf(value) && memchr(text.ptr, 'n', text.len) == NULL &&
        memchr(text.ptr, 'N', text.len) == NULL)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int str_parse_bool(struct str text, bool *ret_value)
{
    static const char *const words[][2] = {
        {"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        for (size_t truth = 0; truth < 2; truth++) {
            if (equal_ignoring_case(text, words[i][truth])) {
                *ret_value = truth;
                return 0;
            }
        }
    }
    return -EINVAL;
}

/* Cuts digits off the front of `*text`; -EINVAL without one, -ERANGE when too many. */
static int take_u64(struct str *text, uint64_t *ret_value)
{
    size_t digits = count_digits(*text, 0);
    int r = str_parse_u64(str_n(text->ptr, digits), ret_value);
    if (r < 0)
        return r;
    *text = str_n(text->ptr + digits, text->len - digits);
    return 0;
}

static int duration_unit(struct str unit, uint64_t *ret_usec)
{
    static const struct {
        const char *name;
        uint64_t usec;
    } units[] = {
        {"", 1000000},     {"ms", 1000},      {"s", 1000000},     {"m", 60000000},
        {"min", 60000000}, {"h", 3600000000}, {"d", 86400000000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_equal(unit, str_of(units[i].name))) {
            *ret_usec = units[i].usec;
            return 0;
        }
    }
    return -EINVAL;
}

int str_parse_duration(struct str text, uint64_t *ret_usec)
{
    uint64_t whole = 0, scale = 0, part = 0;
    struct str rest = text;
    int range = take_u64(&rest, &whole);
    if (range == -EINVAL)
        return -EINVAL;
    if (range < 0) /* still tell a wrong text from a large number */
        rest = str_n(text.ptr + count_digits(text, 0), text.len - count_digits(text, 0));

    struct str fraction = STR_NONE;
    if (rest.len > 0 && rest.ptr[0] == '.') {
        fraction = str_n(rest.ptr + 1, count_digits(rest, 1));
        if (fraction.len == 0)
            return -EINVAL;
        rest = str_n(fraction.ptr + fraction.len, rest.len - 1 - fraction.len);
    }
    uint64_t unit;
    if (duration_unit(rest, &unit) < 0)
        return -EINVAL;
    scale = unit;
    for (size_t i = 0; i < fraction.len && scale > 0; i++) {
        scale /= 10;
        part += (uint64_t)(fraction.ptr[i] - '0') * scale;
    }
    if (range < 0 || __builtin_mul_overflow(whole, unit, &whole) ||
        __builtin_add_overflow(whole, part, &whole))
        return -ERANGE;
    *ret_usec = whole;
    return 0;
}

int str_parse_size(struct str text, uint64_t *ret_bytes)
{
    unsigned shift = 0;
    if (text.len > 0) {
        switch (text.ptr[text.len - 1]) {
        case 'k':
        case 'K':
            shift = 10;
            break;
        case 'm':
        case 'M':
            shift = 20;
            break;
        case 'g':
        case 'G':
            shift = 30;
            break;
        }
    }
    uint64_t value;
    int r = str_parse_u64(str_n(text.ptr, text.len - (shift > 0)), &value);
    if (r < 0)
        return r;
    if (value > UINT64_MAX >> shift)
        return -ERANGE;
    *ret_bytes = value << shift;
    return 0;
}
