/*
 * Reading: one pass of the scanner over the whole text. Each of the four objects we know (the
 * envelope, headers, properties, delivery_info) has a table of its members: name, place in `struct
 * envelope`, and the function that reads such a value. Members nearly always come in the order in
 * which Python writes them, which is the order of the tables, so the search begins behind the last
 * member found.
 *
 * Members that no table names are passed over, and their text is kept for those who send the
 * message on. As a rule they stand together, then `others` is a view; else read_others() gathers
 * them.
 *
 * Views into `scratch` must not move. Its content never exceeds the text: each escaped text and
 * each gathered member comes from bytes of its own and is not longer than they are. So room for the
 * whole is reserved when it is first needed, and there is no growing.
 */
#include "message/envelope.h"

#include <errno.h>

#include "message/scanner.h"

/* For "%.*s": as much of a text from outside as an error may show. */
#define SHOWN(text) (int)((text).len < 60 ? (text).len : 60), (text).ptr

struct decoder {
    struct scanner scan;
    struct envelope *envelope;
    int status; /* -ENOMEM, or 0 */
    bool header_redelivered, info_redelivered;
    bool has_priority; /* in properties; that in delivery_info is for clients that lack it */
    int64_t info_priority;
    struct str body_encoding;
};

typedef int read_fn(struct decoder *decoder, void *field);

struct field {
    struct str name;
    read_fn *read;
    size_t offset; /* in struct envelope */
};

static int read_object(struct decoder *decoder,
                       const struct field *fields,
                       size_t count,
                       struct str *ret_others);

/* Room for `len` bytes in the scratch; NULL and decoder->status on failure. */
static char *scratch_room(struct decoder *decoder, size_t len)
{
    struct buf *scratch = &decoder->envelope->scratch;
    if (!scratch->ptr) {
        size_t whole = (size_t)(decoder->scan.end - decoder->scan.begin);
        buf_init(scratch, whole);
        if (!buf_reserve(scratch, whole)) {
            decoder->status = buf_status(scratch);
            return NULL;
        }
    }
    ASSERT(len < scratch->cap - scratch->len); /* it would move */
    return scratch->ptr + scratch->len;
}

/* --- values -------------------------------------------------------------------------------------
 */

/* Whatever is no text counts as missing. */
static int read_text(struct decoder *decoder, void *field)
{
    struct str *text = field;
    struct scan_text found;
    *text = STR_NONE;
    if (scan_peek(&decoder->scan) != '"')
        return scan_skip(&decoder->scan);
    int r = scan_text(&decoder->scan, &found);
    if (r < 0)
        return r;
    *text = found.raw;
    if (!found.has_escapes)
        return 0;
    char *room = scratch_room(decoder, found.raw.len);
    if (!room)
        return decoder->status;
    size_t len = scan_unescape(found.raw, room);
    buf_added(&decoder->envelope->scratch, len);
    *text = str_n(room, len);
    return 0;
}

static bool begins_number(char c)
{
    return c == '-' || (c >= '0' && c <= '9');
}

/* True for an integer of 64 bits; else the value was passed over (or the scanner has failed). */
static bool take_integer(struct scanner *scan, int64_t *ret)
{
    struct str number;
    bool is_integer;
    int r = begins_number(scan_peek(scan)) ? scan_number(scan, &number, &is_integer) : 1;
    if (r > 0)
        r = scan_skip(scan) < 0 ? scan->status : 1;
    return r == 0 && is_integer && str_parse_i64(number, ret) == 0;
}

static int read_integer(struct decoder *decoder, void *field)
{
    int64_t *value = field;
    if (!take_integer(&decoder->scan, value))
        *value = 0;
    return decoder->scan.status;
}

static int read_group_index(struct decoder *decoder, void *field)
{
    struct envelope *envelope = decoder->envelope;
    envelope->has_group_index = take_integer(&decoder->scan, field);
    if (!envelope->has_group_index)
        envelope->group_index = 0;
    return decoder->scan.status;
}

static int read_priority(struct decoder *decoder, void *field)
{
    int64_t *priority = field;
    decoder->has_priority = take_integer(&decoder->scan, priority);
    if (!decoder->has_priority)
        *priority = 0;
    return decoder->scan.status;
}

static int take_flag(struct scanner *scan, bool *flag)
{
    *flag = scan_peek(scan) == 't';
    return scan_skip(scan);
}

static int read_flag(struct decoder *decoder, void *field)
{
    return take_flag(&decoder->scan, field);
}

/* A time that is there and cannot be read must not count as missing: the task would run at once. */
static int read_time(struct decoder *decoder, void *field)
{
    struct scanner *scan = &decoder->scan;
    char first = scan_peek(scan);
    if (first != '"' && first != 'n')
        return scan_fail(scan, CEL_E_FORMAT, "an eta or expires that is neither text nor null");
    return read_text(decoder, field);
}

/* Seconds, as an integer or not; anything else is no limit. */
static int take_limit(struct scanner *scan, usec_t *ret)
{
    static const double most = 1e12; /* seconds; more than anybody waits, and fits */
    struct str number;
    bool is_integer;
    double seconds;
    *ret = 0;
    if (!begins_number(scan_peek(scan)))
        return scan_skip(scan);
    int r = scan_number(scan, &number, &is_integer);
    if (r == 0 && str_parse_double(number, &seconds) == 0 && seconds > 0 && seconds <= most)
        *ret = (usec_t)(seconds * (double)USEC_PER_SEC + 0.5);
    return r;
}

/* [hard, soft] */
static int read_limits(struct decoder *decoder, void *field)
{
    struct scanner *scan = &decoder->scan;
    struct envelope *envelope = decoder->envelope;
    usec_t limits[2] = {0, 0};
    size_t count = 0;
    (void)field;
    if (scan_peek(scan) == '[') {
        for (bool more = scan_open(scan, '['); more; more = scan_next(scan, ']'), count++) {
            if ((count < 2 ? take_limit(scan, &limits[count]) : scan_skip(scan)) < 0)
                break;
        }
    } else if (scan_skip(scan) < 0) {
        return scan->status;
    }
    envelope->hard_limit = limits[0];
    envelope->soft_limit = limits[1];
    return scan->status;
}

static int read_header_redelivered(struct decoder *decoder, void *field)
{
    (void)field;
    return take_flag(&decoder->scan, &decoder->header_redelivered);
}

static int read_info_redelivered(struct decoder *decoder, void *field)
{
    (void)field;
    return take_flag(&decoder->scan, &decoder->info_redelivered);
}

static int read_info_priority(struct decoder *decoder, void *field)
{
    (void)field;
    if (!take_integer(&decoder->scan, &decoder->info_priority))
        decoder->info_priority = 0;
    return decoder->scan.status;
}

static int read_body_encoding(struct decoder *decoder, void *field)
{
    (void)field;
    return read_text(decoder, &decoder->body_encoding);
}

/* A member of our own that is not kept. */
static int read_nothing(struct decoder *decoder, void *field)
{
    (void)field;
    return scan_skip(&decoder->scan);
}

/* --- objects ------------------------------------------------------------------------------------
 */

/*
 * Of two members with the same key the last counts, and it alone: a reader sets all that is its
 * own.
 */
#define FIELD(key, how, member)                                                                    \
    {                                                                                              \
        STR(key), how, offsetof(struct envelope, member)                                           \
    }
#define FIELD_OF_OWN(key, how)                                                                     \
    {                                                                                              \
        STR(key), how, 0                                                                           \
    }

static const struct field header_fields[] = {
    FIELD("lang", read_text, lang),
    FIELD("task", read_text, task),
    FIELD("id", read_text, id),
    FIELD("shadow", read_text, shadow),
    FIELD("eta", read_time, eta_text),
    FIELD("expires", read_time, expires_text),
    FIELD("group", read_text, group),
    FIELD("group_index", read_group_index, group_index),
    FIELD("retries", read_integer, retries),
    FIELD_OF_OWN("timelimit", read_limits),
    FIELD("root_id", read_text, root_id),
    FIELD("parent_id", read_text, parent_id),
    FIELD("argsrepr", read_text, argsrepr),
    FIELD("kwargsrepr", read_text, kwargsrepr),
    FIELD("origin", read_text, origin),
    FIELD("ignore_result", read_flag, ignore_result),
    FIELD("replaced_task_nesting", read_integer, replaced_task_nesting),
    FIELD("compression", read_text, compression),
    FIELD_OF_OWN("redelivered", read_header_redelivered),
};

static const struct field info_fields[] = {
    FIELD("exchange", read_text, exchange),
    FIELD("routing_key", read_text, routing_key),
    FIELD_OF_OWN("redelivered", read_info_redelivered),
    FIELD_OF_OWN("priority", read_info_priority),
};

static void forget_info(struct decoder *decoder)
{
    decoder->envelope->exchange = decoder->envelope->routing_key = STR_NONE;
    decoder->info_redelivered = false;
    decoder->info_priority = 0;
}

static int read_info(struct decoder *decoder, void *field)
{
    (void)field;
    forget_info(decoder);
    if (scan_peek(&decoder->scan) != '{')
        return scan_skip(&decoder->scan);
    return read_object(decoder, info_fields, ARRAY_SIZE(info_fields), NULL);
}

static const struct field property_fields[] = {
    FIELD("correlation_id", read_text, correlation_id),
    FIELD("reply_to", read_text, reply_to),
    FIELD_OF_OWN("delivery_mode", read_nothing),
    FIELD_OF_OWN("delivery_info", read_info),
    FIELD("priority", read_priority, priority),
    FIELD_OF_OWN("body_encoding", read_body_encoding),
    FIELD("delivery_tag", read_text, delivery_tag),
};

static int read_headers(struct decoder *decoder, void *field)
{
    struct envelope *envelope = decoder->envelope;
    (void)field;
    memset(envelope, 0, offsetof(struct envelope, content_type));
    decoder->header_redelivered = false;
    if (scan_peek(&decoder->scan) != '{')
        return scan_skip(&decoder->scan);
    return read_object(decoder, header_fields, ARRAY_SIZE(header_fields), &envelope->other_headers);
}

static int read_properties(struct decoder *decoder, void *field)
{
    enum { FIRST = offsetof(struct envelope, correlation_id) };
    (void)field;
    memset((char *)decoder->envelope + FIRST, 0, offsetof(struct envelope, scratch) - FIRST);
    decoder->body_encoding = STR_NONE;
    decoder->has_priority = false;
    forget_info(decoder);
    if (scan_peek(&decoder->scan) != '{')
        return scan_skip(&decoder->scan);
    return read_object(decoder, property_fields, ARRAY_SIZE(property_fields),
                       &decoder->envelope->other_properties);
}

static const struct field envelope_fields[] = {
    FIELD("body", read_text, body),
    FIELD("content-encoding", read_text, content_encoding),
    FIELD("content-type", read_text, content_type),
    FIELD_OF_OWN("headers", read_headers),
    FIELD_OF_OWN("properties", read_properties),
};

/* The field called `key`, looked for from `*next` on, which then stands behind it; NULL for none.
 */
static const struct field *
find_field(const struct field *fields, size_t count, size_t *next, const struct scan_text *key)
{
    enum { NAME_MAX_RAW = 6 * 24 }; /* the longest name, were each character an escape */
    char unescaped[NAME_MAX_RAW];
    struct str name = key->raw;
    if (key->has_escapes) {
        if (name.len > sizeof(unescaped))
            return NULL;
        name = str_n(unescaped, scan_unescape(name, unescaped));
    }
    for (size_t i = 0, at = *next; i < count; i++, at++) {
        at = at < count ? at : 0;
        if (str_equal(fields[at].name, name)) {
            *next = at + 1;
            return &fields[at];
        }
    }
    return NULL;
}

/* Copies the members that `fields` does not name from the object that begins at `begin`. */
static int read_others(struct decoder *decoder,
                       const char *begin,
                       const struct field *fields,
                       size_t count,
                       struct str *ret)
{
    struct buf *scratch = &decoder->envelope->scratch;
    struct scanner scan = decoder->scan; /* which has passed this object without a failure */
    const char *copy = scratch_room(decoder, 0);
    size_t next = 0, before = scratch->len;
    if (!copy)
        return decoder->status;
    scan.pos = begin;
    for (bool more = scan_open(&scan, '{'); more; more = scan_next(&scan, '}')) {
        const char *member = scan.pos;
        struct scan_text key;
        if (scan_key(&scan, &key) < 0 || scan_skip(&scan) < 0)
            break;
        if (find_field(fields, count, &next, &key))
            continue;
        if (scratch->len > before)
            buf_add_char(scratch, ',');
        buf_add(scratch, member, (size_t)(scan.pos - member));
    }
    ASSERT(scan.status == 0 && scratch->status == 0 && scratch->ptr + before == copy);
    *ret = str_n(copy, scratch->len - before);
    return 0;
}

static int read_object(struct decoder *decoder,
                       const struct field *fields,
                       size_t count,
                       struct str *ret_others)
{
    struct scanner *scan = &decoder->scan;
    const char *begin = scan->pos, *others = NULL, *others_end = NULL;
    bool is_apart = false, is_scattered = false; /* known members behind, between the others */
    size_t next = 0;
    for (bool more = scan_open(scan, '{'); more; more = scan_next(scan, '}')) {
        const char *member = scan->pos;
        struct scan_text key;
        int r = scan_key(scan, &key);
        if (r < 0)
            return r;
        const struct field *field = find_field(fields, count, &next, &key);
        r = field ? field->read(decoder, (char *)decoder->envelope + field->offset)
                  : scan_skip(scan);
        if (r < 0)
            return r;
        if (field) {
            is_apart = others != NULL;
            continue;
        }
        is_scattered = is_scattered || is_apart;
        others = others ? others : member;
        others_end = scan->pos;
    }
    if (scan->status < 0 || !others || !ret_others)
        return scan->status;
    if (is_scattered)
        return read_others(decoder, begin, fields, count, ret_others);
    *ret_others = str_n(others, (size_t)(others_end - others));
    return 0;
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static int check_time(struct str text, const char *name, usec_t *ret_wall, struct cel_error *err)
{
    if (!text.ptr || isotime_parse(text, ret_wall) == 0)
        return 0;
    return error_set(err, CEL_E_FORMAT, "The header %s is not a time: \"%.*s\"", name, SHOWN(text));
}

static int check_name(struct str text, const char *name, size_t max, struct cel_error *err)
{
    if (text.len == 0)
        return error_set(err, CEL_E_FORMAT, "The header %s is missing, empty or not text", name);
    if (text.len > max)
        return error_set(err, CEL_E_LIMIT, "The header %s has %zu bytes; %zu are allowed", name,
                         text.len, max);
    return 0;
}

static int finish_headers(struct envelope *envelope, struct cel_error *err)
{
    int r = check_name(envelope->task, "task", TASK_NAME_MAX, err);
    if (r == 0)
        r = check_name(envelope->id, "id", TASK_ID_MAX, err);
    if (r == 0)
        r = check_time(envelope->eta_text, "eta", &envelope->eta_wall, err);
    if (r == 0)
        r = check_time(envelope->expires_text, "expires", &envelope->expires_wall, err);
    if (envelope->retries < 0)
        envelope->retries = 0;
    return r;
}

static int finish_transport(struct decoder *decoder, struct cel_error *err)
{
    struct envelope *envelope = decoder->envelope;
    struct str encoding = decoder->body_encoding;
    if (!envelope->body.ptr)
        return error_set(err, CEL_E_FORMAT, "The body is missing or not text");
    if (!envelope->content_type.ptr)
        return error_set(err, CEL_E_FORMAT, "The content-type is missing or not text");
    if (encoding.ptr && !str_equal(encoding, STR("base64")) && !str_equal(encoding, STR("utf-8")))
        return error_set(err, CEL_E_FORMAT, "The body_encoding is not known: \"%.*s\"",
                         SHOWN(encoding));
    /* celery-ts says utf-8 in the one and base64 in the other when it compresses. */
    envelope->body_is_base64 =
        str_equal(encoding, STR("base64")) || str_equal(envelope->content_encoding, STR("base64"));
    if (!decoder->has_priority)
        envelope->priority = decoder->info_priority;
    envelope->redelivered = decoder->header_redelivered || decoder->info_redelivered;
    return 0;
}

static int scan_failure(const struct decoder *decoder, struct cel_error *err)
{
    const struct scanner *scan = &decoder->scan;
    if (scan->status == 0)
        return error_no_memory(err);
    return error_set(err, scan->status, "The envelope has %s at byte %zu", scan->problem,
                     (size_t)(scan->pos - scan->begin));
}

static int decode(struct decoder *decoder, struct cel_error *err)
{
    if (read_object(decoder, envelope_fields, ARRAY_SIZE(envelope_fields), NULL) < 0 ||
        scan_finish(&decoder->scan) < 0)
        return scan_failure(decoder, err);
    int r = finish_transport(decoder, err);
    if (r < 0)
        return r;
    if (!decoder->envelope->task.ptr)
        return ENVELOPE_PROTOCOL_1;
    return finish_headers(decoder->envelope, err);
}

int envelope_decode(struct str bytes, struct envelope *ret, struct cel_error *err)
{
    struct decoder decoder = {.envelope = ret};
    if (bytes.len > ENVELOPE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "The envelope has %zu bytes; %zu are allowed", bytes.len,
                         ENVELOPE_BYTES_MAX);
    *ret = (struct envelope){0};
    scan_init(&decoder.scan, bytes, ENVELOPE_DEPTH_MAX);
    int r = decode(&decoder, err);
    if (r < 0)
        envelope_deinit(ret);
    return r;
}

void envelope_deinit(struct envelope *envelope)
{
    if (!envelope)
        return;
    buf_deinit(&envelope->scratch);
    *envelope = (struct envelope){0};
}

unsigned priority_step(int64_t priority)
{
    return priority < 3 ? 0 : priority < 6 ? 3 : priority < 9 ? 6 : 9;
}
