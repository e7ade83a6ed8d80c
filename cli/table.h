/*
 * Output of the verbs: a table for people, aligned by what a terminal shows, or the same rows as
 * JSON for programs. Colour only on a terminal, never with NO_COLOR. Nothing that came from
 * elsewhere reaches the terminal as a control character.
 */
#pragma once

#include <stdio.h>

#include "celeriac/value.h"
#include "core/buf.h"
#include "core/clock.h"

enum table_tint { TINT_PLAIN, TINT_GOOD, TINT_BAD, TINT_WARN, TINT_DIM };

struct table_column {
    const char *title; /* above the column */
    const char *key;   /* in JSON */
    bool right;        /* aligned to the right: numbers */
};

struct table_cell {
    char *text;              /* what people see, owned */
    struct cel_value *value; /* what programs get, owned */
    enum table_tint tint;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct table_cell *cells; /* row after row */
    size_t cell_count, cell_cap;
};

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_deinit(struct table *table);

/* The next cell, left to right, row after row. The value is adopted. */
void table_add(struct table *table, struct cel_value *value, struct str text, enum table_tint tint);
void table_add_text(struct table *table,
                    struct str text,
                    enum table_tint tint); /* absent: "-", null */
void table_add_u64(struct table *table, uint64_t number, enum table_tint tint);
/* A duration as "1h 02m", in JSON as seconds; USEC_NEVER: unknown. */
void table_add_duration(struct table *table, usec_t duration);

/* Rows below titles; one line each. */
void table_print(const struct table *table, FILE *out);
/* A list of maps. */
void table_print_json(const struct table *table, FILE *out);

/* Whether `out` shows colours. */
bool output_has_colour(FILE *out);
/* Starts and ends a tint; empty text without colour. */
const char *output_tint(enum table_tint tint, bool colour);
const char *output_tint_end(enum table_tint tint, bool colour);

/* Columns that `text` takes on a terminal, once printable. */
size_t text_width(const char *text);
/* Appends `text` as one printable line: control characters as \n, \x1b ..., bytes that are no UTF-8
 * as U+FFFD. With `lines` newlines and tabs stay. */
void text_add_printable(struct buf *buf, struct str text, bool lines);
/* "850ms", "12s", "3m 04s", "1h 02m", "5d 03h". */
void text_add_duration(struct buf *buf, usec_t duration);
