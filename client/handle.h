/*
 * The inside of a client: a broker on a private loop, and how one call of the broker is made
 * blocking. For the client's own files, and for those verbs of the executable that ask the broker
 * more than client.h offers. It starts no thread and lives in the thread that uses it.
 */
#pragma once

#include <sys/types.h>

#include "broker/broker.h"
#include "celeriac/client.h"
#include "message/routes.h"

enum { CLIENT_ORIGIN_SIZE = 128 };

struct cel_client {
    uv_loop_t loop;
    struct broker *broker;
    char *queue;                     /* the default one */
    struct routes routes;            /* come before it */
    usec_t timeout;                  /* of each call that has none of its own */
    struct broker_promises promises; /* of each sending */
    bool has_results;                /* the result backend is a Redis */
    bool is_closed;                  /* the broker is, after broker_close */
    pid_t owner;                     /* the process that opened it */
    char origin[CLIENT_ORIGIN_SIZE];
};

/* How one call of the broker ended; the `data` of its callback, or the head of it. */
struct client_wait {
    bool done;
    int status;
    struct cel_error error;
};

/*
 * Before each call: takes in what happened to the connections since the last one, so that a server
 * restarted in between is met with a new connection. -EINVAL: no client, or one of another process.
 */
int client_begin(struct cel_client *client, struct cel_error *err) MUST_CHECK;
usec_t client_deadline(const struct cel_client *client);
/* `ms` > 0 from now; no longer than ten years. */
usec_t client_deadline_after(int64_t ms);
/*
 * Runs the loop until `wait` is done. `started` is what the broker's function returned: when
 * negative nothing is waited for. Returns the status; fills `err` when it is negative.
 */
int client_wait(struct cel_client *client,
                struct client_wait *wait,
                int started,
                struct cel_error *err) MUST_CHECK;
/* Pushes messages, and opens the chords that begin with them, by the client's promises; fails as
 * cel_send_bulk says. `*ret_sent` is written whatever the end. */
int client_push(struct cel_client *client,
                const struct broker_message *messages,
                size_t count,
                const struct plan_chord *chords,
                size_t chord_count,
                size_t *ret_sent,
                struct cel_error *err) MUST_CHECK;
/* Any number of revocations. */
int client_revoke(struct cel_client *client,
                  const struct broker_revocation *revocations,
                  size_t count,
                  usec_t kept,
                  struct cel_error *err) MUST_CHECK;
bool client_knows_signal(const char *name); /* "TERM", "SIGTERM" */
/* A broker_done_fn whose data is a client_wait. */
void on_client_done(void *data, int status, const struct cel_error *err);
/* gen<pid>@<host>, as Celery names its clients. */
struct str client_origin(char origin[CLIENT_ORIGIN_SIZE]);
