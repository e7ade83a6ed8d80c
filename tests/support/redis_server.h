/*
 * A redis-server of a test program's own: in a folder under /tmp, on a unix socket in it, nothing
 * written to disk. Ends with the test program, however that ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct redis_server {
    char folder[64];
    char socket[96];
    char url[128];             /* redis+socket://...; the password is not in it */
    const char *const *extras; /* more arguments of redis-server, ended by NULL; or NULL */
    const char *password;      /* that `extras` set, or NULL */
    pid_t pid;                 /* 0: not running */
};

/* Makes the folder and starts the server. False with a line on stderr when that cannot be done.
 * `extras`: {"--requirepass", "secret", NULL}, or NULL. */
bool redis_server_open(struct redis_server *server, const char *const *extras);
/* Stops the server and removes the folder. */
void redis_server_close(struct redis_server *server);

/* The same socket again, with nothing in it, after redis_server_stop(). */
bool redis_server_start(struct redis_server *server);
/* Ends it with `number` (SIGTERM, SIGKILL) and waits for its end. */
void redis_server_stop(struct redis_server *server, int number);
/* Stops (SIGSTOP) and continues it: a server that is there and says nothing. */
void redis_server_freeze(struct redis_server *server);
void redis_server_thaw(struct redis_server *server);

/* One command, for looking and preparing: "SET", "key", ..., NULL. The reply's first bytes as they
 * stand on the wire ("+OK\r\n", ":1\r\n"), terminated, cut at `size`. False when there is none. */
bool redis_server_command(const struct redis_server *server,
                          char *reply,
                          size_t size,
                          const char *const *words);
