/*
 * celeriac call NAME [ARG...] [--keyword=value...] [--option...]
 *
 * The command line is sorted three times: the verb's own options (--countdown ...) and the
 * program's
 * (--broker ...) are taken out first; what is left holds the task's name, its arguments and, since
 * any other --flag is a keyword argument, its keywords. A word is JSON when it parses as JSON, else
 * text. Behind "--" everything is an argument.
 */
#include <errno.h>
#include <stdlib.h>

#include "celeriac/client.h"
#include "cli/result.h"
#include "cli/verbs.h"
#include "message/call.h"
#include "message/compression.h"

struct request {
    usec_t countdown, eta_wall, expires_in, expires_wall, wait_limit, dedupe; /* 0: not given */
    const char *queue, *id, *exchange, *routing_key;
    int64_t priority; /* -1: not given */
    int64_t confirm_replicas;
    bool ignore_result, wait, confirm_disk;
    enum cel_serializer serializer;
    enum cel_compression compression;
    struct cel_value *args, *kwargs, *headers;
};

/* --- values ----------------------------------------------------------------------------------- */

/* JSON when `word` is JSON, else text; NULL for text that is not UTF-8. */
static struct cel_value *value_of(const char *word)
{
    struct cel_value *value = NULL;
    if (cel_value_from_json(word, strlen(word), &value, NULL) == 0)
        return value;
    return cel_text(word);
}

static int add_arg(struct request *request, const char *word, struct cel_error *err)
{
    if (cel_list_add(request->args, value_of(word)))
        return error_set(err, CEL_E_CONFIG, "argument %zu is not UTF-8 text",
                         cel_value_count(request->args) + 1);
    return 0;
}

/* `map[name] = word` (absent: true), once. */
static int set_once(struct cel_value *map, struct str name, const char *word, struct cel_error *err)
{
    char *key = str_dup(name);
    if (!key)
        return error_no_memory(err);
    int status = 0;
    if (!*key)
        status = error_set(err, CEL_E_CONFIG, "a keyword has no name");
    else if (cel_value_get(map, key))
        status = error_set(err, CEL_E_CONFIG, "%s is given twice", key);
    else if (cel_map_set(map, key, word ? value_of(word) : cel_bool(true)))
        status = error_set(err, CEL_E_CONFIG, "the value of %s is not UTF-8 text", key);
    free(key);
    return status;
}

/* "--dry-run" is the keyword dry_run. */
static int
add_keyword(struct request *request, struct str name, const char *word, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(SIZE_MAX);
    for (size_t i = 0; i < name.len; i++)
        buf_add_char(&key, name.ptr[i] == '-' ? '_' : name.ptr[i]);
    buf_add(&key, "", 0);
    return set_once(request->kwargs, buf_str(&key), word, err);
}

/* --- the verb's own options ------------------------------------------------------------------- */

static int take_duration(const char *flag, const char *value, usec_t *ret, struct cel_error *err)
{
    if (str_parse_duration(str_of(value), ret))
        return error_set(err, CEL_E_CONFIG,
                         "--%s: \"%s\" is not a duration (250ms, 30s, 5min, 2h, 1d)", flag, value);
    return 0;
}

static int take_moment(const char *flag, const char *value, usec_t *ret, struct cel_error *err)
{
    if (isotime_parse(str_of(value), ret))
        return error_set(err, CEL_E_CONFIG,
                         "--%s: \"%s\" is not a time (2030-01-31T12:00:00+00:00)", flag, value);
    return 0;
}

static int take_countdown(void *data, const char *value, struct cel_error *err)
{
    return take_duration("countdown", value, &((struct request *)data)->countdown, err);
}

static int take_eta(void *data, const char *value, struct cel_error *err)
{
    return take_moment("eta", value, &((struct request *)data)->eta_wall, err);
}

static int take_expires(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    if (str_parse_duration(str_of(value), &request->expires_in) == 0)
        return 0;
    return take_moment("expires", value, &request->expires_wall, err);
}

static int take_exchange(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct request *)data)->exchange = value;
    return 0;
}

static int take_routing_key(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct request *)data)->routing_key = value;
    return 0;
}

static int take_queue(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct request *)data)->queue = value;
    return 0;
}

static int take_priority(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    if (str_parse_i64(str_of(value), &request->priority) || request->priority < 0 ||
        request->priority > 9)
        return error_set(err, CEL_E_CONFIG, "--priority: \"%s\" is not between 0 (first) and 9",
                         value);
    return 0;
}

static int take_id(void *data, const char *value, struct cel_error *err)
{
    (void)err;
    ((struct request *)data)->id = value;
    return 0;
}

static int take_dedupe(void *data, const char *value, struct cel_error *err)
{
    return take_duration("dedupe", value, &((struct request *)data)->dedupe, err);
}

static int take_confirm_replicas(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    if (str_parse_i64(str_of(value), &request->confirm_replicas) || request->confirm_replicas < 0 ||
        request->confirm_replicas > 100)
        return error_set(err, CEL_E_CONFIG, "--confirm-replicas: \"%s\" is not between 0 and 100",
                         value);
    return 0;
}

static int take_confirm_disk(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct request *)data)->confirm_disk = true;
    return 0;
}

static int take_wait(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    request->wait = true;
    return value ? take_duration("wait", value, &request->wait_limit, err) : 0;
}

static int take_ignore_result(void *data, const char *value, struct cel_error *err)
{
    (void)value, (void)err;
    ((struct request *)data)->ignore_result = true;
    return 0;
}

static int take_header(void *data, const char *value, struct cel_error *err)
{
    struct request *request = data;
    struct str rest = str_of(value), name;
    str_split(&rest, '=', &name);
    if (!rest.ptr)
        return error_set(err, CEL_E_CONFIG, "--header: \"%s\" is not NAME=VALUE", value);
    return set_once(request->headers, name, rest.ptr, err);
}

static int take_serializer(void *data, const char *value, struct cel_error *err)
{
    static const char *const names[] = {
        [CEL_JSON] = "json", [CEL_JSON_TYPED] = "json-typed", [CEL_MSGPACK] = "msgpack"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(value, names[i])) {
            ((struct request *)data)->serializer = (enum cel_serializer)i;
            return 0;
        }
    }
    return error_set(err, CEL_E_CONFIG, "--serializer: \"%s\" is none of json, json-typed, msgpack",
                     value);
}

static int take_compression(void *data, const char *value, struct cel_error *err)
{
    enum cel_compression compression = compression_find(str_of(value));
    if (compression == CEL_UNCOMPRESSED)
        return error_set(err, CEL_E_CONFIG,
                         "--compression: \"%s\" is none of zlib, bzip2, lzma, zstd", value);
    ((struct request *)data)->compression = compression;
    return 0;
}

/* Replaces a container by what `value` holds, if that is one of the same type. */
static int take_container(struct cel_value **container,
                          const char *flag,
                          const char *value,
                          struct cel_error *err)
{
    struct cel_value *given = NULL;
    struct cel_error reason = {0};
    enum cel_type type = cel_value_type(*container);
    if (cel_value_from_json(value, strlen(value), &given, &reason))
        return error_set(err, CEL_E_CONFIG, "--%s: %s", flag, reason.text);
    if (cel_value_type(given) != type) {
        cel_value_free(given);
        return error_set(err, CEL_E_CONFIG, "--%s: not a JSON %s", flag,
                         type == CEL_LIST ? "list" : "object");
    }
    cel_value_free(*container);
    *container = given;
    return 0;
}

static int take_args(void *data, const char *value, struct cel_error *err)
{
    return take_container(&((struct request *)data)->args, "args", value, err);
}

static int take_kwargs(void *data, const char *value, struct cel_error *err)
{
    return take_container(&((struct request *)data)->kwargs, "kwargs", value, err);
}

static const struct verb_flag flags[] = {
    {"args", "JSON", take_args, "First positional arguments, as a JSON list"},
    {"kwargs", "JSON", take_kwargs, "Keyword arguments, as a JSON object"},
    {"countdown", "TIME", take_countdown, "Start so much time after sending"},
    {"eta", "MOMENT", take_eta, "Start not before (ISO 8601; without a zone it is UTC)"},
    {"expires", "WHEN", take_expires, "Revoked when not started by then: a duration or a moment"},
    {"queue", "NAME", take_queue, "Queue to send to"},
    {"exchange", "NAME", take_exchange, "Exchange to send to, by its bindings, instead of a queue"},
    {"routing-key", "KEY", take_routing_key, "Routing key for --exchange; else empty"},
    {"priority", "N", take_priority, "0 (first) ... 9 (last)"},
    {"id", "ID", take_id, "Id of the task instead of a new one"},
    {"dedupe", "TIME", take_dedupe,
     "Not sent when this --id went to the queue within TIME; repeats until it is known"},
    {"confirm-replicas", "N", take_confirm_replicas, "Sent only when N replicas of Redis have it"},
    {"confirm-disk", NULL, take_confirm_disk, "Sent only when it is on the disk of Redis (7.2)"},
    {"ignore-result", NULL, take_ignore_result, "No result shall be stored"},
    {"header", "NAME=VALUE", take_header, "Header of the message; may be given again"},
    {"serializer", "NAME", take_serializer, "json (default), json-typed or msgpack"},
    {"compression", "NAME", take_compression, "zlib, bzip2, lzma or zstd"},
    {"wait", "[=TIME]", take_wait, "Wait for the result, at most so long (or --timeout); print it"},
};

/* --- the call --------------------------------------------------------------------------------- */

/* Sorts what is left of the command line. *ret_name stays NULL when there is no name. */
static int take_words(struct request *request,
                      char **words,
                      size_t count,
                      const char **ret_name,
                      struct cel_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct str rest = str_of(words[i]), name;
        int status = 0;
        if (str_starts(rest, STR("--"))) {
            str_split(&rest, '=', &name);
            bool next_is_value = i + 1 < count && !str_starts(str_of(words[i + 1]), STR("--"));
            if (!rest.ptr && next_is_value)
                rest = str_of(words[++i]);
            status = add_keyword(request, str_n(name.ptr + 2, name.len - 2), rest.ptr, err);
        } else if (!*ret_name) {
            *ret_name = words[i];
        } else {
            status = add_arg(request, words[i], err);
        }
        if (status)
            return status;
    }
    return 0;
}

static void set_options(struct cel_call *call, const struct request *request)
{
    if (request->id)
        cel_call_id(call, request->id);
    if (request->queue)
        cel_call_queue(call, request->queue);
    if (request->exchange)
        cel_call_exchange(call, request->exchange,
                          request->routing_key ? request->routing_key : "");
    if (request->priority >= 0)
        cel_call_priority(call, (int)request->priority);
    if (request->countdown)
        cel_call_countdown_ms(call, (int64_t)(request->countdown / USEC_PER_MSEC));
    if (request->eta_wall)
        cel_call_eta_ms(call, (int64_t)(request->eta_wall / USEC_PER_MSEC));
    if (request->expires_in)
        cel_call_expires_in_ms(call, (int64_t)(request->expires_in / USEC_PER_MSEC));
    if (request->expires_wall)
        cel_call_expires_at_ms(call, (int64_t)(request->expires_wall / USEC_PER_MSEC));
    cel_call_ignore_result(call, request->ignore_result);
    cel_call_serializer(call, request->serializer);
    cel_call_compression(call, request->compression);
    for (size_t i = 0; i < cel_value_count(request->headers); i++)
        cel_call_header(call, cel_value_key(request->headers, i),
                        cel_value_dup(cel_value_at(request->headers, i)));
}

static struct cel_call *build(const struct request *request, const char *name)
{
    struct cel_call *call = cel_call_new(name);
    ASSERT(call);
    call_add_arguments(call, request->args, request->kwargs);
    set_options(call, request);
    return call;
}

static int await(const struct verb_context *context,
                 const struct request *request,
                 struct cel_client *client,
                 const char *id)
{
    usec_t limit = request->wait_limit ? request->wait_limit : context->settings.timeout;
    struct cel_result *result;
    struct cel_error err = {0};
    if (cel_result_wait(client, id, (int64_t)(limit / USEC_PER_MSEC), &result, &err))
        return verb_fail(&err);
    if (context->settings.json)
        result_print_json(id, result);
    else
        result_print_outcome(id, result);
    int status = result_exit_status(result);
    cel_result_free(result);
    return status;
}

static void print_id(const struct verb_context *context, const char *id)
{
    if (context->settings.json)
        result_print_id(id);
    else
        puts(id);
}

static int send(const struct verb_context *context, const struct request *request, const char *name)
{
    struct cel_client *client;
    struct cel_client_options options = verb_client_options(context);
    struct cel_error err = {0};
    options.dedupe_ms = (int64_t)(request->dedupe / USEC_PER_MSEC);
    options.confirm_replicas = (int)request->confirm_replicas;
    options.confirm_disk = request->confirm_disk;
    if (cel_client_open(&options, &client, &err))
        return verb_fail(&err);
    struct cel_call *call = build(request, name);
    char new_id[CEL_ID_SIZE];
    int status = cel_send(client, call, new_id, &err);
    cel_call_free(call);
    const char *id = request->id ? request->id : new_id;
    if (status == -EINVAL || status == CEL_E_FORMAT || status == CEL_E_LIMIT)
        status = verb_misused(&call_verb, "%s", err.text); /* the call itself, not the way */
    else if (!status && request->wait)
        status = await(context, request, client, id);
    else {
        if (!status || status == CEL_E_UNCONFIRMED) /* it was sent */
            print_id(context, id);
        status = status ? verb_fail(&err) : 0;
    }
    cel_client_close(client);
    return status;
}

static void request_deinit(struct request *request)
{
    cel_value_free(request->args);
    cel_value_free(request->kwargs);
    cel_value_free(request->headers);
}

/* Where the words behind "--" begin, or argc. */
static int first_behind_flags(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--"))
            return i;
    }
    return argc;
}

static int run(int argc, char **argv)
{
    CLEANUP(request_deinit)
    struct request request = {
        .priority = -1, .args = cel_list(), .kwargs = cel_map(), .headers = cel_map()};
    CLEANUP(verb_end) struct verb_context context;
    int end = first_behind_flags(argc, argv);
    int status = verb_begin(&context, &call_verb, end, argv, &request);
    if (status)
        return status;
    const char *name = NULL;
    struct cel_error err = {0};
    if (take_words(&request, context.config.arguments, context.config.argument_count, &name, &err))
        return verb_misused(&call_verb, "%s", err.text);
    for (int i = end + 1; i < argc; i++) {
        if (!name)
            name = argv[i];
        else if (add_arg(&request, argv[i], &err))
            return verb_misused(&call_verb, "%s", err.text);
    }
    if (!name)
        return verb_misused(&call_verb, "give the name of a task");
    if (request.wait && request.ignore_result)
        return verb_misused(&call_verb, "--wait and --ignore-result exclude each other");
    return send(&context, &request, name);
}

const struct verb call_verb = {
    .name = "call",
    .run = run,
    .mask = VERB_CALL,
    .summary = "Send a task, and wait for its result if asked",
    .usage = "NAME [ARG...] [--KEYWORD[=VALUE]...] [OPTION...] [-- ARG...]",
    .about =
        "ARG and VALUE are JSON when they parse as JSON, else text. Every --KEYWORD that is no "
        "option\n"
        "below is a keyword argument of the task, '-' written for '_'; without a value it is true, "
        "so\n"
        "arguments stand before keywords, or behind \"--\". Keywords named like an option go into\n"
        "--kwargs. Prints the id of the task, or with --wait its result.",
    .flags = flags,
    .flag_count = ARRAY_SIZE(flags),
    .examples = "celeriac call products.tasks.process_order 42 --countdown 10s\n"
                "celeriac call products.tasks.update_product_prices --percentage 15 \\\n"
                "    --category electronics --dry-run --wait\n"
                "celeriac call shop.orders.close 42 --id order-42-close --dedupe 1h\n"
                "celeriac call app.echo '[1, 2]' '\"42\"' -- --not-a-flag",
    .ok = "sent; with --wait: and the task succeeded",
    .failed = "the task failed or was revoked (--wait)",
};
