/*
 * Writing an envelope: every key in the order in which Python writes them, which is also the order
 * in which envelope.c looks for them.
 */
#include "message/envelope.h"

#include <errno.h>

#include "core/base64.h"
#include "core/json.h"
#include "message/scanner.h"

/* `label` is all that stands before the value. */
static void add_text(struct buf *buf, struct str label, struct str text)
{
    if (!text.ptr || !scan_is_plain(text)) {
        buf_add_str(buf, label);
        json_add_text_or_null(buf, text);
        return;
    }
    size_t len = label.len + text.len + 2;
    char *to = buf_reserve(buf, len);
    if (!to)
        return;
    memcpy(to, label.ptr, label.len);
    to += label.len;
    *to++ = '"';
    memcpy(to, text.ptr, text.len);
    to[text.len] = '"';
    buf_added(buf, len);
}

/* Never null: kombu looks into both. */
static void add_name(struct buf *buf, struct str label, struct str name)
{
    add_text(buf, label, name.ptr ? name : STR(""));
}

static void add_time(struct buf *buf, struct str label, usec_t wall)
{
    char text[ISOTIME_SIZE];
    add_text(buf, label, wall ? isotime_format(wall, text) : STR_NONE);
}

static void add_integer(struct buf *buf, struct str label, int64_t value)
{
    buf_add_str(buf, label);
    buf_add_i64(buf, value);
}

/* In seconds; a float only when there is a fraction. */
static void add_limit(struct buf *buf, usec_t limit)
{
    if (limit == 0)
        buf_add_str(buf, STR("null"));
    else if (limit % USEC_PER_SEC == 0)
        buf_add_u64(buf, limit / USEC_PER_SEC);
    else
        json_add_double(buf, (double)limit / (double)USEC_PER_SEC);
}

static void add_others(struct buf *buf, struct str members)
{
    if (members.len == 0)
        return;
    buf_add_str(buf, STR(", "));
    buf_add_str(buf, members);
}

static void add_headers(struct buf *buf, const struct envelope *envelope)
{
    add_text(buf, STR(", \"headers\": {\"lang\": "), envelope->lang);
    add_text(buf, STR(", \"task\": "), envelope->task);
    add_text(buf, STR(", \"id\": "), envelope->id);
    add_text(buf, STR(", \"shadow\": "), envelope->shadow);
    add_time(buf, STR(", \"eta\": "), envelope->eta_wall);
    add_time(buf, STR(", \"expires\": "), envelope->expires_wall);
    add_text(buf, STR(", \"group\": "), envelope->group);
    if (envelope->has_group_index)
        add_integer(buf, STR(", \"group_index\": "), envelope->group_index);
    else
        buf_add_str(buf, STR(", \"group_index\": null"));
    add_integer(buf, STR(", \"retries\": "), envelope->retries);
    buf_add_str(buf, STR(", \"timelimit\": ["));
    add_limit(buf, envelope->hard_limit);
    buf_add_str(buf, STR(", "));
    add_limit(buf, envelope->soft_limit);
    add_text(buf, STR("], \"root_id\": "), envelope->root_id);
    add_text(buf, STR(", \"parent_id\": "), envelope->parent_id);
    add_text(buf, STR(", \"argsrepr\": "), envelope->argsrepr);
    add_text(buf, STR(", \"kwargsrepr\": "), envelope->kwargsrepr);
    add_text(buf, STR(", \"origin\": "), envelope->origin);
    buf_add_str(buf, envelope->ignore_result ? STR(", \"ignore_result\": true")
                                             : STR(", \"ignore_result\": false"));
    add_integer(buf, STR(", \"replaced_task_nesting\": "), envelope->replaced_task_nesting);
    if (envelope->compression.ptr)
        add_text(buf, STR(", \"compression\": "), envelope->compression);
    if (envelope->redelivered)
        buf_add_str(buf, STR(", \"redelivered\": true"));
    if (envelope->deliveries)
        add_integer(buf, STR(", \"celeriac_deliveries\": "), envelope->deliveries);
    if (envelope->crashes)
        add_integer(buf, STR(", \"celeriac_crashes\": "), envelope->crashes);
    if (envelope->conflicts)
        add_integer(buf, STR(", \"celeriac_conflicts\": "), envelope->conflicts);
    if (envelope->requeues)
        add_integer(buf, STR(", \"celeriac_requeues\": "), envelope->requeues);
    if (envelope->turn_wall)
        add_integer(buf, STR(", \"celeriac_turn\": "),
                    (int64_t)(envelope->turn_wall / USEC_PER_MSEC));
    add_others(buf, envelope->other_headers);
}

static void add_properties(struct buf *buf, const struct envelope *envelope)
{
    add_text(buf, STR("}, \"properties\": {\"correlation_id\": "), envelope->correlation_id);
    add_text(buf, STR(", \"reply_to\": "), envelope->reply_to);
    buf_add_str(buf, STR(", \"delivery_mode\": 2, \"delivery_info\": {"));
    add_name(buf, STR("\"exchange\": "), envelope->exchange);
    add_name(buf, STR(", \"routing_key\": "), envelope->routing_key);
    if (envelope->redelivered)
        buf_add_str(buf, STR(", \"redelivered\": true"));
    add_integer(buf, STR("}, \"priority\": "), envelope->priority);
    add_text(buf, STR(", \"body_encoding\": \"base64\", \"delivery_tag\": "),
             envelope->delivery_tag);
    add_others(buf, envelope->other_properties);
    buf_add_str(buf, STR("}}"));
}

int envelope_encode(struct buf *buf, const struct envelope *envelope)
{
    if (!envelope->task.ptr || !envelope->id.ptr || !envelope->delivery_tag.ptr)
        return -EINVAL;
    if (envelope->body_is_base64) {
        add_text(buf, STR("{\"body\": "), envelope->body);
    } else {
        buf_add_str(buf, STR("{\"body\": \""));
        base64_add(buf, envelope->body);
        buf_add_char(buf, '"');
    }
    add_text(buf, STR(", \"content-encoding\": "), envelope->content_encoding);
    add_name(buf, STR(", \"content-type\": "), envelope->content_type);
    add_headers(buf, envelope);
    add_properties(buf, envelope);
    return buf_status(buf);
}
