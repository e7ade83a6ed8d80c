/* Sending to a real Redis: what arrives, where, and in which order. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"
#include "message/envelope.h"
#include "tests/integration/client/fixture.h"

enum { BULK = 10000, THREADS = 4, SENDS = 250, REPLY_MAX = 65536 };

static char reply[REPLY_MAX];

#define COMMAND(...)                                                                               \
    assert_true(redis_server_command(&server, reply, sizeof(reply),                                \
                                     (const char *const[]){__VA_ARGS__, NULL}))

static void assert_length(const char *list, int expected)
{
    COMMAND("LLEN", list);
    assert_int_equal(atoi(reply + 1), expected);
}

/* Element `index` of a list, decoded; it lives until the next command. */
static void read_message(const char *list, const char *index, struct envelope *ret)
{
    COMMAND("LINDEX", list, index);
    assert_int_equal(reply[0], '$');
    char *bytes = strchr(reply, '\n') + 1;
    size_t len = (size_t)atoi(reply + 1);
    struct cel_error err = {0};
    if (envelope_decode(str_n(bytes, len), ret, &err))
        fail_msg("%s", err.text);
}

static int empty(void **state)
{
    (void)state;
    COMMAND("FLUSHALL");
    return 0;
}

static void a_sent_call_is_a_message_on_the_queue(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_call *call = cel_call_new("products.tasks.process_order");
    cel_call_arg(call, cel_int(42));
    char id[CEL_ID_SIZE];
    assert_int_equal(cel_send(client, call, id, NULL), 0);
    assert_length("celery", 1);
    struct envelope envelope;
    read_message("celery", "0", &envelope);
    assert_true(str_equal(envelope.id, str_of(id)));
    assert_true(str_equal(envelope.task, STR("products.tasks.process_order")));
    assert_true(str_equal(envelope.routing_key, STR("celery")));
    assert_true(str_starts(envelope.origin, STR("gen")));
    assert_true(envelope.delivery_tag.len > 0);
    envelope_deinit(&envelope);
    cel_call_free(call);
    cel_client_close(client);
}

static void each_sending_is_a_task_of_its_own(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_call *call = cel_call_new("a.b");
    char first[CEL_ID_SIZE], second[CEL_ID_SIZE];
    assert_int_equal(cel_send(client, call, first, NULL), 0);
    assert_int_equal(cel_send(client, call, second, NULL), 0);
    assert_string_not_equal(first, second);
    assert_length("celery", 2);
    cel_call_free(call);
    cel_client_close(client);
}

static void options_travel_in_the_message(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_call *call = cel_call_new("a.b");
    cel_call_id(call, "my-id");
    cel_call_queue(call, "mail");
    cel_call_priority(call, 7);
    cel_call_eta_ms(call, 1900000000000);
    cel_call_expires_at_ms(call, 1900000060000);
    cel_call_retries(call, 2);
    cel_call_ignore_result(call, true);
    cel_call_time_limit_ms(call, 1500, 3000);
    cel_call_shadow(call, "other.name");
    cel_call_header(call, "tenant", cel_text("blue"));
    cel_call_compression(call, CEL_ZLIB);
    cel_call_serializer(call, CEL_MSGPACK);
    assert_int_equal(cel_send(client, call, NULL, NULL), 0);
    struct envelope e;
    read_message("mail\x06\x16"
                 "6",
                 "0", &e);
    assert_true(str_equal(e.id, STR("my-id")));
    assert_int_equal(e.priority, 7);
    assert_int_equal(e.eta_wall, 1900000000 * USEC_PER_SEC);
    assert_int_equal(e.expires_wall, 1900000060 * USEC_PER_SEC);
    assert_int_equal(e.retries, 2);
    assert_true(e.ignore_result);
    assert_int_equal(e.soft_limit, 1500 * USEC_PER_MSEC);
    assert_int_equal(e.hard_limit, 3000 * USEC_PER_MSEC);
    assert_true(str_equal(e.shadow, STR("other.name")));
    assert_non_null(memmem(e.other_headers.ptr, e.other_headers.len, "\"blue\"", 6));
    assert_true(str_equal(e.compression, STR("application/x-gzip")));
    assert_true(str_equal(e.content_type, STR("application/x-msgpack")));
    envelope_deinit(&e);
    cel_call_free(call);
    cel_client_close(client);
}

static void a_key_prefix_stands_before_the_queue(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.key_prefix = "shop:"});
    struct cel_call *call = cel_call_new("a.b");
    assert_int_equal(cel_send(client, call, NULL, NULL), 0);
    assert_length("shop:celery", 1);
    assert_length("celery", 0);
    cel_call_free(call);
    cel_client_close(client);
}

static void assert_order(const char *index, const char *id)
{
    struct envelope envelope;
    read_message("celery", index, &envelope);
    assert_true(str_equal(envelope.id, str_of(id)));
    envelope_deinit(&envelope);
}

static void ten_thousand_calls_go_in_bulk_and_in_order(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_call **calls = mem_array(BULK, sizeof(*calls));
    char(*ids)[CEL_ID_SIZE] = mem_array(BULK, sizeof(*ids));
    assert_true(calls && ids);
    for (int i = 0; i < BULK; i++) {
        calls[i] = cel_call_new("products.tasks.process_order");
        cel_call_arg(calls[i], cel_int(i));
    }
    size_t sent = 0;
    usec_t begun = clock_mono();
    struct cel_error err;
    if (cel_send_bulk(client, calls, BULK, ids, &sent, &err))
        fail_msg("%zu sent: %s", sent, err.text);
    usec_t took = clock_mono() - begun;
    print_message("bulk: %d calls in %.1f ms, %.0f a second\n", BULK, (double)took / 1e3,
                  (double)BULK * 1e6 / (double)took);
    assert_int_equal(sent, BULK);
    assert_length("celery", BULK);
    assert_order("-1", ids[0]); /* served first */
    assert_order("-1024", ids[1023]);
    assert_order("-1025", ids[1024]);
    assert_order("0", ids[BULK - 1]);
    for (int i = 0; i < BULK; i++)
        cel_call_free(calls[i]);
    mem_free(calls);
    mem_free(ids);
    cel_client_close(client);
}

static void one_bad_call_keeps_all_of_a_bulk_back(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){0});
    struct cel_call *calls[] = {cel_call_new("a.b"), cel_call_new("a.b")};
    cel_call_priority(calls[1], 99);
    size_t sent = 7;
    assert_int_not_equal(cel_send_bulk(client, calls, 2, NULL, &sent, NULL), 0);
    assert_int_equal(sent, 0);
    assert_length("celery", 0);
    cel_call_free(calls[0]);
    cel_call_free(calls[1]);
    cel_client_close(client);
}

/* What one thread does with a handle of its own; NULL, or what went wrong. Nothing is asserted
 * here: cmocka's jumps belong to the main thread. */
static void *send_in_thread(void *data)
{
    (void)data;
    struct cel_client *client;
    const struct cel_client_options options = {.broker_url = server.url};
    if (cel_client_open(&options, &client, NULL))
        return "open";
    void *wrong = NULL;
    for (int i = 0; i < SENDS && !wrong; i++) {
        char id[CEL_ID_SIZE];
        struct cel_result *result = NULL;
        struct cel_call *call = cel_call_new("a.b");
        cel_call_kwarg(call, "number", cel_int(i));
        if (cel_send(client, call, id, NULL))
            wrong = "send";
        else if (cel_result_get(client, id, &result, NULL))
            wrong = "get";
        else if (strcmp(cel_result_state(result), "PENDING") != 0)
            wrong = "state";
        cel_result_free(result);
        cel_call_free(call);
    }
    cel_client_close(client);
    return wrong;
}

static void threads_have_handles_of_their_own(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_in_thread, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        if (wrong)
            fail_msg("thread %d: %s", i, (const char *)wrong);
    }
    assert_length("celery", THREADS * SENDS);
}

static void routes_say_the_queue_of_a_task(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){
        .queue = "otherwise", .routes = "shop.* = shop, shop.tasks.pay = bank"});
    static const char *const names[] = {"shop.tasks.pay", "shop.tasks.ship", "other", "shop.own"};
    for (size_t i = 0; i < 4; i++) {
        struct cel_call *call = cel_call_new(names[i]);
        if (i == 3)
            cel_call_queue(call, "own");
        assert_int_equal(cel_send(client, call, NULL, NULL), 0);
        cel_call_free(call);
    }
    static const char *const queues[] = {"bank", "shop", "otherwise", "own"};
    for (size_t i = 0; i < 4; i++)
        assert_length(queues[i], 1);
    cel_client_close(client);
    const struct cel_client_options wrong = {.routes = "shop.*"};
    struct cel_error err;
    assert_int_equal(cel_client_open(&wrong, &client, &err), -EINVAL);
    assert_non_null(strstr(err.text, "route \"shop.*\""));
}

static void an_exchange_has_queues_or_the_call_is_not_sent(void **state)
{
    (void)state;
    struct cel_client *client = open_client((struct cel_client_options){.dedupe_ms = 60000});
    struct cel_call *call = cel_call_new("shop.audit");
    struct cel_error err;
    cel_call_exchange(call, "orders", "paid");
    assert_int_equal(cel_send(client, call, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "Not sent: no queue is bound to exchange \"orders\""));
    COMMAND("SADD", "_kombu.binding.orders", "paid\x06\x16\x06\x16one", "paid\x06\x16\x06\x16two",
            "sent\x06\x16\x06\x16three", "nonsense");
    char id[CEL_ID_SIZE];
    assert_int_equal(cel_send(client, call, id, &err), 0);
    assert_length("one", 1);
    assert_length("two", 1);
    assert_length("three", 0);
    struct envelope envelope;
    read_message("two", "0", &envelope);
    assert_true(str_equal(envelope.id, str_of(id)));
    assert_true(str_equal(envelope.exchange, STR("orders")));
    assert_true(str_equal(envelope.routing_key, STR("paid")));
    envelope_deinit(&envelope);
    assert_int_equal(cel_send_bulk(client, &call, 1, NULL, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "by cel_send() alone"));
    struct cel_message message;
    assert_int_equal(cel_call_message(call, NULL, &message, NULL), -EINVAL);
    COMMAND("SET", "two", "no list");
    assert_int_equal(cel_send(client, call, NULL, &err), CEL_E_UNCERTAIN);
    assert_non_null(strstr(err.text, "To the 2 queues of its exchange"));
    cel_call_free(call);
    cel_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_sent_call_is_a_message_on_the_queue, empty),
        cmocka_unit_test_setup(each_sending_is_a_task_of_its_own, empty),
        cmocka_unit_test_setup(options_travel_in_the_message, empty),
        cmocka_unit_test_setup(a_key_prefix_stands_before_the_queue, empty),
        cmocka_unit_test_setup(ten_thousand_calls_go_in_bulk_and_in_order, empty),
        cmocka_unit_test_setup(one_bad_call_keeps_all_of_a_bulk_back, empty),
        cmocka_unit_test_setup(routes_say_the_queue_of_a_task, empty),
        cmocka_unit_test_setup(an_exchange_has_queues_or_the_call_is_not_sent, empty),
        cmocka_unit_test_setup(threads_have_handles_of_their_own, empty),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
