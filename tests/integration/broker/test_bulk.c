/* Many and large messages, and memory that runs short. */
#include "tests/integration/broker/rig.h"

#include "core/mem.h"

static void a_hundred_thousand_messages_arrive_in_order(void **state)
{
    enum { COUNT = 100000, SIZE = 600 };
    struct rig *rig = *state;
    struct outcome outcome = {0};
    size_t pushed = 0;
    char *bytes = calloc(COUNT, SIZE);
    struct broker_message *messages = calloc(COUNT, sizeof(*messages));
    assert_true(bytes && messages);
    for (size_t i = 0; i < COUNT; i++) {
        memset(bytes + i * SIZE, 'x', SIZE);
        snprintf(bytes + i * SIZE, SIZE, "%zu", i);
        messages[i] =
            (struct broker_message){.queue = QUEUE, .bytes = str_n(bytes + i * SIZE, SIZE)};
    }
    assert_int_equal(
        broker_push(rig->broker, messages, COUNT, in_seconds(60), &pushed, on_done, &outcome), 0);
    free(messages); /* the broker has its copy */
    free(bytes);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(pushed, COUNT);
    assert_int_equal(server_number(rig, "LLEN celery"), COUNT);
    size_t next = 0;
    while (next < COUNT) {
        static struct outcome claimed, acked;
        claim_into(rig, QUEUE, 256, &claimed);
        assert_true(claimed.count > 0);
        for (size_t i = 0; i < claimed.count; i++) {
            assert_int_equal(atoi(claimed.claimed[i].bytes), next);
            assert_int_equal(claimed.claimed[i].len, SIZE);
            next++;
            assert_int_equal(
                broker_ack(rig->broker, &claimed.claimed[i].claim, in_seconds(20), on_done, &acked),
                0);
        }
    }
    wait_for_number(rig, 0, "HLEN celeriac:inflight:{celery}:node@host:1");
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
}

static void mixed_queues_keep_their_order(void **state)
{
    enum { COUNT = 1000 };
    struct rig *rig = *state;
    struct outcome outcome = {0};
    static struct broker_message messages[COUNT];
    static char texts[COUNT][16];
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%u", i);
        messages[i] = (struct broker_message){
            .queue = i % 3 ? QUEUE : STR("mail"), .step = i % 5 ? 0 : 6, .bytes = str_of(texts[i])};
    }
    assert_int_equal(
        broker_push(rig->broker, messages, COUNT, in_seconds(20), NULL, on_done, &outcome), 0);
    rig_run(rig, &outcome);
    static const struct str queues[] = {{"mail", 4}, {"celery", 6}};
    int total = 0;
    for (size_t q = 0; q < 2; q++) {
        int last[2] = {-1, -1};
        static struct outcome claimed;
        do {
            claim_into(rig, queues[q], 256, &claimed);
            for (size_t i = 0; i < claimed.count; i++) {
                int *of_step = &last[claimed.claimed[i].claim.step == 6];
                assert_true(atoi(claimed.claimed[i].bytes) > *of_step);
                *of_step = atoi(claimed.claimed[i].bytes);
                total++;
            }
        } while (claimed.count);
    }
    assert_int_equal(total, COUNT);
}

static void what_is_known_to_be_pushed_is_counted(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    size_t pushed = 99;
    server_says(rig, "SET taken text");
    const struct broker_message messages[] = {
        {.queue = QUEUE, .bytes = STR("a")},
        {.queue = QUEUE, .bytes = STR("b")},
        {.queue = STR("taken"), .bytes = STR("c")},
        {.queue = QUEUE, .bytes = STR("d")},
    };
    assert_int_equal(
        broker_push(rig->broker, messages, 4, in_seconds(5), &pushed, on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_int_equal(pushed, 2);
}

static void large_messages_pass(void **state)
{
    enum { SIZE = 40 * 1024 * 1024 };
    struct rig *rig = *state;
    struct outcome outcome = {0}, claimed;
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    memset(bytes, 'y', SIZE);
    const struct broker_message messages[] = {{.queue = QUEUE, .bytes = str_n(bytes, SIZE)},
                                              {.queue = QUEUE, .bytes = str_n(bytes, SIZE)},
                                              {.queue = QUEUE, .bytes = STR("small")}};
    assert_int_equal(broker_push(rig->broker, messages, 3, in_seconds(20), NULL, on_done, &outcome),
                     0);
    free(bytes);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    claim_into(rig, QUEUE, 10, &claimed);
    assert_int_equal(claimed.count, 3);
    assert_int_equal(claimed.claimed[1].len, SIZE);
    assert_string_equal(claimed.claimed[2].bytes, "small");
    server_says(rig, "FLUSHALL");
}

static bool is_any(struct str document)
{
    return document.len > 0;
}

/* The whole way of a message with the n-th allocation failing; true when nobody was told. */
static bool go_the_way(struct rig *rig, size_t n)
{
    struct outcome outcome = {0};
    struct cel_error err;
    struct broker *broker = NULL;
    const struct broker_options options = rig_options(rig);
    const struct broker_message message = {.queue = QUEUE, .bytes = STR("x")};
    const struct broker_claim claim = {.queue = QUEUE, .tag = 1};
    const struct broker_completion completion = {
        .claim = claim, .result_id = STR("a"), .result_document = STR("{}")};
    int status;
    mem_fail_after(n);
    status = broker_new(&rig->loop, &options, &broker, &err);
    if (status) {
        assert_int_equal(status, -ENOMEM);
        return false;
    }
    rig->broker = broker;
    bool is_good = true;
    usec_t soon = in_seconds(5);
    for (int step = 0; step < 11; step++) {
        outcome = (struct outcome){0};
        switch (step) {
        case 0:
            status = broker_push(broker, &message, 1, soon, NULL, on_done, &outcome);
            break;
        case 1:
            status = broker_claim(broker, QUEUE, 4, soon, on_claim, &outcome);
            break;
        case 2:
            status = broker_complete(broker, &completion, soon, on_done, &outcome);
            break;
        case 3:
            status = broker_ack(broker, &claim, soon, on_done, &outcome);
            break;
        case 4:
            status = broker_park(broker, &claim, 1, soon, on_done, &outcome);
            break;
        case 5:
            status = broker_promote(broker, QUEUE, 1, soon, on_promote, &outcome);
            break;
        case 6:
            status =
                broker_await_result(broker, STR("a"), is_any, in_seconds(0.1), on_result, &outcome);
            break;
        case 7:
            status = broker_queues(broker, NULL, 0, soon, on_stats, &outcome);
            break;
        case 8:
            status = broker_get_result(broker, STR("a"), soon, on_result, &outcome);
            break;
        case 9:
            status = broker_wait(broker, QUEUE, on_done, &outcome);
            if (!status)
                broker_wait_cancel(broker, QUEUE);
            break;
        default:
            status = broker_give_back(broker, &claim, soon, on_done, &outcome);
            break;
        }
        if (!status) {
            rig_run(rig, &outcome);
            status = outcome.status;
        }
        is_good = is_good && status != -ENOMEM && status != CEL_E_UNCERTAIN;
    }
    rig_close_broker(rig);
    return is_good;
}

static void short_memory_is_an_error_and_nothing_else(void **state)
{
    enum { FAILURES_MAX = 500, GOOD_IN_A_ROW = 50 };
    struct rig *rig = *state;
    int good = 0, bad = 0;
    rig_close_broker(rig);
    for (size_t n = 1; n < FAILURES_MAX && good < GOOD_IN_A_ROW; n++) {
        server_says(rig, "FLUSHALL");
        bool is_good = go_the_way(rig, n);
        good = is_good ? good + 1 : 0;
        bad += !is_good;
    }
    assert_true(bad > 20);
    assert_int_equal(good, GOOD_IN_A_ROW);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hundred_thousand_messages_arrive_in_order), TEST(mixed_queues_keep_their_order),
        TEST(what_is_known_to_be_pushed_is_counted),       TEST(large_messages_pass),
        TEST(short_memory_is_an_error_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
