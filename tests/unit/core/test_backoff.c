#include "core/backoff.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct backoff second_to_minute = {.first = USEC_PER_SEC, .cap = 60 * USEC_PER_SEC};

static void the_delay_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const usec_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    for (unsigned attempt = 0; attempt < ARRAY_SIZE(seconds); attempt++) {
        usec_t whole = seconds[attempt] * USEC_PER_SEC;
        assert_int_equal(backoff_delay(&second_to_minute, attempt, 0), whole / 2);
        assert_int_equal(backoff_delay(&second_to_minute, attempt, whole / 2), whole);
        assert_int_equal(backoff_delay_full_jitter(&second_to_minute, attempt, 0), 0);
        assert_int_equal(backoff_delay_full_jitter(&second_to_minute, attempt, whole), whole);
    }
}

static void any_number_of_attempts_stays_within_the_cap(void **state)
{
    (void)state;
    static const unsigned attempts[] = {6, 31, 32, 43, 44, 62, 63, 64, 65, 1000, UINT32_MAX};
    static const usec_t caps[] = {1, USEC_PER_SEC, 60 * USEC_PER_SEC, UINT64_MAX / 2, UINT64_MAX};
    static const uint64_t randoms[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, 0x9E3779B97F4A7C15u};
    for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(caps); j++) {
            struct backoff backoff = {.first = USEC_PER_SEC, .cap = caps[j]};
            for (size_t k = 0; k < ARRAY_SIZE(randoms); k++) {
                usec_t delay = backoff_delay(&backoff, attempts[i], randoms[k]);
                assert_true(delay <= caps[j]);
                assert_true(delay >= (caps[j] < 60 * USEC_PER_SEC ? caps[j] / 2 : 0));
                assert_true(backoff_delay_full_jitter(&backoff, attempts[i], randoms[k]) <=
                            caps[j]);
            }
        }
    }
}

static void no_first_delay_means_none_at_all(void **state)
{
    (void)state;
    struct backoff none = {.first = 0, .cap = USEC_PER_SEC};
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        assert_int_equal(backoff_delay(&none, attempt, UINT64_MAX), 0);
        assert_int_equal(backoff_delay_full_jitter(&none, attempt, UINT64_MAX), 0);
    }
}

static void delays_spread_over_their_range(void **state)
{
    (void)state;
    unsigned half[10] = {0}, full[10] = {0};
    for (int i = 0; i < 10000; i++) {
        usec_t delay = backoff_delay(&second_to_minute, 0, backoff_random());
        assert_in_range(delay, USEC_PER_SEC / 2, USEC_PER_SEC);
        half[(delay - USEC_PER_SEC / 2) / 50001]++;
        delay = backoff_delay_full_jitter(&second_to_minute, 0, backoff_random());
        assert_in_range(delay, 0, USEC_PER_SEC);
        full[delay / 100001]++;
    }
    for (size_t i = 0; i < 10; i++) { /* 1000 expected; below 700 once in 10^22 runs */
        assert_in_range(half[i], 700, 1300);
        assert_in_range(full[i], 700, 1300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delay_doubles_up_to_the_cap),
        cmocka_unit_test(any_number_of_attempts_stays_within_the_cap),
        cmocka_unit_test(no_first_delay_means_none_at_all),
        cmocka_unit_test(delays_spread_over_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
