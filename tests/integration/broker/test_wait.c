/* The idle wait, what it stages, and claims whose answer is lost. */
#include "tests/integration/broker/rig.h"

#define IN_FLIGHT "celeriac:inflight:{celery}:node@host:1"
#define STAGING   "celeriac:staging:{celery}:node@host:1"

static void start_wait(struct rig *rig, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_done, outcome), 0);
}

/* Until the server holds the four lists of the wait. */
static void wait_until_blocked(struct rig *rig, int lists)
{
    char expected[64];
    usec_t end = in_seconds(10);
    snprintf(expected, sizeof(expected), "blocked_clients:%d\r", lists);
    while (!strstr(server_says(rig, "INFO clients"), expected)) {
        assert_true(clock_mono() < end);
        rig_spend(rig, 0.002);
    }
}

static void a_message_that_waits_already_is_staged(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    push_text(rig, QUEUE, 0, "one");
    start_wait(rig, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 1);
    assert_string_equal(claimed.claimed[0].bytes, "one");
    assert_int_equal(server_number(rig, "EXISTS " STAGING), 0);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
}

static void a_push_wakes_the_wait_and_the_message_is_safe(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    assert_int_equal(outcome.calls, 0);
    server_says(rig, "LPUSH celery one");
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(server_says(rig, "LRANGE " STAGING " 0 -1"), "*1\r\n$3\r\none\r\n");
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 1);
    assert_int_equal(server_number(rig, "EXISTS " STAGING), 0);
    wait_until_blocked(rig, 0);
}

static void every_priority_list_wakes_it(void **state)
{
    static const unsigned steps[] = {0, 3, 6, 9};
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    for (size_t i = 0; i < 4; i++) {
        start_wait(rig, &outcome);
        wait_until_blocked(rig, 4);
        push_text(rig, QUEUE, steps[i], "one");
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, 0);
        claim_into(rig, QUEUE, 5, &claimed);
        assert_int_equal(claimed.count, 1);
        assert_int_equal(claimed.claimed[0].claim.step, steps[i]);
    }
}

static void staged_messages_are_claimed_first(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    push_text(rig, QUEUE, 9, "late but staged");
    rig_run(rig, &outcome);
    wait_until_blocked(rig, 0);
    push_text(rig, QUEUE, 0, "urgent");
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 2);
    assert_string_equal(claimed.claimed[0].bytes, "late but staged");
    assert_string_equal(claimed.claimed[1].bytes, "urgent");
}

static void cancelling_frees_the_lists(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    usec_t before = clock_mono();
    broker_wait_cancel(rig->broker, QUEUE);
    assert_int_equal(outcome.calls, 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, -ECANCELED);
    assert_true(clock_mono() - before < USEC_PER_SEC / 2);
    wait_until_blocked(rig, 0);
    push_text(rig, QUEUE, 0, "for others");
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 1);
}

/* The UNBLOCK overtakes the BLMOVE, which goes over another connection. */
static void cancelling_at_once_works_too(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    for (int i = 0; i < 30; i++) {
        start_wait(rig, &outcome);
        if (i % 3 == 1)
            uv_run(&rig->loop, UV_RUN_NOWAIT);
        if (i % 3 == 2)
            rig_spend(rig, 0.001);
        broker_wait_cancel(rig->broker, QUEUE);
        broker_wait_cancel(rig->broker, QUEUE);
        usec_t before = clock_mono();
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, -ECANCELED);
        assert_true(clock_mono() - before < USEC_PER_SEC);
    }
    wait_until_blocked(rig, 0);
}

/* Whatever wins, the message is either staged and told, or still in the list. */
static void a_message_that_comes_while_cancelling_is_not_lost(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, pushed, claimed;
    int staged = 0, cancelled = 0;
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    for (int i = 0; i < 200; i++) {
        pushed = (struct outcome){0};
        start_wait(rig, &outcome);
        wait_until_blocked(rig, 4);
        if (i % 2)
            broker_wait_cancel(rig->broker, QUEUE);
        assert_int_equal(
            broker_push(rig->broker, &message, 1, in_seconds(5), NULL, on_done, &pushed), 0);
        if (i % 2 == 0)
            broker_wait_cancel(rig->broker, QUEUE);
        rig_run(rig, &outcome);
        if (!pushed.calls)
            rig_run(rig, &pushed);
        assert_true(outcome.status == 0 || outcome.status == -ECANCELED);
        staged += outcome.status == 0;
        cancelled += outcome.status != 0;
        claim_into(rig, QUEUE, 5, &claimed);
        assert_int_equal(claimed.count, 1);
        assert_int_equal(server_number(rig, "EXISTS " STAGING), 0);
    }
    assert_true(staged > 0 && cancelled > 0);
}

/* Two lists are served at once, and only one place is free: the other message goes back. */
static void what_races_is_put_back(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    server_says(rig, "EVAL redis.call('LPUSH','celery','a');redis.call('LPUSH','celery\x06\x16"
                     "3','b') 0");
    rig_run(rig, &outcome);
    claim_into(rig, QUEUE, 1, &claimed);
    assert_int_equal(claimed.count, 1);
    wait_for_number(rig, 0,
                    "EXISTS " STAGING "\x06\x16"
                    "3");
    wait_for_number(rig, 0, "EXISTS " STAGING);
    assert_int_equal(server_number(rig, "LLEN celery") + server_number(rig, "LLEN celery\x06\x16"
                                                                            "3"),
                     1);
}

/* Who waits again at once finds the other lists still armed. */
static void lists_stay_armed_for_the_next_wait(void **state)
{
    enum { ROUNDS = 100 };
    struct rig *rig = *state;
    struct outcome outcome, claimed;
    server_says(rig, "CONFIG RESETSTAT");
    for (int i = 0; i < ROUNDS; i++) {
        start_wait(rig, &outcome);
        push_text(rig, QUEUE, 0, "x");
        if (!outcome.calls)
            rig_run(rig, &outcome);
        assert_int_equal(outcome.status, 0);
        claim_into(rig, QUEUE, 1, &claimed);
        assert_int_equal(claimed.count, 1);
    }
    const char *calls = strstr(server_says(rig, "INFO commandstats"), "blmove:calls=");
    assert_non_null(calls);
    assert_in_range(atoi(calls + strlen("blmove:calls=")), ROUNDS, 4 * ROUNDS - 4);
    wait_until_blocked(rig, 0);
}

static void a_wait_outlives_the_servers_own_limit(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    start_wait(rig, &outcome);
    rig_spend(rig, 5.5);
    assert_int_equal(outcome.calls, 0);
    wait_until_blocked(rig, 4);
    push_text(rig, QUEUE, 3, "one");
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void a_restart_ends_the_wait_and_the_next_one_works(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    redis_server_stop(&rig->server, SIGKILL);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
    assert_true(redis_server_start(&rig->server));
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    assert_int_equal(outcome.calls, 0);
    push_text(rig, QUEUE, 0, "one");
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

struct waiter {
    struct rig *rig;
    int failures;
    struct outcome outcome;
};

static void on_wait_again(void *data, int status, const struct cel_error *err)
{
    struct waiter *waiter = data;
    if (status != CEL_E_UNCERTAIN) {
        on_done(&waiter->outcome, status, err);
        return;
    }
    waiter->failures++;
    status = broker_wait(waiter->rig->broker, QUEUE, on_wait_again, waiter);
    if (status)
        on_done(&waiter->outcome, status, NULL);
}

static void who_waits_again_at_once_is_told_once(void **state)
{
    struct rig *rig = *state;
    struct waiter waiter = {.rig = rig};
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_wait_again, &waiter), 0);
    wait_until_blocked(rig, 4);
    for (int round = 1; round <= 3; round++) {
        redis_server_stop(&rig->server, SIGKILL);
        rig_spend(rig, 0.1);
        assert_true(redis_server_start(&rig->server));
        wait_until_blocked(rig, 4);
        assert_int_equal(waiter.failures, round);
    }
    push_text(rig, QUEUE, 9, "one");
    rig_run(rig, &waiter.outcome);
    assert_int_equal(waiter.outcome.status, 0);
}

/* Nobody claims and nobody else looks: the wait itself finds what was staged behind its back. */
static void what_was_staged_late_wakes_the_next_wait(void **state)
{
    struct rig *rig = *state;
    struct waiter waiter = {.rig = rig};
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_wait_again, &waiter), 0);
    wait_until_blocked(rig, 4);
    server_says(rig, "CLIENT KILL TYPE normal");
    rig_spend(rig, 0.1);
    wait_until_blocked(rig, 4);
    assert_int_equal(waiter.failures, 1);
    server_says(rig, "LPUSH " STAGING " late");
    rig_run(rig, &waiter.outcome);
    assert_int_equal(waiter.outcome.status, 0);
}

/* A server that is stopped does not answer in the time that BLMOVE was given. */
static void a_silent_server_ends_the_wait(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    start_wait(rig, &outcome);
    wait_until_blocked(rig, 4);
    redis_server_freeze(&rig->server);
    usec_t before = clock_mono();
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
    assert_in_range(clock_mono() - before, USEC_PER_SEC, 6 * USEC_PER_SEC); /* 3 s */
    redis_server_thaw(&rig->server);
    push_text(rig, QUEUE, 0, "one");
    struct outcome claimed;
    /* the old BLMOVE may have taken it: then it is staged, and found */
    usec_t end = in_seconds(10);
    do {
        claim_into(rig, QUEUE, 5, &claimed);
        assert_true(clock_mono() < end);
    } while (claimed.count == 0);
    assert_string_equal(claimed.claimed[0].bytes, "one");
}

static void a_queue_has_one_wait(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome, other;
    start_wait(rig, &outcome);
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_done, &other), -EBUSY);
    broker_wait_cancel(rig->broker, STR("never waited on"));
}

static void unstaging_restores_the_order(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    server_says(rig, "LPUSH celery 1 2 3 4");
    server_says(rig, "LMOVE celery " STAGING " RIGHT LEFT");
    server_says(rig, "LMOVE celery " STAGING " RIGHT LEFT");
    server_says(rig, "LPUSH " STAGING "\x06\x16"
                     "9 9");
    assert_int_equal(broker_unstage(rig->broker, QUEUE, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(server_says(rig, "LRANGE celery 0 -1"),
                        "*4\r\n$1\r\n4\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n");
    assert_int_equal(server_number(rig, "LLEN celery\x06\x16"
                                        "9"),
                     1);
    assert_int_equal(server_number(rig, "EXISTS " STAGING), 0);
}

/* The claim is executed when the stopped server goes on, for a connection that is gone. */
static void a_claim_whose_answer_is_lost_is_found_again(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0}, claimed;
    for (int i = 0; i < 5; i++) {
        char text[8];
        snprintf(text, sizeof(text), "m%d", i);
        push_text(rig, QUEUE, i % 2 ? 3 : 0, text);
    }
    redis_server_freeze(&rig->server);
    assert_int_equal(broker_claim(rig->broker, QUEUE, 3, in_seconds(0.2), on_claim, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_UNCERTAIN);
    redis_server_thaw(&rig->server);
    wait_for_number(rig, 3, "HLEN " IN_FLIGHT);
    claim_into(rig, QUEUE, 2, &claimed);
    assert_int_equal(claimed.count, 2);
    assert_string_equal(claimed.claimed[0].bytes, "m0");
    assert_string_equal(claimed.claimed[1].bytes, "m2");
    assert_int_equal(claimed.claimed[0].claim.tag, 1);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 3);
    assert_string_equal(claimed.claimed[0].bytes, "m4");
    assert_string_equal(claimed.claimed[1].bytes, "m1");
    assert_string_equal(claimed.claimed[2].bytes, "m3");
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 5);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 0);
}

static void a_claim_that_cannot_be_recorded_is_undone(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    server_says(rig, "SET " IN_FLIGHT " text");
    assert_int_equal(broker_claim(rig->broker, QUEUE, 3, in_seconds(5), on_claim, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_string_equal(server_says(rig, "LRANGE celery 0 -1"), "*2\r\n$3\r\ntwo\r\n$3\r\none\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_that_waits_already_is_staged),
        TEST(a_push_wakes_the_wait_and_the_message_is_safe),
        TEST(every_priority_list_wakes_it),
        TEST(staged_messages_are_claimed_first),
        TEST(cancelling_frees_the_lists),
        TEST(cancelling_at_once_works_too),
        TEST(a_message_that_comes_while_cancelling_is_not_lost),
        TEST(what_races_is_put_back),
        TEST(lists_stay_armed_for_the_next_wait),
        TEST(a_wait_outlives_the_servers_own_limit),
        TEST(a_restart_ends_the_wait_and_the_next_one_works),
        TEST(who_waits_again_at_once_is_told_once),
        TEST(what_was_staged_late_wakes_the_next_wait),
        TEST(a_silent_server_ends_the_wait),
        TEST(a_queue_has_one_wait),
        TEST(unstaging_restores_the_order),
        TEST(a_claim_whose_answer_is_lost_is_found_again),
        TEST(a_claim_that_cannot_be_recorded_is_undone),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
