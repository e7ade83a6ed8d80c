/*
 * "glob" is Python's fnmatch: *, ?, [a-z], [!a-z]; no escapes. "pcre" is re.match: at the beginning of
 * the name, not necessarily to its end. The work that a pattern may ask for is bounded.
 */
#include "control/match.h"

#include <errno.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { PATTERN_MAX = 1024, STEPS_MAX = 100000 };

/* The set that `pattern` begins with, "[a-z]": whether `c` is in it, and how long it is; 0: it has no
 * end, so that the bracket means itself. */
static size_t match_set(struct str pattern, unsigned char c, bool *ret_matches)
{
    size_t at = 1;
    bool is_negated = at < pattern.len && pattern.ptr[at] == '!', is_in = false;
    size_t first = at += is_negated;
    for (; at < pattern.len && (pattern.ptr[at] != ']' || at == first); at++) {
        unsigned char low = (unsigned char)pattern.ptr[at], high = low;
        if (at + 2 < pattern.len && pattern.ptr[at + 1] == '-' && pattern.ptr[at + 2] != ']')
            high = (unsigned char)pattern.ptr[at += 2];
        is_in |= low <= c && c <= high;
    }
    *ret_matches = is_in != is_negated;
    return at < pattern.len ? at + 1 : 0;
}

/* Whether the first element of `pattern`, which is no star, takes `c`; and how long it is. */
static bool match_one(struct str pattern, char c, size_t *ret_len)
{
    bool matches;
    size_t len = pattern.ptr[0] == '[' ? match_set(pattern, (unsigned char)c, &matches) : 0;
    *ret_len = len ? len : 1;
    return len ? matches : pattern.ptr[0] == '?' || pattern.ptr[0] == c;
}

/* When something fails the last star takes one more: those before it need not be tried again. */
static bool match_glob(struct str name, struct str pattern)
{
    size_t at = 0, in = 0, star = SIZE_MAX, star_at = 0, len;
    while (at < name.len) {
        if (in < pattern.len && pattern.ptr[in] == '*') {
            star = ++in;
            star_at = at;
        } else if (in < pattern.len &&
                   match_one(str_n(pattern.ptr + in, pattern.len - in), name.ptr[at], &len)) {
            in += len;
            at++;
        } else if (star == SIZE_MAX) {
            return false;
        } else {
            in = star;
            at = ++star_at;
        }
    }
    while (in < pattern.len && pattern.ptr[in] == '*')
        in++;
    return in == pattern.len;
}

static int match_code(struct str name, const pcre2_code *code, struct cel_error *err)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int r = -ENOMEM;
    if (context && data) {
        pcre2_set_match_limit(context, STEPS_MAX);
        r = pcre2_match(code, (PCRE2_SPTR)name.ptr, name.len, 0, 0, data, context);
        r = r == PCRE2_ERROR_NOMATCH ? 0 : r < 0 ? CEL_E_LIMIT : 1;
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return r < 0 ? error_set(err, r, "The pattern cannot be tried") : r;
}

static int match_pcre(struct str name, struct str pattern, struct cel_error *err)
{
    int number;
    size_t offset;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
                      PCRE2_ANCHORED | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &number, &offset, NULL);
    if (!code)
        return error_set(err, CEL_E_FORMAT, "The pattern is none, at byte %zu", offset);
    int r = match_code(name, code, err);
    pcre2_code_free(code);
    return r;
}

int match_pattern(struct str name, struct str pattern, struct str matcher, struct cel_error *err)
{
    if (pattern.len > PATTERN_MAX)
        return error_set(err, CEL_E_LIMIT, "The pattern has %zu bytes; %d are allowed", pattern.len,
                         PATTERN_MAX);
    if (str_equal(matcher, STR("glob")))
        return match_glob(name, pattern);
    if (str_equal(matcher, STR("pcre")))
        return match_pcre(name, pattern, err);
    return error_set(err, CEL_E_FORMAT, "The matcher is neither glob nor pcre");
}

int match_request(struct str node, const struct control_request *request, struct cel_error *err)
{
    const struct cel_value *destination = request->destination;
    for (size_t i = 0; i < cel_value_count(destination); i++) {
        if (str_equal(value_str(cel_value_at(destination, i)), node))
            return 1;
    }
    if (destination)
        return 0;
    if (request->pattern.len && request->matcher.len)
        return match_pattern(node, request->pattern, request->matcher, err);
    return 1;
}
