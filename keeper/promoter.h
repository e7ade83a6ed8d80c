/*
 * Brings parked calls back to their queues when they are due: one timer, set to the earliest due
 * time that is known. Other nodes park too, so each queue is looked at once a second anyway.
 */
#pragma once

#include <uv.h>

#include "broker/broker.h"
#include "core/list.h"
#include "keeper/refusal.h"

#define PROMOTER_LOOK_USEC USEC_PER_SEC

struct promoter;
struct promoter_queue {
    struct list_link link;
    struct promoter *promoter;
    struct str name;
    usec_t look_wall; /* when to look next */
    bool under_way;
    struct refusal refusal;
};

struct promoter {
    struct broker *broker;
    struct list queues;
    uv_timer_t timer;
    bool stopped;
    uint64_t promoted;
};

void promoter_init(struct promoter *promoter, uv_loop_t *loop, struct broker *broker);
/* Looks after `queue` too, unless it does; the name is borrowed for the life of the promoter. */
void promoter_add(struct promoter *promoter, struct str queue);
/* After the broker was closed. */
void promoter_deinit(struct promoter *promoter);
void promoter_start(struct promoter *promoter);
void promoter_stop(struct promoter *promoter);
/* A call of `queue` was parked until `due_wall`. */
void promoter_note(struct promoter *promoter, struct str queue, usec_t due_wall);
