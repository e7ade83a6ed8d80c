/*
 * URLs of a Redis server as Celery, kombu and redis-py write them:
 *
 *     redis://[[user]:password@]host[:port][/db][?option=value&...]
 *     unix://[[user]:password@]/path/of/socket[?db=0]       also redis+socket://, socket://
 *     sentinel://[[user]:password@]host[:port][/db];sentinel://host[:port];...?master_name=name
 *
 * User, password and database behind sentinels are those of the master; the sentinels have their
 * own, as options or settings. Of several parts the first that says something decides.
 *
 * Text to struct, no I/O. What is meant for people (`display`, errors) never holds a password.
 */
#pragma once

#include "core/clock.h"
#include "core/error.h"

enum { URL_SENTINELS_MAX = 16 };

struct url_host {
    char *name; /* or address */
    uint16_t port;
};

struct url {
    char *host;     /* name or address; NULL for a unix socket and for sentinels */
    char *path;     /* of the unix socket; NULL for TCP */
    char *user;     /* or NULL */
    char *password; /* or NULL */
    char *display;  /* "redis://host:6379/0", "unix:///run/redis.sock",
                       "sentinel://a:26379;b:26379/0?master_name=shop" */
    uint16_t port;
    uint32_t db;
    usec_t connect_timeout; /* 0: not given */

    struct url_host *sentinels; /* in the order given */
    unsigned sentinel_count;    /* 0: no sentinel:// */
    char *master_name;          /* what the sentinels call the server */
    char *sentinel_user;        /* or NULL, */
    char *sentinel_password;    /* of the sentinels themselves */
};

/* What the settings say of sentinels, for URLs that do not; NULL and "" say nothing. */
struct url_sentinel {
    const char *master_name, *user, *password;
};

/*
 * `sentinel` may be NULL. -EINVAL: not such a URL (err says what is wrong), or sentinels without a
 * master's name; CEL_E_UNSUPPORTED: rediss, several servers; -ENOMEM. On failure nothing needs
 * url_deinit.
 */
int url_parse(struct str text,
              const struct url_sentinel *sentinel,
              struct url *ret,
              struct cel_error *err) MUST_CHECK;
void url_deinit(struct url *url);
/* The same server, database and user: one connection serves both. */
bool url_same(const struct url *a, const struct url *b);
