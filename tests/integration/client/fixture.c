#include "tests/integration/client/fixture.h"

struct redis_server server;

int start_server(void **state)
{
    (void)state;
    return redis_server_open(&server, NULL) ? 0 : -1;
}

int stop_server(void **state)
{
    (void)state;
    redis_server_close(&server);
    return 0;
}

struct cel_client *open_client(struct cel_client_options options)
{
    struct cel_client *client = NULL;
    struct cel_error err;
    if (!options.broker_url)
        options.broker_url = server.url;
    if (cel_client_open(&options, &client, &err))
        fail_msg("%s", err.text);
    return client;
}
