/*
 * A pattern is a row of elements: a character, some character but a dot, any number of characters. It
 * is matched by going back to the last "any" alone, so that it never takes longer than its length
 * times that of the text.
 */
#include "message/topic.h"

struct element {
    enum { LITERAL, NO_DOT, ANY } kind;
    char literal;
};

struct reader {
    struct str pattern;
    size_t at;
    bool in_star; /* a star is two elements: its "any" was read, "no dot" was not */
};

/* A wildcard is a whole word. */
static bool is_word(struct str pattern, size_t at)
{
    return (at == 0 || pattern.ptr[at - 1] == '.') &&
           (at + 1 == pattern.len || pattern.ptr[at + 1] == '.');
}

static bool read_element(struct reader *reader, struct element *ret)
{
    if (reader->at == reader->pattern.len)
        return false;
    char c = reader->pattern.ptr[reader->at];
    bool is_wildcard = (c == '*' || c == '#') && is_word(reader->pattern, reader->at);
    if (is_wildcard && c == '*' && !reader->in_star) {
        reader->in_star = true;
        ret->kind = ANY;
        return true;
    }
    ret->kind = !is_wildcard ? LITERAL : c == '#' ? ANY : NO_DOT;
    ret->literal = c;
    reader->in_star = false;
    reader->at++;
    return true;
}

bool topic_matches(struct str pattern, struct str text)
{
    struct reader reader = {.pattern = pattern}, behind_any = reader;
    size_t at = 0, again = 0; /* as far as the last "any" has come */
    bool has_any = false;
    for (;;) {
        struct element element;
        bool is_there = read_element(&reader, &element);
        if (is_there && element.kind == ANY) {
            behind_any = reader;
            again = at;
            has_any = true;
        } else if (is_there && at < text.len &&
                   (element.kind == LITERAL ? text.ptr[at] == element.literal
                                            : text.ptr[at] != '.')) {
            at++;
        } else if (!is_there && at == text.len) {
            return true;
        } else if (has_any && again < text.len) {
            reader = behind_any;
            at = ++again;
        } else {
            return false;
        }
    }
}
