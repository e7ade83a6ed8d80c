/* Patterns of routing keys, as kombu matches them. */
#include "message/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct check {
    const char *pattern, *text;
    bool matches;
};

static void routing_keys_are_matched_as_by_kombus_topics(void **state)
{
    (void)state;
    static const struct check checks[] = {
        {"order.paid", "order.paid", true},
        {"order.paid", "order_paid", false},
        {"order.*", "order.paid", true},
        {"order.*", "order.", false},
        {"order.*", "order", false},
        {"order.*", "order.a.b", true}, /* ^order\..*?[^\.]$ */
        {"order.*", "order.a.", false},
        {"*.paid", "order.paid", true},
        {"a.*.b", "a.x.b", true},
        {"a.*.b", "a.b", false},
        {"a.*.b", "a..b", false},
        {"order.#", "order.a.b", true},
        {"order.#", "order.", true},
        {"order.#", "order", false},
        {"#", "", true},
        {"#", "any.thing", true},
        {"#.b", "a.a.b", true},
        {"a*", "ab", false}, /* no word */
        {"", "", true},
        {"", "a", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (topic_matches(str_of(checks[i].pattern), str_of(checks[i].text)) != checks[i].matches)
            fail_msg("%s and %s", checks[i].pattern, checks[i].text);
    }
}

static void no_pattern_takes_for_ever(void **state)
{
    (void)state;
    char pattern[400], text[4001];
    for (size_t i = 0; i < sizeof(pattern) - 4; i += 4)
        memcpy(pattern + i, "#.a.", 4);
    strcpy(pattern + sizeof(pattern) - 4, "b");
    for (size_t i = 0; i < sizeof(text) - 1; i += 2)
        memcpy(text + i, "a.", 2);
    text[sizeof(text) - 1] = '\0';
    assert_false(topic_matches(str_of(pattern), str_of(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routing_keys_are_matched_as_by_kombus_topics),
        cmocka_unit_test(no_pattern_takes_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
