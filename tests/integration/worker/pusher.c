/*
 * Sends calls of tests.add(1, 2) one after the other until its standard input ends:
 *
 *     pusher URL
 *
 * Writes a line for each: the status, the task's id, and the error's text if there is one.
 */
#include <celeriac/client.h>

#include <poll.h>
#include <stdio.h>

enum { BETWEEN_MS = 2, TIMEOUT_MS = 8000 };

static bool is_over(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, BETWEEN_MS) != 0;
}

static void send_one(struct cel_client *client)
{
    char id[CEL_ID_SIZE];
    struct cel_error err = {0};
    struct cel_call *call = cel_call_new("tests.add");
    cel_call_arg(call, cel_int(1));
    cel_call_arg(call, cel_int(2));
    int status = cel_send(client, call, id, &err);
    printf("%d %s %s\n", status, id, status ? err.text : "");
    fflush(stdout);
    cel_call_free(call);
}

int main(int argc, char **argv)
{
    struct cel_client *client;
    struct cel_error err;
    if (argc != 2)
        return 2;
    const struct cel_client_options options = {.broker_url = argv[1], .timeout_ms = TIMEOUT_MS};
    if (cel_client_open(&options, &client, &err)) {
        fprintf(stderr, "pusher: %s\n", err.text);
        return 1;
    }
    do {
        send_one(client);
    } while (!is_over());
    cel_client_close(client);
    return 0;
}
