#include "bus/ask.h"

#include <errno.h>

#include "bus/bus_priv.h"
#include "core/mem.h"

/* Of one BRPOP; what comes later is taken by the next. */
#define TAKE_AT_MOST (1 * USEC_PER_SEC)
#define SLACK        (3 * USEC_PER_SEC)

struct ask {
    struct bus *bus;
    struct redis_request publish, take;
    struct str exchange, key, queue; /* in `memory` */
    char *memory;
    usec_t timeout, until_mono;
    size_t enough, answers;
    uint64_t *ret_heard;
    int status; /* how it ends */
    struct cel_error err;
    bus_heard_fn *on_answer;
    bus_done_fn *on_done;
    void *data;
};

static void free_ask(struct ask *ask)
{
    mem_free(ask->memory);
    mem_free(ask);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void on_cleaned(void *data, int status, const struct cel_error *err)
{
    struct ask ask = *(struct ask *)data;
    (void)status, (void)err; /* what is left behind is small */
    free_ask(data);
    ask.on_done(ask.data, ask.status, ask.status ? &ask.err : NULL);
}

/* First the binding goes, so that no late answer is left in the queue. */
static void end(struct ask *ask, int status, const struct cel_error *err)
{
    struct bus *bus = ask->bus;
    ask->status = status;
    if (status && err)
        ask->err = *err;
    int r = bus_bind(bus, ask->exchange, ask->key, ask->queue, false, NULL, NULL);
    struct bus_op *op = r == 0 ? bus_op_new(bus, on_cleaned, ask) : NULL;
    if (!op || bus_op_send(op, clock_mono() + SLACK,
                           bus_command_delete(&op->request, &bus->names, ask->queue)) < 0)
        on_cleaned(ask, 0, NULL);
}

/* --- the answers ------------------------------------------------------------------------------ */

static void take(struct ask *ask)
{
    usec_t now = clock_mono();
    usec_t left = ask->until_mono > now ? ask->until_mono - now : 0;
    if (left < USEC_PER_MSEC || (ask->enough && ask->answers >= ask->enough)) {
        end(ask, 0, NULL);
        return;
    }
    usec_t limit = left < TAKE_AT_MOST ? left : TAKE_AT_MOST;
    int r = bus_command_take(&ask->take, &ask->bus->names, ask->queue, limit);
    if (r < 0) {
        end(ask, r, NULL);
        return;
    }
    ask->take.deadline_mono = now + limit + SLACK;
    redis_connection_send(ask->bus->taker, &ask->take);
}

static void on_taken(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct ask *ask = container_of(request, struct ask, take);
    struct str message = reply_text(reply_item(reply, 1));
    redis_request_deinit(request);
    if (status) {
        end(ask, status, err);
        return;
    }
    if (message.ptr) {
        ask->answers++;
        ask->on_answer(ask->data, message);
    }
    take(ask);
}

/* --- the question ----------------------------------------------------------------------------- */

static void on_published(struct redis_request *request,
                         int status,
                         const struct redis_reply *reply,
                         const struct cel_error *err)
{
    struct ask *ask = container_of(request, struct ask, publish);
    int64_t heard = reply_integer(reply, 0);
    redis_request_deinit(request);
    if (status) {
        end(ask, status, err);
        return;
    }
    *ask->ret_heard = heard > 0 ? (uint64_t)heard : 0;
    if (!ask->enough)
        ask->enough = (size_t)*ask->ret_heard;
    ask->until_mono = clock_mono() + (*ask->ret_heard ? ask->timeout : 0);
    take(ask);
}

static int name_queue(struct ask *ask, const struct bus_question *question)
{
    struct buf names = BUF_INIT(SIZE_MAX / 2);
    buf_add_str(&names, question->reply_key);
    buf_add_char(&names, '.');
    buf_add_str(&names, question->reply_exchange);
    size_t len = names.len, key_len = question->reply_key.len;
    ask->memory = buf_take(&names, NULL);
    buf_deinit(&names);
    ask->queue = str_n(ask->memory, len);
    ask->key = str_n(ask->memory, key_len);
    ask->exchange = str_n(ask->memory + key_len + 1, len - key_len - 1);
    return ask->memory ? 0 : -ENOMEM;
}

static int publish(struct ask *ask, const struct bus_question *question)
{
    struct bus *bus = ask->bus;
    int r = bus_bind(bus, ask->exchange, ask->key, ask->queue, true, NULL, NULL);
    if (r < 0)
        return r;
    r = bus_command_publish(&ask->publish, &bus->names, question->exchange, STR_NONE,
                            question->message);
    if (r < 0)
        return r;
    ask->publish.deadline_mono = question->deadline_mono;
    redis_connection_send(bus->talker, &ask->publish);
    return 0;
}

int bus_ask(struct bus *bus,
            const struct bus_question *question,
            bus_heard_fn *on_answer,
            bus_done_fn *on_done,
            void *data,
            uint64_t *ret_heard)
{
    const struct redis_connection_options taker = {.silence = 0};
    struct ask *ask = mem_new(struct ask);
    if (!ask)
        return -ENOMEM;
    ask->bus = bus;
    ask->timeout = question->timeout;
    ask->enough = question->enough;
    ask->on_answer = on_answer;
    ask->on_done = on_done;
    ask->data = data;
    ask->ret_heard = ret_heard;
    ask->publish.on_reply = on_published;
    ask->take.on_reply = on_taken;
    int r = name_queue(ask, question);
    if (r == 0 && !bus->taker)
        r = bus_connect(bus, taker, &bus->taker);
    if (r == 0)
        r = publish(ask, question);
    if (r < 0)
        free_ask(ask);
    return r;
}
