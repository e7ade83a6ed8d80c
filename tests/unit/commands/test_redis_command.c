#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "commands/redis_command.h"
#include "core/mem.h"

static const struct key_space space = {.node = {"n:1", 3}};

/* The words of a request with a space behind each; the SHA-1 of a script as "SHA". */
static const char *words_of(struct redis_request *request)
{
    static char words[4096];
    struct reply_reader reader;
    const struct redis_reply *reply;
    size_t len = 0;
    assert_int_equal(reply_reader_init(&reader), 0);
    assert_int_equal(reply_reader_feed(&reader, str_n(request->bytes, request->len)), 0);
    assert_int_equal(reply_reader_next(&reader, &reply), 0);
    assert_non_null(reply);
    for (size_t i = 0; i < reply_count(reply); i++) {
        struct str word = reply_text(reply_item(reply, i));
        if (i == 1 && request->script && word.len == 40)
            word = STR("SHA");
        len += (size_t)snprintf(words + len, sizeof(words) - len, STR_FORMAT " ", STR_ARGS(word));
    }
    assert_int_equal(reply_reader_next(&reader, &reply), 0);
    assert_null(reply);
    reply_reader_deinit(&reader);
    redis_request_deinit(request);
    request->script = NULL;
    return words;
}

static void a_command_is_spelled_as_redis_reads_it(void **state)
{
    const struct broker_message messages[] = {{.queue = STR("q"), .step = 3, .bytes = STR("one")},
                                              {.queue = STR("q"), .step = 3, .bytes = STR("")}};
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(redis_command_push(&request, &space, messages, 2), 0);
    static const char expected[] = "$1\r\n2\r\n$4\r\nq\x06\x16"
                                   "3\r\n$19\r\nceleriac:counts:{q}\r\n$3\r\none\r\n$0\r\n\r\n";
    static const char head[] = "*7\r\n$7\r\nEVALSHA\r\n$40\r\n";
    assert_int_equal(request.len, sizeof(head) - 1 + 42 + sizeof(expected) - 1);
    assert_memory_equal(request.bytes, head, sizeof(head) - 1);
    assert_memory_equal(request.bytes + sizeof(head) - 1 + 42, expected, sizeof(expected) - 1);
    redis_request_deinit(&request);
}

static void a_completion_names_only_what_it_needs(void **state)
{
    struct redis_request request = {.bytes = NULL};
    struct queue_keys keys;
    struct broker_completion completion = {.claim = {.queue = STR("q"), .tag = 7, .step = 3}};
    const struct dead_limits limits = {.count = 5};
    const struct broker_message follow_up = {.queue = STR("next"), .bytes = STR("n")};
    (void)state;
    assert_int_equal(queue_keys_init(&keys, &space, STR("q")), 0);
#define IN_FLIGHT "celeriac:inflight:{q}:n:1 "
#define COUNTS    "celeriac:counts:{q} "
    assert_int_equal(redis_command_complete(&request, &space, &keys, &completion, 0, &limits), 0);
    assert_string_equal(words_of(&request),
                        "EVALSHA SHA 3 " IN_FLIGHT COUNTS IN_FLIGHT "7.3 0  done ");
    completion.result_id = STR("id");
    completion.result_document = STR("{}");
    completion.follow_ups = &follow_up;
    completion.follow_up_count = 1;
    completion.retry = STR("again");
    completion.retry_due_wall = 1500;
    assert_int_equal(redis_command_complete(&request, &space, &keys, &completion, 2500000, &limits),
                     0);
    assert_string_equal(words_of(&request),
                        "EVALSHA SHA 6 " IN_FLIGHT COUNTS
                        "celery-task-meta-id next celeriac:counts:{next} celeriac:delayed:{q} "
                        "7.3 3 {}  push n park 2 n:1/7.3\nagain ");
    queue_keys_deinit(&keys);
}

static void a_push_once_names_a_mark_for_each(void **state)
{
    static const struct key_space shop = {.prefix = {"shop:", 5}};
    const struct broker_message messages[] = {
        {.queue = STR("q"), .step = 3, .bytes = STR("one"), .id = STR("a")},
        {.queue = STR("q"), .step = 3, .bytes = STR("two"), .id = STR("b c")}};
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(redis_command_push_once(&request, &shop, messages, 2, 1500), 0);
    assert_string_equal(words_of(&request), "EVALSHA SHA 4 shop:q\x06\x16"
                                            "3 shop:celeriac:counts:{q} shop:celeriac:sent:{q}:a "
                                            "shop:celeriac:sent:{q}:b c "
                                            "2 one two ");
}

static void a_wait_in_the_server_has_an_end(void **state)
{
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(redis_command_wait_replicas(&request, 2, 1500 * USEC_PER_MSEC), 0);
    assert_string_equal(words_of(&request), "WAIT 2 1500 ");
    assert_int_equal(redis_command_wait_disk(&request, 0), 0);
    assert_string_equal(words_of(&request), "WAITAOF 1 0 1 ");
}

static void short_memory_is_told(void **state)
{
    const struct broker_message message = {.queue = STR("q"), .bytes = STR("one")};
    struct redis_request request = {.bytes = NULL};
    (void)state;
    mem_fail_after(1);
    assert_int_equal(redis_command_push(&request, &space, &message, 1), -ENOMEM);
    assert_null(request.bytes);
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_spelled_as_redis_reads_it),
        cmocka_unit_test(a_completion_names_only_what_it_needs),
        cmocka_unit_test(a_push_once_names_a_mark_for_each),
        cmocka_unit_test(a_wait_in_the_server_has_an_end),
        cmocka_unit_test(short_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
