/* Result documents: storing, reading, and waiting for one. */
#include "tests/integration/broker/rig.h"

#define DONE "{\"status\": \"SUCCESS\", \"result\": 1}"

static bool is_final(struct str document)
{
    return str_starts(document, STR("{\"status\": \"SUCCESS\""));
}

static int store(struct rig *rig, const char *id, const char *document)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_store_result(rig->broker, str_of(id), str_of(document), in_seconds(5),
                                         on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    return outcome.status;
}

static void get(struct rig *rig, const char *id, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    assert_int_equal(broker_get_result(rig->broker, str_of(id), in_seconds(5), on_result, outcome),
                     0);
    rig_run(rig, outcome);
    assert_int_equal(outcome->status, 0);
}

static void await(struct rig *rig, const char *id, double seconds, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    assert_int_equal(broker_await_result(rig->broker, str_of(id), is_final, in_seconds(seconds),
                                         on_result, outcome),
                     0);
}

static void wait_until_subscribed(struct rig *rig, const char *id)
{
    char command[128];
    usec_t end = in_seconds(10);
    snprintf(command, sizeof(command), "PUBSUB NUMSUB celery-task-meta-%s", id);
    while (!strstr(server_says(rig, "%s", command), "\r\n:1\r\n")) {
        assert_true(clock_mono() < end);
        rig_spend(rig, 0.002);
    }
}

static void reopen(struct rig *rig, const struct broker_options *options)
{
    rig_close_broker(rig);
    rig_new_broker(rig, options);
}

static void a_document_is_stored_read_and_forgotten(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    get(rig, "a", &outcome);
    assert_false(outcome.has_document);
    assert_int_equal(store(rig, "a", "{\"status\": \"STARTED\"}"), 0);
    get(rig, "a", &outcome);
    assert_string_equal(outcome.document, "{\"status\": \"STARTED\"}");
    assert_int_equal(server_number(rig, "TTL celery-task-meta-a"), 3600);
    assert_int_equal(store(rig, "a", DONE), 0);
    assert_int_equal(store(rig, "a", "{\"status\": \"PROGRESS\"}"), 0);
    get(rig, "a", &outcome);
    assert_string_equal(outcome.document, DONE);
    outcome = (struct outcome){0};
    assert_int_equal(broker_forget_result(rig->broker, STR("a"), in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    get(rig, "a", &outcome);
    assert_false(outcome.has_document);
}

static void without_expiry_it_is_kept(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    options.result_ttl = 0;
    reopen(rig, &options);
    assert_int_equal(store(rig, "a", DONE), 0);
    assert_int_equal(server_number(rig, "TTL celery-task-meta-a"), -1);
}

static void a_result_that_is_there_ends_the_wait(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    assert_int_equal(store(rig, "a", DONE), 0);
    await(rig, "a", 5, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.document, DONE);
}

static void a_publication_ends_the_wait_at_once(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    await(rig, "a", 20, &outcome);
    wait_until_subscribed(rig, "a");
    assert_int_equal(store(rig, "a", "{\"status\": \"STARTED\"}"), 0);
    assert_int_equal(outcome.calls, 0);
    usec_t before = clock_mono();
    assert_int_equal(store(rig, "a", DONE), 0);
    rig_run(rig, &outcome);
    assert_true(clock_mono() - before < USEC_PER_SEC);
    assert_string_equal(outcome.document, DONE);
    rig_spend(rig, 0.05);
    assert_non_null(strstr(server_says(rig, "PUBSUB NUMSUB celery-task-meta-a"), "\r\n:0\r\n"));
}

static void several_may_wait_for_one_and_for_others(void **state)
{
    struct rig *rig = *state;
    struct outcome first, second, other;
    await(rig, "a", 20, &first);
    await(rig, "a", 20, &second);
    await(rig, "b", 20, &other);
    wait_until_subscribed(rig, "b");
    assert_int_equal(store(rig, "a", DONE), 0);
    rig_run(rig, &first);
    if (!second.calls)
        rig_run(rig, &second);
    assert_int_equal(second.calls, 1);
    assert_int_equal(other.calls, 0);
    assert_int_equal(store(rig, "b", DONE), 0);
    rig_run(rig, &other);
    assert_string_equal(other.document, DONE);
}

static void nobody_stores_and_the_deadline_ends_it(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    await(rig, "a", 0.2, &outcome);
    usec_t before = clock_mono();
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, -ETIMEDOUT);
    assert_in_range(clock_mono() - before, 190000, 900000);
    await(rig, "a", -1, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, -ETIMEDOUT);
}

static void without_a_server_the_deadline_ends_it(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    redis_server_stop(&rig->server, SIGTERM);
    await(rig, "a", 0.3, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, -ETIMEDOUT);
}

/* Stored without a publication, which Python never notices: the next look finds it. */
static void what_was_not_published_is_found(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    const char *const words[] = {"SET", "celery-task-meta-a", DONE, NULL};
    char reply[64];
    await(rig, "a", 20, &outcome);
    wait_until_subscribed(rig, "a");
    rig_spend(rig, 0.05);
    assert_true(redis_server_command(&rig->server, reply, sizeof(reply), words));
    rig_run(rig, &outcome);
    assert_string_equal(outcome.document, DONE);
}

static void a_restart_does_not_end_the_wait(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    await(rig, "a", 30, &outcome);
    wait_until_subscribed(rig, "a");
    redis_server_stop(&rig->server, SIGKILL);
    rig_spend(rig, 0.1);
    assert_int_equal(outcome.calls, 0);
    assert_true(redis_server_start(&rig->server));
    wait_until_subscribed(rig, "a");
    usec_t before = clock_mono();
    assert_int_equal(store(rig, "a", DONE), 0);
    rig_run(rig, &outcome);
    assert_true(clock_mono() - before < USEC_PER_SEC);
    assert_string_equal(outcome.document, DONE);
}

static void a_subscriber_that_is_killed_is_made_anew(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    await(rig, "a", 60, &outcome);
    wait_until_subscribed(rig, "a");
    server_says(rig, "CLIENT KILL TYPE pubsub");
    rig_spend(rig, 0.2);
    wait_until_subscribed(rig, "a");
    assert_int_equal(store(rig, "a", DONE), 0);
    rig_run(rig, &outcome);
    assert_string_equal(outcome.document, DONE);
}

static void a_wrong_password_ends_the_wait(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome outcome;
    char url[256];
    snprintf(url, sizeof(url), "unix://nobody:x@%s", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    await(rig, "a", 20, &outcome);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_AUTH);
}

static void claim_one(struct rig *rig, struct outcome *claimed)
{
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, claimed);
    assert_int_equal(claimed->count, 1);
}

static int complete(struct rig *rig, const struct outcome *claimed, struct outcome *outcome)
{
    const struct broker_completion completion = {
        .claim = claimed->claimed[0].claim,
        .result_id = STR("a"),
        .result_document = STR(DONE),
    };
    *outcome = (struct outcome){0};
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(5), on_done, outcome), 0);
    rig_run(rig, outcome);
    return outcome->status;
}

static void store_state(struct rig *rig, const struct broker_claim *claim, const char *document)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_store_state(rig->broker, claim, STR("a"), str_of(document),
                                        in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void expect_state(struct rig *rig, const char *state)
{
    struct outcome outcome;
    get(rig, "a", &outcome);
    assert_non_null(strstr(outcome.document, state));
}

#define STARTED "{\"status\": \"STARTED\"}"
#define FAILED  "{\"status\": \"FAILURE\"}"

static void a_state_on_the_way_is_stored_only_while_the_claim_is_ours(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    claim_one(rig, &claimed);
    struct broker_claim claim = claimed.claimed[0].claim;
    assert_int_equal(store(rig, "a", FAILED), 0); /* of an earlier run */
    store_state(rig, &claim, STARTED);
    expect_state(rig, "STARTED");
    assert_int_equal(store(rig, "a", FAILED), 0);
    server_says(rig, "DEL celeriac:inflight:{celery}:node@host:1");
    store_state(rig, &claim, STARTED);
    expect_state(rig, "FAILURE");
    claim.tag = 0; /* acknowledged before it ran */
    store_state(rig, &claim, STARTED);
    expect_state(rig, "STARTED");
    assert_int_equal(store(rig, "a", DONE), 0);
    store_state(rig, &claim, STARTED);
    expect_state(rig, "SUCCESS");
}

static void a_state_on_the_way_covers_no_final_one_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed;
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    claim_one(rig, &claimed);
    store_state(rig, &claimed.claimed[0].claim, "{\"status\": \"RETRY\"}");
    store_state(rig, &claimed.claimed[0].claim, STARTED);
    expect_state(rig, "STARTED");
    static const char *const finals[] = {FAILED, "{\"status\": \"REVOKED\"}", DONE};
    for (size_t i = 0; i < sizeof(finals) / sizeof(*finals); i++) {
        assert_int_equal(store(rig, "a", finals[i]), 0);
        store_state(rig, &claimed.claimed[0].claim, STARTED);
        expect_state(rig, finals[i]);
    }
}

static void what_is_uncertain_covers_no_final_one_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    const struct broker_completion completion = {.claim = {.queue = QUEUE},
                                                 .result_id = STR("a"),
                                                 .result_document = STR(FAILED),
                                                 .retry = STR("next"),
                                                 .is_uncertain = true};
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    static const char *const before[] = {"{\"status\": \"RETRY\"}", "{\"status\": \"REVOKED\"}"};
    for (size_t i = 0; i < 2; i++) {
        struct outcome outcome = {0};
        assert_int_equal(store(rig, "a", before[i]), 0);
        assert_int_equal(
            broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome), 0);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, i == 0 ? 0 : BROKER_E_SPARED);
        expect_state(rig, i == 0 ? "FAILURE" : "REVOKED");
    }
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
}

/* A node that was given up, and does not know it yet, has read that the claim is its own. */
static void a_next_attempt_covers_no_final_state_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome;
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    static const char *const before[] = {STARTED, FAILED, "{\"status\": \"REVOKED\"}"};
    for (size_t i = 0; i < 3; i++) {
        claim_one(rig, &claimed);
        assert_int_equal(store(rig, "a", before[i]), 0);
        const struct broker_completion completion = {.claim = claimed.claimed[0].claim,
                                                     .result_id = STR("a"),
                                                     .result_document =
                                                         STR("{\"status\": \"RETRY\"}"),
                                                     .retry = STR("next")};
        outcome = (struct outcome){0};
        assert_int_equal(
            broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome), 0);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, 0);
        expect_state(rig, i == 0 ? "RETRY" : i == 1 ? "FAILURE" : "REVOKED");
        server_says(rig, "DEL celery");
    }
}

static void results_may_live_in_another_database(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome, awaited;
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    await(rig, "a", 20, &awaited);
    wait_until_subscribed(rig, "a");
    claim_one(rig, &claimed);
    assert_int_equal(complete(rig, &claimed, &outcome), 0);
    rig_run(rig, &awaited);
    assert_string_equal(awaited.document, DONE);
    assert_int_equal(keys_of_messages(rig), 0);
    assert_non_null(strstr(server_says(rig, "INFO keyspace"), "db2:keys=1,"));
    get(rig, "a", &outcome);
    assert_string_equal(outcome.document, DONE);
    /* a claim that is lost stores nothing there either */
    server_says(rig, "FLUSHALL");
    claim_one(rig, &claimed);
    server_says(rig, "FLUSHALL");
    assert_int_equal(complete(rig, &claimed, &outcome), BROKER_E_LOST);
    get(rig, "a", &outcome);
    assert_false(outcome.has_document);
}

static void when_the_result_server_is_away_the_claim_stays(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome = {0};
    options.result_url = "unix:///nonexistent/redis.sock";
    reopen(rig, &options);
    claim_one(rig, &claimed);
    const struct broker_completion completion = {
        .claim = claimed.claimed[0].claim,
        .result_id = STR("a"),
        .result_document = STR(DONE),
    };
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(0.3), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, -ENOENT);
    assert_int_equal(server_number(rig, "HLEN celeriac:inflight:{celery}:node@host:1"), 1);
}

/* Whoever acknowledged before gives up what follows when it is uncertain: a lost store must not be. */
static void a_store_elsewhere_that_is_lost_leaves_the_step_unmade(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome;
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    reopen(rig, &options);
    claim_one(rig, &claimed);
    assert_int_equal(complete(rig, &claimed, &outcome), 0); /* both connections are there */
    redis_server_freeze(&rig->server);
    const struct broker_completion completion = {.claim = {.queue = QUEUE},
                                                 .result_id = STR("b"),
                                                 .result_document = STR(DONE),
                                                 .retry = STR("next")};
    outcome = (struct outcome){0};
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(0.3), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    redis_server_thaw(&rig->server);
    assert_int_equal(outcome.status, -ETIMEDOUT);
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
}

static void disabled_results_are_neither_stored_nor_found(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome = {0};
    options.result_url = "disabled";
    reopen(rig, &options);
    claim_one(rig, &claimed);
    assert_int_equal(complete(rig, &claimed, &outcome), 0);
    assert_int_equal(store(rig, "a", DONE), 0);
    assert_int_equal(keys_of_messages(rig), 0);
    get(rig, "a", &outcome);
    assert_false(outcome.has_document);
    assert_int_equal(
        broker_await_result(rig->broker, STR("a"), is_final, in_seconds(5), on_result, NULL),
        CEL_E_CONFIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_document_is_stored_read_and_forgotten),
        TEST(without_expiry_it_is_kept),
        TEST(a_result_that_is_there_ends_the_wait),
        TEST(a_publication_ends_the_wait_at_once),
        TEST(several_may_wait_for_one_and_for_others),
        TEST(nobody_stores_and_the_deadline_ends_it),
        TEST(without_a_server_the_deadline_ends_it),
        TEST(what_was_not_published_is_found),
        TEST(a_restart_does_not_end_the_wait),
        TEST(a_subscriber_that_is_killed_is_made_anew),
        TEST(a_wrong_password_ends_the_wait),
        TEST(a_state_on_the_way_is_stored_only_while_the_claim_is_ours),
        TEST(a_state_on_the_way_covers_no_final_one_elsewhere),
        TEST(what_is_uncertain_covers_no_final_one_elsewhere),
        TEST(a_next_attempt_covers_no_final_state_elsewhere),
        TEST(results_may_live_in_another_database),
        TEST(when_the_result_server_is_away_the_claim_stays),
        TEST(a_store_elsewhere_that_is_lost_leaves_the_step_unmade),
        TEST(disabled_results_are_neither_stored_nor_found),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
