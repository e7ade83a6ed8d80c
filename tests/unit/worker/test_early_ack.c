/*
 * When a call may run whose acknowledgement met a failure. The broker here writes down what it is
 * asked; each test answers for it.
 */
#include "worker/early_ack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support.h"

static struct fixture {
    uv_loop_t loop;
    struct requests requests;
    struct early_acks acks;
    struct request *request;
    broker_done_fn *ack;
    broker_renew_fn *renew;
    void *data;
    unsigned told;
    int told_status;
} f;

int broker_ack(struct broker *broker,
               const struct broker_claim *claim,
               usec_t deadline_mono,
               broker_done_fn *cb,
               void *data)
{
    (void)broker, (void)claim, (void)deadline_mono;
    assert_true(!f.ack && !f.renew);
    f.ack = cb;
    f.data = data;
    return 0;
}

int broker_renew(struct broker *broker,
                 struct str queue,
                 usec_t ttl,
                 bool is_new,
                 usec_t deadline_mono,
                 broker_renew_fn *cb,
                 void *data)
{
    (void)broker, (void)queue, (void)ttl, (void)deadline_mono;
    assert_true(!f.ack && !f.renew);
    assert_false(is_new);
    f.renew = cb;
    f.data = data;
    return 0;
}

static const struct cel_error failure = {CEL_E_UNCERTAIN, "cut"};

static void answer(int status)
{
    broker_done_fn *cb = f.ack;
    while (!cb) {
        uv_run(&f.loop, UV_RUN_ONCE);
        cb = f.ack;
    }
    f.ack = NULL;
    cb(f.data, status, status < 0 ? &failure : NULL);
}

static void answer_renewal(int status)
{
    broker_renew_fn *cb = f.renew;
    assert_non_null(cb);
    f.renew = NULL;
    cb(f.data, status, NULL, 0, status < 0 ? &failure : NULL);
}

static void on_acked(void *data, struct request *request, int status)
{
    (void)data;
    assert_ptr_equal(request, f.request);
    f.told++;
    f.told_status = status;
}

static int set_up(void **state)
{
    struct frame_task rules = task_rules();
    (void)state;
    f = (struct fixture){.told = 0};
    assert_int_equal(uv_loop_init(&f.loop), 0);
    early_acks_init(&f.acks, &f.loop, NULL, &f.requests, USEC_PER_SEC, on_acked, NULL);
    f.request = request_with(&f.requests, message_with(""), &rules);
    request_set_state(f.request, REQUEST_READY);
    request_set_state(f.request, REQUEST_ACKING);
    early_ack(&f.acks, f.request);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(f.told, 1);
    assert_int_equal(f.request->ack.is_done, f.told_status == 0);
    early_acks_stop(&f.acks);
    early_acks_deinit(&f.acks);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    requests_deinit(&f.requests);
    return uv_loop_close(&f.loop);
}

static void an_acknowledged_one_may_run(void **state)
{
    (void)state;
    answer(0);
    assert_int_equal(f.told_status, 0);
}

static void one_that_is_gone_must_not(void **state)
{
    (void)state;
    answer(BROKER_E_LOST);
    assert_int_equal(f.told_status, BROKER_E_LOST);
}

static void nobody_is_told_before_the_acknowledgement_is_known(void **state)
{
    (void)state;
    answer(CEL_E_UNCERTAIN);
    assert_int_equal(f.told, 0);
    answer(-ETIMEDOUT);
    assert_int_equal(f.told, 0);
    answer(0); /* the first had not arrived */
    assert_int_equal(f.told_status, 0);
}

static void what_was_not_sent_and_is_gone_is_others(void **state)
{
    (void)state;
    answer(-ETIMEDOUT);
    answer(BROKER_E_LOST);
    assert_null(f.renew);
    assert_int_equal(f.told_status, BROKER_E_LOST);
}

static void an_uncertain_one_that_is_gone_is_ours_if_the_lease_stands(void **state)
{
    (void)state;
    answer(CEL_E_UNCERTAIN);
    answer(BROKER_E_LOST);
    assert_int_equal(f.told, 0);
    answer_renewal(CEL_E_UNCERTAIN);
    assert_int_equal(f.told, 0);
    answer(BROKER_E_LOST);
    answer_renewal(0);
    assert_int_equal(f.told_status, 0);
}

static void and_others_if_it_does_not(void **state)
{
    (void)state;
    answer(CEL_E_UNCERTAIN);
    answer(BROKER_E_LOST);
    answer_renewal(BROKER_E_LOST);
    assert_int_equal(f.told_status, BROKER_E_LOST);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(an_acknowledged_one_may_run),
        test(one_that_is_gone_must_not),
        test(nobody_is_told_before_the_acknowledgement_is_known),
        test(what_was_not_sent_and_is_gone_is_others),
        test(an_uncertain_one_that_is_gone_is_ours_if_the_lease_stands),
        test(and_others_if_it_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
