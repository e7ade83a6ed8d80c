/*
 * Whom a rescuer believes to be lost. The broker here writes down what it is asked for each queue;
 * the test answers, at times of its choice.
 */
#include "keeper/rescuer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { QUEUES = 3 };
#define LEASE (8 * USEC_PER_MSEC) /* a look each millisecond */

static struct fixture {
    uv_loop_t loop;
    struct rescuer rescuer;
    broker_names_fn *looks[QUEUES];
    void *data[QUEUES];
    unsigned taken_over[QUEUES];
} f;

static const struct str names[QUEUES] = {STR("0"), STR("1"), STR("2")};
static usec_t now;

static usec_t stands(void)
{
    return now;
}

static size_t index_of(struct str queue)
{
    return (size_t)(queue.ptr[0] - '0');
}

int broker_dead_nodes(
    struct broker *broker, struct str queue, usec_t deadline_mono, broker_names_fn *cb, void *data)
{
    (void)broker, (void)deadline_mono;
    f.looks[index_of(queue)] = cb;
    f.data[index_of(queue)] = data;
    return 0;
}

int broker_take_over(struct broker *broker,
                     struct str queue,
                     struct str node,
                     usec_t deadline_mono,
                     broker_claim_fn *cb,
                     void *data)
{
    (void)broker, (void)node, (void)deadline_mono, (void)cb, (void)data;
    f.taken_over[index_of(queue)]++;
    return 0; /* it is under way for the rest of the test */
}

int broker_rescue(struct broker *broker,
                  struct str queue,
                  struct str node,
                  const struct broker_rescued *rescued,
                  size_t count,
                  usec_t deadline_mono,
                  bool *ret_moved,
                  broker_done_fn *cb,
                  void *data)
{
    (void)broker, (void)queue, (void)node, (void)rescued, (void)count, (void)deadline_mono;
    (void)ret_moved, (void)cb, (void)data;
    return -ECANCELED;
}

/* Runs the loop until every queue is asked for that is not under way already. */
static void await_looks(size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++) {
        while (!f.looks[i])
            uv_run(&f.loop, UV_RUN_ONCE);
    }
}

static void answer(size_t queue, int status)
{
    static const struct str lost[] = {STR("lost")};
    const struct cel_error err = {status, "Redis answered: WRONGTYPE"};
    broker_names_fn *cb = f.looks[queue];
    f.looks[queue] = NULL;
    cb(f.data[queue], status, lost, status ? 0 : 1, status ? &err : NULL);
}

static int set_up(void **state)
{
    const struct rescuer_options options = {.lease = LEASE};
    (void)state;
    f = (struct fixture){.looks = {NULL}};
    now = 1000 * USEC_PER_SEC;
    clock_replace(stands, NULL);
    assert_int_equal(uv_loop_init(&f.loop), 0);
    rescuer_init(&f.rescuer, &f.loop, NULL, &options);
    for (size_t i = 0; i < QUEUES; i++)
        rescuer_add(&f.rescuer, names[i]);
    rescuer_start(&f.rescuer);
    f.rescuer.looked_mono = now += 4 * USEC_PER_SEC; /* what a start has to wait is over */
    await_looks(0, QUEUES - 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rescuer_stop(&f.rescuer);
    rescuer_deinit(&f.rescuer);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    clock_replace(NULL, NULL);
    return uv_loop_close(&f.loop);
}

static void who_is_named_is_taken_over(void **state)
{
    (void)state;
    answer(0, 0);
    assert_int_equal(f.taken_over[0], 1);
}

static void what_one_queue_is_refused_does_not_concern_the_others(void **state)
{
    (void)state;
    answer(0, CEL_E_SERVER);
    answer(1, CEL_E_AUTH);
    answer(2, 0);
    assert_int_equal(f.taken_over[2], 1);
}

/* While it was refused nobody could renew there. */
static void a_queue_that_was_refused_is_doubted_for_a_while(void **state)
{
    (void)state;
    answer(0, CEL_E_SERVER);
    await_looks(0, 0);
    answer(0, 0);
    assert_int_equal(f.taken_over[0], 0);
    f.rescuer.looked_mono = now += 4 * USEC_PER_SEC;
    f.rescuer.heard_mono = now; /* by the way */
    await_looks(0, 0);
    answer(0, 0);
    assert_int_equal(f.taken_over[0], 1);
}

static void a_lost_connection_is_evidence_for_all(void **state)
{
    (void)state;
    answer(0, CEL_E_UNCERTAIN);
    answer(1, 0);
    assert_int_equal(f.taken_over[1], 0);
}

static void so_is_a_late_answer(void **state)
{
    (void)state;
    now += USEC_PER_SEC;
    answer(0, 0);
    answer(1, 0);
    assert_int_equal(f.taken_over[0] + f.taken_over[1], 0);
}

static void of_many_answers_the_last_is_not_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < QUEUES; i++) {
        now += 300 * USEC_PER_MSEC;
        answer(i, 0);
    }
    for (size_t i = 0; i < QUEUES; i++)
        assert_int_equal(f.taken_over[i], 1);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(who_is_named_is_taken_over),
        test(what_one_queue_is_refused_does_not_concern_the_others),
        test(a_queue_that_was_refused_is_doubted_for_a_while),
        test(a_lost_connection_is_evidence_for_all),
        test(so_is_a_late_answer),
        test(of_many_answers_the_last_is_not_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
