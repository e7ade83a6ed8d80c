#include "core/builder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/mem.h"

static int close_innermost(struct builder *builder)
{
    return builder_place(builder, builder_close_take(builder));
}

/* {"k0": 0, "k1": 1, ...}, all keys twice when `twice`: then the second time counted on. */
static int build_map(struct builder *builder, size_t keys, bool twice)
{
    int r = builder_open(builder, CEL_MAP);
    for (size_t i = 0; i < keys * (twice ? 2 : 1) && r == 0; i++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "k%zu", i % keys);
        r = builder_key(builder, str_n(key, (size_t)len));
        if (r == 0)
            r = builder_add(builder, cel_int((int64_t)i));
    }
    return r < 0 ? r : close_innermost(builder);
}

static void the_last_of_equal_keys_wins_in_the_first_place(void **state)
{
    (void)state;
    for (size_t keys = 1; keys < 100; keys++) {
        struct builder builder;
        builder_init(&builder);
        assert_int_equal(build_map(&builder, keys, true), 0);
        struct cel_value *map = builder_take(&builder);
        assert_int_equal(cel_value_count(map), keys);
        for (size_t i = 0; i < keys; i++) {
            char key[32];
            snprintf(key, sizeof(key), "k%zu", i);
            assert_string_equal(cel_value_key(map, i), key);
            assert_int_equal(cel_value_int(cel_value_at(map, i), -1), keys + i);
        }
        cel_value_free(map);
        builder_deinit(&builder);
    }
}

static void many_equal_keys_leave_one(void **state)
{
    (void)state;
    struct builder builder;
    builder_init(&builder);
    assert_int_equal(builder_open(&builder, CEL_MAP), 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(builder_key(&builder, STR("")), 0);
        assert_int_equal(builder_add(&builder, cel_int(i)), 0);
    }
    assert_int_equal(close_innermost(&builder), 0);
    struct cel_value *map = builder_take(&builder);
    assert_int_equal(cel_value_count(map), 1);
    assert_int_equal(cel_value_int(cel_value_get(map, ""), 0), 999);
    cel_value_free(map);
    builder_deinit(&builder);
}

static void keys_are_wanted_in_turn_and_in_maps_only(void **state)
{
    (void)state;
    struct builder builder;
    builder_init(&builder);
    assert_false(builder_wants_key(&builder));
    assert_int_equal(builder_open(&builder, CEL_MAP), 0);
    assert_true(builder_wants_key(&builder));
    assert_int_equal(builder_key(&builder, STR("a")), 0);
    assert_false(builder_wants_key(&builder));
    assert_int_equal(builder_open(&builder, CEL_LIST), 0);
    assert_false(builder_wants_key(&builder));
    assert_int_equal(close_innermost(&builder), 0);
    assert_true(builder_wants_key(&builder));
    builder_deinit(&builder);
}

static void depth_and_count_have_limits(void **state)
{
    (void)state;
    struct builder builder;
    builder_init(&builder);
    for (int i = 0; i < VALUE_DEPTH_MAX; i++)
        assert_int_equal(builder_open(&builder, CEL_LIST), 0);
    assert_int_equal(builder_open(&builder, CEL_LIST), CEL_E_LIMIT);
    while (builder.count < VALUE_COUNT_MAX)
        assert_int_equal(builder_add(&builder, cel_null()), 0);
    assert_int_equal(builder_add(&builder, cel_null()), CEL_E_LIMIT);
    assert_null(builder_take(&builder));
    builder_deinit(&builder);
}

static void building_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct builder builder;
        builder_init(&builder);
        mem_fail_after(n);
        int r = builder_open(&builder, CEL_LIST);
        if (r == 0)
            r = build_map(&builder, 20, true);
        if (r == 0)
            r = close_innermost(&builder);
        mem_fail_after(0);
        struct cel_value *list = builder_take(&builder);
        builder_deinit(&builder);
        if (r == 0) {
            assert_true(n > 60);
            assert_int_equal(cel_value_count(cel_value_at(list, 0)), 20);
            cel_value_free(list);
            return;
        }
        assert_int_equal(r, -ENOMEM);
        assert_null(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_of_equal_keys_wins_in_the_first_place),
        cmocka_unit_test(many_equal_keys_leave_one),
        cmocka_unit_test(keys_are_wanted_in_turn_and_in_maps_only),
        cmocka_unit_test(depth_and_count_have_limits),
        cmocka_unit_test(building_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
