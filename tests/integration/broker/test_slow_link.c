/* Long messages over a link that is slow, or that stops while one is on its way. */
#include "tests/integration/broker/rig.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE = 6 * 1024 * 1024, TICK_MS = 10, SLOW = 20 * 1024, FAST = 1 << 30, CHUNK = 1 << 16 };
#define SILENCE USEC_PER_SEC

/* Between one broker and the server; it serves one connection after the other. */
struct relay {
    const struct redis_server *server;
    int listener;
    char url[160], path[100];
    atomic_int rate; /* bytes to the server in each tick */
    atomic_int connections;
    atomic_bool ends;
    pthread_t thread;
};

static int connect_to_server(const struct relay *relay)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", relay->server->socket);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)))
        abort();
    return fd;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, timeout_ms) > 0;
}

/* Hands on at most `limit` bytes; false when there will be no more. */
static bool carry(int from, int to, int limit)
{
    static char bytes[CHUNK];
    while (limit > 0 && is_readable(from, 0)) {
        ssize_t len = read(from, bytes, limit < CHUNK ? (size_t)limit : CHUNK);
        if (len <= 0)
            return false;
        for (ssize_t at = 0, written; at < len; at += written) {
            written = write(to, bytes + at, (size_t)(len - at));
            if (written <= 0)
                return false;
        }
        limit -= (int)len;
    }
    return true;
}

static void *relay_run(void *data)
{
    struct relay *relay = data;
    while (!relay->ends) {
        if (!is_readable(relay->listener, TICK_MS))
            continue;
        int client = accept(relay->listener, NULL, NULL), server = connect_to_server(relay);
        relay->connections++;
        while (!relay->ends && carry(client, server, relay->rate) && carry(server, client, FAST))
            usleep(TICK_MS * 1000);
        close(client);
        close(server);
    }
    return NULL;
}

static void listen_on_path(struct relay *relay)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(relay->path, sizeof(relay->path), "%s/relay.sock", relay->server->folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", relay->path);
    snprintf(relay->url, sizeof(relay->url), "redis+socket://%s", relay->path);
    relay->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void listen_on_port(struct relay *relay)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int small = CHUNK; /* what a host acknowledges before its program reads */
    relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(relay->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(bind(relay->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(relay->url, sizeof(relay->url), "redis://127.0.0.1:%u", ntohs(address.sin_port));
}

/* The broker behind a relay, connected. */
static void relay_start(struct relay *relay, struct rig *rig, bool is_tcp)
{
    struct outcome outcome = {0};
    struct broker_options options = rig_options(rig);
    *relay = (struct relay){.server = &rig->server, .rate = FAST};
    if (is_tcp)
        listen_on_port(relay);
    else
        listen_on_path(relay);
    assert_int_equal(listen(relay->listener, 8), 0);
    assert_int_equal(pthread_create(&relay->thread, NULL, relay_run, relay), 0);
    rig_close_broker(rig);
    options.url = relay->url;
    options.silence = SILENCE;
    rig_new_broker(rig, &options);
    assert_int_equal(broker_ping(rig->broker, in_seconds(20), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void relay_stop(struct relay *relay, struct rig *rig)
{
    rig_close_broker(rig);
    relay->ends = true;
    pthread_join(relay->thread, NULL);
    close(relay->listener);
    if (relay->path[0])
        unlink(relay->path);
}

static void push_bytes(struct rig *rig, size_t size, struct outcome *outcome)
{
    char *bytes = malloc(size);
    const struct broker_message message = {.queue = QUEUE, .bytes = str_n(bytes, size)};
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    assert_int_equal(broker_push(rig->broker, &message, 1, in_seconds(28), NULL, on_done, outcome),
                     0);
    free(bytes);
}

static void push_long(struct rig *rig, struct outcome *outcome)
{
    push_bytes(rig, SIZE, outcome);
}

/* Three seconds for the message, in which the server has nothing to say. */
static void a_long_write_that_moves_is_no_silence(void **state)
{
    for (int is_tcp = 0; is_tcp <= 1; is_tcp++) {
        struct rig *rig = *state;
        struct relay relay;
        struct outcome outcome = {0};
        relay_start(&relay, rig, is_tcp);
        relay.rate = SLOW;
        usec_t before = clock_mono();
        push_long(rig, &outcome);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, 0);
        assert_true(clock_mono() - before > 2 * SILENCE);
        assert_int_equal(relay.connections, 1);
        assert_int_equal(server_number(rig, "LLEN celery"), is_tcp + 1);
        relay_stop(&relay, rig);
    }
}

/* When silence would end it, less is left than counts as long. (Not on TCP, where the host at the other
 * end takes so little at once.) */
static void the_end_of_a_long_write_is_no_silence_either(void **state)
{
    struct rig *rig = *state;
    struct relay relay;
    struct outcome outcome = {0};
    relay_start(&relay, rig, false);
    relay.rate = 1024;
    push_bytes(rig, 132 * 1024, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(relay.connections, 1);
    relay_stop(&relay, rig);
}

static void a_long_write_that_stops_is_silence(void **state)
{
    for (int is_tcp = 0; is_tcp <= 1; is_tcp++) {
        struct rig *rig = *state;
        struct relay relay;
        struct outcome outcome = {0};
        relay_start(&relay, rig, is_tcp);
        relay.rate = SLOW;
        push_long(rig, &outcome);
        rig_spend(rig, 1.5);
        assert_int_equal(outcome.calls, 0);
        relay.rate = 0;
        usec_t stopped = clock_mono();
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
        assert_in_range(clock_mono() - stopped, 0, 2 * SILENCE + SILENCE / 2);
        relay_stop(&relay, rig);
    }
}

/* The host takes a short command; its program does not. */
static void a_short_write_that_arrived_is_no_sign_of_life(void **state)
{
    struct rig *rig = *state;
    struct relay relay;
    struct outcome outcome = {0};
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    relay_start(&relay, rig, true);
    relay.rate = 0;
    usec_t before = clock_mono();
    assert_int_equal(broker_push(rig->broker, &message, 1, in_seconds(28), NULL, on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
    assert_in_range(clock_mono() - before, SILENCE, 2 * SILENCE - SILENCE / 10);
    relay_stop(&relay, rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_long_write_that_moves_is_no_silence),
        TEST(the_end_of_a_long_write_is_no_silence_either),
        TEST(a_long_write_that_stops_is_silence),
        TEST(a_short_write_that_arrived_is_no_sign_of_life),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
