/* Who is meant: kombu's two kinds of patterns. */
#include "control/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/json.h"

static int match(const char *name, const char *pattern, const char *matcher)
{
    struct cel_error err = {0};
    return match_pattern(str_of(name), str_of(pattern), str_of(matcher), &err);
}

/* Each answer is that of Python's fnmatch.fnmatchcase. */
static void globs_match_as_in_python(void **state)
{
    static const struct {
        const char *name, *pattern;
        int matches;
    } cases[] = {
        {"w1@host", "w1@host", 1},
        {"w1@host", "w1@hos", 0},
        {"w1@host", "w*", 1},
        {"w1@host", "*host", 1},
        {"w1@host", "*", 1},
        {"w1@host", "", 0},
        {"", "", 1},
        {"", "*", 1},
        {"", "?", 0},
        {"w1@host", "w?@host", 1},
        {"w1@host", "w??@host", 0},
        {"w1@host", "w[12]@*", 1},
        {"w3@host", "w[12]@*", 0},
        {"w3@host", "w[!12]@*", 1},
        {"w3@host", "w[1-5]@host", 1},
        {"w-@host", "w[a-]@host", 1},
        {"w]@host", "w[]]@host", 1},
        {"w]@host", "w[!]]@host", 0},
        {"w[@host", "w[@host", 1},
        {"w1@host", "w[@host", 0},
        {"aXbXc", "a*X*c", 1},
        {"aXbXc", "a*X*X*c", 1},
        {"aXbXc", "a*X*X*X*c", 0},
        {"w\\1", "w\\1", 1},
        {"w1", "w\\1", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (match(cases[i].name, cases[i].pattern, "glob") != cases[i].matches)
            fail_msg("\"%s\" and \"%s\"", cases[i].name, cases[i].pattern);
    }
}

static void many_stars_cost_little(void **state)
{
    char name[256], pattern[512] = "";
    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (size_t i = 0; i < 200; i++)
        strcat(pattern, "*a");
    strcat(pattern, "b");
    assert_int_equal(match(name, pattern, "glob"), 0);
}

/* re.match: from the beginning, not to the end. */
static void expressions_match_at_the_beginning(void **state)
{
    (void)state;
    assert_int_equal(match("w1@host", "w\\d@", "pcre"), 1);
    assert_int_equal(match("w1@host", "host", "pcre"), 0);
    assert_int_equal(match("w1@host", "(?:w|v)1@(?=host)", "pcre"), 1);
    assert_int_equal(match("w1@host", "w1@host$", "pcre"), 1);
    assert_int_equal(match("w1@host", "a|w", "pcre"), 1);
    assert_int_equal(match("wü@host", "w.@", "pcre"), 1);
    assert_int_equal(match("w1@host", "", "pcre"), 1);
}

static void a_pattern_that_is_none_is_refused(void **state)
{
    char longer[2000];
    (void)state;
    memset(longer, '*', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(match("w", "(", "pcre"), CEL_E_FORMAT);
    assert_int_equal(match("w", "w", "sql"), CEL_E_FORMAT);
    assert_int_equal(match("w", longer, "glob"), CEL_E_LIMIT);
    assert_int_equal(
        match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "(?:a|a)*(?:a|aa)*$(?<!a)", "pcre"),
        CEL_E_LIMIT);
}

static int for_me(const char *destination, const char *pattern)
{
    struct cel_value *nodes = NULL;
    assert_int_equal(json_decode(str_of(destination), &nodes, NULL), 0);
    const struct control_request request = {
        .destination = cel_value_type(nodes) == CEL_LIST ? nodes : NULL,
        .pattern = str_of(pattern),
        .matcher = STR("glob"),
    };
    int r = match_request(STR("w1@host"), &request, NULL);
    cel_value_free(nodes);
    return r;
}

static void a_destination_counts_more_than_a_pattern(void **state)
{
    (void)state;
    assert_int_equal(for_me("null", NULL), 1);
    assert_int_equal(for_me("[\"w1@host\"]", NULL), 1);
    assert_int_equal(for_me("[\"w2@host\", 7, null]", NULL), 0);
    assert_int_equal(for_me("[\"w2@host\"]", "w*"), 0);
    assert_int_equal(for_me("[\"w2@host\", \"w1@host\"]", "v*"), 1);
    assert_int_equal(for_me("null", "v*"), 0);
    assert_int_equal(for_me("null", "w*"), 1);
    assert_int_equal(for_me("null", ""), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_as_in_python),
        cmocka_unit_test(many_stars_cost_little),
        cmocka_unit_test(expressions_match_at_the_beginning),
        cmocka_unit_test(a_pattern_that_is_none_is_refused),
        cmocka_unit_test(a_destination_counts_more_than_a_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
