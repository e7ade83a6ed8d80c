#include "celeriac/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int open_nowhere(void **state)
{
    static struct cel_client *client;
    const struct cel_client_options options = {
        .broker_url = "redis+socket:///nonexistent/celeriac.sock", .timeout_ms = 100};
    if (cel_client_open(&options, &client, NULL))
        return -1;
    *state = client;
    return 0;
}

static int close_client(void **state)
{
    cel_client_close(*state);
    return 0;
}

static void misuse_is_einval(void **state)
{
    char long_id[301];
    memset(long_id, 'x', 300);
    long_id[300] = '\0';
    struct cel_result *result;
    struct cel_client *client = *state;
    assert_int_equal(cel_result_get(NULL, "id", &result, NULL), -EINVAL);
    assert_int_equal(cel_result_get(client, NULL, &result, NULL), -EINVAL);
    assert_int_equal(cel_result_get(client, "", &result, NULL), -EINVAL);
    assert_int_equal(cel_result_get(client, long_id, &result, NULL), -EINVAL);
    assert_int_equal(cel_result_get(client, "id", NULL, NULL), -EINVAL);
    assert_int_equal(cel_result_wait(client, "id", -1, &result, NULL), -EINVAL);
    assert_int_equal(cel_result_wait(client, "id", 1000, NULL, NULL), -EINVAL);
    assert_int_equal(cel_result_forget(client, "", NULL), -EINVAL);
    assert_int_equal(cel_result_forget(NULL, "id", NULL), -EINVAL);
}

static void disabled_results_say_so(void **state)
{
    (void)state;
    const struct cel_client_options options = {
        .broker_url = "redis+socket:///nonexistent/celeriac.sock", .result_backend = "disabled"};
    struct cel_client *client;
    struct cel_result *result;
    struct cel_error err = {0};
    assert_int_equal(cel_client_open(&options, &client, NULL), 0);
    assert_int_equal(cel_result_get(client, "id", &result, &err), CEL_E_CONFIG);
    assert_non_null(strstr(err.text, "disabled"));
    assert_int_equal(cel_result_wait(client, "id", 1000, &result, NULL), CEL_E_CONFIG);
    assert_int_equal(cel_result_forget(client, "id", NULL), CEL_E_CONFIG);
    cel_client_close(client);
}

static void readers_take_null(void **state)
{
    (void)state;
    assert_string_equal(cel_result_state(NULL), "PENDING");
    assert_false(cel_result_ready(NULL));
    assert_null(cel_result_value(NULL));
    assert_null(cel_result_error_type(NULL));
    assert_null(cel_result_error_text(NULL));
    assert_null(cel_result_traceback(NULL));
    assert_null(cel_result_document(NULL));
    assert_null(cel_result_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_is_einval),
        cmocka_unit_test(disabled_results_say_so),
        cmocka_unit_test(readers_take_null),
    };
    return cmocka_run_group_tests(tests, open_nowhere, close_client);
}
