#include "core/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void memory_is_zeroed(void **state)
{
    (void)state;
    static const char zeros[4096];
    char *one = mem_alloc(sizeof(zeros));
    char *two = mem_array(64, 64);
    char *three = xalloc(sizeof(zeros));
    assert_memory_equal(one, zeros, sizeof(zeros));
    assert_memory_equal(two, zeros, sizeof(zeros));
    assert_memory_equal(three, zeros, sizeof(zeros));
    mem_free(one);
    mem_free(two);
    mem_free(three);
    mem_free(NULL);
}

static void nothing_is_something_too(void **state)
{
    (void)state;
    void *one = mem_alloc(0), *two = mem_array(0, 8), *three = mem_grow(NULL, 0, 8);
    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(three);
    three = mem_grow(three, 8, 0);
    assert_non_null(three);
    mem_free(one);
    mem_free(two);
    mem_free(three);
}

static void a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_array(3, SIZE_MAX / 2));
    char *kept = mem_alloc(4);
    assert_null(mem_grow(kept, SIZE_MAX / 2, 3));
    memcpy(kept, "abc", 4); /* still ours */
    mem_free(kept);
    assert_null(mem_dup("", SIZE_MAX));
}

static void growing_keeps_the_content(void **state)
{
    (void)state;
    uint32_t *numbers = NULL;
    for (uint32_t i = 0; i < 1000; i++) {
        numbers = mem_grow(numbers, i + 1, sizeof(*numbers));
        assert_non_null(numbers);
        numbers[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    mem_free(numbers);
}

static void a_copy_ends_with_a_zero_byte(void **state)
{
    (void)state;
    char *copy = mem_dup("a\0bc", 3);
    assert_memory_equal(copy, "a\0b\0", 4);
    mem_free(copy);
    copy = mem_dup(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
    copy = xstrdup("text");
    assert_string_equal(copy, "text");
    mem_free(copy);
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    mem_fail_after(3);
    void *one = mem_alloc(1);
    void *two = mem_dup("", 0);
    void *three = mem_array(1, 1);
    void *four = mem_grow(NULL, 1, 1);
    assert_non_null(one);
    assert_non_null(two);
    assert_null(three);
    assert_non_null(four);
    mem_free(one);
    mem_free(two);
    mem_free(four);
}

static void failing_can_be_switched_off(void **state)
{
    (void)state;
    mem_fail_after(1);
    mem_fail_after(0);
    void *one = mem_alloc(1);
    assert_non_null(one);
    mem_free(one);
}

static void a_program_ends_with_a_line_when_memory_is_short(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        mem_fail_after(1);
        (void)xnew(int);
        _exit(0);
    }
    close(ends[1]);
    char text[128] = "";
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_string_equal(text, "celeriac: out of memory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed),
        cmocka_unit_test(nothing_is_something_too),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(growing_keeps_the_content),
        cmocka_unit_test(a_copy_ends_with_a_zero_byte),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(failing_can_be_switched_off),
        cmocka_unit_test(a_program_ends_with_a_line_when_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
