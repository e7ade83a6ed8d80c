/* Rates as Celery reads them. */
#include "control/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/json.h"

static int
read_rate(const char *json, bool *ret, char *ret_text, size_t size, struct cel_error *err)
{
    struct buf text = BUF_INIT(256);
    struct cel_value *value = NULL;
    assert_int_equal(json_decode(str_of(json), &value, NULL), 0);
    int r = rate_read(value, &text, ret, err);
    snprintf(ret_text, size, "%s", text.ptr ? text.ptr : "");
    cel_value_free(value);
    buf_deinit(&text);
    return r;
}

static void a_rate_is_a_number_a_unit(void **state)
{
    static const struct {
        const char *json;
        bool is_limit;
        const char *text;
    } cases[] = {
        {"\"10/s\"", true, "10/s"}, {"\"5/m\"", true, "5/m"}, {"\"1/h\"", true, "1/h"},
        {"\"2.5\"", true, "2.5"},   {"3", true, "3"},         {"0.5", true, "0.5"},
        {"0", false, "0"},          {"null", false, "0"},     {"\"\"", false, "0"},
        {"\"0/s\"", false, "0"},    {"false", false, "0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool rate = false;
        char text[64];
        assert_int_equal(read_rate(cases[i].json, &rate, text, sizeof(text), NULL), 0);
        assert_int_equal(rate, cases[i].is_limit);
        assert_string_equal(text, cases[i].text);
    }
}

static void what_is_none_is_refused_in_pythons_words(void **state)
{
    static const char *const cases[][2] = {
        {"\"bogus\"", "ValueError(\"could not convert string to float: 'bogus'\")"},
        {"\"1/x\"", "KeyError('x')"},
        {"\"1/s/m\"", "KeyError('s/m')"},
        {"[1]", "TypeError('[1] is no rate')"},
        {"-1", "ValueError(\"-1 is no rate\")"},
        {"\"inf\"", NULL},
        {"\"nan/m\"", NULL},
        {"NaN", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_error err = {0};
        bool rate;
        char text[64];
        assert_int_equal(read_rate(cases[i][0], &rate, text, sizeof(text), &err), CEL_E_FORMAT);
        if (cases[i][1])
            assert_string_equal(err.text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_a_number_a_unit),
        cmocka_unit_test(what_is_none_is_refused_in_pythons_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
