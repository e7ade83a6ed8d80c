#include "commands/redis_command_bus.h"

#include "commands/redis_command_priv.h"

void bus_add_channel(struct buf *buf,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key)
{
    buf_add_str(buf, names->space.prefix);
    buf_add_str(buf, names->fanout_prefix);
    buf_add_str(buf, exchange);
    if (routing_key.len) {
        buf_add_char(buf, '/');
        buf_add_str(buf, routing_key);
    }
}

void bus_add_pattern(struct buf *buf,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key)
{
    CLEANUP(buf_deinit) struct buf channel = BUF_INIT(SIZE_MAX / 2);
    bus_add_channel(&channel, names, exchange, routing_key);
    int status = buf_status(&channel);
    if (status)
        buf->status = status;
    else
        key_add_escaped(buf, buf_str(&channel));
}

static void write_channel(struct buf *buf,
                          const struct bus_names *names,
                          struct str exchange,
                          struct str routing_key)
{
    size_t start = write_open(buf);
    bus_add_channel(buf, names, exchange, routing_key);
    write_close(buf, start);
}

static void write_binding(struct buf *buf, const struct bus_names *names, struct str exchange)
{
    size_t start = write_open(buf);
    key_add_binding(buf, &names->space, exchange);
    write_close(buf, start);
}

static void write_member(struct buf *buf, struct str routing_key, struct str queue)
{
    size_t start = write_open(buf);
    key_add_member(buf, routing_key, queue);
    write_close(buf, start);
}

static void write_list(struct buf *buf, const struct bus_names *names, struct str queue)
{
    size_t start = write_open(buf);
    key_add_list(buf, &names->space, queue, 0);
    write_close(buf, start);
}

int bus_command_publish(struct redis_request *request,
                        const struct bus_names *names,
                        struct str exchange,
                        struct str routing_key,
                        struct str message)
{
    struct buf buf = write_begin(3, message.len + exchange.len + routing_key.len + 64);
    write_arg(&buf, STR("PUBLISH"));
    write_channel(&buf, names, exchange, routing_key);
    write_arg(&buf, message);
    return redis_request_finish(request, &buf);
}

int bus_command_listen(struct redis_request *request, struct str pattern)
{
    struct buf buf = write_begin(2, pattern.len + 32);
    write_arg(&buf, STR("PSUBSCRIBE"));
    write_arg(&buf, pattern);
    return redis_request_finish(request, &buf);
}

int bus_command_bind(struct redis_request *request,
                     const struct bus_names *names,
                     struct str exchange,
                     struct str routing_key,
                     struct str queue,
                     bool is_bound)
{
    struct buf buf = write_begin(3, exchange.len + routing_key.len + queue.len + 96);
    write_arg(&buf, is_bound ? STR("SADD") : STR("SREM"));
    write_binding(&buf, names, exchange);
    write_member(&buf, routing_key, queue);
    return redis_request_finish(request, &buf);
}

int bus_command_reply(struct redis_request *request,
                      const struct bus_names *names,
                      struct str exchange,
                      struct str key,
                      struct str message)
{
    CLEANUP(buf_deinit) struct buf queue = BUF_INIT(64 * 1024);
    buf_add_str(&queue, key);
    buf_add_char(&queue, '.');
    buf_add_str(&queue, exchange);
    int status = buf_status(&queue);
    if (status)
        return status;
    struct buf buf =
        script_begin(request, SCRIPT_reply, 2, 2, message.len + 3 * queue.len + exchange.len + 96);
    write_binding(&buf, names, exchange);
    write_list(&buf, names, buf_str(&queue));
    write_member(&buf, key, buf_str(&queue));
    write_arg(&buf, message);
    return redis_request_finish(request, &buf);
}

static void write_told(struct buf *buf, const struct bus_names *names, struct str worker)
{
    size_t start = write_open(buf);
    key_add_told(buf, &names->space, worker);
    write_close(buf, start);
}

int bus_command_note(struct redis_request *request,
                     const struct bus_names *names,
                     struct str worker,
                     struct str what,
                     struct str value)
{
    struct buf buf = write_begin(value.ptr ? 4 : 3, worker.len + what.len + value.len + 96);
    write_arg(&buf, value.ptr ? STR("HSET") : STR("HDEL"));
    write_told(&buf, names, worker);
    write_arg(&buf, what);
    if (value.ptr)
        write_arg(&buf, value);
    return redis_request_finish(request, &buf);
}

int bus_command_notes(struct redis_request *request,
                      const struct bus_names *names,
                      struct str worker)
{
    struct buf buf = write_begin(2, worker.len + 64);
    write_arg(&buf, STR("HGETALL"));
    write_told(&buf, names, worker);
    return redis_request_finish(request, &buf);
}

int bus_command_take(struct redis_request *request,
                     const struct bus_names *names,
                     struct str queue,
                     usec_t limit)
{
    struct buf buf = write_begin(3, queue.len + 64);
    write_arg(&buf, STR("BRPOP"));
    write_list(&buf, names, queue);
    size_t start = write_open(&buf);
    buf_addf(&buf, "%llu.%03llu", (unsigned long long)(limit / USEC_PER_SEC),
             (unsigned long long)(limit % USEC_PER_SEC / USEC_PER_MSEC));
    write_close(&buf, start);
    return redis_request_finish(request, &buf);
}

int bus_command_delete(struct redis_request *request,
                       const struct bus_names *names,
                       struct str queue)
{
    struct buf buf = write_begin(2, queue.len + 64);
    write_arg(&buf, STR("DEL"));
    write_list(&buf, names, queue);
    return redis_request_finish(request, &buf);
}
