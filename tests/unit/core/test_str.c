#include "core/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"

static void assert_str(struct str text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.ptr, expected, text.len);
}

static void prefixes_and_suffixes_are_found(void **state)
{
    (void)state;
    assert_true(str_starts(STR("beat x"), STR("beat ")));
    assert_true(str_starts(STR("beat"), STR("beat")));
    assert_true(str_starts(STR("beat"), STR("")));
    assert_true(str_starts(STR_NONE, STR_NONE));
    assert_false(str_starts(STR("bea"), STR("beat")));
    assert_true(str_ends(STR("shop.so"), STR(".so")));
    assert_true(str_ends(STR_NONE, STR("")));
    assert_false(str_ends(STR("so"), STR(".so")));
    assert_false(str_ends(STR("shop.os"), STR(".so")));
}

static void trimming_takes_space_off_both_ends(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n a b \v\f")), "a b");
    assert_str(str_trim(STR("   ")), "");
    assert_str(str_trim(STR("a")), "a");
    assert_int_equal(str_trim(STR_NONE).len, 0);
}

static void splitting_gives_every_part_empty_ones_too(void **state)
{
    (void)state;
    struct str rest = STR("a,,b,"), part;
    static const char *const parts[] = {"a", "", "b", ""};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        assert_true(str_split(&rest, ',', &part));
        assert_str(part, parts[i]);
    }
    assert_null(rest.ptr);
    assert_false(str_split(&rest, ',', &part));
}

static void splitting_empty_text_gives_one_empty_part(void **state)
{
    (void)state;
    struct str rest = STR(""), part;
    assert_true(str_split(&rest, ',', &part));
    assert_str(part, "");
    assert_false(str_split(&rest, ',', &part));
}

static void a_duplicate_is_terminated(void **state)
{
    (void)state;
    char *copy = str_dup(str_n("abcdef", 3));
    assert_string_equal(copy, "abc");
    free(copy);
    mem_fail_after(1);
    assert_null(str_dup(STR("abc")));
}

static void utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain ASCII that is longer than eight bytes",
        "\x7F",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF",
        "1234567\xC3\xBC 12345678\xE2\x82\xAC",
    };
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC3",
        "\xC3(",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xE2\x82",
        "\xE2\x82(",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF",
        "\xF0\x90\x80",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "12345678\xFF",
        "1234567\xC3",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(str_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(str_is_utf8(str_of(bad[i])));
    assert_true(str_is_utf8(STR("a\0b")));
    assert_true(str_is_utf8(STR_NONE));
}

/* The definition, a character at a time, against the implementation, for all texts of 1 to 3 bytes.
 */
static bool is_utf8_slowly(const unsigned char *at, size_t len)
{
    if (len == 0)
        return true;
    if (at[0] < 0x80)
        return is_utf8_slowly(at + 1, len - 1);
    if (len >= 2 && (at[0] & 0xE0) == 0xC0 && (at[1] & 0xC0) == 0x80 && at[0] >= 0xC2)
        return is_utf8_slowly(at + 2, len - 2);
    if (len >= 3 && (at[0] & 0xF0) == 0xE0 && (at[1] & 0xC0) == 0x80 && (at[2] & 0xC0) == 0x80) {
        unsigned point = (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
        return point >= 0x800 && (point < 0xD800 || point > 0xDFFF);
    }
    return false;
}

static void every_short_text_is_judged_right(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1u << 24; bits += bits < 0x800000 ? 257 : 1) {
        const unsigned char bytes[] = {(unsigned char)(bits >> 16), (unsigned char)(bits >> 8),
                                       (unsigned char)bits};
        if (str_is_utf8(str_n(bytes, 3)) != is_utf8_slowly(bytes, 3))
            fail_msg("%06x", bits);
    }
}

static void integers_are_parsed_whole_or_not_at_all(void **state)
{
    (void)state;
    int64_t i64 = 7;
    uint64_t u64 = 7;
    static const char *const bad[] = {"",   "-",   "+5",  " 5",  "5 ",       "5a", "0x5",
                                      "5.", "5e2", "--5", "1_0", "\xD9\xA3", "-"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(str_parse_i64(str_of(bad[i]), &i64), -EINVAL);
        assert_int_equal(str_parse_u64(str_of(bad[i]), &u64), -EINVAL);
    }
    assert_int_equal(str_parse_i64(STR_NONE, &i64), -EINVAL);
    assert_int_equal(str_parse_u64(STR("-1"), &u64), -EINVAL);
    assert_int_equal(str_parse_u64(STR("5\0"), &u64), -EINVAL);
    assert_int_equal(i64, 7);
    assert_int_equal(u64, 7);
}

static void integers_keep_their_ends(void **state)
{
    (void)state;
    int64_t i64 = 7;
    uint64_t u64 = 7;
    assert_int_equal(str_parse_i64(STR("9223372036854775807"), &i64), 0);
    assert_true(i64 == INT64_MAX);
    assert_int_equal(str_parse_i64(STR("-9223372036854775808"), &i64), 0);
    assert_true(i64 == INT64_MIN);
    assert_int_equal(str_parse_i64(STR("9223372036854775808"), &i64), -ERANGE);
    assert_int_equal(str_parse_i64(STR("-9223372036854775809"), &i64), -ERANGE);
    assert_int_equal(str_parse_i64(STR("-0"), &i64), 0);
    assert_true(i64 == 0);
    assert_int_equal(str_parse_i64(STR("0000000000000000000000042"), &i64), 0);
    assert_true(i64 == 42);
    assert_int_equal(str_parse_u64(STR("18446744073709551615"), &u64), 0);
    assert_true(u64 == UINT64_MAX);
    assert_int_equal(str_parse_u64(STR("18446744073709551616"), &u64), -ERANGE);
    assert_int_equal(str_parse_u64(STR("99999999999999999999999"), &u64), -ERANGE);
    assert_int_equal(str_parse_u64(STR("99999999999999999999999x"), &u64), -EINVAL);
    assert_true(u64 == UINT64_MAX);
}

static void doubles_are_parsed_as_python_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},          {"-1.5", -1.5},
        {"+2", 2},         {".5", .5},
        {"5.", 5},         {"1e3", 1000},
        {"1E+3", 1000},    {"1e-3", .001},
        {"0.1", .1},       {"5e-324", 5e-324},
        {"1e-400", 0},     {"1.7976931348623157e308", 0x1.fffffffffffffp1023},
        {"inf", INFINITY}, {"-Infinity", -INFINITY},
    };
    static const char *const bad[] = {"",    ".",    "-",  "e5", "1e",   "1e+", "0x10", "nan(1)",
                                      "1,5", "1.5.", " 1", "1 ", "infi", "1f",  "+-1",  "--1"};
    double value = 7;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(str_parse_double(str_of(bad[i]), &value), -EINVAL);
    assert_int_equal(str_parse_double(STR("1e309"), &value), -ERANGE);
    assert_int_equal(str_parse_double(STR("-1e309"), &value), -ERANGE);
    assert_true(value == 7);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(str_parse_double(str_of(good[i].text), &value), 0);
        assert_true(value == good[i].value);
    }
    assert_int_equal(str_parse_double(STR("-0.0"), &value), 0);
    assert_true(value == 0 && signbit(value));
    assert_int_equal(str_parse_double(STR("NaN"), &value), 0);
    assert_true(isnan(value));
}

static void long_doubles_are_parsed_too(void **state)
{
    (void)state;
    char text[1000];
    memset(text, '0', sizeof(text));
    text[1] = '.';
    text[sizeof(text) - 1] = '9';
    double value = 7;
    assert_int_equal(str_parse_double(str_n(text, sizeof(text)), &value), 0);
    assert_true(value == 0);
    text[0] = '3';
    assert_int_equal(str_parse_double(str_n(text, sizeof(text)), &value), 0);
    assert_true(value == 3);
    mem_fail_after(1);
    assert_int_equal(str_parse_double(str_n(text, sizeof(text)), &value), -ENOMEM);
}

static void another_locale_does_not_change_the_point(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    size_t i = 0;
    while (i < ARRAY_SIZE(names) && !setlocale(LC_ALL, names[i]))
        i++;
    if (i == ARRAY_SIZE(names))
        skip(); /* this machine knows no locale with a decimal comma */
    double value = 7, otherwise = 7;
    int r = str_parse_double(STR("1.5"), &value);
    int r_otherwise = str_parse_double(STR("1,5"), &otherwise);
    setlocale(LC_ALL, "C");
    assert_int_equal(r, 0);
    assert_true(value == 1.5);
    assert_int_equal(r_otherwise, -EINVAL);
}

static void truth_has_eight_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"yes", "true", "on", "1", "YES", "True"};
    static const char *const no[] = {"no", "false", "off", "0", "NO", "False"};
    static const char *const bad[] = {"", "y", "2", "yes ", "tru", "on\n", "-1"};
    bool truth = false;
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        truth = false;
        assert_int_equal(str_parse_bool(str_of(yes[i]), &truth), 0);
        assert_true(truth);
        assert_int_equal(str_parse_bool(str_of(no[i]), &truth), 0);
        assert_false(truth);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(str_parse_bool(str_of(bad[i]), &truth), -EINVAL);
    assert_int_equal(str_parse_bool(STR_NONE, &truth), -EINVAL);
}

static void durations_are_exact_microseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},
        {"30", 30000000},
        {"250ms", 250000},
        {"30s", 30000000},
        {"5min", 300000000},
        {"5m", 300000000},
        {"2h", 7200000000},
        {"1d", 86400000000},
        {"1.5s", 1500000},
        {"0.25", 250000},
        {"0.000001", 1},
        {"0.0000019", 1},
        {"0.0019ms", 1},
        {"1.5d", 129600000000},
        {"0.1h", 360000000},
        {"18446744073709s", 18446744073709000000u},
    };
    static const char *const bad[] = {"",      "s",   "-1s", "1 s", "1x",  "1.s",  ".5s",
                                      "1.5.5", "1ss", "1S",  "+1s", "1e3", "1.5 s"};
    uint64_t usec = 7;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(str_parse_duration(str_of(bad[i]), &usec), -EINVAL);
    assert_int_equal(str_parse_duration(STR_NONE, &usec), -EINVAL);
    assert_int_equal(str_parse_duration(STR("18446744073710s"), &usec), -ERANGE);
    assert_int_equal(str_parse_duration(STR("18446744073709551616ms"), &usec), -ERANGE);
    assert_int_equal(str_parse_duration(STR("99999999999999999999999d"), &usec), -ERANGE);
    assert_int_equal(str_parse_duration(STR("99999999999999999999999x"), &usec), -EINVAL);
    assert_int_equal(usec, 7);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(str_parse_duration(str_of(good[i].text), &usec), 0);
        assert_true(usec == good[i].usec);
    }
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    uint64_t bytes = 7;
    static const char *const bad[] = {"", "K", "-1K", "1KB", "1.5K", "1 K", "1T", "KK"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(str_parse_size(str_of(bad[i]), &bytes), -EINVAL);
    assert_int_equal(str_parse_size(STR_NONE, &bytes), -EINVAL);
    assert_int_equal(str_parse_size(STR("17179869184G"), &bytes), -ERANGE);
    assert_int_equal(bytes, 7);
    assert_int_equal(str_parse_size(STR("4096"), &bytes), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(str_parse_size(STR("64K"), &bytes), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(str_parse_size(STR("16m"), &bytes), 0);
    assert_int_equal(bytes, 16777216);
    assert_int_equal(str_parse_size(STR("17179869183G"), &bytes), 0);
    assert_true(bytes == 17179869183u << 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_and_suffixes_are_found),
        cmocka_unit_test(trimming_takes_space_off_both_ends),
        cmocka_unit_test(splitting_gives_every_part_empty_ones_too),
        cmocka_unit_test(splitting_empty_text_gives_one_empty_part),
        cmocka_unit_test(a_duplicate_is_terminated),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(every_short_text_is_judged_right),
        cmocka_unit_test(integers_are_parsed_whole_or_not_at_all),
        cmocka_unit_test(integers_keep_their_ends),
        cmocka_unit_test(doubles_are_parsed_as_python_writes_them),
        cmocka_unit_test(long_doubles_are_parsed_too),
        cmocka_unit_test(another_locale_does_not_change_the_point),
        cmocka_unit_test(truth_has_eight_words),
        cmocka_unit_test(durations_are_exact_microseconds),
        cmocka_unit_test(sizes_are_powers_of_1024),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
