/*
 * Binding follows CPython's order of steps (initialize_locals in ceval.c), because the order
 * decides which of several mistakes is told: positional arguments to their places, keywords to
 * theirs (unknown ones, double ones), too many positional ones, missing positional ones, missing
 * keyword-only ones.
 */
#include "child/params.h"

#include <errno.h>

#include "core/buf.h"
#include "core/json.h"
#include "core/mem.h"

/* --- parsing ---------------------------------------------------------------------------------- */

struct parser {
    struct params *params;
    struct str rest;
    size_t cap;
    bool keyword_only; /* after * or *x */
    struct cel_error *err;
};

static bool is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        if (!letter && (!digit || i == 0))
            return false;
    }
    return text.len > 0 && str_is_utf8(text);
}

/* Cuts the next parameter off, up to a comma that stands in no string, list or map of a default. */
static struct str next_parameter(struct str *rest)
{
    size_t depth = 0, at = 0;
    bool quoted = false;
    for (; at < rest->len; at++) {
        char c = rest->ptr[at];
        if (quoted) {
            at += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',' && depth == 0) {
            break;
        }
    }
    at = at < rest->len ? at : rest->len;
    struct str part = str_trim(str_n(rest->ptr, at));
    size_t used = at < rest->len ? at + 1 : at;
    *rest = str_n(rest->ptr + used, rest->len - used);
    return part;
}

static int refuse(struct parser *parser, struct str part, const char *why)
{
    return error_set(parser->err, CEL_E_CONFIG, "parameter \"" STR_FORMAT "\": %s", STR_ARGS(part),
                     why);
}

static bool is_taken(const struct params *params, struct str name)
{
    for (size_t i = 0; i < params->count; i++) {
        if (str_equal(params->items[i].name, name))
            return true;
    }
    return str_equal(params->rest, name) || str_equal(params->rest_named, name);
}

static int add_item(struct parser *parser, struct str name, struct cel_value *otherwise)
{
    struct params *params = parser->params;
    if (params->count == parser->cap) {
        size_t cap = parser->cap ? 2 * parser->cap : 8;
        struct param *items = mem_grow(params->items, cap, sizeof(*items));
        if (!items) {
            cel_value_free(otherwise);
            return error_no_memory(parser->err);
        }
        params->items = items;
        parser->cap = cap;
    }
    params->items[params->count++] = (struct param){name, otherwise};
    params->positional += !parser->keyword_only;
    return 0;
}

static int parse_plain(struct parser *parser, struct str part)
{
    const struct params *params = parser->params;
    struct str value = part, name;
    bool has_default = memchr(part.ptr, '=', part.len) != NULL;
    if (!str_split(&value, '=', &name) || !is_name(str_trim(name)))
        return refuse(parser, part, "not a name");
    name = str_trim(name);
    if (is_taken(params, name))
        return refuse(parser, part, "the name is used twice");
    if (!has_default) {
        bool after_default = params->count > 0 && params->items[params->count - 1].otherwise;
        if (after_default && !parser->keyword_only)
            return refuse(parser, part, "no default after a parameter with a default");
        return add_item(parser, name, NULL);
    }
    struct cel_value *otherwise;
    int r = json_decode(str_trim(value), &otherwise, parser->err);
    if (r == -ENOMEM)
        return r;
    if (r)
        return refuse(parser, part, "the default is not JSON");
    return add_item(parser, name, otherwise);
}

static int parse_starred(struct parser *parser, struct str part)
{
    struct params *params = parser->params;
    bool named = str_starts(part, STR("**"));
    struct str name = str_trim(str_n(part.ptr + (named ? 2 : 1), part.len - (named ? 2 : 1)));
    if (!named && parser->keyword_only)
        return refuse(parser, part, "there is a * already");
    bool bare = !named && name.len == 0;
    if (!bare && (!is_name(name) || is_taken(params, name)))
        return refuse(parser, part, "not a name of its own");
    if (named)
        params->rest_named = name;
    else if (!bare)
        params->rest = name;
    parser->keyword_only = true;
    if (bare && !str_trim(parser->rest).len)
        return refuse(parser, part, "no parameter after it");
    return 0;
}

static int parse_all(struct parser *parser)
{
    while (str_trim(parser->rest).len > 0) {
        struct str part = next_parameter(&parser->rest);
        if (parser->params->rest_named.ptr)
            return refuse(parser, part, "nothing may follow **");
        bool starred = part.len > 0 && part.ptr[0] == '*';
        int r = starred ? parse_starred(parser, part) : parse_plain(parser, part);
        if (r)
            return r;
    }
    return 0;
}

int params_parse(const char *text, struct params **ret, struct cel_error *err)
{
    struct params *params = mem_new(struct params);
    if (!params)
        return error_no_memory(err);
    params->text = str_dup(str_of(text));
    if (!params->text) {
        params_free(params);
        return error_no_memory(err);
    }
    struct parser parser = {.params = params, .rest = str_of(params->text), .err = err};
    int r = parse_all(&parser);
    if (r) {
        params_free(params);
        return r;
    }
    *ret = params;
    return 0;
}

struct params *params_free(struct params *params)
{
    if (!params)
        return NULL;
    for (size_t i = 0; i < params->count; i++)
        cel_value_free(params->items[i].otherwise);
    mem_free(params->items);
    mem_free(params->text);
    mem_free(params);
    return NULL;
}

/* --- texts ------------------------------------------------------------------------------------ */

static int type_error(struct cel_error *err, struct str function, const struct buf *rest)
{
    error_set(err, -EINVAL, STR_FORMAT "() %s", STR_ARGS(function),
              rest->ptr ? rest->ptr : "has wrong arguments");
    return PARAMS_E_TYPE;
}

/* "'x'", "'x' and 'y'", "'x', 'y', and 'z'" */
static void add_missing_names(
    struct buf *buf, const struct params_bound *bound, size_t from, size_t to, size_t missing)
{
    size_t seen = 0;
    for (size_t i = from; i < to; i++) {
        if (bound->values[i])
            continue;
        seen++;
        if (seen > 1)
            buf_add_c(buf, missing == 2 ? " and " : seen == missing ? ", and " : ", ");
        buf_addf(buf, "'" STR_FORMAT "'", STR_ARGS(bound->params->items[i].name));
    }
}

static int check_missing(const struct params_bound *bound,
                         size_t from,
                         size_t to,
                         const char *kind,
                         struct str function,
                         struct cel_error *err)
{
    size_t missing = 0;
    for (size_t i = from; i < to; i++)
        missing += !bound->values[i];
    if (missing == 0)
        return 0;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    buf_addf(&buf, "missing %zu required %s argument%s: ", missing, kind, missing == 1 ? "" : "s");
    add_missing_names(&buf, bound, from, to, missing);
    return type_error(err, function, &buf);
}

static int
too_many(const struct params_bound *bound, size_t given, struct str function, struct cel_error *err)
{
    const struct params *params = bound->params;
    size_t required = 0, keywords = 0;
    for (size_t i = 0; i < params->positional; i++)
        required += !params->items[i].otherwise;
    for (size_t i = params->positional; i < params->count; i++)
        keywords += bound->values[i] != NULL;
    bool defaults = required < params->positional;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    buf_add_c(&buf, "takes ");
    if (defaults)
        buf_addf(&buf, "from %zu to ", required);
    buf_addf(&buf, "%zu positional argument%s but %zu", params->positional,
             defaults || params->positional != 1 ? "s" : "", given);
    if (keywords > 0)
        buf_addf(&buf, " positional argument%s (and %zu keyword-only argument%s)",
                 given != 1 ? "s" : "", keywords, keywords != 1 ? "s" : "");
    buf_add_c(&buf, given == 1 && keywords == 0 ? " was given" : " were given");
    return type_error(err, function, &buf);
}

/* --- binding ---------------------------------------------------------------------------------- */

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool find_item(const struct params *params, struct str name, size_t *ret_index)
{
    for (size_t i = 0; i < params->count; i++) {
        if (str_equal(params->items[i].name, name)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* What is left over for *x: all of `args` when no parameter stands before it. */
static int bind_rest(struct params_bound *bound, const struct cel_value *args)
{
    size_t taken = bound->params->positional, count = cel_value_count(args);
    if (taken == 0) {
        bound->rest = args;
        return 0;
    }
    struct cel_value *rest = bound->own_rest = cel_list();
    int r = rest ? 0 : -ENOMEM;
    for (size_t i = taken; !r && i < count; i++)
        r = cel_list_add(rest, cel_value_dup(cel_value_at(args, i)));
    bound->rest = rest;
    return r;
}

static int bind_keyword(struct params_bound *bound,
                        struct str key,
                        const struct cel_value *value,
                        struct str function,
                        struct cel_error *err)
{
    const struct params *params = bound->params;
    size_t i;
    if (!find_item(params, key, &i)) {
        if (params->rest_named.ptr)
            return value_set(bound->own_rest_named, key, cel_value_dup(value));
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
        buf_addf(&buf, "got an unexpected keyword argument '" STR_FORMAT "'", STR_ARGS(key));
        return type_error(err, function, &buf);
    }
    if (bound->values[i]) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
        buf_addf(&buf, "got multiple values for argument '" STR_FORMAT "'", STR_ARGS(key));
        return type_error(err, function, &buf);
    }
    bound->values[i] = value;
    return 0;
}

/* What no parameter takes is left over for **x: all of `kwargs` when there is no parameter. */
static int bind_keywords(struct params_bound *bound,
                         struct str function,
                         const struct cel_value *kwargs,
                         struct cel_error *err)
{
    bool keep_rest = bound->params->rest_named.ptr != NULL;
    if (keep_rest && bound->params->count == 0) {
        bound->rest_named = kwargs;
        return 0;
    }
    if (keep_rest && !(bound->own_rest_named = cel_map()))
        return -ENOMEM;
    bound->rest_named = bound->own_rest_named;
    int r = 0;
    for (size_t i = 0; !r && i < kwargs->map.count; i++)
        r = bind_keyword(bound, kwargs->map.pairs[i].key, kwargs->map.pairs[i].value, function,
                         err);
    return r;
}

static int bind_all(struct params_bound *bound,
                    struct str function,
                    const struct cel_value *args,
                    const struct cel_value *kwargs,
                    struct cel_error *err)
{
    const struct params *params = bound->params;
    size_t given = cel_value_count(args), placed = min_size(given, params->positional);
    for (size_t i = 0; i < placed; i++)
        bound->values[i] = cel_value_at(args, i);
    int r = params->rest.ptr ? bind_rest(bound, args) : 0;
    if (!r)
        r = bind_keywords(bound, function, kwargs, err);
    if (!r && given > params->positional && !params->rest.ptr)
        r = too_many(bound, given, function, err);
    for (size_t i = 0; i < params->count; i++) {
        if (!bound->values[i])
            bound->values[i] = params->items[i].otherwise;
    }
    if (!r)
        r = check_missing(bound, 0, params->positional, "positional", function, err);
    if (!r)
        r = check_missing(bound, params->positional, params->count, "keyword-only", function, err);
    return r;
}

int params_bind(const struct params *params,
                struct str function,
                const struct cel_value *args,
                const struct cel_value *kwargs,
                struct params_bound *ret,
                struct cel_error *err)
{
    struct params_bound bound = {.params = params};
    bound.values = mem_array(params->count, sizeof(*bound.values));
    int r = bound.values ? bind_all(&bound, function, args, kwargs, err) : -ENOMEM;
    if (r) {
        params_bound_deinit(&bound);
        return r == -ENOMEM ? error_no_memory(err) : r;
    }
    *ret = bound;
    return 0;
}

void params_bound_deinit(struct params_bound *bound)
{
    if (!bound)
        return;
    mem_free(bound->values);
    cel_value_free(bound->own_rest);
    cel_value_free(bound->own_rest_named);
    *bound = (struct params_bound){0};
}

const struct cel_value *params_bound_find(const struct params_bound *bound, struct str name)
{
    const struct params *params = bound->params;
    size_t i;
    if (find_item(params, name, &i))
        return bound->values[i];
    if (params->rest.ptr && str_equal(params->rest, name))
        return bound->rest;
    if (params->rest_named.ptr && str_equal(params->rest_named, name))
        return bound->rest_named;
    return NULL;
}
