/* Queues that come and go while a worker runs: its claims, waits and leases, against a real server. */
#include "tests/integration/broker/rig.h"

#include "intake/queues.h"

enum { CALLS_MAX = 64 };

struct side {
    struct rig *rig;
    struct credit credit;
    struct presence presence;
    struct promoter promoter;
    struct releaser releaser;
    struct rescuer rescuer;
    struct queues queues;
    bool held, left, stopped, lost;
    size_t taken; /* of `count`: the child has had them */
    struct broker_claim claims[CALLS_MAX];
    char texts[CALLS_MAX][32];
    size_t count;
};

static struct side side;

static void look(void *data, struct credit_view *view)
{
    (void)data;
    *view = (struct credit_view){.idle = 1, .children = 1, .held = side.count - side.taken};
}

static void on_claimed(void *data, const struct broker_claimed *claimed, size_t count)
{
    (void)data;
    for (size_t i = 0; i < count && side.count < CALLS_MAX; i++) {
        side.claims[side.count] = claimed[i].claim;
        snprintf(side.texts[side.count], sizeof(side.texts[0]), "%.*s", STR_ARGS(claimed[i].bytes));
        side.count++;
    }
}

static void give_back(void *data)
{
    (void)data;
}

static void on_first_claim(void *data)
{
    (void)data;
}

static void on_stopped(void *data)
{
    (void)data;
    side.stopped = true;
}

static void on_removed(void *data, struct str queue)
{
    (void)data;
    queues_removed(&side.queues, queue);
}

static void on_lost(void *data)
{
    (void)data;
    side.lost = true;
}

static void on_held(void *data)
{
    (void)data;
    side.held = true;
}

static void on_refused(void *data, struct str queue, const struct cel_error *err)
{
    (void)data, (void)queue, (void)err;
    side.lost = true;
}

static bool is_known(void *data, const struct broker_claim *claim)
{
    (void)data, (void)claim;
    return true;
}

static void on_left(void *data)
{
    (void)data;
    side.left = true;
}

static void on_joined(void *data, struct str queue)
{
    (void)data;
    queues_joined(&side.queues, queue);
}

static bool knows(void *data, struct str task)
{
    (void)data, (void)task;
    return false;
}

static const struct credit_events credit_events = {
    look, on_claimed, give_back, on_first_claim, on_stopped, on_removed, on_lost};
static const struct presence_events presence_events = {on_held,  on_lost, on_refused,
                                                       is_known, on_left, on_joined};

static void spend_until(const bool *flag)
{
    for (int i = 0; i < 1000 && !*flag; i++)
        rig_spend(side.rig, 0.01);
    assert_true(*flag);
}

static void begin(struct rig *rig, enum credit_order order)
{
    const struct rescuer_options rescue = {.lease = 15 * USEC_PER_SEC};
    uv_loop_t *loop = &rig->loop;
    side = (struct side){.rig = rig};
    credit_init(&side.credit, loop, rig->broker, order, &credit_events, NULL);
    promoter_init(&side.promoter, loop, rig->broker);
    releaser_init(&side.releaser, loop, rig->broker, knows, NULL);
    rescuer_init(&side.rescuer, loop, rig->broker, &rescue);
    presence_init(&side.presence, loop, rig->broker, &side.rescuer, STR("node@host:1"),
                  15 * USEC_PER_SEC, &presence_events, NULL);
    const struct queues_parts parts = {rig->broker,    &side.credit,   &side.presence,
                                       &side.promoter, &side.releaser, &side.rescuer};
    queues_init(&side.queues, &parts, &(struct queue_plans){.count = 0});
}

static void add(const char *name, unsigned weight)
{
    assert_int_equal(queues_add(&side.queues, str_of(name), weight, NULL), 0);
}

static void start(void)
{
    queues_start(&side.queues);
    presence_start(&side.presence);
    spend_until(&side.held);
    credit_start(&side.credit);
}

static void end(void)
{
    credit_stop(&side.credit);
    spend_until(&side.stopped);
    presence_leave(&side.presence);
    spend_until(&side.left);
    assert_false(side.lost);
}

/* Also after a failure. */
static int tear_down(void **state)
{
    rig_close_broker(*state);
    credit_deinit(&side.credit);
    promoter_deinit(&side.promoter);
    releaser_deinit(&side.releaser);
    rescuer_deinit(&side.rescuer);
    presence_deinit(&side.presence);
    queues_deinit(&side.queues);
    return rig_teardown(state);
}

static void push(const char *queue, const char *text)
{
    server_says(side.rig, "LPUSH %s %s", queue, text);
}

/* Waits until so many calls were claimed. */
static void expect_claimed(size_t count)
{
    side.taken = count - 1;
    credit_turn(&side.credit);
    for (int i = 0; i < 500 && side.count < count; i++)
        rig_spend(side.rig, 0.01);
    assert_int_equal(side.count, count);
}

static void acknowledge_all(void)
{
    for (size_t i = 0; i < side.count; i++) {
        struct outcome outcome = {0};
        assert_int_equal(
            broker_ack(side.rig->broker, &side.claims[i], in_seconds(5), on_done, &outcome), 0);
        rig_run(side.rig, &outcome);
        assert_int_equal(outcome.status, 0);
    }
    side.count = side.taken = 0;
    credit_turn(&side.credit);
}

static void rest(const char *queue)
{
    for (int i = 0; i < 500; i++) {
        bool is_there = false;
        for (struct list_link *link = side.queues.list.head; link; link = link->next) {
            const struct queue *one = container_of(link, const struct queue, link);
            is_there |= strcmp(one->plan.name, queue) == 0 && one->state == QUEUE_RESTING;
        }
        if (is_there)
            return;
        rig_spend(side.rig, 0.01);
    }
    fail_msg("%s is not at rest", queue);
}

static void a_queue_that_is_added_is_served(void **state)
{
    begin(*state, CREDIT_ROUND_ROBIN);
    add("first", 1);
    start();
    push("late", "one");
    push("first", "two");
    expect_claimed(1);
    assert_string_equal(side.texts[0], "two");
    assert_int_equal(queues_add(&side.queues, STR("late"), 1, NULL), 0);
    expect_claimed(2);
    assert_string_equal(side.texts[1], "one");
    assert_true(str_equal(side.claims[1].queue, STR("late")));
    assert_int_equal(server_number(side.rig, "SCARD _kombu.binding.late"), 1);
    assert_int_equal(server_number(side.rig, "ZCARD celeriac:nodes:{late}"), 1);
    acknowledge_all();
    push("late", "three"); /* by the wait, too */
    expect_claimed(1);
    acknowledge_all();
    assert_int_equal(queues_add(&side.queues, STR("late"), 1, NULL), 1);
    assert_int_equal(queues_add(&side.queues, STR(""), 1, NULL), -EINVAL);
    assert_int_equal(queues_add(&side.queues, STR("a\x06z"), 1, NULL), -EINVAL);
    end();
}

static void a_queue_that_is_cancelled_is_left_alone(void **state)
{
    begin(*state, CREDIT_ROUND_ROBIN);
    add("first", 1);
    add("other", 1);
    start();
    push("other", "running");
    expect_claimed(1);
    assert_int_equal(queues_cancel(&side.queues, STR("other")), 0);
    assert_int_equal(queues_cancel(&side.queues, STR("other")), 1);
    assert_int_equal(queues_cancel(&side.queues, STR("never")), 1);
    rest("other");
    push("other", "waiting");
    push("first", "two");
    expect_claimed(2);
    rig_spend(side.rig, 0.2);
    assert_int_equal(side.count, 2);
    assert_int_equal(server_number(side.rig, "LLEN other"), 1);
    acknowledge_all(); /* what runs there ends as ever */

    assert_int_equal(queues_add(&side.queues, STR("other"), 1, NULL), 0);
    expect_claimed(1);
    assert_string_equal(side.texts[0], "waiting");
    acknowledge_all();
    end();
}

static void a_mind_may_change_on_the_way(void **state)
{
    begin(*state, CREDIT_ROUND_ROBIN);
    add("first", 1);
    start();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(queues_add(&side.queues, STR("other"), 1, NULL), 0);
        assert_int_equal(queues_cancel(&side.queues, STR("other")), 0);
    }
    rest("other");
    push("other", "left");
    rig_spend(side.rig, 0.1);
    assert_int_equal(side.count, 0);
    assert_int_equal(queues_add(&side.queues, STR("other"), 1, NULL), 0);
    assert_int_equal(queues_cancel(&side.queues, STR("other")), 0);
    assert_int_equal(queues_add(&side.queues, STR("other"), 1, NULL), 0);
    expect_claimed(1);
    acknowledge_all();

    struct queue_plans plans = {.count = 0};
    assert_int_equal(queues_cancel(&side.queues, STR("first")), 0);
    queues_keep(&side.queues, &plans);
    assert_int_equal(plans.count, 1);
    assert_string_equal(plans.items[0].name, "other");
    queue_plans_deinit(&plans);
    rest("first");
    end();
}

/* What is claimed first of what waits in three queues, "b5" "a1" "c1", ten each. */
static void claim_in_order(struct rig *rig, enum credit_order order, char *ret_first, size_t count)
{
    static const char *const names[] = {"b", "a", "c"};
    begin(rig, order);
    for (size_t i = 0; i < 3; i++)
        add(names[i], order == CREDIT_ROUND_ROBIN && i == 0 ? 5 : 1);
    for (size_t i = 0; i < 3; i++) {
        for (int n = 0; n < 10; n++)
            push(names[i], names[i]);
    }
    start();
    for (size_t i = 0; i < count; i++) {
        side.taken = i;
        credit_turn(&side.credit);
        expect_claimed(i + 1);
        ret_first[i] = side.texts[i][0];
    }
    ret_first[count] = '\0';
    acknowledge_all();
    end();
}

static void queues_take_turns_by_weight(void **state)
{
    char first[32];
    claim_in_order(*state, CREDIT_ROUND_ROBIN, first, 14);
    assert_string_equal(first, "bbabcbbbbabcbb");
}

static void or_by_name(void **state)
{
    char first[32];
    claim_in_order(*state, CREDIT_SORTED, first, 22);
    assert_string_equal(first, "aaaaaaaaaabbbbbbbbbbcc");
}

static void or_as_they_were_named(void **state)
{
    char first[32];
    claim_in_order(*state, CREDIT_PRIORITY, first, 22);
    assert_string_equal(first, "bbbbbbbbbbaaaaaaaaaacc");
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, rig_setup, tear_down)
    const struct CMUnitTest tests[] = {
        test(a_queue_that_is_added_is_served),
        test(a_queue_that_is_cancelled_is_left_alone),
        test(a_mind_may_change_on_the_way),
        test(queues_take_turns_by_weight),
        test(or_by_name),
        test(or_as_they_were_named),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
