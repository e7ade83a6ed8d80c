/* Frames: what is written is read again, and nothing that a broken child writes does harm. */
#include "child/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"

#define assert_text(actual, literal)                                                               \
    do {                                                                                           \
        assert_int_equal((actual).len, strlen(literal));                                           \
        assert_memory_equal((actual).ptr, literal, strlen(literal));                               \
    } while (0)

static struct frame decoded(const struct buf *buf)
{
    struct frame frame;
    struct cel_error err = {0};
    size_t len = 0;
    assert_int_equal(buf_status(buf), 0);
    assert_int_equal(frame_decode(buf_str(buf), &frame, &len, &err), 0);
    assert_int_equal(len, buf->len);
    return frame;
}

static void setup_comes_back(void **state)
{
    (void)state;
    const struct str modules[] = {STR("a.so"), STR("")};
    const struct frame_pair settings[] = {{STR("smtp"), STR("file:///x"), STR("c.ini:12")}};
    const struct frame_pair databases[] = {{STR("default"), STR("postgresql:///a"), STR_NONE},
                                           {STR("other"), STR("host=b"), STR("c.ini:3")}};
    struct frame_setup setup = {.node = STR("celery@h"),
                                .log_level = -1,
                                .log_format = 2,
                                .database_max_age = UINT64_MAX,
                                .routes = STR("a.* = b"),
                                .wants_peak_rss = true,
                                .wants_arguments = true,
                                .modules = modules,
                                .module_count = 2,
                                .settings = settings,
                                .setting_count = 1,
                                .databases = databases,
                                .database_count = 2};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_setup(&buf, &setup);
    CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
    assert_int_equal(frame.type, FRAME_SETUP);
    assert_text(frame.setup.node, "celery@h");
    assert_null(frame.setup.default_queue.ptr);
    assert_int_equal(frame.setup.log_level, -1);
    assert_int_equal(frame.setup.log_format, 2);
    assert_true(frame.setup.database_max_age == UINT64_MAX);
    assert_text(frame.setup.routes, "a.* = b");
    assert_true(frame.setup.wants_peak_rss);
    assert_true(frame.setup.wants_arguments);
    assert_int_equal(frame.setup.module_count, 2);
    assert_text(frame.setup.modules[0], "a.so");
    assert_non_null(frame.setup.modules[1].ptr);
    assert_int_equal(frame.setup.modules[1].len, 0);
    assert_int_equal(frame.setup.setting_count, 1);
    assert_text(frame.setup.settings[0].origin, "c.ini:12");
    assert_int_equal(frame.setup.database_count, 2);
    assert_text(frame.setup.databases[1].value, "host=b");
    assert_null(frame.setup.databases[0].origin.ptr);
}

static void hello_comes_back(void **state)
{
    (void)state;
    struct frame_task tasks[300];
    for (size_t i = 0; i < 300; i++) {
        tasks[i] = (struct frame_task){.name = STR("shop.add"),
                                       .queue = STR("q"),
                                       .max_retries = (int64_t)i - 1,
                                       .retry_delay = 180000000,
                                       .retry_delay_max = (usec_t)1 << 40,
                                       .retry_backoff = i % 2,
                                       .retry_without_jitter = i % 5 == 0,
                                       .reject_on_failure = i % 7 == 0,
                                       .acks_early = i % 3 == 0,
                                       .once = true,
                                       .soft_limit = i,
                                       .hard_limit = i + 1,
                                       .rate_interval = i + 2,
                                       .rate_limit = i % 2 ? STR("1/h") : STR_NONE,
                                       .cpu_limit = i + 3,
                                       .memory_limit = i + 4};
    }
    struct frame_hello hello = {FRAME_VERSION, tasks, 300};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1 << 20);
    frame_add_hello(&buf, &hello);
    CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
    assert_int_equal(frame.type, FRAME_HELLO);
    assert_int_equal(frame.hello.version, FRAME_VERSION);
    assert_int_equal(frame.hello.task_count, 300);
    for (size_t i = 0; i < 300; i++) {
        const struct frame_task *task = &frame.hello.tasks[i];
        assert_text(task->name, "shop.add");
        assert_text(task->queue, "q");
        assert_int_equal(task->max_retries, (int64_t)i - 1);
        assert_int_equal(task->retry_delay_max, (usec_t)1 << 40);
        assert_int_equal(task->retry_backoff, i % 2);
        assert_int_equal(task->retry_without_jitter, i % 5 == 0);
        assert_int_equal(task->reject_on_failure, i % 7 == 0);
        assert_int_equal(task->acks_early, i % 3 == 0);
        assert_false(task->ignore_result);
        assert_false(task->track_started);
        assert_true(task->once);
        assert_int_equal(task->soft_limit, i);
        assert_int_equal(task->hard_limit, i + 1);
        assert_int_equal(task->rate_interval, i + 2);
        assert_true(str_equal(task->rate_limit, i % 2 ? STR("1/h") : STR_NONE));
        assert_int_equal(task->cpu_limit, i + 3);
        assert_int_equal(task->memory_limit, i + 4);
    }
}

static void run_keeps_the_envelope_byte_for_byte(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 255, 256, 65535, 65536, 3000000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char *bytes = xalloc(sizes[i] + 1);
        for (size_t at = 0; at < sizes[i]; at++)
            bytes[at] = (char)(at * 7 + i);
        struct frame_run run = {.seq = UINT64_MAX - i,
                                .soft_limit = 5,
                                .hard_limit = 6,
                                .envelope = str_n(bytes, sizes[i])};
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4000000);
        frame_add_run(&buf, &run);
        CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
        assert_int_equal(frame.type, FRAME_RUN);
        assert_true(frame.run.seq == run.seq);
        assert_int_equal(frame.run.soft_limit, 5);
        assert_int_equal(frame.run.hard_limit, 6);
        assert_true(str_equal(frame.run.envelope, run.envelope));
        assert_null(frame.owned);
        mem_free(bytes);
    }
}

static void dying_comes_back(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(100);
    frame_add_dying(&buf, &(struct frame_dying){.seq = UINT64_MAX});
    CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
    assert_int_equal(frame.type, FRAME_DYING);
    assert_true(frame.dying.seq == UINT64_MAX);
    buf_clear(&buf);
    frame_add_awaited(&buf, 7);
    CLEANUP(frame_deinit) struct frame awaited = decoded(&buf);
    assert_int_equal(awaited.type, FRAME_AWAITED);
    assert_int_equal(awaited.awaited_seq, 7);
}

static const struct frame_send two_sends[] = {{STR("q"), STR("{}"), 0}, {STR("r"), STR("[1]"), 9}};
static const struct frame_outcome whole_outcome = {.seq = 3,
                                                   .kind = OUTCOME_RETRY,
                                                   .result_json = STR("{\"a\": 1}"),
                                                   .traceback = STR("line\n"),
                                                   .countdown_usec = -1,
                                                   .conflict = true,
                                                   .detail = STR("why"),
                                                   .children_json = STR("[]"),
                                                   .peak_rss = 1ULL << 40,
                                                   .sends = two_sends,
                                                   .send_count = 2};

static const struct plan_document documents[] = {{STR("id-2"), STR("{}")}};
static const struct plan_part parts[] = {{STR("g"), 3, STR("[1, 2]"), STR("[1,")},
                                         {STR("h"), PLAN_NO_INDEX, STR("[3, 4]"), STR("[3,")}};
static const struct plan_chord chords[] = {{STR("k"), 4, 0, STR_NONE}, {STR("g"), 0, 2, STR("{}")}};
static const struct plan_closed closed[] = {{STR("g"), true}};
static const struct plan_results whole_results = {documents, parts, chords, closed, 1, 2, 2, 1};

static void results_of_an_outcome_come_back(void **state)
{
    (void)state;
    const struct frame_outcome outcome = {.kind = OUTCOME_FOLLOWS, .results = whole_results};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_outcome(&buf, &outcome);
    CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
    const struct plan_results *results = &frame.outcome.results;
    assert_int_equal(results->document_count, 1);
    assert_text(results->documents[0].text, "{}");
    assert_int_equal(results->part_count, 2);
    assert_int_equal(results->parts[0].index, 3);
    assert_int_equal(results->parts[1].index, PLAN_NO_INDEX);
    assert_text(results->parts[1].text, "[3, 4]");
    assert_text(results->parts[1].prefix, "[3,");
    assert_int_equal(results->chord_count, 2);
    assert_int_equal(results->chords[0].size, 4);
    assert_null(results->chords[0].saved.ptr);
    assert_int_equal(results->chords[1].growth, 2);
    assert_int_equal(results->closed_count, 1);
    assert_true(results->closed[0].failed);
}

static void follow_comes_back(void **state)
{
    (void)state;
    const struct str texts[] = {STR("[1, \"a\"]"), STR("[1, \"b\"]")};
    const struct plan_document leaves[] = {{STR("id"), STR("{}")}, {STR("gone"), STR_NONE}};
    const struct plan_joined joined[] = {{STR("g"), texts, 2, STR_NONE, NULL, 0},
                                         {STR("h"), NULL, 0, STR("{}"), leaves, 2}};
    const struct frame_follow follow = {.seq = 9,
                                        .envelope = STR("{}"),
                                        .state = STR("FAILURE"),
                                        .result_json = STR("null"),
                                        .joined = joined,
                                        .joined_count = 2};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_follow(&buf, &follow);
    CLEANUP(frame_deinit) struct frame frame = decoded(&buf);
    assert_int_equal(frame.type, FRAME_FOLLOW);
    assert_text(frame.follow.state, "FAILURE");
    assert_null(frame.follow.traceback.ptr);
    assert_int_equal(frame.follow.joined_count, 2);
    assert_text(frame.follow.joined[0].parts[1], "[1, \"b\"]");
    assert_text(frame.follow.joined[1].leaves[0].text, "{}");
    assert_null(frame.follow.joined[1].leaves[1].text.ptr);
}

static void progress_and_outcome_come_back(void **state)
{
    (void)state;
    struct frame_progress progress = {7, STR("PROGRESS"), STR("{\"done\": 1}")};
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_progress(&buf, &progress);
    struct frame first = decoded(&buf);
    assert_int_equal(first.type, FRAME_PROGRESS);
    assert_int_equal(first.progress.seq, 7);
    assert_text(first.progress.state, "PROGRESS");
    assert_text(first.progress.meta_json, "{\"done\": 1}");

    CLEANUP(buf_deinit) struct buf other = BUF_INIT(4096);
    frame_add_outcome(&other, &whole_outcome);
    CLEANUP(frame_deinit) struct frame frame = decoded(&other);
    assert_int_equal(frame.type, FRAME_OUTCOME);
    assert_int_equal(frame.outcome.seq, 3);
    assert_int_equal(frame.outcome.kind, OUTCOME_RETRY);
    assert_text(frame.outcome.result_json, "{\"a\": 1}");
    assert_text(frame.outcome.traceback, "line\n");
    assert_int_equal(frame.outcome.countdown_usec, -1);
    assert_true(frame.outcome.conflict);
    assert_text(frame.outcome.detail, "why");
    assert_text(frame.outcome.children_json, "[]");
    assert_true(frame.outcome.peak_rss == 1ULL << 40);
    assert_int_equal(frame.outcome.send_count, 2);
    assert_text(frame.outcome.sends[1].queue, "r");
    assert_text(frame.outcome.sends[1].bytes, "[1]");
    assert_int_equal(frame.outcome.sends[1].step, 9);
}

static void every_beginning_of_a_frame_asks_for_more(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_outcome(&buf, &whole_outcome);
    for (size_t len = 0; len < buf.len; len++) {
        struct frame frame;
        size_t used;
        assert_int_equal(frame_decode(str_n(buf.ptr, len), &frame, &used, NULL), -EAGAIN);
    }
}

static void frames_are_taken_one_by_one(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    for (uint64_t seq = 0; seq < 3; seq++)
        frame_add_run(&buf, &(struct frame_run){.seq = seq, .envelope = STR("{}")});
    struct str rest = buf_str(&buf);
    for (uint64_t seq = 0; seq < 3; seq++) {
        struct frame frame;
        size_t len;
        assert_int_equal(frame_decode(rest, &frame, &len, NULL), 0);
        assert_int_equal(frame.run.seq, seq);
        rest = str_n(rest.ptr + len, rest.len - len);
    }
    assert_int_equal(rest.len, 0);
}

/* A frame around `bytes`, which are taken as they stand. */
static int decode_raw(const char *bytes, size_t len, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1 << 20);
    char head[FRAME_HEADER] = {(char)(len & 0xff), (char)(len >> 8 & 0xff),
                               (char)(len >> 16 & 0xff)};
    buf_add(&buf, head, sizeof(head));
    buf_add(&buf, bytes, len);
    struct frame frame;
    size_t used;
    int r = frame_decode(buf_str(&buf), &frame, &used, err);
    if (!r)
        frame_deinit(&frame);
    return r;
}

static void what_no_sane_peer_sends_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        int code;
    } cases[] = {
        {STR(""), CEL_E_FORMAT},                                  /* nothing */
        {STR("\x95\x03\x01\x00\x00"), CEL_E_FORMAT},              /* too few fields */
        {STR("\x95\x03\x01\x00\x00\xc4\x05xx"), CEL_E_FORMAT},    /* bytes beyond the end */
        {STR("\x95\x03\x01\x00\x00\xc4\x01xy"), CEL_E_FORMAT},    /* bytes left over */
        {STR("\x96\x03\x01\x00\x00\xc4\x01x\xc0"), CEL_E_FORMAT}, /* one field too many */
        {STR("\x95\x09\x01\x00\x00\xc0"), CEL_E_FORMAT},          /* unknown type */
        {STR("\x95\x03\xff\x00\x00\xc0"), CEL_E_FORMAT},          /* a negative number */
        {STR("\x95\x03\xc3\x00\x00\xc0"), CEL_E_FORMAT},          /* a boolean for a number */
        {STR("\x81\x03\x01"), CEL_E_FORMAT},                      /* a map */
        {STR("\x93\x02\x01\xdd\xff\xff\xff\xff"), CEL_E_FORMAT},  /* a list of 4 G */
        {STR("\x93\x02\x01\xdc\x00\x02\xc0\xc0"), CEL_E_FORMAT},  /* elements of another shape */
        {STR("\x9f\x05\x01\x00\xc0\xc0\x00\xc2\xc0\xc0\x00\x90\x90\x90\x90\x90"),
         CEL_E_FORMAT}, /* kind 0 */
        {STR("\x9f\x05\x01\x09\xc0\xc0\x00\xc2\xc0\xc0\x00\x90\x90\x90\x90\x90"),
         CEL_E_FORMAT}, /* kind 9 */
        {STR("\x9f\x05\x01\x01\xc0\xc0\x00\xc2\xc0\xc0\x00\x91\x93\xc4\x00\xc4\x01x\x00"
             "\x90\x90\x90\x90"),
         CEL_E_FORMAT}, /* a send to an empty queue */
        {STR("\x9f\x05\x01\x01\xc0\xc0\x00\xc2\xc0\xc0\x00\x91\x93\xc4\x01q\xc0\x00\x90"
             "\x90\x90\x90"),
         CEL_E_FORMAT}, /* a send of nothing */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_error err = {0};
        assert_int_equal(decode_raw(cases[i].bytes.ptr, cases[i].bytes.len, &err), cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.text, "frame"));
    }
    /* the same bytes with kind 1 are good: it is the kind that was refused */
    static const char bare[] = "\x9f\x05\x01\x01\xc0\xc0\x00\xc2\xc0\xc0\x00\x90\x90\x90\x90\x90";
    static const char one_send[] = "\x9f\x05\x01\x01\xc0\xc0\x00\xc2\xc0\xc0\x00\x91"
                                   "\x93\xc4\x01q\xc4\x01x\x00\x90\x90\x90\x90";
    assert_int_equal(decode_raw(bare, sizeof(bare) - 1, NULL), 0);
    assert_int_equal(decode_raw(one_send, sizeof(one_send) - 1, NULL), 0);
}

static void a_frame_or_list_beyond_the_limits_is_refused(void **state)
{
    (void)state;
    struct frame frame;
    size_t len;
    assert_int_equal(frame_decode(STR("\xff\xff\xff\x7f"), &frame, &len, NULL), CEL_E_LIMIT);
    const size_t count = FRAME_COUNT_MAX + 1;
    char *bytes = xalloc(count + 16);
    memcpy(bytes, "\x93\x02\x01\xdd", 4);
    for (unsigned i = 0; i < 4; i++)
        bytes[4 + i] = (char)(count >> (24 - 8 * i) & 0xff);
    memset(bytes + 8, 0xc0, count);
    assert_int_equal(decode_raw(bytes, 8 + count, NULL), CEL_E_LIMIT);
    mem_free(bytes);
}

static void every_changed_byte_is_read_or_refused(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_outcome(&buf, &whole_outcome);
    size_t refused = 0;
    for (size_t at = FRAME_HEADER; at < buf.len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            char old = buf.ptr[at];
            buf.ptr[at] = (char)value;
            struct frame frame;
            size_t len;
            if (frame_decode(buf_str(&buf), &frame, &len, NULL) == 0)
                frame_deinit(&frame);
            else
                refused++;
            buf.ptr[at] = old;
        }
    }
    assert_true(refused > 0);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf good = BUF_INIT(4096);
    frame_add_outcome(&good, &whole_outcome);
    struct frame frame;
    size_t len;
    mem_fail_after(1);
    struct cel_error err = {0};
    assert_int_equal(frame_decode(buf_str(&good), &frame, &len, &err), -ENOMEM);
    assert_int_equal(err.code, -ENOMEM);
    mem_fail_after(1);
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_outcome(&buf, &whole_outcome);
    assert_int_equal(buf_status(&buf), -ENOMEM);
    mem_fail_after(0);
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(20);
    frame_add_outcome(&small, &whole_outcome);
    assert_int_equal(buf_status(&small), CEL_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setup_comes_back),
        cmocka_unit_test(hello_comes_back),
        cmocka_unit_test(dying_comes_back),
        cmocka_unit_test(run_keeps_the_envelope_byte_for_byte),
        cmocka_unit_test(progress_and_outcome_come_back),
        cmocka_unit_test(results_of_an_outcome_come_back),
        cmocka_unit_test(follow_comes_back),
        cmocka_unit_test(every_beginning_of_a_frame_asks_for_more),
        cmocka_unit_test(frames_are_taken_one_by_one),
        cmocka_unit_test(what_no_sane_peer_sends_is_refused),
        cmocka_unit_test(a_frame_or_list_beyond_the_limits_is_refused),
        cmocka_unit_test(every_changed_byte_is_read_or_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
