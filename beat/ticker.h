/*
 * The ticker: looks at the clock, fires what is due into a broker, and plans again. It owns the
 * schedule and its alarm; loop, broker and entries are borrowed.
 *
 * One alarm stands at the time of the next entry. When it strikes, all that is due is fired, each
 * entry with one broker_fire at a time, whose answer plans the entry's next slot. While Redis does
 * not answer, due entries wait and a PING looks for it with growing pauses; then each fires its
 * latest slot.
 */
#pragma once

#include <uv.h>

#include "beat/alarm.h"
#include "beat/entries.h"
#include "broker/broker.h"

enum { TICKER_ORIGIN_SIZE = 320 };

struct ticker {
    uv_loop_t *loop;
    struct broker *broker;
    const char *default_queue;       /* of entries that name none */
    const struct routes *routes;     /* come before it */
    char origin[TICKER_ORIGIN_SIZE]; /* of messages: "gen123@host" */
    usec_t max_interval;             /* longest sleep */

    struct schedule schedule;
    struct alarm alarm;
    usec_t struck_wall, alarm_wall; /* when it struck last, when it will; 0: not set */
    uv_timer_t retry;
    int64_t clock_gap; /* wall minus monotonic clock, when last looked at */
    bool is_running;
    bool is_down; /* Redis does not answer: the retry timer runs or a PING is under way */
    bool is_pinging;
    usec_t down_since_mono; /* while it is down */
    unsigned down_attempts;
    size_t firing_count;         /* under way */
    uint64_t fired;              /* by this process */
    void (*on_idle)(void *data); /* after ticker_stop: no firing is under way any more */
    void *on_idle_data;
};

/* The caller has set loop, default_queue, routes and max_interval, the rest is zero. On failure nothing
 * needs ticker_close. */
int ticker_open(struct ticker *ticker,
                const struct entries *entries,
                struct cel_error *err) MUST_CHECK;
/* Plans the enabled entries from now on. */
void ticker_start(struct ticker *ticker, struct broker *broker, const struct entries *entries);
/* Fires nothing new; `on_idle` is called when the last answer came, perhaps at once. */
void ticker_stop(struct ticker *ticker, void (*on_idle)(void *data), void *data);
/* After the broker was closed; its memory must stay until the loop has turned. */
void ticker_close(struct ticker *ticker);
/* What is due was fired, or it is known why not: the loop does its work. */
bool ticker_is_alive(const struct ticker *ticker);
