#include "redis/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/un.h>

#include "core/buf.h"
#include "core/mem.h"

enum { PORT_DEFAULT = 6379, SENTINEL_PORT_DEFAULT = 26379, PART_MAX = 1024 };
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
    uint64_t port = url->port;
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

static char **option_text(struct str name, struct url *url)
{
    const struct {
        const char *name;
        char **text;
    } options[] = {
        {"password", &url->password},
        {"username", &url->user},
        {"master_name", &url->master_name},
        {"service_name", &url->master_name},
        {"sentinel_username", &url->sentinel_user},
        {"sentinel_password", &url->sentinel_password},
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (str_equal(name, str_of(options[i].name)))
            return options[i].text;
    }
    return NULL;
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
    char **text = option_text(name, url);
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

/* --- sentinels -------------------------------------------------------------------------------- */

static int take_host(struct url *part, struct url *url, struct cel_error *err)
{
    if (url->sentinel_count == URL_SENTINELS_MAX)
        return error_set(err, -EINVAL, "The URL names more than %d sentinels", URL_SENTINELS_MAX);
    struct url_host *grown =
        mem_grow(url->sentinels, url->sentinel_count + 1, sizeof(url->sentinels[0]));
    if (!grown)
        return error_no_memory(err);
    url->sentinels = grown;
    grown[url->sentinel_count++] = (struct url_host){.name = part->host, .port = part->port};
    part->host = NULL;
    return 0;
}

static void take_text(char **from, char **into)
{
    if (*into)
        return;
    *into = *from;
    *from = NULL;
}

/* What `part` says is taken where nothing was said before it. */
static void take_rest(struct url *part, struct url *url)
{
    if (!url->user && !url->password) {
        take_text(&part->user, &url->user);
        take_text(&part->password, &url->password);
    }
    take_text(&part->master_name, &url->master_name);
    take_text(&part->sentinel_user, &url->sentinel_user);
    take_text(&part->sentinel_password, &url->sentinel_password);
    if (!url->db)
        url->db = part->db;
    if (!url->connect_timeout)
        url->connect_timeout = part->connect_timeout;
}

static int parse_sentinel(struct str text, struct url *url, struct cel_error *err)
{
    static const char scheme[] = "sentinel://";
    struct url part = {.port = SENTINEL_PORT_DEFAULT};
    if (str_starts(text, STR("sentinel://")))
        text = str_n(text.ptr + strlen(scheme), text.len - strlen(scheme));
    struct str address = text, options = text;
    cut_first(&options, '?', &address);
    if (memmem(address.ptr, address.len, "://", 3))
        return error_set(err, -EINVAL,
                         "Each part of the URL begins with sentinel:// or with a host name");
    int status = parse_rest(text, false, &part, err);
    if (!status)
        status = take_host(&part, url, err);
    if (!status)
        take_rest(&part, url);
    url_deinit(&part);
    return status;
}

static int parse_sentinels(struct str rest, struct url *url, struct cel_error *err)
{
    struct str part;
    if (!rest.len)
        return parse_sentinel(rest, url, err);
    while (str_split(&rest, ';', &part)) {
        int status = part.len ? parse_sentinel(part, url, err) : 0;
        if (status)
            return status;
    }
    return url->sentinel_count ? 0 : error_set(err, -EINVAL, "The URL names no sentinel");
}

static int set_missing(const char *text, char **into, struct cel_error *err)
{
    if (*into || !text || !*text)
        return 0;
    *into = str_dup(str_of(text));
    return *into ? 0 : error_no_memory(err);
}

static int check_master_name(const char *name, struct cel_error *err)
{
    if (!name)
        return error_set(err, -EINVAL,
                         "sentinel:// needs master_name, the name that the sentinels know the "
                         "master by: as a setting, or as ?master_name=... in the URL");
    size_t len = strlen(name);
    bool is_good = len <= 255;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        is_good &= c < 128 && (isalnum(c) || strchr(".-_", c));
    }
    return is_good ? 0
                   : error_set(err, -EINVAL,
                               "The master_name of sentinels has letters, digits and . - _ alone");
}

/* The settings where the URL is silent; then all must be there. */
static int
complete_sentinel(const struct url_sentinel *sentinel, struct url *url, struct cel_error *err)
{
    static const struct url_sentinel nothing;
    int status = 0;
    if (!url->sentinel_count) {
        if (url->master_name || url->sentinel_user || url->sentinel_password)
            return error_set(err, -EINVAL,
                             "The URL has an option of sentinels and is no sentinel:// URL");
        return 0;
    }
    if (!sentinel)
        sentinel = &nothing;
    status = set_missing(sentinel->master_name, &url->master_name, err);
    if (!status && !url->sentinel_user && !url->sentinel_password) {
        status = set_missing(sentinel->user, &url->sentinel_user, err);
        if (!status)
            status = set_missing(sentinel->password, &url->sentinel_password, err);
    }
    return status ? status : check_master_name(url->master_name, err);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void add_host(struct buf *text, const char *name, uint16_t port)
{
    buf_addf(text, strchr(name, ':') ? "[%s]:%u" : "%s:%u", name, port);
}

static int make_display(struct url *url, struct cel_error *err)
{
    struct buf text = BUF_INIT(8192);
    buf_addf(&text,
             url->path             ? "unix://%s"
             : url->sentinel_count ? "sentinel://%s"
                                   : "redis://%s",
             url->path ? url->path : "");
    for (unsigned i = 0; i < url->sentinel_count; i++) {
        if (i)
            buf_addf(&text, ";");
        add_host(&text, url->sentinels[i].name, url->sentinels[i].port);
    }
    if (url->host)
        add_host(&text, url->host, url->port);
    if (url->path && url->db)
        buf_addf(&text, "?db=%u", url->db);
    if (!url->path)
        buf_addf(&text, "/%u", url->db);
    if (url->master_name)
        buf_addf(&text, "?master_name=%s", url->master_name);
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
    case SCHEME_UNKNOWN:
        return error_set(
            err, -EINVAL,
            "The URL of the Redis server begins with redis://, unix:// or sentinel://");
    case SCHEME_SENTINEL:
        return 0;
    default:
        if (rest.len && memchr(rest.ptr, ';', rest.len))
            return error_set(err, CEL_E_UNSUPPORTED,
                             "Several servers in one URL are not supported yet");
        return 0;
    }
}

static int
parse_by_scheme(enum scheme scheme, struct str rest, struct url *url, struct cel_error *err)
{
    if (scheme == SCHEME_SENTINEL)
        return parse_sentinels(rest, url, err);
    if (scheme == SCHEME_TCP)
        url->port = PORT_DEFAULT;
    return parse_rest(rest, scheme == SCHEME_SOCKET, url, err);
}

int url_parse(struct str text,
              const struct url_sentinel *sentinel,
              struct url *ret,
              struct cel_error *err)
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
        status = parse_by_scheme(scheme, rest, &url, err);
    if (!status)
        status = complete_sentinel(sentinel, &url, err);
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
    for (unsigned i = 0; i < url->sentinel_count; i++)
        mem_free(url->sentinels[i].name);
    mem_free(url->sentinels);
    mem_free(url->master_name);
    mem_free(url->sentinel_user);
    mem_free(url->sentinel_password);
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

static bool same_sentinels(const struct url *a, const struct url *b)
{
    if (a->sentinel_count != b->sentinel_count)
        return false;
    for (unsigned i = 0; i < a->sentinel_count; i++) {
        if (a->sentinels[i].port != b->sentinels[i].port ||
            !same_text(a->sentinels[i].name, b->sentinels[i].name))
            return false;
    }
    return same_text(a->master_name, b->master_name) &&
           same_text(a->sentinel_user, b->sentinel_user) &&
           same_text(a->sentinel_password, b->sentinel_password);
}

bool url_same(const struct url *a, const struct url *b)
{
    return same_text(a->host, b->host) && same_text(a->path, b->path) && a->port == b->port &&
           a->db == b->db && same_text(a->user, b->user) && same_text(a->password, b->password) &&
           same_sentinels(a, b);
}
