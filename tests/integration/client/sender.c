/*
 * Sends calls whose ids are their numbers, one by one and in bulk by turns, and sends again what
 * failed, for as long as it takes:
 *
 *     sender URL COUNT
 *
 * Writes a line with the number of calls known to be sent after each success, and at the end the
 * number of failures.
 */
#include <celeriac/client.h>

#include <stdio.h>
#include <stdlib.h>

enum { BULK = 20, SINGLES = 20, FAILURES_MAX = 10000 };

static struct cel_call *make_call(int number)
{
    char id[32];
    struct cel_call *call = cel_call_new("a.b");
    snprintf(id, sizeof(id), "call-%d", number);
    cel_call_id(call, id);
    cel_call_arg(call, cel_int(number));
    return call;
}

/* Returns how many are known to be sent. */
static size_t send_some(struct cel_client *client, int first, int count, struct cel_error *err)
{
    struct cel_call *calls[BULK];
    size_t sent = 0;
    for (int i = 0; i < count; i++)
        calls[i] = make_call(first + i);
    if (count > 1)
        cel_send_bulk(client, calls, (size_t)count, NULL, &sent, err);
    else
        sent = cel_send(client, calls[0], NULL, err) == 0;
    for (int i = 0; i < count; i++)
        cel_call_free(calls[i]);
    return sent;
}

int main(int argc, char **argv)
{
    struct cel_client *client;
    struct cel_error err;
    if (argc != 3)
        return 2;
    /* a short time limit, so that some sendings fail and are made again by this program */
    const struct cel_client_options options = {
        .broker_url = argv[1], .timeout_ms = 60, .dedupe_ms = 600000};
    if (cel_client_open(&options, &client, &err)) {
        fprintf(stderr, "sender: %s\n", err.text);
        return 1;
    }
    int total = atoi(argv[2]), sent = 0, failures = 0;
    while (sent < total && failures < FAILURES_MAX) {
        int count = sent % (SINGLES + BULK) < SINGLES ? 1 : BULK;
        if (count > total - sent)
            count = total - sent;
        int some = (int)send_some(client, sent, count, &err);
        failures += some < count;
        sent += some;
        printf("%d\n", sent);
        fflush(stdout);
    }
    printf("failures %d\n", failures);
    cel_client_close(client);
    return sent == total ? 0 : 1;
}
