/*
 * What follows from the end of a call, where the supervisor has to know: it reads no bodies, so it asks a child. That is a
 * process of its own, started when it is first needed, so that nothing waits here for tasks that run; it is loaded with
 * the same modules, as Celery calls some errbacks in the worker.
 */
#pragma once

#include "pool/pool.h"
#include "worker/request.h"

struct follow_events {
    /* settlement.follow_ups has what follows, or the settlement says that it could not be found out. The request is FOLLOWING
     * still. */
    void (*on_followed)(void *data, struct request *request);
    void (*on_stopped)(void *data); /* after follow_stop: no process is left */
};

struct follow {
    struct pool pool;
    struct pool_options options; /* borrows what they point to */
    uv_loop_t *loop;
    struct requests *requests;
    const struct follow_events *events;
    void *data;
    bool started, stopped;
    bool unusable; /* no child could be started; the next one that is needed is tried again */
    struct request *asked; /* that the child has, or NULL */
    struct buf scratch;    /* texts of what is asked */
};

void follow_init(struct follow *follow,
                 uv_loop_t *loop,
                 struct requests *requests,
                 const struct pool_options *options,
                 const struct follow_events *events,
                 void *data);
/* After follow_stop has told, or when it was never started. */
void follow_deinit(struct follow *follow);
/* `request` became FOLLOWING. */
void follow_ask(struct follow *follow);
/* New code. */
void follow_reload(struct follow *follow);
void follow_stop(struct follow *follow);
/* Its process ends now, and nothing is told of requests any more. */
void follow_abandon(struct follow *follow);
