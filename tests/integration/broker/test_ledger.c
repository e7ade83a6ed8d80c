/* The ledger of ids: what is in it, and what is not any more. */
#include "tests/integration/broker/rig.h"

#define LEDGER "celeriac:ledger:{celery}"

/* One message, claimed, with the id that the ledger shall have. */
static struct broker_claim claim_one(struct rig *rig)
{
    static struct outcome outcome;
    push_text(rig, QUEUE, 0, "x");
    claim_into(rig, QUEUE, 1, &outcome);
    assert_int_equal(outcome.count, 1);
    struct broker_claim claim = outcome.claimed[0].claim;
    claim.id = STR("the-id");
    return claim;
}

/* What is sent behind it on the same connection has been answered. */
static void settle(struct rig *rig)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_ping(rig->broker, in_seconds(20), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static void an_id_is_there_until_its_call_ends(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    struct broker_claim claim = claim_one(rig);
    broker_track(rig->broker, &claim);
    settle(rig);
    assert_string_equal(server_says(rig, "HGET " LEDGER " the-id"), "$11\r\nnode@host:1\r\n");
    assert_int_equal(broker_ack(rig->broker, &claim, in_seconds(20), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(server_number(rig, "HLEN " LEDGER), 0);
}

/* It waited for a connection while another took the message and ended it. */
static void an_id_that_comes_behind_the_end_is_not_noted(void **state)
{
    struct rig *rig = *state;
    struct broker_claim claim = claim_one(rig);
    server_says(rig, "DEL celeriac:inflight:{celery}:node@host:1");
    broker_track(rig->broker, &claim);
    settle(rig);
    assert_int_equal(server_number(rig, "HLEN " LEDGER), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_id_is_there_until_its_call_ends),
        TEST(an_id_that_comes_behind_the_end_is_not_noted),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
