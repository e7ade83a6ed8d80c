/* Parameter lists. The expected texts are those of CPython 3.11 for a function of the same
 * signature. */
#include "child/params.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/json.h"
#include "core/mem.h"

static const struct {
    const char *params, *args, *kwargs, *text;
} type_errors[] = {
    {"x, y", "[1]", "{}", "f() missing 1 required positional argument: 'y'"},
    {"x, y", "[]", "{}", "f() missing 2 required positional arguments: 'x' and 'y'"},
    {"x, y, z", "[]", "{}", "f() missing 3 required positional arguments: 'x', 'y', and 'z'"},
    {"a, b, c, d", "[]", "{\"b\": 1}",
     "f() missing 3 required positional arguments: 'a', 'c', and 'd'"},
    {"x, y", "[1]", "{\"z\": 2}", "f() got an unexpected keyword argument 'z'"},
    {"x", "[1]", "{\"x\": 2}", "f() got multiple values for argument 'x'"},
    {"x", "[1, 2]", "{}", "f() takes 1 positional argument but 2 were given"},
    {"x, y=5", "[1, 2, 3]", "{}", "f() takes from 1 to 2 positional arguments but 3 were given"},
    {"", "[1]", "{}", "f() takes 0 positional arguments but 1 was given"},
    {"", "[1, 2]", "{}", "f() takes 0 positional arguments but 2 were given"},
    {"x=1", "[1, 2]", "{}", "f() takes from 0 to 1 positional arguments but 2 were given"},
    {"x, y=5, *, k", "[1, 2, 3]", "{\"k\": 1}",
     "f() takes from 1 to 2 positional arguments but 3 positional arguments (and 1 keyword-only "
     "argument) were given"},
    {"x, *, k", "[1, 2]", "{\"k\": 1}",
     "f() takes 1 positional argument but 2 positional arguments (and 1 keyword-only argument) "
     "were given"},
    {"x, *, k, m", "[1, 2]", "{\"k\": 1, \"m\": 2}",
     "f() takes 1 positional argument but 2 positional arguments (and 2 keyword-only arguments) "
     "were given"},
    {"*, k", "[1]", "{\"k\": 1}",
     "f() takes 0 positional arguments but 1 positional argument (and 1 keyword-only argument) "
     "were given"},
    {"*, k=1", "[1]", "{}", "f() takes 0 positional arguments but 1 was given"},
    {"*, k", "[]", "{}", "f() missing 1 required keyword-only argument: 'k'"},
    {"*, k, m", "[]", "{}", "f() missing 2 required keyword-only arguments: 'k' and 'm'"},
    {"*, k, m, n", "[]", "{\"m\": 1}",
     "f() missing 2 required keyword-only arguments: 'k' and 'n'"},
    {"x, *, k", "[]", "{}", "f() missing 1 required positional argument: 'x'"},
    {"x, *, k", "[]", "{\"k\": 1}", "f() missing 1 required positional argument: 'x'"},
    {"x, y", "[1, 2, 3]", "{\"y\": 4}", "f() got multiple values for argument 'y'"},
    {"x, y", "[1, 2, 3]", "{\"z\": 4}", "f() got an unexpected keyword argument 'z'"},
    {"x, **kw", "[1, 2]", "{\"z\": 4}", "f() takes 1 positional argument but 2 were given"},
    {"x, **kw", "[1]", "{\"x\": 4}", "f() got multiple values for argument 'x'"},
    {"x, *rest", "[]", "{}", "f() missing 1 required positional argument: 'x'"},
    {"x, *rest", "[1]", "{\"x\": 1}", "f() got multiple values for argument 'x'"},
    {"*rest", "[]", "{\"z\": 1}", "f() got an unexpected keyword argument 'z'"},
    {"", "[]", "{\"z\": 1}", "f() got an unexpected keyword argument 'z'"},
    {"x", "[]", "{\"grün\": 1}", "f() got an unexpected keyword argument 'grün'"},
    {"x, y=1", "[]", "{\"y\": 2}", "f() missing 1 required positional argument: 'x'"},
    {"x, y, z=1", "[1, 2, 3, 4]", "{}",
     "f() takes from 2 to 3 positional arguments but 4 were given"},
    {"foo, bar, *, retry_kwargs", "[1, 2]", "{}",
     "f() missing 1 required keyword-only argument: 'retry_kwargs'"},
};

static const struct {
    const char *params, *args, *kwargs, *bound;
} bindings[] = {
    {"x, y=5", "[1]", "{}", "{\"x\": 1, \"y\": 5}"},
    {"x, y=5", "[]", "{\"y\": 3, \"x\": 2}", "{\"x\": 2, \"y\": 3}"},
    {"*args, **kwargs", "[1, 2]", "{\"a\": 3}", "{\"args\": [1, 2], \"kwargs\": {\"a\": 3}}"},
    {"x, *rest, k=null, **more", "[1, 2, 3]", "{\"k\": 4, \"z\": 5}",
     "{\"x\": 1, \"k\": 4, \"rest\": [2, 3], \"more\": {\"z\": 5}}"},
    {"x, *rest, k=null, **more", "[1]", "{}",
     "{\"x\": 1, \"k\": null, \"rest\": [], \"more\": {}}"},
    {"percentage=5, category=null, dry_run=false", "[]", "{\"dry_run\": true}",
     "{\"percentage\": 5, \"category\": null, \"dry_run\": true}"},
    {"x, **kw", "[]", "{\"x\": 1, \"y\": 2}", "{\"x\": 1, \"kw\": {\"y\": 2}}"},
    {"", "[]", "{}", "{}"},
    {"a=\"x, y=[\", b=[1, {\"c\": 2}], c={\"]\": 1},", "[]", "{}",
     "{\"a\": \"x, y=[\", \"b\": [1, {\"c\": 2}], \"c\": {\"]\": 1}}"},
    {"x,*,y", "[1]", "{\"y\": 2}", "{\"x\": 1, \"y\": 2}"},
};

struct call {
    struct params *params;
    struct cel_value *args, *kwargs;
};

static struct cel_value *from_json(const char *json)
{
    struct cel_value *value = NULL;
    assert_int_equal(json_decode(str_of(json), &value, NULL), 0);
    return value;
}

static struct call call_of(const char *params, const char *args, const char *kwargs)
{
    struct call call = {.args = from_json(args), .kwargs = from_json(kwargs)};
    struct cel_error err = {0};
    if (params_parse(params, &call.params, &err))
        fail_msg("%s: %s", params, err.text);
    return call;
}

static void call_deinit(struct call *call)
{
    params_free(call->params);
    cel_value_free(call->args);
    cel_value_free(call->kwargs);
}

static void mistakes_are_told_in_the_words_of_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(type_errors); i++) {
        CLEANUP(call_deinit)
        struct call call =
            call_of(type_errors[i].params, type_errors[i].args, type_errors[i].kwargs);
        struct params_bound bound;
        struct cel_error err = {0};
        assert_int_equal(params_bind(call.params, STR("f"), call.args, call.kwargs, &bound, &err),
                         PARAMS_E_TYPE);
        assert_string_equal(err.text, type_errors[i].text);
    }
}

static void arguments_find_their_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bindings); i++) {
        CLEANUP(call_deinit)
        struct call call = call_of(bindings[i].params, bindings[i].args, bindings[i].kwargs);
        CLEANUP(params_bound_deinit) struct params_bound bound = {0};
        struct cel_error err = {0};
        if (params_bind(call.params, STR("f"), call.args, call.kwargs, &bound, &err))
            fail_msg("%s: %s", bindings[i].params, err.text);
        struct cel_value *expected = from_json(bindings[i].bound);
        for (size_t at = 0; at < cel_value_count(expected); at++) {
            const char *name = cel_value_key(expected, at);
            const struct cel_value *found = params_bound_find(&bound, str_of(name));
            assert_true(value_equal(found, cel_value_at(expected, at)));
        }
        assert_null(params_bound_find(&bound, STR("no_such_parameter")));
        cel_value_free(expected);
    }
}

static void a_list_that_is_none_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *params, *text;
    } cases[] = {
        {"x, , y", "parameter \"\": not a name"},
        {"1x", "parameter \"1x\": not a name"},
        {"x y", "parameter \"x y\": not a name"},
        {"x=", "parameter \"x=\": the default is not JSON"},
        {"x=None", "parameter \"x=None\": the default is not JSON"},
        {"x='a'", "parameter \"x='a'\": the default is not JSON"},
        {"x=[1, 2", "parameter \"x=[1, 2\": the default is not JSON"},
        {"x, x", "parameter \"x\": the name is used twice"},
        {"x, *x", "parameter \"*x\": not a name of its own"},
        {"x, **x", "parameter \"**x\": not a name of its own"},
        {"*a, *b", "parameter \"*b\": there is a * already"},
        {"*", "parameter \"*\": no parameter after it"},
        {"**", "parameter \"**\": not a name of its own"},
        {"**a, b", "parameter \"b\": nothing may follow **"},
        {"x=1, y", "parameter \"y\": no default after a parameter with a default"},
        {"\xff", "not a name"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct params *params;
        struct cel_error err = {0};
        assert_int_equal(params_parse(cases[i].params, &params, &err), CEL_E_CONFIG);
        assert_non_null(strstr(err.text, cases[i].text));
    }
}

static void a_bound_call_takes_nothing_away_from_what_was_sent(void **state)
{
    (void)state;
    CLEANUP(call_deinit) struct call call = call_of("x, *rest, **more", "[1, [2]]", "{\"k\": 3}");
    struct cel_value *args = from_json("[1, [2]]"), *kwargs = from_json("{\"k\": 3}");
    struct params_bound bound;
    assert_int_equal(params_bind(call.params, STR("f"), call.args, call.kwargs, &bound, NULL), 0);
    params_bound_deinit(&bound);
    params_bound_deinit(&bound);
    assert_true(value_equal(call.args, args));
    assert_true(value_equal(call.kwargs, kwargs));
    cel_value_free(args);
    cel_value_free(kwargs);
}

static void a_long_name_is_cut_and_not_more(void **state)
{
    (void)state;
    char kwargs[2000];
    memset(kwargs, 'k', sizeof(kwargs));
    memcpy(kwargs, "{\"", 2);
    memcpy(kwargs + sizeof(kwargs) - 5, "\": 1}", 5);
    CLEANUP(call_deinit) struct call call = {.args = from_json("[]")};
    assert_int_equal(json_decode(str_n(kwargs, sizeof(kwargs)), &call.kwargs, NULL), 0);
    assert_int_equal(params_parse("x", &call.params, NULL), 0);
    struct params_bound bound;
    struct cel_error err = {0};
    assert_int_equal(params_bind(call.params, STR("f"), call.args, call.kwargs, &bound, &err),
                     PARAMS_E_TYPE);
    assert_ptr_equal(strstr(err.text, "f() got an unexpected keyword argument 'kk"), err.text);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        struct params *params = NULL;
        mem_fail_after(n);
        int r =
            params_parse("a, b=[1, \"x\"], *c, d=5, e=6, f=7, g=8, h=9, i=1, **j", &params, NULL);
        mem_fail_after(0);
        if (r == 0) {
            params_free(params);
            assert_true(n > 5);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
    CLEANUP(call_deinit) struct call call = call_of("x, *rest, **more", "[1, [2]]", "{\"k\": 3}");
    for (size_t n = 1;; n++) {
        struct params_bound bound;
        mem_fail_after(n);
        int r = params_bind(call.params, STR("f"), call.args, call.kwargs, &bound, NULL);
        mem_fail_after(0);
        if (r == 0) {
            params_bound_deinit(&bound);
            assert_true(n > 4);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told_in_the_words_of_python),
        cmocka_unit_test(arguments_find_their_parameters),
        cmocka_unit_test(a_list_that_is_none_is_refused_with_its_place),
        cmocka_unit_test(a_bound_call_takes_nothing_away_from_what_was_sent),
        cmocka_unit_test(a_long_name_is_cut_and_not_more),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
