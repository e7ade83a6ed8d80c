/*
 * Protocol 1, which Celery before 4 and some clients in other languages still write: the headers
 * are empty, and all of them stand in the body, an object. Translated to protocol 2 once, on
 * arrival, so that nothing else needs to know. Such a message has no chain, no root and no parent.
 */
#include "message/envelope.h"

#include <errno.h>

#include "core/id.h"
#include "message/body.h"

static struct str text_of(const struct cel_value *call, const char *key)
{
    return value_str(cel_value_get(call, key));
}

static int64_t integer_of(const struct cel_value *call, const char *key)
{
    return cel_value_int(cel_value_get(call, key), 0);
}

/* As envelope_decode: a time that is there and cannot be read is not passed over. */
static int
time_of(const struct cel_value *call, const char *key, usec_t *ret_wall, struct cel_error *err)
{
    const struct cel_value *value = cel_value_get(call, key);
    if (cel_value_type(value) == CEL_NULL)
        return 0;
    struct str text = value_str(value);
    if (text.ptr && isotime_parse(text, ret_wall) == 0)
        return 0;
    return error_set(err, CEL_E_FORMAT, "The body (protocol 1) has an %s that is not a time", key);
}

static usec_t limit_of(const struct cel_value *call, size_t index)
{
    static const double most = 1e12; /* seconds */
    double seconds = cel_value_float(cel_value_at(cel_value_get(call, "timelimit"), index), 0);
    return seconds > 0 && seconds <= most ? (usec_t)(seconds * (double)USEC_PER_SEC + 0.5) : 0;
}

/* `old` is what envelope_decode found: the transport's part. Views borrow from both. */
static int headers_from_body(const struct cel_value *call,
                             const struct envelope *old,
                             struct envelope *ret,
                             struct cel_error *err)
{
    const struct cel_value *index = cel_value_get(call, "group_index");
    *ret = *old;
    ret->task = text_of(call, "task");
    ret->id = text_of(call, "id");
    ret->root_id = ret->id;
    ret->group = text_of(call, "group");
    if (!ret->group.ptr)
        ret->group = text_of(call, "taskset");
    ret->has_group_index = cel_value_type(index) == CEL_INT;
    ret->group_index = integer_of(call, "group_index");
    ret->retries = integer_of(call, "retries") > 0 ? integer_of(call, "retries") : 0;
    ret->hard_limit = limit_of(call, 0);
    ret->soft_limit = limit_of(call, 1);
    if (ret->task.len == 0 || ret->id.len == 0)
        return error_set(err, CEL_E_FORMAT,
                         "Neither the headers nor the body (protocol 1) name a task and its id");
    if (ret->task.len > TASK_NAME_MAX || ret->id.len > TASK_ID_MAX)
        return error_set(err, CEL_E_LIMIT, "The body (protocol 1) has too long a task or id");
    int r = time_of(call, "eta", &ret->eta_wall, err);
    return r < 0 ? r : time_of(call, "expires", &ret->expires_wall, err);
}

/* A copy of `call`'s member in `embed`, if it has one. */
static int link_from_body(struct cel_value *embed, const struct cel_value *call, const char *key)
{
    const struct cel_value *link = cel_value_get(call, key);
    return cel_map_set(embed, key, link ? cel_value_dup(link) : cel_null());
}

static struct cel_value *embed_from_body(const struct cel_value *call)
{
    struct cel_value *embed = cel_map();
    if (!embed || link_from_body(embed, call, "callbacks") < 0 ||
        link_from_body(embed, call, "errbacks") < 0 ||
        cel_map_set(embed, "chain", cel_null()) < 0 || link_from_body(embed, call, "chord") < 0)
        return cel_value_free(embed);
    return embed;
}

static bool is_absent_or(const struct cel_value *value, enum cel_type type)
{
    return cel_value_type(value) == type || cel_value_type(value) == CEL_NULL;
}

static int body_from_body(const struct cel_value *call,
                          struct buf *buf,
                          struct envelope *envelope,
                          struct cel_error *err)
{
    const struct cel_value *args = cel_value_get(call, "args");
    const struct cel_value *kwargs = cel_value_get(call, "kwargs");
    bool is_msgpack = str_equal(envelope->content_type, STR("application/x-msgpack"));
    if (!is_absent_or(args, CEL_LIST) || !is_absent_or(kwargs, CEL_MAP))
        return error_set(err, CEL_E_FORMAT,
                         "The body (protocol 1) has args that are no list, or kwargs that are no "
                         "object");
    struct cel_value *embed = embed_from_body(call);
    if (!embed)
        return error_no_memory(err);
    /* Typed, because what the sender wrote so must arrive so. */
    struct body_encoding encoding = {is_msgpack ? CEL_MSGPACK : CEL_JSON_TYPED, CEL_UNCOMPRESSED};
    int r = body_encode(cel_value_type(args) == CEL_LIST ? args : NULL,
                        cel_value_type(kwargs) == CEL_MAP ? kwargs : NULL, embed, encoding, buf,
                        envelope, err);
    cel_value_free(embed);
    return r;
}

static int upgrade(const struct envelope *old,
                   const struct cel_value *call,
                   struct str delivery_tag,
                   struct buf *buf,
                   struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct envelope envelope;
    int r = headers_from_body(call, old, &envelope, err);
    if (r == 0)
        r = body_from_body(call, &body, &envelope, err);
    if (r < 0)
        return r;
    envelope.body = buf_str(&body);
    if (!envelope.correlation_id.ptr)
        envelope.correlation_id = envelope.id;
    if (!envelope.delivery_tag.ptr)
        envelope.delivery_tag = delivery_tag;
    r = envelope_encode(buf, &envelope);
    return r < 0 ? error_set(err, r, "The message cannot be translated from protocol 1") : 0;
}

int envelope_upgrade(struct str bytes,
                     struct str delivery_tag,
                     struct buf *buf,
                     struct cel_error *err)
{
    struct envelope old;
    struct cel_value *call = NULL;
    int r = envelope_decode(bytes, &old, err);
    if (r < 0)
        return r;
    if (r == ENVELOPE_PROTOCOL_1)
        r = body_decode_value(&old, &call, err);
    else
        r = error_set(err, -EINVAL, "The message is not of protocol 1");
    if (r == 0)
        r = upgrade(&old, call, delivery_tag, buf, err);
    cel_value_free(call);
    envelope_deinit(&old);
    return r;
}

int envelope_decode_any(struct str bytes,
                        struct buf *upgraded,
                        struct envelope *ret,
                        struct cel_error *err)
{
    char tag[UUID_SIZE];
    int r = envelope_decode(bytes, ret, err);
    if (r == ENVELOPE_PROTOCOL_1) {
        envelope_deinit(ret);
        r = envelope_upgrade(bytes, uuid_new(tag), upgraded, err);
        if (r == 0)
            r = envelope_decode(buf_str(upgraded), ret, err);
        if (r == ENVELOPE_PROTOCOL_1) {
            envelope_deinit(ret);
            r = error_set(err, CEL_E_FORMAT, "the message names no task");
        }
    }
    if (r < 0)
        *ret = (struct envelope){.task = STR_NONE};
    return r;
}
