/*
 * The broker alone: how fast messages go in and out through it, with no children and no task code
 * in between; the upper bound of a worker. Prints one line a measurement.
 *
 *     broker_loop URL [MESSAGES [BYTES]]
 *
 * The server should be one of its own (scripts/private-servers): queue "bench" is used.
 *
 * The allocator keeps what it has (keep_memory). By itself it hands memory back to the kernel when
 * enough is free at the end of its heap, and whether that happens hangs on the order in which buffers
 * come and go: runs of the same program then differ by the page faults of getting it again.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "broker/broker.h"

#define QUEUE STR("bench")

struct bench {
    uv_loop_t loop;
    struct broker *broker;
    size_t count, size;
    struct str document;
    bool acks_only;
    size_t batch, credit; /* messages a claim asks for; claims not yet completed at most */
    size_t held, done;
    bool is_claiming;
    int failed;
};

static usec_t soon(void)
{
    return clock_mono() + 60 * USEC_PER_SEC;
}

static void give_up(struct bench *bench, int status, const struct cel_error *err)
{
    fprintf(stderr, "broker_loop: %d %s\n", status, err ? err->text : "");
    bench->failed = 1;
    uv_stop(&bench->loop);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct stretch {
    usec_t start;
    double cpu;
};

static struct stretch begin(void)
{
    return (struct stretch){.start = clock_mono(), .cpu = cpu_seconds()};
}

static void report(const char *what, size_t count, struct stretch stretch)
{
    double seconds = (double)(clock_mono() - stretch.start) / 1e6;
    printf("%-38s %9.0f/s   %6.2f us each, of which %5.2f us of our CPU\n", what,
           (double)count / seconds, seconds * 1e6 / (double)count,
           (cpu_seconds() - stretch.cpu) * 1e6 / (double)count);
    fflush(stdout);
}

/* --- in --------------------------------------------------------------------------------------- */

static void on_pushed(void *data, int status, const struct cel_error *err)
{
    struct bench *bench = data;
    if (status)
        give_up(bench, status, err);
    uv_stop(&bench->loop);
}

static void fill(struct bench *bench, size_t slice, const char *what)
{
    char *bytes = malloc(bench->size);
    struct broker_message *messages = calloc(slice, sizeof(*messages));
    if (!bytes || !messages)
        abort();
    memset(bytes, 'x', bench->size);
    for (size_t i = 0; i < slice; i++)
        messages[i] = (struct broker_message){.queue = QUEUE, .bytes = str_n(bytes, bench->size)};
    struct stretch stretch = begin();
    for (size_t sent = 0; sent < bench->count && !bench->failed; sent += slice) {
        int status = broker_push(bench->broker, messages, slice, soon(), NULL, on_pushed, bench);
        if (status)
            give_up(bench, status, NULL);
        uv_run(&bench->loop, UV_RUN_DEFAULT);
    }
    report(what, bench->count, stretch);
    free(messages);
    free(bytes);
}

/* --- out -------------------------------------------------------------------------------------- */

static void claim_more(struct bench *bench);

static void on_completed(void *data, int status, const struct cel_error *err)
{
    struct bench *bench = data;
    if (status) {
        give_up(bench, status, err);
        return;
    }
    bench->held--;
    bench->done++;
    if (bench->done == bench->count)
        uv_stop(&bench->loop);
    else
        claim_more(bench);
}

static int end_claim(struct bench *bench, const struct broker_claim *claim)
{
    char id[40];
    if (bench->acks_only)
        return broker_ack(bench->broker, claim, soon(), on_completed, bench);
    const struct broker_completion completion = {
        .claim = *claim,
        .result_id = str_n(id, (size_t)snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012llx",
                                                (unsigned long long)claim->tag)),
        .result_document = bench->document,
    };
    return broker_complete(bench->broker, &completion, soon(), on_completed, bench);
}

static void on_claimed(void *data,
                       int status,
                       const struct broker_claimed *claimed,
                       size_t count,
                       const struct cel_error *err)
{
    struct bench *bench = data;
    bench->is_claiming = false;
    if (status) {
        give_up(bench, status, err);
        return;
    }
    bench->held += count;
    for (size_t i = 0; i < count && !status; i++)
        status = end_claim(bench, &claimed[i].claim);
    if (status)
        give_up(bench, status, NULL);
    else if (count)
        claim_more(bench);
}

static void claim_more(struct bench *bench)
{
    size_t left = bench->count - bench->done - bench->held;
    size_t room = bench->credit - bench->held;
    if (bench->is_claiming || left == 0 || room < bench->batch)
        return;
    bench->is_claiming = true;
    int status = broker_claim(bench->broker, QUEUE, bench->batch, soon(), on_claimed, bench);
    if (status)
        give_up(bench, status, NULL);
}

static void drain(struct bench *bench, size_t batch, size_t credit, const char *what)
{
    char line[64];
    bench->batch = batch;
    bench->credit = credit;
    bench->held = bench->done = 0;
    struct stretch stretch = begin();
    claim_more(bench);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    snprintf(line, sizeof(line), "%s, %zu at once", what, batch);
    if (!bench->failed)
        report(line, bench->count, stretch);
}

/* --- idle: each message finds us waiting ------------------------------------------------------ */

static void wait_for_one(struct bench *bench);

static void on_idle_pushed(void *data, int status, const struct cel_error *err)
{
    if (status)
        give_up(data, status, err);
}

static void on_idle_completed(void *data, int status, const struct cel_error *err)
{
    struct bench *bench = data;
    if (status)
        give_up(bench, status, err);
    else if (++bench->done == bench->count)
        uv_stop(&bench->loop);
    else
        wait_for_one(bench);
}

static void on_idle_claimed(void *data,
                            int status,
                            const struct broker_claimed *claimed,
                            size_t count,
                            const struct cel_error *err)
{
    struct bench *bench = data;
    if (!status && count)
        status = broker_ack(bench->broker, &claimed[0].claim, soon(), on_idle_completed, bench);
    if (status || !count)
        give_up(bench, status, err);
}

static void on_woken(void *data, int status, const struct cel_error *err)
{
    struct bench *bench = data;
    if (!status)
        status = broker_claim(bench->broker, QUEUE, 1, soon(), on_idle_claimed, bench);
    if (status)
        give_up(bench, status, err);
}

static void wait_for_one(struct bench *bench)
{
    static const struct broker_message message = {.queue = {"bench", 5}, .bytes = {"x", 1}};
    int status = broker_wait(bench->broker, QUEUE, on_woken, bench);
    if (!status)
        status = broker_push(bench->broker, &message, 1, soon(), NULL, on_idle_pushed, bench);
    if (status)
        give_up(bench, status, NULL);
}

static void wake_up(struct bench *bench)
{
    bench->done = 0;
    struct stretch stretch = begin();
    wait_for_one(bench);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    if (!bench->failed)
        report("wait, push, claim, ack, one at a time", bench->count, stretch);
}

static void measure(struct bench *bench)
{
    static const struct {
        size_t batch, credit;
        bool acks_only;
        const char *what;
    } drains[] = {
        {1, 1, false, "claim + result"},    {8, 16, false, "claim + result"},
        {64, 128, false, "claim + result"}, {1, 1, true, "claim + ack"},
        {8, 16, true, "claim + ack"},       {64, 128, true, "claim + ack"},
    };
    size_t all = bench->count;
    bench->count = all / 10;
    fill(bench, 1, "push, one by one");
    drain(bench, 64, 128, "(emptying)");
    wake_up(bench);
    for (size_t i = 0; i < ARRAY_SIZE(drains) && !bench->failed; i++) {
        bench->count = drains[i].batch == 1 ? all / 10 : all;
        fill(bench, bench->count < 1000 ? bench->count : 1000, "push, 1000 at once");
        bench->acks_only = drains[i].acks_only;
        drain(bench, drains[i].batch, drains[i].credit, drains[i].what);
    }
}

static void on_joined(void *data,
                      int status,
                      const struct broker_claim *held,
                      size_t count,
                      const struct cel_error *err)
{
    (void)held;
    (void)count;
    on_pushed(data, status, err);
}

static void join(struct bench *bench)
{
    if (broker_renew(bench->broker, QUEUE, 3600 * USEC_PER_SEC, true, soon(), on_joined, bench) ==
        0)
        uv_run(&bench->loop, UV_RUN_DEFAULT);
}

static void keep_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* setting the other one stops it from growing by itself */
}

int main(int argc, char **argv)
{
    static const char document[] =
        "{\"status\": \"SUCCESS\", \"result\": null, \"traceback\": null, \"children\": [], "
        "\"date_done\": \"2030-01-01T00:00:00.000000+00:00\", "
        "\"task_id\": \"00000000-0000-4000-8000-000000000000\"}";
    struct bench bench = {.document = str_n(document, sizeof(document) - 1)};
    uint64_t count = 200000, size = 700;
    struct cel_error err;
    if (argc < 2 || (argc > 2 && str_parse_u64(str_of(argv[2]), &count)) ||
        (argc > 3 && str_parse_u64(str_of(argv[3]), &size)) || count < 10000 || size == 0) {
        fputs("broker_loop URL [MESSAGES (10000 or more) [BYTES]]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    keep_memory();
    bench.count = (size_t)count / 10000 * 10000;
    bench.size = (size_t)size;
    uv_loop_init(&bench.loop);
    const struct broker_options options = {
        .url = argv[1], .node = STR("bench@host:1"), .result_ttl = 3600 * USEC_PER_SEC};
    if (broker_new(&bench.loop, &options, &bench.broker, &err)) {
        fprintf(stderr, "broker_loop: %s\n", err.text);
        return 1;
    }
    join(&bench);
    measure(&bench);
    broker_close(bench.broker, NULL, NULL);
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&bench.loop) ? 1 : bench.failed;
}
