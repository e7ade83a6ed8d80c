/*
 * Reading signatures as every client writes them: what is missing is none, null is none. Whatever is
 * of a wrong type is found by signature_check, once, before anything else looks.
 */
#include "canvas/signature.h"

#include <errno.h>
#include <stdio.h>

#include "canvas/plan.h"
#include "core/mem.h"
#include "message/envelope.h"

/* --- readers ---------------------------------------------------------------------------------- */

static const struct cel_value *
get_typed(const struct cel_value *map, struct str key, enum cel_type type)
{
    const struct cel_value *value = value_find(map, key);
    return cel_value_type(value) == type ? value : NULL;
}

enum signature_type signature_type(const struct cel_value *signature)
{
    static const struct {
        struct str name;
        enum signature_type type;
    } types[] = {
        {STR("chain"), SIGNATURE_CHAIN},      {STR("group"), SIGNATURE_GROUP},
        {STR("chord"), SIGNATURE_CHORD},      {STR("xmap"), SIGNATURE_MAP},
        {STR("xstarmap"), SIGNATURE_STARMAP}, {STR("chunks"), SIGNATURE_CHUNKS},
    };
    struct str name = value_str(value_find(signature, STR("subtask_type")));
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (str_equal(name, types[i].name))
            return types[i].type;
    }
    return SIGNATURE_TASK;
}

struct str signature_task(const struct cel_value *signature)
{
    return value_str(value_find(signature, STR("task")));
}

bool signature_is_immutable(const struct cel_value *signature)
{
    return cel_value_bool(value_find(signature, STR("immutable")), false);
}

const struct cel_value *signature_args(const struct cel_value *signature)
{
    return get_typed(signature, STR("args"), CEL_LIST);
}

const struct cel_value *signature_kwargs(const struct cel_value *signature)
{
    return get_typed(signature, STR("kwargs"), CEL_MAP);
}

const struct cel_value *signature_options(const struct cel_value *signature)
{
    return get_typed(signature, STR("options"), CEL_MAP);
}

const struct cel_value *signature_option(const struct cel_value *signature, struct str name)
{
    const struct cel_value *value = value_find(signature_options(signature), name);
    return cel_value_type(value) == CEL_NULL ? NULL : value;
}

struct str signature_option_text(const struct cel_value *signature, struct str name)
{
    return value_str(signature_option(signature, name));
}

const struct cel_value *signature_tasks(const struct cel_value *signature)
{
    return get_typed(signature_kwargs(signature), STR("tasks"), CEL_LIST);
}

const struct cel_value *signature_header(const struct cel_value *chord)
{
    const struct cel_value *header = value_find(signature_kwargs(chord), STR("header"));
    return cel_value_type(header) == CEL_MAP    ? signature_tasks(header)
           : cel_value_type(header) == CEL_LIST ? header
                                                : NULL;
}

const struct cel_value *signature_header_options(const struct cel_value *chord)
{
    return signature_options(value_find(signature_kwargs(chord), STR("header")));
}

const struct cel_value *signature_body(const struct cel_value *chord)
{
    return get_typed(signature_kwargs(chord), STR("body"), CEL_MAP);
}

/* --- the check -------------------------------------------------------------------------------- */

/* One look at a canvas; `place` is where it stands: "tasks[1].body". */
struct look {
    struct buf place;
    size_t count;
    struct cel_error *err;
};

enum {
    PLACE_MAX = 256,
    VALUE_DEPTH_SPARE = 8
}; /* deeper ones cannot be written within a message */

__attribute__((format(printf, 3, 4))) static int
complain(struct look *look, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_setv(look->err, code, format, args);
    va_end(args);
    if (look->place.len > 0)
        error_wrap(look->err, "In " STR_FORMAT " of the canvas", STR_ARGS(buf_str(&look->place)));
    return code;
}

static int check(struct look *look, const struct cel_value *signature, unsigned depth);

/* `signature` under the name `at` of the one being looked at. */
static int
check_at(struct look *look, const struct cel_value *signature, const char *at, unsigned depth)
{
    size_t len = look->place.len;
    buf_add_c(&look->place, len > 0 ? "." : "");
    buf_add_c(&look->place, at);
    int r = check(look, signature, depth + 1);
    look->place.status = 0; /* a place too long to be told whole is told in part */
    look->place.len = len;
    return r;
}

/* Each of `list`, under `name`; `owner` says what the list is when it is none. */
static int
check_list(struct look *look, const struct cel_value *list, const char *name, unsigned depth)
{
    char at[64];
    for (size_t i = 0; i < cel_value_count(list); i++) {
        snprintf(at, sizeof(at), "%s[%zu]", name, i);
        int r = check_at(look, cel_value_at(list, i), at, depth);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_none_or(const struct cel_value *value, enum cel_type type)
{
    return cel_value_type(value) == CEL_NULL || cel_value_type(value) == type;
}

static int check_links(struct look *look, const struct cel_value *signature, unsigned depth)
{
    static const char *const names[] = {"link", "link_error", "chain"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
        const struct cel_value *links = signature_option(signature, str_of(names[i]));
        if (cel_value_type(links) == CEL_MAP)
            r = check_at(look, links, names[i], depth);
        else if (is_none_or(links, CEL_LIST))
            r = check_list(look, links, names[i], depth);
        else
            r = complain(look, CEL_E_FORMAT, "The option %s is no list of signatures", names[i]);
    }
    const struct cel_value *chord = signature_option(signature, STR("chord"));
    return r == 0 && chord ? check_at(look, chord, "chord", depth) : r;
}

static int check_tasks(struct look *look, const struct cel_value *signature, unsigned depth)
{
    if (!signature_tasks(signature))
        return complain(look, CEL_E_FORMAT, "A chain or a group has no list of tasks");
    return check_list(look, signature_tasks(signature), "tasks", depth);
}

static int check_chord(struct look *look, const struct cel_value *chord, unsigned depth)
{
    const struct cel_value *header = value_find(signature_kwargs(chord), STR("header"));
    if (!signature_header(chord))
        return complain(look, CEL_E_FORMAT, "A chord has no list of tasks as its header");
    if (!signature_body(chord))
        return complain(look, CEL_E_FORMAT, "A chord has no body");
    if (cel_value_type(header) == CEL_MAP &&
        !is_none_or(value_find(header, STR("options")), CEL_MAP))
        return complain(look, CEL_E_FORMAT, "The options of a header are no object");
    int r = check_list(look, signature_header(chord), "header", depth);
    return r == 0 ? check_at(look, signature_body(chord), "body", depth) : r;
}

static int check_map(struct look *look, const struct cel_value *map, unsigned depth)
{
    const struct cel_value *kwargs = signature_kwargs(map), *n = value_find(kwargs, STR("n"));
    if (!get_typed(kwargs, STR("it"), CEL_LIST))
        return complain(look, CEL_E_FORMAT, "A map has no list of arguments (\"it\")");
    if (signature_type(map) == SIGNATURE_CHUNKS && cel_value_int(n, 0) < 1)
        return complain(look, CEL_E_FORMAT, "The length of chunks (\"n\") is a number from 1");
    return check_at(look, value_find(kwargs, STR("task")), "task", depth);
}

static int check_name(struct look *look, const struct cel_value *signature)
{
    struct str task = signature_task(signature);
    struct str id = signature_option_text(signature, STR("task_id"));
    if (task.len == 0)
        return complain(look, CEL_E_FORMAT, "A signature has no task");
    if (task.len > TASK_NAME_MAX)
        return complain(look, CEL_E_LIMIT, "The name of a task is longer than %d bytes",
                        TASK_NAME_MAX);
    if (memchr(task.ptr, 0, task.len) || (id.len > 0 && memchr(id.ptr, 0, id.len)))
        return complain(look, CEL_E_FORMAT, "A task's name or id has a zero byte in it");
    if (id.len > TASK_ID_MAX)
        return complain(look, CEL_E_LIMIT, "A task id is longer than %d bytes", TASK_ID_MAX);
    return 0;
}

static int check_shape(struct look *look, const struct cel_value *signature, unsigned depth)
{
    if (cel_value_type(signature) != CEL_MAP)
        return complain(look, CEL_E_FORMAT, "A signature is an object, not %s",
                        cel_type_name(cel_value_type(signature)));
    if (depth > CANVAS_DEPTH_MAX)
        return complain(look, CEL_E_LIMIT, "A canvas is at most %d signatures deep",
                        CANVAS_DEPTH_MAX);
    if (++look->count > PLAN_MESSAGES_MAX)
        return complain(look, CEL_E_LIMIT, "A canvas has at most %d signatures", PLAN_MESSAGES_MAX);
    if (!is_none_or(value_find(signature, STR("args")), CEL_LIST))
        return complain(look, CEL_E_FORMAT, "The args of a signature are no list");
    if (!is_none_or(value_find(signature, STR("kwargs")), CEL_MAP))
        return complain(look, CEL_E_FORMAT, "The kwargs of a signature are no object");
    if (!is_none_or(value_find(signature, STR("options")), CEL_MAP))
        return complain(look, CEL_E_FORMAT, "The options of a signature are no object");
    return check_name(look, signature);
}

static int check(struct look *look, const struct cel_value *signature, unsigned depth)
{
    int r = check_shape(look, signature, depth);
    if (r == 0)
        r = check_links(look, signature, depth);
    if (r < 0)
        return r;
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
    case SIGNATURE_GROUP:
        return check_tasks(look, signature, depth);
    case SIGNATURE_CHORD:
        return check_chord(look, signature, depth);
    case SIGNATURE_MAP:
    case SIGNATURE_STARMAP:
    case SIGNATURE_CHUNKS:
        return check_map(look, signature, depth);
    case SIGNATURE_TASK:
        break;
    }
    return 0;
}

static bool is_within(const struct cel_value *value, unsigned depth)
{
    bool is_container = cel_value_type(value) == CEL_LIST || cel_value_type(value) == CEL_MAP;
    if (is_container && depth == 0)
        return false;
    for (size_t i = 0; is_container && i < cel_value_count(value); i++) {
        if (!is_within(cel_value_at(value, i), depth - 1))
            return false;
    }
    return true;
}

int signature_check_depth(const struct cel_value *signature, struct cel_error *err)
{
    if (is_within(signature, VALUE_DEPTH_MAX - VALUE_DEPTH_SPARE))
        return 0;
    return error_set(err, CEL_E_LIMIT,
                     "A canvas is nested too deep: lists and objects stand more than %d deep in it",
                     VALUE_DEPTH_MAX - VALUE_DEPTH_SPARE);
}

int signature_check(const struct cel_value *signature, struct cel_error *err)
{
    struct look look = {.place = BUF_INIT(PLACE_MAX), .err = err};
    int r = signature_check_depth(signature, err);
    if (r == 0)
        r = check(&look, signature, 0);
    buf_deinit(&look.place);
    return r;
}

/* --- copies ----------------------------------------------------------------------------------- */

int signature_set(struct cel_value *signature, struct str name, struct cel_value *value)
{
    struct cel_value *options = (struct cel_value *)signature_options(signature);
    if (!options && value) {
        options = cel_map();
        if (value_set(signature, STR("options"), options) < 0)
            options = NULL;
    }
    if (!options) {
        cel_value_free(value);
        return -ENOMEM;
    }
    return value_set(options, name, value);
}

int signature_overlay(struct cel_value *signature, const struct cel_value *overlay)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(overlay); i++) {
        struct str name = overlay->map.pairs[i].key;
        const struct cel_value *value = overlay->map.pairs[i].value;
        bool stays = str_equal(name, STR("group_id")) && signature_option(signature, name);
        if (cel_value_type(value) != CEL_NULL && !stays)
            r = signature_set(signature, name, cel_value_dup(value));
    }
    return r;
}

int signature_complete(struct cel_value *signature)
{
    int r = 0;
    if (!signature_args(signature))
        r = value_set(signature, STR("args"), cel_list());
    if (r == 0 && !signature_kwargs(signature))
        r = value_set(signature, STR("kwargs"), cel_map());
    if (r == 0 && !signature_options(signature))
        r = value_set(signature, STR("options"), cel_map());
    if (r == 0 && !value_find(signature, STR("subtask_type")))
        r = value_set(signature, STR("subtask_type"), cel_null());
    if (r == 0 && !value_find(signature, STR("immutable")))
        r = value_set(signature, STR("immutable"), cel_bool(false));
    return r;
}

struct cel_value *signature_dup(const struct cel_value *signature, const struct cel_value *overlay)
{
    struct cel_value *copy = cel_value_dup(signature);
    if (!copy || signature_complete(copy) < 0 || signature_overlay(copy, overlay) < 0)
        return cel_value_free(copy);
    return copy;
}

static struct cel_value *type_name(enum signature_type type)
{
    static const char *const names[] = {
        [SIGNATURE_CHAIN] = "chain",      [SIGNATURE_GROUP] = "group",
        [SIGNATURE_CHORD] = "chord",      [SIGNATURE_MAP] = "xmap",
        [SIGNATURE_STARMAP] = "xstarmap", [SIGNATURE_CHUNKS] = "chunks",
    };
    return type == SIGNATURE_TASK ? cel_null() : cel_text(names[type]);
}

struct cel_value *signature_new(struct str task,
                                struct cel_value *args,
                                struct cel_value *kwargs,
                                struct cel_value *options,
                                enum signature_type type)
{
    struct cel_value *signature = cel_map();
    int status[] = {
        value_set(signature, STR("task"), value_text(task)),
        value_set(signature, STR("args"), args),
        value_set(signature, STR("kwargs"), kwargs),
        value_set(signature, STR("options"), options),
        value_set(signature, STR("subtask_type"), type_name(type)),
        value_set(signature, STR("immutable"), cel_bool(false)),
    };
    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        if (status[i] < 0)
            return cel_value_free(signature);
    }
    return signature;
}
