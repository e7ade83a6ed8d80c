/*
 * Comparing text and reporting it readably.
 */
#pragma once

#include "core/str.h"

#define assert_str(text, literal)                                                                  \
    do {                                                                                           \
        struct str found_ = (text);                                                                \
        if (!found_.ptr || !str_equal(found_, str_of(literal)))                                    \
            fail_msg("%s is \"" STR_FORMAT "\", not \"%s\"", #text, STR_ARGS(found_), literal);    \
    } while (0)
#define assert_same_str(a, b)                                                                      \
    do {                                                                                           \
        struct str a_ = (a), b_ = (b);                                                             \
        if (!a_.ptr != !b_.ptr || !str_equal(a_, b_))                                              \
            fail_msg("%s is \"" STR_FORMAT "\", but %s is \"" STR_FORMAT "\"", #a, STR_ARGS(a_),   \
                     #b, STR_ARGS(b_));                                                            \
    } while (0)
#define assert_none(text) assert_null((text).ptr)
