#include "worker/autoscale.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void bounds_are_read_as_celery_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned max, min;
    } cases[] = {
        {"10,3", 10, 3}, {"3,10", 10, 3}, {"10", 10, 0}, {" 4 , 4 ", 4, 4}, {"1024,0", 1024, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct autoscale_bounds bounds = {0};
        assert_int_equal(autoscale_parse(str_of(cases[i].text), &bounds, NULL), 0);
        assert_int_equal(bounds.max, cases[i].max);
        assert_int_equal(bounds.min, cases[i].min);
    }
    static const char *const wrong[] = {"", "x", "10,", ",3", "1,2,3", "-1,2", "1025", "0", "0,0"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct autoscale_bounds bounds = {.max = 7};
        struct cel_error err = {0};
        assert_int_equal(autoscale_parse(str_of(wrong[i]), &bounds, &err), CEL_E_CONFIG);
        assert_int_equal(bounds.max, 7);
        assert_non_null(strstr(err.text, "as in \"10,3\""));
    }
}

static struct autoscale scale; /* as autoscale_init leaves it, but without a loop */
static usec_t now;

static void begin(unsigned max, unsigned min)
{
    now = 1000 * USEC_PER_SEC;
    scale = (struct autoscale){.bounds = {.max = max, .min = min},
                               .keepalive = 30 * USEC_PER_SEC,
                               .step = 1,
                               .spare = SIZE_MAX,
                               .since_mono = now};
}

/* A look, a tenth of a second after the one before. */
static unsigned looked(size_t size, size_t idle, bool work_waits)
{
    now += AUTOSCALE_LOOK_USEC;
    return autoscale_look(
        &scale, &(struct autoscale_view){.size = size, .idle = idle, .work_waits = work_waits},
        now);
}

static void work_that_waits_makes_it_grow_faster_and_faster(void **state)
{
    (void)state;
    begin(12, 2);
    assert_int_equal(looked(2, 0, true), 2); /* a moment is nothing */
    assert_int_equal(looked(2, 0, true), 3);
    now += AUTOSCALE_LOOK_USEC;
    const struct autoscale_view starting = {.size = 3, .starting = 1, .work_waits = true};
    assert_int_equal(autoscale_look(&scale, &starting, now), 3); /* one is on its way */
    assert_int_equal(looked(3, 0, true), 3);
    assert_int_equal(looked(3, 0, true), 4);
    assert_int_equal(looked(4, 0, true), 6);
    assert_int_equal(looked(6, 0, true), 10);
    assert_int_equal(looked(10, 0, true), 12);
    assert_int_equal(looked(12, 0, true), 12);
    assert_int_equal(looked(12, 0, false), 12); /* all at work, nothing waits */
    assert_int_equal(looked(12, 1, true), 12);
}

static void what_was_idle_throughout_the_time_is_too_many(void **state)
{
    (void)state;
    begin(10, 2);
    assert_int_equal(looked(10, 0, false), 10);
    for (unsigned i = 0; i < 299; i++)
        assert_int_equal(looked(10, i == 100 ? 3 : 7, false), 10);
    assert_int_equal(looked(10, 7, false), 7);
    for (unsigned i = 0; i < 299; i++)
        assert_int_equal(looked(7, 7, false), 7);
    assert_int_equal(looked(7, 7, false), 2); /* not below the least */
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(looked(2, 2, false), 2);
}

static void a_moment_without_an_idle_child_begins_the_time_anew(void **state)
{
    (void)state;
    begin(10, 0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 250; i++)
            assert_int_equal(looked(4, 3, false), 4);
        assert_int_equal(looked(4, 0, false), 4);
    }
    for (unsigned i = 0; i < 299; i++)
        assert_int_equal(looked(4, 4, false), 4);
    assert_int_equal(looked(4, 4, false), 1); /* one is always there: it knows the tasks */
}

static void it_stays_between_its_bounds(void **state)
{
    (void)state;
    begin(5, 3);
    assert_int_equal(looked(9, 1, false), 5);
    assert_int_equal(looked(1, 1, false), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_read_as_celery_reads_them),
        cmocka_unit_test(work_that_waits_makes_it_grow_faster_and_faster),
        cmocka_unit_test(what_was_idle_throughout_the_time_is_too_many),
        cmocka_unit_test(a_moment_without_an_idle_child_begins_the_time_anew),
        cmocka_unit_test(it_stays_between_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
