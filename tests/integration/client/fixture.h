/*
 * What the tests of the client share: a private Redis for the whole program, and clients of it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "celeriac/client.h"
#include "tests/support/redis_server.h"

extern struct redis_server server;

/* Group set-up and tear-down. */
int start_server(void **state);
int stop_server(void **state);

/* Never NULL. A `url` of NULL is the server's; the options are those of cel_client_open(). */
struct cel_client *open_client(struct cel_client_options options);
