/*
 * Reading: one pass over the whole text. Each of the four objects we know (the envelope, headers,
 * properties, delivery_info) has a table of its members; fields.c reads by it. What needs more than
 * one member to be understood is settled at the end.
 */
#include "message/envelope.h"

#include <errno.h>

#include "message/fields.h"

/* For "%.*s": as much of a text from outside as an error may show. */
#define SHOWN(text) (int)((text).len < 60 ? (text).len : 60), (text).ptr

struct decoder {
    struct fields fields;
    struct envelope envelope;
    struct optional_integer group_index, retries, nesting, deliveries, crashes, conflicts;
    struct optional_integer requeues, turn;
    struct optional_integer priority, info_priority;
    struct str body_encoding;
    bool header_redelivered, info_redelivered;
};

/* A time that is there and cannot be read must not count as missing: the task would run at once. */
static int read_time(struct fields *fields, void *place)
{
    char first = scan_peek(&fields->scan);
    if (first != '"' && first != 'n')
        return scan_fail(&fields->scan, CEL_E_FORMAT,
                         "an eta or expires that is neither text nor null");
    return field_text(fields, place);
}

/* Seconds, as an integer or not; anything else is no limit. */
static int read_limit(struct fields *fields, usec_t *ret)
{
    static const double most = 1e12; /* seconds; more than anybody waits, and fits */
    struct str number;
    bool is_integer;
    double seconds;
    *ret = 0;
    int r = fields_number(fields, &number, &is_integer);
    if (number.ptr && str_parse_double(number, &seconds) == 0 && seconds > 0 && seconds <= most)
        *ret = (usec_t)(seconds * (double)USEC_PER_SEC + 0.5);
    return r;
}

/* [hard, soft] */
static int read_limits(struct fields *fields, void *unused)
{
    struct scanner *scan = &fields->scan;
    struct decoder *decoder = fields->target;
    usec_t limits[2] = {0, 0};
    size_t count = 0;
    (void)unused;
    if (scan_peek(scan) != '[') {
        if (scan_skip(scan) < 0)
            return scan->status;
    } else {
        for (bool more = scan_open(scan, '['); more; more = scan_next(scan, ']'), count++) {
            if ((count < 2 ? read_limit(fields, &limits[count]) : scan_skip(scan)) < 0)
                break;
        }
    }
    decoder->envelope.hard_limit = limits[0];
    decoder->envelope.soft_limit = limits[1];
    return scan->status;
}

/* --- objects ---------------------------------------------------------------------------------- */

#define IN_ENVELOPE(member) offsetof(struct decoder, envelope.member)
#define IN_DECODER(member)  offsetof(struct decoder, member)

static const struct field header_fields[] = {
    {STR("lang"), field_text, IN_ENVELOPE(lang)},
    {STR("task"), field_text, IN_ENVELOPE(task)},
    {STR("id"), field_text, IN_ENVELOPE(id)},
    {STR("shadow"), field_text, IN_ENVELOPE(shadow)},
    {STR("eta"), read_time, IN_ENVELOPE(eta_text)},
    {STR("expires"), read_time, IN_ENVELOPE(expires_text)},
    {STR("group"), field_text, IN_ENVELOPE(group)},
    {STR("group_index"), field_integer, IN_DECODER(group_index)},
    {STR("retries"), field_integer, IN_DECODER(retries)},
    {STR("timelimit"), read_limits, 0},
    {STR("root_id"), field_text, IN_ENVELOPE(root_id)},
    {STR("parent_id"), field_text, IN_ENVELOPE(parent_id)},
    {STR("argsrepr"), field_text, IN_ENVELOPE(argsrepr)},
    {STR("kwargsrepr"), field_text, IN_ENVELOPE(kwargsrepr)},
    {STR("origin"), field_text, IN_ENVELOPE(origin)},
    {STR("ignore_result"), field_flag, IN_ENVELOPE(ignore_result)},
    {STR("replaced_task_nesting"), field_integer, IN_DECODER(nesting)},
    {STR("compression"), field_text, IN_ENVELOPE(compression)},
    {STR("redelivered"), field_flag, IN_DECODER(header_redelivered)},
    {STR("celeriac_deliveries"), field_integer, IN_DECODER(deliveries)},
    {STR("celeriac_crashes"), field_integer, IN_DECODER(crashes)},
    {STR("celeriac_conflicts"), field_integer, IN_DECODER(conflicts)},
    {STR("celeriac_requeues"), field_integer, IN_DECODER(requeues)},
    {STR("celeriac_turn"), field_integer, IN_DECODER(turn)},
};

static int read_headers(struct fields *fields, void *unused)
{
    struct decoder *decoder = fields->target;
    (void)unused;
    memset(&decoder->envelope, 0, offsetof(struct envelope, content_type));
    decoder->group_index = decoder->retries = decoder->nesting = (struct optional_integer){0};
    decoder->deliveries = decoder->crashes = decoder->conflicts = (struct optional_integer){0};
    decoder->requeues = decoder->turn = (struct optional_integer){0};
    decoder->header_redelivered = false;
    if (scan_peek(&fields->scan) != '{')
        return scan_skip(&fields->scan);
    return fields_object(fields, header_fields, ARRAY_SIZE(header_fields),
                         &decoder->envelope.other_headers);
}

static const struct field info_fields[] = {
    {STR("exchange"), field_text, IN_ENVELOPE(exchange)},
    {STR("routing_key"), field_text, IN_ENVELOPE(routing_key)},
    {STR("redelivered"), field_flag, IN_DECODER(info_redelivered)},
    {STR("priority"), field_integer, IN_DECODER(info_priority)},
};

static void forget_info(struct decoder *decoder)
{
    decoder->envelope.exchange = decoder->envelope.routing_key = STR_NONE;
    decoder->info_priority = (struct optional_integer){0};
    decoder->info_redelivered = false;
}

static int read_info(struct fields *fields, void *unused)
{
    (void)unused;
    forget_info(fields->target);
    if (scan_peek(&fields->scan) != '{')
        return scan_skip(&fields->scan);
    return fields_object(fields, info_fields, ARRAY_SIZE(info_fields), NULL);
}

static const struct field property_fields[] = {
    {STR("correlation_id"), field_text, IN_ENVELOPE(correlation_id)},
    {STR("reply_to"), field_text, IN_ENVELOPE(reply_to)},
    {STR("delivery_mode"), field_ignored, 0},
    {STR("delivery_info"), read_info, 0},
    {STR("priority"), field_integer, IN_DECODER(priority)},
    {STR("body_encoding"), field_text, IN_DECODER(body_encoding)},
    {STR("delivery_tag"), field_text, IN_ENVELOPE(delivery_tag)},
};

static int read_properties(struct fields *fields, void *unused)
{
    struct decoder *decoder = fields->target;
    struct envelope *envelope = &decoder->envelope;
    (void)unused;
    envelope->correlation_id = envelope->reply_to = envelope->delivery_tag = STR_NONE;
    envelope->other_properties = decoder->body_encoding = STR_NONE;
    decoder->priority = (struct optional_integer){0};
    forget_info(decoder);
    if (scan_peek(&fields->scan) != '{')
        return scan_skip(&fields->scan);
    return fields_object(fields, property_fields, ARRAY_SIZE(property_fields),
                         &envelope->other_properties);
}

static const struct field envelope_fields[] = {
    {STR("body"), field_text, IN_ENVELOPE(body)},
    {STR("content-encoding"), field_text, IN_ENVELOPE(content_encoding)},
    {STR("content-type"), field_text, IN_ENVELOPE(content_type)},
    {STR("headers"), read_headers, 0},
    {STR("properties"), read_properties, 0},
};

/* --- the whole -------------------------------------------------------------------------------- */

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

static int64_t count_of(struct optional_integer given)
{
    return given.value > 0 ? given.value : 0;
}

static int finish_headers(struct decoder *decoder, struct cel_error *err)
{
    struct envelope *envelope = &decoder->envelope;
    envelope->has_group_index = decoder->group_index.is_there;
    envelope->group_index = decoder->group_index.value;
    envelope->retries = count_of(decoder->retries);
    envelope->deliveries = count_of(decoder->deliveries);
    envelope->crashes = count_of(decoder->crashes);
    envelope->conflicts = count_of(decoder->conflicts);
    envelope->requeues = count_of(decoder->requeues);
    envelope->turn_wall = (usec_t)count_of(decoder->turn) * USEC_PER_MSEC;
    envelope->replaced_task_nesting = decoder->nesting.value;
    int r = check_name(envelope->task, "task", TASK_NAME_MAX, err);
    if (r == 0)
        r = check_name(envelope->id, "id", TASK_ID_MAX, err);
    if (r == 0)
        r = check_time(envelope->eta_text, "eta", &envelope->eta_wall, err);
    if (r == 0)
        r = check_time(envelope->expires_text, "expires", &envelope->expires_wall, err);
    return r;
}

static int finish_transport(struct decoder *decoder, struct cel_error *err)
{
    struct envelope *envelope = &decoder->envelope;
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
    /* The one in delivery_info is for clients that lack the other. */
    envelope->priority =
        decoder->priority.is_there ? decoder->priority.value : decoder->info_priority.value;
    envelope->redelivered = decoder->header_redelivered || decoder->info_redelivered;
    return 0;
}

static int scan_failure(const struct scanner *scan, struct cel_error *err)
{
    if (scan->status == 0)
        return error_no_memory(err);
    return error_set(err, scan->status, "The envelope has %s at byte %zu", scan->problem,
                     (size_t)(scan->pos - scan->begin));
}

static int decode(struct decoder *decoder, struct cel_error *err)
{
    struct fields *fields = &decoder->fields;
    if (fields_object(fields, envelope_fields, ARRAY_SIZE(envelope_fields), NULL) < 0 ||
        scan_finish(&fields->scan) < 0)
        return scan_failure(&fields->scan, err);
    int r = finish_transport(decoder, err);
    if (r < 0)
        return r;
    return decoder->envelope.task.ptr ? finish_headers(decoder, err) : ENVELOPE_PROTOCOL_1;
}

int envelope_decode(struct str bytes, struct envelope *ret, struct cel_error *err)
{
    struct decoder decoder = {0};
    if (bytes.len > ENVELOPE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "The envelope has %zu bytes; %zu are allowed", bytes.len,
                         ENVELOPE_BYTES_MAX);
    decoder.fields.target = &decoder;
    decoder.fields.scratch = &decoder.envelope.scratch;
    scan_init(&decoder.fields.scan, bytes, ENVELOPE_DEPTH_MAX);
    int r = decode(&decoder, err);
    if (r < 0)
        envelope_deinit(&decoder.envelope);
    else
        *ret = decoder.envelope;
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
