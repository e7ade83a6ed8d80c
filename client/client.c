/*
 * Opening, closing, and the one way in which a call of the broker becomes blocking.
 *
 * The broker speaks through callbacks on a loop. A client owns such a loop and runs it only inside
 * of its own functions:
 *
 *     client_begin    one turn without waiting: a connection that ended since the last call is
 *                     noticed now, not by losing a message in it
 *     broker_...      the call, with a deadline; its callback fills a client_wait
 *     client_wait     turns until the callback came; the deadline is the broker's business
 *
 * libuv writes to sockets without MSG_NOSIGNAL, so a connection that is gone would raise SIGPIPE in
 * the application's thread. A library may not change how the process takes signals: around each run
 * the signal is blocked in this thread alone, and one that was raised there is taken away.
 */
#include "client/handle.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/mem.h"
#include "message/call.h"

#define TIMEOUT_DEFAULT (5 * USEC_PER_SEC)
#define TIMEOUT_MAX_MS  ((int64_t)10 * 365 * 86400 * 1000) /* ten years: no deadline overflows */
#define DEDUPE_MAX_MS   ((int64_t)30 * 86400 * 1000)
#define REPLICAS_MAX    100
#define QUEUE_DEFAULT   "celery"
#define URL_DEFAULT     "redis://localhost:6379/0"
#define RESULT_TTL      (86400 * USEC_PER_SEC) /* Celery's result_expires, of chords and saved groups */
enum { CLOSE_TURNS = 16 };

struct pipe_guard {
    sigset_t before;
    bool was_pending;
};

static void pipe_guard_enter(struct pipe_guard *guard)
{
    sigset_t pipe, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &guard->before);
    guard->was_pending = sigismember(&guard->before, SIGPIPE) == 1 && sigpending(&pending) == 0 &&
                         sigismember(&pending, SIGPIPE) == 1;
}

static void pipe_guard_leave(struct pipe_guard *guard)
{
    if (!guard->was_pending) {
        static const struct timespec at_once = {0, 0};
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        while (sigtimedwait(&pipe, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

static const char *first_text(const char *given, const char *variable, const char *other_variable)
{
    if (given)
        return given;
    const char *text = getenv(variable);
    if ((!text || !*text) && other_variable)
        text = getenv(other_variable);
    return text && *text ? text : NULL;
}

struct str client_origin(char origin[CLIENT_ORIGIN_SIZE])
{
    char host[CLIENT_ORIGIN_SIZE - sizeof("gen2147483647@")];
    if (gethostname(host, sizeof(host)))
        host[0] = '\0';
    host[sizeof(host) - 1] = '\0';
    snprintf(origin, CLIENT_ORIGIN_SIZE, "gen%d@%s", (int)getpid(), host);
    return str_of(origin);
}

static void on_broker_closed(void *data)
{
    *(bool *)data = true;
}

static void free_client(struct cel_client *client)
{
    mem_free(client->queue);
    routes_deinit(&client->routes);
    mem_free(client);
}

static void end_loop(struct cel_client *client)
{
    while (client->broker && !client->is_closed)
        uv_run(&client->loop, UV_RUN_ONCE);
    ASSERT(uv_loop_close(&client->loop) == 0);
    free_client(client);
}

static void *end_aside(void *data)
{
    end_loop(data);
    return NULL;
}

/* True when a thread of its own ends the client. It takes no signals. */
static bool hand_over(struct cel_client *client)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&thread, NULL, end_aside, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status)
        return false;
    pthread_detach(thread);
    return true;
}

/*
 * Everything on the loop ends within a few turns that wait for nothing. Only a look-up of a host
 * name that its thread has begun cannot be ended, and may last as long as the resolver's patience:
 * nobody shall wait for that, so what is left is then given to a thread that does.
 */
static void close_loop(struct cel_client *client)
{
    struct pipe_guard guard;
    pipe_guard_enter(&guard);
    if (client->broker)
        broker_close(client->broker, on_broker_closed, &client->is_closed);
    for (int turn = 0; client->broker && !client->is_closed && turn < CLOSE_TURNS; turn++)
        uv_run(&client->loop, UV_RUN_NOWAIT);
    if (!client->broker || client->is_closed || !hand_over(client))
        end_loop(client);
    pipe_guard_leave(&guard);
}

static int open_broker(struct cel_client *client,
                       const struct cel_client_options *options,
                       struct cel_error *err)
{
    const char *url = first_text(options->broker_url, "CELERIAC_BROKER_URL", "CELERY_BROKER_URL");
    const char *result_url =
        first_text(options->result_backend, "CELERIAC_RESULT_BACKEND", "CELERY_RESULT_BACKEND");
    const struct broker_options broker = {
        .url = url ? url : URL_DEFAULT,
        .result_url = result_url,
        .key_prefix = str_of(options->key_prefix),
        .result_ttl = RESULT_TTL,
        .master_name = first_text(options->master_name, "CELERIAC_MASTER_NAME", NULL),
        .sentinel_username =
            first_text(options->sentinel_username, "CELERIAC_SENTINEL_USERNAME", NULL),
        .sentinel_password =
            first_text(options->sentinel_password, "CELERIAC_SENTINEL_PASSWORD", NULL),
    };
    client->has_results =
        !result_url || (strcmp(result_url, "disabled") != 0 && !broker_is_result_table(result_url));
    return broker_new(&client->loop, &broker, &client->broker, err);
}

static usec_t timeout_of(const struct cel_client_options *options)
{
    return options->timeout_ms ? (usec_t)options->timeout_ms * USEC_PER_MSEC : TIMEOUT_DEFAULT;
}

static int check_options(const struct cel_client_options *options, struct cel_error *err)
{
    int status = options->queue ? call_check_queue(str_of(options->queue), err) : 0;
    if (status)
        return status;
    if (options->timeout_ms < 0 || options->timeout_ms > TIMEOUT_MAX_MS)
        return error_set(err, -EINVAL, "A time limit of %lld ms is out of range",
                         (long long)options->timeout_ms);
    if (options->confirm_replicas < 0 || options->confirm_replicas > REPLICAS_MAX)
        return error_set(err, -EINVAL, "confirm_replicas is %d; 0 to %d can be used",
                         options->confirm_replicas, REPLICAS_MAX);
    if (!options->dedupe_ms)
        return 0;
    if (options->dedupe_ms < 0 || options->dedupe_ms > DEDUPE_MAX_MS)
        return error_set(err, -EINVAL, "A dedupe window of %lld ms is out of range",
                         (long long)options->dedupe_ms);
    if ((usec_t)options->dedupe_ms * USEC_PER_MSEC <= timeout_of(options))
        return error_set(err, -EINVAL,
                         "The dedupe window of %lld ms is not longer than the time limit: a "
                         "repetition could come after its end",
                         (long long)options->dedupe_ms);
    return 0;
}

int cel_client_open(const struct cel_client_options *options,
                    struct cel_client **ret_client,
                    struct cel_error *err)
{
    static const struct cel_client_options all_defaults = {.queue = NULL};
    struct cel_error unheard;
    if (!options)
        options = &all_defaults;
    if (!err)
        err = &unheard; /* inside, a code may be read back from it */
    if (!ret_client)
        return error_set(err, -EINVAL, "cel_client_open: ret_client is NULL");
    int status = check_options(options, err);
    if (status)
        return status;
    struct cel_client *client = mem_new(struct cel_client);
    if (!client)
        return error_no_memory(err);
    status = uv_loop_init(&client->loop);
    if (status) {
        mem_free(client);
        return error_set(err, status, "No event loop can be made: %s", uv_strerror(status));
    }
    client->owner = getpid();
    client->timeout = timeout_of(options);
    client->promises = (struct broker_promises){
        .once_within = (usec_t)options->dedupe_ms * USEC_PER_MSEC,
        .replicas = (unsigned)options->confirm_replicas,
        .disk = options->confirm_disk,
    };
    client_origin(client->origin);
    client->queue = str_dup(str_of(options->queue ? options->queue : QUEUE_DEFAULT));
    status = client->queue ? routes_add(&client->routes, str_of(options->routes), err)
                           : error_no_memory(err);
    if (status == 0)
        status = open_broker(client, options, err);
    if (status) {
        cel_client_close(client);
        return status;
    }
    *ret_client = client;
    return 0;
}

struct cel_client *cel_client_close(struct cel_client *client)
{
    if (!client)
        return NULL;
    /* In a forked child the loop's descriptors still act on the parent's: they are left alone. */
    if (client->owner == getpid())
        close_loop(client);
    else
        free_client(client);
    return NULL;
}

int client_begin(struct cel_client *client, struct cel_error *err)
{
    if (!client)
        return error_set(err, -EINVAL, "The client is NULL");
    if (client->owner != getpid())
        return error_set(err, -EINVAL,
                         "The client was opened before fork(); open one in this process");
    struct pipe_guard guard;
    pipe_guard_enter(&guard);
    uv_run(&client->loop, UV_RUN_NOWAIT);
    pipe_guard_leave(&guard);
    return 0;
}

usec_t client_deadline(const struct cel_client *client)
{
    return clock_mono() + client->timeout;
}

usec_t client_deadline_after(int64_t ms)
{
    return clock_mono() + (usec_t)(ms < TIMEOUT_MAX_MS ? ms : TIMEOUT_MAX_MS) * USEC_PER_MSEC;
}

void on_client_done(void *data, int status, const struct cel_error *err)
{
    struct client_wait *wait = data;
    wait->status = status;
    if (status < 0 && err)
        wait->error = *err;
    wait->done = true;
}

int client_wait(struct cel_client *client,
                struct client_wait *wait,
                int started,
                struct cel_error *err)
{
    if (started < 0)
        return error_set(err, started, "%s", cel_error_name(started));
    struct pipe_guard guard;
    pipe_guard_enter(&guard);
    while (!wait->done) {
        int alive = uv_run(&client->loop, UV_RUN_ONCE);
        ASSERT(alive || wait->done); /* a call under way holds a timer at the least */
    }
    pipe_guard_leave(&guard);
    if (wait->status < 0 && err)
        *err = wait->error;
    return wait->status;
}
