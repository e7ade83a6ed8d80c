#include "celeriac/canvas.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canvas/build.h"
#include "core/mem.h"
#include "published.h"

static void assert_json(struct cel_signature *signature, const char *expected)
{
    char *json = cel_signature_to_json(signature);
    assert_non_null(json);
    struct cel_value *found = read_json(json), *wanted = read_json(expected);
    assert_same_value(found, wanted);
    cel_value_free(found);
    cel_value_free(wanted);
    free(json);
    cel_signature_free(signature);
}

static struct cel_signature *task(const char *name)
{
    return cel_signature(cel_call_new(name));
}

static void a_call_keeps_all_that_was_set(void **state)
{
    struct cel_call *call = cel_call_new("t");
    (void)state;
    cel_call_arg(call, cel_int(1));
    cel_call_kwarg(call, "k", cel_typed(CEL_DATE, "2030-01-01"));
    cel_call_id(call, "i");
    cel_call_queue(call, "q");
    cel_call_priority(call, 3);
    cel_call_countdown_ms(call, 1500);
    cel_call_expires_in_ms(call, 60000);
    cel_call_retries(call, 2);
    cel_call_ignore_result(call, true);
    cel_call_time_limit_ms(call, 2500, 10000);
    cel_call_shadow(call, "s");
    cel_call_header(call, "h", cel_int(1));
    cel_call_compression(call, CEL_ZLIB);
    assert_json(
        cel_signature(call),
        "{\"task\": \"t\", \"args\": [1], \"kwargs\": {\"k\": \"2030-01-01T00:00:00\"}, "
        "\"options\": "
        "{\"task_id\": \"i\", \"queue\": \"q\", \"priority\": 3, \"countdown\": 1.5, \"expires\": "
        "60, "
        "\"retries\": 2, \"ignore_result\": true, \"time_limit\": 10, \"soft_time_limit\": 2.5, "
        "\"shadow\": \"s\", \"headers\": {\"h\": 1}, \"compression\": \"zlib\"}, \"subtask_type\": "
        "null, \"immutable\": false}");
}

static void moments_are_iso_times_and_types_are_kept_where_they_are_asked_for(void **state)
{
    struct cel_call *call = cel_call_new("t");
    (void)state;
    cel_call_arg(call, cel_typed(CEL_DECIMAL, "1.10"));
    cel_call_eta_ms(call, 1893456000000);
    cel_call_expires_at_ms(call, 1893456000500);
    cel_call_serializer(call, CEL_JSON_TYPED);
    assert_json(
        cel_signature(call),
        "{\"task\": \"t\", \"args\": [{\"__type__\": \"decimal\", \"__value__\": \"1.10\"}], "
        "\"kwargs\": {}, "
        "\"options\": {\"eta\": \"2030-01-01T00:00:00+00:00\", \"expires\": "
        "\"2030-01-01T00:00:00.500000+00:00\"}, \"subtask_type\": null, \"immutable\": false}");
    call = cel_call_new("t");
    cel_call_serializer(call, CEL_MSGPACK);
    assert_json(cel_signature(call), TASK("t", "", "\"serializer\": \"msgpack\""));
}

static void signatures_are_put_together(void **state)
{
    struct cel_signature *chain = cel_chain(), *group = cel_group(), *chord;
    (void)state;
    cel_signature_add(chain, task("a"));
    cel_signature_add(chain, task("b"));
    cel_link(chain, task("l"));
    cel_link(chain, task("m"));
    cel_link_error(chain, task("e"));
    cel_signature_set(chain, "countdown", cel_int(3));
    assert_json(
        chain,
        CHAIN_OF(TASK("a", "", "") "," TASK("b", "", ""),
                 "\"link\": [" TASK("l", "", "") "," TASK("m", "", "") "], \"link_error\": [" TASK(
                     "e", "", "") "], \"countdown\": 3"));
    cel_signature_add(group, task("a"));
    chord = cel_chord(group, task("b"));
    cel_signature_add(chord, task("c"));
    assert_json(
        chord,
        "{\"task\": \"celery.chord\", \"args\": [], \"kwargs\": {\"kwargs\": {}, "
        "\"header\": " GROUP_OF(TASK("a", "", "") "," TASK("c", "", ""), "") ", \"body\": " TASK(
            "b", "", "") "}, \"options\": {}, "
                         "\"subtask_type\": \"chord\", \"immutable\": false}");
    chord = cel_chord(task("a"), task("b"));
    assert_json(chord, "{\"task\": \"celery.chord\", \"args\": [], \"kwargs\": {\"kwargs\": {}, "
                       "\"header\": " GROUP_OF(TASK("a", "", ""), "") ", \"body\": " TASK(
                           "b", "", "") "}, \"options\": {}, "
                                        "\"subtask_type\": \"chord\", \"immutable\": false}");
    struct cel_signature *fixed = task("a");
    cel_immutable(fixed);
    assert_json(fixed, "{\"task\": \"a\", \"args\": [], \"kwargs\": {}, \"options\": {}, "
                       "\"subtask_type\": null, \"immutable\": true}");
    struct cel_value *it = cel_list();
    assert_int_equal(cel_list_add(it, cel_int(1)), 0);
    assert_json(cel_chunks(task("a"), it, 5),
                "{\"task\": \"celery.chunks\", \"args\": [], \"kwargs\": {\"task\": " TASK(
                    "a", "", "") ", \"it\": [1], \"n\": 5}, \"options\": {}, \"subtask_type\": "
                                 "\"chunks\", \"immutable\": true}");
}

static void assert_refused(struct cel_signature *signature, int code, const char *words)
{
    const struct cel_value *value;
    struct cel_error err = {0};
    assert_int_equal(build_value(signature, &value, &err), code);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_null(cel_signature_to_json(signature));
    cel_signature_free(signature);
}

static void the_first_error_is_kept_wherever_it_was(void **state)
{
    struct cel_call *call = cel_call_new("t");
    struct cel_signature *chain = cel_chain(), *bytes, *loop = cel_chain();
    (void)state;
    cel_call_priority(call, 77);
    cel_signature_add(chain, cel_signature(call));
    cel_signature_add(chain, task("fine"));
    cel_link(chain, task("fine"));
    assert_refused(cel_chord(chain, task("body")), -EINVAL, "A priority is 0 to 9, not 77");
    call = cel_call_new("t");
    cel_call_arg(call, cel_bytes("\xff", 1));
    bytes = cel_signature(call);
    assert_refused(cel_chord(cel_group(), bytes), CEL_E_FORMAT, "CEL_JSON_TYPED");
    cel_signature_add(loop, loop);
    assert_refused(loop, -EINVAL, "within itself");
    struct cel_signature *single = task("a");
    cel_signature_add(single, task("b"));
    assert_refused(single, -EINVAL, "are added to chains, groups and chords");
    assert_refused(cel_chunks(task("a"), cel_list(), 0), -EINVAL, "a number from 1");
    assert_refused(cel_xmap(task("a"), cel_int(1)), -EINVAL, "is a list");
    struct cel_signature *group = cel_group();
    cel_signature_add(group, NULL);
    assert_refused(group, -ENOMEM, "memory");
    assert_refused(NULL, -EINVAL, "NULL");
}

static void json_is_read_as_it_is_written(void **state)
{
    const char *text = CHAIN_OF(TASK("a", "1", "\"link\": " TASK("l", "", "")), "");
    struct cel_signature *signature = NULL;
    struct cel_error err = {0};
    (void)state;
    assert_int_equal(cel_signature_from_json(text, strlen(text), &signature, &err), 0);
    assert_json(signature, text);
    assert_int_equal(cel_signature_from_json("{\"task\": 5}", 11, &signature, &err), CEL_E_FORMAT);
    assert_int_equal(cel_signature_from_json("{", 1, &signature, &err), CEL_E_FORMAT);
    assert_int_equal(cel_signature_from_json(NULL, 0, &signature, &err), -EINVAL);
    /* one link alone becomes a list when there are two */
    text = TASK("a", "", "\"link\": " TASK("l", "", ""));
    assert_int_equal(cel_signature_from_json(text, strlen(text), &signature, &err), 0);
    cel_link(signature, task("m"));
    assert_json(signature,
                TASK("a", "", "\"link\": [" TASK("l", "", "") "," TASK("m", "", "") "]"));
}

static struct cel_signature *all(void)
{
    struct cel_call *call = cel_call_new("t");
    cel_call_arg(call, cel_int(1));
    cel_call_header(call, "h", cel_int(1));
    struct cel_signature *chain = cel_chain();
    cel_signature_add(chain, cel_signature(call));
    cel_signature_add(chain, cel_xstarmap(task("a"), cel_list()));
    cel_link(chain, task("l"));
    cel_signature_set(chain, "queue", cel_text("q"));
    cel_immutable(chain);
    return cel_chord(chain, task("b"));
}

static void memory_that_runs_short_is_kept_as_an_error(void **state)
{
    int r = -ENOMEM;
    (void)state;
    for (size_t n = 1; r == -ENOMEM; n++) {
        const struct cel_value *value;
        mem_fail_after(n);
        struct cel_signature *signature = all();
        mem_fail_after(0);
        r = signature ? build_value(signature, &value, NULL) : -ENOMEM;
        assert_true(r == 0 || r == -ENOMEM);
        cel_signature_free(signature);
    }
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_keeps_all_that_was_set),
        cmocka_unit_test(moments_are_iso_times_and_types_are_kept_where_they_are_asked_for),
        cmocka_unit_test(signatures_are_put_together),
        cmocka_unit_test(the_first_error_is_kept_wherever_it_was),
        cmocka_unit_test(json_is_read_as_it_is_written),
        cmocka_unit_test(memory_that_runs_short_is_kept_as_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
