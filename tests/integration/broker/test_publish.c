/* Canvases: messages and the chords that begin with them, in one step. */
#include "tests/integration/broker/rig.h"

#define CHORD "celery-taskset-meta-g"

static const struct broker_message messages[] = {
    {.queue = QUEUE, .bytes = STR("one"), .id = STR("1")},
    {.queue = STR("slow"), .step = 6, .bytes = STR("two"), .id = STR("2")},
    {.queue = STR("slow"), .step = 6, .bytes = STR("three"), .id = STR("3")},
};
static const struct plan_chord chords[] = {
    {.group = STR("g"), .size = 3, .saved = STR("{}")},
    {.group = STR("h"), .size = 2},
};

static struct broker_publication all(void)
{
    return (struct broker_publication){
        messages, ARRAY_SIZE(messages), chords, ARRAY_SIZE(chords), {0}};
}

static int
publish(struct rig *rig, struct broker_publication publication, struct broker_pushed *pushed)
{
    struct outcome outcome = {0};
    int r = broker_publish(rig->broker, &publication, in_seconds(30), pushed, on_done, &outcome);
    if (r < 0)
        return r;
    rig_run(rig, &outcome);
    if (outcome.status == CEL_E_SERVER)
        print_message("%s\n", outcome.err.text);
    return outcome.status;
}

static void results_elsewhere(struct rig *rig, const char *result_url)
{
    struct broker_options options = rig_options(rig);
    options.result_url = result_url;
    options.result_ttl = 100 * USEC_PER_SEC;
    rig_close_broker(rig);
    rig_new_broker(rig, &options);
}

static void all_of_it_is_one_step(void **state)
{
    struct rig *rig = *state;
    struct broker_pushed pushed = {0};
    results_elsewhere(rig, NULL);
    assert_int_equal(publish(rig, all(), &pushed), 0);
    assert_int_equal(pushed.sure, 3);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    assert_int_equal(server_number(rig, "LLEN slow\x06\x16"
                                        "6"),
                     2);
    assert_string_equal(server_says(rig, "LRANGE slow\x06\x16"
                                         "6 0 -1"),
                        "*2\r\n$5\r\nthree\r\n$3\r\ntwo\r\n");
    assert_string_equal(server_says(rig, "GET " CHORD ".s"), "$1\r\n3\r\n");
    assert_string_equal(server_says(rig, "GET celery-taskset-meta-h.s"), "$1\r\n2\r\n");
    assert_string_equal(server_says(rig, "GET " CHORD), "$2\r\n{}\r\n");
    assert_int_equal(server_number(rig, "EXISTS celery-taskset-meta-h " CHORD ".t"), 0);
    assert_int_equal(server_number(rig, "TTL " CHORD ".s"), 100);
    assert_string_equal(server_says(rig, "HGET celeriac:counts:{slow} published"), "$1\r\n2\r\n");
}

/* A key that is no list, or no number: nothing is pushed, and no chord opened. */
static void a_key_of_another_type_refuses_all(void **state)
{
    static const char *const spoil[] = {"SET slow\x06\x16"
                                        "6 x",
                                        "LPUSH " CHORD ".s x", "LPUSH celery-taskset-meta-h.t x",
                                        "LPUSH " CHORD " x"};
    struct rig *rig = *state;
    for (size_t i = 0; i < ARRAY_SIZE(spoil); i++) {
        struct broker_pushed pushed = {0};
        server_says(rig, "FLUSHALL");
        server_says(rig, "%s", spoil[i]);
        assert_int_equal(publish(rig, all(), &pushed), CEL_E_SERVER);
        assert_int_equal(pushed.sure + pushed.possible, 0);
        assert_int_equal(server_number(rig, "DBSIZE"), 1);
    }
}

static void what_was_published_once_is_not_published_again(void **state)
{
    struct rig *rig = *state;
    struct broker_publication once = all();
    struct broker_pushed pushed = {0};
    once.promises.once_within = in_seconds(60) - in_seconds(0);
    assert_int_equal(publish(rig, once, &pushed), 0);
    server_says(rig, "DEL " CHORD ".s"); /* it has fired meanwhile */
    assert_int_equal(publish(rig, once, &pushed), 0);
    assert_int_equal(pushed.sure, 3);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    assert_int_equal(server_number(rig, "LLEN slow\x06\x16"
                                        "6"),
                     2);
    assert_int_equal(server_number(rig, "EXISTS " CHORD ".s"), 0);
}

static void chords_may_be_kept_on_another_server(void **state)
{
    struct rig *rig = *state;
    struct broker_pushed pushed = {0};
    char url[256];
    snprintf(url, sizeof(url), "unix://%s?db=2", rig->server.socket);
    results_elsewhere(rig, url);
    assert_int_equal(publish(rig, all(), &pushed), 0);
    assert_int_equal(pushed.sure, 3);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    assert_int_equal(server_number(rig, "EXISTS " CHORD ".s"), 0);
    assert_int_equal(
        server_number(rig, "EVAL redis.call('SELECT',2)return(redis.call('DBSIZE')) 0"), 3);
    /* where they cannot be kept, nothing is pushed */
    server_says(rig, "DEL celery");
    assert_int_equal(server_number(rig, "EVAL redis.call('SELECT',2)return(redis.call('DEL','" CHORD
                                        ".s')+redis.call('LPUSH','" CHORD ".s','x')) 0"),
                     2);
    pushed = (struct broker_pushed){0};
    assert_int_equal(publish(rig, all(), &pushed), CEL_E_SERVER);
    assert_int_equal(pushed.sure + pushed.possible, 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
}

static void without_results_there_are_no_chords(void **state)
{
    struct rig *rig = *state;
    struct broker_publication group = all();
    struct broker_pushed pushed = {0};
    results_elsewhere(rig, "disabled");
    assert_int_equal(publish(rig, all(), &pushed), CEL_E_CONFIG);
    group.chord_count = 0;
    assert_int_equal(publish(rig, group, &pushed), 0);
    assert_int_equal(pushed.sure, 3);
}

static void a_hundred_thousand_messages_are_one_step_too(void **state)
{
    enum { COUNT = 100000 };
    struct rig *rig = *state;
    struct broker_message *many = calloc(COUNT, sizeof(*many));
    char(*ids)[8] = calloc(COUNT, sizeof(*ids));
    struct broker_publication publication = all();
    struct broker_pushed pushed = {0};
    assert_non_null(many);
    assert_non_null(ids);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%zu", i);
        many[i] = (struct broker_message){.queue = QUEUE, .bytes = STR("x"), .id = str_of(ids[i])};
    }
    publication.messages = many;
    publication.count = COUNT;
    publication.promises.once_within = in_seconds(60) - in_seconds(0);
    assert_int_equal(publish(rig, publication, &pushed), 0);
    assert_int_equal(pushed.sure, COUNT);
    assert_int_equal(server_number(rig, "LLEN celery"), COUNT);
    free(many);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it_is_one_step, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_key_of_another_type_refuses_all, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_was_published_once_is_not_published_again, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(chords_may_be_kept_on_another_server, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(without_results_there_are_no_chords, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_hundred_thousand_messages_are_one_step_too, rig_setup,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
