#include "message/fields.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "celeriac/error.h"
#include "core/mem.h"

#include "check.h"

struct person {
    struct str name;
    struct optional_integer age;
    bool is_here;
    struct str others;
};

static const struct field person_fields[] = {
    {STR("name"), field_text, offsetof(struct person, name)},
    {STR("age"), field_integer, offsetof(struct person, age)},
    {STR("here"), field_flag, offsetof(struct person, is_here)},
    {STR("gone"), field_ignored, 0},
};

static int read_person(const char *text, struct person *person, struct buf *scratch)
{
    struct fields fields = {.target = person, .scratch = scratch};
    *person = (struct person){0};
    *scratch = (struct buf){0};
    scan_init(&fields.scan, str_of(text), 8);
    int r = fields_object(&fields, person_fields, ARRAY_SIZE(person_fields), &person->others);
    assert_int_equal(r, fields.status ? fields.status : fields.scan.status);
    return r;
}

static void members_go_to_their_places_in_any_order(void **state)
{
    static const char *const texts[] = {
        "{\"name\": \"Ada\", \"age\": 36, \"here\": true, \"gone\": 1}",
        "{\"here\":true,\"gone\":[{}],\"age\":36,\"name\":\"Ada\"}",
        "{\"age\": 1, \"age\": 36, \"h\\u0065re\": true, \"name\": null, \"name\": \"Ada\"}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct person person;
        struct buf scratch;
        assert_int_equal(read_person(texts[i], &person, &scratch), 0);
        assert_str(person.name, "Ada");
        assert_true(person.age.is_there && person.is_here);
        assert_int_equal(person.age.value, 36);
        assert_none(person.others);
        assert_null(scratch.ptr);
    }
}

static void other_types_count_as_missing(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"name\": 1, \"age\": \"1\", \"here\": \"true\"}",
        "{\"name\": [], \"age\": 1.0, \"here\": 1}",
        "{\"age\": 99999999999999999999}",
        "{\"name\": \"a\", \"name\": {}, \"age\": 1, \"age\": NaN, \"here\": true, \"here\": 0}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct person person;
        struct buf scratch;
        assert_int_equal(read_person(texts[i], &person, &scratch), 0);
        assert_none(person.name);
        assert_false(person.age.is_there || person.is_here);
        assert_int_equal(person.age.value, 0);
    }
}

static void members_without_an_entry_are_handed_out_as_text(void **state)
{
    static const struct {
        const char *text, *others;
    } cases[] = {
        {"{\"a\": 1, \"b\" :[2] }", "\"a\": 1, \"b\" :[2]"},
        {"{\"age\": 1, \"a\": {\"age\": 2}}", "\"a\": {\"age\": 2}"},
        {"{\"a\": 1, \"age\": 1}", "\"a\": 1"},
        {"{\"a\": 1, \"age\": 1, \"b\": 2, \"name\": \"\\n\", \"c\": \"\\n\"}",
         "\"a\": 1,\"b\": 2,\"c\": \"\\n\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct person person;
        struct buf scratch;
        assert_int_equal(read_person(cases[i].text, &person, &scratch), 0);
        assert_str(person.others, cases[i].others);
        buf_deinit(&scratch);
    }
}

/* The scratch is as large as the text, and each of its bytes comes from other bytes of the text. */
static void views_of_the_scratch_stay(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct person person;
    struct buf scratch;
    (void)state;
    buf_add_c(&text, "{\"name\": \"\\tfirst\"");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, ", \"other\": %d, \"gone\": \"\\n\"", i);
    buf_add_c(&text, "}");
    assert_int_equal(read_person(text.ptr, &person, &scratch), 0);
    assert_str(person.name, "\tfirst");
    assert_true(str_starts(person.others, STR("\"other\": 0,\"other\": 1,")));
    assert_true(str_ends(person.others, STR("\"other\": 999")));
    assert_true(person.name.ptr == scratch.ptr);
    assert_true(scratch.len <= text.len);
    buf_deinit(&scratch);
}

static void failures_are_those_of_the_text_or_of_memory(void **state)
{
    static const char *const texts[] = {
        "",           "[]", "{\"name\": }", "{\"age\": 1.}", "{\"x\": tru}", "{\"gone\": \"\\x\"}",
        "{\"age\" 1}"};
    struct person person;
    struct buf scratch;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(read_person(texts[i], &person, &scratch), CEL_E_FORMAT);
    assert_int_equal(read_person("{\"x\": [[[[[[[[]]]]]]]]}", &person, &scratch), CEL_E_LIMIT);
    mem_fail_after(1);
    assert_int_equal(read_person("{\"name\": \"\\n\"}", &person, &scratch), -ENOMEM);
    mem_fail_after(1);
    assert_int_equal(read_person("{\"a\": 1, \"age\": 1, \"b\": 2}", &person, &scratch), -ENOMEM);
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_go_to_their_places_in_any_order),
        cmocka_unit_test(other_types_count_as_missing),
        cmocka_unit_test(members_without_an_entry_are_handed_out_as_text),
        cmocka_unit_test(views_of_the_scratch_stay),
        cmocka_unit_test(failures_are_those_of_the_text_or_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
