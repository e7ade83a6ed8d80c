#include "ledger/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"

#define MINUTE (60 * USEC_PER_SEC)

static struct ledger_attempt attempt_of(const char *task, const char *outcome)
{
    return (struct ledger_attempt){.task = str_of(task),
                                   .id = STR("id"),
                                   .queue = STR("celery"),
                                   .outcome = str_of(outcome),
                                   .received_wall = 10 * MINUTE + 1,
                                   .started_wall = 10 * MINUTE + 2,
                                   .ended_wall = 10 * MINUTE + 5,
                                   .pid = 42};
}

static void add(struct backlog *backlog, size_t count)
{
    struct ledger_attempt attempt = attempt_of("t", "succeeded");
    for (size_t i = 0; i < count; i++)
        backlog_add(backlog, &attempt);
}

static void a_row_is_an_element_of_an_array(void **state)
{
    (void)state;
    struct ledger_batch batch = {.detail = LEDGER_FULL, .rows = BUF_INIT(100000)};
    struct ledger_attempt attempt = attempt_of("a\"b\\c", "failed");
    attempt.error = str_n("x\0\xc3\xa9\xff", 5);
    attempt.term_signal = 11;
    attempt.peak_rss = 4096;
    attempt.retries = 3;
    assert_true(ledger_batch_add(&batch, &attempt));
    assert_string_equal(
        batch.rows.ptr,
        "{\"(\\\"a\\\"\\\"b\\\\\\\\c\\\",\\\"id\\\",\\\"celery\\\",\\\"failed\\\",42,600000001,"
        "600000002,600000005,11,4096,3,\\\"x????\\\")\"");
    buf_clear(&batch.rows);
    attempt = (struct ledger_attempt){
        .queue = STR("q"), .outcome = STR("buried"), .received_wall = 1, .ended_wall = 2};
    assert_true(ledger_batch_add(&batch, &attempt));
    assert_true(ledger_batch_add(&batch, &attempt));
    assert_string_equal(batch.rows.ptr, "{\"(,,\\\"q\\\",\\\"buried\\\",,1,,2,,,0,)\""
                                        ",\"(,,\\\"q\\\",\\\"buried\\\",,1,,2,,,0,)\"");
    buf_deinit(&batch.rows);
}

static void texts_are_cut_between_characters(void **state)
{
    (void)state;
    char error[3000];
    struct ledger_batch batch = {.detail = LEDGER_FULL, .rows = BUF_INIT(100000)};
    struct ledger_attempt attempt = attempt_of("t", "failed");
    error[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof(error); i += 2)
        memcpy(error + i, "\xc3\xa9", 2);
    attempt.error = str_n(error, sizeof(error) - 1);
    assert_true(ledger_batch_add(&batch, &attempt));
    assert_true(batch.rows.len < 2200);
    assert_true(str_is_utf8(buf_str(&batch.rows)));
    assert_null(strchr(batch.rows.ptr, '?'));
    buf_deinit(&batch.rows);
}

static void memory_that_is_short_loses_one_attempt_and_says_so(void **state)
{
    (void)state;
    struct backlog backlog;
    backlog_init(&backlog, LEDGER_FULL, 10);
    add(&backlog, 1);
    size_t len = backlog.ring[0].rows.len;
    mem_fail_after(1);
    size_t added = 1;
    for (; backlog.lost == 0 && added < 5; added++)
        add(&backlog, 1);
    mem_fail_after(0);
    assert_int_equal(backlog.lost, 1);
    assert_int_equal(backlog.waiting, added - 1);
    add(&backlog, 1);
    assert_int_equal(backlog.waiting, added);
    assert_int_equal(backlog.ring[0].rows.len, added * len);
    backlog_deinit(&backlog);
}

static void a_batch_is_due_when_it_is_full(void **state)
{
    (void)state;
    struct backlog backlog;
    backlog_init(&backlog, LEDGER_FULL, 10);
    assert_null(backlog_batch(&backlog, true));
    add(&backlog, 4);
    assert_false(backlog_is_due(&backlog));
    assert_null(backlog_batch(&backlog, false));
    add(&backlog, 1);
    assert_true(backlog_is_due(&backlog));
    const struct ledger_batch *batch = backlog_batch(&backlog, false);
    assert_int_equal(batch->attempts, 5);
    backlog_end(&backlog);
    assert_true(backlog_is_empty(&backlog));
    backlog_deinit(&backlog);
}

static void what_comes_while_a_batch_is_written_goes_into_the_next(void **state)
{
    (void)state;
    struct backlog backlog;
    backlog_init(&backlog, LEDGER_FULL, 10);
    add(&backlog, 2);
    const struct ledger_batch *batch = backlog_batch(&backlog, true);
    size_t len = batch->rows.len;
    add(&backlog, 2);
    assert_int_equal(batch->rows.len, len);
    assert_ptr_equal(backlog_batch(&backlog, true), batch); /* until it is ended */
    backlog_end(&backlog);
    assert_int_equal(backlog_batch(&backlog, true)->attempts, 2);
    backlog_deinit(&backlog);
}

static void what_does_not_fit_is_lost_and_counted(void **state)
{
    (void)state;
    for (size_t most = 1; most <= 12; most++) {
        struct backlog backlog;
        backlog_init(&backlog, LEDGER_FULL, most);
        add(&backlog, 100);
        assert_true(backlog.waiting >= most && backlog.waiting <= most + 1);
        assert_int_equal(backlog.waiting + backlog.lost, 100);
        uint64_t written = 0;
        const struct ledger_batch *batch;
        while ((batch = backlog_batch(&backlog, true))) {
            written += batch->attempts;
            backlog_end(&backlog);
        }
        assert_int_equal(written + backlog.lost, 100);
        add(&backlog, 1);
        assert_int_equal(backlog_abandon(&backlog), 1);
        assert_int_equal(written + backlog.lost, 101);
        assert_true(backlog_is_empty(&backlog));
        backlog_deinit(&backlog);
    }
}

static void a_batch_that_is_given_up_stays_as_an_empty_one(void **state)
{
    (void)state;
    struct backlog backlog;
    backlog_init(&backlog, LEDGER_FULL, 10);
    add(&backlog, 3);
    backlog_batch(&backlog, true);
    backlog_give_up(&backlog);
    assert_int_equal(backlog.lost, 3);
    assert_int_equal(backlog.waiting, 0);
    assert_int_equal(backlog_batch(&backlog, true)->attempts, 0);
    backlog_end(&backlog);
    assert_true(backlog_is_empty(&backlog));
    backlog_deinit(&backlog);
}

static void sums_are_of_a_minute_a_task_and_an_outcome(void **state)
{
    (void)state;
    struct backlog backlog;
    struct ledger_attempt good = attempt_of("t", "succeeded"), bad = attempt_of("t", "failed"),
                          other = attempt_of("a", "succeeded"), unrun = attempt_of("t", "expired");
    unrun.started_wall = 0;
    backlog_init(&backlog, LEDGER_SUMMARY, 5);
    for (size_t i = 0; i < 3; i++) {
        backlog_add(&backlog, &good);
        backlog_add(&backlog, &bad);
        backlog_add(&backlog, &other);
        backlog_add(&backlog, &unrun);
    }
    good.ended_wall += MINUTE;
    backlog_add(&backlog, &good);
    assert_false(backlog_is_due(&backlog));
    assert_null(backlog_batch(&backlog, false));
    assert_int_equal(backlog.waiting, 13);
    bad.ended_wall += MINUTE; /* one sum too many */
    backlog_add(&backlog, &bad);
    assert_int_equal(backlog.lost, 1);
    const struct ledger_batch *batch = backlog_batch(&backlog, true);
    assert_int_equal(batch->attempts, 13);
    assert_string_equal(
        batch->rows.ptr,
        "{\"(600000000,\\\"a\\\",\\\"succeeded\\\",3,9)\",\"(600000000,\\\"t\\\",\\\"expired\\\",3,"
        "0)\",\"(600000000,\\\"t\\\",\\\"failed\\\",3,9)\",\"(600000000,\\\"t\\\",\\\"succeeded\\\""
        ",3,9)\",\"(660000000,\\\"t\\\",\\\"succeeded\\\",1,60000003)\"");
    backlog_add(&backlog, &bad);
    backlog_end(&backlog);
    assert_int_equal(backlog_batch(&backlog, true)->attempts, 1);
    backlog_deinit(&backlog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_an_element_of_an_array),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(memory_that_is_short_loses_one_attempt_and_says_so),
        cmocka_unit_test(a_batch_is_due_when_it_is_full),
        cmocka_unit_test(what_comes_while_a_batch_is_written_goes_into_the_next),
        cmocka_unit_test(what_does_not_fit_is_lost_and_counted),
        cmocka_unit_test(a_batch_that_is_given_up_stays_as_an_empty_one),
        cmocka_unit_test(sums_are_of_a_minute_a_task_and_an_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
