/* The life of messages in Redis: what each call leaves there, key by key. */
#include "tests/integration/broker/rig.h"

#define IN_FLIGHT "celeriac:inflight:{celery}:node@host:1"
#define DELAYED   "celeriac:delayed:{celery}"
#define DEAD      "celeriac:dead:{celery}"
#define LEDGER    "celeriac:ledger:{celery}"

static struct broker_completion completion_of(const struct outcome *claimed, size_t index)
{
    return (struct broker_completion){.claim = claimed->claimed[index].claim};
}

static int complete(struct rig *rig, const struct broker_completion *completion)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_complete(rig->broker, completion, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    return outcome.status;
}

static void a_pushed_message_is_an_element_of_kombus_list(void **state)
{
    struct rig *rig = *state;
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    push_text(rig, QUEUE, 9, "last");
    assert_string_equal(server_says(rig, "LRANGE celery 0 -1"), "*2\r\n$3\r\ntwo\r\n$3\r\none\r\n");
    assert_string_equal(server_says(rig, "LRANGE celery\x06\x16"
                                         "9 0 -1"),
                        "*1\r\n$4\r\nlast\r\n");
}

static void a_claim_moves_the_oldest_into_flight(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    claim_into(rig, QUEUE, 1, &claimed);
    assert_int_equal(claimed.count, 1);
    assert_string_equal(claimed.claimed[0].bytes, "one");
    assert_int_equal(claimed.claimed[0].claim.step, 0);
    assert_true(str_equal(claimed.claimed[0].claim.queue, QUEUE));
    assert_string_equal(server_says(rig, "LRANGE celery 0 -1"), "*1\r\n$3\r\ntwo\r\n");
    assert_string_equal(server_says(rig, "HGETALL " IN_FLIGHT), "*2\r\n$3\r\n1.0\r\n$3\r\none\r\n");
    assert_int_equal(claimed.claimed[0].claim.tag, 1);
}

static void a_claim_of_nothing_has_no_messages(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 0);
    assert_int_equal(keys_of_messages(rig), 0);
}

static void lists_are_claimed_by_priority(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    static const unsigned steps[] = {9, 3, 0, 6};
    for (size_t i = 0; i < 4; i++) {
        char text[8];
        snprintf(text, sizeof(text), "p%u", steps[i]);
        push_text(rig, QUEUE, steps[i], text);
    }
    claim_into(rig, QUEUE, 3, &claimed);
    assert_int_equal(claimed.count, 3);
    assert_string_equal(claimed.claimed[0].bytes, "p0");
    assert_string_equal(claimed.claimed[1].bytes, "p3");
    assert_string_equal(claimed.claimed[2].bytes, "p6");
    assert_int_equal(claimed.claimed[2].claim.step, 6);
    assert_int_equal(server_number(rig, "HEXISTS " IN_FLIGHT " 3.6"), 1);
    claim_into(rig, QUEUE, 3, &claimed);
    assert_int_equal(claimed.count, 1);
    assert_string_equal(claimed.claimed[0].bytes, "p9");
}

static void queues_do_not_touch_each_other(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, STR("mail"), 0, "m");
    push_text(rig, STR("a{b}c:d"), 0, "odd");
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 0);
    claim_into(rig, STR("mail"), 5, &claimed);
    assert_string_equal(claimed.claimed[0].bytes, "m");
    claim_into(rig, STR("a{b}c:d"), 5, &claimed);
    assert_string_equal(claimed.claimed[0].bytes, "odd");
    assert_int_equal(server_number(rig, "HLEN celeriac:inflight:{mail}:node@host:1"), 1);
    assert_int_equal(server_number(rig, "HLEN celeriac:inflight:{a{b}c:d}:node@host:1"), 1);
}

static void any_bytes_come_back_as_they_were(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    char bytes[200];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    struct broker_message messages[] = {{.queue = QUEUE, .bytes = str_n(bytes, sizeof(bytes))},
                                        {.queue = QUEUE, .bytes = STR("")}};
    assert_int_equal(broker_push(rig->broker, messages, 2, in_seconds(5), NULL, on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 2);
    assert_int_equal(claimed.claimed[0].len, sizeof(bytes));
    assert_int_equal(claimed.claimed[0].bytes[1], bytes[1]);
    assert_int_equal(claimed.claimed[1].len, 0);
    assert_int_equal(server_number(rig, "HSTRLEN " IN_FLIGHT " 1.0"), sizeof(bytes));
}

static void acknowledging_ends_the_claim(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, first = {0}, second = {0};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 3, "two");
    claim_into(rig, QUEUE, 2, &claimed);
    server_says(rig, "CONFIG RESETSTAT");
    assert_int_equal(
        broker_ack(rig->broker, &claimed.claimed[0].claim, in_seconds(5), on_done, &first), 0);
    assert_int_equal(
        broker_ack(rig->broker, &claimed.claimed[1].claim, in_seconds(5), on_done, &second), 0);
    assert_int_equal(first.calls, 0);
    rig_run(rig, &second);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.status, 0);
    assert_int_equal(second.status, 0);
    assert_int_equal(keys_of_messages(rig), 0);
    assert_non_null(strstr(server_says(rig, "INFO commandstats"), "cmdstat_evalsha:calls=1,"));
}

static void acknowledging_a_lost_claim_says_so(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "DEL " IN_FLIGHT);
    assert_int_equal(
        broker_ack(rig->broker, &claimed.claimed[0].claim, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, BROKER_E_LOST);
}

/* An acknowledged call runs, one that was lost is another's: they must not be mixed up. */
static void a_lost_claim_does_not_take_its_neighbours(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, acked[5] = {{0}};
    for (size_t i = 0; i < 5; i++)
        push_text(rig, QUEUE, 0, "x");
    claim_into(rig, QUEUE, 5, &claimed);
    server_says(rig, "HDEL " IN_FLIGHT " 2.0 5.0");
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(
            broker_ack(rig->broker, &claimed.claimed[i].claim, in_seconds(5), on_done, &acked[i]),
            0);
    rig_run(rig, &acked[4]);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(acked[i].calls, 1);
        assert_int_equal(acked[i].status, i == 1 || i == 4 ? BROKER_E_LOST : 0);
    }
    assert_int_equal(keys_of_messages(rig), 0);
}

static void more_acknowledgements_than_a_batch_all_arrive(void **state)
{
    enum { COUNT = 200 };
    struct rig *rig = *state;
    static struct outcome claimed, acked[COUNT];
    memset(acked, 0, sizeof(acked));
    for (int i = 0; i < COUNT; i++)
        push_text(rig, QUEUE, 0, "x");
    claim_into(rig, QUEUE, COUNT, &claimed);
    assert_int_equal(claimed.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(
            broker_ack(rig->broker, &claimed.claimed[i].claim, in_seconds(5), on_done, &acked[i]),
            0);
    rig_run(rig, &acked[COUNT - 1]);
    for (int i = 0; i < COUNT; i++)
        assert_true(acked[i].calls == 1 && acked[i].status == 0);
    assert_int_equal(keys_of_messages(rig), 0);
}

static void completing_stores_publishes_pushes_and_acknowledges(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    const struct broker_message follow_ups[] = {
        {.queue = STR("next"), .bytes = STR("n1")},
        {.queue = STR("next"), .step = 6, .bytes = STR("n2")},
    };
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"SUCCESS\", \"result\": 1}");
    completion.follow_ups = follow_ups;
    completion.follow_up_count = 2;
    assert_int_equal(complete(rig, &completion), 0);
    assert_string_equal(server_says(rig, "GET celery-task-meta-id-1"),
                        "$34\r\n{\"status\": \"SUCCESS\", \"result\": 1}\r\n");
    assert_int_equal(server_number(rig, "TTL celery-task-meta-id-1"), 3600);
    assert_string_equal(server_says(rig, "LRANGE next 0 -1"), "*1\r\n$2\r\nn1\r\n");
    assert_string_equal(server_says(rig, "LRANGE next\x06\x16"
                                         "6 0 -1"),
                        "*1\r\n$2\r\nn2\r\n");
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
    assert_int_equal(keys_of_messages(rig), 3);
}

static void completing_a_lost_claim_writes_nothing(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    const struct broker_message follow_up = {.queue = STR("next"), .bytes = STR("n")};
    const struct broker_dead dead = {.reason = STR("crash loop")};
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "DEL " IN_FLIGHT);
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"SUCCESS\"}");
    completion.follow_ups = &follow_up;
    completion.follow_up_count = 1;
    completion.retry = STR("again");
    completion.dead = &dead;
    assert_int_equal(complete(rig, &completion), BROKER_E_LOST);
    assert_int_equal(keys_of_messages(rig), 0);
}

static void a_success_is_never_overwritten(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "SET celery-task-meta-id-1 {\"status\":\"SUCCESS\",\"result\":7}");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"FAILURE\"}");
    assert_int_equal(complete(rig, &completion), 0);
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "SUCCESS"));
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
}

static void another_state_is_overwritten(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "SET celery-task-meta-id-1 {\"status\":\"RETRY\",\"result\":\"SUCCESS\"}");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"FAILURE\"}");
    assert_int_equal(complete(rig, &completion), 0);
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "FAILURE"));
}

static void something_else_in_the_results_place_goes(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "LPUSH celery-task-meta-id-1 x");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"FAILURE\"}");
    assert_int_equal(complete(rig, &completion), 0);
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "FAILURE"));
    assert_int_equal(server_number(rig, "TTL celery-task-meta-id-1"), 3600);
}

static void a_retry_without_delay_is_pushed(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 3, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.retry = STR("again");
    assert_int_equal(complete(rig, &completion), 0);
    assert_string_equal(server_says(rig, "LRANGE celery\x06\x16"
                                         "3 0 -1"),
                        "*1\r\n$5\r\nagain\r\n");
    assert_int_equal(keys_of_messages(rig), 1);
}

static void a_retry_is_parked_until_it_is_due(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, 3, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.retry = STR("again");
    completion.retry_due_wall = 5000001;
    assert_int_equal(complete(rig, &completion), 0);
    assert_string_equal(server_says(rig, "ZRANGE " DELAYED " 0 -1 WITHSCORES"),
                        "*2\r\n$21\r\nnode@host:1/1.3\nagain\r\n$4\r\n5001\r\n");
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, 5000999, in_seconds(5), on_promote, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.moved, 0);
    assert_int_equal(outcome.next_due_wall, 5001000);
    outcome = (struct outcome){0};
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, 5001000, in_seconds(5), on_promote, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.moved, 1);
    assert_int_equal(outcome.next_due_wall, 0);
    assert_string_equal(server_says(rig, "LRANGE celery\x06\x16"
                                         "3 0 -1"),
                        "*1\r\n$5\r\nagain\r\n");
    assert_int_equal(keys_of_messages(rig), 1);
}

static int park(struct rig *rig, const struct broker_claim *claim, usec_t due_wall)
{
    struct outcome outcome = {0};
    assert_int_equal(broker_park(rig->broker, claim, due_wall, in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    return outcome.status;
}

static void what_was_acknowledged_is_completed_without_a_claim(void **state)
{
    struct rig *rig = *state;
    const struct broker_message follow_up = {.queue = STR("next"), .bytes = STR("f")};
    struct broker_completion completion = {.claim = {.queue = QUEUE},
                                           .result_id = STR("id-1"),
                                           .result_document = STR("{\"status\": \"SUCCESS\"}"),
                                           .follow_ups = &follow_up,
                                           .follow_up_count = 1,
                                           .retry = STR("again")};
    assert_int_equal(complete(rig, &completion), 0);
    assert_string_equal(server_says(rig, "LRANGE next 0 -1"), "*1\r\n$1\r\nf\r\n");
    assert_string_equal(server_says(rig, "LRANGE celery 0 -1"), "*1\r\n$5\r\nagain\r\n");
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-1"), 1);
    const struct broker_dead dead = {.reason = STR("undecodable")};
    completion.dead = &dead; /* there is no message to bury */
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(5), on_done, NULL),
                     -EINVAL);
}

/* Told once more after its connection broke: nothing is written twice, and the failure is for the
 * case that it was not written once. */
static void what_is_uncertain_is_a_failure_unless_it_is_there(void **state)
{
    struct rig *rig = *state;
    struct broker_completion completion = {.claim = {.queue = QUEUE},
                                           .result_id = STR("id-1"),
                                           .result_document = STR("{\"status\": \"RETRY\"}"),
                                           .retry = STR("again"),
                                           .retry_due_wall = 9000 * USEC_PER_SEC};
    struct broker_completion once_more = completion;
    once_more.is_uncertain = true;
    once_more.result_document = STR("{\"status\": \"FAILURE\", \"result\": \"unknown\"}");
    assert_int_equal(complete(rig, &completion), 0);
    assert_int_equal(complete(rig, &once_more), BROKER_E_SPARED); /* it is parked */
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "RETRY"));
    assert_int_equal(server_number(rig, "ZCARD " DELAYED), 1);
    server_says(rig, "DEL " DELAYED);
    assert_int_equal(complete(rig, &once_more), 0);
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "unknown"));
    assert_int_equal(server_number(rig, "EXISTS " DELAYED), 0);
    once_more.retry_due_wall = 0;
    server_says(rig, "SET celery-task-meta-id-1 {\"status\":\"RETRY\"}");
    assert_int_equal(complete(rig, &once_more), 0);
    assert_non_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "unknown"));
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
    static const char *const finals[] = {"SUCCESS", "FAILURE", "REVOKED"};
    for (size_t i = 0; i < ARRAY_SIZE(finals); i++) { /* of the attempt that was there after all */
        server_says(rig, "SET celery-task-meta-id-1 {\"status\":\"%s\"}", finals[i]);
        assert_int_equal(complete(rig, &once_more), BROKER_E_SPARED);
        assert_null(strstr(server_says(rig, "GET celery-task-meta-id-1"), "unknown"));
    }
}

static void parked_messages_are_served_in_the_order_they_are_due(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    static const char *const texts[] = {"c\nx", "a\nx", "b\nx"};
    static const usec_t due[] = {3000000, 1000000, 2000000};
    for (size_t i = 0; i < 3; i++)
        push_text(rig, QUEUE, 0, texts[i]);
    claim_into(rig, QUEUE, 3, &claimed);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(park(rig, &claimed.claimed[i].claim, due[i]), 0);
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
    assert_int_equal(server_number(rig, "ZCARD " DELAYED), 3);
    push_text(rig, QUEUE, 0, "waits already");
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, 9000000, in_seconds(5), on_promote, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.moved, 3);
    claim_into(rig, QUEUE, 5, &claimed);
    assert_string_equal(claimed.claimed[0].bytes, "a\nx");
    assert_string_equal(claimed.claimed[1].bytes, "b\nx");
    assert_string_equal(claimed.claimed[2].bytes, "c\nx");
    assert_string_equal(claimed.claimed[3].bytes, "waits already");
}

static void promotion_comes_in_bounded_helpings(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char script[] = "for i=1,300 do redis.call('ZADD','" DELAYED "',i,'n/'..i..'.0\\nm'..i) end";
    const char *const words[] = {"EVAL", script, "0", NULL};
    char reply[64];
    assert_true(redis_server_command(&rig->server, reply, sizeof(reply), words));
    outcome = (struct outcome){0};
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, 1000000, in_seconds(5), on_promote, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.moved, 256);
    assert_int_equal(outcome.next_due_wall, 257000);
    outcome = (struct outcome){0};
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, 1000000, in_seconds(5), on_promote, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.moved, 44);
    assert_int_equal(server_number(rig, "LLEN celery"), 300);
}

static void giving_back_puts_it_first_again(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, 6, "one");
    push_text(rig, QUEUE, 6, "two");
    claim_into(rig, QUEUE, 1, &claimed);
    assert_int_equal(
        broker_give_back(rig->broker, &claimed.claimed[0].claim, in_seconds(5), on_done, &outcome),
        0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(server_says(rig, "LRANGE celery\x06\x16"
                                         "6 0 -1"),
                        "*2\r\n$3\r\ntwo\r\n$3\r\none\r\n");
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
    outcome = (struct outcome){0};
    assert_int_equal(
        broker_give_back(rig->broker, &claimed.claimed[0].claim, in_seconds(5), on_done, &outcome),
        0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, BROKER_E_LOST);
    assert_int_equal(park(rig, &claimed.claimed[0].claim, 1), BROKER_E_LOST);
    assert_int_equal(server_number(rig, "LLEN celery\x06\x16"
                                        "6"),
                     2);
}

static void burying_keeps_the_message_and_the_reason(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "not json");
    claim_into(rig, QUEUE, 1, &claimed);
    const struct broker_dead dead = {
        .reason = STR("undecodable"), .detail = STR("byte 0"), .task = STR("t")};
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.dead = &dead;
    assert_int_equal(complete(rig, &completion), 0);
    const char *entry = server_says(rig, "XRANGE " DEAD " - +");
    assert_non_null(strstr(entry, "$7\r\nmessage\r\n$8\r\nnot json\r\n$6\r\nreason\r\n$11\r\n"
                                  "undecodable\r\n$6\r\ndetail\r\n$6\r\nbyte 0\r\n$7\r\ntask_id\r\n"
                                  "$0\r\n\r\n$4\r\ntask\r\n$1\r\nt\r\n$4\r\ntime\r\n$13\r\n1"));
    assert_int_equal(keys_of_messages(rig), 1);
}

static void the_quarantine_is_capped(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    static struct outcome claimed;
    rig_close_broker(rig);
    options.dead_max = 100;
    rig_new_broker(rig, &options);
    const struct broker_dead dead = {.reason = STR("undecodable")};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++)
            push_text(rig, QUEUE, 0, "bad");
        claim_into(rig, QUEUE, 200, &claimed);
        for (size_t i = 0; i < claimed.count; i++) {
            struct broker_completion completion = completion_of(&claimed, i);
            completion.dead = &dead;
            assert_int_equal(complete(rig, &completion), 0);
        }
    }
    int64_t kept = server_number(rig, "XLEN " DEAD);
    assert_true(kept >= 100 && kept <= 200); /* Redis trims whole nodes of the stream */
}

static void a_step_that_redis_refuses_does_nothing(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    const struct broker_message follow_up = {.queue = STR("taken"), .bytes = STR("n")};
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "SET taken text");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{}");
    completion.follow_ups = &follow_up;
    completion.follow_up_count = 1;
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_non_null(strstr(outcome.err.text, "WRONGTYPE"));
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-1"), 0);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
}

/* What one key in the way refuses, no other key has had by then: repeating doubles nothing. */
static void of_several_actions_all_are_done_or_none(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    const struct broker_message follow_ups[] = {{.queue = STR("free"), .bytes = STR("n")},
                                                {.queue = STR("taken"), .bytes = STR("n")}};
    const struct broker_dead dead = {.reason = STR("undecodable")};
    struct broker_completion completion;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    static const char *const in_the_way[] = {"taken", DELAYED, DEAD};
    for (size_t i = 0; i < ARRAY_SIZE(in_the_way); i++) {
        struct outcome outcome = {0};
        server_says(rig, "SET %s text", in_the_way[i]);
        completion = completion_of(&claimed, 0);
        completion.result_id = STR("id-1");
        completion.result_document = STR("{}");
        completion.follow_ups = follow_ups;
        completion.follow_up_count = i == 0 ? 2 : 1;
        completion.retry = i == 1 ? STR("again") : STR_NONE;
        completion.retry_due_wall = 1;
        completion.dead = i == 2 ? &dead : NULL;
        assert_int_equal(
            broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome), 0);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, CEL_E_SERVER);
        assert_non_null(strstr(outcome.err.text, "WRONGTYPE"));
        assert_non_null(strstr(outcome.err.text, in_the_way[i]));
        assert_int_equal(server_number(rig, "DEL %s", in_the_way[i]), 1);
        assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
        assert_int_equal(keys_of_messages(rig), 1);
    }
    assert_int_equal(complete(rig, &completion), 0); /* and with nothing in the way it is done */
    assert_int_equal(server_number(rig, "LLEN free"), 1);
    assert_int_equal(server_number(rig, "XLEN " DEAD), 1);
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
}

/* The ledger is for those who look for lost ids; it must not be why one is. */
static void a_ledger_that_is_none_holds_nothing_up(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, first = {0}, second = {0};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    push_text(rig, QUEUE, 0, "three");
    claim_into(rig, QUEUE, 3, &claimed);
    server_says(rig, "SET " LEDGER " text");
    for (int i = 0; i < 3; i++)
        claimed.claimed[i].claim.id = STR("id-1");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{}");
    assert_int_equal(complete(rig, &completion), 0);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-1"), 1);
    assert_int_equal(
        broker_ack(rig->broker, &claimed.claimed[1].claim, in_seconds(5), on_done, &first), 0);
    assert_int_equal(
        broker_ack(rig->broker, &claimed.claimed[2].claim, in_seconds(5), on_done, &second), 0);
    rig_run(rig, &second);
    assert_int_equal(first.status, 0);
    assert_int_equal(second.status, 0);
    assert_int_equal(server_number(rig, "EXISTS " IN_FLIGHT), 0);
    assert_string_equal(server_says(rig, "HGET celeriac:counts:{celery} done"), "$1\r\n3\r\n");
}

/* Who waits finds the document at the next look. */
static void a_document_that_may_not_be_published_is_stored(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    push_text(rig, QUEUE, 0, "one");
    claim_into(rig, QUEUE, 1, &claimed);
    server_says(rig, "ACL SETUSER default resetchannels");
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{}");
    int status = complete(rig, &completion);
    server_says(rig, "ACL SETUSER default allchannels");
    assert_int_equal(status, 0);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-1"), 1);
}

/* The other lists are served, and what they held is handed out, not left in flight. */
static void a_list_that_is_none_does_not_hold_up_the_others(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, 0, "one");
    server_says(rig, "SET celery\x06\x16"
                     "3 text");
    push_text(rig, QUEUE, 6, "two");
    claim_into(rig, QUEUE, 5, &claimed);
    assert_int_equal(claimed.count, 2);
    assert_string_equal(claimed.claimed[1].bytes, "two");
    assert_int_equal(broker_claim(rig->broker, QUEUE, 5, in_seconds(5), on_claim, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_non_null(strstr(outcome.err.text, "WRONGTYPE"));
}

/* Redis refuses what would need memory; what we hold can still be ended, and nothing is lost. */
static void a_full_server_loses_nothing(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, pushed = {0}, given = {0};
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    server_says(rig, "CONFIG SET maxmemory 1");
    assert_int_equal(broker_push(rig->broker, &message, 1, in_seconds(5), NULL, on_done, &pushed),
                     0);
    rig_run(rig, &pushed);
    claim_into(rig, QUEUE, 5, &claimed);
    int64_t in_flight = server_number(rig, "HLEN " IN_FLIGHT);
    assert_int_equal(
        broker_give_back(rig->broker, &claimed.claimed[0].claim, in_seconds(5), on_done, &given),
        0);
    rig_run(rig, &given);
    int parked = park(rig, &claimed.claimed[0].claim, 1);
    int64_t still_in_flight = server_number(rig, "HLEN " IN_FLIGHT);
    struct broker_completion completion = completion_of(&claimed, 0);
    completion.result_id = STR("id-1");
    completion.result_document = STR("{\"status\": \"SUCCESS\"}");
    int completed = complete(rig, &completion);
    server_says(rig, "CONFIG SET maxmemory 0");
    assert_int_equal(pushed.status, CEL_E_SERVER);
    assert_non_null(strstr(pushed.err.text, "OOM"));
    assert_int_equal(claimed.count, 2);
    assert_int_equal(in_flight, 2);
    assert_int_equal(given.status, CEL_E_SERVER);
    assert_int_equal(parked, CEL_E_SERVER);
    assert_int_equal(still_in_flight, 2);
    assert_int_equal(completed, 0);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-1"), 1);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
}

static void the_prefix_stands_before_every_key(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    struct outcome claimed, outcome = {0};
    rig_close_broker(rig);
    options.key_prefix = STR("shop");
    rig_new_broker(rig, &options);
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("f")};
    const struct broker_dead dead = {.reason = STR("r")};
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 3, "two");
    push_text(rig, QUEUE, 3, "three");
    claim_into(rig, QUEUE, 2, &claimed);
    assert_int_equal(server_number(rig, "HLEN shopceleriac:inflight:{celery}:node@host:1"), 2);
    assert_int_equal(park(rig, &claimed.claimed[0].claim, 1), 0);
    struct broker_completion completion = completion_of(&claimed, 1);
    completion.result_id = STR("id");
    completion.result_document = STR("{}");
    completion.dead = &dead;
    assert_int_equal(complete(rig, &completion), 0);
    assert_int_equal(broker_declare(rig->broker, QUEUE, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    outcome = (struct outcome){0};
    assert_int_equal(broker_fire(rig->broker, STR("nightly"), 60 * USEC_PER_SEC, USEC_PER_SEC * 60,
                                 &message, in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    static const char *const keys[] = {
        "shopcelery",
        ("shopcelery\x06\x16"
         "3"),
        "shopceleriac:delayed:{celery}",
        "shopceleriac:dead:{celery}",
        "shop_celery-task-meta-id",
        "shop_kombu.binding.celery",
        "shopceleriac:beat:nightly:60000",
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (server_number(rig, "EXISTS %s", keys[i]) != 1)
            fail_msg("%s is not there", keys[i]);
    }
    assert_int_equal(keys_of_messages(rig), ARRAY_SIZE(keys));
}

static void declaring_leaves_kombus_binding(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    assert_int_equal(broker_declare(rig->broker, STR("slow"), in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(server_says(rig, "SMEMBERS _kombu.binding.slow"),
                        "*1\r\n$12\r\nslow\x06\x16\x06\x16slow\r\n");
}

static void a_slot_is_fired_once(void **state)
{
    struct rig *rig = *state;
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("tick")};
    static const struct {
        usec_t slot;
        int status;
    } firings[] = {{1000000, 0}, {1000000, BROKER_ALREADY_FIRED}, {1010000, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(firings); i++) {
        struct outcome outcome = {0};
        assert_int_equal(broker_fire(rig->broker, STR("every second"), firings[i].slot,
                                     90 * USEC_PER_SEC, &message, in_seconds(5), on_done, &outcome),
                         0);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, firings[i].status);
    }
    assert_int_equal(server_number(rig, "LLEN celery"), 2);
    const char *const words[] = {"PTTL", "celeriac:beat:every second:1000", NULL};
    char reply[64];
    assert_true(redis_server_command(&rig->server, reply, sizeof(reply), words));
    assert_in_range(strtoll(reply + 1, NULL, 10), 80000, 90000);
}

static void queues_are_counted(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed;
    static struct outcome outcome;
    push_text(rig, QUEUE, 0, "one");
    push_text(rig, QUEUE, 0, "two");
    push_text(rig, QUEUE, 0, "three");
    push_text(rig, QUEUE, 9, "four");
    claim_into(rig, QUEUE, 2, &claimed);
    assert_int_equal(park(rig, &claimed.claimed[0].claim, 1), 0);
    server_says(rig, "HSET celeriac:inflight:{celery}:other@host:2 7.0 x");
    server_says(rig, "LPUSH celeriac:staging:{celery}:other@host:2 x");
    server_says(rig, "XADD " DEAD " * message x");
    static const struct str names[] = {{"nothing", 7}, {"celery", 6}};
    outcome = (struct outcome){0};
    assert_int_equal(broker_queues(rig->broker, names, 2, in_seconds(5), on_stats, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.count, 2);
    assert_string_equal(outcome.names[0], "nothing");
    assert_int_equal(outcome.stats[0].waiting + outcome.stats[0].in_flight, 0);
    assert_null(outcome.stats[0].oldest.ptr);
    assert_int_equal(outcome.stats[1].waiting, 2);
    assert_int_equal(outcome.stats[1].in_flight, 2);
    assert_int_equal(outcome.stats[1].staged, 1);
    assert_int_equal(outcome.stats[1].delayed, 1);
    assert_int_equal(outcome.stats[1].dead, 1);
    assert_string_equal(outcome.oldest[1], "three");
}

static void all_queues_are_found_by_binding_and_by_our_keys(void **state)
{
    struct rig *rig = *state;
    static struct outcome outcome;
    static const char *const bound[] = {"zeta", "mail"};
    for (size_t i = 0; i < 2; i++) {
        outcome = (struct outcome){0};
        assert_int_equal(
            broker_declare(rig->broker, str_of(bound[i]), in_seconds(5), on_done, &outcome), 0);
        rig_run(rig, &outcome);
    }
    server_says(rig, "SADD _kombu.binding.celery.pidbox \x06\x16\x06\x16"
                     "celery@h.celery.pidbox");
    server_says(rig, "SADD _kombu.binding.celeryev worker.#\x06\x16\x06\x16"
                     "celeryev.1");
    server_says(rig, "ZADD celeriac:delayed:{alone} 1 m");
    server_says(rig, "LPUSH zeta oldest");
    outcome = (struct outcome){0};
    assert_int_equal(broker_queues(rig->broker, NULL, 0, in_seconds(5), on_stats, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.count, 3);
    assert_string_equal(outcome.names[0], "alone");
    assert_int_equal(outcome.stats[0].delayed, 1);
    assert_string_equal(outcome.names[1], "mail");
    assert_string_equal(outcome.names[2], "zeta");
    assert_string_equal(outcome.oldest[2], "oldest");
    outcome = (struct outcome){0};
    server_says(rig, "FLUSHALL");
    assert_int_equal(broker_queues(rig->broker, NULL, 0, in_seconds(5), on_stats, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.count, 0);
}

static void purging_deletes_what_waits(void **state)
{
    struct rig *rig = *state;
    struct outcome claimed, outcome = {0};
    uint64_t purged = 99;
    push_text(rig, QUEUE, 0, "held");
    claim_into(rig, QUEUE, 1, &claimed);
    push_text(rig, QUEUE, 0, "a");
    push_text(rig, QUEUE, 9, "b");
    server_says(rig, "ZADD " DELAYED " 1 m");
    assert_int_equal(
        broker_purge(rig->broker, QUEUE, false, in_seconds(5), &purged, on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(purged, 2);
    assert_int_equal(server_number(rig, "ZCARD " DELAYED), 1);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
    outcome = (struct outcome){0};
    assert_int_equal(
        broker_purge(rig->broker, QUEUE, true, in_seconds(5), &purged, on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(purged, 1);
    assert_int_equal(keys_of_messages(rig), 1);
}

static void misuse_is_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct broker *broker = rig->broker;
    const struct broker_message no_queue = {.bytes = STR("x")};
    const struct broker_message no_step = {.queue = QUEUE, .step = 4, .bytes = STR("x")};
    const struct broker_claim no_tag = {.queue = QUEUE};
    assert_int_equal(broker_push(broker, &no_queue, 1, in_seconds(5), NULL, on_done, NULL),
                     -EINVAL);
    assert_int_equal(broker_push(broker, &no_step, 1, in_seconds(5), NULL, on_done, NULL), -EINVAL);
    assert_int_equal(broker_push(broker, &no_step, 0, in_seconds(5), NULL, on_done, NULL), -EINVAL);
    assert_int_equal(broker_ack(broker, &no_tag, in_seconds(5), on_done, NULL), -EINVAL);
    assert_int_equal(broker_claim(broker, STR(""), 1, in_seconds(5), on_claim, NULL), -EINVAL);
    assert_int_equal(broker_claim(broker, QUEUE, 0, in_seconds(5), on_claim, NULL), -EINVAL);
    rig_close_broker(rig);
    struct broker_options options = rig_options(rig);
    options.node = STR_NONE;
    rig_new_broker(rig, &options);
    assert_int_equal(broker_claim(rig->broker, QUEUE, 1, in_seconds(5), on_claim, NULL), -EINVAL);
    assert_int_equal(broker_wait(rig->broker, QUEUE, on_done, NULL), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pushed_message_is_an_element_of_kombus_list),
        TEST(a_claim_moves_the_oldest_into_flight),
        TEST(a_claim_of_nothing_has_no_messages),
        TEST(lists_are_claimed_by_priority),
        TEST(queues_do_not_touch_each_other),
        TEST(any_bytes_come_back_as_they_were),
        TEST(acknowledging_ends_the_claim),
        TEST(acknowledging_a_lost_claim_says_so),
        TEST(a_lost_claim_does_not_take_its_neighbours),
        TEST(more_acknowledgements_than_a_batch_all_arrive),
        TEST(completing_stores_publishes_pushes_and_acknowledges),
        TEST(completing_a_lost_claim_writes_nothing),
        TEST(a_success_is_never_overwritten),
        TEST(another_state_is_overwritten),
        TEST(something_else_in_the_results_place_goes),
        TEST(a_retry_without_delay_is_pushed),
        TEST(a_retry_is_parked_until_it_is_due),
        TEST(what_was_acknowledged_is_completed_without_a_claim),
        TEST(what_is_uncertain_is_a_failure_unless_it_is_there),
        TEST(parked_messages_are_served_in_the_order_they_are_due),
        TEST(promotion_comes_in_bounded_helpings),
        TEST(giving_back_puts_it_first_again),
        TEST(burying_keeps_the_message_and_the_reason),
        TEST(the_quarantine_is_capped),
        TEST(a_step_that_redis_refuses_does_nothing),
        TEST(of_several_actions_all_are_done_or_none),
        TEST(a_ledger_that_is_none_holds_nothing_up),
        TEST(a_document_that_may_not_be_published_is_stored),
        TEST(a_list_that_is_none_does_not_hold_up_the_others),
        TEST(a_full_server_loses_nothing),
        TEST(the_prefix_stands_before_every_key),
        TEST(declaring_leaves_kombus_binding),
        TEST(a_slot_is_fired_once),
        TEST(queues_are_counted),
        TEST(all_queues_are_found_by_binding_and_by_our_keys),
        TEST(purging_deletes_what_waits),
        TEST(misuse_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
