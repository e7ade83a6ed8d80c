/* The two lists of requests without a server: replies and times are given. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "commands/redis_command.h"
#include "redis/pipeline.h"

struct asked {
    struct redis_request request;
    int calls, status;
    int64_t number;
};

static void on_reply(struct redis_request *request,
                     int status,
                     const struct redis_reply *reply,
                     const struct cel_error *err)
{
    struct asked *asked = container_of(request, struct asked, request);
    (void)err;
    asked->calls++;
    asked->status = status;
    asked->number = reply_integer(reply, -1);
}

static struct asked asked_until(usec_t deadline)
{
    return (struct asked){
        .request = {.on_reply = on_reply, .deadline_mono = deadline, .answer_mono = USEC_NEVER}};
}

static const struct redis_reply one = {.type = REDIS_INTEGER, .integer = 1};
static const struct redis_reply two = {.type = REDIS_INTEGER, .integer = 2};

static void answers_go_to_requests_in_order(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct redis_socket socket = {.is_writing = false};
    struct asked first = asked_until(1), second = asked_until(1);
    (void)state;
    list_append(&pipeline.sent, &first.request.link);
    list_append(&pipeline.sent, &second.request.link);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &one), 0);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &two), 0);
    assert_int_equal(first.number, 1);
    assert_int_equal(second.number, 2);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &two), PIPELINE_E_UNASKED);
    assert_int_equal(first.calls + second.calls, 2);
}

static void an_error_reply_has_its_code(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct redis_socket socket = {.is_writing = false};
    struct asked first = asked_until(1), second = asked_until(1);
    const struct redis_reply wrong = {.type = REDIS_ERROR, .text = STR("WRONGTYPE x")};
    const struct redis_reply denied = {.type = REDIS_ERROR, .text = STR("NOPERM x")};
    (void)state;
    list_append(&pipeline.sent, &first.request.link);
    list_append(&pipeline.sent, &second.request.link);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &wrong), 0);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &denied), 0);
    assert_int_equal(first.status, CEL_E_SERVER);
    assert_int_equal(second.status, CEL_E_AUTH);
}

static void a_lost_script_is_tried_again_a_few_times(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct redis_socket socket = {.scripts = 1u << 5 | 1};
    const struct redis_script script = {.number = 5};
    const struct redis_reply lost = {.type = REDIS_ERROR, .text = STR("NOSCRIPT No matching")};
    struct asked asked = asked_until(1);
    (void)state;
    asked.request.script = &script;
    list_append(&pipeline.sent, &asked.request.link);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pipeline_answer(&pipeline, &socket, &lost), PIPELINE_E_AGAIN);
        assert_int_equal(socket.scripts, 1);
        list_append(&pipeline.sent, list_pop(&pipeline.waiting));
    }
    assert_int_equal(pipeline_answer(&pipeline, &socket, &lost), 0);
    assert_int_equal(asked.status, CEL_E_SERVER);
}

static void a_lost_script_does_not_change_the_order(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct redis_socket socket = {.is_writing = false};
    const struct redis_script store = {.number = 1}, complete = {.number = 2};
    const struct redis_reply lost = {.type = REDIS_ERROR, .text = STR("NOSCRIPT No matching")};
    struct asked started = asked_until(1), progress = asked_until(1), final = asked_until(1);
    (void)state;
    started.request.script = progress.request.script = &store;
    final.request.script = &complete;
    list_append(&pipeline.sent, &started.request.link);
    list_append(&pipeline.sent, &progress.request.link);
    list_append(&pipeline.waiting, &final.request.link);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &lost), PIPELINE_E_AGAIN);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &lost), PIPELINE_E_AGAIN);
    assert_int_equal(pipeline.waiting.count, 3);
    assert_ptr_equal(list_pop(&pipeline.waiting), &started.request.link);
    assert_ptr_equal(list_pop(&pipeline.waiting), &progress.request.link);
    assert_ptr_equal(list_pop(&pipeline.waiting), &final.request.link);
}

static void what_was_not_run_waits_again_in_its_order(void **state)
{
    static const struct {
        const char *words;
        int condition;
    } cases[] = {
        {"READONLY You can't write against a read only replica.", PIPELINE_E_LEAVE},
        {"BUSY Redis is busy running a script.", PIPELINE_E_PAUSE},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
        struct redis_socket socket = {.is_writing = false};
        const struct redis_reply refusal = {.type = REDIS_ERROR, .text = str_of(cases[i].words)};
        struct asked a = asked_until(1), b = asked_until(2), c = asked_until(3), d = asked_until(4);
        struct list overdue = {NULL, NULL, 0};
        usec_t earliest = USEC_NEVER;
        list_append(&pipeline.sent, &a.request.link);
        list_append(&pipeline.sent, &b.request.link);
        list_append(&pipeline.sent, &c.request.link);
        list_append(&pipeline.waiting, &d.request.link);
        assert_int_equal(pipeline_answer(&pipeline, &socket, &refusal), cases[i].condition);
        assert_int_equal(a.calls, 0);
        assert_int_equal(pipeline_earliest(&pipeline), 1);
        /* d would overtake a and c */
        assert_int_equal(pipeline_write(&pipeline, &socket, &earliest), 0);
        assert_ptr_equal(pipeline.waiting.head, &d.request.link);
        assert_int_equal(pipeline_answer(&pipeline, &socket, &one), 0);
        assert_int_equal(b.calls, 1);
        assert_int_equal(pipeline_answer(&pipeline, &socket, &refusal), cases[i].condition);
        assert_ptr_equal(pipeline.waiting.head, &a.request.link);
        assert_ptr_equal(a.request.link.next, &c.request.link);
        assert_ptr_equal(c.request.link.next, &d.request.link);
        pipeline_expire(&pipeline, 3, &overdue);
        assert_int_equal(overdue.count, 2);
        assert_int_equal(a.calls + c.calls + d.calls, 0);
    }
}

static void what_waits_again_keeps_its_deadline_and_may_be_taken_back(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct redis_socket socket = {.is_writing = false};
    const struct redis_reply refusal = {.type = REDIS_ERROR, .text = STR("LOADING x")};
    struct asked a = asked_until(1), b = asked_until(2), c = asked_until(3);
    struct list list = {NULL, NULL, 0};
    (void)state;
    c.request.repeatable = true;
    list_append(&pipeline.sent, &a.request.link);
    list_append(&pipeline.sent, &b.request.link);
    list_append(&pipeline.sent, &c.request.link);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &refusal), PIPELINE_E_LEAVE);
    assert_int_equal(pipeline_answer(&pipeline, &socket, &refusal), PIPELINE_E_LEAVE);
    pipeline_expire(&pipeline, 1, &list);
    assert_ptr_equal(list_pop(&list), &a.request.link);
    assert_null(list.head);
    pipeline_recall(&pipeline, &list);
    assert_null(list.head);
    assert_ptr_equal(pipeline.waiting.head, &b.request.link);
    assert_ptr_equal(pipeline.waiting.tail, &c.request.link);
    assert_true(pipeline_take_back(&pipeline, &b.request));
    list_append(&pipeline.refused, &b.request.link);
    assert_true(pipeline_take_back(&pipeline, &b.request));
    assert_false(pipeline_take_back(&pipeline, &b.request));
}

static void what_may_be_repeated_waits_again_in_front(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct asked a = asked_until(1), b = asked_until(1), c = asked_until(1), d = asked_until(1);
    struct list lost = {NULL, NULL, 0};
    (void)state;
    a.request.repeatable = c.request.repeatable = true;
    c.request.answer_mono = 5;
    list_append(&pipeline.sent, &a.request.link);
    list_append(&pipeline.sent, &b.request.link);
    list_append(&pipeline.sent, &c.request.link);
    list_append(&pipeline.waiting, &d.request.link);
    pipeline_recall(&pipeline, &lost);
    assert_int_equal(pipeline.sent.count, 0);
    assert_ptr_equal(list_pop(&lost), &b.request.link);
    assert_null(list_pop(&lost));
    assert_ptr_equal(list_pop(&pipeline.waiting), &a.request.link);
    assert_ptr_equal(list_pop(&pipeline.waiting), &c.request.link);
    assert_ptr_equal(list_pop(&pipeline.waiting), &d.request.link);
    assert_true(c.request.answer_mono == USEC_NEVER);
}

static void deadlines_are_found(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct asked early = asked_until(10), late = asked_until(20), sent = asked_until(50);
    struct list overdue = {NULL, NULL, 0};
    (void)state;
    assert_true(pipeline_earliest(&pipeline) == USEC_NEVER);
    assert_false(pipeline_is_overdue(&pipeline, USEC_NEVER - 1));
    list_append(&pipeline.waiting, &late.request.link);
    list_append(&pipeline.waiting, &early.request.link);
    list_append(&pipeline.sent, &sent.request.link);
    assert_int_equal(pipeline_earliest(&pipeline), 10);
    assert_false(pipeline_is_overdue(&pipeline, 49));
    assert_true(pipeline_is_overdue(&pipeline, 50));
    sent.request.answer_mono = 5;
    assert_int_equal(pipeline_earliest(&pipeline), 5);
    assert_true(pipeline_is_overdue(&pipeline, 5));
    pipeline_expire(&pipeline, 10, &overdue);
    assert_int_equal(overdue.count, 1);
    requests_tell(&overdue, -ETIMEDOUT, NULL);
    assert_int_equal(early.status, -ETIMEDOUT);
    assert_int_equal(late.calls, 0);
}

static void only_what_was_not_sent_is_taken_back(void **state)
{
    struct redis_pipeline pipeline = {.waiting = {NULL, NULL, 0}};
    struct asked waiting = asked_until(1), sent = asked_until(1);
    (void)state;
    list_append(&pipeline.waiting, &waiting.request.link);
    list_append(&pipeline.sent, &sent.request.link);
    assert_false(pipeline_take_back(&pipeline, &sent.request));
    assert_true(pipeline_take_back(&pipeline, &waiting.request));
    assert_false(pipeline_take_back(&pipeline, &waiting.request));
    assert_int_equal(pipeline.waiting.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_go_to_requests_in_order),
        cmocka_unit_test(an_error_reply_has_its_code),
        cmocka_unit_test(a_lost_script_is_tried_again_a_few_times),
        cmocka_unit_test(a_lost_script_does_not_change_the_order),
        cmocka_unit_test(what_was_not_run_waits_again_in_its_order),
        cmocka_unit_test(what_waits_again_keeps_its_deadline_and_may_be_taken_back),
        cmocka_unit_test(what_may_be_repeated_waits_again_in_front),
        cmocka_unit_test(deadlines_are_found),
        cmocka_unit_test(only_what_was_not_sent_is_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
