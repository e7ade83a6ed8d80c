/* Counts by name. */
#include "control/totals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void each_name_has_its_count(void **state)
{
    struct totals totals = {.items = NULL};
    char name[16];
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "t%u", i * 7 % 100);
        totals_note(&totals, str_of(name));
    }
    totals_note(&totals, STR("t7"));
    assert_int_equal(totals.runs, 301);
    assert_int_equal(totals.count, 100);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        assert_int_equal(totals_of(&totals, str_of(name)), i == 7 ? 4 : 3);
    }
    assert_int_equal(totals_of(&totals, STR("t")), 0);
    totals_deinit(&totals);
    assert_int_equal(totals_of(&totals, STR("t7")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_name_has_its_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
