#include "core/heap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/mem.h"

struct item {
    int key;
    struct heap_node node;
};

static bool item_less(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, struct item, node)->key < container_of(b, struct item, node)->key;
}

static int key_of(const struct heap_node *node)
{
    return container_of(node, struct item, node)->key;
}

static void assert_ordered(const struct heap *heap)
{
    for (size_t i = 1; i < heap->count; i++)
        assert_false(item_less(heap->nodes[i], heap->nodes[(i + 1) / 2 - 1]));
    for (size_t i = 0; i < heap->count; i++)
        assert_int_equal(heap->nodes[i]->place, i + 1);
}

static void an_empty_heap_has_no_first_node(void **state)
{
    struct heap heap = HEAP_INIT(item_less);

    (void)state;
    assert_null(heap_first(&heap));
    assert_null(heap_pop(&heap));
    heap_deinit(&heap);
    heap_deinit(NULL);
}

static void nodes_leave_in_order(void **state)
{
    struct heap heap = HEAP_INIT(item_less);
    struct item items[1000] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        items[i].key = (int)(i * 7919 % ARRAY_SIZE(items));
        assert_int_equal(heap_insert(&heap, &items[i].node), 0);
    }
    assert_ordered(&heap);
    for (int i = 0; i < (int)ARRAY_SIZE(items); i++) {
        struct heap_node *node = heap_pop(&heap);
        assert_int_equal(key_of(node), i);
        assert_false(heap_contains(&heap, node));
    }
    assert_null(heap_first(&heap));
    heap_deinit(&heap);
}

/* Random insertions, removals from the middle and changes of order, against the invariants and the
 * smallest key found by looking at all. */
static void any_node_can_leave_or_move(void **state)
{
    struct heap heap = HEAP_INIT(item_less);
    struct item items[64] = {0};
    uint32_t random = 12345;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        struct item *item = &items[(random >> 8) % ARRAY_SIZE(items)];
        int key = (int)(random >> 20);
        if (!heap_contains(&heap, &item->node)) {
            item->key = key;
            assert_int_equal(heap_insert(&heap, &item->node), 0);
        } else if (random & 0x10000) {
            heap_remove(&heap, &item->node);
        } else {
            item->key = key;
            heap_moved(&heap, &item->node);
        }
        assert_ordered(&heap);
        size_t inside = 0;
        for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
            if (heap_contains(&heap, &items[i].node)) {
                inside++;
                assert_true(items[i].key >= key_of(heap_first(&heap)));
            }
        }
        assert_int_equal(inside, heap.count);
    }
    heap_deinit(&heap);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
        assert_int_equal(items[i].node.place, 0);
}

static void all_nodes_can_move_at_once(void **state)
{
    struct heap heap = HEAP_INIT(item_less);
    struct item items[100] = {0};

    (void)state;
    heap_rebuild(&heap);
    for (size_t count = 1; count <= ARRAY_SIZE(items); count++) {
        assert_int_equal(heap_insert(&heap, &items[count - 1].node), 0);
        for (size_t i = 0; i < count; i++)
            items[i].key = (int)((i * 7919 + count) % 101);
        heap_rebuild(&heap);
        assert_ordered(&heap);
        assert_int_equal(heap.count, count);
    }
    heap_deinit(&heap);
}

static void an_insertion_without_memory_changes_nothing(void **state)
{
    struct heap heap = HEAP_INIT(item_less);
    struct item items[40] = {0};
    int failures = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        size_t count = heap.count;
        items[i].key = (int)i;
        mem_fail_after(1);
        int status = heap_insert(&heap, &items[i].node);
        mem_fail_after(0);
        if (status < 0) {
            failures++;
            assert_int_equal(status, -ENOMEM);
            assert_int_equal(heap.count, count);
            assert_int_equal(items[i].node.place, 0);
            assert_int_equal(heap_insert(&heap, &items[i].node), 0);
        }
        assert_int_equal(key_of(heap_first(&heap)), 0);
    }
    assert_int_equal(failures, 3); /* room for 16, 32, 64 */
    heap_deinit(&heap);
}

static void reserved_room_needs_no_memory(void **state)
{
    struct heap heap = HEAP_INIT(item_less);
    struct item items[40] = {0};

    (void)state;
    assert_int_equal(heap_reserve(&heap, ARRAY_SIZE(items)), 0);
    mem_fail_after(1);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
        assert_int_equal(heap_insert(&heap, &items[i].node), 0);
    assert_int_equal(heap_reserve(&heap, ARRAY_SIZE(items)), 0);
    assert_int_equal(heap_reserve(&heap, 1000), -ENOMEM);
    assert_int_equal(heap.count, ARRAY_SIZE(items));
    mem_fail_after(0);
    heap_deinit(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_first_node),
        cmocka_unit_test(nodes_leave_in_order),
        cmocka_unit_test(any_node_can_leave_or_move),
        cmocka_unit_test(all_nodes_can_move_at_once),
        cmocka_unit_test(an_insertion_without_memory_changes_nothing),
        cmocka_unit_test(reserved_room_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
