/*
 * Members nearly always come in the order in which Python writes them, which is the order of the
 * tables, so the search begins behind the last member found.
 *
 * Members that have no entry as a rule stand together: then their text is a view. Else gather()
 * copies them in a second pass over that object.
 *
 * Views into `scratch` must not move. Its content never exceeds the text: each escaped text and
 * each gathered member comes from bytes of its own and is not longer than they are. So room for the
 * whole is reserved when it is first needed, and there is no growing.
 */
#include "message/fields.h"

/* Room for `len` bytes in the scratch; NULL and fields->status on failure. */
static char *scratch_room(struct fields *fields, size_t len)
{
    struct buf *scratch = fields->scratch;
    if (!scratch->ptr) {
        size_t whole = (size_t)(fields->scan.end - fields->scan.begin);
        buf_init(scratch, whole);
        if (!buf_reserve(scratch, whole)) {
            fields->status = buf_status(scratch);
            return NULL;
        }
    }
    ASSERT(len < scratch->cap - scratch->len); /* it would move */
    return scratch->ptr + scratch->len;
}

int field_text(struct fields *fields, void *str_place)
{
    struct str *text = str_place;
    struct scan_text found;
    *text = STR_NONE;
    if (scan_peek(&fields->scan) != '"')
        return scan_skip(&fields->scan);
    int r = scan_text(&fields->scan, &found);
    if (r < 0)
        return r;
    *text = found.raw;
    if (!found.has_escapes)
        return 0;
    char *room = scratch_room(fields, found.raw.len);
    if (!room)
        return fields->status;
    size_t len = scan_unescape(found.raw, room);
    buf_added(fields->scratch, len);
    *text = str_n(room, len);
    return 0;
}

int field_raw(struct fields *fields, void *str_place)
{
    struct str *text = str_place;
    scan_peek(&fields->scan); /* to its first byte */
    const char *begin = fields->scan.pos;
    int r = scan_skip(&fields->scan);
    *text = r < 0 ? STR_NONE : str_n(begin, (size_t)(fields->scan.pos - begin));
    return r;
}

int fields_number(struct fields *fields, struct str *ret, bool *ret_is_integer)
{
    char first = scan_peek(&fields->scan);
    *ret = STR_NONE;
    if (first == '-' || (first >= '0' && first <= '9'))
        return scan_number(&fields->scan, ret, ret_is_integer);
    return scan_skip(&fields->scan);
}

int field_integer(struct fields *fields, void *optional_integer_place)
{
    struct optional_integer *integer = optional_integer_place;
    struct str number;
    bool is_integer;
    *integer = (struct optional_integer){0};
    int r = fields_number(fields, &number, &is_integer);
    if (r == 0 && number.ptr && is_integer)
        integer->is_there = str_parse_i64(number, &integer->value) == 0;
    return r;
}

int field_flag(struct fields *fields, void *bool_place)
{
    bool *flag = bool_place;
    *flag = scan_peek(&fields->scan) == 't';
    return scan_skip(&fields->scan);
}

int field_ignored(struct fields *fields, void *unused)
{
    (void)unused;
    return scan_skip(&fields->scan);
}

/* The entry called `key`, looked for from `*next` on, which then stands behind it; NULL for none.
 */
static const struct field *
find(const struct field *table, size_t count, size_t *next, const struct scan_text *key)
{
    enum { RAW_MAX = 6 * 24 }; /* of the longest name, were each character an escape */
    char unescaped[RAW_MAX];
    struct str name = key->raw;
    if (key->has_escapes) {
        if (name.len > sizeof(unescaped))
            return NULL;
        name = str_n(unescaped, scan_unescape(name, unescaped));
    }
    for (size_t i = 0, at = *next; i < count; i++, at++) {
        at = at < count ? at : 0;
        if (str_equal(table[at].name, name)) {
            *next = at + 1;
            return &table[at];
        }
    }
    return NULL;
}

/* Copies the members without an entry from the object that begins at `begin`. */
static int gather(struct fields *fields,
                  const char *begin,
                  const struct field *table,
                  size_t count,
                  struct str *ret)
{
    struct buf *scratch = fields->scratch;
    struct scanner scan = fields->scan; /* which has passed this object without a failure */
    const char *copy = scratch_room(fields, 0);
    size_t next = 0, before = scratch->len;
    if (!copy)
        return fields->status;
    scan.pos = begin;
    for (bool more = scan_open(&scan, '{'); more; more = scan_next(&scan, '}')) {
        const char *member = scan.pos;
        struct scan_text key;
        if (scan_key(&scan, &key) < 0 || scan_skip(&scan) < 0)
            break;
        if (find(table, count, &next, &key))
            continue;
        if (scratch->len > before)
            buf_add_char(scratch, ',');
        buf_add(scratch, member, (size_t)(scan.pos - member));
    }
    ASSERT(scan.status == 0 && scratch->status == 0 && scratch->ptr + before == copy);
    *ret = str_n(copy, scratch->len - before);
    return 0;
}

/* Where the members without an entry stand. */
struct others {
    const char *begin, *end; /* from the first to the last; NULL: none */
    bool is_apart;           /* a member with an entry came behind them */
    bool is_scattered;       /* and stands between them */
};

static int read_member(struct fields *fields,
                       const struct field *table,
                       size_t count,
                       size_t *next,
                       struct others *others)
{
    struct scanner *scan = &fields->scan;
    const char *begin = scan->pos;
    struct scan_text key;
    int r = scan_key(scan, &key);
    if (r < 0)
        return r;
    const struct field *field = find(table, count, next, &key);
    if (field) {
        others->is_apart = others->begin != NULL;
        return field->read(fields, (char *)fields->target + field->offset);
    }
    others->is_scattered = others->is_scattered || others->is_apart;
    others->begin = others->begin ? others->begin : begin;
    r = scan_skip(scan);
    others->end = scan->pos;
    return r;
}

int fields_object(struct fields *fields,
                  const struct field *table,
                  size_t count,
                  struct str *ret_others)
{
    struct scanner *scan = &fields->scan;
    struct others others = {0};
    const char *begin = scan->pos;
    size_t next = 0;
    for (bool more = scan_open(scan, '{'); more; more = scan_next(scan, '}')) {
        int r = read_member(fields, table, count, &next, &others);
        if (r < 0)
            return r;
    }
    if (scan->status < 0 || !ret_others)
        return scan->status;
    if (others.is_scattered)
        return gather(fields, begin, table, count, ret_others);
    *ret_others = str_n(others.begin, (size_t)(others.end - others.begin));
    return 0;
}
