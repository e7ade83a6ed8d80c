/*
 * Nothing is copied on the way but the headers: the call's arguments and embed are lists and maps made
 * here of the values of others.
 */
#include "canvas/task.h"

#include <errno.h>
#include <math.h>

#include "canvas/signature.h"
#include "core/id.h"
#include "core/mem.h"
#include "message/call.h"
#include "message/compression.h"

/* A list of values that belong to others; ends with list_end. */
static int list_begin(struct cel_value *list, size_t cap)
{
    *list = (struct cel_value){.type = CEL_LIST};
    list->list.items = mem_array(cap, sizeof(struct cel_value *));
    return list->list.items ? 0 : -ENOMEM;
}

static void list_put(struct cel_value *list, const struct cel_value *item)
{
    list->list.items[list->list.count++] = (struct cel_value *)item;
}

static void list_put_all(struct cel_value *list, const struct cel_value *from)
{
    for (size_t i = 0; i < cel_value_count(from); i++)
        list_put(list, cel_value_at(from, i));
}

static void list_end(struct cel_value *list)
{
    if (list->type == CEL_LIST)
        mem_free(list->list.items);
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct cel_value *option(const struct task *task, struct str name)
{
    return signature_option(task->signature, name);
}

static struct str option_text(const struct task *task, struct str name)
{
    return signature_option_text(task->signature, name);
}

static bool is_number(const struct cel_value *value)
{
    return cel_value_type(value) == CEL_INT || cel_value_type(value) == CEL_FLOAT;
}

/* Seconds from now, those before it as none; 9999 years at most. */
static usec_t to_usec(const struct cel_value *seconds)
{
    static const double seconds_max = 253402300799.0;
    double number = cel_value_float(seconds, 0);
    if (!(number > 0))
        return 0;
    return (usec_t)llround(fmin(number, seconds_max) * (double)USEC_PER_SEC);
}

static int
read_time(const struct task *task, struct str name, usec_t *ret_wall, struct cel_error *err)
{
    const struct cel_value *value = option(task, name);
    struct str text = value_str(value);
    if (!value)
        return 0;
    if (text.ptr && isotime_parse(text, ret_wall) == 0)
        return 0;
    return error_set(err, CEL_E_FORMAT, "The option " STR_FORMAT " is no time: " STR_FORMAT,
                     STR_ARGS(name), STR_ARGS(str_n(text.ptr, text.len < 60 ? text.len : 60)));
}

static int set_times(struct cel_call *call, const struct task *task, struct cel_error *err)
{
    const struct cel_value *expires = option(task, STR("expires"));
    usec_t now = task->sender->now_wall;
    call->countdown = to_usec(option(task, STR("countdown")));
    call->hard_limit = to_usec(option(task, STR("time_limit")));
    call->soft_limit = to_usec(option(task, STR("soft_time_limit")));
    if (is_number(expires)) {
        usec_t in = to_usec(expires);
        call->expires_wall = in ? now + in : now; /* at once, as one in the past */
    } else {
        int r = read_time(task, STR("expires"), &call->expires_wall, err);
        if (r < 0)
            return r;
    }
    return call->countdown ? 0 : read_time(task, STR("eta"), &call->eta_wall, err);
}

/* Values that came as typed JSON go on as typed JSON, and all others as they were. */
static int set_encoding(struct cel_call *call, const struct task *task, struct cel_error *err)
{
    struct str serializer = option_text(task, STR("serializer"));
    struct str compression = option_text(task, STR("compression"));
    call->serializer = CEL_JSON_TYPED;
    if (str_equal(serializer, STR("msgpack")))
        call->serializer = CEL_MSGPACK;
    else if (serializer.ptr && !str_equal(serializer, STR("json")))
        return error_set(err, CEL_E_UNSUPPORTED,
                         "The serializer " STR_FORMAT " is not supported: json and msgpack are",
                         STR_ARGS(serializer));
    call->compression = compression_find(compression);
    return 0;
}

static void set_queue(struct cel_call *call, const struct task *task)
{
    const struct cel_value *queue = option(task, STR("queue"));
    const struct canvas_sender *sender = task->sender;
    struct str name = cel_value_type(queue) == CEL_MAP ? value_str(value_find(queue, STR("name")))
                                                       : value_str(queue);
    struct str routed = signature_task(task->signature);
    if (signature_type(task->signature) != SIGNATURE_TASK)
        routed = signature_task(value_find(signature_kwargs(task->signature), STR("task")));
    if (!name.ptr)
        name = option_text(task, STR("routing_key"));
    if (!name.ptr && sender->queue_of)
        name = sender->queue_of(sender->data, routed);
    call->queue = (char *)name.ptr;
    call->exchange = option_text(task, STR("exchange"));
}

static int clamp_int(const struct cel_value *value)
{
    int64_t number = cel_value_int(value, 0);
    return number < 0 ? 0 : number > 255 ? 255 : (int)number;
}

static void set_plain(struct cel_call *call, const struct task *task)
{
    int64_t retries = cel_value_int(option(task, STR("retries")), 0);
    call->name = (char *)signature_task(task->signature).ptr;
    call->id = (char *)option_text(task, STR("task_id")).ptr;
    call->shadow = (char *)option_text(task, STR("shadow")).ptr;
    call->reply_to = option_text(task, STR("reply_to"));
    call->priority = clamp_int(option(task, STR("priority")));
    call->retries = retries > 0 ? retries : 0;
    call->ignore_result = cel_value_bool(option(task, STR("ignore_result")), false);
    call->replaced_task_nesting = cel_value_int(option(task, STR("replaced_task_nesting")), 0);
}

static void set_membership(struct cel_call *call, const struct task *task)
{
    const struct cel_value *index = option(task, STR("group_index"));
    if (task->member) {
        call->group = task->member->group;
        call->has_group_index = task->member->has_index;
        call->group_index = task->member->index;
        return;
    }
    call->group = option_text(task, STR("group_id"));
    call->has_group_index = cel_value_type(index) == CEL_INT;
    call->group_index = cel_value_int(index, 0);
}

/* --- headers ---------------------------------------------------------------------------------- */

static int copy_headers(struct cel_value *headers, const struct cel_value *from)
{
    int r = 0;
    for (size_t i = 0; r == 0 && cel_value_type(from) == CEL_MAP && i < from->map.count; i++) {
        const struct cel_pair *pair = &from->map.pairs[i];
        if (!call_is_reserved_header(pair->key))
            r = value_set(headers, pair->key, cel_value_dup(pair->value));
    }
    return r;
}

/* The values of stamps stand among the options under their names. */
static int copy_stamps(struct cel_value *headers, const struct task *task)
{
    const struct cel_value *names = option(task, STR("stamped_headers"));
    struct cel_value *stamps = cel_map();
    int r = stamps ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < cel_value_count(names); i++) {
        struct str name = value_str(cel_value_at(names, i));
        const struct cel_value *value = name.ptr ? option(task, name) : NULL;
        if (value)
            r = value_set(stamps, name, cel_value_dup(value));
    }
    if (r < 0) {
        cel_value_free(stamps);
        return r;
    }
    r = value_set(headers, STR("stamped_headers"), cel_value_dup(names));
    int q = value_set(headers, STR("stamps"), stamps);
    return r < 0 ? r : q;
}

static int set_headers(struct cel_call *call, const struct task *task)
{
    const struct cel_value *own = option(task, STR("headers"));
    bool has_stamps = cel_value_type(option(task, STR("stamped_headers"))) == CEL_LIST;
    if (!own && !has_stamps)
        return 0;
    call->headers = cel_map();
    int r = call->headers ? copy_headers(call->headers, own) : -ENOMEM;
    return r == 0 && has_stamps ? copy_stamps(call->headers, task) : r;
}

/* --- arguments and embed ---------------------------------------------------------------------- */

static int set_args(struct cel_value *args, const struct task *task)
{
    const struct cel_value *own = signature_args(task->signature);
    bool is_map =
        signature_type(task->signature) != SIGNATURE_TASK; /* its arguments are keywords */
    bool has_pre = !is_map && !signature_is_immutable(task->signature);
    int r = list_begin(args, task->pre_count + cel_value_count(own));
    if (r < 0 || is_map)
        return r;
    for (size_t i = 0; has_pre && i < task->pre_count; i++)
        list_put(args, task->pre[i]);
    list_put_all(args, own);
    return 0;
}

/* The lists and the map that a message's embed is made of. */
struct embed {
    struct cel_value null, callbacks, errbacks, chain, map;
    struct cel_pair pairs[4];
};

static int set_links(struct cel_value *list, const struct cel_value *links)
{
    bool is_one = cel_value_type(links) == CEL_MAP;
    size_t count = is_one ? 1 : cel_value_count(links);
    if (count == 0)
        return 0;
    int r = list_begin(list, count);
    if (r == 0 && is_one)
        list_put(list, links);
    else if (r == 0)
        list_put_all(list, links);
    return r;
}

static int set_chain(struct cel_value *list, const struct task *task)
{
    const struct cel_value *own = option(task, STR("chain"));
    size_t count = cel_value_count(task->rest) + cel_value_count(own);
    if (count == 0)
        return 0;
    int r = list_begin(list, count);
    if (r == 0) {
        list_put_all(list, task->rest);
        list_put_all(list, own);
    }
    return r;
}

static int set_embed(struct embed *embed, const struct task *task)
{
    const struct cel_value *chord = task->member ? task->member->chord : option(task, STR("chord"));
    int r = set_links(&embed->callbacks, option(task, STR("link")));
    if (r == 0)
        r = set_links(&embed->errbacks, option(task, STR("link_error")));
    if (r == 0)
        r = set_chain(&embed->chain, task);
    embed->pairs[0] = (struct cel_pair){STR("callbacks"), &embed->callbacks};
    embed->pairs[1] = (struct cel_pair){STR("errbacks"), &embed->errbacks};
    embed->pairs[2] = (struct cel_pair){STR("chain"), &embed->chain};
    embed->pairs[3] =
        (struct cel_pair){STR("chord"), chord ? (struct cel_value *)chord : &embed->null};
    embed->map = (struct cel_value){.type = CEL_MAP, .map = {embed->pairs, 4, 0}};
    return r;
}

static void embed_end(struct embed *embed)
{
    list_end(&embed->callbacks);
    list_end(&embed->errbacks);
    list_end(&embed->chain);
}

/* --- the message ------------------------------------------------------------------------------ */

static int fill(struct cel_call *call, const struct task *task, struct cel_error *err)
{
    set_plain(call, task);
    set_queue(call, task);
    set_membership(call, task);
    int r = set_encoding(call, task, err);
    if (r == 0)
        r = set_times(call, task, err);
    if (r == 0 && set_headers(call, task) < 0)
        r = error_no_memory(err);
    return r;
}

static int encode(const struct cel_call *call,
                  const struct task *task,
                  struct cel_message *ret,
                  struct cel_error *err)
{
    const struct canvas_sender *sender = task->sender;
    char id[UUID_SIZE], tag[UUID_SIZE];
    struct call_context context = {
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = sender->default_queue,
        .root_id = sender->root_id.ptr ? sender->root_id : option_text(task, STR("root_id")),
        .parent_id =
            sender->parent_id.ptr ? sender->parent_id : option_text(task, STR("parent_id")),
        .origin = sender->origin,
        .now_wall = sender->now_wall,
    };
    return call_message(call, &context, ret, err);
}

int task_message(const struct task *task, struct cel_message *ret, struct cel_error *err)
{
    struct cel_call call = {0};
    struct cel_value args = {0};
    struct embed embed = {0};
    int r = fill(&call, task, err);
    if (r == 0 && (set_args(&args, task) < 0 || set_embed(&embed, task) < 0))
        r = error_no_memory(err);
    if (r == 0) {
        call.args = &args;
        call.kwargs = (struct cel_value *)signature_kwargs(task->signature);
        call.embed = &embed.map;
        r = encode(&call, task, ret, err);
    }
    if (r < 0 && r != -ENOMEM)
        error_wrap(err, "The task " STR_FORMAT, STR_ARGS(signature_task(task->signature)));
    cel_value_free(call.headers);
    list_end(&args);
    embed_end(&embed);
    return r;
}
