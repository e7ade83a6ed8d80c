/*
 * One connection to a Redis server: a libuv stream, commands out, replies in, in order. It knows no
 * command but those of its greeting, and no key.
 *
 * It connects when the first request comes and again whenever there is something to do. Requests
 * wait while it does, each until its own deadline. Everything asked for in one turn of the loop
 * goes out in one write. A request that was written and is not answered by its deadline ends the
 * connection: a socket that may be half open is never waited on. Where `silence` is set it ends as
 * soon as an answer is awaited and nothing at all was heard for so long. While it writes more than
 * 64 KB, what the server takes of that counts like an answer; that is looked at once in `silence`, so
 * that one which stops in the middle ends within twice as long.
 *
 * RESOLVING is the look-up of a host's name. Behind sentinels they are asked first, one after the
 * other, each with its deadline, who the master is; TESTING asks the named server whether it agrees.
 * A server that was a master may remain one for seconds after the sentinels have named another:
 * while READY they are asked again and again, by one of the connections for all.
 *
 *   IDLE --request--> RESOLVING -> CONNECTING -> AUTHENTICATING -> SELECTING -> TESTING -> READY
 *    ^                    ^     \_________________________ each ____________________________/ |
 *    |                    |                                  |                               |
 *    |                    |                                  |            LEAVING <----------+
 *    |                    |                                  |               |    not the one (words.h)
 *    |                    |                                  +---------------+
 *    |                    |                                  | failed, refused, lost or left
 *    |                    +--delay over-- BACKOFF <-----------+ something waits
 *    +-------------------------------------------------------+ nothing waits
 *
 *   any --close--> CLOSING
 */
#pragma once

#include "core/buf.h"
#include "redis/greeting.h"
#include "redis/pipeline.h"
#include "redis/resolve.h"
#include "redis/sentinel.h"
#include "redis/turn.h"
#include "redis/url.h"

struct redis_connection;

enum redis_state {
    REDIS_IDLE,
    REDIS_RESOLVING,
    REDIS_CONNECTING,
    REDIS_AUTHENTICATING,
    REDIS_SELECTING,
    REDIS_TESTING,
    REDIS_READY,
    REDIS_LEAVING, /* nothing more is written; what was sent is still answered */
    REDIS_BACKOFF,
    REDIS_CLOSING,
};

struct redis_connection_options {
    struct turn *turn;
    const struct url *url;             /* outlives the connection */
    struct redis_sentinels *sentinels; /* of this URL, outlives the connection; NULL: its own */
    usec_t silence; /* no sign of life for so long while something is awaited: given up; 0: never */
    void (*on_silent)(void *silent_data); /* when it was, or an answer came too late; may be NULL */
    void *silent_data;
    struct str read_buffer; /* shared with all connections of the loop */
    bool wants_id;          /* ask for the client id */
    /* In every turn before the requests are written; may send more. May be NULL. */
    void (*on_flush)(void *data);
    /* A reply that answers nothing: a published message. NULL: there are none. */
    void (*on_push)(void *data, const struct redis_reply *message);
    /* After READY was lost and what was under way has been told. May be NULL. */
    void (*on_lost)(void *data);
    void *data;
};

struct redis_connection {
    struct redis_connection_options options;
    uv_loop_t *loop;
    enum redis_state state;
    struct redis_socket *socket; /* the present one, or NULL */
    struct redis_pipeline pipeline;

    struct buf hello; /* the greeting as it goes out */
    enum redis_hello hello_steps[REDIS_HELLO_STEPS];
    unsigned hello_count, hello_next;
    int64_t client_id; /* 0: not known */

    struct redis_addresses addresses; /* of the host; tried in this order */
    unsigned address_next;
    struct redis_lookup *lookup; /* under way, or NULL */

    struct redis_sentinel *sentinel; /* that is being asked, or NULL */
    unsigned sentinel_index;         /* which one that is, or was */
    unsigned sentinels_asked;        /* in this attempt */
    struct redis_sentinels own_sentinels;
    struct redis_sentinel_master master; /* that one has named in this attempt; host "": none */

    struct turn_task flush;
    struct turn_alarm alarm;
    usec_t earliest_mono;     /* no request has an earlier deadline */
    usec_t state_mono;        /* deadline of this state */
    usec_t retry_mono;        /* no attempt to connect before */
    usec_t ready_mono;        /* when it became READY */
    usec_t asked_mono;        /* when `pipeline.sent` got its first */
    usec_t look_mono;         /* READY, and the master is looked for again; USEC_NEVER: it is not */
    usec_t pause_mono;        /* READY, and nothing is written before this; USEC_NEVER: no pause */
    unsigned attempt;         /* failed ones in a row */
    unsigned pauses;          /* in a row */
    struct cel_error failure; /* why there is no connection, for those who wait */
    char refusal[201];        /* words with which the server ran nothing; empty once it has */
    int fault;                /* the socket is found unusable and is given up at the turn's end */
    const char *fault_why;

    unsigned open; /* sockets, look-ups and sentinels not yet ended */
    void (*closed)(void *data);
    void *closed_data;
};

int redis_connection_new(const struct redis_connection_options *options,
                         uv_loop_t *loop,
                         struct redis_connection **ret_connection) MUST_CHECK; /* 0, -ENOMEM */
/* Frees one that was never sent anything. Takes NULL. */
void redis_connection_free_unused(struct redis_connection *connection);
/* Ends it: what is under way is told -ECANCELED from the loop, then it is freed and `closed` comes.
 */
void redis_connection_close(struct redis_connection *connection,
                            void (*closed)(void *data),
                            void *data);

/* Takes a formatted request over until its on_reply. */
void redis_connection_send(struct redis_connection *connection, struct redis_request *request);
/* Takes `request` back unless it was sent: true, and it will not be told anything. */
bool redis_connection_recall(struct redis_connection *connection, struct redis_request *request);
/* Asks for a turn's on_flush, as a request would. */
void redis_connection_wake(struct redis_connection *connection);
/* Gives the present socket up at the end of this turn; a new one is made when something waits.
 * `why` is a constant. */
void redis_connection_reset(struct redis_connection *connection, int code, const char *why);
/* The same because another connection to this server met silence, unless this one was heard of in
 * the last second, or moves a long write. */
void redis_connection_distrust(struct redis_connection *connection);
