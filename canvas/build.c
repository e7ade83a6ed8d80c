#include "canvas/build.h"

#include <errno.h>

#include "canvas/signature.h"
#include "core/json.h"
#include "core/mem.h"
#include "message/call.h"

int build_value(const struct cel_signature *signature,
                const struct cel_value **ret_value,
                struct cel_error *err)
{
    if (!signature)
        return error_set(err, -EINVAL, "The signature is NULL");
    if (signature->error.code)
        return error_set(err, signature->error.code, "%s", signature->error.text);
    *ret_value = signature->value;
    return 0;
}

/* --- errors ----------------------------------------------------------------------------------- */

static void keep_error(struct cel_signature *signature, const struct cel_error *err)
{
    if (signature->error.code == 0)
        signature->error = *err;
    signature->value = cel_value_free(signature->value);
}

static void refuse(struct cel_signature *signature, const char *text)
{
    struct cel_error err = {0};
    error_set(&err, -EINVAL, "%s", text);
    keep_error(signature, &err);
}

static void keep_no_memory(struct cel_signature *signature)
{
    struct cel_error err = {0};
    error_no_memory(&err);
    keep_error(signature, &err);
}

/* Takes the value out of what is put into `into`, which gets its error. */
static struct cel_value *take(struct cel_signature *from, struct cel_signature *into)
{
    struct cel_value *value = NULL;
    if (!from) {
        keep_no_memory(into);
        return NULL;
    }
    if (from->error.code)
        keep_error(into, &from->error);
    else
        value = from->value;
    if (!from->error.code)
        from->value = NULL;
    cel_signature_free(from);
    return value;
}

struct cel_signature *cel_signature_free(struct cel_signature *signature)
{
    if (signature)
        cel_value_free(signature->value);
    mem_free(signature);
    return NULL;
}

/* Adopts `value`; NULL: memory was short. */
static struct cel_signature *wrap(struct cel_value *value)
{
    struct cel_signature *signature = mem_new(struct cel_signature);
    if (!signature || !value) {
        mem_free(signature);
        cel_value_free(value);
        return NULL;
    }
    signature->value = value;
    return signature;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* What a reader gets of `value` when it goes as plain JSON, so that it goes so at every step. */
static int plain(const struct cel_value *value, struct cel_value **ret, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(VALUE_BYTES_MAX);
    int r = json_encode(&text, value, JSON_PLAIN);
    if (r == 0)
        return json_decode(buf_str(&text), ret, err);
    if (r == -ENOMEM)
        return error_no_memory(err);
    return error_set(err, r,
                     "The arguments cannot go as JSON: they hold bytes (use CEL_JSON_TYPED or "
                     "CEL_MSGPACK), are nested too deep, or have an object of just __type__ and "
                     "__value__");
}

static int copy_value(const struct cel_call *call,
                      const struct cel_value *value,
                      struct cel_value **ret,
                      struct cel_error *err)
{
    if (call->serializer == CEL_JSON)
        return plain(value, ret, err);
    *ret = cel_value_dup(value);
    return *ret ? 0 : error_no_memory(err);
}

static struct cel_value *seconds(usec_t time)
{
    if (time % USEC_PER_SEC == 0)
        return cel_int((int64_t)(time / USEC_PER_SEC));
    return cel_float((double)time / (double)USEC_PER_SEC);
}

static struct cel_value *moment(usec_t wall)
{
    char text[ISOTIME_SIZE];
    return value_text(isotime_format(wall, text));
}

/* Sets an option that is given. */
static int set(struct cel_value *options, const char *name, bool is_given, struct cel_value *value)
{
    if (is_given)
        return cel_map_set(options, name, value);
    cel_value_free(value);
    return 0;
}

static int set_text(struct cel_value *options, const char *name, const char *text)
{
    return text ? cel_map_set(options, name, cel_text(text)) : 0;
}

static int set_times(struct cel_value *options, const struct cel_call *call)
{
    int status[] = {
        set(options, "countdown", call->countdown, seconds(call->countdown)),
        set(options, "eta", call->eta_wall, moment(call->eta_wall)),
        set(options, "expires", call->expires_in, seconds(call->expires_in)),
        set(options, "expires", call->expires_wall, moment(call->expires_wall)),
        set(options, "time_limit", call->hard_limit, seconds(call->hard_limit)),
        set(options, "soft_time_limit", call->soft_limit, seconds(call->soft_limit)),
    };
    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        if (status[i] < 0)
            return status[i];
    }
    return 0;
}

static int set_options(struct cel_value *options, const struct cel_call *call)
{
    int status[] = {
        set_text(options, "task_id", call->id),
        set_text(options, "queue", call->queue),
        set_text(options, "shadow", call->shadow),
        set(options, "priority", call->priority, cel_int(call->priority)),
        set(options, "retries", call->retries, cel_int(call->retries)),
        set(options, "ignore_result", call->ignore_result, cel_bool(true)),
        set_text(options, "serializer", call->serializer == CEL_MSGPACK ? "msgpack" : NULL),
        set_text(options, "compression", call->compression == CEL_ZLIB ? "zlib" : NULL),
        set_times(options, call),
    };
    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        if (status[i] < 0)
            return status[i];
    }
    return 0;
}

static int value_of_call(const struct cel_call *call, struct cel_value **ret, struct cel_error *err)
{
    struct cel_value *args = NULL, *kwargs = NULL, *headers = NULL, *options = cel_map();
    int r = call->error.code ? error_set(err, call->error.code, "%s", call->error.text) : 0;
    if (r == 0)
        r = copy_value(call, call->args, &args, err);
    if (r == 0)
        r = copy_value(call, call->kwargs, &kwargs, err);
    if (r == 0 && call->headers)
        r = copy_value(call, call->headers, &headers, err);
    if (r == 0 && (!options || set_options(options, call) < 0))
        r = error_no_memory(err);
    if (r == 0 && headers) {
        r = cel_map_set(options, "headers", headers) < 0 ? error_no_memory(err) : 0;
        headers = NULL;
    }
    if (r == 0) {
        *ret = signature_new(str_of(call->name), args, kwargs, options, SIGNATURE_TASK);
        return *ret ? 0 : error_no_memory(err);
    }
    cel_value_free(args);
    cel_value_free(kwargs);
    cel_value_free(headers);
    cel_value_free(options);
    return r;
}

struct cel_signature *cel_signature(struct cel_call *call)
{
    struct cel_signature *signature = call ? mem_new(struct cel_signature) : NULL;
    if (signature && value_of_call(call, &signature->value, &signature->error) < 0)
        signature->value = NULL;
    cel_call_free(call);
    return signature;
}

/* --- composition ------------------------------------------------------------------------------ */

static struct cel_signature *several(struct str task, enum signature_type type)
{
    struct cel_value *kwargs = cel_map();
    if (cel_map_set(kwargs, "tasks", cel_list()) < 0)
        kwargs = cel_value_free(kwargs);
    return wrap(signature_new(task, cel_list(), kwargs, cel_map(), type));
}

struct cel_signature *cel_chain(void)
{
    return several(STR("celery.chain"), SIGNATURE_CHAIN);
}

struct cel_signature *cel_group(void)
{
    return several(STR("celery.group"), SIGNATURE_GROUP);
}

struct cel_signature *cel_chord(struct cel_signature *header, struct cel_signature *body)
{
    struct cel_value *kwargs = cel_map();
    if (cel_map_set(kwargs, "kwargs", cel_map()) < 0)
        kwargs = cel_value_free(kwargs);
    struct cel_signature *chord =
        wrap(signature_new(STR("celery.chord"), cel_list(), kwargs, cel_map(), SIGNATURE_CHORD));
    if (!chord) {
        cel_signature_free(header);
        return cel_signature_free(body);
    }
    if (header && !header->error.code && signature_type(header->value) != SIGNATURE_GROUP) {
        struct cel_signature *one = header;
        header = cel_group();
        if (header)
            cel_signature_add(header, one);
        else
            cel_signature_free(one);
    }
    struct cel_value *tasks = take(header, chord), *after = take(body, chord);
    kwargs = (struct cel_value *)signature_kwargs(chord->value); /* none after an error */
    int r = cel_map_set(kwargs, "header", tasks);
    int q = cel_map_set(kwargs, "body", after);
    if ((r < 0 || q < 0) && !chord->error.code)
        keep_no_memory(chord);
    return chord;
}

static struct cel_signature *mapped(struct str task,
                                    enum signature_type type,
                                    struct cel_signature *of,
                                    struct cel_value *it,
                                    struct cel_value *n)
{
    struct cel_signature *map = wrap(signature_new(task, cel_list(), cel_map(), cel_map(), type));
    if (!map) {
        cel_signature_free(of);
        cel_value_free(it);
        cel_value_free(n);
        return NULL;
    }
    struct cel_value *one = take(of, map);
    struct cel_value *kwargs = (struct cel_value *)signature_kwargs(map->value);
    int r = cel_map_set(kwargs, "task", one);
    bool is_list = !it || cel_value_type(it) == CEL_LIST;
    int q = cel_map_set(kwargs, "it", it);
    if (q == 0 && n)
        q = cel_map_set(kwargs, "n", n);
    else
        cel_value_free(n);
    if (q == 0)
        q = cel_map_set(map->value, "immutable", cel_bool(true));
    if ((r < 0 || q < 0) && !map->error.code)
        keep_no_memory(map);
    if (!is_list)
        refuse(map, "What is mapped over is a list");
    return map;
}

struct cel_signature *cel_xmap(struct cel_signature *signature, struct cel_value *it)
{
    return mapped(STR("celery.map"), SIGNATURE_MAP, signature, it, NULL);
}

struct cel_signature *cel_xstarmap(struct cel_signature *signature, struct cel_value *it)
{
    return mapped(STR("celery.starmap"), SIGNATURE_STARMAP, signature, it, NULL);
}

struct cel_signature *cel_chunks(struct cel_signature *signature, struct cel_value *it, int64_t n)
{
    struct cel_signature *chunks =
        mapped(STR("celery.chunks"), SIGNATURE_CHUNKS, signature, it, cel_int(n));
    if (chunks && n < 1)
        refuse(chunks, "The length of chunks is a number from 1");
    return chunks;
}

void cel_signature_add(struct cel_signature *to, struct cel_signature *member)
{
    if (!to || to == member) {
        if (to)
            refuse(to, "A signature cannot be within itself");
        else
            cel_signature_free(member);
        return;
    }
    struct cel_value *value = take(member, to);
    const struct cel_value *tasks = signature_type(to->value) == SIGNATURE_CHORD
                                        ? signature_header(to->value)
                                        : signature_tasks(to->value);
    if (to->error.code)
        cel_value_free(value);
    else if (!tasks) {
        cel_value_free(value);
        refuse(to, "Signatures are added to chains, groups and chords");
    } else if (cel_list_add((struct cel_value *)tasks, value) < 0)
        keep_no_memory(to);
}

/* --- what else is said of one ------------------------------------------------------------------ */

static void add_link(struct cel_signature *signature, const char *name, struct cel_signature *link)
{
    if (!signature || signature == link) {
        if (signature)
            refuse(signature, "A signature cannot be within itself");
        else
            cel_signature_free(link);
        return;
    }
    struct cel_value *value = take(link, signature);
    if (signature->error.code) {
        cel_value_free(value);
        return;
    }
    struct cel_value *links = (struct cel_value *)signature_option(signature->value, str_of(name));
    if (cel_value_type(links) == CEL_MAP) { /* one alone, in what was read from JSON */
        struct cel_value *list = cel_list();
        int r = cel_list_add(list, cel_value_dup(links));
        links = r == 0 ? list : cel_value_free(list);
        if (signature_set(signature->value, str_of(name), links) < 0)
            links = NULL;
    } else if (cel_value_type(links) != CEL_LIST) {
        links = cel_list();
        if (signature_set(signature->value, str_of(name), links) < 0)
            links = NULL;
    }
    if (cel_list_add(links, value) < 0)
        keep_no_memory(signature);
}

void cel_link(struct cel_signature *signature, struct cel_signature *callback)
{
    add_link(signature, "link", callback);
}

void cel_link_error(struct cel_signature *signature, struct cel_signature *errback)
{
    add_link(signature, "link_error", errback);
}

void cel_immutable(struct cel_signature *signature)
{
    if (signature && !signature->error.code &&
        cel_map_set(signature->value, "immutable", cel_bool(true)) < 0)
        keep_no_memory(signature);
}

void cel_signature_set(struct cel_signature *signature, const char *option, struct cel_value *value)
{
    if (!signature || signature->error.code) {
        cel_value_free(value);
    } else if (!option || !*option || !str_is_utf8(str_of(option))) {
        cel_value_free(value);
        refuse(signature, "The name of an option is UTF-8 text");
    } else if (signature_set(signature->value, str_of(option), value) < 0) {
        keep_no_memory(signature);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

char *cel_signature_to_json(const struct cel_signature *signature)
{
    return signature && !signature->error.code ? cel_value_to_json(signature->value) : NULL;
}

int cel_signature_from_json(const char *json,
                            size_t length,
                            struct cel_signature **ret_signature,
                            struct cel_error *err)
{
    struct cel_value *value = NULL;
    if (!json || !ret_signature)
        return error_set(err, -EINVAL, "The text of the signature is NULL, or has no place to go");
    int r = json_decode(str_n(json, length), &value, err);
    if (r == 0)
        r = signature_check(value, err);
    if (r < 0) {
        cel_value_free(value);
        return r;
    }
    struct cel_signature *signature = wrap(value);
    if (!signature)
        return error_no_memory(err);
    *ret_signature = signature;
    return 0;
}
