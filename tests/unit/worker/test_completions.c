/*
 * What is told again, how, and when it is given up. The broker here writes down what it is told;
 * each test answers for it.
 */
#include "worker/completions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/log.h"
#include "support.h"
#include "worker/settle.h"

static struct fixture {
    uv_loop_t loop;
    struct requests requests;
    struct result_rows rows; /* writes none */
    struct completions completions;
    struct request *request;
    broker_done_fn *cb; /* of the call under way */
    broker_result_fn *looked;
    void *data;
    unsigned completes, looks, told, joined;
    struct broker_completion last;
    int refusal; /* what broker_complete returns */
    int told_status;
} f;

static int take(broker_done_fn *cb, void *data)
{
    assert_null(f.cb);
    f.cb = cb;
    f.data = data;
    return 0;
}

int broker_ack(struct broker *broker,
               const struct broker_claim *claim,
               usec_t deadline_mono,
               broker_done_fn *cb,
               void *data)
{
    (void)broker, (void)claim, (void)deadline_mono;
    return take(cb, data);
}

int broker_give_back(struct broker *broker,
                     const struct broker_claim *claim,
                     usec_t deadline_mono,
                     broker_done_fn *cb,
                     void *data)
{
    (void)broker, (void)claim, (void)deadline_mono;
    return take(cb, data);
}

int broker_park(struct broker *broker,
                const struct broker_claim *claim,
                usec_t due_wall,
                usec_t deadline_mono,
                broker_done_fn *cb,
                void *data)
{
    (void)broker, (void)claim, (void)due_wall, (void)deadline_mono;
    return take(cb, data);
}

int broker_complete(struct broker *broker,
                    const struct broker_completion *completion,
                    usec_t deadline_mono,
                    broker_done_fn *cb,
                    void *data)
{
    (void)broker, (void)deadline_mono;
    f.completes++;
    f.last = *completion;
    return f.refusal && completion->follow_up_count > 0 ? f.refusal : take(cb, data);
}

int broker_get_result(
    struct broker *broker, struct str id, usec_t deadline_mono, broker_result_fn *cb, void *data)
{
    (void)broker, (void)id, (void)deadline_mono;
    f.looks++;
    f.looked = cb;
    f.data = data;
    return 0;
}

struct str broker_in_flight_key(struct broker *broker, struct str queue)
{
    (void)broker, (void)queue;
    return STR("key");
}

static void answer(int status, const char *text)
{
    broker_done_fn *cb = f.cb;
    struct cel_error err;
    assert_non_null(cb);
    f.cb = NULL;
    if (status < 0)
        error_set(&err, status, "%s", text);
    cb(f.data, status, status < 0 ? &err : NULL);
}

static void on_told(void *data, struct request *request, int status)
{
    (void)data;
    f.told++;
    f.told_status = status;
    request_set_state(request, REQUEST_DONE);
}

static void on_joined(void *data, struct request *request)
{
    (void)data;
    f.joined++;
    request_set_state(request, REQUEST_FOLLOWING);
}

static int set_up(void **state)
{
    struct frame_task rules = task_rules();
    (void)state;
    f = (struct fixture){.told = 0};
    assert_int_equal(uv_loop_init(&f.loop), 0);
    completions_init(&f.completions, &f.loop, NULL, &f.requests, &f.rows, on_told, on_joined, NULL);
    f.request = request_with(&f.requests, message_with(""), &rules);
    request_set_state(f.request, REQUEST_READY);
    request_set_state(f.request, REQUEST_PIPED);
    request_set_state(f.request, REQUEST_RUNNING);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    completions_deinit(&f.completions);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    requests_deinit(&f.requests);
    return uv_loop_close(&f.loop);
}

/* It succeeded and sent one call. */
static void settle_and_tell(void)
{
    static const struct frame_send send = {STR("other"), STR("{}"), 0};
    const struct frame_outcome outcome = {.seq = 5,
                                          .kind = OUTCOME_SUCCESS,
                                          .result_json = STR("3"),
                                          .countdown_usec = -1,
                                          .sends = &send,
                                          .send_count = 1};
    const struct settle_context context = {.now_wall = USEC_PER_SEC, .node = STR("w@h")};
    assert_int_equal(settle_outcome(f.request, &outcome, &context, &f.request->settlement), 0);
    request_set_state(f.request, REQUEST_SETTLING);
    completions_tell(&f.completions, f.request);
}

/* Without the pause, which grows. */
static void until_told_again(void)
{
    unsigned before = f.completes;
    uv_timer_t *timer = &f.completions.timer;
    if (uv_is_active((uv_handle_t *)timer))
        uv_timer_start(timer, timer->timer_cb, 0, 0);
    while (f.completes == before && f.told == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
}

static bool says(const char *word)
{
    struct str document = f.last.result_document;
    return document.ptr && memmem(document.ptr, document.len, word, strlen(word));
}

/* The broker has read a chord that would be complete; the child answers with its body. */
static void join(void)
{
    static const struct str parts[] = {STR("[1, \"a\", \"SUCCESS\", 1]")};
    static const struct plan_joined joined = {.group = STR("g"), .parts = parts, .part_count = 1};
    static const struct frame_send body = {STR("other"), STR("body"), 0};
    static const struct plan_closed closed = {STR("g"), false};
    const struct frame_outcome outcome = {.kind = OUTCOME_FOLLOWS,
                                          .sends = &body,
                                          .send_count = 1,
                                          .results = {.closed = &closed, .closed_count = 1}};
    f.last.on_joined(f.data, &joined, 1);
    answer(BROKER_E_JOINED, NULL);
    assert_int_equal(f.joined, 1);
    assert_int_equal(f.request->settlement.follow_ups.joined_count, 1);
    assert_int_equal(settle_follow(&outcome, &f.request->settlement), 0);
    request_set_state(f.request, REQUEST_SETTLING);
    completions_tell(&f.completions, f.request);
}

static void a_chord_that_is_complete_is_told_with_its_body(void **state)
{
    (void)state;
    settle_and_tell();
    join();
    assert_int_equal(f.completes, 2);
    assert_int_equal(f.last.follow_up_count, 2);
    assert_int_equal(f.last.results.closed_count, 1);
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
    assert_int_equal(f.told, 1);
}

static void a_chord_that_somebody_else_completed_is_left_to_them(void **state)
{
    (void)state;
    settle_and_tell();
    join();
    answer(BROKER_E_CLOSED, NULL);
    assert_int_equal(f.completes, 3); /* at once, with its own send alone */
    assert_int_equal(f.last.follow_up_count, 1);
    assert_memory_equal(f.last.follow_ups[0].bytes.ptr, "{}", 2);
    assert_int_equal(f.last.results.closed_count, 0);
    answer(0, NULL);
    assert_int_equal(f.told, 1);
}

static void an_uncertain_end_that_finds_no_claim_was_carried_out(void **state)
{
    (void)state;
    settle_and_tell();
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    answer(BROKER_E_LOST, NULL);
    assert_int_equal(f.told_status, 0);
}

static void what_was_not_sent_in_time_is_not_uncertain(void **state)
{
    (void)state;
    settle_and_tell();
    answer(-ETIMEDOUT, "late");
    until_told_again();
    answer(BROKER_E_LOST, NULL);
    assert_int_equal(f.told, 1);
    assert_int_equal(f.told_status, BROKER_E_LOST);
}

static void what_is_refused_for_good_becomes_a_failure(void **state)
{
    (void)state;
    settle_and_tell();
    for (unsigned i = 0; f.last.follow_up_count > 0; i++) {
        assert_true(i < 5);
        unsigned before = f.completes;
        answer(CEL_E_SERVER, "WRONGTYPE Operation against a key");
        if (f.completes == before)
            until_told_again();
    }
    assert_true(says("FAILURE"));
    assert_true(says("OperationalError"));
    assert_true(says("WRONGTYPE"));
    assert_int_equal(f.last.claim.tag, 7);
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
    assert_int_equal(f.request->settlement.end, END_FAILED);
}

static void refuse(unsigned times)
{
    for (unsigned i = 0; i < times && f.told == 0; i++) {
        unsigned before = f.completes;
        answer(CEL_E_SERVER, "WRONGTYPE Operation against a key");
        if (f.completes == before)
            until_told_again();
    }
}

static void what_is_refused_to_the_end_is_kept_until_it_is_taken(void **state)
{
    (void)state;
    settle_and_tell();
    refuse(8);
    assert_int_equal(f.told, 0);
    assert_int_equal(f.completions.refused, 1);
    assert_int_equal(f.request->state, REQUEST_SETTLING);
    answer(0, NULL);
    assert_int_equal(f.told, 1);
    assert_int_equal(f.told_status, 0);
    assert_int_equal(f.completions.refused, 0);
}

static void what_is_refused_to_the_end_is_given_up_when_the_worker_drains(void **state)
{
    (void)state;
    settle_and_tell();
    refuse(7);
    completions_drain(&f.completions);
    refuse(2);
    assert_int_equal(f.told, 1);
    assert_int_equal(f.told_status, CEL_E_SERVER);
    assert_int_equal(f.completions.refused, 0);
}

static void a_right_that_is_missing_takes_nothing_from_an_outcome(void **state)
{
    (void)state;
    settle_and_tell();
    for (unsigned i = 0; i < 5; i++) {
        answer(CEL_E_AUTH, "NOPERM this user has no permissions");
        until_told_again();
    }
    assert_int_equal(f.last.follow_up_count, 1);
    assert_int_equal(f.completions.refused, 1);
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

/* --- acknowledged early ----------------------------------------------------------------------- */

static void what_was_sent_and_is_uncertain_is_a_failure_unless_it_arrived(void **state)
{
    (void)state;
    f.request->ack.is_done = true;
    settle_and_tell();
    assert_true(says("SUCCESS"));
    assert_int_equal(f.last.claim.tag, 0);
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    assert_true(f.last.is_uncertain);
    assert_int_equal(f.last.follow_up_count, 0);
    assert_true(says("FAILURE"));
    assert_true(says("what it sent was written"));
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    assert_true(says("FAILURE"));
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

/* The row beside Redis says what stands there. */
static void what_was_spared_is_looked_at_until_that_is_known(void **state)
{
    struct cel_error err;
    (void)state;
    f.request->ack.is_done = true;
    f.rows.pg = (struct pg *)&f; /* there are rows, */
    f.rows.is_stopping = true;   /* and no more are taken */
    settle_and_tell();
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    answer(BROKER_E_SPARED, NULL);
    assert_int_equal(f.looks, 1);
    error_set(&err, -ETIMEDOUT, "late");
    f.looked(f.data, -ETIMEDOUT, STR_NONE, &err);
    until_told_again();
    assert_true(f.last.is_uncertain);
    assert_true(says("FAILURE"));
    assert_int_equal(f.told, 0);
    answer(BROKER_E_SPARED, NULL);
    assert_int_equal(f.looks, 2);
    f.looked(f.data, 0, STR("{\"status\": \"SUCCESS\"}"), NULL);
    assert_int_equal(f.told, 1);
    assert_int_equal(f.told_status, 0);
}

static void settle_retry_and_tell(void)
{
    const struct frame_outcome outcome = {
        .seq = 5, .kind = OUTCOME_RETRY, .result_json = STR("null"), .countdown_usec = -1};
    const struct settle_context context = {
        .now_wall = USEC_PER_SEC, .node = STR("w@h"), .delivery_tag = STR("tag")};
    f.request->ack.is_done = true;
    assert_int_equal(settle_outcome(f.request, &outcome, &context, &f.request->settlement), 0);
    request_set_state(f.request, REQUEST_SETTLING);
    completions_tell(&f.completions, f.request);
}

static void a_next_attempt_that_is_uncertain_is_a_failure_unless_it_is_there(void **state)
{
    (void)state;
    settle_retry_and_tell();
    assert_true(says("RETRY"));
    assert_false(f.last.is_uncertain);
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    assert_true(f.last.is_uncertain);
    assert_int_equal(f.last.retry_due_wall, 181 * USEC_PER_SEC);
    assert_true(f.last.retry.len > 0); /* to be looked for */
    assert_true(says("FAILURE"));
    assert_true(says("the next attempt was written"));
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

static void a_call_that_is_put_back_uncertainly_is_a_failure_too(void **state)
{
    (void)state;
    f.request->ack.is_done = true;
    settle_give_back(f.request, &f.request->settlement);
    request_set_state(f.request, REQUEST_SETTLING);
    completions_tell(&f.completions, f.request);
    assert_true(f.last.retry.len > 0);
    assert_null(f.last.result_id.ptr);
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    assert_true(f.last.is_uncertain);
    assert_true(says("FAILURE"));
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

static void where_no_result_is_wanted_an_uncertain_attempt_is_told_no_more(void **state)
{
    (void)state;
    f.request->task.ignore_result = true;
    settle_retry_and_tell();
    answer(CEL_E_UNCERTAIN, "cut");
    until_told_again();
    assert_int_equal(f.completes, 1);
    assert_int_equal(f.told_status, 0);
}

static void what_the_broker_cannot_take_becomes_a_failure(void **state)
{
    (void)state;
    f.refusal = -EINVAL;
    settle_and_tell();
    while (f.last.follow_up_count > 0)
        until_told_again();
    assert_true(says("FAILURE"));
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

static void a_server_without_memory_is_told_until_it_has_some(void **state)
{
    (void)state;
    settle_and_tell();
    for (unsigned i = 0; i < 4; i++) {
        answer(CEL_E_SERVER, "OOM command not allowed when used memory > 'maxmemory'");
        until_told_again();
    }
    assert_int_equal(f.last.follow_up_count, 1);
    answer(0, NULL);
    assert_int_equal(f.told_status, 0);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    log_open(LOG_LEVEL_ERROR + 1, LOG_FORMAT_TEXT, 2);
    const struct CMUnitTest tests[] = {
        test(a_chord_that_is_complete_is_told_with_its_body),
        test(a_chord_that_somebody_else_completed_is_left_to_them),
        test(an_uncertain_end_that_finds_no_claim_was_carried_out),
        test(what_was_not_sent_in_time_is_not_uncertain),
        test(what_is_refused_for_good_becomes_a_failure),
        test(what_is_refused_to_the_end_is_kept_until_it_is_taken),
        test(what_is_refused_to_the_end_is_given_up_when_the_worker_drains),
        test(a_right_that_is_missing_takes_nothing_from_an_outcome),
        test(what_was_sent_and_is_uncertain_is_a_failure_unless_it_arrived),
        test(what_was_spared_is_looked_at_until_that_is_known),
        test(a_next_attempt_that_is_uncertain_is_a_failure_unless_it_is_there),
        test(a_call_that_is_put_back_uncertainly_is_a_failure_too),
        test(where_no_result_is_wanted_an_uncertain_attempt_is_told_no_more),
        test(what_the_broker_cannot_take_becomes_a_failure),
        test(a_server_without_memory_is_told_until_it_has_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
