#include "store/migrate.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char base[64], folder[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "/tmp/celeriac-migrate-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    snprintf(folder, sizeof(folder), "%s/shop", base);
    return mkdir(folder, 0755);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void files_come_in_the_order_of_their_numbers(void **state)
{
    (void)state;
    struct migration_set set;
    write_file("0010_ten.sql", "SELECT 10;");
    write_file("0002_two_words.sql", "SELECT 2;");
    write_file("10000_long.sql", "");
    write_file("README.md", "not SQL");
    write_file(".0003_hidden.sql", "SELECT 3;");
    assert_int_equal(migration_set_read(NULL, folder, &set, NULL), 0);
    assert_string_equal(set.name, "shop");
    assert_int_equal(set.count, 3);
    assert_int_equal(set.items[0].number, 2);
    assert_string_equal(set.items[0].name, "two_words");
    assert_string_equal(set.items[0].sql, "SELECT 2;");
    assert_int_equal(set.items[0].state, MIGRATION_PENDING);
    assert_int_equal(set.items[1].number, 10);
    assert_int_equal(set.items[2].number, 10000);
    assert_string_equal(set.items[2].sql, "");
    migration_set_deinit(&set);
}

static void a_set_may_be_named(void **state)
{
    (void)state;
    struct migration_set set;
    char path[256];
    write_file("0001_a.sql", "");
    assert_int_equal(migration_set_read("mine", folder, &set, NULL), 0);
    assert_string_equal(set.name, "mine");
    migration_set_deinit(&set);
    snprintf(path, sizeof(path), "%s/sql", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    strncat(folder, "/sql", sizeof(folder) - strlen(folder) - 1);
    write_file("0001_a.sql", "");
    strncat(folder, "/",
            sizeof(folder) - strlen(folder) - 1); /* a trailing slash changes nothing */
    assert_int_equal(migration_set_read(NULL, folder, &set, NULL), 0);
    assert_string_equal(set.name, "shop"); /* "sql" says nothing: the parent's name does */
    migration_set_deinit(&set);
}

static void assert_refused(int code, const char *text)
{
    struct migration_set set;
    struct cel_error err = {0};
    assert_int_equal(migration_set_read(NULL, folder, &set, &err), code);
    assert_non_null(strstr(err.text, text));
}

static void a_name_that_would_be_overlooked_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"1_short.sql", "0001.sql", "0001_.sql", "x001_a.sql",
                                        "99999999999999999999_big.sql"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[256];
        write_file(names[i], "");
        assert_refused(-EINVAL, names[i]);
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        remove(path);
    }
}

static void a_number_is_used_once(void **state)
{
    (void)state;
    write_file("0001_a.sql", "");
    write_file("00001_b.sql", "");
    assert_refused(-EINVAL, "the same number");
}

static void a_folder_without_files_is_a_wrong_folder(void **state)
{
    (void)state;
    assert_refused(-EINVAL, "no file");
    strncat(folder, "/nothing", sizeof(folder) - strlen(folder) - 1);
    assert_refused(-ENOENT, folder);
}

static void only_text_is_read(void **state)
{
    (void)state;
    write_file("0001_a.sql", "SELECT '\xff';");
    assert_refused(CEL_E_FORMAT, "0001_a.sql");
}

static void history_and_folder_must_agree(void **state)
{
    (void)state;
    struct migration items[] = {
        {.number = 1,
         .name = "a",
         .path = "0001_a.sql",
         .state = MIGRATION_APPLIED,
         .applied_at = "2026-01-01"},
        {.number = 2,
         .name = "b",
         .path = "0002_b.sql",
         .state = MIGRATION_APPLIED,
         .applied_at = "2026-01-02"},
        {.number = 3, .name = "c", .path = "0003_c.sql", .state = MIGRATION_PENDING},
    };
    struct migration_set set = {.name = "s", .items = items, .count = 3};
    struct cel_error err = {0};
    assert_int_equal(migrate_check(&set, &err), 0);
    items[0].state = MIGRATION_PENDING;
    assert_int_equal(migrate_check(&set, &err), CEL_E_CONFIG);
    assert_non_null(strstr(err.text, "0001_a.sql"));
    assert_non_null(strstr(err.text, "0002_b"));
    items[0].state = MIGRATION_GONE; /* an older program on a newer database */
    assert_int_equal(migrate_check(&set, &err), 0);
    items[1].state = MIGRATION_CHANGED;
    assert_int_equal(migrate_check(&set, &err), CEL_E_CONFIG);
    assert_non_null(strstr(err.text, "0002_b.sql"));
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(files_come_in_the_order_of_their_numbers),   IN_FOLDER(a_set_may_be_named),
        IN_FOLDER(a_name_that_would_be_overlooked_is_refused), IN_FOLDER(a_number_is_used_once),
        IN_FOLDER(a_folder_without_files_is_a_wrong_folder),   IN_FOLDER(only_text_is_read),
        cmocka_unit_test(history_and_folder_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
