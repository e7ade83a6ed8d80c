/*
 * The ticker with a broker that answers what the test says, under a clock that the test moves. The
 * clock stands in the past, so the alarm strikes at every turn of the loop and the ticker decides
 * alone.
 */
#include "beat/ticker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/log.h"
#include "message/call.h"
#include "message/envelope.h"

#define SEC ((int64_t)USEC_PER_SEC)

enum { FIRED_MAX = 64 };

/* --- clock and broker ------------------------------------------------------------------------- */

static const usec_t START = (usec_t)1715767200 * USEC_PER_SEC; /* 2024-05-15T10:00:00Z */
static usec_t wall, mono;

static usec_t fake_wall(void)
{
    return wall;
}

static usec_t fake_mono(void)
{
    return mono;
}

static void pass(int64_t usec)
{
    wall += (usec_t)usec;
    mono += (usec_t)usec;
}

struct broker { /* what was asked and what to answer */
    struct {
        char entry[32], queue[32], task_id[64];
        usec_t slot, ttl;
        unsigned step;
        broker_done_fn *cb;
        void *data;
    } fired[FIRED_MAX];
    size_t fired_count, answered_count, ping_count;
    int refuse; /* what broker_fire returns itself */
    broker_done_fn *ping_cb;
    void *ping_data;
};

int broker_fire(struct broker *broker,
                struct str entry,
                usec_t slot_wall,
                usec_t mark_ttl,
                const struct broker_message *message,
                usec_t deadline_mono,
                broker_done_fn *cb,
                void *data)
{
    struct envelope envelope;
    struct cel_error err = {0};
    size_t n = broker->fired_count;

    if (broker->refuse < 0)
        return broker->refuse;
    if (n == FIRED_MAX || deadline_mono <= mono ||
        envelope_decode(message->bytes, &envelope, &err) != 0)
        return -EINVAL;
    snprintf(broker->fired[n].entry, 32, STR_FORMAT, STR_ARGS(entry));
    snprintf(broker->fired[n].queue, 32, STR_FORMAT, STR_ARGS(message->queue));
    snprintf(broker->fired[n].task_id, 64, STR_FORMAT, STR_ARGS(envelope.id));
    broker->fired[n].slot = slot_wall;
    broker->fired[n].ttl = mark_ttl;
    broker->fired[n].step = message->step;
    broker->fired[n].cb = cb;
    broker->fired[n].data = data;
    broker->fired_count++;
    envelope_deinit(&envelope);
    return 0;
}

int broker_ping(struct broker *broker, usec_t deadline_mono, broker_done_fn *cb, void *data)
{
    if (broker->ping_cb || deadline_mono <= mono)
        return -EINVAL;
    broker->ping_count++;
    broker->ping_cb = cb;
    broker->ping_data = data;
    return 0;
}

/* --- the bench -------------------------------------------------------------------------------- */

static struct bench {
    uv_loop_t loop;
    struct broker broker;
    struct entries entries;
    struct ticker ticker;
    int idle;
} bench;

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        uv_run(&bench.loop, UV_RUN_NOWAIT);
}

/* Answers the oldest firing that has no answer. */
static void answer(int status)
{
    struct cel_error err = {.code = status < 0 ? status : 0, .text = "as told"};
    size_t n = bench.broker.answered_count++;

    assert_true(n < bench.broker.fired_count);
    bench.broker.fired[n].cb(bench.broker.fired[n].data, status, status < 0 ? &err : NULL);
    turn();
}

/* Waits for the PING of a ticker that found no answer, and answers it. */
static void answer_ping(int status)
{
    struct cel_error err = {.code = status, .text = "as told"};
    broker_done_fn *cb;

    while (!bench.broker.ping_cb)
        uv_run(&bench.loop, UV_RUN_ONCE);
    cb = bench.broker.ping_cb;
    bench.broker.ping_cb = NULL;
    cb(bench.broker.ping_data, status, status < 0 ? &err : NULL);
    turn();
}

static void begin(struct config_line *lines, size_t count)
{
    struct config config = {.lines = lines, .line_count = count};
    struct cel_error err = {0};

    bench = (struct bench){.idle = 0};
    wall = START;
    mono = 5000 * (usec_t)SEC;
    assert_int_equal(uv_loop_init(&bench.loop), 0);
    assert_int_equal(entries_load(&config, &bench.entries, &err), 0);
    bench.ticker.loop = &bench.loop;
    bench.ticker.default_queue = "celery";
    bench.ticker.max_interval = 300 * (usec_t)SEC;
    assert_int_equal(ticker_open(&bench.ticker, &bench.entries, &err), 0);
    ticker_start(&bench.ticker, &bench.broker, &bench.entries);
    turn();
}

static void on_idle(void *data)
{
    *(int *)data += 1;
}

static void end(void)
{
    ticker_stop(&bench.ticker, on_idle, &bench.idle);
    while (bench.broker.answered_count < bench.broker.fired_count)
        answer(-ECANCELED);
    assert_int_equal(bench.idle, 1);
    ticker_close(&bench.ticker);
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bench.loop), 0);
    entries_deinit(&bench.entries);
}

static struct config_line tick[] = {
    {"beat tick", "task", "t.tick", "x.ini:1"},
    {"beat tick", "every", "10s", "x.ini:2"},
};
static struct config_line several[] = {
    {"beat tick", "task", "t.tick", "x.ini:1"},   {"beat tick", "every", "10s", "x.ini:2"},
    {"beat slow", "task", "t.slow", "x.ini:3"},   {"beat slow", "crontab", "1 10 * * *", "x.ini:4"},
    {"beat slow", "queue", "reports", "x.ini:5"}, {"beat slow", "priority", "6", "x.ini:6"},
    {"beat off", "task", "t.off", "x.ini:7"},     {"beat off", "every", "10ms", "x.ini:8"},
    {"beat off", "enabled", "no", "x.ini:9"},
};

/* --- tests ------------------------------------------------------------------------------------ */

static void an_entry_is_fired_when_due_and_planned_by_the_answer(void **state)
{
    (void)state;
    begin(tick, ARRAY_SIZE(tick));
    pass(10 * SEC - 1);
    turn();
    assert_int_equal(bench.broker.fired_count, 0);
    pass(1);
    turn();
    assert_int_equal(bench.broker.fired_count, 1);
    assert_string_equal(bench.broker.fired[0].entry, "tick");
    assert_string_equal(bench.broker.fired[0].queue, "celery");
    assert_int_equal(bench.broker.fired[0].slot, START + 10 * USEC_PER_SEC);
    assert_int_equal(bench.broker.fired[0].ttl, 3600 * USEC_PER_SEC);
    pass(10 * SEC);
    turn();
    assert_int_equal(bench.broker.fired_count, 1); /* one at a time */
    answer(0);
    assert_int_equal(bench.broker.fired_count, 2);
    assert_int_equal(bench.broker.fired[1].slot, START + 20 * USEC_PER_SEC);
    assert_string_not_equal(bench.broker.fired[0].task_id, bench.broker.fired[1].task_id);
    answer(BROKER_ALREADY_FIRED);
    assert_int_equal(bench.broker.fired_count, 2);
    assert_int_equal(bench.ticker.fired, 1);
    end();
}

static void entries_are_fired_beside_each_other_and_disabled_ones_never(void **state)
{
    (void)state;
    begin(several, ARRAY_SIZE(several));
    pass(60 * SEC);
    turn();
    assert_int_equal(bench.broker.fired_count, 2);
    assert_string_equal(bench.broker.fired[0].entry, "tick");
    assert_int_equal(bench.broker.fired[0].slot, START + 60 * USEC_PER_SEC); /* five were missed */
    assert_string_equal(bench.broker.fired[1].entry, "slow");
    assert_string_equal(bench.broker.fired[1].queue, "reports");
    assert_int_equal(bench.broker.fired[1].step, 6);
    assert_int_equal(bench.broker.fired[1].ttl, 2 * 86400 * USEC_PER_SEC);
    end();
}

static void without_an_answer_the_latest_slot_waits_for_redis(void **state)
{
    (void)state;
    begin(several, ARRAY_SIZE(several));
    pass(60 * SEC);
    turn();
    answer(-ECONNRESET);
    assert_true(bench.ticker.is_down);
    answer(CEL_E_UNCERTAIN);
    for (int i = 0; i < 2; i++) {
        pass(25 * SEC);
        turn();
        assert_int_equal(bench.broker.fired_count, 2); /* nothing into the void */
        assert_true(ticker_is_alive(&bench.ticker));   /* it knows why */
        answer_ping(-ECONNREFUSED);
    }
    answer_ping(0);
    assert_false(bench.ticker.is_down);
    assert_int_equal(bench.broker.ping_count, 3);
    assert_int_equal(bench.broker.fired_count, 4);
    assert_string_equal(bench.broker.fired[2].entry, "tick");
    assert_int_equal(bench.broker.fired[2].slot, START + 110 * USEC_PER_SEC);
    assert_string_equal(bench.broker.fired[3].entry, "slow");
    assert_int_equal(bench.broker.fired[3].slot, START + 60 * USEC_PER_SEC);
    answer(0);
    answer(BROKER_ALREADY_FIRED); /* the uncertain one had arrived */
    assert_int_equal(bench.ticker.fired, 1);
    assert_int_equal(bench.broker.fired_count, 4);
    end();
}

static void a_command_that_cannot_be_sent_counts_as_no_answer(void **state)
{
    (void)state;
    begin(several, ARRAY_SIZE(several));
    bench.broker.refuse = -ECONNREFUSED;
    pass(60 * SEC);
    turn();
    assert_true(bench.ticker.is_down);
    assert_int_equal(bench.ticker.firing_count, 0);
    bench.broker.refuse = 0;
    answer_ping(0);
    assert_int_equal(bench.broker.fired_count, 2);
    end();
}

static void what_redis_refuses_is_tried_again_by_itself(void **state)
{
    (void)state;
    begin(several, ARRAY_SIZE(several));
    pass(60 * SEC);
    turn();
    answer(CEL_E_SERVER);
    answer(0);
    assert_false(bench.ticker.is_down);
    assert_int_equal(bench.broker.fired_count, 2);
    pass(SEC / 10); /* the first pause is no longer */
    turn();
    assert_int_equal(bench.broker.fired_count, 3);
    assert_string_equal(bench.broker.fired[2].entry, "tick");
    assert_int_equal(bench.broker.fired[2].slot, START + 60 * USEC_PER_SEC);
    answer(CEL_E_SERVER);
    pass(SEC / 20 - 1); /* the second not so short */
    turn();
    assert_int_equal(bench.broker.fired_count, 3);
    pass(SEC / 5);
    turn();
    assert_int_equal(bench.broker.fired_count, 4);
    answer(0);
    end();
}

static void a_clock_put_back_shows_slots_again(void **state)
{
    (void)state;
    begin(tick, ARRAY_SIZE(tick));
    wall -= 3600 * (usec_t)SEC;
    turn();
    pass(10 * SEC);
    turn();
    assert_int_equal(bench.broker.fired_count, 1);
    assert_int_equal(bench.broker.fired[0].slot, START - 3590 * USEC_PER_SEC);
    wall -= 3600 * (usec_t)SEC; /* with one under way */
    answer(0);
    pass(10 * SEC);
    turn();
    assert_int_equal(bench.broker.fired_count, 2);
    assert_int_equal(bench.broker.fired[1].slot, START - 7180 * USEC_PER_SEC);
    end();
}

static void a_clock_put_forward_makes_due_once(void **state)
{
    (void)state;
    begin(tick, ARRAY_SIZE(tick));
    wall += 86400 * (usec_t)SEC + 3;
    turn();
    assert_int_equal(bench.broker.fired_count, 1);
    assert_int_equal(bench.broker.fired[0].slot, START + 86400 * USEC_PER_SEC);
    answer(0);
    assert_int_equal(bench.broker.fired_count, 1);
    end();
}

static void a_ticker_that_is_stopped_fires_no_more(void **state)
{
    (void)state;
    begin(several, ARRAY_SIZE(several));
    pass(60 * SEC);
    turn();
    ticker_stop(&bench.ticker, on_idle, &bench.idle);
    assert_int_equal(bench.idle, 0); /* two are under way */
    pass(60 * SEC);
    answer(0);
    assert_int_equal(bench.idle, 0);
    answer(0);
    assert_int_equal(bench.idle, 1);
    turn();
    assert_int_equal(bench.broker.fired_count, 2);
    bench.idle = 0;
    end();
}

static void an_entry_that_was_forgotten_is_noticed(void **state)
{
    (void)state;
    begin(tick, ARRAY_SIZE(tick));
    assert_true(ticker_is_alive(&bench.ticker));
    pass(39 * SEC);
    assert_true(ticker_is_alive(&bench.ticker));
    pass(2 * SEC); /* the loop did not turn */
    assert_false(ticker_is_alive(&bench.ticker));
    turn();
    assert_true(ticker_is_alive(&bench.ticker));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_fired_when_due_and_planned_by_the_answer),
        cmocka_unit_test(entries_are_fired_beside_each_other_and_disabled_ones_never),
        cmocka_unit_test(without_an_answer_the_latest_slot_waits_for_redis),
        cmocka_unit_test(a_command_that_cannot_be_sent_counts_as_no_answer),
        cmocka_unit_test(what_redis_refuses_is_tried_again_by_itself),
        cmocka_unit_test(a_clock_put_back_shows_slots_again),
        cmocka_unit_test(a_clock_put_forward_makes_due_once),
        cmocka_unit_test(a_ticker_that_is_stopped_fires_no_more),
        cmocka_unit_test(an_entry_that_was_forgotten_is_noticed),
    };
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, 2);
    clock_replace(fake_mono, fake_wall);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
