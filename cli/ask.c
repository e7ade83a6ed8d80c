#include "cli/ask.h"

#include <stdlib.h>

#include "bus/ask.h"
#include "core/id.h"
#include "core/mem.h"
#include "message/control.h"

struct asking {
    struct answers *answers;
    struct str ticket;
    bool is_done;
    int status;
    struct cel_error err;
};

void answers_deinit(struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        mem_free(answers->items[i].node);
        cel_value_free(answers->items[i].value);
    }
    mem_free(answers->items);
    *answers = (struct answers){.items = NULL};
}

static void on_answer(void *data, struct str message)
{
    struct asking *asking = data;
    struct answers *answers = asking->answers;
    struct control_reply reply;
    struct wrapped wrapped;
    if (control_reply_decode(message, &reply, &wrapped, NULL) < 0)
        return; /* nobody else writes there */
    if (str_equal(reply.ticket, asking->ticket)) {
        if (answers->count == answers->cap) {
            answers->cap = answers->cap ? 2 * answers->cap : 16;
            answers->items = xgrow(answers->items, answers->cap, sizeof(*answers->items));
        }
        struct answer_of *item = &answers->items[answers->count++];
        item->node = str_dup(reply.node);
        item->value = reply.value ? cel_value_dup(reply.value) : cel_null();
        ASSERT(item->node && item->value);
    }
    wrapped_deinit(&wrapped);
}

static void on_done(void *data, int status, const struct cel_error *err)
{
    struct asking *asking = data;
    asking->is_done = true;
    asking->status = status;
    if (status && err)
        asking->err = *err;
}

static int by_node(const void *a, const void *b)
{
    const struct answer_of *one = a, *other = b;
    return strcmp(one->node, other->node);
}

/* --- one question ----------------------------------------------------------------------------- */

static struct cel_value *destinations(const char *list)
{
    struct cel_value *nodes = cel_list();
    struct str rest = str_of(list), node;
    while (str_split(&rest, ',', &node)) {
        node = str_trim(node);
        if (node.len)
            ASSERT(!cel_list_add(nodes, cel_text_n(node.ptr, node.len)));
    }
    return nodes;
}

static int start(struct bus *bus,
                 const struct verb_context *context,
                 struct control_request *request,
                 bool wants_answers,
                 struct asking *asking)
{
    static const struct str no_key = {"", 0};
    char tag[UUID_SIZE];
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(WRAPPER_BYTES_MAX);
    struct str key = request->reply_key;
    usec_t timeout = context->settings.timeout;
    if (!wants_answers)
        request->reply_key = STR_NONE;
    int r = control_request_encode(&message, request, uuid_new(tag));
    const struct bus_question question = {
        .exchange = STR(CONTROL_EXCHANGE),
        .reply_exchange = STR(CONTROL_REPLY_EXCHANGE),
        .reply_key = key.ptr ? key : no_key,
        .message = buf_str(&message),
        .timeout = wants_answers ? timeout : 0,
        .enough = cel_value_count(request->destination),
        .deadline_mono = clock_mono() + timeout,
    };
    return r < 0 ? r : bus_ask(bus, &question, on_answer, on_done, asking, &asking->answers->heard);
}

/* Returns the status; `asking->err` says more. */
static int ask(const struct verb_context *context,
               uv_loop_t *loop,
               struct control_request *request,
               bool wants_answers,
               struct asking *asking)
{
    const struct settings *settings = &context->settings;
    const struct bus_options options = {
        .url = settings->broker_url,
        .master_name = settings->master_name,
        .sentinel_username = settings->sentinel_username,
        .sentinel_password = settings->sentinel_password,
        .key_prefix = *settings->key_prefix ? str_of(settings->key_prefix) : STR_NONE,
        .fanout_prefix = settings->fanout_prefix,
    };
    struct bus *bus;
    int r = bus_new(loop, &options, &bus, &asking->err);
    if (r < 0)
        return r;
    r = start(bus, context, request, wants_answers, asking);
    while (r == 0 && !asking->is_done)
        uv_run(loop, UV_RUN_ONCE);
    bus_close(bus, NULL, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    if (r < 0)
        return error_set(&asking->err, r, "%s", cel_error_name(r));
    return asking->status;
}

int ask_workers(const struct verb_context *context,
                const char *method,
                const struct cel_value *arguments,
                bool wants_answers,
                struct answers *ret)
{
    char ticket[UUID_SIZE], key[UUID_SIZE];
    struct cel_value *nodes = destinations(context->settings.destination);
    struct control_request request = {
        .method = str_of(method),
        .arguments = arguments,
        .destination = cel_value_count(nodes) ? nodes : NULL,
        .ticket = uuid_new(ticket),
        .reply_exchange = STR(CONTROL_REPLY_EXCHANGE),
        .reply_key = uuid_new(key),
        .expires_wall = clock_wall() + context->settings.timeout,
    };
    struct asking asking = {.answers = ret, .ticket = request.ticket};
    uv_loop_t loop;
    *ret = (struct answers){.items = NULL};
    ASSERT(uv_loop_init(&loop) == 0);
    int r = ask(context, &loop, &request, wants_answers, &asking);
    ASSERT(uv_loop_close(&loop) == 0);
    cel_value_free(nodes);
    if (r < 0)
        return verb_fail(&asking.err);
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof(*ret->items), by_node);
    return 0;
}
