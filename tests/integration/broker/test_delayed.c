/* The delayed set by hand: looking at it, running now, cancelling. */
#include "tests/integration/broker/rig.h"

#define DELAYED "celeriac:delayed:{celery}"
#define COUNTS  "celeriac:counts:{celery}"

enum { SHOWN_MAX = 4096 };

struct shown {
    struct outcome outcome;
    size_t count, parts;
    char members[SHOWN_MAX][64], messages[SHOWN_MAX][64];
    usec_t due[SHOWN_MAX];
    char cursor[256];
};
static struct shown shown;

static void copy(char *into, size_t size, struct str text)
{
    snprintf(into, size, STR_FORMAT, STR_ARGS(text));
}

static void on_part(void *data,
                    int status,
                    const struct broker_delayed *delayed,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    (void)data;
    on_done(&shown.outcome, status, err);
    copy(shown.cursor, sizeof(shown.cursor), cursor);
    shown.parts++;
    for (size_t i = 0; i < count && shown.count < SHOWN_MAX; i++, shown.count++) {
        copy(shown.members[shown.count], 64, delayed[i].member);
        copy(shown.messages[shown.count], 64, delayed[i].message);
        shown.due[shown.count] = delayed[i].due_wall;
    }
}

static void show_part(struct rig *rig, const struct broker_delayed_range *range)
{
    shown.outcome = (struct outcome){0};
    assert_int_equal(broker_list_delayed(rig->broker, QUEUE, str_of(shown.cursor), range,
                                         in_seconds(5), on_part, NULL),
                     0);
    rig_run(rig, &shown.outcome);
    assert_int_equal(shown.outcome.status, 0);
}

static const struct broker_delayed_range everything = {.to_wall = USEC_NEVER};

static void show(struct rig *rig, const struct broker_delayed_range *range)
{
    shown = (struct shown){.count = 0};
    do
        show_part(rig, range);
    while (*shown.cursor);
}

static void park(struct rig *rig, unsigned step, const char *text, usec_t due_wall)
{
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, step, text);
    claim_into(rig, QUEUE, 1, &claimed);
    assert_int_equal(broker_park(rig->broker, &claimed.claimed[0].claim, due_wall, in_seconds(5),
                                 on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

/* Members n/1.0 to n/<count>.0, all due at the same moment. */
static void park_many_at_once(struct rig *rig, int count)
{
    for (int i = 1; i <= count; i++) {
        char member[64];
        snprintf(member, sizeof(member), "n/%d.0\nm%d", i, i);
        server_says(rig, "ZADD " DELAYED " 5000 %s", member);
    }
}

static int end_delayed(struct rig *rig,
                       const struct broker_delayed_choice *choices,
                       size_t count,
                       bool are_cancelled)
{
    struct outcome outcome = {0};
    uint64_t ended = 99;
    const struct broker_delayed_end end = {.choices = choices,
                                           .count = count,
                                           .are_cancelled = are_cancelled,
                                           .result_ttl = 3600 * USEC_PER_SEC};
    assert_int_equal(
        broker_end_delayed(rig->broker, QUEUE, &end, in_seconds(5), &ended, on_done, &outcome), 0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    return (int)ended;
}

static void assert_counts_add_up(struct rig *rig)
{
    struct outcome looked = {0};
    assert_int_equal(broker_queues(rig->broker, &QUEUE, 1, in_seconds(5), on_stats, &looked), 0);
    rig_run(rig, &looked);
    const struct broker_queue_stats *stats = &looked.stats[0];
    const struct broker_counts *counts = &stats->counts;
    assert_int_equal(counts->claimed - counts->returned,
                     stats->in_flight + stats->delayed + counts->cancelled);
    assert_int_equal(counts->published + counts->returned - counts->claimed, stats->waiting);
}

static void what_is_due_first_is_shown_first(void **state)
{
    struct rig *rig = *state;
    park(rig, 0, "late", 9000 * USEC_PER_SEC);
    park(rig, 3, "soon", 1000 * USEC_PER_SEC);
    show(rig, &everything);
    assert_int_equal(shown.count, 2);
    assert_string_equal(shown.messages[0], "soon");
    assert_int_equal(shown.due[0], 1000 * USEC_PER_SEC);
    assert_string_equal(shown.messages[1], "late");
    assert_string_equal(shown.members[1], "node@host:1/1.0\nlate");
}

static void a_range_and_a_text_choose(void **state)
{
    struct rig *rig = *state;
    for (usec_t i = 1; i <= 5; i++)
        park(rig, 0, i % 2 ? "odd" : "even", i * USEC_PER_SEC);
    struct broker_delayed_range range = {.from_wall = 2 * USEC_PER_SEC,
                                         .to_wall = 4 * USEC_PER_SEC};
    show(rig, &range);
    assert_int_equal(shown.count, 3);
    range.holding = STR("odd");
    show(rig, &range);
    assert_int_equal(shown.count, 1);
    assert_int_equal(shown.due[0], 3 * USEC_PER_SEC);
    range = (struct broker_delayed_range){.from_wall = 6 * USEC_PER_SEC, .to_wall = USEC_NEVER};
    show(rig, &range);
    assert_int_equal(shown.count, 0);
}

/* The cursor must find its place again although its own member, and others, are gone. */
static void equals_are_shown_once_while_others_go(void **state)
{
    struct rig *rig = *state;
    static bool seen[2501];
    park_many_at_once(rig, 2500);
    shown = (struct shown){.count = 0};
    do {
        size_t before = shown.count;
        show_part(rig, &everything);
        for (size_t i = before; i < shown.count; i += 2)
            server_says(rig, "ZREM " DELAYED " %s", shown.members[i]);
        server_says(rig, "ZREM " DELAYED " %s", shown.members[shown.count - 1]);
    } while (*shown.cursor);
    assert_int_equal(shown.count, 2500);
    assert_int_equal(shown.parts, 7); /* of 400 at most */
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < shown.count; i++) {
        int number = atoi(shown.messages[i] + 1);
        assert_false(seen[number]);
        seen[number] = true;
    }
}

static void what_comes_later_than_the_latest_is_not_chased(void **state)
{
    struct rig *rig = *state;
    park_many_at_once(rig, 1500);
    shown = (struct shown){.count = 0};
    show_part(rig, &everything);
    assert_true(*shown.cursor);
    server_says(rig, "ZADD " DELAYED " 6000 again");
    while (*shown.cursor)
        show_part(rig, &everything);
    assert_int_equal(shown.count, 1500);
}

static void foreign_members_are_shown_as_they_are(void **state)
{
    struct rig *rig = *state;
    server_says(rig, "ZADD " DELAYED " -1.5 no-head");
    show(rig, &everything);
    assert_string_equal(shown.messages[0], "no-head");
    assert_string_equal(shown.members[0], "no-head");
    assert_int_equal(shown.due[0], 0);
}

static void run_now_goes_to_the_serving_end(void **state)
{
    struct rig *rig = *state;
    park(rig, 6, "one", 9000 * USEC_PER_SEC);
    park(rig, 6, "two", 8000 * USEC_PER_SEC);
    push_text(rig, QUEUE, 6, "fresh");
    const struct broker_delayed_choice choices[] = {
        {.member = STR("node@host:1/1.6\none"), .bytes = STR("ONE")},
        {.member = STR("node@host:1/7.6\ngone"), .bytes = STR("GONE")},
        {.member = STR("node@host:1/2.6\ntwo"), .bytes = STR("TWO")},
    };
    assert_int_equal(end_delayed(rig, choices, 3, false), 2);
    assert_int_equal(end_delayed(rig, choices, 3, false), 0);
    assert_string_equal(server_says(rig, "LRANGE celery\x06\x16"
                                         "6 0 -1"),
                        "*3\r\n$5\r\nfresh\r\n$3\r\nTWO\r\n$3\r\nONE\r\n");
    assert_int_equal(server_number(rig, "EXISTS " DELAYED), 0);
    assert_counts_add_up(rig);
}

static const struct broker_delayed_choice to_cancel[] = {
    {.member = STR("node@host:1/1.0\none"),
     .result_id = STR("id-1"),
     .result_document = STR("{\"status\": \"REVOKED\"}")},
    {.member = STR("node@host:1/2.0\ntwo")},
    {.member = STR("node@host:1/7.0\ngone"),
     .result_id = STR("id-7"),
     .result_document = STR("{}")},
};

struct promoted {
    struct outcome outcome;
    size_t moved;
    usec_t next;
    bool refused;
};

static void
on_promoted(void *data, int status, size_t moved, usec_t next_due_wall, const struct cel_error *err)
{
    struct promoted *promoted = data;
    promoted->moved = moved;
    promoted->next = next_due_wall;
    promoted->refused = err && strstr(err->text, "WRONGTYPE celery\x06\x16"
                                                 "6");
    on_done(&promoted->outcome, status, err);
}

static struct promoted promote(struct rig *rig, usec_t now_wall)
{
    struct promoted promoted = {.moved = 0};
    assert_int_equal(
        broker_promote(rig->broker, QUEUE, now_wall, in_seconds(5), on_promoted, &promoted), 0);
    rig_run(rig, &promoted.outcome);
    assert_int_equal(promoted.outcome.status, 0);
    return promoted;
}

static void a_list_that_is_none_keeps_its_own_and_no_others(void **state)
{
    struct rig *rig = *state;
    server_says(rig, "SET celery\x06\x16"
                     "6 text");
    for (int i = 0; i < 300; i++)
        server_says(rig, "ZADD " DELAYED " %d node/%d.6\nbad%d", 1000 + i, i + 1, i);
    server_says(rig, "ZADD " DELAYED
                     " 2000 node/400.0\nfirst 2001 node/401.0\nsecond 9000 node/402.0\nlater");
    struct promoted promoted = promote(rig, 3000 * USEC_PER_MSEC);
    assert_int_equal(promoted.moved, 2);
    assert_true(promoted.refused);
    assert_int_equal(promoted.next, 9000 * USEC_PER_MSEC);
    assert_string_equal(server_says(rig, "LINDEX celery -1"), "$5\r\nfirst\r\n");
    assert_string_equal(server_says(rig, "LINDEX celery 0"), "$6\r\nsecond\r\n");
    assert_int_equal(server_number(rig, "ZCARD " DELAYED), 301);
    server_says(rig, "DEL celery\x06\x16"
                     "6");
    promoted = promote(rig, 3000 * USEC_PER_MSEC);
    assert_int_equal(promoted.moved, 256);
    assert_false(promoted.refused);
    assert_int_equal(promote(rig, 3000 * USEC_PER_MSEC).moved, 44);
    assert_int_equal(server_number(rig, "ZCARD " DELAYED), 1);
}

static void a_cancelled_one_leaves_its_result_alone(void **state)
{
    struct rig *rig = *state;
    park(rig, 0, "one", 9000 * USEC_PER_SEC);
    park(rig, 0, "two", 9000 * USEC_PER_SEC);
    assert_int_equal(end_delayed(rig, to_cancel, 3, true), 2);
    assert_string_equal(server_says(rig, "GET celery-task-meta-id-1"),
                        "$21\r\n{\"status\": \"REVOKED\"}\r\n");
    assert_int_equal(server_number(rig, "TTL celery-task-meta-id-1"), 3600);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-id-7"), 0);
    assert_string_equal(server_says(rig, "HGET " COUNTS " cancelled"), "$1\r\n2\r\n");
    assert_counts_add_up(rig);
    assert_int_equal(keys_of_messages(rig), 1);
}

static void what_is_in_the_way_of_a_cancelled_one_holds_nothing_up(void **state)
{
    struct rig *rig = *state;
    park(rig, 0, "one", 9000 * USEC_PER_SEC);
    park(rig, 0, "two", 9000 * USEC_PER_SEC);
    server_says(rig, "SET celeriac:ledger:{celery} text");
    server_says(rig, "RPUSH celery-task-meta-id-1 text");
    assert_int_equal(end_delayed(rig, to_cancel, 3, true), 2);
    assert_string_equal(server_says(rig, "GET celery-task-meta-id-1"),
                        "$21\r\n{\"status\": \"REVOKED\"}\r\n");
    assert_int_equal(server_number(rig, "EXISTS " DELAYED), 0);
    assert_counts_add_up(rig);
}

static void results_elsewhere_are_stored_there(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    char url[512];
    park(rig, 0, "one", 9000 * USEC_PER_SEC);
    rig_close_broker(rig);
    snprintf(url, sizeof(url), "%s?virtual_host=1", rig->server.url);
    options.result_url = url;
    rig_new_broker(rig, &options);
    assert_int_equal(end_delayed(rig, to_cancel, 3, true), 1);
    assert_int_equal(keys_of_messages(rig), 0);
    rig_close_broker(rig);
    options.result_url = NULL;
    options.url = url;
    rig_new_broker(rig, &options);
    struct outcome outcome = {0};
    assert_int_equal(
        broker_get_result(rig->broker, STR("id-1"), in_seconds(5), on_result, &outcome), 0);
    rig_run(rig, &outcome);
    assert_string_equal(outcome.document, "{\"status\": \"REVOKED\"}");
}

static void without_results_none_is_stored(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    park(rig, 0, "one", 9000 * USEC_PER_SEC);
    rig_close_broker(rig);
    options.result_url = "disabled";
    rig_new_broker(rig, &options);
    assert_int_equal(end_delayed(rig, to_cancel, 3, true), 1);
    assert_int_equal(keys_of_messages(rig), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_due_first_is_shown_first),
        TEST(a_range_and_a_text_choose),
        TEST(equals_are_shown_once_while_others_go),
        TEST(what_comes_later_than_the_latest_is_not_chased),
        TEST(foreign_members_are_shown_as_they_are),
        TEST(run_now_goes_to_the_serving_end),
        TEST(a_list_that_is_none_keeps_its_own_and_no_others),
        TEST(a_cancelled_one_leaves_its_result_alone),
        TEST(what_is_in_the_way_of_a_cancelled_one_holds_nothing_up),
        TEST(results_elsewhere_are_stored_there),
        TEST(without_results_none_is_stored),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
