#include "store/sql_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

void sql_position(const char *sql, size_t position, size_t *ret_line, size_t *ret_column)
{
    size_t line = 1, column = 0;
    for (const char *at = sql; *at; at++) {
        bool inside_character = ((unsigned char)*at & 0xC0) == 0x80;
        if (inside_character)
            continue;
        column++;
        if (--position == 0)
            break;
        if (*at == '\n') {
            line++;
            column = 0;
        }
    }
    *ret_line = line;
    *ret_column = column ? column : 1;
}

static const char *end_of_line(const char *at)
{
    return at + strcspn(at, "\n");
}

/* Behind a comment that may hold others. */
static const char *end_of_comment(const char *at)
{
    size_t depth = 0;
    for (; *at; at++) {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at++;
        } else if (at[0] == '*' && at[1] == '/') {
            at++;
            if (--depth == 0)
                return at + 1;
        }
    }
    return at;
}

/* Behind 'text' or "name"; a doubled quote is read as two texts side by side. */
static const char *end_of_quote(const char *at, bool has_escapes)
{
    char quote = *at++;
    for (; *at && *at != quote; at++) {
        if (has_escapes && *at == '\\' && at[1])
            at++;
    }
    return *at ? at + 1 : at;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Behind $tag$ ... $tag$, or behind the dollar sign when it begins none. */
static const char *end_of_dollar_quote(const char *at)
{
    const char *end = at + 1;
    while (is_name(*end))
        end++;
    if (*end != '$' || isdigit((unsigned char)at[1]))
        return at + 1;
    size_t len = (size_t)(end + 1 - at);
    for (const char *rest = end + 1; (rest = strchr(rest, '$')) != NULL; rest++) {
        if (strncmp(rest, at, len) == 0)
            return rest + len;
    }
    return at + strlen(at);
}

/* Behind a comment at `at`, or `at` when there is none. */
static const char *skip_comment(const char *at)
{
    if (at[0] == '-' && at[1] == '-')
        return end_of_line(at);
    if (at[0] == '/' && at[1] == '*')
        return end_of_comment(at);
    return at;
}

/* Behind the next piece of a statement: a quoted thing whole, a word whole, else one character. */
static const char *skip_piece(const char *at)
{
    bool escapes = (*at == 'e' || *at == 'E') && at[1] == '\'';
    if (escapes)
        return end_of_quote(at + 1, true);
    if (*at == '\'' || *at == '"')
        return end_of_quote(at, false);
    if (*at == '$')
        return end_of_dollar_quote(at);
    if (!is_name(*at))
        return at + 1;
    while (is_name(*at) || *at == '$')
        at++;
    return at;
}

static const char *end_of_statement(const char *at)
{
    size_t depth = 0;
    while (*at && !(*at == ';' && depth == 0)) {
        const char *behind = skip_comment(at);
        if (behind != at) {
            at = behind;
            continue;
        }
        if (*at == '(')
            depth++;
        else if (*at == ')' && depth > 0)
            depth--;
        at = skip_piece(at);
    }
    return at;
}

static const char *start_of_statement(const char *at)
{
    for (;;) {
        const char *behind = skip_comment(at);
        if (behind == at && (*at == ';' || isspace((unsigned char)*at)))
            behind = at + 1;
        if (behind == at)
            return at;
        at = behind;
    }
}

size_t sql_statement_line(const char *sql, size_t index)
{
    const char *at = start_of_statement(sql);
    for (; *at && index > 0; index--)
        at = start_of_statement(end_of_statement(at));
    if (!*at)
        return 0;
    size_t line = 1;
    for (const char *before = sql; before < at; before++)
        line += *before == '\n';
    return line;
}
