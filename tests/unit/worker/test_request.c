/* Requests: every arrow of the state machine, and the fate of a claimed call by its headers. */
#include "worker/request.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/id.h"
#include "core/mem.h"
#include "support.h"

#define NOW ((usec_t)1700000000 * USEC_PER_SEC) /* 2023-11-14T22:13:20Z */

static const struct frame_task rules = {.name = STR("shop.add")};

static enum request_fate fate_of(const char *headers, const struct frame_task *task)
{
    struct requests requests = {0};
    struct request *request = request_with(&requests, message_with(headers), NULL);
    enum request_fate fate = request_decide(&request->envelope, task, NOW);
    requests_deinit(&requests);
    return fate;
}

static void a_plain_call_runs(void **state)
{
    (void)state;
    assert_int_equal(fate_of("", &rules), FATE_RUN);
    assert_int_equal(fate_of(", \"eta\": null, \"expires\": null", &rules), FATE_RUN);
    assert_int_equal(fate_of(", \"eta\": \"2023-11-14T22:13:20+00:00\"", &rules), FATE_RUN);
}

static void an_eta_ahead_is_parked(void **state)
{
    (void)state;
    assert_int_equal(fate_of(", \"eta\": \"2023-11-14T22:13:20.000001+00:00\"", &rules), FATE_PARK);
    assert_int_equal(fate_of(", \"eta\": \"2023-11-15T03:43:21+05:30\"", &rules), FATE_PARK);
}

static void an_expired_call_does_not_run(void **state)
{
    (void)state;
    assert_int_equal(fate_of(", \"expires\": \"2023-11-14T22:13:19.999999+00:00\"", &rules),
                     FATE_EXPIRED);
    assert_int_equal(fate_of(", \"expires\": \"2023-11-14T22:13:20+00:00\"", &rules), FATE_RUN);
    /* expired before its eta */
    assert_int_equal(fate_of(", \"expires\": \"2023-11-14T22:00:00+00:00\", "
                             "\"eta\": \"2024-01-01T00:00:00+00:00\"",
                             &rules),
                     FATE_EXPIRED);
}

static void an_unknown_name_is_unregistered_whatever_else(void **state)
{
    (void)state;
    assert_int_equal(fate_of("", NULL), FATE_UNREGISTERED);
    assert_int_equal(fate_of(", \"expires\": \"2000-01-01T00:00:00+00:00\"", NULL),
                     FATE_UNREGISTERED);
}

static void pickle_is_refused(void **state)
{
    (void)state;
    const char *pickled =
        "{\"body\": \"gA==\", \"content-encoding\": \"binary\", "
        "\"content-type\": \"application/x-python-serialize\", \"headers\": {\"task\": "
        "\"shop.add\", "
        "\"id\": \"id-1\"}, \"properties\": {\"delivery_info\": {}, \"delivery_tag\": \"t\", "
        "\"body_encoding\": \"base64\"}}";
    struct requests requests = {0};
    struct request *request = request_with(&requests, pickled, NULL);
    assert_int_equal(request_decide(&request->envelope, &rules, NOW), FATE_REFUSED);
    requests_deinit(&requests);
}

static void once_looks_first_only_when_redelivered(void **state)
{
    (void)state;
    struct frame_task once = {.name = STR("shop.add"), .once = true};
    assert_int_equal(fate_of("", &once), FATE_RUN);
    assert_int_equal(fate_of(", \"redelivered\": true", &once), FATE_LOOK_FIRST);
    assert_int_equal(fate_of(", \"redelivered\": true", &rules), FATE_RUN);
}

static void limits_come_from_header_then_task_then_worker(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct frame_task task = rules;
    struct request *request =
        request_with(&requests, message_with(", \"timelimit\": [null, 1.5]"), NULL);
    request_set_rules(request, &task, 10, 20);
    assert_int_equal(request->job.soft_limit, 1500000);
    assert_int_equal(request->job.hard_limit, 20);
    task.hard_limit = 7;
    request_set_rules(request, &task, 10, 20);
    assert_int_equal(request->job.hard_limit, 7);
    requests_deinit(&requests);
}

static void an_old_message_is_translated(void **state)
{
    (void)state;
    /* {"task": "shop.add", "id": "old-1", "args": [1], "kwargs": {}, "retries": 2} */
    const char *old = "{\"body\": "
                      "\"eyJ0YXNrIjogInNob3AuYWRkIiwgImlkIjogIm9sZC0xIiwgImFyZ3MiOiBbMV0sICJrd2FyZ3"
                      "MiOiB7fSwgInJldHJpZXMiOiAyfQ==\", \"content-encoding\": \"utf-8\", "
                      "\"content-type\": \"application/json\", \"headers\": {}, "
                      "\"properties\": {\"delivery_info\": {\"exchange\": \"\", \"routing_key\": "
                      "\"q\"}, \"body_encoding\": \"base64\"}}";
    struct requests requests = {0};
    struct request *request = request_with(&requests, old, NULL);
    assert_true(str_equal(request->envelope.task, STR("shop.add")));
    assert_true(str_equal(request->envelope.id, STR("old-1")));
    assert_int_equal(request->envelope.retries, 2);
    assert_int_equal(request->envelope.delivery_tag.len, UUID_SIZE - 1);
    requests_deinit(&requests);
}

static void unreadable_bytes_are_told_with_a_reason(void **state)
{
    (void)state;
    const char *bad[] = {"", "\xff\x00", "[]", "{}", "null", "{\"headers\": {\"task\": \"x\"}}"};
    struct requests requests = {0};
    struct broker_claim claim = {.queue = STR("q"), .tag = 1};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct cel_error err = {0};
        struct request *request = request_new(&requests, &claim, str_of(bad[i]));
        assert_non_null(request);
        assert_true(request_read(request, &err) < 0);
        assert_true(err.text[0] != '\0');
        assert_null(request->envelope.task.ptr);
    }
    requests_deinit(&requests);
}

static void a_run_follows_the_arrows(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct request *request = request_with(&requests, message_with(""), NULL);
    assert_int_equal(requests_live(&requests), 1);
    const enum request_state way[] = {REQUEST_READY,    REQUEST_LIMITED, REQUEST_READY,
                                      REQUEST_ACKING,   REQUEST_READY,   REQUEST_PIPED,
                                      REQUEST_READY,    REQUEST_PIPED,   REQUEST_RUNNING,
                                      REQUEST_SETTLING, REQUEST_DONE};
    for (size_t i = 0; i < ARRAY_SIZE(way); i++) {
        request_set_state(request, way[i]);
        assert_int_equal(requests.lists[way[i]].count, 1);
    }
    assert_int_equal(requests_live(&requests), 0);
    requests_deinit(&requests);
}

static void one_that_was_acknowledged_goes_before_those_that_wait(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct request *first = request_with(&requests, message_with(""), NULL);
    struct request *second = request_with(&requests, message_with(""), NULL);
    request_set_state(first, REQUEST_READY);
    request_set_state(second, REQUEST_READY);
    request_set_state(first, REQUEST_ACKING);
    request_set_state(first, REQUEST_READY);
    assert_ptr_equal(requests.lists[REQUEST_READY].head, &first->link);
    assert_ptr_equal(requests.lists[REQUEST_READY].tail, &second->link);
    requests_deinit(&requests);
}

static void one_that_a_child_did_not_take_goes_before_those_that_wait(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct request *first = request_with(&requests, message_with(""), NULL);
    struct request *second = request_with(&requests, message_with(""), NULL);
    request_set_state(first, REQUEST_READY);
    request_set_state(second, REQUEST_READY);
    request_set_state(first, REQUEST_PIPED);
    request_set_state(first, REQUEST_READY);
    assert_ptr_equal(requests.lists[REQUEST_READY].head, &first->link);
    assert_ptr_equal(requests.lists[REQUEST_READY].tail, &second->link);
    requests_deinit(&requests);
}

static void a_message_that_is_too_long_can_be_buried_all_the_same(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct broker_claim claim = {.queue = STR("q"), .tag = 7};
    struct cel_error err = {0};
    size_t len = 2 * ENVELOPE_BYTES_MAX + 1;
    char *bytes = xalloc(len);
    memset(bytes, ' ', len);
    struct request *request = request_new(&requests, &claim, str_n(bytes, len));
    assert_non_null(request);
    assert_int_equal(request->bytes.len, 0);
    assert_int_equal(request_read(request, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "too long"));
    mem_free(bytes);
    requests_deinit(&requests);
}

/* What `from` may not become ends a program; another process tries. */
static bool survives(enum request_state to, const enum request_state *way, size_t count)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        fclose(stderr);
        struct requests requests = {0};
        struct broker_claim claim = {.queue = STR("q")};
        struct request *request = request_new(&requests, &claim, STR("x"));
        signal(SIGABRT, SIG_DFL);
        for (size_t i = 0; i < count; i++)
            request_set_state(request, way[i]);
        request_set_state(request, to);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status);
}

static void every_other_arrow_is_refused(void **state)
{
    (void)state;
    const enum request_state way[] = {REQUEST_READY,   REQUEST_ACKING,   REQUEST_READY,
                                      REQUEST_LIMITED, REQUEST_READY,    REQUEST_PIPED,
                                      REQUEST_RUNNING, REQUEST_SETTLING, REQUEST_FOLLOWING};
    const unsigned from_ready = 1U << REQUEST_LIMITED | 1U << REQUEST_ACKING | 1U << REQUEST_PIPED |
                                1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED;
    const unsigned allowed[] = {
        1U << REQUEST_READY | 1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED, /* from CLAIMED */
        from_ready,
        1U << REQUEST_READY | 1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED,
        from_ready,
        1U << REQUEST_READY | 1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED,
        from_ready,
        1U << REQUEST_RUNNING | 1U << REQUEST_READY | 1U << REQUEST_ABANDONED,
        1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED,
        1U << REQUEST_FOLLOWING | 1U << REQUEST_DONE | 1U << REQUEST_ABANDONED,
        1U << REQUEST_SETTLING | 1U << REQUEST_ABANDONED,
    };
    for (size_t steps = 0; steps < ARRAY_SIZE(allowed); steps++) {
        for (size_t to = 0; to < REQUEST_STATES; to++)
            assert_int_equal(survives((enum request_state)to, way, steps),
                             (allowed[steps] & (1U << to)) != 0);
    }
}

static void a_finished_request_is_used_again_and_remembers_nothing(void **state)
{
    (void)state;
    struct requests requests = {0};
    struct frame_task task = {.name = STR("shop.add"), .once = true, .hard_limit = 5};
    struct request *request =
        request_with(&requests, message_with(", \"eta\": \"2024-01-01T00:00:00+00:00\""), &task);
    request_set_state(request, REQUEST_SETTLING);
    request_set_state(request, REQUEST_DONE);
    struct request *next = request_with(&requests, message_with(""), NULL);
    assert_ptr_equal(next, request);
    assert_int_equal(next->envelope.eta_wall, 0);
    assert_int_equal(next->job.hard_limit, 0);
    assert_false(next->task.once);
    assert_int_equal(next->state, REQUEST_CLAIMED);
    requests_deinit(&requests);
}

static void without_memory_there_is_no_request(void **state)
{
    (void)state;
    struct broker_claim claim = {.queue = STR("q"), .tag = 1};
    struct requests requests = {0};
    for (size_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_null(request_new(&requests, &claim, STR("abc")));
        mem_fail_after(0);
        assert_int_equal(requests_live(&requests), 0);
    }
    assert_non_null(request_new(&requests, &claim, STR("abc")));
    requests_deinit(&requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_call_runs),
        cmocka_unit_test(an_eta_ahead_is_parked),
        cmocka_unit_test(an_expired_call_does_not_run),
        cmocka_unit_test(an_unknown_name_is_unregistered_whatever_else),
        cmocka_unit_test(pickle_is_refused),
        cmocka_unit_test(once_looks_first_only_when_redelivered),
        cmocka_unit_test(limits_come_from_header_then_task_then_worker),
        cmocka_unit_test(an_old_message_is_translated),
        cmocka_unit_test(unreadable_bytes_are_told_with_a_reason),
        cmocka_unit_test(a_run_follows_the_arrows),
        cmocka_unit_test(one_that_was_acknowledged_goes_before_those_that_wait),
        cmocka_unit_test(one_that_a_child_did_not_take_goes_before_those_that_wait),
        cmocka_unit_test(a_message_that_is_too_long_can_be_buried_all_the_same),
        cmocka_unit_test(every_other_arrow_is_refused),
        cmocka_unit_test(a_finished_request_is_used_again_and_remembers_nothing),
        cmocka_unit_test(without_memory_there_is_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
