/*
 * Sends tasks and says how fast, as one JSON line. The same number of raw LPUSH commands of the
 * same size through hiredis, in the same run, is the measure.
 *
 *     bench_client single|bulk|single-once|bulk-once|latency|raw|raw-bulk COUNT SOCKET
 *
 * "once" is the same with a dedupe window.
 */
#include <celeriac/client.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BULK = 1000, PIPELINE = 256, MESSAGE_SIZE = 800 };

static double now(clockid_t id)
{
    struct timespec time;

    clock_gettime(id, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void die(const char *text)
{
    fprintf(stderr, "bench_client: %s\n", text);
    exit(1);
}

static struct cel_call *call_make(const char *name)
{
    struct cel_call *call = cel_call_new(name);

    cel_call_queue(call, "bench");
    return call;
}

static void send_single(struct cel_client *client, int count)
{
    struct cel_call *call = call_make("bench.noop");
    struct cel_error err;

    for (int i = 0; i < count; i++)
        if (cel_send(client, call, NULL, &err))
            die(err.text);
    cel_call_free(call);
}

static void send_bulk(struct cel_client *client, int count)
{
    struct cel_call *call = call_make("bench.noop");
    struct cel_call *calls[BULK];
    struct cel_error err;

    for (int i = 0; i < BULK; i++)
        calls[i] = call;
    for (int left = count; left > 0; left -= BULK)
        if (cel_send_bulk(client, calls, (size_t)(left < BULK ? left : BULK), NULL, NULL, &err))
            die(err.text);
    cel_call_free(call);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One at a time on an idle worker: from just before the sending to the first line of the task. */
static void measure_latency(struct cel_client *client, int count)
{
    struct cel_call *call = call_make("bench.started");
    double *latency = calloc((size_t)count, sizeof *latency);
    struct cel_error err;

    if (!latency)
        die("no memory");
    for (int i = 0; i < count; i++) {
        char id[CEL_ID_SIZE];
        struct cel_result *result = NULL;
        double sent = now(CLOCK_REALTIME);
        if (cel_send(client, call, id, &err) || cel_result_wait(client, id, 10000, &result, &err))
            die(err.text);
        latency[i] = cel_value_float(cel_result_value(result), 0) - sent;
        cel_result_free(result);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    qsort(latency, (size_t)count, sizeof *latency, compare);
    printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", latency[count / 2] * 1e3,
           latency[count * 99 / 100] * 1e3);
    free(latency);
    cel_call_free(call);
}

static void raw_push(const char *socket, int count, int pipeline)
{
    char message[MESSAGE_SIZE];
    redisContext *redis = redisConnectUnix(socket);

    if (!redis || redis->err)
        die("raw: no connection");
    memset(message, 'x', sizeof message);
    for (int sent = 0; sent < count; sent += pipeline) {
        for (int i = 0; i < pipeline; i++)
            redisAppendCommand(redis, "LPUSH bench %b", message, sizeof message);
        for (int i = 0; i < pipeline; i++) {
            void *reply;
            if (redisGetReply(redis, &reply) != REDIS_OK)
                die("raw: no reply");
            freeReplyObject(reply);
        }
    }
    redisFree(redis);
}

int main(int argc, char **argv)
{
    struct cel_client *client;
    struct cel_error err;
    char url[512];

    if (argc != 4)
        die("single|bulk|single-once|bulk-once|latency|raw|raw-bulk COUNT SOCKET");
    int count = atoi(argv[2]);
    snprintf(url, sizeof url, "redis+socket://%s", argv[3]);
    bool once = strstr(argv[1], "-once") != NULL;
    struct cel_client_options options = {.broker_url = url, .dedupe_ms = once ? 600000 : 0};
    if (cel_client_open(&options, &client, &err))
        die(err.text);
    double begun = now(CLOCK_MONOTONIC);
    if (strcmp(argv[1], "single") == 0 || strcmp(argv[1], "single-once") == 0)
        send_single(client, count);
    else if (strcmp(argv[1], "bulk") == 0 || strcmp(argv[1], "bulk-once") == 0)
        send_bulk(client, count);
    else if (strcmp(argv[1], "latency") == 0)
        measure_latency(client, count);
    else if (strcmp(argv[1], "raw") == 0)
        raw_push(argv[3], count, 1);
    else if (strcmp(argv[1], "raw-bulk") == 0)
        raw_push(argv[3], count, PIPELINE);
    else
        die("unknown mode");
    if (strcmp(argv[1], "latency") != 0)
        printf("{\"per_second\": %.0f}\n", count / (now(CLOCK_MONOTONIC) - begun));
    cel_client_close(client);
    return 0;
}
