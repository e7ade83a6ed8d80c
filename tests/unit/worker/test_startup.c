/* Names of a node. */
#include "worker/startup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"

static void expect_name(const char *pattern, const char *host, const char *expected)
{
    char *name = NULL;
    struct cel_error err = {0};
    assert_int_equal(startup_node_name(pattern, host, &name, &err), 0);
    assert_string_equal(name, expected);
    mem_free(name);
}

static void node_names_are_celerys(void **state)
{
    (void)state;
    expect_name("celery@%h", "web1.example.org", "celery@web1.example.org");
    expect_name("w1@%n", "web1.example.org", "w1@web1");
    expect_name("w1@%d", "web1.example.org", "w1@example.org");
    expect_name("w1@%n", "web1", "w1@web1");
    expect_name("%n", "web1.example.org", "web1@web1.example.org");
    expect_name("shop", "web1", "shop@web1");
    expect_name("100%%@x", "web1", "100%@x");
}

static void other_percents_are_refused(void **state)
{
    (void)state;
    const char *bad[] = {"%", "w@%", "w%i@%h", "%H"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *name = NULL;
        struct cel_error err = {0};
        assert_int_equal(startup_node_name(bad[i], "web1", &name, &err), CEL_E_CONFIG);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_names_are_celerys),
        cmocka_unit_test(other_percents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
