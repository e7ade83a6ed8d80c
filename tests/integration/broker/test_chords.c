/* Chords: the step that ends a member keeps its part, and is not made when the chord would be complete. */
#include "tests/integration/broker/rig.h"

#define KEY       "celery-taskset-meta-g"
#define IN_FLIGHT "celeriac:inflight:{celery}:node@host:1"
#define DONE      "{\"status\": \"SUCCESS\", \"result\": 1}"

/* What on_joined was told of the first chord. */
static struct seen {
    size_t chords, parts, leaves;
    char group[32], part[4][64], saved[128], leaf[4][64];
    bool has_leaf[4];
} seen;

static void put(char *to, size_t size, struct str text)
{
    snprintf(to, size, STR_FORMAT, STR_ARGS(text));
}

static void on_joined(void *data, const struct plan_joined *joined, size_t count)
{
    (void)data;
    seen =
        (struct seen){.chords = count, .parts = joined->part_count, .leaves = joined->leaf_count};
    put(seen.group, sizeof(seen.group), joined->group);
    put(seen.saved, sizeof(seen.saved), joined->saved);
    for (size_t i = 0; i < joined->part_count && i < 4; i++)
        put(seen.part[i], sizeof(seen.part[i]), joined->parts[i]);
    for (size_t i = 0; i < joined->leaf_count && i < 4; i++) {
        put(seen.leaf[i], sizeof(seen.leaf[i]), joined->leaves[i].text);
        seen.has_leaf[i] = joined->leaves[i].text.ptr != NULL;
    }
}

/* Another member with a claim of its own. */
static struct broker_completion member(struct rig *rig, const char *id)
{
    static struct outcome claimed;
    push_text(rig, QUEUE, 0, id);
    claim_into(rig, QUEUE, 1, &claimed);
    assert_int_equal(claimed.count, 1);
    return (struct broker_completion){.claim = claimed.claimed[0].claim,
                                      .result_id = str_of(id),
                                      .result_document = STR(DONE),
                                      .on_joined = on_joined};
}

static int complete(struct rig *rig, const struct broker_completion *completion)
{
    struct outcome outcome = {0};
    seen = (struct seen){.chords = 0};
    assert_int_equal(broker_complete(rig->broker, completion, in_seconds(5), on_done, &outcome), 0);
    rig_run(rig, &outcome);
    if (outcome.status == CEL_E_SERVER)
        print_message("%s\n", outcome.err.text);
    return outcome.status;
}

static void set_part(struct broker_completion *completion, const struct plan_part *part)
{
    completion->results.parts = part;
    completion->results.part_count = 1;
}

static const struct plan_part part_a = {STR("g"), 0, STR("[1, \"a\", 1]"), STR("[1, \"a\",")};
static const struct plan_part part_b = {STR("g"), 1, STR("[1, \"b\", 2]"), STR("[1, \"b\",")};
static const struct plan_closed closed[] = {{STR("g"), false}};
static const struct broker_message body = {.queue = QUEUE, .bytes = STR("body")};

static void close_chord(struct broker_completion *completion)
{
    completion->results.closed = closed;
    completion->results.closed_count = 1;
    completion->follow_ups = &body;
    completion->follow_up_count = 1;
}

/* Two members, and the body with the second. */
static void fire(struct rig *rig)
{
    struct broker_completion first = member(rig, "b"), last = member(rig, "a");
    set_part(&first, &part_b);
    assert_int_equal(complete(rig, &first), 0);
    assert_int_equal(seen.chords, 0);
    set_part(&last, &part_a);
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    assert_int_equal(seen.chords, 1);
    assert_string_equal(seen.group, "g");
    assert_int_equal(seen.parts, 2);
    assert_string_equal(seen.part[0], "[1, \"a\", 1]");
    assert_string_equal(seen.part[1], "[1, \"b\", 2]");
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1); /* nothing was done */
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
    close_chord(&last);
    assert_int_equal(complete(rig, &last), 0);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
}

static void the_last_part_fires_in_its_own_step(void **state)
{
    struct rig *rig = *state;
    server_says(rig, "SET " KEY ".s 2");
    fire(rig);
    assert_int_equal(server_number(rig, "EXISTS " KEY ".j " KEY ".t " KEY ".s"), 0);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-a celery-task-meta-b"), 2);
}

static void with_results_elsewhere_too(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    options.result_url = url;
    rig_close_broker(rig);
    rig_new_broker(rig, &options);
    assert_int_equal(server_number(rig, "EVAL redis.call('SELECT',2)return(redis.call('SET','" KEY
                                        ".s',2).ok=='OK')and(1) 0"),
                     1);
    fire(rig);
    assert_int_equal(
        server_number(rig, "EVAL redis.call('SELECT',2)return(redis.call('DBSIZE')) 0"),
        2); /* the two documents */
}

static void who_comes_after_another_does_nothing(void **state)
{
    struct rig *rig = *state;
    struct broker_completion last = member(rig, "a");
    server_says(rig, "SET " KEY ".s 1");
    set_part(&last, &part_a);
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    close_chord(&last);
    server_says(rig, "DEL " KEY ".s"); /* by somebody else, who was faster */
    assert_int_equal(complete(rig, &last), BROKER_E_CLOSED);
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
    last.follow_up_count = last.results.closed_count = 0;
    assert_int_equal(complete(rig, &last), 0);
}

static void a_member_counts_once_whatever_it_says(void **state)
{
    struct rig *rig = *state;
    static const struct plan_part again = {STR("g"), 1, STR("[1, \"b\", 3]"), STR("[1, \"b\",")};
    struct broker_completion first = member(rig, "b"), second = member(rig, "b");
    server_says(rig, "SET " KEY ".s 2");
    set_part(&first, &part_b);
    assert_int_equal(complete(rig, &first), 0);
    set_part(&second, &again); /* delivered again, and it came to something else */
    assert_int_equal(complete(rig, &second), 0);
    assert_int_equal(server_number(rig, "ZCARD " KEY ".j"), 1);
    struct broker_completion last = member(rig, "a");
    set_part(&last, &part_a);
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    assert_string_equal(seen.part[1], "[1, \"b\", 3]");
}

static void a_chord_that_grows_waits_for_more(void **state)
{
    struct rig *rig = *state;
    static const struct plan_chord growth[] = {{STR("g"), 0, 1, STR_NONE}};
    static const struct plan_part added = {STR("g"), PLAN_NO_INDEX, STR("[1, \"c\", 9]"),
                                           STR("[1, \"c\",")};
    struct broker_completion first = member(rig, "a");
    server_says(rig, "SET " KEY ".s 1");
    set_part(&first, &part_a);
    first.results.chords = growth;
    first.results.chord_count = 1;
    assert_int_equal(complete(rig, &first), 0);
    assert_string_equal(server_says(rig, "GET " KEY ".t"), "$1\r\n1\r\n");
    struct broker_completion last = member(rig, "c");
    set_part(&last, &added);
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    assert_string_equal(seen.part[0], "[1, \"a\", 1]");
    assert_string_equal(seen.part[1], "[1, \"c\", 9]");
}

static void a_chord_begins_with_its_size(void **state)
{
    struct rig *rig = *state;
    static const struct plan_chord begun[] = {{STR("g"), 7, 0, STR("{\"result\": []}")}};
    struct broker_completion completion = member(rig, "a");
    completion.results.chords = begun;
    completion.results.chord_count = 1;
    assert_int_equal(complete(rig, &completion), 0);
    assert_string_equal(server_says(rig, "GET " KEY ".s"), "$1\r\n7\r\n");
    assert_int_equal(server_number(rig, "TTL " KEY ".s"), 3600);
    assert_int_equal(server_number(rig, "TTL " KEY), 3600);
}

static void a_failed_chord_leaves_its_parts(void **state)
{
    struct rig *rig = *state;
    static const struct plan_closed failed[] = {{STR("g"), true}};
    static const struct plan_document documents[] = {
        {STR("later"), STR("{\"status\": \"FAILURE\"}")}};
    struct broker_completion last = member(rig, "a");
    server_says(rig, "SET " KEY ".s 1");
    set_part(&last, &part_a);
    last.results.closed = failed;
    last.results.closed_count = 1;
    last.results.documents = documents;
    last.results.document_count = 1;
    assert_int_equal(complete(rig, &last), 0);
    assert_int_equal(server_number(rig, "ZCARD " KEY ".j"), 1);
    assert_int_equal(server_number(rig, "EXISTS " KEY ".s"), 0);
    assert_int_equal(server_number(rig, "EXISTS celery-task-meta-later"), 1);
}

static void a_nested_header_is_read_with_its_results(void **state)
{
    struct rig *rig = *state;
    struct broker_completion last = member(rig, "a");
    server_says(rig, "SET " KEY ".s 1");
    server_says(rig, "SET " KEY
                     " {\"result\":[[\"g\",null],[[[\"x\",null],null],[[\"y\",null],null]]]}");
    server_says(rig, "SET celery-task-meta-y {}");
    set_part(&last, &part_a);
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    assert_true(strlen(seen.saved) > 10);
    assert_int_equal(seen.leaves, 2);
    assert_false(seen.has_leaf[0]);
    assert_string_equal(seen.leaf[1], "{}");
}

static void a_key_of_another_type_is_named(void **state)
{
    struct rig *rig = *state;
    struct broker_completion completion = member(rig, "a");
    struct outcome outcome = {0};
    server_says(rig, "RPUSH " KEY ".j x");
    set_part(&completion, &part_a);
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_non_null(strstr(outcome.err.text, "WRONGTYPE " KEY ".j is a list and no zset"));
    assert_int_equal(server_number(rig, "HLEN " IN_FLIGHT), 1);
}

/* Acknowledged before it ran: the part is kept all the same. */
static void without_a_claim_it_counts_as_well(void **state)
{
    struct rig *rig = *state;
    struct broker_completion last = member(rig, "a");
    server_says(rig, "SET " KEY ".s 1");
    set_part(&last, &part_a);
    last.claim.tag = 0;
    assert_int_equal(complete(rig, &last), BROKER_E_JOINED);
    close_chord(&last);
    assert_int_equal(complete(rig, &last), 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_part_fires_in_its_own_step),  TEST(with_results_elsewhere_too),
        TEST(who_comes_after_another_does_nothing), TEST(a_member_counts_once_whatever_it_says),
        TEST(a_chord_that_grows_waits_for_more),    TEST(a_chord_begins_with_its_size),
        TEST(a_failed_chord_leaves_its_parts),      TEST(a_nested_header_is_read_with_its_results),
        TEST(a_key_of_another_type_is_named),       TEST(without_a_claim_it_counts_as_well),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
