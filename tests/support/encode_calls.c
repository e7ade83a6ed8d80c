/*
 * Writes messages and result documents for tests that hand them to Celery, one a line,
 * tab-separated:
 *
 *     encode_calls calls              kind, queue, priority step, message: one for each kind we
 * send encode_calls results            task id, document: one for each state encode_calls retry
 * reads one message, writes its next attempt, as a worker would encode_calls upgrade reads one
 * message of protocol 1, writes it as protocol 2
 *
 * No message holds a tab or a line end: its JSON escapes them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/id.h"
#include "message/call.h"
#include "message/envelope.h"
#include "message/result.h"

static const char task[] = "messages.describe";

static void end_with(const char *what, const struct cel_error *err)
{
    fprintf(stderr, "encode_calls: %s: %s\n", what, err->text);
    exit(1);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void write_call(const char *kind, struct cel_call *call)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(ENVELOPE_BYTES_MAX);
    char id[UUID_SIZE], tag[UUID_SIZE];
    struct call_context context = {.id = uuid_new(id),
                                   .delivery_tag = uuid_new(tag),
                                   .default_queue = STR("celery"),
                                   .origin = STR("gen1@encode_calls"),
                                   .now_wall = clock_wall()};
    struct cel_error err = {0};
    struct str sent_id, queue;
    if (strcmp(kind, "from beat") == 0)
        context.periodic_task_name = STR("every \xc3\xbc");
    if (strcmp(kind, "from a task") == 0) {
        context.root_id = STR("the root");
        context.parent_id = STR("the parent");
    }
    if (call_encode(call, &context, &message, &sent_id, &queue, &err) < 0)
        end_with(kind, &err);
    printf("%s\t" STR_FORMAT "\t%u\t" STR_FORMAT "\n", kind, STR_ARGS(queue),
           priority_step(call->priority), STR_ARGS(buf_str(&message)));
    cel_call_free(call);
}

/* Values that every serializer carries. */
static struct cel_value *plain_values(void)
{
    struct cel_value *values = cel_list(), *list = cel_list(), *map = cel_map();
    cel_list_add(values, cel_null());
    cel_list_add(values, cel_bool(true));
    cel_list_add(values, cel_bool(false));
    cel_list_add(values, cel_int(0));
    cel_list_add(values, cel_int(INT64_MIN));
    cel_list_add(values, cel_int(INT64_MAX));
    cel_list_add(values, cel_typed(CEL_BIGINT, "18446744073709551615"));
    cel_list_add(values, cel_float(1.0));
    cel_list_add(values, cel_float(-0.0));
    cel_list_add(values, cel_float(0.1));
    cel_list_add(values, cel_float(1e300));
    cel_list_add(values, cel_float(5e-324));
    cel_list_add(values, cel_float(__builtin_nan("")));
    cel_list_add(values, cel_float(-__builtin_inf()));
    cel_list_add(values, cel_text(""));
    cel_list_add(values, cel_text("na\xc3\xafve \xe5\x90\x8d\xe5\x89\x8d \xf0\x9f\x98\x80"));
    cel_list_add(values, cel_text_n("\0\x1f\x7f \"q\" 'q' \\ \r\n\t", 17));
    cel_list_add(list, cel_int(1));
    cel_list_add(list, cel_list());
    cel_map_set(map, "\xc3\xa9", cel_null());
    cel_map_set(map, "", cel_map());
    cel_list_add(list, map);
    cel_list_add(values, list);
    return values;
}

static void add_typed_values(struct cel_value *values)
{
    cel_list_add(values, cel_typed(CEL_DECIMAL, "1.10"));
    cel_list_add(values, cel_typed(CEL_DATETIME, "2024-02-29T12:30:15.123456+00:00"));
    cel_list_add(values, cel_typed(CEL_DATE, "2024-02-29"));
    cel_list_add(values, cel_typed(CEL_TIME, "01:02:03"));
    cel_list_add(values, cel_typed(CEL_UUID, "00000000-0000-4000-8000-000000000005"));
}

static struct cel_call *new_call(void)
{
    struct cel_call *call = cel_call_new(task);
    if (!call)
        abort();
    return call;
}

static void add_args(struct cel_call *call, const struct cel_value *values)
{
    for (size_t i = 0; i < cel_value_count(values); i++)
        cel_call_arg(call, cel_value_dup(cel_value_at(values, i)));
}

static void write_arguments(void)
{
    struct cel_call *call;
    write_call("no arguments", new_call());
    call = new_call();
    cel_call_arg(call, cel_int(1));
    cel_call_arg(call, cel_text("two"));
    write_call("positional", call);
    call = new_call();
    cel_call_kwarg(call, "a", cel_int(1));
    cel_call_kwarg(call, "\xc3\xa9", cel_text("\xc3\xbc"));
    write_call("keyword", call);
    call = new_call();
    cel_call_arg(call, cel_list());
    cel_call_kwarg(call, "a", cel_map());
    write_call("both", call);
    char *large = calloc(1, 1000001);
    if (!large)
        abort();
    memset(large, 'x', 1000000);
    call = new_call();
    cel_call_arg(call, cel_text(large));
    free(large);
    write_call("large", call);
}

static void write_serializers(void)
{
    struct cel_value *values = plain_values();
    struct cel_call *call = new_call();
    add_args(call, values);
    write_call("json", call);
    call = new_call();
    add_args(call, values);
    cel_call_compression(call, CEL_ZLIB);
    write_call("json zlib", call);
    static const char *const methods[] = {"json bzip2", "json lzma", "json zstd"};
    for (int i = 0; i < 3; i++) {
        call = new_call();
        add_args(call, values);
        cel_call_compression(call, (enum cel_compression)(CEL_BZIP2 + i));
        write_call(methods[i], call);
    }
    call = new_call();
    add_args(call, values);
    cel_call_arg(call, cel_bytes("\xff\0b", 3));
    cel_call_serializer(call, CEL_MSGPACK);
    write_call("msgpack", call);
    call = new_call();
    add_args(call, values);
    cel_call_arg(call, cel_bytes("\xff\0b", 3));
    cel_call_serializer(call, CEL_MSGPACK);
    cel_call_compression(call, CEL_ZLIB);
    write_call("msgpack zlib", call);
    cel_value_free(values);
    static const char *const kinds[] = {"typed as json", "typed", "typed as msgpack"};
    for (int i = 0; i < 3; i++) {
        struct cel_value *typed = cel_list();
        add_typed_values(typed);
        if (i == 1)
            cel_list_add(typed, cel_bytes("\xff\0", 2));
        call = new_call();
        add_args(call, typed);
        cel_call_serializer(call, (enum cel_serializer)i);
        cel_value_free(typed);
        write_call(kinds[i], call);
    }
    call = new_call();
    cel_call_arg(call, cel_typed(CEL_BIGINT, "-10000000000000000000000000000000000000000"));
    write_call("big integer", call);
}

static void write_times(void)
{
    int64_t now_ms = (int64_t)(clock_wall() / USEC_PER_MSEC);
    struct cel_call *call = new_call();
    cel_call_countdown_ms(call, 700);
    write_call("countdown", call);
    call = new_call();
    cel_call_eta_ms(call, now_ms + 900);
    write_call("eta", call);
    call = new_call();
    cel_call_eta_ms(call, 1);
    write_call("eta long ago", call);
    call = new_call();
    cel_call_expires_in_ms(call, 3600000);
    write_call("expires later", call);
    call = new_call();
    cel_call_expires_at_ms(call, now_ms - 5000);
    write_call("expired", call);
    call = new_call();
    cel_call_time_limit_ms(call, 20500, 30000);
    write_call("time limits", call);
}

static void write_options(void)
{
    struct cel_value *list = cel_list();
    struct cel_call *call;
    char kind[32];
    for (int priority = 0; priority <= 9; priority++) {
        call = new_call();
        cel_call_priority(call, priority);
        snprintf(kind, sizeof(kind), "priority %d", priority);
        write_call(kind, call);
    }
    cel_list_add(list, cel_int(1));
    call = new_call();
    cel_call_header(call, "tenant", cel_text("\xc3\xa9 \"x\""));
    cel_call_header(call, "numbers", list);
    write_call("headers", call);
    call = new_call();
    cel_call_ignore_result(call, true);
    write_call("ignored", call);
    call = new_call();
    cel_call_id(call, "an id of my own \xc3\xbc");
    write_call("own id", call);
    call = new_call();
    cel_call_queue(call, "other queue \xc3\xbc");
    write_call("other queue", call);
    call = new_call();
    cel_call_retries(call, 2);
    write_call("retries", call);
    call = new_call();
    cel_call_shadow(call, "nice name");
    write_call("shadow", call);
    write_call("from beat", new_call());
    write_call("from a task", new_call());
    call = cel_call_new("messages.\xc3\xbcni");
    write_call("name outside ASCII", call);
}

/* --- results ---------------------------------------------------------------------------------- */

static void write_result(const char *id, const char *status, struct str json, struct str traceback)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct result result = {.status = str_of(status),
                            .result_json = json,
                            .traceback = traceback,
                            .date_done_wall = clock_wall(),
                            .task_id = str_of(id),
                            .group_id = STR("a group"),
                            .parent_id = STR("a parent")};
    if (result_encode(&text, &result) < 0)
        abort();
    printf("%s\t" STR_FORMAT "\n", id, STR_ARGS(buf_str(&text)));
}

static void write_exception(
    const char *id, const char *status, const char *type, const char *text, struct str module)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(1 << 20);
    result_add_exception_text(&json, str_of(type), str_of(text), module);
    write_result(id, status, buf_str(&json), STR("where it was\nand why \xc3\xbc\n"));
}

static void write_results(void)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(1 << 20);
    write_result("success", "SUCCESS", STR("{\"a\": [1, 2.5, null, \"\\u00e9\"]}"), STR_NONE);
    write_result("nothing", "SUCCESS", STR_NONE, STR_NONE);
    write_result("started", "STARTED", STR("{\"pid\": 5, \"hostname\": \"h\"}"), STR_NONE);
    write_result("progress", "PROGRESS", STR("{\"done\": 3}"), STR_NONE);
    write_exception("value error", "FAILURE", "ValueError", "n\xc3\xa9 \"x\"", STR_NONE);
    write_exception("own error", "FAILURE", "PaymentDeclined", "no funds", STR_NONE);
    write_exception("exit", "FAILURE", "SystemExit", "5", STR_NONE);
    write_exception("retry", "RETRY", "ConnectionError", "later", STR_NONE);
    write_exception("revoked", "REVOKED", "TaskRevokedError", "revoked", STR("celery.exceptions"));
    result_add_exception(&json, STR("TimeLimitExceeded"), STR("[30]"), STR("billiard.exceptions"));
    write_result("hard limit", "FAILURE", buf_str(&json), STR_NONE);
}

/* --- messages of others ----------------------------------------------------------------------- */

static struct str read_message(struct buf *text)
{
    char part[65536];
    size_t got;
    while ((got = fread(part, 1, sizeof(part), stdin)) > 0)
        buf_add(text, part, got);
    if (buf_status(text) < 0)
        abort();
    return buf_str(text);
}

static void write_retry(void)
{
    CLEANUP(buf_deinit) struct buf old = BUF_INIT(ENVELOPE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct cel_error err = {0};
    struct envelope envelope;
    char tag[UUID_SIZE];
    if (envelope_decode(read_message(&old), &envelope, &err) != 0)
        end_with("retry", &err);
    envelope.retries++;
    envelope.eta_wall = clock_wall() + 300 * USEC_PER_MSEC;
    envelope.delivery_tag = uuid_new(tag);
    envelope.origin = STR("worker@encode_calls");
    if (envelope_encode(&text, &envelope) < 0)
        abort();
    printf(STR_FORMAT "\n", STR_ARGS(buf_str(&text)));
    envelope_deinit(&envelope);
}

static void write_upgrade(void)
{
    CLEANUP(buf_deinit) struct buf old = BUF_INIT(ENVELOPE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct cel_error err = {0};
    char tag[UUID_SIZE];
    if (envelope_upgrade(read_message(&old), uuid_new(tag), &text, &err) < 0)
        end_with("upgrade", &err);
    printf(STR_FORMAT "\n", STR_ARGS(buf_str(&text)));
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    if (strcmp(what, "calls") == 0) {
        write_arguments();
        write_serializers();
        write_times();
        write_options();
    } else if (strcmp(what, "results") == 0) {
        write_results();
    } else if (strcmp(what, "retry") == 0) {
        write_retry();
    } else if (strcmp(what, "upgrade") == 0) {
        write_upgrade();
    } else {
        fprintf(stderr, "encode_calls: calls, results, retry or upgrade\n");
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
