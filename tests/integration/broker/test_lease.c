/* Leases: what a refusal leaves undone, who may renew, and which messages a rescue has moved. */
#include "tests/integration/broker/rig.h"

#define NODES   "celeriac:nodes:{celery}"
#define HELD    "celeriac:inflight:{celery}:lost"
#define STAGED  "celeriac:staging:{celery}:lost"
#define DEAD    "celeriac:dead:{celery}"
#define RESULT  "celery-task-meta-"
#define FAILURE "{\"status\": \"FAILURE\"}"
#define STEP_3                                                                                     \
    "celery\x06\x16"                                                                               \
    "3"

static void on_renewed(void *data,
                       int status,
                       const struct broker_claim *held,
                       size_t count,
                       const struct cel_error *err)
{
    (void)held, (void)count;
    on_done(data, status, err);
}

static struct outcome renew(struct rig *rig, bool is_new)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_renew(rig->broker, QUEUE, 3600 * USEC_PER_SEC, is_new, in_seconds(5),
                                  on_renewed, &outcome),
                     0);
    rig_run(rig, &outcome);
    return outcome;
}

static void leave(struct rig *rig)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_leave(rig->broker, QUEUE, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static struct outcome take_over(struct rig *rig)
{
    struct outcome outcome = {0};
    assert_int_equal(
        broker_take_over(rig->broker, QUEUE, STR("lost"), in_seconds(5), on_claim, &outcome), 0);
    rig_run(rig, &outcome);
    return outcome;
}

static void expect_refused(const struct outcome *outcome, const char *key)
{
    assert_int_equal(outcome->status, CEL_E_SERVER);
    assert_non_null(strstr(outcome->err.text, "WRONGTYPE"));
    assert_non_null(strstr(outcome->err.text, key));
}

static void a_lease_that_is_refused_is_not_made(void **state)
{
    static const char *const in_the_way[] = {NODES, "celeriac:inflight:{celery}:node@host:1",
                                             "celeriac:queues"};
    struct rig *rig = *state;
    server_says(rig, "FLUSHALL");
    for (size_t i = 0; i < ARRAY_SIZE(in_the_way); i++) {
        server_says(rig, "SET %s text", in_the_way[i]);
        struct outcome outcome = renew(rig, true);
        expect_refused(&outcome, in_the_way[i]);
        assert_int_equal(server_number(rig, "DBSIZE"), 1);
        server_says(rig, "DEL %s", in_the_way[i]);
    }
    assert_int_equal(renew(rig, true).status, 0);
}

static void a_node_whose_messages_cannot_be_moved_is_not_given_up(void **state)
{
    static const char *const in_the_way[] = {HELD, STEP_3, STAGED};
    struct rig *rig = *state;
    server_says(rig, "ZADD " NODES " 1 lost");
    for (size_t i = 0; i < ARRAY_SIZE(in_the_way); i++) {
        server_says(rig, "SET %s text", in_the_way[i]);
        server_says(rig, "RPUSH %s one",
                    i == 2 ? STAGED "\x06\x16"
                                    "3"
                           : STAGED);
        struct outcome outcome = take_over(rig);
        expect_refused(&outcome, in_the_way[i]);
        assert_non_null(strstr(server_says(rig, "ZSCORE " NODES " lost"), "\r\n1\r\n"));
        assert_int_equal(server_number(rig, "EXISTS celery"), 0);
        server_says(rig, "DEL %s", in_the_way[i]);
    }
    server_says(rig, "HSET " HELD " 1.0 two");
    struct outcome outcome = take_over(rig);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(server_number(rig, "LLEN " STEP_3), 1);
}

/* A late renewal, sent again by a new connection, must not keep others from what is left. */
static void a_node_that_has_left_renews_nothing(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(renew(rig, true).status, 0);
    assert_int_equal(renew(rig, false).status, 0);
    leave(rig);
    assert_int_equal(renew(rig, false).status, BROKER_E_LOST);
    assert_non_null(strstr(server_says(rig, "ZSCORE " NODES " node@host:1"), "\r\n0\r\n"));
}

static void leaving_does_not_undo_that_it_was_given_up(void **state)
{
    struct rig *rig = *state;
    server_says(rig, "ZADD " NODES " -5 node@host:1");
    leave(rig);
    assert_non_null(strstr(server_says(rig, "ZSCORE " NODES " node@host:1"), "\r\n-5\r\n"));
}

/* Two of four are gone meanwhile: their node has completed them. */
static void rescue_four(struct rig *rig)
{
    const struct broker_dead dead = {.reason = STR("max deliveries"), .task_id = STR("id")};
    const struct broker_claim claim = {.queue = QUEUE};
    struct broker_rescued rescued[4] = {
        {.claim = claim},
        {.claim = claim},
        {.dead = &dead, .result_id = STR("gone"), .result_document = STR(FAILURE)},
        {.dead = &dead, .result_id = STR("there"), .result_document = STR(FAILURE)},
    };
    struct outcome outcome = {0};
    bool moved[4] = {false};
    for (size_t i = 0; i < 4; i++) {
        rescued[i].claim.queue = QUEUE;
        rescued[i].claim.tag = i + 1;
    }
    server_says(rig, "HSET " HELD " 2.0 two 4.0 four");
    assert_int_equal(broker_rescue(rig->broker, QUEUE, STR("lost"), rescued, 4, in_seconds(5),
                                   moved, on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_false(moved[0]);
    assert_true(moved[1]);
    assert_false(moved[2]);
    assert_true(moved[3]);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    assert_int_equal(server_number(rig, "XLEN " DEAD), 1);
    assert_int_equal(server_number(rig, "EXISTS " HELD), 0);
}

static bool has_result(struct rig *rig, const char *id)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_get_result(rig->broker, str_of(id), in_seconds(5), on_result, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    return outcome.has_document;
}

static void a_rescue_tells_what_it_moved_and_stores_no_other_result(void **state)
{
    struct rig *rig = *state;
    rescue_four(rig);
    assert_true(has_result(rig, "there"));
    assert_false(has_result(rig, "gone"));
    assert_in_range(server_number(rig, "TTL " RESULT "there"), 3500, 3600);
}

static void nor_when_results_live_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    char url[256];
    snprintf(url, sizeof(url), "%s?virtual_host=1", rig->server.url);
    options.result_url = url;
    rig_close_broker(rig);
    rig_new_broker(rig, &options);
    rescue_four(rig);
    assert_true(has_result(rig, "there"));
    assert_false(has_result(rig, "gone"));
    assert_int_equal(server_number(rig, "EXISTS " RESULT "there"), 0);
}

static void nor_any_when_they_are_disabled(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    options.result_url = "disabled";
    rig_close_broker(rig);
    rig_new_broker(rig, &options);
    rescue_four(rig);
    assert_int_equal(server_number(rig, "EXISTS " RESULT "there"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_that_is_refused_is_not_made),
        TEST(a_node_whose_messages_cannot_be_moved_is_not_given_up),
        TEST(a_node_that_has_left_renews_nothing),
        TEST(leaving_does_not_undo_that_it_was_given_up),
        TEST(a_rescue_tells_what_it_moved_and_stores_no_other_result),
        TEST(nor_when_results_live_elsewhere),
        TEST(nor_any_when_they_are_disabled),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
