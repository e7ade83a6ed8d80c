/*
 * Places in SQL text, for error messages.
 */
#pragma once

#include <stddef.h>

/* Line and column, from 1, of the character number `position` (from 1) of UTF-8 text. */
void sql_position(const char *sql, size_t position, size_t *ret_line, size_t *ret_column);
/*
 * The line, from 1, on which statement number `index` (from 0) begins; empty statements do not
 * count. 0 when there are fewer. Knows strings, quoted names, dollar quotes, comments and
 * parentheses, but not the grammar: a semicolon inside BEGIN ATOMIC ... END counts as an end.
 */
size_t sql_statement_line(const char *sql, size_t index);
