#include "redis/sentinel.h"

#include <errno.h>
#include <stdio.h>

#include "core/mem.h"
#include "redis/resolve.h"
#include "redis/socket.h"
#include "redis/write.h"

enum { QUESTION_MAX = 8192 }; /* a URL's parts are shorter */

struct redis_sentinel {
    uv_loop_t *loop;
    const struct url *url;
    unsigned index;
    struct str read_buffer;
    const struct redis_sentinel_events *events;
    void *owner;
    struct redis_socket *socket; /* the present one, or NULL */
    struct redis_lookup *lookup; /* under way, or NULL */
    struct redis_addresses addresses;
    unsigned address_next;
    struct buf question;
    unsigned replies; /* still to come; only the last has the answer */
    int failure;      /* no address can be tried; told when the first socket is closed */
    bool is_over;     /* nothing more is told but `ended` */
    unsigned open;    /* sockets and look-ups not yet ended */
};

/* --- the words -------------------------------------------------------------------------------- */

int redis_sentinel_question(const struct url *url, struct buf *buf, unsigned *ret_replies)
{
    struct buf question = BUF_INIT(QUESTION_MAX);
    unsigned replies = 1;
    if (url->sentinel_user || url->sentinel_password) {
        write_next(&question, url->sentinel_user ? 3 : 2);
        write_arg(&question, STR("AUTH"));
        if (url->sentinel_user)
            write_arg(&question, str_of(url->sentinel_user));
        write_arg(&question, url->sentinel_password ? str_of(url->sentinel_password) : STR(""));
        replies++;
    }
    write_next(&question, 3);
    write_arg(&question, STR("SENTINEL"));
    write_arg(&question, STR("GET-MASTER-ADDR-BY-NAME"));
    write_arg(&question, str_of(url->master_name));
    *buf = question;
    *ret_replies = replies;
    return buf_status(&question);
}

static bool is_host(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= ' ' || c >= 127)
            return false;
    }
    return host.len > 0 && host.len < sizeof((struct redis_sentinel_master){0}.host);
}

int redis_sentinel_read(const struct redis_reply *reply,
                        struct redis_sentinel_master *ret,
                        struct cel_error *err)
{
    struct str host = reply_text(reply_item(reply, 0)), port = reply_text(reply_item(reply, 1));
    uint64_t number;
    if (reply->type == REDIS_ERROR)
        return error_set(err, CEL_E_FORMAT, "%.*s",
                         (int)(reply->text.len < 200 ? reply->text.len : 200), reply->text.ptr);
    if (reply->type == REDIS_NIL || (reply->type == REDIS_ARRAY && reply->count == 0))
        return error_set(err, CEL_E_FORMAT, "it knows no master of this name");
    if (reply_count(reply) != 2 || !is_host(host) || str_parse_u64(port, &number) || number < 1 ||
        number > UINT16_MAX)
        return error_set(err, CEL_E_FORMAT, "it did not answer with an address and a port");
    snprintf(ret->host, sizeof(ret->host), STR_FORMAT, STR_ARGS(host));
    ret->port = (uint16_t)number;
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void release(struct redis_sentinel *s)
{
    if (!s->is_over || s->open)
        return;
    void (*ended)(void *) = s->events->ended;
    void *owner = s->owner;
    buf_deinit(&s->question);
    mem_free(s);
    ended(owner);
}

static void on_part_ended(struct redis_sentinel *s)
{
    s->open--;
    release(s);
}

static void close_parts(struct redis_sentinel *s)
{
    s->is_over = true;
    if (s->socket)
        redis_socket_close(s->socket);
    if (s->lookup)
        redis_lookup_cancel(s->lookup);
    s->socket = NULL;
    s->lookup = NULL;
}

/* The parts end in later turns, so `s` lives on through the callback. */
static void
tell(struct redis_sentinel *s, const struct redis_sentinel_master *master, const char *words)
{
    const struct url_host *host = &s->url->sentinels[s->index];
    char why[640] = "";
    if (s->is_over)
        return;
    if (!master)
        snprintf(why, sizeof(why), "sentinel %s:%u: %s", host->name, host->port, words);
    close_parts(s);
    s->events->answered(s->owner, master, why);
}

void redis_sentinel_give_up(struct redis_sentinel *s)
{
    close_parts(s);
}

/* --- the way ---------------------------------------------------------------------------------- */

static const struct redis_socket_events events;

static int connect_to(struct redis_sentinel *s, const struct sockaddr *address)
{
    int status = redis_socket_new(s->loop, false, &events, s, s->read_buffer, &s->socket);
    if (status)
        return status;
    s->open++;
    status = redis_socket_connect(s->socket, NULL, address);
    if (!status)
        return 0;
    redis_socket_close(s->socket);
    s->socket = NULL;
    return status;
}

static int connect_next(struct redis_sentinel *s)
{
    int status;
    do {
        status = connect_to(s, (const struct sockaddr *)&s->addresses.items[s->address_next++]);
    } while (status && s->address_next < s->addresses.count);
    return status;
}

static void on_looked_up(void *data, int status, const struct redis_addresses *addresses)
{
    struct redis_sentinel *s = data;
    s->lookup = NULL;
    if (!s->is_over) {
        if (!status) {
            s->addresses = *addresses;
            status = connect_next(s);
        }
        if (status)
            tell(s, NULL, uv_strerror(status));
    }
    on_part_ended(s);
}

static void on_connected(void *owner, int status)
{
    struct redis_sentinel *s = owner;
    uv_buf_t question = uv_buf_init(s->question.ptr, (unsigned)s->question.len);
    unsigned taken;
    if (status && s->address_next < s->addresses.count) {
        redis_socket_close(s->socket);
        s->socket = NULL;
        status = connect_next(s);
        if (!status)
            return;
    }
    if (!status)
        status = redis_socket_read(s->socket);
    if (!status)
        status = redis_socket_write(s->socket, &question, 1, &taken);
    if (status)
        tell(s, NULL, uv_strerror(status));
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
    struct redis_sentinel *s = owner;
    struct redis_sentinel_master master;
    struct cel_error err;
    if (--s->replies && reply->type != REDIS_ERROR)
        return;
    int status = redis_sentinel_read(reply, &master, &err);
    tell(s, status ? NULL : &master, err.text);
}

static void on_drained(void *owner)
{
    (void)owner;
}

static void on_failed(void *owner, int code, const char *why)
{
    (void)code;
    tell(owner, NULL, why);
}

static void on_closed(void *owner)
{
    struct redis_sentinel *s = owner;
    if (s->failure)
        tell(s, NULL, uv_strerror(s->failure));
    on_part_ended(s);
}

static const struct redis_socket_events events = {
    .connected = on_connected,
    .reply = on_reply,
    .drained = on_drained,
    .failed = on_failed,
    .closed = on_closed,
};

static int start(struct redis_sentinel *s)
{
    const struct url_host *host = &s->url->sentinels[s->index];
    int status = redis_sentinel_question(s->url, &s->question, &s->replies);
    if (status)
        return status;
    if (redis_addresses_known(host->name, host->port, &s->addresses)) {
        status = connect_next(s);
        if (!status || !s->open)
            return status;
        s->failure = status;
        return 0;
    }
    status = redis_lookup_start(s->loop, host->name, host->port, on_looked_up, s, &s->lookup);
    if (!status)
        s->open++;
    return status;
}

int redis_sentinel_ask(uv_loop_t *loop,
                       const struct url *url,
                       unsigned index,
                       struct str read_buffer,
                       const struct redis_sentinel_events *events_of_owner,
                       void *owner,
                       struct redis_sentinel **ret_sentinel)
{
    struct redis_sentinel *s = mem_new(struct redis_sentinel);
    if (!s)
        return -ENOMEM;
    s->loop = loop;
    s->url = url;
    s->index = index;
    s->read_buffer = read_buffer;
    s->events = events_of_owner;
    s->owner = owner;
    int status = start(s);
    if (status) {
        buf_deinit(&s->question);
        mem_free(s);
        return status;
    }
    *ret_sentinel = s;
    return 0;
}
