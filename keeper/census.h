/*
 * Finds the queues to look after, for a keeper that serves none itself: every queue on which a
 * worker ever had a lease. A new one is found within ten seconds.
 */
#pragma once

#include "keeper/promoter.h"
#include "keeper/rescuer.h"

struct census {
    struct broker *broker;
    struct promoter *promoter;
    struct rescuer *rescuer;
    struct str *names; /* owned: the promoter and the rescuer borrow them */
    size_t count;
    uv_timer_t timer;
    bool under_way, stopped;
};

void census_init(struct census *census,
                 uv_loop_t *loop,
                 struct broker *broker,
                 struct promoter *promoter,
                 struct rescuer *rescuer);
void census_start(struct census *census);
void census_stop(struct census *census);
/* After the broker was closed, and after the promoter and the rescuer are gone. */
void census_deinit(struct census *census);
