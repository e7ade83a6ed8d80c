#include "redis/url.h"

#include <errno.h>
#include <stdio.h>
#include <sys/un.h>

#include "core/buf.h"
#include "core/mem.h"

enum { PORT_DEFAULT = 6379, PART_MAX = 1024 };
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/* Cuts what stands before the first (last) `c` off `*text`; false and untouched without one. */
static bool cut_first(struct str *text, char c, struct str *ret_before)
{
    const char *at = text->len ? memchr(text->ptr, c, text->len) : NULL;
    if (!at)
        return false;
    *ret_before = str_n(text->ptr, (size_t)(at - text->ptr));
    *text = str_n(at + 1, text->len - ret_before->len - 1);
    return true;
}

static bool cut_last(struct str *text, char c, struct str *ret_before)
{
    const char *at = text->len ? memrchr(text->ptr, c, text->len) : NULL;
    if (!at)
        return false;
    *ret_before = str_n(text->ptr, (size_t)(at - text->ptr));
    *text = str_n(at + 1, text->len - ret_before->len - 1);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `what` names the part in the error; its text stays out of it, since it may be the password. */
static int decode_percent(struct str text, const char *what, char **ret_take, struct cel_error *err)
{
    if (text.len > PART_MAX)
        return error_set(err, -EINVAL, "The %s in the URL is too long", what);
    char *out = mem_alloc(text.len + 1);
    if (!out)
        return error_no_memory(err);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
            c = low < 0 ? '\0' : (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            mem_free(out);
            return error_set(err, -EINVAL,
                             "The %s in the URL has a %% that is not followed by two hexadecimal "
                             "digits; write %%25 for the character itself",
                             what);
        }
        out[len++] = c;
    }
    *ret_take = out;
    return 0;
}

static int parse_user(struct str text, struct url *url, struct cel_error *err)
{
    struct str user = STR_NONE;
    bool has_password = cut_first(&text, ':', &user);
    if (!has_password)
        user = text;
    int status = user.len ? decode_percent(user, "user", &url->user, err) : 0;
    if (!status && has_password && text.len)
        status = decode_percent(text, "password", &url->password, err);
    return status;
}

static int parse_port(struct str text, struct url *url, struct cel_error *err)
{
    uint64_t port = PORT_DEFAULT;
    if (text.len && (str_parse_u64(text, &port) || port < 1 || port > UINT16_MAX))
        return error_set(err, -EINVAL, "The port in the URL is not a number from 1 to 65535");
    url->port = (uint16_t)port;
    return 0;
}

static int parse_host(struct str text, struct url *url, struct cel_error *err)
{
    struct str host = text, port = STR_NONE;
    if (str_starts(text, STR("["))) {
        struct str rest = str_n(text.ptr + 1, text.len - 1);
        if (!cut_first(&rest, ']', &host) || (rest.len && rest.ptr[0] != ':'))
            return error_set(err, -EINVAL, "The URL has a [ without its ] and port");
        port = rest.len ? str_n(rest.ptr + 1, rest.len - 1) : STR_NONE;
    } else if (cut_first(&text, ':', &host)) {
        port = text;
    }
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= ' ' || c == 127 || strchr("@[]#?\"'<>\\^`{|}", c))
            return error_set(
                err, -EINVAL,
                "The URL has a host name with a character that none can have; in "
                "user and password write / @ : # ? %% as %%2F %%40 %%3A %%23 %%3F %%25");
    }
    if (host.len > 255)
        return error_set(err, -EINVAL, "The host name in the URL is too long");
    url->host = str_dup(host.len ? host : STR("localhost"));
    return url->host ? parse_port(port, url, err) : error_no_memory(err);
}

static int parse_db(struct str text, struct url *url, struct cel_error *err)
{
    uint64_t db = 0;
    if (text.len && (str_parse_u64(text, &db) || db > INT32_MAX))
        return error_set(err, -EINVAL,
                         "The database in the URL, \"" STR_FORMAT "\", is not a number",
                         STR_ARGS(text));
    url->db = (uint32_t)db;
    return 0;
}

/* What redis-py takes and what changes nothing here. */
static bool is_harmless(struct str name)
{
    static const char *const names[] = {
        "socket_timeout",  "socket_keepalive", "retry_on_timeout", "health_check_interval",
        "max_connections", "client_name",      "decode_responses", "protocol",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_equal(name, str_of(names[i])))
            return true;
    }
    return false;
}

static int parse_option(struct str name, struct str value, struct url *url, struct cel_error *err)
{
    if (str_equal(name, STR("db")) || str_equal(name, STR("virtual_host"))) {
        if (str_starts(value, STR("/")))
            value = str_n(value.ptr + 1, value.len - 1);
        return parse_db(value, url, err);
    }
    if (str_equal(name, STR("socket_connect_timeout"))) {
        if (str_parse_duration(value, &url->connect_timeout))
            return error_set(err, -EINVAL, "socket_connect_timeout in the URL is no number");
        return 0;
    }
    char **text = str_equal(name, STR("password"))   ? &url->password
                  : str_equal(name, STR("username")) ? &url->user
                                                     : NULL;
    if (text) {
        mem_free(*text);
        *text = NULL;
        return value.len ? decode_percent(value, "option", text, err) : 0;
    }
    if (str_starts(name, STR("ssl_")))
        return error_set(err, CEL_E_UNSUPPORTED, "TLS to Redis is not supported yet");
    if (is_harmless(name))
        return 0;
    return error_set(err, -EINVAL, "The URL has an unknown option \"" STR_FORMAT "\"",
                     (int)(name.len < 64 ? name.len : 64), name.ptr);
}

static int parse_options(struct str text, struct url *url, struct cel_error *err)
{
    struct str option;
    while (str_split(&text, '&', &option)) {
        struct str name = option;
        struct str value = option;
        if (!option.len)
            continue;
        if (!cut_first(&value, '=', &name))
            value = STR_NONE;
        int status = parse_option(name, value, url, err);
        if (status)
            return status;
    }
    return 0;
}

static int parse_socket(struct str path, struct url *url, struct cel_error *err)
{
    int status = decode_percent(path, "path", &url->path, err);
    if (status)
        return status;
    size_t len = strlen(url->path);
    if (len < 2 || url->path[0] != '/')
        return error_set(err, -EINVAL,
                         "The URL of a unix socket needs its whole path: unix:///run/redis.sock");
    if (len > SOCKET_PATH_MAX)
        return error_set(err, -EINVAL, "The path of the unix socket is longer than %zu bytes",
                         SOCKET_PATH_MAX);
    return 0;
}

/* `rest` is what follows "scheme://". */
static int parse_rest(struct str rest, bool is_socket, struct url *url, struct cel_error *err)
{
    struct str address = rest, options = STR_NONE, user;
    if (rest.len && memchr(rest.ptr, '#', rest.len))
        return error_set(err, -EINVAL, "The URL has a #; in user and password write it as %%23");
    if (cut_first(&rest, '?', &address))
        options = rest;
    struct str path = address, authority;
    bool has_path = cut_first(&path, '/', &authority);
    if (!has_path)
        authority = address;
    int status = cut_last(&authority, '@', &user) ? parse_user(user, url, err) : 0;
    if (status)
        return status;
    if (is_socket) {
        if (authority.len || !has_path)
            return error_set(
                err, -EINVAL,
                "The URL of a unix socket needs its whole path: unix:///run/redis.sock");
        status = parse_socket(str_n(path.ptr - 1, path.len + 1), url, err);
    } else {
        status = parse_host(authority, url, err);
        if (!status && has_path)
            status = parse_db(path, url, err);
    }
    return status ? status : parse_options(options, url, err);
}

static int make_display(struct url *url, struct cel_error *err)
{
    struct buf text = BUF_INIT(8192);
    if (url->path)
        buf_addf(&text, "unix://%s", url->path);
    else
        buf_addf(&text, strchr(url->host, ':') ? "redis://[%s]:%u" : "redis://%s:%u", url->host,
                 url->port);
    if (url->path && url->db)
        buf_addf(&text, "?db=%u", url->db);
    if (!url->path)
        buf_addf(&text, "/%u", url->db);
    url->display = buf_take(&text, NULL);
    buf_deinit(&text);
    return url->display ? 0 : error_no_memory(err);
}

enum scheme { SCHEME_TCP, SCHEME_SOCKET, SCHEME_TLS, SCHEME_SENTINEL, SCHEME_UNKNOWN };

static enum scheme scheme_of(struct str name)
{
    static const struct {
        const char *name;
        enum scheme scheme;
    } schemes[] = {
        {"redis", SCHEME_TCP},     {"unix", SCHEME_SOCKET}, {"redis+socket", SCHEME_SOCKET},
        {"socket", SCHEME_SOCKET}, {"rediss", SCHEME_TLS},  {"sentinel", SCHEME_SENTINEL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
        if (str_equal(name, str_of(schemes[i].name)))
            return schemes[i].scheme;
    }
    return SCHEME_UNKNOWN;
}

static int check_scheme(enum scheme scheme, struct str rest, struct cel_error *err)
{
    switch (scheme) {
    case SCHEME_TLS:
        return error_set(err, CEL_E_UNSUPPORTED, "rediss:// (TLS) is not supported yet");
    case SCHEME_SENTINEL:
        return error_set(err, CEL_E_UNSUPPORTED, "sentinel:// is not supported yet");
    case SCHEME_UNKNOWN:
        return error_set(err, -EINVAL,
                         "The URL of the Redis server begins with redis:// or unix://");
    default:
        if (rest.len && memchr(rest.ptr, ';', rest.len))
            return error_set(err, CEL_E_UNSUPPORTED,
                             "Several servers in one URL are not supported yet");
        return 0;
    }
}

int url_parse(struct str text, struct url *ret, struct cel_error *err)
{
    struct url url = {.port = 0};
    struct str rest = text, name;
    if (memchr(text.ptr ? text.ptr : "", '\0', text.len))
        return error_set(err, -EINVAL, "The URL has a zero byte");
    if (!cut_first(&rest, ':', &name) || !str_starts(rest, STR("//")))
        return check_scheme(SCHEME_UNKNOWN, rest, err);
    rest = str_n(rest.ptr + 2, rest.len - 2);
    enum scheme scheme = scheme_of(name);
    int status = check_scheme(scheme, rest, err);
    if (!status)
        status = parse_rest(rest, scheme == SCHEME_SOCKET, &url, err);
    if (!status)
        status = make_display(&url, err);
    if (status) {
        url_deinit(&url);
        return status;
    }
    *ret = url;
    return 0;
}

void url_deinit(struct url *url)
{
    if (!url)
        return;
    mem_free(url->host);
    mem_free(url->path);
    mem_free(url->user);
    mem_free(url->password);
    mem_free(url->display);
    *url = (struct url){.port = 0};
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool url_same(const struct url *a, const struct url *b)
{
    return same_text(a->host, b->host) && same_text(a->path, b->path) && a->port == b->port &&
           a->db == b->db && same_text(a->user, b->user) && same_text(a->password, b->password);
}
