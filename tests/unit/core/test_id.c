#include "core/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void an_id_is_a_version_4_uuid(void **state)
{
    (void)state;
    bool variants[4] = {false};
    for (int i = 0; i < 1000; i++) {
        char buffer[UUID_SIZE];
        struct str id = uuid_new(buffer);
        assert_ptr_equal(id.ptr, buffer);
        assert_int_equal(id.len, 36);
        assert_int_equal(strlen(buffer), 36);
        for (size_t at = 0; at < 36; at++) {
            bool is_dash = at == 8 || at == 13 || at == 18 || at == 23;
            assert_non_null(strchr(is_dash ? "-" : "0123456789abcdef", buffer[at]));
        }
        assert_int_equal(buffer[14], '4');
        const char *variant = strchr("89ab", buffer[19]);
        assert_non_null(variant);
        variants[variant - strchr("89ab", '8')] = true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
        assert_true(variants[i]);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, UUID_SIZE);
}

static void ids_do_not_repeat(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static char ids[COUNT][UUID_SIZE];
    for (size_t i = 0; i < COUNT; i++)
        uuid_new(ids[i]);
    qsort(ids, COUNT, UUID_SIZE, compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_int_not_equal(compare(ids[i - 1], ids[i]), 0);
}

static void parent_and_child_get_different_ids(void **state)
{
    (void)state;
    char before[UUID_SIZE], here[UUID_SIZE], there[UUID_SIZE];
    uuid_new(before);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uuid_new(there);
        _exit(write(ends[1], there, UUID_SIZE) == UUID_SIZE ? 0 : 1);
    }
    uuid_new(here);
    assert_int_equal(read(ends[0], there, UUID_SIZE), UUID_SIZE);
    close(ends[0]);
    close(ends[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_string_not_equal(here, there);
    assert_string_not_equal(before, there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_a_version_4_uuid),
        cmocka_unit_test(ids_do_not_repeat),
        cmocka_unit_test(parent_and_child_get_different_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
