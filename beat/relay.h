/*
 * The relay of the outbox: publishes what transactions have committed there (store/outbox.h) to Redis,
 * each row once, and deletes it. Any number of relays may run beside each other.
 *
 *   TAKING --rows--> PUSHING --pushed once--> ENDING --deleted, committed--> TAKING ...
 *     |  ^                                      |
 *     +--+ nothing there: waits for word, or a second
 *
 * The rows stay locked by one transaction from TAKING to ENDING. A relay that dies in between leaves them;
 * what it has pushed bears a mark in Redis and is not pushed again. The marks are taken away when
 * the deletion is committed; they would last for a year.
 *
 * By the way it removes old markers of exactly-once effects (store/effect.h).
 *
 * What asks PostgreSQL runs on a thread of its own and touches the relay only there.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "celeriac/call.h"
#include "store/effect.h"
#include "store/outbox.h"

struct relay_row {
    struct outbox_row row;
    struct cel_message written; /* of a call; else empty */
    char mark[OUTBOX_IDENTITY_SIZE + 32];
    char *refused;
};

struct relay {
    uv_loop_t *loop;
    struct broker *broker;
    const char *default_queue, *origin; /* borrowed */
    const struct routes *routes;        /* borrowed; come before default_queue */
    struct pg *pg;                      /* NULL: there is no database */
    uv_work_t work;
    uv_timer_t pause;
    int wake_fd; /* ends the wait for new rows */
    enum { RELAY_OFF, RELAY_PAUSING, RELAY_TAKING, RELAY_PUSHING, RELAY_ENDING } state;
    bool is_stopping, is_open, is_down;
    unsigned attempts; /* in vain, one after the other */
    int status;        /* of the work */
    struct cel_error err;
    usec_t expire_mono; /* when old markers go next */
    int expire_status;  /* of the work */
    struct cel_error expire_err;
    char identity[OUTBOX_IDENTITY_SIZE];
    struct cel_rows *rows;
    struct relay_row *items; /* of `rows` */
    size_t count;
    struct broker_message *messages;
    size_t *places; /* of each message, its item */
    size_t message_count;
    struct broker_pushed pushed;
    int push_status;
    uint64_t published, refused;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* `uri` NULL: nothing is ever relayed. */
void relay_init(struct relay *relay,
                uv_loop_t *loop,
                struct broker *broker,
                const char *uri,
                const char *default_queue,
                const char *origin);
void relay_start(struct relay *relay);
/* Finishes what is under way; `cb` comes at once or later. */
void relay_stop(struct relay *relay, void (*cb)(void *data), void *data);
/* After relay_stop's callback. */
void relay_deinit(struct relay *relay);
