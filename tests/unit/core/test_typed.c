#include "core/typed.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_kept(enum cel_type type, const char *text, const char *expected)
{
    char room[TYPED_ROOM];
    struct str kept = STR_NONE;
    if (!typed_form(type, str_of(text), room, &kept))
        fail_msg("%s was refused as %s", text, cel_type_name(type));
    if (!str_equal(kept, str_of(expected)))
        fail_msg("%s is kept as " STR_FORMAT, text, STR_ARGS(kept));
}

static void assert_refused(enum cel_type type, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char room[TYPED_ROOM];
        struct str kept;
        if (typed_form(type, str_of(texts[i]), room, &kept))
            fail_msg("\"%s\" passed as %s", texts[i], cel_type_name(type));
    }
}

static void integers_are_digits_without_leading_zeros(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "-",   "+1", "01", "-01", "00",
                                        "1.0", "1e3", " 1", "1 ", "0x1"};
    assert_kept(CEL_BIGINT, "0", "0");
    assert_kept(CEL_BIGINT, "-0", "-0");
    assert_kept(CEL_BIGINT, "-18446744073709551616", "-18446744073709551616");
    assert_refused(CEL_BIGINT, wrong, ARRAY_SIZE(wrong));
}

static void decimals_are_what_python_reads(void **state)
{
    (void)state;
    static const char *const right[] = {
        "1.10",     "-0",
        "+.5",      "5.",
        "1E+3",     "0E-8",
        "1e-7",     "NaN",
        "sNaN",     "-nan",
        "Infinity", "-inf",
        "NaN123",   "123456789012345678901234567890.000000000000000000000000001"};
    static const char *const wrong[] = {"",     "-",     ".",    "e5",  "1e",  "1e+",
                                        "1,5",  "1.2.3", "0x1",  " 1",  "1_0", "Infinit",
                                        "inf1", "--1",   "NaNx", "1 0", "+-1"};
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        assert_kept(CEL_DECIMAL, right[i], right[i]);
    assert_refused(CEL_DECIMAL, wrong, ARRAY_SIZE(wrong));
}

static void dates_are_days_of_the_calendar(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",           "2024-2-29",  "2023-02-29", "1900-02-29", "2024-13-01",          "2024-00-01",
        "2024-01-00", "2024-04-31", "0000-01-01", "24-01-01",   "2024-01-01T00:00:00", "20240101",
        "2024/01/01", "2024-01-0a", "2024-01-",   "-024-01-01"};
    assert_kept(CEL_DATE, "2024-02-29", "2024-02-29");
    assert_kept(CEL_DATE, "2000-02-29", "2000-02-29");
    assert_kept(CEL_DATE, "0001-01-01", "0001-01-01");
    assert_kept(CEL_DATE, "9999-12-31", "9999-12-31");
    assert_refused(CEL_DATE, wrong, ARRAY_SIZE(wrong));
}

static void datetimes_are_kept_as_python_writes_them(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        /* what Python writes stays */
        {"2024-02-29T12:30:15.123456", "2024-02-29T12:30:15.123456"},
        {"2024-02-29T12:00:00+00:00", "2024-02-29T12:00:00+00:00"},
        {"2024-02-29T12:00:00-05:30", "2024-02-29T12:00:00-05:30"},
        {"1890-01-01T00:00:00+00:53:28", "1890-01-01T00:00:00+00:53:28"},
        {"2024-02-29T12:00:00+00:53:28.000001", "2024-02-29T12:00:00+00:53:28.000001"},
        /* PostgreSQL */
        {"2024-02-29 12:30:15.12+00", "2024-02-29T12:30:15.120000+00:00"},
        {"2024-02-29 12:30:15", "2024-02-29T12:30:15"},
        {"2024-02-29 12:30:15.5-03:30", "2024-02-29T12:30:15.500000-03:30"},
        /* others */
        {"2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"},
        {"2024-02-29T12:00:00.123456789Z", "2024-02-29T12:00:00.123456+00:00"},
        {"2024-02-29T12:00:00.000000", "2024-02-29T12:00:00"},
        {"2024-02-29T12:00:00.0000009", "2024-02-29T12:00:00"},
        {"2024-02-29T12:00+0530", "2024-02-29T12:00:00+05:30"},
        {"2024-02-29T12:00:00-00:00", "2024-02-29T12:00:00+00:00"},
        {"2024-02-29", "2024-02-29T00:00:00"},
    };
    static const char *const wrong[] = {
        "",
        "2024-02-30T00:00:00",
        "2024-02-29T24:00:00",
        "2024-02-29T12:60:00",
        "2024-02-29T12:00:60",
        "2024-02-29T12",
        "2024-02-29T",
        "2024-02-29T12:00:00.",
        "2024-02-29T12:00:00.1234567890",
        "2024-02-29T12:00:00,5",
        "2024-02-29T12:00:00+",
        "2024-02-29T12:00:00+5",
        "2024-02-29T12:00:00+24:00",
        "2024-02-29T12:00:00+05:60",
        "2024-02-29T12:00:00 +05:00",
        "2024-02-29T12:00:00Zx",
        "2024-02-29T12:00:00+05:30x",
        "2024-02-29x12:00:00",
        "2024-02-29T12:00:00+05300",
        "now",
        "2024-02-29T12:00:00.-5",
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        assert_kept(CEL_DATETIME, pairs[i][0], pairs[i][1]);
    assert_refused(CEL_DATETIME, wrong, ARRAY_SIZE(wrong));
}

static void times_of_day_likewise(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "1:02:03", "25:00:00", "01", "01:02:", "2024-01-01"};
    assert_kept(CEL_TIME, "01:02:03", "01:02:03");
    assert_kept(CEL_TIME, "01:02", "01:02:00");
    assert_kept(CEL_TIME, "23:59:59.5+02", "23:59:59.500000+02:00");
    assert_refused(CEL_TIME, wrong, ARRAY_SIZE(wrong));
}

static void uuids_are_kept_in_small_letters(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "00000000000000000000000000000005",
        "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-0000000000055",
        "00000000-0000-0000-0000-00000000000g",
        "0000000-00000-0000-0000-000000000005",
        "{0000000-0000-0000-0000-00000000000}",
    };
    assert_kept(CEL_UUID, "ABCDEF01-2345-6789-abcd-EF0123456789",
                "abcdef01-2345-6789-abcd-ef0123456789");
    assert_refused(CEL_UUID, wrong, ARRAY_SIZE(wrong));
}

static void the_longest_forms_fit_the_room(void **state)
{
    (void)state;
    assert_kept(CEL_DATETIME, "9999-12-31 23:59:59.999999999-23:59:59.999999999",
                "9999-12-31T23:59:59.999999-23:59:59.999999");
}

static void other_types_have_no_form(void **state)
{
    (void)state;
    char room[TYPED_ROOM];
    struct str kept;
    assert_false(typed_form(CEL_TEXT, STR("x"), room, &kept));
    assert_false(typed_form(CEL_INT, STR("1"), room, &kept));
    assert_false(typed_form(CEL_MAP, STR(""), room, &kept));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_digits_without_leading_zeros),
        cmocka_unit_test(decimals_are_what_python_reads),
        cmocka_unit_test(dates_are_days_of_the_calendar),
        cmocka_unit_test(datetimes_are_kept_as_python_writes_them),
        cmocka_unit_test(times_of_day_likewise),
        cmocka_unit_test(uuids_are_kept_in_small_letters),
        cmocka_unit_test(the_longest_forms_fit_the_room),
        cmocka_unit_test(other_types_have_no_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
