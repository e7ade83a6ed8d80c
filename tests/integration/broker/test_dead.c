/* Quarantine: how messages come there, are shown, go back and are dropped; what is counted. */
#include "tests/integration/broker/rig.h"

#define DEAD   "celeriac:dead:{celery}"
#define COUNTS "celeriac:counts:{celery}"
#define STEP_6                                                                                     \
    "celery\x06\x16"                                                                               \
    "6"

enum { SHOWN_MAX = 512 };

/* All parts of a list, one behind the other. */
struct shown {
    struct outcome outcome;
    size_t count, parts;
    char entries[SHOWN_MAX][32], reasons[SHOWN_MAX][32], messages[SHOWN_MAX][64];
    struct broker_dead_entry last; /* numbers only; its texts are gone */
    char cursor[128];
};

static void copy(char *into, size_t size, struct str text)
{
    snprintf(into, size, STR_FORMAT, STR_ARGS(text));
}

static void on_part(void *data,
                    int status,
                    const struct broker_dead_entry *entries,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    struct shown *shown = data;
    on_done(&shown->outcome, status, err);
    copy(shown->cursor, sizeof(shown->cursor), cursor);
    shown->parts++;
    for (size_t i = 0; i < count && shown->count < SHOWN_MAX; i++, shown->count++) {
        copy(shown->entries[shown->count], 32, entries[i].entry);
        copy(shown->reasons[shown->count], 32, entries[i].dead.reason);
        copy(shown->messages[shown->count], 64, entries[i].message);
        shown->last = entries[i];
    }
}

static void show_part(struct rig *rig, bool with_messages, struct shown *shown)
{
    shown->outcome = (struct outcome){0};
    assert_int_equal(broker_list_dead(rig->broker, QUEUE, str_of(shown->cursor), with_messages,
                                      in_seconds(5), on_part, shown),
                     0);
    rig_run(rig, &shown->outcome);
    assert_int_equal(shown->outcome.status, 0);
}

static struct shown *show(struct rig *rig)
{
    static struct shown shown;
    shown = (struct shown){.count = 0};
    do
        show_part(rig, true, &shown);
    while (*shown.cursor);
    return &shown;
}

static void bury(struct rig *rig, unsigned step, const char *text, const struct broker_dead *dead)
{
    struct outcome claimed, outcome = {0};
    push_text(rig, QUEUE, step, text);
    claim_into(rig, QUEUE, 1, &claimed);
    const struct broker_completion completion = {.claim = claimed.claimed[0].claim, .dead = dead};
    assert_int_equal(broker_complete(rig->broker, &completion, in_seconds(5), on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
}

static const struct broker_dead unknown = {.reason = STR("unregistered")};

static uint64_t
end_dead(struct rig *rig, const struct broker_dead_choice *choices, size_t count, bool are_dropped)
{
    struct outcome outcome = {0};
    uint64_t ended = 99;
    assert_int_equal(broker_end_dead(rig->broker, QUEUE, choices, count, are_dropped, in_seconds(5),
                                     &ended, on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, 0);
    return ended;
}

/* The identities of struct broker_counts, with nothing delayed or done. */
static void assert_counts_add_up(struct rig *rig)
{
    struct outcome looked = {0};
    assert_int_equal(broker_queues(rig->broker, &QUEUE, 1, in_seconds(5), on_stats, &looked), 0);
    rig_run(rig, &looked);
    const struct broker_queue_stats *stats = &looked.stats[0];
    const struct broker_counts *counts = &stats->counts;
    assert_int_equal(counts->claimed - counts->returned,
                     stats->in_flight + stats->dead + counts->dropped);
    assert_int_equal(counts->published + counts->returned - counts->claimed, stats->waiting);
}

static void an_entry_is_shown_with_all_it_has(void **state)
{
    struct rig *rig = *state;
    const struct broker_dead dead = {.reason = STR("crash"),
                                     .detail = STR("signal 11"),
                                     .task_id = STR("id-1"),
                                     .task = STR("a.b"),
                                     .evidence = STR("{\"pid\": 7}")};
    usec_t before = clock_wall();
    bury(rig, 0, "not json", &dead);
    struct shown *shown = show(rig);
    assert_int_equal(shown->count, 1);
    assert_string_equal(shown->messages[0], "not json");
    assert_string_equal(shown->reasons[0], "crash");
    assert_int_equal(shown->last.dead.detail.len, dead.detail.len);
    assert_int_equal(shown->last.dead.task_id.len, dead.task_id.len);
    assert_int_equal(shown->last.dead.task.len, dead.task.len);
    assert_int_equal(shown->last.dead.evidence.len, dead.evidence.len);
    assert_true(shown->last.buried_wall + USEC_PER_SEC > before);
    assert_true(shown->last.buried_wall <= clock_wall());
    *shown = (struct shown){.count = 0};
    show_part(rig, false, shown);
    assert_string_equal(shown->reasons[0], "crash");
    assert_string_equal(shown->messages[0], "");
}

static void nothing_is_shown_of_nothing(void **state)
{
    struct shown *shown = show(*state);
    assert_int_equal(shown->count, 0);
    assert_int_equal(shown->parts, 1);
}

static void many_are_shown_in_parts_each_once(void **state)
{
    struct rig *rig = *state;
    char text[32];
    static struct shown shown;
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        server_says(rig, "XADD " DEAD " * message %s reason r", text);
    }
    shown = (struct shown){.count = 0};
    do {
        show_part(rig, true, &shown);
        /* what comes meanwhile is not of this list, so that who retries never meets it again */
        server_says(rig, "XADD " DEAD " * message late reason r");
    } while (*shown.cursor);
    assert_int_equal(shown.count, 300);
    assert_true(shown.parts > 2);
    for (size_t i = 0; i < 300; i++) {
        snprintf(text, sizeof(text), "m%zu", i);
        assert_string_equal(shown.messages[i], text);
    }
}

static void a_list_can_begin_behind_an_entry(void **state)
{
    struct rig *rig = *state;
    bury(rig, 0, "one", &unknown);
    bury(rig, 0, "two", &unknown);
    struct shown *shown = show(rig);
    copy(shown->cursor, sizeof(shown->cursor), str_of(shown->entries[0]));
    shown->count = 0;
    show_part(rig, true, shown);
    assert_int_equal(shown->count, 1);
    assert_string_equal(shown->messages[0], "two");
    copy(shown->cursor, sizeof(shown->cursor), str_of(shown->entries[0]));
    shown->count = 0;
    show_part(rig, true, shown);
    assert_int_equal(shown->count, 0);
    assert_string_equal(shown->cursor, "");
}

static void huge_messages_come_in_small_parts(void **state)
{
    struct rig *rig = *state;
    static struct shown shown;
    server_says(rig, "EVAL %s 0", /* words end at spaces */
                "for\ti=1,40\tdo\tredis.call('XADD','" DEAD
                "','*','message',string.rep('x',1048576))\tend");
    shown = (struct shown){.count = 0};
    show_part(rig, false, &shown);
    assert_true(shown.count < 40 && *shown.cursor);
    while (*shown.cursor)
        show_part(rig, false, &shown);
    assert_int_equal(shown.count, 40);
}

static void a_retry_goes_behind_what_waits_in_its_own_list(void **state)
{
    struct rig *rig = *state;
    bury(rig, 6, "one", &unknown);
    bury(rig, 6, "two", &unknown);
    push_text(rig, QUEUE, 6, "fresh");
    struct shown *shown = show(rig);
    const struct broker_dead_choice choices[] = {
        {.entry = str_of(shown->entries[0])},
        {.entry = str_of(shown->entries[1]), .bytes = STR("two, anew")},
    };
    assert_int_equal(end_dead(rig, choices, 2, false), 2);
    assert_string_equal(server_says(rig, "LRANGE " STEP_6 " 0 -1"),
                        "*3\r\n$9\r\ntwo, anew\r\n$3\r\none\r\n$5\r\nfresh\r\n");
    assert_int_equal(server_number(rig, "XLEN " DEAD), 0);
    assert_string_equal(server_says(rig, "HGET " COUNTS " returned"), "$1\r\n2\r\n");
    assert_counts_add_up(rig);
}

static void what_is_gone_is_not_retried_again(void **state)
{
    struct rig *rig = *state;
    bury(rig, 0, "one", &unknown);
    const struct broker_dead_choice choice = {.entry = str_of(show(rig)->entries[0])};
    assert_int_equal(end_dead(rig, &choice, 1, false), 1);
    assert_int_equal(end_dead(rig, &choice, 1, false), 0);
    assert_int_equal(end_dead(rig, &choice, 1, true), 0);
    assert_int_equal(server_number(rig, "LLEN celery"), 1);
    assert_counts_add_up(rig);
}

static void what_is_dropped_is_counted(void **state)
{
    struct rig *rig = *state;
    bury(rig, 0, "one", &unknown);
    bury(rig, 0, "two", &unknown);
    const struct broker_dead_choice choice = {.entry = str_of(show(rig)->entries[0])};
    assert_int_equal(end_dead(rig, &choice, 1, true), 1);
    assert_string_equal(show(rig)->messages[0], "two");
    assert_string_equal(server_says(rig, "HGET " COUNTS " dropped"), "$1\r\n1\r\n");
    assert_int_equal(server_number(rig, "LLEN celery"), 0);
    assert_counts_add_up(rig);
}

static void a_retry_that_is_refused_moves_nothing(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome = {0};
    bury(rig, 0, "one", &unknown);
    const struct broker_dead_choice choice = {.entry = str_of(show(rig)->entries[0])};
    server_says(rig, "SET " STEP_6 " text");
    assert_int_equal(broker_end_dead(rig->broker, QUEUE, &choice, 1, false, in_seconds(5), NULL,
                                     on_done, &outcome),
                     0);
    rig_run(rig, &outcome);
    assert_int_equal(outcome.status, CEL_E_SERVER);
    assert_non_null(strstr(outcome.err.text, "WRONGTYPE"));
    assert_int_equal(server_number(rig, "XLEN " DEAD), 1);
}

/* Has a rescuer bury `count` messages of another node. */
static void bury_by_rescue(struct rig *rig, int count)
{
    struct broker_rescued rescued[64];
    for (int at = 0; at < count;) {
        size_t batch = 0;
        for (; at < count && batch < 64; at++, batch++) {
            char tag[32];
            snprintf(tag, sizeof(tag), "%d.3", at + 1);
            server_says(rig, "HSET celeriac:inflight:{celery}:lost %s message", tag);
            server_says(rig, "HINCRBY " COUNTS " claimed 1");
            server_says(rig, "HINCRBY " COUNTS " published 1");
            rescued[batch] = (struct broker_rescued){
                .claim = {.queue = QUEUE, .tag = (uint64_t)at + 1, .step = 3}, .dead = &unknown};
        }
        struct outcome outcome = {0};
        bool moved[64] = {false};
        assert_int_equal(broker_rescue(rig->broker, QUEUE, STR("lost"), rescued, batch,
                                       in_seconds(5), moved, on_done, &outcome),
                         0);
        rig_run(rig, &outcome);
        assert_int_equal(outcome.status, 0);
        for (size_t i = 0; i < batch; i++)
            assert_true(moved[i]);
    }
}

static void a_rescue_keeps_the_cap_and_counts_what_falls_out(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    rig_close_broker(rig);
    options.dead_max = 100;
    rig_new_broker(rig, &options);
    bury_by_rescue(rig, 400);
    int64_t kept = server_number(rig, "XLEN " DEAD);
    assert_true(kept >= 100 && kept < 300); /* whole nodes of the stream go */
    assert_counts_add_up(rig);
    const struct broker_dead_choice choice = {.entry = str_of(show(rig)->entries[0])};
    assert_int_equal(end_dead(rig, &choice, 1, false), 1);
    assert_int_equal(server_number(rig, "LLEN celery\x06\x16"
                                        "3"),
                     1);
}

static void a_rescue_drops_what_is_too_old(void **state)
{
    struct rig *rig = *state;
    struct broker_options options = rig_options(rig);
    rig_close_broker(rig);
    options.dead_max_age = 3600 * USEC_PER_SEC;
    rig_new_broker(rig, &options);
    server_says(rig, "HINCRBY " COUNTS " claimed 150");
    server_says(rig, "HINCRBY " COUNTS " published 150");
    for (int i = 1; i <= 150; i++) {
        char entry[32];
        snprintf(entry, sizeof(entry), "%d-0", i);
        server_says(rig, "XADD " DEAD " %s message old reason r", entry);
    }
    bury_by_rescue(rig, 1);
    assert_true(server_number(rig, "XLEN " DEAD) <= 51);
    assert_counts_add_up(rig);
}

static void misuse_is_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct broker_dead_choice choices[BROKER_ENDED_MAX + 1] = {{.entry = STR("1-1")}};
    assert_int_equal(
        broker_end_dead(rig->broker, QUEUE, choices, 0, true, in_seconds(5), NULL, on_done, NULL),
        -EINVAL);
    assert_int_equal(broker_end_dead(rig->broker, QUEUE, choices, BROKER_ENDED_MAX + 1, true,
                                     in_seconds(5), NULL, on_done, NULL),
                     -EINVAL);
    assert_int_equal(
        broker_list_dead(rig->broker, STR(""), STR_NONE, false, in_seconds(5), on_part, NULL),
        -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_entry_is_shown_with_all_it_has),
        TEST(nothing_is_shown_of_nothing),
        TEST(many_are_shown_in_parts_each_once),
        TEST(a_list_can_begin_behind_an_entry),
        TEST(huge_messages_come_in_small_parts),
        TEST(a_retry_goes_behind_what_waits_in_its_own_list),
        TEST(what_is_gone_is_not_retried_again),
        TEST(what_is_dropped_is_counted),
        TEST(a_retry_that_is_refused_moves_nothing),
        TEST(a_rescue_keeps_the_cap_and_counts_what_falls_out),
        TEST(a_rescue_drops_what_is_too_old),
        TEST(misuse_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, rig_open, rig_close);
}
