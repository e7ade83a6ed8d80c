/*
 * The worker as remote control sees it: a table of functions that the worker fills in. Nothing here
 * waits. What a function may refuse it says in `err`; a function that is NULL is something that this
 * worker cannot do.
 */
#pragma once

#include "core/clock.h"
#include "core/error.h"
#include "core/settings.h"
#include "message/envelope.h"

/* A call that this worker has. */
struct control_call {
    const struct envelope *envelope;
    bool is_active; /* a process has it */
    bool is_acknowledged;
    usec_t started_wall; /* active ones */
    int64_t pid;         /* of that process */
};
typedef void control_call_fn(void *data, const struct control_call *call);

/* A task that its processes have registered. */
struct control_task {
    struct str name, queue;
    struct str rate_limit; /* "10/m"; absent: none */
    int64_t max_retries;   /* -1: endless */
    usec_t retry_delay, soft_limit, hard_limit;
    bool ignore_result, acks_late, track_started;
    uint64_t runs; /* begun since the start */
};
typedef void control_task_fn(void *data, const struct control_task *task);

/* A queue that is consumed. */
struct control_queue {
    struct str name, exchange, exchange_type, routing_key;
};
typedef void control_queue_fn(void *data, const struct control_queue *queue);
typedef void control_id_fn(void *data, struct str id);
typedef void control_process_fn(void *data, int64_t pid, uint64_t tasks);

struct control_autoscale {
    int64_t max, min, current;
};

struct control_numbers {
    usec_t uptime;
    uint64_t concurrency, prefetch;
    usec_t soft_limit, hard_limit; /* of tasks that have none */
    int64_t max_tasks_per_child;   /* 0: any number */
    bool has_autoscale;
    struct control_autoscale autoscale;
};

struct control_host {
    /* looking */
    void (*each_call)(void *data, control_call_fn *visit, void *visit_data);
    void (*each_task)(void *data, control_task_fn *visit, void *visit_data); /* by name */
    void (*each_queue)(void *data, control_queue_fn *visit, void *visit_data);
    void (*each_revoked)(void *data, control_id_fn *visit, void *visit_data);
    void (*each_process)(void *data, control_process_fn *visit, void *visit_data);
    void (*numbers)(void *data, struct control_numbers *ret);
    bool (*is_set_up)(void *data, struct str queue); /* the settings name it */
    bool (*is_revoked)(void *data, struct str id);
    bool (*runs_stamped)(void *data,
                         struct str stamp,
                         struct str value); /* a process has such a call */
    /* changing; 0, or negative with `err`. -ENOENT: no such task or queue */
    int (*set_time_limits)(
        void *data, struct str task, usec_t soft, usec_t hard, struct cel_error *err);
    /* "10/m"; "0": none */
    int (*set_rate_limit)(void *data, struct str task, struct str rate, struct cel_error *err);
    int (*resize)(void *data, int64_t by, struct cel_error *err);
    int (*set_autoscale)(void *data, struct control_autoscale *autoscale, struct cel_error *err);
    int (*add_consumer)(void *data, const struct control_queue *queue, struct cel_error *err);
    int (*cancel_consumer)(void *data, struct str queue, struct cel_error *err);
    int (*reload)(void *data, struct cel_error *err);
    void (*shut_down)(void *data);
};
