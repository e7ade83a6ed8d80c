/* Results through a real Redis, stored by another handle than the one that waits. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/handle.h"
#include "message/result.h"
#include "tests/integration/client/fixture.h"

enum { REPLY_MAX = 4096, PATIENCE_MS = 20000 };

/* Stores and publishes a document as a worker does, through a handle of its own. */
static void store(const char *id, const char *status, struct str result_json, const char *traceback)
{
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct buf document = BUF_INIT(65536);
    const struct result result = {
        .status = str_of(status),
        .result_json = result_json,
        .traceback = str_of(traceback),
        .date_done_wall = clock_wall(),
        .task_id = str_of(id),
    };
    assert_int_equal(result_encode(&document, &result), 0);
    struct client_wait wait = {0};
    assert_int_equal(client_begin(client, NULL), 0);
    assert_int_equal(
        client_wait(client, &wait,
                    broker_store_result(client->broker, str_of(id), buf_str(&document),
                                        client_deadline(client), on_client_done, &wait),
                    NULL),
        0);
    buf_deinit(&document);
    cel_client_close(client);
}

/* Until someone is subscribed to the channel of task `id`. */
static void wait_for_subscriber(const char *id)
{
    char channel[128], reply[REPLY_MAX];
    snprintf(channel, sizeof(channel), "celery-task-meta-%s", id);
    const char *const command[] = {"PUBSUB", "NUMSUB", channel, NULL};
    usec_t end = clock_mono() + PATIENCE_MS * USEC_PER_MSEC;
    do {
        assert_true(redis_server_command(&server, reply, sizeof(reply), command));
        if (strstr(reply, ":1\r\n"))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    } while (clock_mono() < end);
    fail_msg("nobody subscribed to %s", channel);
}

struct waiter {
    const char *id;
    pthread_t thread;
    int status;
    struct cel_result *result;
    struct cel_error err;
};

static void *wait_in_thread(void *data)
{
    struct waiter *waiter = data;
    struct cel_client *client;
    const struct cel_client_options options = {.broker_url = server.url};
    waiter->status = cel_client_open(&options, &client, &waiter->err);
    if (waiter->status)
        return NULL;
    waiter->status =
        cel_result_wait(client, waiter->id, PATIENCE_MS, &waiter->result, &waiter->err);
    cel_client_close(client);
    return NULL;
}

static void start_waiter(struct waiter *waiter, const char *id)
{
    *waiter = (struct waiter){.id = id};
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_in_thread, waiter), 0);
    wait_for_subscriber(id);
}

static void end_waiter(struct waiter *waiter)
{
    pthread_join(waiter->thread, NULL);
    if (waiter->status)
        fail_msg("%s", waiter->err.text);
}

static void a_result_published_later_ends_the_wait(void **state)
{
    (void)state;
    struct waiter waiter;
    start_waiter(&waiter, "later");
    store("later", "SUCCESS", STR("{\"total\": 42}"), NULL);
    end_waiter(&waiter);
    assert_string_equal(cel_result_state(waiter.result), "SUCCESS");
    assert_true(cel_result_ready(waiter.result));
    const struct cel_value *value = cel_result_value(waiter.result);
    assert_int_equal(cel_value_int(cel_value_get(value, "total"), 0), 42);
    assert_null(cel_result_error_type(waiter.result));
    const struct cel_value *id = cel_value_get(cel_result_document(waiter.result), "task_id");
    assert_string_equal(cel_value_text(id, NULL), "later");
    cel_result_free(waiter.result);
}

static void a_state_on_the_way_does_not_end_the_wait(void **state)
{
    (void)state;
    struct waiter waiter;
    start_waiter(&waiter, "steps");
    store("steps", "STARTED", STR("{\"pid\": 1}"), NULL);
    store("steps", "PROGRESS", STR("{\"percent\": 50}"), NULL);
    store("steps", "RETRY", STR_NONE, NULL);
    store("steps", "SUCCESS", STR("\"done\""), NULL);
    end_waiter(&waiter);
    assert_string_equal(cel_result_state(waiter.result), "SUCCESS");
    assert_string_equal(cel_value_text(cel_result_value(waiter.result), NULL), "done");
    cel_result_free(waiter.result);
}

static void a_failure_ends_the_wait_with_its_reason(void **state)
{
    (void)state;
    struct buf exception = BUF_INIT(1024);
    result_add_exception_text(&exception, STR("ValueError"), STR("no such order"), STR_NONE);
    store("failed", "FAILURE", buf_str(&exception), "Traceback: here");
    buf_deinit(&exception);
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_result *result;
    assert_int_equal(cel_result_wait(client, "failed", 1000, &result, NULL), 0);
    assert_string_equal(cel_result_state(result), "FAILURE");
    assert_string_equal(cel_result_error_type(result), "ValueError");
    assert_string_equal(cel_result_error_text(result), "no such order");
    assert_string_equal(cel_result_traceback(result), "Traceback: here");
    assert_null(cel_result_value(result));
    cel_result_free(result);
    cel_client_close(client);
}

static void what_is_stored_is_read_without_waiting(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_result *result;
    assert_int_equal(cel_result_get(client, "now", &result, NULL), 0);
    assert_string_equal(cel_result_state(result), "PENDING");
    assert_null(cel_result_document(result));
    cel_result_free(result);
    store("now", "PROGRESS", STR("{\"percent\": 50}"), NULL);
    assert_int_equal(cel_result_get(client, "now", &result, NULL), 0);
    assert_string_equal(cel_result_state(result), "PROGRESS");
    assert_false(cel_result_ready(result));
    assert_int_equal(cel_value_int(cel_value_get(cel_result_value(result), "percent"), 0), 50);
    cel_result_free(result);
    cel_client_close(client);
}

static void a_forgotten_result_is_pending_again(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_result *result;
    store("forget", "SUCCESS", STR("1"), NULL);
    assert_int_equal(cel_result_forget(client, "forget", NULL), 0);
    assert_int_equal(cel_result_forget(client, "forget", NULL), 0); /* twice is no failure */
    assert_int_equal(cel_result_get(client, "forget", &result, NULL), 0);
    assert_string_equal(cel_result_state(result), "PENDING");
    cel_result_free(result);
    cel_client_close(client);
}

static void a_wait_ends_at_its_time_limit(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_result *result = NULL;
    struct cel_error err = {0};
    usec_t begun = clock_mono();
    assert_int_equal(cel_result_wait(client, "never", 200, &result, &err), -ETIMEDOUT);
    usec_t took = clock_mono() - begun;
    assert_true(took >= 200 * USEC_PER_MSEC && took < 2 * USEC_PER_SEC);
    assert_non_null(strstr(err.text, "never"));
    assert_null(result);
    /* Zero: no wait, but a look. */
    assert_int_equal(cel_result_wait(client, "never", 0, &result, &err), -ETIMEDOUT);
    store("ended", "SUCCESS", STR("1"), NULL);
    assert_int_equal(cel_result_wait(client, "ended", 0, &result, &err), 0);
    cel_result_free(result);
    cel_client_close(client);
}

static void a_document_that_cannot_be_read_is_an_error_not_a_wait(void **state)
{
    (void)state;
    char reply[64];
    const char *const set[] = {"SET", "celery-task-meta-broken", "{\"status\": ", NULL};
    assert_true(redis_server_command(&server, reply, sizeof(reply), set));
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_result *result;
    struct cel_error err = {0};
    assert_int_equal(cel_result_wait(client, "broken", PATIENCE_MS, &result, &err), CEL_E_FORMAT);
    assert_true(err.text[0] != '\0');
    assert_int_equal(cel_result_get(client, "broken", &result, NULL), CEL_E_FORMAT);
    cel_client_close(client);
}

static void results_may_stand_on_another_database(void **state)
{
    (void)state;
    char backend[160];
    snprintf(backend, sizeof(backend), "%s?virtual_host=3", server.url);
    struct cel_client *client = open_client((struct cel_client_options){.result_backend = backend});
    struct cel_result *result;
    store("elsewhere", "SUCCESS", STR("1"), NULL); /* in database 0 */
    assert_int_equal(cel_result_get(client, "elsewhere", &result, NULL), 0);
    assert_string_equal(cel_result_state(result), "PENDING");
    cel_result_free(result);
    cel_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_published_later_ends_the_wait),
        cmocka_unit_test(a_state_on_the_way_does_not_end_the_wait),
        cmocka_unit_test(a_failure_ends_the_wait_with_its_reason),
        cmocka_unit_test(what_is_stored_is_read_without_waiting),
        cmocka_unit_test(a_forgotten_result_is_pending_again),
        cmocka_unit_test(a_wait_ends_at_its_time_limit),
        cmocka_unit_test(a_document_that_cannot_be_read_is_an_error_not_a_wait),
        cmocka_unit_test(results_may_stand_on_another_database),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
