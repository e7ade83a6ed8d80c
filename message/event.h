/*
 * Events: what monitors are told of workers and tasks (docs/protocol.md, "Events"). Struct in, bytes
 * out; the clock and the pub/sub are others' affair.
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"

#define EVENT_EXCHANGE "celeryev"

enum event_type {
    EVENT_WORKER_ONLINE,
    EVENT_WORKER_HEARTBEAT,
    EVENT_WORKER_OFFLINE,
    EVENT_WORKER_ELECT_ACK, /* answer to worker-elect */
    EVENT_TASK_RECEIVED,
    EVENT_TASK_STARTED,
    EVENT_TASK_SUCCEEDED,
    EVENT_TASK_FAILED,
    EVENT_TASK_REJECTED,
    EVENT_TASK_REVOKED,
    EVENT_TASK_RETRIED,
};
enum { EVENT_TYPES = EVENT_TASK_RETRIED + 1 };

/* Each type has its own fields; the others are not looked at. Absent texts are null. */
struct event {
    enum event_type type;
    /* of all */
    struct str hostname; /* name@host */
    int64_t pid;
    uint64_t clock; /* Lamport's */
    usec_t timestamp_wall;
    /* of workers */
    usec_t freq; /* between two heartbeats */
    uint64_t active, processed;
    double load[3];
    struct str election; /* its id */
    /* of tasks */
    struct str uuid, name, args, kwargs, root_id, parent_id; /* args, kwargs: as Python's repr */
    int64_t retries;
    struct str eta, expires; /* ISO texts */
    struct str result;       /* as Python's repr */
    usec_t runtime;
    struct str exception, traceback; /* as Python's repr; absent traceback: left out */
    bool requeue, terminated, expired;
    int signum; /* 0: null */
};

/* Appends one event as a JSON object. */
void event_add(struct buf *buf, const struct event *event);
/* "worker.heartbeat": the routing key of an event that is sent alone. */
struct str event_routing_key(enum event_type type);
/* Of several in one message, an array. */
#define EVENT_MANY_ROUTING_KEY "task.multi"

/* Appends the message that holds `json`, an event or an array of them. */
int event_message(struct buf *buf,
                  struct str json,
                  struct str routing_key,
                  struct str hostname,
                  struct str delivery_tag) MUST_CHECK;

/* Reads a message of others: its event, or the first of several, as a map. CEL_E_FORMAT. */
struct cel_value;
int event_decode(struct str bytes,
                 struct cel_value **ret_event_take,
                 struct cel_error *err) MUST_CHECK;
