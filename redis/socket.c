#include "redis/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "core/error.h"
#include "core/mem.h"

enum { KEEPALIVE_SEC = 60, LONG_WRITE = 64 * 1024 };

static void on_connected(uv_connect_t *connect, int status)
{
    struct redis_socket *socket = container_of(connect, struct redis_socket, connect);
    if (!socket->is_dead)
        socket->events->connected(socket->owner, status);
}

static void on_closed(uv_handle_t *handle)
{
    struct redis_socket *socket = handle->data;
    socket->events->closed(socket->owner);
    reply_reader_deinit(&socket->reader);
    mem_free(socket);
}

int redis_socket_new(uv_loop_t *loop,
                     bool is_pipe,
                     const struct redis_socket_events *events,
                     void *owner,
                     struct str read_buffer,
                     struct redis_socket **ret_socket)
{
    struct redis_socket *socket = mem_new(struct redis_socket);
    if (!socket)
        return -ENOMEM;
    int status = reply_reader_init(&socket->reader);
    if (!status)
        status = is_pipe ? uv_pipe_init(loop, &socket->pipe, 0) : uv_tcp_init(loop, &socket->tcp);
    if (status) {
        reply_reader_deinit(&socket->reader);
        mem_free(socket);
        return status;
    }
    socket->handle.data = socket;
    socket->events = events;
    socket->owner = owner;
    socket->read_buffer = read_buffer;
    *ret_socket = socket;
    return 0;
}

int redis_socket_connect(struct redis_socket *socket,
                         const char *path,
                         const struct sockaddr *address)
{
    if (path) {
        uv_pipe_connect(&socket->connect, &socket->pipe, path, on_connected);
        return 0;
    }
    int status = uv_tcp_nodelay(&socket->tcp, 1);
    if (!status)
        status = uv_tcp_keepalive(&socket->tcp, 1, KEEPALIVE_SEC);
    if (!status)
        status = uv_tcp_connect(&socket->connect, &socket->tcp, address, on_connected);
    return status;
}

void redis_socket_close(struct redis_socket *socket)
{
    if (socket->is_dead)
        return;
    socket->is_dead = true;
    uv_close(&socket->handle, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct redis_socket *socket = handle->data;
    (void)suggested;
    *ret =
        uv_buf_init((char *)(uintptr_t)socket->read_buffer.ptr, (unsigned)socket->read_buffer.len);
}

static void broken(struct redis_socket *socket, int code)
{
    const char *why = code == CEL_E_LIMIT    ? "a reply is too large"
                      : code == CEL_E_FORMAT ? "the server does not speak the Redis protocol"
                                             : "memory is short";
    socket->events->failed(socket->owner, code, why);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct redis_socket *socket = ((uv_handle_t *)stream)->data;
    if (len == 0 || socket->is_dead)
        return;
    if (len == UV_EOF) {
        socket->events->failed(socket->owner, -ECONNRESET, "the server closed the connection");
        return;
    }
    if (len < 0) {
        socket->events->failed(socket->owner, (int)len, uv_strerror((int)len));
        return;
    }
    socket->alive_mono = clock_mono();
    if (socket->left >= LONG_WRITE)
        redis_socket_look(socket); /* what is left now may be another, short one */
    int status = reply_reader_feed(&socket->reader, str_n(buf->base, (size_t)len));
    while (!status && !socket->is_dead) {
        const struct redis_reply *reply;
        status = reply_reader_next(&socket->reader, &reply);
        if (!status && !reply)
            return;
        if (!status)
            socket->events->reply(socket->owner, reply);
    }
    if (status && !socket->is_dead)
        broken(socket, status);
}

int redis_socket_read(struct redis_socket *socket)
{
    return uv_read_start(&socket->stream, on_alloc, on_read);
}

static void on_written(uv_write_t *write, int status)
{
    struct redis_socket *socket = container_of(write, struct redis_socket, write);
    if (socket->is_dead)
        return;
    socket->is_writing = false;
    if (status < 0)
        socket->events->failed(socket->owner, status, uv_strerror(status));
    else
        socket->events->drained(socket->owner);
}

int redis_socket_write(struct redis_socket *socket,
                       const uv_buf_t *bufs,
                       unsigned count,
                       unsigned *ret_taken)
{
    int written = uv_try_write(&socket->stream, bufs, count);
    if (written == UV_EAGAIN)
        written = 0;
    if (written < 0)
        return written;
    size_t left = (size_t)written;
    unsigned taken = 0;
    socket->given += written;
    while (taken < count && left >= bufs[taken].len)
        left -= bufs[taken++].len;
    if (taken < count) {
        uv_buf_t rest = uv_buf_init(bufs[taken].base + left, (unsigned)(bufs[taken].len - left));
        int status = uv_write(&socket->write, &socket->stream, &rest, 1, on_written);
        if (status < 0)
            return status;
        socket->is_writing = true;
        socket->given += (int64_t)rest.len;
        taken++;
    }
    if (socket->is_writing || written >= LONG_WRITE)
        redis_socket_look(socket); /* from here on it has to move */
    *ret_taken = taken;
    return 0;
}

bool redis_socket_has_unwritten(const struct redis_socket *socket)
{
    return socket->is_writing && uv_stream_get_write_queue_size(&socket->stream) > 0;
}

void redis_socket_look(struct redis_socket *socket)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno(&socket->handle, &fd) || ioctl(fd, SIOCOUTQ, &in_kernel))
        return;
    int64_t left = (int64_t)uv_stream_get_write_queue_size(&socket->stream) + in_kernel;
    int64_t delivered = socket->given - left;
    if (delivered > socket->delivered && (left >= LONG_WRITE || socket->left >= LONG_WRITE))
        socket->alive_mono = clock_mono();
    socket->left = left;
    socket->delivered = delivered;
}
