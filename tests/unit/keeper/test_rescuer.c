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
    broker_claim_fn *take_over; /* the last one, not yet answered */
    void *take_over_data;
    struct {
        broker_done_fn *cb;
        void *data;
        bool *ret_moved;
        size_t count, dead;
        char detail[128];
    } rescue;
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
    (void)broker, (void)node, (void)deadline_mono;
    f.taken_over[index_of(queue)]++;
    f.take_over = cb;
    f.take_over_data = data;
    return 0;
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
    (void)broker, (void)queue, (void)node, (void)deadline_mono;
    f.rescue.cb = cb;
    f.rescue.data = data;
    f.rescue.ret_moved = ret_moved;
    f.rescue.count = count;
    f.rescue.dead = 0;
    for (size_t i = 0; i < count; i++) {
        if (!rescued[i].dead)
            continue;
        f.rescue.dead++;
        snprintf(f.rescue.detail, sizeof(f.rescue.detail), STR_FORMAT,
                 STR_ARGS(rescued[i].dead->detail));
    }
    return 0;
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

#define CALL(deliveries)                                                                           \
    STR("{\"body\": \"W1tdLCB7fSwge31d\", \"content-encoding\": \"utf-8\", "                       \
        "\"content-type\": \"application/json\", \"headers\": {\"task\": \"t\", \"id\": \"i\", "   \
        "\"celeriac_deliveries\": " deliveries                                                     \
        "}, \"properties\": {\"body_encoding\": \"base64\", "                                      \
        "\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"0\"}, \"delivery_tag\": "      \
        "\"d\"}}")

/* Two that go back, and two that were lost with too many. */
static const struct broker_claimed shown[] = {
    {.claim = {.queue = STR("0"), .tag = 1}, .bytes = STR("no message")},
    {.claim = {.queue = STR("0"), .tag = 2}, .bytes = CALL("3")},
    {.claim = {.queue = STR("0"), .tag = 3}, .bytes = CALL("10")},
    {.claim = {.queue = STR("0"), .tag = 4}, .bytes = CALL("10")},
};

static void show(size_t count)
{
    f.take_over(f.take_over_data, 0, count ? shown : NULL, count, NULL);
}

/* Of the four one of each kind is gone by then. */
static void answer_rescue(int status)
{
    const struct cel_error err = {status, "no answer"};
    assert_int_equal(f.rescue.count, 4);
    assert_int_equal(f.rescue.dead, 2);
    f.rescue.ret_moved[1] = f.rescue.ret_moved[3] = status == 0;
    f.rescue.cb(f.rescue.data, status, status ? &err : NULL);
}

static int set_up(void **state)
{
    static struct result_rows rows; /* writes none */
    const struct rescuer_options options = {.lease = LEASE, .max_deliveries = 10, .rows = &rows};
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

static void what_was_moved_is_counted_and_nothing_else(void **state)
{
    (void)state;
    answer(0, 0);
    show(4);
    answer_rescue(0);
    assert_int_equal(f.taken_over[0], 2);
    show(0);
    assert_int_equal(f.rescuer.rescued, 2);
    assert_int_equal(f.rescuer.buried, 1);
    assert_string_equal(f.rescue.detail, "11 workers were lost while they held this message");
}

static void a_move_that_failed_counts_for_nothing(void **state)
{
    (void)state;
    answer(0, 0);
    show(4);
    answer_rescue(-ETIMEDOUT);
    assert_int_equal(f.taken_over[0], 1);
    assert_int_equal(f.rescuer.rescued + f.rescuer.buried, 0);
}

static void claims_that_nobody_knows_are_counted_when_they_are_back(void **state)
{
    (void)state;
    rescuer_put_back(&f.rescuer, STR("0"), STR("ours"), shown, 4);
    assert_int_equal(f.rescuer.rescued + f.rescuer.buried, 0);
    answer_rescue(0);
    assert_int_equal(f.rescuer.rescued, 2);
    assert_int_equal(f.rescuer.buried, 1);
    assert_null(strstr(f.rescue.detail, "workers were lost"));
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
        test(what_was_moved_is_counted_and_nothing_else),
        test(a_move_that_failed_counts_for_nothing),
        test(claims_that_nobody_knows_are_counted_when_they_are_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
