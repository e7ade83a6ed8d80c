/*
 * Reading a JSON object into a struct by a table of its members, for envelope.c: name, the function
 * that reads such a value, and the place for it.
 *
 *     static const struct field person_fields[] = {
 *         {STR("name"), field_text, offsetof(struct person, name)},
 *         {STR("age"), field_integer, offsetof(struct person, age)},
 *     };
 *
 * Values of another type than asked for count as missing. Of two members with the same key the last
 * counts, and it alone: a reader sets all that is its own. Text without escapes is a view of the
 * bytes, other text of `scratch`, which both must stay.
 */
#pragma once

#include "core/buf.h"
#include "message/scanner.h"

struct fields {
    struct scanner scan;
    void *target;        /* the struct that the offsets of all tables mean */
    struct buf *scratch; /* empty at the beginning; the caller's to free */
    int status;          /* -ENOMEM, when the failure is not the scanner's */
};

typedef int field_fn(struct fields *fields, void *place);

struct field {
    struct str name;
    field_fn *read;
    size_t offset;
};

struct optional_integer {
    bool is_there;
    int64_t value; /* 0 when it is not there */
};

/* 0, or the scanner's or the fields' status. */
int field_text(struct fields *fields, void *str_place);
int field_integer(struct fields *fields, void *optional_integer_place);
int field_flag(struct fields *fields, void *bool_place);
int field_raw(struct fields *fields, void *str_place); /* the text of any value */
int field_ignored(struct fields *fields, void *unused);
/* The number that comes next, as its text; absent when something else comes, which is passed over.
 */
int fields_number(struct fields *fields, struct str *ret, bool *ret_is_integer) MUST_CHECK;
/*
 * An object, each member by its entry in `table`. `ret_others`, unless NULL, receives the text of
 * the members that have none ("a": 1, "b": {...}), and is absent when there are no such.
 */
int fields_object(struct fields *fields,
                  const struct field *table,
                  size_t count,
                  struct str *ret_others) MUST_CHECK;
