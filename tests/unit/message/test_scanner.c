#include "message/scanner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "celeriac/error.h"

/* A copy without a byte behind it, so that the sanitizer sees each step too far. */
static int skip_all(struct str text, size_t *ret_at)
{
    char *copy = malloc(text.len ? text.len : 1);
    struct scanner scan;
    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    scan_init(&scan, str_n(copy, text.len), 64);
    int r = scan_skip(&scan);
    if (r == 0)
        r = scan_finish(&scan);
    assert_int_equal(r, scan.status);
    assert_true(r == 0 || scan.problem != NULL);
    assert_true(scan.pos >= scan.begin && scan.pos <= scan.end);
    if (ret_at)
        *ret_at = (size_t)(scan.pos - scan.begin);
    free(copy);
    return r;
}

static void every_form_of_json_is_passed_over(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12",
        "-12.5",
        "1e5",
        "1E+5",
        "0.5e-7",
        "NaN",
        "Infinity",
        "-Infinity",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\n}\r",
        "[1,2]",
        "[ 1 , 2 ]",
        "{\"a\":1}",
        "{ \"a\" : [ {} , [] ] , \"b\" : null }",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\xc3\xa9\"",
        "\"0123456789abcdef0123456789abcdef\"",
        "[\"0123456789abcde\",\"0123456789abcdef\"]",
        "\"\x7f\"",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(skip_all(str_of(texts[i]), NULL), 0);
}

static void everything_else_is_refused_at_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"", 0},           {" ", 1},
        {"nul", 0},        {"nulL", 0},
        {"truE", 0},       {"falze", 0},
        {"x", 0},          {"this is", 0},
        {"01", 1},         {"-", 1},
        {"+1", 0},         {".5", 0},
        {"1.", 2},         {"1.e5", 2},
        {"1e", 2},         {"1e+", 3},
        {"--1", 1},        {"-NaN", 1},
        {"0x10", 1},       {"Inf", 0},
        {"\"", 1},         {"\"abc", 4},
        {"\"a\nb\"", 2},   {"\"\\x\"", 2},
        {"\"\\", 2},       {"\"\\u12g4\"", 3},
        {"\"\\u12", 3},    {"[", 1},
        {"[1", 2},         {"[1,", 3},
        {"[1,]", 3},       {"[,1]", 1},
        {"[1 2]", 3},      {"[1}", 2},
        {"{", 1},          {"{1:2}", 1},
        {"{\"a\"}", 4},    {"{\"a\":}", 5},
        {"{\"a\":1", 6},   {"{\"a\":1,}", 7},
        {"{\"a\":1]", 6},  {"{} {}", 3},
        {"1 2", 2},        {"\"\xff\"", 1},
        {"\"ab\xc3\"", 1}, {"\"\xed\xa0\x80\"", 1},
        {"'a'", 0},        {"]", 0},
        {"}", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t at = SIZE_MAX;
        assert_int_equal(skip_all(str_of(cases[i].text), &at), CEL_E_FORMAT);
        if (at != cases[i].at)
            fail_msg("%s: at %zu, not %zu", cases[i].text, at, cases[i].at);
    }
}

static void a_zero_byte_is_no_end(void **state)
{
    (void)state;
    assert_int_equal(skip_all(STR("1\0"), NULL), CEL_E_FORMAT);
    assert_int_equal(skip_all(STR("\"a\0b\""), NULL), CEL_E_FORMAT);
    assert_int_equal(skip_all(STR("\"\\\0\""), NULL), CEL_E_FORMAT);
}

static void depth_has_an_end(void **state)
{
    char text[1000];
    (void)state;
    memset(text, '[', 500);
    memset(text + 500, ']', 500);
    assert_int_equal(skip_all(str_n(text + 500 - 64, 128), NULL), 0);
    assert_int_equal(skip_all(str_n(text + 500 - 65, 130), NULL), CEL_E_LIMIT);
    assert_int_equal(skip_all(str_n(text, 1000), NULL), CEL_E_LIMIT);
}

/* The end of a text in every place of a block, with each of the bytes that end it. */
static void texts_of_every_length_are_found(void **state)
{
    char text[80];
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        memset(text, 'a', sizeof(text));
        text[0] = '"';
        text[1 + len] = '"';
        assert_int_equal(skip_all(str_n(text, len + 2), NULL), 0);
        for (size_t at = 0; at < len; at++) {
            text[1 + at] = '\x1f';
            assert_int_equal(skip_all(str_n(text, len + 2), NULL), CEL_E_FORMAT);
            text[1 + at] = '\\';
            text[2 + at] = text[2 + at] == '"' ? '"' : 'n';
            assert_int_equal(skip_all(str_n(text, len + 2), NULL),
                             at + 1 == len ? CEL_E_FORMAT : 0);
            memset(text + 1, 'a', len);
            text[1 + at] = '\x80';
            assert_int_equal(skip_all(str_n(text, len + 2), NULL), CEL_E_FORMAT);
            text[1 + at] = 'a';
        }
    }
}

static void assert_unescaped(struct str raw, struct str expected)
{
    char *to = malloc(raw.len ? raw.len : 1);
    assert_non_null(to);
    size_t len = scan_unescape(raw, to);
    assert_int_equal(len, expected.len);
    assert_memory_equal(to, expected.ptr, len);
    free(to);
}

static void escapes_become_what_they_stand_for(void **state)
{
    (void)state;
    assert_unescaped(STR(""), STR(""));
    assert_unescaped(STR("plain"), STR("plain"));
    assert_unescaped(STR("a\\\"b\\\\c\\/d"), STR("a\"b\\c/d"));
    assert_unescaped(STR("\\b\\f\\n\\r\\t"), STR("\b\f\n\r\t"));
    assert_unescaped(STR("\\u0041\\u00e9\\u540D\\u0000x"), STR("A\xc3\xa9\xe5\x90\x8d\0x"));
    assert_unescaped(STR("\\ud83d\\ude00!"), STR("\xf0\x9f\x98\x80!"));
    assert_unescaped(STR("\\udbff\\udfff"), STR("\xf4\x8f\xbf\xbf"));
}

static void half_a_pair_becomes_the_replacement_character(void **state)
{
    (void)state;
    assert_unescaped(STR("\\ud800"), STR("\xef\xbf\xbd"));
    assert_unescaped(STR("\\udc00x"), STR("\xef\xbf\xbdx"));
    assert_unescaped(STR("\\ud800\\u0041"), STR("\xef\xbf\xbd"
                                                "A"));
    assert_unescaped(STR("\\ud800\\ud83d\\ude00"), STR("\xef\xbf\xbd\xf0\x9f\x98\x80"));
    assert_unescaped(STR("\\ud800\\n"), STR("\xef\xbf\xbd\n"));
}

static void views_are_taken_from_the_text(void **state)
{
    struct scanner scan;
    struct scan_text key, text;
    struct str number;
    bool is_integer;
    (void)state;
    scan_init(&scan, STR("{ \"a\\n\" : \"b\" , \"c\": -12.5 }"), 1);
    assert_true(scan_open(&scan, '{'));
    assert_int_equal(scan_key(&scan, &key), 0);
    assert_true(str_equal(key.raw, STR("a\\n")) && key.has_escapes);
    assert_int_equal(scan_text(&scan, &text), 0);
    assert_true(str_equal(text.raw, STR("b")) && !text.has_escapes);
    assert_true(scan_next(&scan, '}'));
    assert_int_equal(scan_key(&scan, &key), 0);
    assert_int_equal(scan_peek(&scan), '-');
    assert_int_equal(scan_number(&scan, &number, &is_integer), 0);
    assert_true(str_equal(number, STR("-12.5")) && !is_integer);
    assert_false(scan_next(&scan, '}'));
    assert_int_equal(scan_finish(&scan), 0);
}

static void the_first_failure_stays(void **state)
{
    struct scanner scan;
    struct scan_text text;
    struct str number;
    bool is_integer;
    (void)state;
    scan_init(&scan, STR("[x]"), 8);
    assert_true(scan_open(&scan, '['));
    assert_int_equal(scan_skip(&scan), CEL_E_FORMAT);
    const char *problem = scan.problem, *at = scan.pos;
    assert_int_equal(scan_fail(&scan, CEL_E_LIMIT, "another"), CEL_E_FORMAT);
    assert_false(scan_next(&scan, ']'));
    assert_false(scan_open(&scan, '['));
    assert_int_equal(scan_text(&scan, &text), CEL_E_FORMAT);
    assert_int_equal(scan_key(&scan, &text), CEL_E_FORMAT);
    assert_int_equal(scan_number(&scan, &number, &is_integer), CEL_E_FORMAT);
    assert_int_equal(scan_skip(&scan), CEL_E_FORMAT);
    assert_int_equal(scan_finish(&scan), CEL_E_FORMAT);
    assert_ptr_equal(scan.problem, problem);
    assert_ptr_equal(scan.pos, at);
}

static void plain_text_needs_no_escapes(void **state)
{
    (void)state;
    assert_true(scan_is_plain(STR("")));
    assert_true(scan_is_plain(STR_NONE));
    assert_true(scan_is_plain(STR("(1, 'abc') 0123456789abcdefghijklmnopq")));
    assert_false(scan_is_plain(STR("quote\"")));
    assert_false(scan_is_plain(STR("back\\slash")));
    assert_false(scan_is_plain(STR("line\nend")));
    assert_false(scan_is_plain(STR("0123456789abcdef0123456789\xc3\xa9")));
    assert_false(scan_is_plain(STR("\xc3\xa9")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_json_is_passed_over),
        cmocka_unit_test(everything_else_is_refused_at_its_place),
        cmocka_unit_test(a_zero_byte_is_no_end),
        cmocka_unit_test(depth_has_an_end),
        cmocka_unit_test(texts_of_every_length_are_found),
        cmocka_unit_test(escapes_become_what_they_stand_for),
        cmocka_unit_test(half_a_pair_becomes_the_replacement_character),
        cmocka_unit_test(views_are_taken_from_the_text),
        cmocka_unit_test(the_first_failure_stays),
        cmocka_unit_test(plain_text_needs_no_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
