/* The policy after a run: what the broker is told of each outcome, death and fate. */
#include "worker/settle.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/json.h"
#include "core/mem.h"
#include "support.h"

#define NOW ((usec_t)1700000000 * USEC_PER_SEC) /* 2023-11-14T22:13:20Z */

static const struct settle_context context = {
    .now_wall = NOW, .random = 12345, .node = STR("w@h"), .delivery_tag = STR("t-2")};

static struct requests requests;
static struct cel_value *document; /* of the last settlement */

static int set_up(void **state)
{
    (void)state;
    requests = (struct requests){0};
    document = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    document = cel_value_free(document);
    requests_deinit(&requests);
    return 0;
}

#define assert_text(value, text)                                                                   \
    do {                                                                                           \
        assert_non_null(cel_value_text((value), NULL));                                            \
        assert_string_equal(cel_value_text((value), NULL), (text));                                \
    } while (0)
#define assert_str(actual, text)                                                                   \
    do {                                                                                           \
        assert_int_equal((actual).len, strlen(text));                                              \
        assert_memory_equal((actual).ptr, text, strlen(text));                                     \
    } while (0)

static const struct broker_completion *completion_of(struct request *request)
{
    const struct settlement *settlement = &request->settlement;
    assert_int_equal(settlement->verb, SETTLE_COMPLETE);
    assert_int_equal(settlement->completion.claim.tag, 7);
    document = cel_value_free(document);
    if (settlement->completion.result_document.ptr) {
        struct cel_error err = {0};
        assert_int_equal(json_decode(settlement->completion.result_document, &document, &err), 0);
        assert_str(settlement->completion.result_id, "id-1");
        assert_text(cel_value_get(document, "task_id"), "id-1");
    }
    return &settlement->completion;
}

static void expect_exception(const char *status, const char *type, const char *module)
{
    assert_text(cel_value_get(document, "status"), status);
    const struct cel_value *result = cel_value_get(document, "result");
    assert_text(cel_value_get(result, "exc_type"), type);
    assert_text(cel_value_get(result, "exc_module"), module);
    assert_int_equal(cel_value_type(cel_value_get(result, "exc_message")), CEL_LIST);
}

static const char *first_message(void)
{
    const struct cel_value *result = cel_value_get(document, "result");
    return cel_value_text(cel_value_at(cel_value_get(result, "exc_message"), 0), NULL);
}

static struct request *request_of(const char *headers, struct frame_task task)
{
    return request_with(&requests, message_with(headers), &task);
}

static struct request *settled(struct request *request, struct frame_outcome outcome)
{
    outcome.seq = request->job.seq;
    assert_int_equal(settle_outcome(request, &outcome, &context, &request->settlement), 0);
    return request;
}

/* --- success ---------------------------------------------------------------------------------- */

static void success_is_stored(void **state)
{
    (void)state;
    struct request *request =
        settled(request_of(", \"group\": \"g-1\", \"parent_id\": \"p-1\"", task_rules()),
                (struct frame_outcome){.kind = OUTCOME_SUCCESS,
                                       .result_json = STR("{\"a\": 1}"),
                                       .children_json = STR("[[[\"c-1\", null], null]]")});
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_SUCCEEDED);
    assert_text(cel_value_get(document, "status"), "SUCCESS");
    assert_int_equal(cel_value_int(cel_value_get(cel_value_get(document, "result"), "a"), 0), 1);
    assert_text(cel_value_get(document, "date_done"), "2023-11-14T22:13:20+00:00");
    assert_text(cel_value_get(document, "group_id"), "g-1");
    assert_text(cel_value_get(document, "parent_id"), "p-1");
    assert_int_equal(cel_value_count(cel_value_get(document, "children")), 1);
    assert_int_equal(cel_value_type(cel_value_get(document, "traceback")), CEL_NULL);
    assert_null(completion->retry.ptr);
    assert_int_equal(completion->follow_up_count, 0);
}

static void success_of_an_ignored_result_is_a_bare_acknowledgement(void **state)
{
    (void)state;
    struct frame_outcome outcome = {.kind = OUTCOME_SUCCESS, .result_json = STR("1")};
    struct frame_task ignoring = task_rules();
    ignoring.ignore_result = true;
    struct request *request = settled(request_of("", ignoring), outcome);
    assert_int_equal(request->settlement.verb, SETTLE_ACK);
    request = settled(request_of(", \"ignore_result\": true", task_rules()), outcome);
    assert_int_equal(request->settlement.verb, SETTLE_ACK);
}

static void sends_are_copied_out_of_the_frame(void **state)
{
    (void)state;
    char queue[] = "mail", bytes[] = "message one", more[] = "two";
    const struct frame_send sends[] = {
        {.queue = str_of(queue), .bytes = str_of(bytes), .step = 0},
        {.queue = str_of(queue), .bytes = str_of(more), .step = 6},
    };
    struct frame_outcome outcome = {
        .kind = OUTCOME_SUCCESS, .result_json = STR("null"), .sends = sends, .send_count = 2};
    struct request *request =
        settled(request_of(", \"ignore_result\": true", task_rules()), outcome);
    memset(queue, '-', sizeof(queue));
    memset(bytes, '-', sizeof(bytes));
    memset(more, '-', sizeof(more));
    const struct broker_completion *completion = completion_of(request);
    assert_null(completion->result_document.ptr);
    assert_int_equal(completion->follow_up_count, 2);
    assert_str(completion->follow_ups[0].queue, "mail");
    assert_str(completion->follow_ups[0].bytes, "message one");
    assert_int_equal(completion->follow_ups[0].step, 0);
    assert_str(completion->follow_ups[1].bytes, "two");
    assert_int_equal(completion->follow_ups[1].step, 6);
}

static void ignore_stores_nothing(void **state)
{
    (void)state;
    struct request *request =
        settled(request_of("", task_rules()), (struct frame_outcome){.kind = OUTCOME_IGNORE});
    assert_int_equal(request->settlement.verb, SETTLE_ACK);
    assert_int_equal(request->settlement.end, END_IGNORED);
}

/* --- failure ---------------------------------------------------------------------------------- */

#define BOOM                                                                                       \
    STR("{\"exc_type\": \"ValueError\", \"exc_message\": [\"boom\"], \"exc_module\": "             \
        "\"builtins\"}")

static void failure_is_stored_with_its_exception(void **state)
{
    (void)state;
    const struct frame_send send = {.queue = STR("q"), .bytes = STR("m")};
    struct request *request =
        settled(request_of("", task_rules()), (struct frame_outcome){.kind = OUTCOME_FAILURE,
                                                                     .result_json = BOOM,
                                                                     .traceback = STR("tb\nline"),
                                                                     .sends = &send,
                                                                     .send_count = 1});
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_FAILED);
    expect_exception("FAILURE", "ValueError", "builtins");
    assert_string_equal(first_message(), "boom");
    assert_text(cel_value_get(document, "traceback"), "tb\nline");
    assert_text(cel_value_get(document, "date_done"), "2023-11-14T22:13:20+00:00");
    assert_int_equal(completion->follow_up_count, 0); /* sent with a success alone */
}

/* --- retry ------------------------------------------------------------------------------------ */

static struct cel_value *decoded_retry(struct request *request)
{
    struct cel_value *message = NULL;
    struct cel_error err = {0};
    assert_int_equal(json_decode(request->settlement.completion.retry, &message, &err), 0);
    return message;
}

static void a_retry_is_the_same_message_later(void **state)
{
    (void)state;
    const char *headers =
        ", \"retries\": 1, \"root_id\": \"r-1\", \"parent_id\": \"p-1\", \"group\": \"g-1\", "
        "\"group_index\": 2, \"timelimit\": [9, null], \"expires\": \"2030-01-01T00:00:00+00:00\", "
        "\"eta\": \"2020-01-01T00:00:00+00:00\", \"origin\": \"gen1@h\", \"tenant\": {\"a\": [1, "
        "2.5]}";
    struct request *request =
        settled(request_of(headers, task_rules()),
                (struct frame_outcome){
                    .kind = OUTCOME_RETRY, .result_json = BOOM, .countdown_usec = 10500000});
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_RETRIED);
    assert_true(completion->retry_due_wall == NOW + 10500000);
    expect_exception("RETRY", "ValueError", "builtins");
    assert_int_equal(cel_value_type(cel_value_get(document, "date_done")), CEL_NULL);
    const struct cel_value *child = cel_value_at(cel_value_get(document, "children"), 0);
    assert_text(cel_value_at(cel_value_at(child, 0), 0), "id-1");

    struct cel_value *message = decoded_retry(request);
    const struct cel_value *next = cel_value_get(message, "headers");
    assert_text(cel_value_get(next, "id"), "id-1");
    assert_text(cel_value_get(next, "task"), "shop.add");
    assert_int_equal(cel_value_int(cel_value_get(next, "retries"), 0), 2);
    assert_text(cel_value_get(next, "eta"), "2023-11-14T22:13:30.500000+00:00");
    assert_text(cel_value_get(next, "expires"), "2030-01-01T00:00:00+00:00");
    assert_text(cel_value_get(next, "root_id"), "r-1");
    assert_text(cel_value_get(next, "parent_id"), "p-1");
    assert_text(cel_value_get(next, "group"), "g-1");
    assert_int_equal(cel_value_int(cel_value_get(next, "group_index"), 0), 2);
    assert_text(cel_value_get(next, "origin"), "w@h");
    const struct cel_value *tenant = cel_value_get(cel_value_get(next, "tenant"), "a");
    assert_int_equal(cel_value_count(tenant), 2);
    const struct cel_value *properties = cel_value_get(message, "properties");
    assert_text(cel_value_get(properties, "delivery_tag"), "t-2");
    assert_text(cel_value_get(properties, "reply_to"), "r");
    assert_int_equal(cel_value_int(cel_value_get(properties, "priority"), 0), 4);
    assert_text(cel_value_get(cel_value_get(properties, "delivery_info"), "routing_key"), "q");
    assert_text(cel_value_get(message, "body"), "W1tdLCB7fSwge31d");
    cel_value_free(message);
}

static void a_retry_without_delay_is_pushed_at_once(void **state)
{
    (void)state;
    struct request *request =
        settled(request_of(", \"redelivered\": true", task_rules()),
                (struct frame_outcome){.kind = OUTCOME_RETRY, .countdown_usec = 0});
    assert_true(completion_of(request)->retry_due_wall == 0);
    assert_int_equal(cel_value_type(cel_value_get(document, "result")), CEL_NULL);
    struct cel_value *message = decoded_retry(request);
    const struct cel_value *headers = cel_value_get(message, "headers");
    assert_int_equal(cel_value_type(cel_value_get(headers, "eta")), CEL_NULL);
    assert_false(cel_value_bool(cel_value_get(headers, "redelivered"), false));
    cel_value_free(message);
}

static void the_task_names_its_own_delay(void **state)
{
    (void)state;
    struct frame_outcome outcome = {.kind = OUTCOME_RETRY, .countdown_usec = -1};
    struct request *request = settled(request_of("", task_rules()), outcome);
    assert_true(completion_of(request)->retry_due_wall == NOW + 180 * USEC_PER_SEC);
}

static void backoff_doubles_with_full_jitter_up_to_its_cap(void **state)
{
    (void)state;
    struct frame_task task = task_rules();
    task.retry_backoff = true;
    task.retry_delay = USEC_PER_SEC;
    task.retry_delay_max = 6 * USEC_PER_SEC;
    task.max_retries = -1;
    const usec_t ceilings[] = {1, 2, 4, 6, 6};
    for (int retries = 0; retries < (int)ARRAY_SIZE(ceilings); retries++) {
        char headers[32];
        snprintf(headers, sizeof(headers), ", \"retries\": %d", retries);
        struct request *request = request_of(headers, task);
        usec_t longest = 0;
        for (uint64_t random = 0; random < 1000; random++) {
            struct settle_context other = context;
            other.random = random * 1000003 * 977;
            struct frame_outcome outcome = {.kind = OUTCOME_RETRY, .countdown_usec = -1};
            assert_int_equal(settle_outcome(request, &outcome, &other, &request->settlement), 0);
            usec_t due = request->settlement.completion.retry_due_wall;
            usec_t delay = due ? due - NOW : 0;
            assert_true(delay <= ceilings[retries] * USEC_PER_SEC);
            if (delay > longest)
                longest = delay;
        }
        assert_true(longest > ceilings[retries] * USEC_PER_SEC * 9 / 10);
    }
}

static void used_up_retries_fail_with_the_last_reason(void **state)
{
    (void)state;
    struct frame_outcome outcome = {
        .kind = OUTCOME_RETRY, .result_json = BOOM, .countdown_usec = 1};
    struct request *request = settled(request_of(", \"retries\": 2", task_rules()), outcome);
    assert_int_equal(request->settlement.end, END_RETRIED);
    request = settled(request_of(", \"retries\": 3", task_rules()), outcome);
    assert_int_equal(request->settlement.end, END_FAILED);
    assert_null(completion_of(request)->retry.ptr);
    expect_exception("FAILURE", "ValueError", "builtins");
    assert_string_equal(first_message(), "boom");
}

static void used_up_retries_without_a_reason_say_so_in_celerys_words(void **state)
{
    (void)state;
    struct frame_task task = task_rules();
    task.max_retries = 0;
    struct request *request =
        settled(request_of(", \"argsrepr\": \"(1,)\", \"kwargsrepr\": \"{}\"", task),
                (struct frame_outcome){.kind = OUTCOME_RETRY});
    completion_of(request);
    expect_exception("FAILURE", "MaxRetriesExceededError", "celery.exceptions");
    assert_string_equal(first_message(), "Can't retry shop.add[id-1] args:(1,) kwargs:{}");
}

static void endless_retries_go_on(void **state)
{
    (void)state;
    struct frame_task task = task_rules();
    task.max_retries = -1;
    struct request *request = settled(request_of(", \"retries\": 100000", task),
                                      (struct frame_outcome){.kind = OUTCOME_RETRY});
    assert_int_equal(request->settlement.end, END_RETRIED);
    struct cel_value *message = decoded_retry(request);
    assert_int_equal(cel_value_int(cel_value_get(cel_value_get(message, "headers"), "retries"), 0),
                     100001);
    cel_value_free(message);
}

/* The headers of the attempt that follows a conflict, or another reason to retry. */
static void next_counts(const char *headers, bool conflict, int64_t *retries, int64_t *conflicts)
{
    struct request *request = settled(
        request_of(headers, task_rules()),
        (struct frame_outcome){.kind = OUTCOME_RETRY, .result_json = BOOM, .conflict = conflict});
    assert_int_equal(request->settlement.end, END_RETRIED);
    struct cel_value *message = decoded_retry(request);
    const struct cel_value *next = cel_value_get(message, "headers");
    *retries = cel_value_int(cel_value_get(next, "retries"), -1);
    *conflicts = cel_value_int(cel_value_get(next, "celeriac_conflicts"), 0);
    cel_value_free(message);
}

static void conflicts_do_not_use_up_the_retries_until_there_are_too_many(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        bool conflict;
        int64_t retries, conflicts;
    } cases[] = {
        {"", true, 0, 1},
        {", \"retries\": 3, \"celeriac_conflicts\": 1", true, 3, 2},
        {", \"retries\": 3, \"celeriac_conflicts\": 99", true, 3, 100},
        {", \"retries\": 1, \"celeriac_conflicts\": 100", true, 2, 100},
        {", \"retries\": 1, \"celeriac_conflicts\": 7", false, 2, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t retries, conflicts;
        next_counts(cases[i].headers, cases[i].conflict, &retries, &conflicts);
        assert_int_equal(retries, cases[i].retries);
        assert_int_equal(conflicts, cases[i].conflicts);
    }
    const struct frame_outcome outcome = {
        .kind = OUTCOME_RETRY, .result_json = BOOM, .conflict = true};
    completion_of(settled(request_of(", \"retries\": 3, \"celeriac_conflicts\": 100", task_rules()),
                          outcome));
    expect_exception("FAILURE", "ValueError", "builtins");
    struct frame_task never = task_rules();
    never.max_retries = 0;
    completion_of(settled(request_of("", never), outcome));
    expect_exception("FAILURE", "ValueError", "builtins");
}

static void an_absurd_countdown_is_cut(void **state)
{
    (void)state;
    struct request *request =
        settled(request_of("", task_rules()),
                (struct frame_outcome){.kind = OUTCOME_RETRY, .countdown_usec = INT64_MAX});
    assert_true(completion_of(request)->retry_due_wall < NOW + NOW);
    cel_value_free(decoded_retry(request));
}

static usec_t delay_after(int retries, const struct frame_task *task)
{
    char headers[40];
    snprintf(headers, sizeof(headers), ", \"retries\": %d", retries);
    struct request *request =
        settled(request_of(headers, *task),
                (struct frame_outcome){.kind = OUTCOME_RETRY, .countdown_usec = -1});
    return completion_of(request)->retry_due_wall - NOW;
}

/* Celery: min(retry_backoff_max, retry_backoff * 2 ** retries), and of that any part. */
static void a_retry_backs_off_as_celerys(void **state)
{
    (void)state;
    struct frame_task task = task_rules();
    task.max_retries = -1;
    task.retry_backoff = task.retry_without_jitter = true;
    task.retry_delay = 3 * USEC_PER_SEC;
    task.retry_delay_max = 600 * USEC_PER_SEC;
    static const unsigned seconds[] = {3, 6, 12, 24, 48, 96, 192, 384, 600, 600};
    for (int i = 0; i < (int)ARRAY_SIZE(seconds); i++)
        assert_int_equal(delay_after(i, &task), seconds[i] * USEC_PER_SEC);
    assert_int_equal(delay_after(100000, &task), 600 * USEC_PER_SEC);
    task.retry_without_jitter = false;
    for (int i = 0; i < (int)ARRAY_SIZE(seconds); i++)
        assert_in_range(delay_after(i, &task), 0, seconds[i] * USEC_PER_SEC);
    assert_int_not_equal(delay_after(9, &task), 600 * USEC_PER_SEC);
}

/* --- rejection -------------------------------------------------------------------------------- */

static void a_rejected_call_goes_to_quarantine_and_leaves_no_result(void **state)
{
    (void)state;
    struct request *request =
        settled(request_of("", task_rules()),
                (struct frame_outcome){.kind = OUTCOME_REJECTED, .detail = STR("not mine")});
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_REJECTED);
    assert_null(completion->result_id.ptr);
    assert_null(completion->retry.ptr);
    assert_str(completion->dead->reason, "rejected");
    assert_str(completion->dead->detail, "not mine");
    request = request_of("", task_rules());
    request->ack.is_done = true;
    settled(request, (struct frame_outcome){.kind = OUTCOME_REJECTED});
    assert_int_equal(request->settlement.verb, SETTLE_ACK);
}

static void a_requeued_call_is_counted_and_comes_to_an_end(void **state)
{
    (void)state;
    const struct frame_outcome outcome = {.kind = OUTCOME_REQUEUED, .detail = STR("busy")};
    struct request *request = settled(request_of(", \"x\": 1", task_rules()), outcome);
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_REQUEUED);
    assert_null(completion->result_id.ptr);
    assert_null(completion->dead);
    assert_int_equal(completion->retry_due_wall, 0);
    struct cel_value *message = decoded_retry(request);
    const struct cel_value *headers = cel_value_get(message, "headers");
    assert_int_equal(cel_value_int(cel_value_get(headers, "celeriac_requeues"), 0), 1);
    assert_int_equal(cel_value_int(cel_value_get(headers, "retries"), -1), 0);
    assert_int_equal(cel_value_int(cel_value_get(headers, "x"), 0), 1);
    assert_true(cel_value_bool(cel_value_get(headers, "redelivered"), false));
    cel_value_free(message);

    request = settled(request_of(", \"celeriac_requeues\": 99", task_rules()), outcome);
    assert_int_equal(request->settlement.end, END_REQUEUED);
    request = settled(request_of(", \"celeriac_requeues\": 100", task_rules()), outcome);
    completion = completion_of(request);
    assert_int_equal(request->settlement.end, END_FAILED);
    assert_null(completion->retry.ptr);
    assert_str(completion->dead->reason, "rejected");
    expect_exception("FAILURE", "Reject", "celery.exceptions");
    assert_string_equal(first_message(), "rejected 101 times: busy");
}

static void a_failure_goes_to_quarantine_where_its_task_wants_so(void **state)
{
    (void)state;
    struct frame_task task = task_rules();
    task.reject_on_failure = true;
    task.max_retries = 0;
    const enum frame_outcome_kind kinds[] = {OUTCOME_FAILURE, OUTCOME_RETRY};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct request *request = settled(
            request_of("", task), (struct frame_outcome){.kind = kinds[i], .result_json = BOOM});
        const struct broker_completion *completion = completion_of(request);
        assert_int_equal(request->settlement.end, END_FAILED);
        assert_str(completion->dead->reason, "failure");
        expect_exception("FAILURE", "ValueError", "builtins");
    }
    struct request *request = request_of("", task);
    const struct death death = {.cause = DEATH_HARD_LIMIT, .term_signal = SIGKILL};
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    assert_str(completion_of(request)->dead->detail, "hard time limit");
    expect_exception("FAILURE", "TimeLimitExceeded", "billiard.exceptions");
    request = settled(request_of("", task),
                      (struct frame_outcome){.kind = OUTCOME_SUCCESS, .result_json = STR("1")});
    assert_null(completion_of(request)->dead);
}

static void documents_say_more_where_that_is_wanted(void **state)
{
    (void)state;
    requests.extended_by = STR("w@h");
    struct request *request = request_of(", \"retries\": 2", task_rules());
    buf_add_c(&request->arguments, "\"args\": [1], \"kwargs\": {\"a\": null}");
    settled(request, (struct frame_outcome){.kind = OUTCOME_SUCCESS, .result_json = STR("1")});
    completion_of(request);
    assert_text(cel_value_get(document, "name"), "shop.add");
    assert_text(cel_value_get(document, "worker"), "w@h");
    assert_text(cel_value_get(document, "queue"), "q");
    assert_int_equal(cel_value_int(cel_value_get(document, "retries"), 0), 2);
    assert_int_equal(cel_value_count(cel_value_get(document, "args")), 1);
    assert_int_equal(cel_value_count(cel_value_get(document, "kwargs")), 1);
    request = request_of("", task_rules()); /* not run: nobody has read its arguments */
    settle_unrun(request, FATE_EXPIRED, &context, &request->settlement);
    completion_of(request);
    assert_text(cel_value_get(document, "name"), "shop.add");
    assert_null(cel_value_get(document, "args"));
}

/* --- deaths ----------------------------------------------------------------------------------- */

static void expect_lost(struct death death, const char *text)
{
    struct request *request = request_of(", \"celeriac_crashes\": 1", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    completion_of(request);
    assert_int_equal(request->settlement.end, END_BURIED);
    assert_string_equal(request->settlement.dead.reason.ptr, "crash");
    assert_string_equal(request->settlement.dead.detail.ptr, text);
    expect_exception("FAILURE", "WorkerLostError", "billiard.exceptions");
    assert_string_equal(first_message(), text);
}

static void a_crash_is_reported_as_celery_does(void **state)
{
    (void)state;
    expect_lost((struct death){.term_signal = SIGSEGV},
                "Worker exited prematurely: signal 11 (SIGSEGV) Job: 5.");
    expect_lost((struct death){.term_signal = SIGKILL},
                "Worker exited prematurely: signal 9 (SIGKILL) Job: 5.");
    expect_lost((struct death){.exit_status = 0}, "Worker exited prematurely: exitcode 0 Job: 5.");
    expect_lost((struct death){.exit_status = 3}, "Worker exited prematurely: exitcode 3 Job: 5.");
}

static void the_first_crash_is_delivered_again(void **state)
{
    (void)state;
    const struct death death = {.term_signal = SIGSEGV};
    struct request *request = request_of(", \"x\": {\"y\": [1]}", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    const struct broker_completion *completion = &request->settlement.completion;
    assert_int_equal(request->settlement.end, END_REDELIVERED);
    assert_null(completion->result_id.ptr);
    assert_null(completion->dead);
    assert_int_equal(completion->retry_due_wall, 0);
    struct envelope again;
    assert_int_equal(envelope_decode(completion->retry, &again, NULL), 0);
    assert_int_equal(again.crashes, 1);
    assert_true(again.redelivered);
    assert_int_equal(again.retries, request->envelope.retries);
    assert_memory_equal(again.other_headers.ptr, "\"x\": {\"y\": [1]}", again.other_headers.len);
    envelope_deinit(&again);
    /* a task may want the first death to be the last */
    struct frame_task rules = task_rules();
    rules.max_crashes = 1;
    request = request_of("", rules);
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    assert_int_equal(request->settlement.end, END_BURIED);
    completion_of(request);
}

static void what_is_buried_tells_how_it_died(void **state)
{
    (void)state;
    const struct death death = {.term_signal = SIGKILL, .pid = 77, .peak_rss = 4096};
    struct request *request = request_of(", \"celeriac_crashes\": 1", task_rules());
    buf_add_c(&request->progress, "{\"step\": 3}");
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    assert_string_equal(request->settlement.dead.evidence.ptr,
                        "{\"signal\": 9, \"exit_status\": 0, \"peak_rss\": 4096, \"pid\": 77, "
                        "\"crashes\": 2, \"deliveries\": 0, \"node\": \"w@h\", "
                        "\"progress\": {\"step\": 3}}");
    completion_of(request);
}

static void a_revoked_task_ends_as_celery_s(void **state)
{
    (void)state;
    const struct death death = {.cause = DEATH_REVOKED, .term_signal = SIGTERM};
    struct request *request = request_of("", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    assert_int_equal(request->settlement.end, END_REVOKED);
    assert_int_equal(request->settlement.completion.ending, BROKER_REVOKED);
    completion_of(request);
    expect_exception("REVOKED", "TaskRevokedError", "celery.exceptions");
    assert_string_equal(first_message(), "terminated");
}

/* Nobody knows its body: the end stands without the part that would complete the chord again. */
static void what_cannot_be_followed_goes_to_quarantine(void **state)
{
    (void)state;
    static const struct plan_part part = {STR("g"), 0, STR("[1, \"a\", 1]"), STR("[1, \"a\",")};
    static const struct str texts[] = {STR("[1, \"a\", 1]")};
    static const struct plan_joined joined = {.group = STR("g"), .parts = texts, .part_count = 1};
    const struct frame_outcome outcome = {.kind = OUTCOME_SUCCESS,
                                          .result_json = STR("1"),
                                          .results = {.parts = &part, .part_count = 1}};
    struct request *request = request_of("", task_rules());
    struct settlement *settlement = &request->settlement;
    assert_int_equal(settle_outcome(request, &outcome, &context, settlement), 0);
    assert_int_equal(settlement->completion.results.part_count, 1);
    assert_int_equal(follow_ups_add_joined(&settlement->follow_ups, &joined, 1), 0);
    settle_unfollowed(request, STR("why"), settlement);
    assert_int_equal(settlement->completion.results.part_count, 0);
    assert_non_null(settlement->completion.dead);
    assert_str(settlement->completion.dead->reason, "follow-ups");
    assert_true(settlement->completion.result_document.len > 0);
}

/* Its chord's body is told again, and is sent once: it is not uncertain whether it will be. */
static void an_early_acknowledged_member_that_only_completed_a_chord_is_certain(void **state)
{
    (void)state;
    static const struct frame_send body = {STR("q"), STR("{}"), 0};
    static const struct plan_joined joined = {.group = STR("g")};
    const struct frame_outcome outcome = {.kind = OUTCOME_SUCCESS, .result_json = STR("1")};
    const struct frame_outcome follows = {.kind = OUTCOME_FOLLOWS, .sends = &body, .send_count = 1};
    struct request *request = request_of("", task_rules());
    struct settlement *settlement = &request->settlement;
    request->ack.is_done = true;
    assert_int_equal(settle_outcome(request, &outcome, &context, settlement), 0);
    assert_int_equal(follow_ups_add_joined(&settlement->follow_ups, &joined, 1), 0);
    assert_int_equal(settle_follow(&follows, settlement), 0);
    assert_int_equal(settle_uncertain(request, 0, settlement), 0);
    assert_int_equal(settlement->completion.follow_up_count, 1);
}

static void the_hard_limit_names_its_seconds(void **state)
{
    (void)state;
    const struct death death = {.cause = DEATH_HARD_LIMIT, .term_signal = SIGKILL};
    struct request *request = request_of(", \"timelimit\": [1, null]", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    completion_of(request);
    expect_exception("FAILURE", "TimeLimitExceeded", "billiard.exceptions");
    const struct cel_value *result = cel_value_get(document, "result");
    const struct cel_value *seconds = cel_value_at(cel_value_get(result, "exc_message"), 0);
    assert_int_equal(cel_value_type(seconds), CEL_INT);
    assert_int_equal(cel_value_int(seconds, 0), 1);

    request = request_of(", \"timelimit\": [0.25, null]", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    completion_of(request);
    result = cel_value_get(document, "result");
    seconds = cel_value_at(cel_value_get(result, "exc_message"), 0);
    assert_true(cel_value_float(seconds, 0) == 0.25);
}

static void a_limit_of_the_run_is_named_and_ends_it_for_good(void **state)
{
    (void)state;
    static const struct {
        enum death_cause cause;
        int term_signal;
        const char *type, *reason, *text;
    } cases[] = {
        {DEATH_CPU_LIMIT, SIGXCPU, "CPUTimeLimitExceeded", "cpu limit",
         "The run took more than 2.5 s of processor time: signal 24 (SIGXCPU)."},
        {DEATH_MEMORY_LIMIT, SIGSEGV, "MemoryLimitExceeded", "memory limit",
         "The run needed more than 4096 bytes of address space: signal 11 (SIGSEGV)."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct death death = {.cause = cases[i].cause, .term_signal = cases[i].term_signal};
        struct frame_task rules = task_rules();
        rules.cpu_limit = 2500 * USEC_PER_MSEC;
        rules.memory_limit = 4096;
        struct request *request = request_of("", rules);
        assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
        assert_int_equal(request->settlement.end, END_BURIED);
        const struct broker_dead *dead = &request->settlement.dead;
        assert_true(str_equal(dead->reason, str_of(cases[i].reason)));
        assert_true(str_equal(dead->detail, str_of(cases[i].text)));
        assert_true(str_starts(dead->evidence, STR("{\"signal\": ")));
        completion_of(request);
        expect_exception("FAILURE", cases[i].type, "celery_c");
        assert_string_equal(first_message(), cases[i].text);
        /* acknowledged early: the broker has it no more */
        request = request_of("", rules);
        request->ack.is_done = true;
        assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
        assert_int_equal(request->settlement.end, END_FAILED);
        assert_null(request->settlement.completion.dead);
        completion_of(request);
        expect_exception("FAILURE", cases[i].type, "celery_c");
    }
}

static void a_call_that_waits_for_its_turn_bears_it(void **state)
{
    (void)state;
    struct request *request = request_of(", \"retries\": 2", task_rules());
    assert_int_equal(settle_put_off(request, NOW + 5 * USEC_PER_SEC, NOW + 4, &request->settlement),
                     0);
    assert_int_equal(request->settlement.end, END_PARKED);
    const struct broker_completion *completion = completion_of(request);
    assert_int_equal(completion->retry_due_wall, NOW + 4);
    assert_null(completion->result_id.ptr);
    struct envelope later;
    assert_int_equal(envelope_decode(completion->retry, &later, NULL), 0);
    assert_int_equal(later.turn_wall / USEC_PER_MSEC, (NOW + 5 * USEC_PER_SEC) / USEC_PER_MSEC);
    assert_int_equal(later.retries, 2);
    assert_int_equal(later.eta_wall, 0);
    envelope_deinit(&later);
    /* what Redis refuses is kept, as for any parked call, and does not become a failure */
    assert_int_equal(settle_refused(request, STR("WRONGTYPE"), NOW, &request->settlement), -EINVAL);
}

static void the_next_attempt_of_it_has_no_turn(void **state)
{
    (void)state;
    struct request *request = request_of(", \"celeriac_turn\": 1500000000000", task_rules());
    assert_int_equal(request->envelope.turn_wall, 1500000000000 * USEC_PER_MSEC);
    const struct frame_outcome outcome = {.kind = OUTCOME_RETRY, .countdown_usec = 5};
    assert_int_equal(settle_outcome(request, &outcome, &context, &request->settlement), 0);
    assert_null(memmem(request->settlement.retry.ptr, request->settlement.retry.len,
                       "celeriac_turn", strlen("celeriac_turn")));
}

static void a_cold_stop_gives_back(void **state)
{
    (void)state;
    const struct death death = {.cause = DEATH_SHUTDOWN, .term_signal = SIGTERM};
    struct request *request = request_of("", task_rules());
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    assert_int_equal(request->settlement.verb, SETTLE_GIVE_BACK);
    /* acknowledged early: it must not run again */
    request = request_of("", task_rules());
    request->ack.is_done = true;
    assert_int_equal(settle_death(request, &death, &context, &request->settlement), 0);
    completion_of(request);
    expect_exception("FAILURE", "WorkerLostError", "billiard.exceptions");
}

/* --- not run ---------------------------------------------------------------------------------- */

static struct request *unrun(const char *message, enum request_fate fate)
{
    struct request *request = request_with(&requests, message, NULL);
    assert_int_equal(settle_unrun(request, fate, &context, &request->settlement), 0);
    return request;
}

static void an_expired_call_is_revoked(void **state)
{
    (void)state;
    struct request *request = unrun(message_with(""), FATE_EXPIRED);
    assert_null(completion_of(request)->dead);
    expect_exception("REVOKED", "TaskRevokedError", "celery.exceptions");
    assert_string_equal(first_message(), "expired");
    assert_text(cel_value_get(document, "date_done"), "2023-11-14T22:13:20+00:00");
    request = unrun(message_with(", \"ignore_result\": true"), FATE_EXPIRED);
    assert_int_equal(request->settlement.verb, SETTLE_COMPLETE); /* the counts tell it from a run */
    assert_int_equal(request->settlement.completion.ending, BROKER_EXPIRED);
    assert_null(request->settlement.completion.result_id.ptr);
}

static void an_unregistered_name_is_kept_in_quarantine(void **state)
{
    (void)state;
    struct request *request = unrun(message_with(""), FATE_UNREGISTERED);
    const struct broker_completion *completion = completion_of(request);
    expect_exception("FAILURE", "NotRegistered", "celery.exceptions");
    assert_string_equal(first_message(), "shop.add");
    assert_str(completion->dead->reason, "unregistered");
    assert_str(completion->dead->task, "shop.add");
    assert_str(completion->dead->task_id, "id-1");
}

static void a_refused_content_type_is_kept_in_quarantine(void **state)
{
    (void)state;
    struct request *request =
        unrun("{\"body\": \"gA==\", \"content-encoding\": \"binary\", "
              "\"content-type\": \"application/x-python-serialize\", \"headers\": {\"task\": "
              "\"shop.add\", \"id\": \"id-1\"}, \"properties\": {\"delivery_info\": {}, "
              "\"delivery_tag\": \"t\", \"body_encoding\": \"base64\"}}",
              FATE_REFUSED);
    const struct broker_completion *completion = completion_of(request);
    expect_exception("FAILURE", "ContentDisallowed", "kombu.exceptions");
    const char *text = "Refusing to deserialize disabled content of type pickle "
                       "(application/x-python-serialize)";
    assert_string_equal(first_message(), text);
    assert_str(completion->dead->reason, "content type");
    assert_str(completion->dead->detail, text);
}

static void a_refused_body_fails_and_is_kept(void **state)
{
    (void)state;
    struct request *request = settled(request_of("", task_rules()),
                                      (struct frame_outcome){.kind = OUTCOME_REFUSED,
                                                             .result_json = BOOM,
                                                             .detail = STR("not a list of three")});
    const struct broker_completion *completion = completion_of(request);
    expect_exception("FAILURE", "ValueError", "builtins");
    assert_str(completion->dead->reason, "undecodable");
    assert_str(completion->dead->detail, "not a list of three");
}

static void undecodable_bytes_have_no_result(void **state)
{
    (void)state;
    struct broker_claim claim = {.queue = STR("q"), .tag = 7};
    struct request *request = request_new(&requests, &claim, STR("\xff"));
    settle_undecodable(request, STR("no JSON at byte 0"), &request->settlement);
    const struct broker_completion *completion = completion_of(request);
    assert_null(completion->result_document.ptr);
    assert_str(completion->dead->reason, "undecodable");
    assert_str(completion->dead->detail, "no JSON at byte 0");
    assert_null(completion->dead->task_id.ptr);
}

static void an_eta_ahead_is_parked_until_then(void **state)
{
    (void)state;
    struct request *request =
        unrun(message_with(", \"eta\": \"2023-11-14T22:13:21+00:00\""), FATE_PARK);
    assert_int_equal(request->settlement.verb, SETTLE_PARK);
    assert_true(request->settlement.due_wall == NOW + USEC_PER_SEC);
}

static void what_was_acknowledged_goes_back_as_a_new_message(void **state)
{
    (void)state;
    struct request *request = request_of("", task_rules());
    settle_give_back(request, &request->settlement);
    assert_int_equal(request->settlement.verb, SETTLE_GIVE_BACK);
    request->ack.is_done = true;
    settle_give_back(request, &request->settlement);
    assert_str(completion_of(request)->retry, message_with(""));
}

/* --- on the way ------------------------------------------------------------------------------- */

static void started_and_progress_are_celerys_documents(void **state)
{
    (void)state;
    struct request *request = request_of("", task_rules());
    struct cel_error err = {0};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    assert_int_equal(settle_started_document(request, STR("w@h"), 123, &buf), 0);
    assert_int_equal(json_decode(buf_str(&buf), &document, &err), 0);
    assert_text(cel_value_get(document, "status"), "STARTED");
    assert_int_equal(cel_value_int(cel_value_get(cel_value_get(document, "result"), "pid"), 0),
                     123);
    assert_text(cel_value_get(cel_value_get(document, "result"), "hostname"), "w@h");
    assert_int_equal(cel_value_type(cel_value_get(document, "date_done")), CEL_NULL);
    document = cel_value_free(document);

    buf_clear(&buf);
    struct frame_progress progress = {.state = STR("PROGRESS"), .meta_json = STR("{\"n\": 3}")};
    assert_int_equal(settle_progress_document(request, &progress, &buf), 0);
    assert_int_equal(json_decode(buf_str(&buf), &document, &err), 0);
    assert_text(cel_value_get(document, "status"), "PROGRESS");
    assert_int_equal(cel_value_int(cel_value_get(cel_value_get(document, "result"), "n"), 0), 3);
}

static void without_memory_the_call_goes_back(void **state)
{
    (void)state;
    const struct frame_send send = {.queue = STR("q"), .bytes = STR("m")};
    const struct frame_outcome outcomes[] = {
        {.kind = OUTCOME_SUCCESS, .result_json = STR("1"), .sends = &send, .send_count = 1},
        {.kind = OUTCOME_RETRY, .result_json = BOOM, .countdown_usec = 5},
    };
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        int r = -1;
        for (size_t n = 1; r != 0; n++) {
            assert_true(n < 100);
            struct request *request = request_of("", task_rules());
            mem_fail_after(n);
            r = settle_outcome(request, &outcomes[i], &context, &request->settlement);
            mem_fail_after(0);
            if (r != 0) {
                assert_int_equal(r, -ENOMEM);
                assert_int_equal(request->settlement.verb, SETTLE_GIVE_BACK);
            }
        }
    }
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(success_is_stored),
        test(success_of_an_ignored_result_is_a_bare_acknowledgement),
        test(sends_are_copied_out_of_the_frame),
        test(ignore_stores_nothing),
        test(failure_is_stored_with_its_exception),
        test(a_retry_is_the_same_message_later),
        test(a_retry_without_delay_is_pushed_at_once),
        test(the_task_names_its_own_delay),
        test(backoff_doubles_with_full_jitter_up_to_its_cap),
        test(used_up_retries_fail_with_the_last_reason),
        test(used_up_retries_without_a_reason_say_so_in_celerys_words),
        test(endless_retries_go_on),
        test(conflicts_do_not_use_up_the_retries_until_there_are_too_many),
        test(an_absurd_countdown_is_cut),
        test(a_retry_backs_off_as_celerys),
        test(a_rejected_call_goes_to_quarantine_and_leaves_no_result),
        test(a_requeued_call_is_counted_and_comes_to_an_end),
        test(a_failure_goes_to_quarantine_where_its_task_wants_so),
        test(documents_say_more_where_that_is_wanted),
        test(the_first_crash_is_delivered_again),
        test(what_is_buried_tells_how_it_died),
        test(a_revoked_task_ends_as_celery_s),
        test(a_crash_is_reported_as_celery_does),
        test(what_cannot_be_followed_goes_to_quarantine),
        test(an_early_acknowledged_member_that_only_completed_a_chord_is_certain),
        test(the_hard_limit_names_its_seconds),
        test(a_limit_of_the_run_is_named_and_ends_it_for_good),
        test(a_call_that_waits_for_its_turn_bears_it),
        test(the_next_attempt_of_it_has_no_turn),
        test(a_cold_stop_gives_back),
        test(an_expired_call_is_revoked),
        test(an_unregistered_name_is_kept_in_quarantine),
        test(a_refused_content_type_is_kept_in_quarantine),
        test(a_refused_body_fails_and_is_kept),
        test(undecodable_bytes_have_no_result),
        test(an_eta_ahead_is_parked_until_then),
        test(what_was_acknowledged_goes_back_as_a_new_message),
        test(started_and_progress_are_celerys_documents),
        test(without_memory_the_call_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
