/*
 * One socket of a redis_connection, from connect(2) to close(2): bytes out, replies in. A
 * connection that is made anew has a new socket; the old one lives on, silent, until libuv has
 * closed it, so that replies still borrowed from it stay good.
 */
#pragma once

#include <netinet/in.h>
#include <uv.h>

#include "core/clock.h"
#include "redis/reply.h"

struct redis_socket;

/* What happens on a socket that is not closed; any of them may close it. */
struct redis_socket_events {
    void (*connected)(void *owner, int status);
    void (*reply)(void *owner, const struct redis_reply *reply);
    void (*drained)(void *owner); /* what redis_socket_write kept back has been written */
    void (*failed)(void *owner, int code, const char *why);
    void (*closed)(void *owner); /* the last word */
};

struct redis_socket {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
    uv_connect_t connect;
    uv_write_t write;
    struct reply_reader reader;
    struct str read_buffer;
    const struct redis_socket_events *events;
    void *owner;
    bool is_dead;      /* closing: nothing more is told but `closed` */
    bool is_writing;   /* the rest of a buffer waits for room in the kernel */
    usec_t alive_mono; /* when something was read, or a long write found to move, last; 0: never */
    int64_t given;     /* bytes, to redis_socket_write */
    int64_t left;      /* of them, at the last look: not delivered */
    int64_t delivered; /* the others */
    unsigned scripts;  /* that its server knows: the owner's business, zero at first */
};

/* A socket of the kind that `is_pipe` says, not connected. 0 or a failure, then without any event.
 */
int redis_socket_new(uv_loop_t *loop,
                     bool is_pipe,
                     const struct redis_socket_events *events,
                     void *owner,
                     struct str read_buffer,
                     struct redis_socket **ret_socket) MUST_CHECK;
/* Begins to connect to `path` (a pipe's) or `address`; how it went comes by `connected`, unless
 * this fails at once. */
int redis_socket_connect(struct redis_socket *socket,
                         const char *path,
                         const struct sockaddr *address) MUST_CHECK;
int redis_socket_read(struct redis_socket *socket) MUST_CHECK; /* lets replies come */
void redis_socket_close(struct redis_socket *socket);

/*
 * Writes as much as goes without waiting. `*ret_taken` buffers are written, but for the last one
 * perhaps, of which the rest follows by itself: its bytes must stay until `drained` or the close.
 * Not to be called while is_writing. A failure leaves the socket unusable.
 */
int redis_socket_write(struct redis_socket *socket,
                       const uv_buf_t *bufs,
                       unsigned count,
                       unsigned *ret_taken) MUST_CHECK;
/* Whether bytes of the last buffer are still on our side. (is_writing ends a turn of the loop
 * later.) */
bool redis_socket_has_unwritten(const struct redis_socket *socket);
/*
 * Sets alive_mono when the other side has taken more of a long write since the last look. What only
 * our kernel has taken does not count, and neither does a short write: a host takes it although its
 * server hangs.
 */
void redis_socket_look(struct redis_socket *socket);
