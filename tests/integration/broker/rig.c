#include "tests/integration/broker/rig.h"

#include <time.h>

#include "core/mem.h"

enum { PATIENCE_SECONDS = 30, WORDS_MAX = 16 };

int rig_open(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    signal(SIGPIPE, SIG_IGN);
    *state = rig;
    return rig && redis_server_open(&rig->server, NULL) ? 0 : -1;
}

int rig_close(void **state)
{
    struct rig *rig = *state;
    redis_server_close(&rig->server);
    free(rig);
    return 0;
}

struct broker_options rig_options(const struct rig *rig)
{
    return (struct broker_options){
        .url = rig->server.url, .node = STR("node@host:1"), .result_ttl = 3600 * USEC_PER_SEC};
}

void rig_new_broker(struct rig *rig, const struct broker_options *options)
{
    struct cel_error err = {0};
    int status = broker_new(&rig->loop, options, &rig->broker, &err);
    if (status)
        fail_msg("broker_new: %d %s", status, err.text);
}

int rig_setup(void **state)
{
    struct rig *rig = *state;
    if (rig->server.pid == 0 && !redis_server_start(&rig->server))
        return -1;
    server_says(rig, "FLUSHALL");
    uv_loop_init(&rig->loop);
    uv_timer_init(&rig->loop, &rig->patience);
    struct broker_options options = rig_options(rig);
    rig_new_broker(rig, &options);
    join(rig, QUEUE);
    return 0;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void rig_close_broker(struct rig *rig)
{
    bool closed = false;
    if (!rig->broker)
        return;
    broker_close(rig->broker, on_closed, &closed);
    rig->broker = NULL;
    while (!closed)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    mem_fail_after(0);
    if (rig->server.pid)
        redis_server_thaw(&rig->server);
    rig_close_broker(rig);
    uv_close((uv_handle_t *)&rig->patience, NULL);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    int status = uv_loop_close(&rig->loop);
    if (status)
        fprintf(stderr, "uv_loop_close: %s\n", uv_strerror(status));
    return status;
}

usec_t in_seconds(double seconds)
{
    return seconds < 0 ? 1 : clock_mono() + (usec_t)(seconds * 1e6);
}

static void on_patience(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void rig_run(struct rig *rig, struct outcome *outcome)
{
    bool over = false;
    rig->patience.data = &over;
    uv_update_time(&rig->loop);
    uv_timer_start(&rig->patience, on_patience, PATIENCE_SECONDS * 1000, 0);
    while (!outcome->calls && !over)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_timer_stop(&rig->patience);
    if (over)
        fail_msg("no callback within %d s", PATIENCE_SECONDS);
    assert_int_equal(outcome->calls, 1);
}

void rig_spend(struct rig *rig, double seconds)
{
    bool over = false;
    rig->patience.data = &over;
    uv_update_time(&rig->loop);
    uv_timer_start(&rig->patience, on_patience, (uint64_t)(seconds * 1000), 0);
    while (!over)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

/* --- callbacks -------------------------------------------------------------------------------- */

static void note(struct outcome *outcome, int status, const struct cel_error *err)
{
    outcome->calls++;
    outcome->status = status;
    if (status < 0)
        outcome->err = err ? *err : (struct cel_error){.text = "no error given"};
}

void on_done(void *data, int status, const struct cel_error *err)
{
    note(data, status, err);
}

void on_claim(void *data,
              int status,
              const struct broker_claimed *claimed,
              size_t count,
              const struct cel_error *err)
{
    struct outcome *outcome = data;
    note(outcome, status, err);
    outcome->count = count;
    for (size_t i = 0; i < count && i < CLAIMED_MAX; i++) {
        struct claimed *into = &outcome->claimed[i];
        into->claim = claimed[i].claim;
        into->len = claimed[i].bytes.len;
        size_t kept = into->len < sizeof(into->bytes) ? into->len : sizeof(into->bytes) - 1;
        memcpy(into->bytes, claimed[i].bytes.ptr, kept);
        into->bytes[kept] = '\0';
    }
}

void on_promote(
    void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err)
{
    struct outcome *outcome = data;
    note(outcome, status, err);
    outcome->moved = moved;
    outcome->next_due_wall = next_due_wall;
}

void on_result(void *data, int status, struct str document, const struct cel_error *err)
{
    struct outcome *outcome = data;
    note(outcome, status, err);
    outcome->has_document = document.ptr != NULL;
    snprintf(outcome->document, sizeof(outcome->document), STR_FORMAT, STR_ARGS(document));
}

void on_stats(void *data,
              int status,
              const struct broker_queue_stats *stats,
              size_t count,
              const struct cel_error *err)
{
    struct outcome *outcome = data;
    note(outcome, status, err);
    outcome->count = count;
    for (size_t i = 0; i < count && i < 32; i++) {
        outcome->stats[i] = stats[i];
        snprintf(outcome->names[i], sizeof(outcome->names[i]), STR_FORMAT,
                 STR_ARGS(stats[i].queue));
        snprintf(outcome->oldest[i], sizeof(outcome->oldest[i]), STR_FORMAT,
                 STR_ARGS(stats[i].oldest));
    }
}

/* --- calls ------------------------------------------------------------------------------------ */

void push_text(struct rig *rig, struct str queue, unsigned step, const char *text)
{
    struct outcome outcome = {0};
    struct broker_message message = {.queue = queue, .step = step, .bytes = str_of(text)};
    assert_int_equal(broker_push(rig->broker, &message, 1, in_seconds(5), NULL, on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void on_renewed(void *data,
                       int status,
                       const struct broker_claim *held,
                       size_t count,
                       const struct cel_error *err)
{
    (void)held;
    (void)count;
    note(data, status, err);
}

void join(struct rig *rig, struct str queue)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_renew(rig->broker, queue, 3600 * USEC_PER_SEC, true, in_seconds(5),
                                  on_renewed, &outcome),
                     0);
    rig_run(rig, &outcome);
    if (outcome.status)
        fail_msg("join: %d %s", outcome.status, outcome.err.text);
}

void claim_into(struct rig *rig, struct str queue, size_t max, struct outcome *outcome)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        *outcome = (struct outcome){0};
        assert_int_equal(broker_claim(rig->broker, queue, max, in_seconds(20), on_claim, outcome),
                         0);
        rig_run(rig, outcome);
        if (outcome->status != BROKER_E_LOST)
            break;
        join(rig, queue);
    }
    if (outcome->status)
        fail_msg("claim: %d %s", outcome->status, outcome->err.text);
}

/* --- the server from beside ------------------------------------------------------------------- */

static const char *ask(struct rig *rig, char *words)
{
    static char reply[REPLY_MAX];
    const char *argv[WORDS_MAX + 1];
    size_t count = 0;
    for (char *word = strtok(words, " "); word && count < WORDS_MAX; word = strtok(NULL, " "))
        argv[count++] = word;
    argv[count] = NULL;
    if (!redis_server_command(&rig->server, reply, sizeof(reply), argv))
        snprintf(reply, sizeof(reply), "(no reply)");
    return reply;
}

const char *server_says(struct rig *rig, const char *format, ...)
{
    char words[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    return ask(rig, words);
}

int64_t server_number(struct rig *rig, const char *format, ...)
{
    char words[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    const char *reply = ask(rig, words);
    if (reply[0] != ':')
        fail_msg("no number: %s", reply);
    return strtoll(reply + 1, NULL, 10);
}

static int64_t keys_like(struct rig *rig, const char *pattern)
{
    const char *reply = server_says(rig, "KEYS %s", pattern);
    if (reply[0] != '*')
        fail_msg("no list: %s", reply);
    return strtoll(reply + 1, NULL, 10);
}

int64_t keys_of_messages(struct rig *rig)
{
    return server_number(rig, "DBSIZE") - keys_like(rig, "*celeriac:nodes:*") -
           keys_like(rig, "*celeriac:counts:*") - keys_like(rig, "*celeriac:queues");
}

void wait_for_number(struct rig *rig, int64_t number, const char *command)
{
    usec_t end = in_seconds(PATIENCE_SECONDS);
    while (server_number(rig, "%s", command) != number) {
        if (clock_mono() > end)
            fail_msg("%s never became %lld", command, (long long)number);
        rig_spend(rig, 0.005);
    }
}
