#include "control/call_info.h"

#include "core/json.h"
#include "message/body.h"
#include "message/repr.h"

/* Larger arguments are shown as the texts of the headers, which are short. */
#define SHOWN_BYTES_MAX ((size_t)256 * 1024)

static struct cel_value *text_or_null(struct str text)
{
    return text.ptr ? cel_text_n(text.ptr, text.len) : cel_null();
}

/* Whether `value` can stand in a reply. */
static bool has_form(const struct cel_value *value)
{
    struct buf text = BUF_INIT(SHOWN_BYTES_MAX);
    bool has = json_encode(&text, value, JSON_PLAIN) == 0;
    buf_deinit(&text);
    return has;
}

static int set_values(struct cel_value *info, const struct envelope *envelope)
{
    struct body body;
    int r =
        envelope->body.len > 2 * SHOWN_BYTES_MAX ? CEL_E_LIMIT : body_decode(envelope, &body, NULL);
    if (r < 0)
        return r;
    r = has_form(body.args) && has_form(body.kwargs) ? 0 : CEL_E_FORMAT;
    if (r == 0 && (cel_map_set(info, "args", cel_value_dup(body.args)) < 0 ||
                   cel_map_set(info, "kwargs", cel_value_dup(body.kwargs)) < 0))
        r = -1;
    body_deinit(&body);
    return r;
}

static int set_arguments(struct cel_value *info, const struct envelope *envelope, bool safe)
{
    if (!safe && set_values(info, envelope) == 0)
        return 0;
    if (cel_map_set(info, "args", text_or_null(envelope->argsrepr)) < 0)
        return -1;
    return cel_map_set(info, "kwargs", text_or_null(envelope->kwargsrepr));
}

static struct cel_value *delivery_info(const struct envelope *envelope)
{
    struct cel_value *info = cel_map();
    struct str exchange = envelope->exchange.ptr ? envelope->exchange : STR("");
    if (cel_map_set(info, "exchange", text_or_null(exchange)) < 0 ||
        cel_map_set(info, "routing_key", text_or_null(envelope->routing_key)) < 0 ||
        cel_map_set(info, "priority", cel_int(envelope->priority)) < 0 ||
        cel_map_set(info, "redelivered", cel_bool(envelope->redelivered)) < 0)
        return cel_value_free(info);
    return info;
}

static struct cel_value *started(const struct control_call *call)
{
    return call->is_active ? cel_float((double)call->started_wall / (double)USEC_PER_SEC)
                           : cel_null();
}

struct cel_value *call_info_take(const struct control_call *call, struct str node, bool safe)
{
    const struct envelope *envelope = call->envelope;
    struct str shown = envelope->shadow.ptr ? envelope->shadow : envelope->task;
    struct cel_value *info = cel_map();
    if (cel_map_set(info, "id", text_or_null(envelope->id)) < 0 ||
        cel_map_set(info, "name", text_or_null(shown)) < 0 ||
        set_arguments(info, envelope, safe) < 0 ||
        cel_map_set(info, "type", text_or_null(envelope->task)) < 0 ||
        cel_map_set(info, "hostname", text_or_null(node)) < 0 ||
        cel_map_set(info, "time_start", started(call)) < 0 ||
        cel_map_set(info, "acknowledged", cel_bool(call->is_acknowledged)) < 0 ||
        cel_map_set(info, "delivery_info", delivery_info(envelope)) < 0 ||
        cel_map_set(info, "worker_pid", call->is_active ? cel_int(call->pid) : cel_null()) < 0)
        return cel_value_free(info);
    return info;
}
