/*
 * What the broker's tests share: a private server, a loop, a broker, and outcomes that callbacks
 * fill while the loop runs. Nothing is asserted inside a callback.
 */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "celeriac/error.h"
#include "tests/support/redis_server.h"

enum { CLAIMED_MAX = 256, REPLY_MAX = 1 << 16 };

struct rig {
    struct redis_server server;
    uv_loop_t loop;
    struct broker *broker;
    uv_timer_t patience; /* ends a test whose callback never comes */
};

struct claimed {
    struct broker_claim claim;
    char bytes[256]; /* the first of them, terminated */
    size_t len;
};

/* How a call ended; the `data` of all callbacks below. */
struct outcome {
    int calls;
    int status;
    struct cel_error err;
    size_t count, moved;
    usec_t next_due_wall;
    char document[1024]; /* "" when absent; has_document tells */
    bool has_document;
    struct claimed claimed[CLAIMED_MAX];
    struct broker_queue_stats stats[32];
    char names[32][64], oldest[32][256];
};

#define QUEUE STR("celery")

int rig_open(void **state); /* a server for the group; `*state` is the rig */
int rig_close(void **state);
int rig_setup(void **state);    /* for each test: FLUSHALL, loop and broker "node@host:1" */
int rig_teardown(void **state); /* closes them; fails when the loop has something left */

struct broker_options rig_options(const struct rig *rig);
void rig_new_broker(struct rig *rig, const struct broker_options *options);
void rig_close_broker(struct rig *rig);

usec_t in_seconds(double seconds); /* a deadline; negative: long past */
/* Runs the loop until `outcome` was called once; fails when that takes too long. */
void rig_run(struct rig *rig, struct outcome *outcome);
/* Runs it for so long. */
void rig_spend(struct rig *rig, double seconds);

void on_done(void *data, int status, const struct cel_error *err);
void on_claim(void *data,
              int status,
              const struct broker_claimed *claimed,
              size_t count,
              const struct cel_error *err);
void on_promote(
    void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err);
void on_result(void *data, int status, struct str document, const struct cel_error *err);
void on_stats(void *data,
              int status,
              const struct broker_queue_stats *stats,
              size_t count,
              const struct cel_error *err);

/* Calls that must succeed. */
void push_text(struct rig *rig, struct str queue, unsigned step, const char *text);
/* Takes a lease on `queue`, which claims need. */
void join(struct rig *rig, struct str queue);
/* Claims, after joining when that is needed. */
void claim_into(struct rig *rig, struct str queue, size_t max, struct outcome *outcome);

/* One command to the server from beside: words are split at spaces, "%s" words may be given. The
 * reply as it stands on the wire. */
const char *server_says(struct rig *rig, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t server_number(struct rig *rig, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* How many keys there are, but those of leases, counts and the names of queues. */
int64_t keys_of_messages(struct rig *rig);
/* Runs the loop until the command replies `number`. */
void wait_for_number(struct rig *rig, int64_t number, const char *command);
