/*
 * The smallest whole program: send a task, wait for its result.
 *
 *     cc example.c $(pkg-config --cflags --libs celeriac) -o example
 *     CELERIAC_BROKER_URL=redis://localhost:6379/0 ./example products.tasks.process_order 42
 */
#include <celeriac/client.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int show(const struct cel_result *result)
{
    if (cel_result_error_type(result)) {
        fprintf(stderr, "%s: %s\n", cel_result_error_type(result), cel_result_error_text(result));
        return EXIT_FAILURE;
    }
    char *json = cel_value_to_json(cel_result_value(result));
    if (!json)
        return EXIT_FAILURE;
    printf("%s: %s\n", cel_result_state(result), json);
    free(json);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s TASK NUMBER\n", argv[0]);
        return 2;
    }

    struct cel_error err;
    struct cel_client *client;
    if (cel_client_open(NULL, &client, &err)) { /* NULL: the environment names the broker */
        fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }

    struct cel_call *call = cel_call_new(argv[1]);
    cel_call_arg(call, cel_int(strtoimax(argv[2], NULL, 10)));
    cel_call_expires_in_ms(call, 60000); /* nobody waits longer than that */

    char id[CEL_ID_SIZE];
    struct cel_result *result = NULL;
    int status = EXIT_FAILURE;
    if (cel_send(client, call, id, &err))
        fprintf(stderr, "%s\n", err.text); /* begins with what has become of the call */
    else if (cel_result_wait(client, id, 10000, &result, &err))
        fprintf(stderr, "task %s: %s\n", id, err.text);
    else
        status = show(result);

    cel_result_free(result);
    cel_call_free(call);
    cel_client_close(client);
    return status;
}
