#include "celeriac/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Nothing listens there: a test that gets as far as connecting fails with another code. */
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

static void null_is_einval(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    assert_int_equal(cel_send(NULL, call, NULL, NULL), -EINVAL);
    assert_int_equal(cel_send(*state, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(cel_send_bulk(*state, NULL, 1, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(cel_send_bulk(NULL, NULL, 0, NULL, NULL, NULL), -EINVAL);
    cel_call_free(call);
}

static void nothing_to_send_is_success(void **state)
{
    size_t sent = 7;
    assert_int_equal(cel_send_bulk(*state, NULL, 0, NULL, &sent, NULL), 0);
    assert_int_equal(sent, 0);
}

static void the_first_error_of_a_setter_is_reported(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct cel_error err = {0};
    cel_call_priority(call, 10);
    cel_call_countdown_ms(call, -1);
    assert_int_equal(cel_send(*state, call, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "priority"));
    cel_call_free(call);
}

static void what_json_cannot_say_is_refused(void **state)
{
    struct cel_call *call = cel_call_new("a.b");
    struct cel_error err = {0};
    cel_call_arg(call, cel_bytes("\xff", 1));
    assert_int_equal(cel_send(*state, call, NULL, &err), CEL_E_FORMAT);
    assert_true(err.text[0] != '\0');
    cel_call_free(call);
}

static void all_calls_are_checked_before_the_first_is_sent(void **state)
{
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new(""), cel_call_new("a.b")};
    struct cel_error err = {0};
    size_t sent = 7;
    assert_int_equal(cel_send_bulk(*state, calls, 3, NULL, &sent, &err), -EINVAL);
    assert_int_equal(sent, 0);
    assert_non_null(strstr(err.text, "call 2 of 3"));
    for (size_t i = 0; i < 3; i++)
        cel_call_free(calls[i]);
}

static void the_id_is_known_before_anything_is_sent(void **state)
{
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b"), cel_call_new("a.b")};
    char long_id[101];
    memset(long_id, 'x', 100);
    long_id[100] = '\0';
    cel_call_id(calls[1], "mine");
    cel_call_id(calls[2], long_id);
    char ids[3][CEL_ID_SIZE];
    memset(ids, '?', sizeof(ids));
    struct cel_error err = {0};
    int status = cel_send_bulk(*state, calls, 3, ids, NULL, &err);
    assert_true(status == -ENOENT || status == -ECONNREFUSED); /* it did try to connect */
    assert_non_null(strstr(err.text, "/nonexistent/celeriac.sock"));
    assert_int_equal(strlen(ids[0]), CEL_ID_SIZE - 1);
    assert_string_equal(ids[1], "mine");
    assert_string_equal(ids[2], ""); /* does not fit */
    for (size_t i = 0; i < 3; i++)
        cel_call_free(calls[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_is_einval),
        cmocka_unit_test(nothing_to_send_is_success),
        cmocka_unit_test(the_first_error_of_a_setter_is_reported),
        cmocka_unit_test(what_json_cannot_say_is_refused),
        cmocka_unit_test(all_calls_are_checked_before_the_first_is_sent),
        cmocka_unit_test(the_id_is_known_before_anything_is_sent),
    };
    return cmocka_run_group_tests(tests, open_nowhere, close_client);
}
