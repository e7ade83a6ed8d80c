/*
 * URLs of a Redis server as Celery, kombu and redis-py write them:
 *
 *     redis://[[user]:password@]host[:port][/db][?option=value&...]
 *     unix://[[user]:password@]/path/of/socket[?db=0]       also redis+socket://, socket://
 *
 * Text to struct, no I/O. What is meant for people (`display`, errors) never holds a password.
 */
#pragma once

#include "core/clock.h"
#include "core/error.h"

struct url {
    char *host;     /* name or address; NULL for a unix socket */
    char *path;     /* of the unix socket; NULL for TCP */
    char *user;     /* or NULL */
    char *password; /* or NULL */
    char *display;  /* "redis://host:6379/0", "unix:///run/redis.sock" */
    uint16_t port;
    uint32_t db;
    usec_t connect_timeout; /* 0: not given */
};

/*
 * -EINVAL: not such a URL (err says what is wrong); CEL_E_UNSUPPORTED: rediss, sentinel, several
 * servers; -ENOMEM. On failure nothing needs url_deinit.
 */
int url_parse(struct str text, struct url *ret, struct cel_error *err) MUST_CHECK;
void url_deinit(struct url *url);
/* The same server, database and user: one connection serves both. */
bool url_same(const struct url *a, const struct url *b);
