/* Names of channels and of the queues of remote control. */
#include "commands/redis_command_bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct bus_names plain = {.space = {.prefix = {"", 0}}, .fanout_prefix = {"/0.", 3}};
static const struct bus_names prefixed = {.space = {.prefix = {"p[1]:", 5}},
                                          .fanout_prefix = {"/7.", 3}};

/* The words of a request with a space behind each; separators as "|", the SHA-1 of a script as "SHA". */
static const char *words_of(struct redis_request *request)
{
    static char words[4096];
    struct reply_reader reader;
    const struct redis_reply *reply;
    size_t len = 0;
    assert_int_equal(reply_reader_init(&reader), 0);
    assert_int_equal(reply_reader_feed(&reader, str_n(request->bytes, request->len)), 0);
    assert_int_equal(reply_reader_next(&reader, &reply), 0);
    assert_non_null(reply);
    for (size_t i = 0; i < reply_count(reply); i++) {
        struct str word = reply_text(reply_item(reply, i));
        if (i == 1 && request->script)
            word = STR("SHA");
        len += (size_t)snprintf(words + len, sizeof(words) - len, STR_FORMAT " ", STR_ARGS(word));
    }
    for (char *c = words; *c; c++)
        *c = *c == '\x06' || *c == '\x16' ? '|' : *c;
    reply_reader_deinit(&reader);
    redis_request_deinit(request);
    return words;
}

static void events_go_to_the_channels_that_celery_listens_to(void **state)
{
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(
        bus_command_publish(&request, &plain, STR("celeryev"), STR("task.multi"), STR("m")), 0);
    assert_string_equal(words_of(&request), "PUBLISH /0.celeryev/task.multi m ");
    assert_int_equal(
        bus_command_publish(&request, &prefixed, STR("celery.pidbox"), STR(""), STR("m")), 0);
    assert_string_equal(words_of(&request), "PUBLISH p[1]:/7.celery.pidbox m ");
}

static void a_prefix_is_no_pattern(void **state)
{
    CLEANUP(buf_deinit) struct buf pattern = BUF_INIT(256);
    struct redis_request request = {.bytes = NULL};
    (void)state;
    bus_add_pattern(&pattern, &prefixed, STR("celery.pidbox"), STR(""));
    assert_int_equal(bus_command_listen(&request, buf_str(&pattern)), 0);
    assert_string_equal(words_of(&request), "PSUBSCRIBE p\\[1\\]:/7.celery.pidbox ");
}

static void bindings_are_those_of_kombu(void **state)
{
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(bus_command_bind(&request, &plain, STR("celery.pidbox"), STR(""),
                                      STR("w@h.celery.pidbox"), true),
                     0);
    assert_string_equal(words_of(&request),
                        "SADD _kombu.binding.celery.pidbox ||||w@h.celery.pidbox ");
    assert_int_equal(bus_command_bind(&request, &prefixed, STR("reply.celery.pidbox"), STR("oid"),
                                      STR("oid.reply.celery.pidbox"), false),
                     0);
    assert_string_equal(
        words_of(&request),
        "SREM p[1]:_kombu.binding.reply.celery.pidbox oid||||oid.reply.celery.pidbox ");
}

static void a_reply_goes_to_the_queue_of_its_key(void **state)
{
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(bus_command_reply(&request, &prefixed, STR("reply.x"), STR("oid"), STR("m")),
                     0);
    assert_string_equal(words_of(&request), "EVALSHA SHA 2 p[1]:_kombu.binding.reply.x "
                                            "p[1]:oid.reply.x oid||||oid.reply.x m ");
}

static void replies_are_taken_within_a_time(void **state)
{
    struct redis_request request = {.bytes = NULL};
    (void)state;
    assert_int_equal(bus_command_take(&request, &plain, STR("oid.reply.x"), 1250 * USEC_PER_MSEC),
                     0);
    assert_string_equal(words_of(&request), "BRPOP oid.reply.x 1.250 ");
    assert_int_equal(bus_command_delete(&request, &plain, STR("oid.reply.x")), 0);
    assert_string_equal(words_of(&request), "DEL oid.reply.x ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_go_to_the_channels_that_celery_listens_to),
        cmocka_unit_test(a_prefix_is_no_pattern),
        cmocka_unit_test(bindings_are_those_of_kombu),
        cmocka_unit_test(a_reply_goes_to_the_queue_of_its_key),
        cmocka_unit_test(replies_are_taken_within_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
