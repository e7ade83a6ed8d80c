/* What is asked of a sentinel, and what is made of its answers, however odd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "redis/sentinel.h"

static void the_question_has_the_sentinels_own_password(void **state)
{
    static const struct {
        const char *url, *bytes;
        unsigned replies;
    } cases[] = {
        {"sentinel://:pw@a?master_name=shop",
         "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$4\r\nshop\r\n", 1},
        {"sentinel://:pw@a?master_name=m&sentinel_password=sp",
         "*2\r\n$4\r\nAUTH\r\n$2\r\nsp\r\n"
         "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$1\r\nm\r\n",
         2},
        {"sentinel://a?master_name=m&sentinel_username=su&sentinel_password=sp",
         "*3\r\n$4\r\nAUTH\r\n$2\r\nsu\r\n$2\r\nsp\r\n"
         "*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$1\r\nm\r\n",
         2},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url url;
        struct buf bytes;
        unsigned replies;
        assert_int_equal(url_parse(str_of(cases[i].url), NULL, &url, NULL), 0);
        assert_int_equal(redis_sentinel_question(&url, &bytes, &replies), 0);
        assert_string_equal(bytes.ptr, cases[i].bytes);
        assert_int_equal(replies, cases[i].replies);
        buf_deinit(&bytes);
        url_deinit(&url);
    }
}

static int read_reply(const char *wire, struct redis_sentinel_master *master, struct cel_error *err)
{
    struct reply_reader reader;
    const struct redis_reply *reply;
    assert_int_equal(reply_reader_init(&reader), 0);
    assert_int_equal(reply_reader_feed(&reader, str_of(wire)), 0);
    assert_int_equal(reply_reader_next(&reader, &reply), 0);
    assert_non_null(reply);
    int status = redis_sentinel_read(reply, master, err);
    reply_reader_deinit(&reader);
    return status;
}

static void an_answer_names_a_server(void **state)
{
    static const struct {
        const char *wire, *host;
        uint16_t port;
    } cases[] = {
        {"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n", "127.0.0.1", 6379},
        {"*2\r\n$3\r\n::1\r\n$5\r\n65535\r\n", "::1", 65535},
        {"*2\r\n$10\r\nredis-1.eu\r\n$1\r\n1\r\n", "redis-1.eu", 1},
        {"*2\r\n+10.0.0.7\r\n+7000\r\n", "10.0.0.7", 7000},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct redis_sentinel_master master;
        struct cel_error err = {0};
        if (read_reply(cases[i].wire, &master, &err))
            fail_msg("%s: %s", cases[i].wire, err.text);
        assert_string_equal(master.host, cases[i].host);
        assert_int_equal(master.port, cases[i].port);
    }
}

static void another_answer_is_none(void **state)
{
    static char long_host[600];
    static const struct {
        const char *wire, *words;
    } cases[] = {
        {"*-1\r\n", "knows no master"},
        {"$-1\r\n", "knows no master"},
        {"*0\r\n", "knows no master"},
        {"-NOAUTH Authentication required.\r\n", "NOAUTH"},
        {"-ERR unknown command 'SENTINEL'\r\n", "unknown command"},
        {"-IDONTKNOW I have not enough information\r\n", "IDONTKNOW"},
        {"+OK\r\n", "address and a port"},
        {":1\r\n", "address and a port"},
        {"*1\r\n$9\r\n127.0.0.1\r\n", "address and a port"},
        {"*3\r\n$1\r\nh\r\n$1\r\n1\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n:6379\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n$1\r\n0\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n$5\r\n65536\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n$2\r\n-1\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n$20\r\n99999999999999999999\r\n", "address and a port"},
        {"*2\r\n$1\r\nh\r\n$0\r\n\r\n", "address and a port"},
        {"*2\r\n$0\r\n\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n$3\r\na b\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n$3\r\na\nb\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n$2\r\n\xc3\xa9\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n*1\r\n$1\r\nh\r\n$1\r\n1\r\n", "address and a port"},
        {"*2\r\n$-1\r\n$-1\r\n", "address and a port"},
        {long_host, "address and a port"},
    };
    (void)state;
    snprintf(long_host, sizeof(long_host), "*2\r\n$256\r\n%0256d\r\n$1\r\n1\r\n", 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct redis_sentinel_master master = {.host = "untouched"};
        struct cel_error err = {0};
        if (read_reply(cases[i].wire, &master, &err) != CEL_E_FORMAT ||
            !strstr(err.text, cases[i].words))
            fail_msg("%s: %s", cases[i].wire, err.text);
        assert_string_equal(master.host, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_question_has_the_sentinels_own_password),
        cmocka_unit_test(an_answer_names_a_server),
        cmocka_unit_test(another_answer_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
