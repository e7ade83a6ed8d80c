/*
 * A PostgreSQL server of a test program's own: a cluster in a folder of its own under /tmp, reached
 * by a unix socket in it, settings for speed and not for safety. Runs as the user postgres when the
 * test runs as root; ends with the test program, however that ends.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct postgres_server {
    char folder[64];
    char uri[256]; /* of the superuser "celeriac", who needs no password */
    pid_t pid;     /* 0: not running */
};

/* Makes the cluster and starts the server. False with a line on stderr when that cannot be done. */
bool postgres_server_open(struct postgres_server *server);
/* Stops the server and removes the folder. */
void postgres_server_close(struct postgres_server *server);

/* The same cluster again, after postgres_server_stop(). */
bool postgres_server_start(struct postgres_server *server);
void postgres_server_stop(struct postgres_server *server);

/* A URI like `uri`, with other user and password; pg_hba.conf asks everyone but celeriac for one.
 */
void postgres_server_uri(const struct postgres_server *server,
                         const char *user,
                         const char *password,
                         char *buffer,
                         size_t size);
