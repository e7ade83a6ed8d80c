/* Routes by the name of a task. */
#include "message/routes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"

static void assert_queue(const struct routes *routes, const char *task, const char *queue)
{
    struct str found = routes_queue(routes, str_of(task), STR("otherwise"));
    if (!str_equal(found, str_of(queue)))
        fail_msg("%s goes to %.*s instead of %s", task, STR_ARGS(found), queue);
}

static void the_first_that_matches_counts(void **state)
{
    (void)state;
    struct routes routes = {0};
    assert_int_equal(routes_add(&routes, STR(" shop.tasks.pay=fast, shop.* =shop ,, "), NULL), 0);
    assert_int_equal(routes_add(&routes, STR("*.pay = late, shop.ship = ships"), NULL), 0);
    assert_int_equal(routes.count, 4);
    assert_queue(&routes, "shop.tasks.pay", "fast");
    assert_queue(&routes, "shop.tasks.ship", "shop");
    assert_queue(&routes, "shop.ship", "ships"); /* its own name comes first */
    assert_queue(&routes, "bank.pay", "late");
    assert_queue(&routes, "bank.pays", "otherwise");
    assert_queue(&routes, "bank.save", "otherwise");
    routes_deinit(&routes);
    assert_int_equal(routes_add(&routes, STR(""), NULL), 0);
    assert_queue(&routes, "shop.tasks.pay", "otherwise");
    routes_deinit(&routes);
}

static void what_is_no_route_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"shop.*", "= shop", "shop.* =", "shop.* = a\x06z"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct routes routes = {0};
        struct cel_error err = {0};
        assert_int_equal(routes_add(&routes, str_of(texts[i]), &err), -EINVAL);
        assert_non_null(strstr(err.text, "route \""));
        routes_deinit(&routes);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    int r = -ENOMEM;
    for (size_t n = 1; r; n++) {
        struct routes routes = {0};
        mem_fail_after(n);
        r = routes_add(&routes, STR("a.* = b, c = d"), NULL);
        mem_fail_after(0);
        assert_true(r == 0 || r == -ENOMEM);
        routes_deinit(&routes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_matches_counts),
        cmocka_unit_test(what_is_no_route_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
