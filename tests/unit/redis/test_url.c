#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"
#include "redis/url.h"

static void check_text(const char *actual, const char *expected, const char *url)
{
    if (!actual != !expected || (actual && strcmp(actual, expected)))
        fail_msg("%s: %s, not %s", url, actual ? actual : "(none)", expected ? expected : "(none)");
}

static void urls_as_people_write_them_are_understood(void **state)
{
    static const struct {
        const char *url, *host, *path, *user, *password, *display;
        uint16_t port;
        uint32_t db;
    } cases[] = {
        {"redis://", "localhost", NULL, NULL, NULL, "redis://localhost:6379/0", 6379, 0},
        {"redis:///", "localhost", NULL, NULL, NULL, "redis://localhost:6379/0", 6379, 0},
        {"redis://h", "h", NULL, NULL, NULL, "redis://h:6379/0", 6379, 0},
        {"redis://h:1/5", "h", NULL, NULL, NULL, "redis://h:1/5", 1, 5},
        {"redis://h:65535/", "h", NULL, NULL, NULL, "redis://h:65535/0", 65535, 0},
        {"redis://h?db=7", "h", NULL, NULL, NULL, "redis://h:6379/7", 6379, 7},
        {"redis://h/1?virtual_host=/3", "h", NULL, NULL, NULL, "redis://h:6379/3", 6379, 3},
        {"redis://:pw@h", "h", NULL, NULL, "pw", "redis://h:6379/0", 6379, 0},
        {"redis://me:pw@h", "h", NULL, "me", "pw", "redis://h:6379/0", 6379, 0},
        {"redis://me@h", "h", NULL, "me", NULL, "redis://h:6379/0", 6379, 0},
        {"redis://:p:w@h", "h", NULL, NULL, "p:w", "redis://h:6379/0", 6379, 0},
        {"redis://:p@w@h", "h", NULL, NULL, "p@w", "redis://h:6379/0", 6379, 0},
        {"redis://%6de:%2F%40%3A%23%3F%25@h", "h", NULL, "me", "/@:#?%", "redis://h:6379/0", 6379,
         0},
        {"redis://[::1]:7/2", "::1", NULL, NULL, NULL, "redis://[::1]:7/2", 7, 2},
        {"redis://[fe80::1]", "fe80::1", NULL, NULL, NULL, "redis://[fe80::1]:6379/0", 6379, 0},
        {"redis://h?password=pw&username=me", "h", NULL, "me", "pw", "redis://h:6379/0", 6379, 0},
        {"redis://h?socket_timeout=5&retry_on_timeout=true", "h", NULL, NULL, NULL,
         "redis://h:6379/0", 6379, 0},
        {"unix:///run/r.sock", NULL, "/run/r.sock", NULL, NULL, "unix:///run/r.sock", 0, 0},
        {"unix:///run/r.sock?db=4", NULL, "/run/r.sock", NULL, NULL, "unix:///run/r.sock?db=4", 0,
         4},
        {"unix://me:pw@/run/r.sock", NULL, "/run/r.sock", "me", "pw", "unix:///run/r.sock", 0, 0},
        {"redis+socket:///r.sock?virtual_host=2", NULL, "/r.sock", NULL, NULL,
         "unix:///r.sock?db=2", 0, 2},
        {"socket:///a%20b", NULL, "/a b", NULL, NULL, "unix:///a b", 0, 0},
        {"unix:///a@b", NULL, "/a@b", NULL, NULL, "unix:///a@b", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url url;
        struct cel_error err = {0};
        if (url_parse(str_of(cases[i].url), NULL, &url, &err))
            fail_msg("%s: %s", cases[i].url, err.text);
        check_text(url.host, cases[i].host, cases[i].url);
        check_text(url.path, cases[i].path, cases[i].url);
        check_text(url.user, cases[i].user, cases[i].url);
        check_text(url.password, cases[i].password, cases[i].url);
        check_text(url.display, cases[i].display, cases[i].url);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.db, cases[i].db);
        url_deinit(&url);
    }
}

static void sentinels_as_people_write_them_are_understood(void **state)
{
    static const struct {
        const char *url, *hosts, *user, *password, *name, *sentinel_user, *sentinel_password;
        const char *display;
        uint32_t db;
    } cases[] = {
        /* as Celery's documentation has it */
        {"sentinel://localhost:26379;sentinel://localhost:26380;sentinel://localhost:26381"
         "?master_name=cluster1",
         "localhost:26379 localhost:26380 localhost:26381 ", NULL, NULL, "cluster1", NULL, NULL,
         "sentinel://localhost:26379;localhost:26380;localhost:26381/0?master_name=cluster1", 0},
        {"sentinel://0.0.0.0:26379;sentinel://0.0.0.0:26380/0?service_name=m",
         "0.0.0.0:26379 0.0.0.0:26380 ", NULL, NULL, "m", NULL, NULL,
         "sentinel://0.0.0.0:26379;0.0.0.0:26380/0?master_name=m", 0},
        {"sentinel://:pw@a:1/2;sentinel://:other@b:2/3;c:3?master_name=m&sentinel_password=sp",
         "a:1 b:2 c:3 ", NULL, "pw", "m", NULL, "sp", "sentinel://a:1;b:2;c:3/2?master_name=m", 2},
        {"sentinel://me:pw@a;b/4?master_name=m.1-_x&sentinel_username=su&sentinel_password=s%40p",
         "a:26379 b:26379 ", "me", "pw", "m.1-_x", "su", "s@p",
         "sentinel://a:26379;b:26379/4?master_name=m.1-_x", 4},
        {"sentinel://a?master_name=m;sentinel://b?master_name=n;", "a:26379 b:26379 ", NULL, NULL,
         "m", NULL, NULL, "sentinel://a:26379;b:26379/0?master_name=m", 0},
        {"sentinel://[::1]:7?master_name=m", "::1:7 ", NULL, NULL, "m", NULL, NULL,
         "sentinel://[::1]:7/0?master_name=m", 0},
        {"sentinel://?master_name=m", "localhost:26379 ", NULL, NULL, "m", NULL, NULL,
         "sentinel://localhost:26379/0?master_name=m", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url url;
        struct cel_error err = {0};
        char hosts[256] = "";
        if (url_parse(str_of(cases[i].url), NULL, &url, &err))
            fail_msg("%s: %s", cases[i].url, err.text);
        for (unsigned n = 0; n < url.sentinel_count; n++)
            snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "%s:%u ",
                     url.sentinels[n].name, url.sentinels[n].port);
        check_text(hosts, cases[i].hosts, cases[i].url);
        check_text(url.host, NULL, cases[i].url);
        check_text(url.user, cases[i].user, cases[i].url);
        check_text(url.password, cases[i].password, cases[i].url);
        check_text(url.master_name, cases[i].name, cases[i].url);
        check_text(url.sentinel_user, cases[i].sentinel_user, cases[i].url);
        check_text(url.sentinel_password, cases[i].sentinel_password, cases[i].url);
        check_text(url.display, cases[i].display, cases[i].url);
        assert_int_equal(url.db, cases[i].db);
        url_deinit(&url);
    }
}

static void settings_say_what_the_url_of_sentinels_does_not(void **state)
{
    static const struct url_sentinel settings = {
        .master_name = "theirs", .user = "su", .password = "hunter2"};
    struct url url;
    struct cel_error err = {0};
    (void)state;
    assert_int_equal(url_parse(STR("sentinel://a"), &settings, &url, &err), 0);
    check_text(url.master_name, "theirs", "settings");
    check_text(url.sentinel_user, "su", "settings");
    check_text(url.sentinel_password, "hunter2", "settings");
    check_text(url.display, "sentinel://a:26379/0?master_name=theirs", "settings");
    url_deinit(&url);
    assert_int_equal(
        url_parse(STR("sentinel://a?master_name=ours&sentinel_password=pw"), &settings, &url, &err),
        0);
    check_text(url.master_name, "ours", "URL");
    check_text(url.sentinel_user, NULL, "URL"); /* theirs has another password */
    check_text(url.sentinel_password, "pw", "URL");
    url_deinit(&url);
    assert_int_equal(url_parse(STR("redis://h"), &settings, &url, &err), 0);
    check_text(url.master_name, NULL, "redis");
    check_text(url.sentinel_password, NULL, "redis");
    url_deinit(&url);
}

static void other_urls_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *url;
        int status;
        const char *words;
    } cases[] = {
        {"", -EINVAL, "redis://"},
        {"localhost:6379", -EINVAL, "redis://"},
        {"redis:h", -EINVAL, "redis://"},
        {"amqp://guest@h//", -EINVAL, "redis://"},
        {"REDIS://h", -EINVAL, "redis://"},
        {"rediss://h", CEL_E_UNSUPPORTED, "TLS"},
        {"sentinel://a:1;b:2", -EINVAL, "master_name"},
        {"sentinel://a:1;b:2?master_name=", -EINVAL, "master_name"},
        {"sentinel://a?master_name=two%20words", -EINVAL, "master_name"},
        {"sentinel://a;redis://b?master_name=m", -EINVAL, "Each part"},
        {"sentinel://a;rediss://b?master_name=m", -EINVAL, "Each part"},
        {"sentinel://;", -EINVAL, "no sentinel"},
        {"sentinel://a:1;b:x?master_name=m", -EINVAL, "port"},
        {"sentinel://a/x?master_name=m", -EINVAL, "database"},
        {"sentinel://a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q?master_name=m", -EINVAL, "16"},
        {"redis://h?master_name=m", -EINVAL, "no sentinel://"},
        {"redis://h?sentinel_password=hunter2", -EINVAL, "no sentinel://"},
        {"redis://a;redis://b", CEL_E_UNSUPPORTED, "Several"},
        {"redis://h?ssl_cert_reqs=none", CEL_E_UNSUPPORTED, "TLS"},
        {"redis://h:0", -EINVAL, "port"},
        {"redis://h:65536", -EINVAL, "port"},
        {"redis://h:x", -EINVAL, "port"},
        {"redis://h/x", -EINVAL, "\"x\""},
        {"redis://h/-1", -EINVAL, "database"},
        {"redis://h/0/1", -EINVAL, "database"},
        {"redis://h/2147483648", -EINVAL, "database"},
        {"redis://h?db=one", -EINVAL, "database"},
        {"redis://h?colour=red", -EINVAL, "\"colour\""},
        {"redis://[::1", -EINVAL, "]"},
        {"redis://[::1]x", -EINVAL, "]"},
        {"redis://a b", -EINVAL, "host name"},
        {"redis://:p#w@h", -EINVAL, "%23"},
        {"redis://:p%zz@h", -EINVAL, "%25"},
        {"redis://:p%4@h", -EINVAL, "%25"},
        {"redis://:p%@h", -EINVAL, "%25"},
        {"redis://:p%00w@h", -EINVAL, "%25"},
        {"unix://", -EINVAL, "whole path"},
        {"unix:///", -EINVAL, "whole path"},
        {"unix://run/r.sock", -EINVAL, "whole path"},
        {"redis://h?socket_connect_timeout=soon", -EINVAL, "socket_connect_timeout"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url url;
        struct cel_error err = {0};
        int status = url_parse(str_of(cases[i].url), NULL, &url, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].words))
            fail_msg("%s: %d %s", cases[i].url, status, err.text);
    }
}

static void a_password_is_never_shown(void **state)
{
    static const char *const urls[] = {
        "redis://me:hunter2@h:bad",
        "redis://me:hunter2@h/bad",
        "redis://me:hunter2@h?x=1",
        "redis://:hunter2%@h",
        "unix://me:hunter2@",
        "redis://me:hunter2/x@h",
        "redis://me:hunter2 @h:1:2",
        "redis://me:hunter2#@h",
        "rediss://me:hunter2@h",
        "sentinel://:hunter2@h",
        "sentinel://:hunter2@h;b:x?master_name=m",
        "sentinel://h?master_name=m&sentinel_password=hunter2&x=1",
        "sentinel://:hunter2;@h?master_name=m",
        "sentinel://h?master_name=m&sentinel_password=%hunter2",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct url url;
        struct cel_error err = {0};
        assert_true(url_parse(str_of(urls[i]), NULL, &url, &err) < 0);
        if (strstr(err.text, "hunter2"))
            fail_msg("%s: %s", urls[i], err.text);
    }
}

static void long_parts_are_refused(void **state)
{
    static const char *const heads[] = {"redis://", "redis://:", "unix:///", "redis://h/"};
    static char text[4096];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct url url;
        memset(text, 'a', sizeof(text) - 3);
        memcpy(text, heads[i], strlen(heads[i]));
        memcpy(text + sizeof(text) - 3, i == 1 ? "@h" : "aa", 3);
        assert_int_equal(url_parse(str_of(text), NULL, &url, NULL), -EINVAL);
    }
}

static void a_timeout_may_be_given(void **state)
{
    struct url url;
    (void)state;
    assert_int_equal(url_parse(STR("redis://h?socket_connect_timeout=1.5"), NULL, &url, NULL), 0);
    assert_int_equal(url.connect_timeout, 1500000);
    url_deinit(&url);
}

static void same_servers_are_recognised(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"redis://h", "redis://h:6379/0", true},
        {"redis://h", "redis://h/1", false},
        {"redis://h", "redis://i", false},
        {"redis://h", "redis://:pw@h", false},
        {"unix:///s", "redis+socket:///s", true},
        {"unix:///s", "redis://s", false},
        {"sentinel://a;b?master_name=m", "sentinel://a:26379;sentinel://b/0?service_name=m", true},
        {"sentinel://a;b?master_name=m", "sentinel://a;b?master_name=n", false},
        {"sentinel://a;b?master_name=m", "sentinel://a;c?master_name=m", false},
        {"sentinel://a;b?master_name=m", "sentinel://a?master_name=m", false},
        {"sentinel://a?master_name=m", "sentinel://a?master_name=m&sentinel_password=p", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct url a, b;
        assert_int_equal(url_parse(str_of(cases[i].a), NULL, &a, NULL), 0);
        assert_int_equal(url_parse(str_of(cases[i].b), NULL, &b, NULL), 0);
        assert_int_equal(url_same(&a, &b), cases[i].same);
        url_deinit(&a);
        url_deinit(&b);
    }
}

static void short_memory_is_told(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct url url;
        mem_fail_after(n);
        int status = url_parse(STR("sentinel://me:pw@h:1/2;b?master_name=m&sentinel_username=u&"
                                   "sentinel_password=p"),
                               NULL, &url, NULL);
        mem_fail_after(0);
        if (!status) {
            assert_true(n > 8);
            url_deinit(&url);
            break;
        }
        assert_int_equal(status, -ENOMEM);
    }
    for (size_t n = 1;; n++) {
        struct url url;
        mem_fail_after(n);
        int status = url_parse(STR("redis://me:pw@h:1/2"), NULL, &url, NULL);
        mem_fail_after(0);
        if (!status) {
            assert_true(n > 3);
            url_deinit(&url);
            break;
        }
        assert_int_equal(status, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_as_people_write_them_are_understood),
        cmocka_unit_test(sentinels_as_people_write_them_are_understood),
        cmocka_unit_test(settings_say_what_the_url_of_sentinels_does_not),
        cmocka_unit_test(other_urls_are_refused_with_a_reason),
        cmocka_unit_test(a_password_is_never_shown),
        cmocka_unit_test(long_parts_are_refused),
        cmocka_unit_test(a_timeout_may_be_given),
        cmocka_unit_test(same_servers_are_recognised),
        cmocka_unit_test(short_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
