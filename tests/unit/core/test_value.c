#include "core/value.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/mem.h"

/* {"n": null, "b": true, "i": -1, "big": 2**64, "f": 0.5, "t": "grün", "y": bytes, "d": 1.10,
 *  "l": [1, [2], {}]} */
static struct cel_value *sample(void)
{
    struct cel_value *map = cel_map(), *list = cel_list(), *inner = cel_list();
    int r = cel_list_add(inner, cel_int(2));
    r |= cel_list_add(list, cel_int(1));
    r |= cel_list_add(list, inner);
    r |= cel_list_add(list, cel_map());
    r |= cel_map_set(map, "n", cel_null());
    r |= cel_map_set(map, "b", cel_bool(true));
    r |= cel_map_set(map, "i", cel_int(-1));
    r |= cel_map_set(map, "big", cel_typed(CEL_BIGINT, "18446744073709551616"));
    r |= cel_map_set(map, "f", cel_float(0.5));
    r |= cel_map_set(map, "t", cel_text("gr\xc3\xbcn"));
    r |= cel_map_set(map, "y", cel_bytes("\xff\0\x01", 3));
    r |= cel_map_set(map, "d", cel_typed(CEL_DECIMAL, "1.10"));
    r |= cel_map_set(map, "l", list);
    if (r != 0)
        return cel_value_free(map);
    return map;
}

static void readers_give_what_was_put_in(void **state)
{
    (void)state;
    struct cel_value *map = sample();
    size_t len = 0;
    assert_int_equal(cel_value_type(map), CEL_MAP);
    assert_int_equal(cel_value_count(map), 9);
    assert_string_equal(cel_value_key(map, 0), "n");
    assert_string_equal(cel_value_key(map, 8), "l");
    assert_int_equal(cel_value_type(cel_value_get(map, "n")), CEL_NULL);
    assert_true(cel_value_bool(cel_value_get(map, "b"), false));
    assert_int_equal(cel_value_int(cel_value_get(map, "i"), 5), -1);
    assert_true(cel_value_float(cel_value_get(map, "f"), 0) == 0.5);
    assert_true(cel_value_float(cel_value_get(map, "i"), 0) == -1.0);
    assert_true(cel_value_float(cel_value_get(map, "big"), 0) == 18446744073709551616.0);
    assert_string_equal(cel_value_text(cel_value_get(map, "t"), &len), "gr\xc3\xbcn");
    assert_int_equal(len, 5);
    assert_string_equal(cel_value_text(cel_value_get(map, "big"), NULL), "18446744073709551616");
    assert_string_equal(cel_value_text(cel_value_get(map, "d"), NULL), "1.10");
    assert_memory_equal(cel_value_bytes(cel_value_get(map, "y"), &len), "\xff\0\x01", 3);
    assert_int_equal(len, 3);
    assert_memory_equal(cel_value_bytes(cel_value_get(map, "t"), &len), "gr\xc3\xbcn", 5);
    const struct cel_value *list = cel_value_get(map, "l");
    assert_int_equal(cel_value_count(list), 3);
    assert_int_equal(cel_value_int(cel_value_at(cel_value_at(list, 1), 0), 0), 2);
    assert_int_equal(cel_value_type(cel_value_at(list, 2)), CEL_MAP);
    assert_ptr_equal(cel_value_at(map, 8), list);
    cel_value_free(map);
}

static void wrong_types_give_the_other_value(void **state)
{
    (void)state;
    struct cel_value *map = sample(), *text = cel_text("1");
    size_t len = 77;
    assert_int_equal(cel_value_int(text, 5), 5);
    assert_int_equal(cel_value_int(cel_value_get(map, "b"), 5), 5);
    assert_int_equal(cel_value_int(cel_value_get(map, "big"), 5), 5);
    assert_int_equal(cel_value_int(cel_value_get(map, "f"), 5), 5);
    assert_true(cel_value_float(text, 2.5) == 2.5);
    assert_true(cel_value_bool(cel_value_get(map, "i"), true));
    assert_null(cel_value_text(map, &len));
    assert_null(cel_value_text(cel_value_get(map, "y"), &len));
    assert_null(cel_value_bytes(cel_value_get(map, "d"), &len));
    assert_int_equal(len, 77);
    assert_int_equal(cel_value_count(text), 0);
    assert_null(cel_value_at(text, 0));
    assert_null(cel_value_at(map, 9));
    assert_null(cel_value_key(map, 9));
    assert_null(cel_value_key(cel_value_get(map, "l"), 0));
    assert_null(cel_value_get(map, "nothing"));
    assert_null(cel_value_get(map, NULL));
    assert_null(cel_value_get(text, "1"));
    assert_null(value_find(map, STR_NONE));
    assert_non_null(value_find(map, str_n("big word", 3)));
    cel_value_free(map);
    cel_value_free(text);
}

static void no_value_reads_as_null(void **state)
{
    (void)state;
    assert_int_equal(cel_value_type(NULL), CEL_NULL);
    assert_int_equal(cel_value_int(NULL, 3), 3);
    assert_true(cel_value_float(NULL, 3) == 3.0);
    assert_null(cel_value_text(NULL, NULL));
    assert_null(cel_value_bytes(NULL, NULL));
    assert_null(value_str(NULL).ptr);
    assert_int_equal(cel_value_count(NULL), 0);
    assert_null(cel_value_at(NULL, 0));
    assert_null(cel_value_key(NULL, 0));
    assert_null(cel_value_free(NULL));
    struct cel_value *copy = cel_value_dup(NULL);
    assert_int_equal(cel_value_type(copy), CEL_NULL);
    assert_true(value_equal(copy, NULL));
    cel_value_free(copy);
}

static void text_must_be_utf8(void **state)
{
    (void)state;
    assert_null(cel_text("\xff"));
    assert_null(cel_text_n("\xed\xa0\x80", 3)); /* a surrogate */
    assert_null(cel_text_n("gr\xc3", 3));
    assert_null(cel_text(NULL));
    assert_null(cel_text_n(NULL, 1));
    assert_null(cel_bytes(NULL, 1));
    struct cel_value *empty = cel_text_n(NULL, 0), *zero = cel_text_n("a\0b", 3);
    size_t len;
    assert_string_equal(cel_value_text(empty, NULL), "");
    assert_memory_equal(cel_value_text(zero, &len), "a\0b", 4);
    assert_int_equal(len, 3);
    cel_value_free(empty);
    cel_value_free(zero);
}

static void typed_values_are_checked_and_short_integers_become_such(void **state)
{
    (void)state;
    assert_null(cel_typed(CEL_DATE, "2023-02-29"));
    assert_null(cel_typed(CEL_DATE, NULL));
    assert_null(cel_typed(CEL_TEXT, "x"));
    assert_null(cel_typed((enum cel_type)99, "x"));
    static const struct {
        const char *digits;
        enum cel_type type;
    } integers[] = {
        {"0", CEL_INT},
        {"-0", CEL_INT},
        {"9223372036854775807", CEL_INT},
        {"9223372036854775808", CEL_BIGINT},
        {"-9223372036854775808", CEL_INT},
        {"-9223372036854775809", CEL_BIGINT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(integers); i++) {
        struct cel_value *value = cel_typed(CEL_BIGINT, integers[i].digits);
        assert_int_equal(cel_value_type(value), integers[i].type);
        cel_value_free(value);
    }
    struct cel_value *when = cel_typed(CEL_DATETIME, "2024-02-29 12:00:00Z");
    assert_string_equal(cel_value_text(when, NULL), "2024-02-29T12:00:00+00:00");
    cel_value_free(when);
}

static void setting_a_key_again_replaces_in_place(void **state)
{
    (void)state;
    struct cel_value *map = sample();
    assert_int_equal(cel_map_set(map, "i", cel_text("new")), 0);
    assert_int_equal(cel_value_count(map), 9);
    assert_string_equal(cel_value_key(map, 2), "i");
    assert_string_equal(cel_value_text(cel_value_at(map, 2), NULL), "new");
    assert_int_equal(value_set(map, str_n("index", 1), cel_int(7)), 0);
    assert_int_equal(cel_value_int(cel_value_get(map, "i"), 0), 7);
    cel_value_free(map);
}

static void misuse_is_refused_and_frees_the_item(void **state)
{
    (void)state;
    struct cel_value *list = cel_list(), *map = cel_map();
    assert_int_equal(cel_list_add(list, NULL), -ENOMEM);
    assert_int_equal(cel_map_set(map, "k", NULL), -ENOMEM);
    assert_int_equal(cel_list_add(map, cel_int(1)), -EINVAL);
    assert_int_equal(cel_list_add(NULL, cel_int(1)), -ENOMEM);
    assert_int_equal(cel_map_set(list, "k", cel_int(1)), -EINVAL);
    assert_int_equal(cel_map_set(NULL, "k", cel_int(1)), -ENOMEM);
    assert_int_equal(cel_map_set(map, NULL, cel_int(1)), -EINVAL);
    assert_int_equal(cel_map_set(map, "\xff", cel_int(1)), -EINVAL);
    assert_int_equal(cel_list_add(list, list), -EINVAL);
    assert_int_equal(cel_map_set(map, "k", map), -EINVAL);
    assert_int_equal(cel_value_count(list), 0);
    assert_int_equal(cel_value_count(map), 0);
    cel_value_free(list);
    cel_value_free(map);
}

static void a_copy_equals_and_is_apart(void **state)
{
    (void)state;
    struct cel_value *map = sample(), *copy = cel_value_dup(map);
    assert_true(value_equal(map, copy));
    assert_int_equal(cel_map_set(copy, "i", cel_int(2)), 0);
    assert_false(value_equal(map, copy));
    cel_value_free(map);
    assert_string_equal(cel_value_text(cel_value_get(copy, "t"), NULL), "gr\xc3\xbcn");
    cel_value_free(copy);
}

static void assert_equality(struct cel_value *a, struct cel_value *b, bool equal)
{
    assert_int_equal(value_equal(a, b), equal);
    assert_int_equal(value_equal(b, a), equal);
    cel_value_free(a);
    cel_value_free(b);
}

static void equality_sees_types_and_ignores_the_order_of_keys(void **state)
{
    (void)state;
    assert_equality(cel_float(NAN), cel_float(-NAN), true);
    assert_equality(cel_float(0.0), cel_float(-0.0), false);
    assert_equality(cel_float(1.0), cel_int(1), false);
    assert_equality(cel_bool(true), cel_bool(false), false);
    assert_equality(cel_text("a"), cel_bytes("a", 1), false);
    assert_equality(cel_text_n("a\0b", 3), cel_text_n("a\0c", 3), false);
    assert_equality(cel_text("2024-01-01"), cel_typed(CEL_DATE, "2024-01-01"), false);
    assert_equality(cel_list(), cel_map(), false);
    struct cel_value *a = cel_map(), *b = cel_map(), *c = cel_map();
    assert_int_equal(cel_map_set(a, "x", cel_int(1)) + cel_map_set(a, "y", cel_int(2)), 0);
    assert_int_equal(cel_map_set(b, "y", cel_int(2)) + cel_map_set(b, "x", cel_int(1)), 0);
    assert_int_equal(cel_map_set(c, "y", cel_int(2)) + cel_map_set(c, "z", cel_int(1)), 0);
    assert_false(value_equal(a, c));
    cel_value_free(c);
    assert_equality(a, b, true);
}

static struct cel_value *nested(unsigned depth)
{
    struct cel_value *inner = cel_list();
    for (unsigned i = 1; i < depth; i++) {
        struct cel_value *around = i % 2 ? cel_map() : cel_list();
        int r = i % 2 ? cel_map_set(around, "k", inner) : cel_list_add(around, inner);
        assert_int_equal(r, 0);
        inner = around;
    }
    return inner;
}

static void deep_trees_are_freed_and_not_copied(void **state)
{
    (void)state;
    struct cel_value *deepest = nested(VALUE_DEPTH_MAX), *deeper = nested(VALUE_DEPTH_MAX + 1);
    struct cel_value *copy = cel_value_dup(deepest);
    assert_true(value_equal(copy, deepest));
    assert_null(cel_value_dup(deeper));
    assert_false(value_equal(deeper, deeper));
    cel_value_free(copy);
    cel_value_free(deepest);
    cel_value_free(deeper);
    cel_value_free(nested(500000)); /* by recursion this would overrun the stack */
}

static void types_have_names(void **state)
{
    (void)state;
    assert_string_equal(cel_type_name(CEL_NULL), "null");
    assert_string_equal(cel_type_name(CEL_BIGINT), "integer");
    assert_string_equal(cel_type_name(CEL_MAP), "map");
    assert_string_equal(cel_type_name((enum cel_type)14), "unknown");
    assert_string_equal(cel_type_name((enum cel_type) - 1), "unknown");
    assert_true(value_is_typed(CEL_BIGINT) && value_is_typed(CEL_UUID));
    assert_false(value_is_typed(CEL_BYTES) || value_is_typed(CEL_FLOAT));
}

static void building_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        struct cel_value *map = sample();
        mem_fail_after(0);
        cel_value_free(map);
        if (map) {
            assert_true(n > 20);
            return;
        }
    }
}

static void copying_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct cel_value *map = sample();
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        struct cel_value *copy = cel_value_dup(map);
        mem_fail_after(0);
        if (copy) {
            assert_true(n > 20);
            assert_true(value_equal(map, copy));
            cel_value_free(copy);
            break;
        }
    }
    cel_value_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_give_what_was_put_in),
        cmocka_unit_test(wrong_types_give_the_other_value),
        cmocka_unit_test(no_value_reads_as_null),
        cmocka_unit_test(text_must_be_utf8),
        cmocka_unit_test(typed_values_are_checked_and_short_integers_become_such),
        cmocka_unit_test(setting_a_key_again_replaces_in_place),
        cmocka_unit_test(misuse_is_refused_and_frees_the_item),
        cmocka_unit_test(a_copy_equals_and_is_apart),
        cmocka_unit_test(equality_sees_types_and_ignores_the_order_of_keys),
        cmocka_unit_test(deep_trees_are_freed_and_not_copied),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(building_survives_every_failing_allocation),
        cmocka_unit_test(copying_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
