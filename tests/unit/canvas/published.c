#include "published.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "message/body.h"
#include "message/envelope.h"
#include "tests/support/vectors.h"

struct cel_value *read_json_str(struct str text)
{
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    if (json_decode(text, &value, &err) < 0)
        fail_msg("%s: " STR_FORMAT, err.text, STR_ARGS(text));
    return value;
}

struct cel_value *read_json(const char *text)
{
    return read_json_str(str_of(text));
}

struct canvas_sender a_client(void)
{
    return (struct canvas_sender){
        .origin = STR("gen1@here"), .default_queue = STR("celery"), .now_wall = NOW_WALL};
}

void publish(const char *text, struct plan *plan, struct buf *ret_handle)
{
    struct cel_value *signature = read_json(text);
    struct canvas_sender sender = a_client();
    struct cel_error err = {0};
    if (canvas_publish(signature, NULL, 0, &sender, plan, ret_handle, &err) < 0)
        fail_msg("%s", err.text);
    cel_value_free(signature);
}

struct cel_value *open_message(struct str text)
{
    struct cel_value *message = read_json_str(text);
    struct envelope envelope;
    struct body body;
    struct cel_error err = {0};
    if (envelope_decode(text, &envelope, &err) < 0 || body_decode(&envelope, &body, &err) < 0)
        fail_msg("%s: " STR_FORMAT, err.text, STR_ARGS(text));
    struct cel_value *list = cel_list();
    assert_int_equal(cel_list_add(list, body.args), 0);
    assert_int_equal(cel_list_add(list, body.kwargs), 0);
    assert_int_equal(cel_list_add(list, body.embed ? body.embed : cel_null()), 0);
    assert_int_equal(cel_map_set(message, "body", list), 0);
    envelope_deinit(&envelope);
    return message;
}

static const char *shown(const struct cel_value *value)
{
    static char text[65536];
    char *json = cel_value_to_json(value);
    snprintf(text, sizeof(text), "%s", json ? json : "(nothing)");
    free(json);
    return text;
}

const char *header_of(struct cel_value *message, const char *name)
{
    return shown(cel_value_get(cel_value_get(message, "headers"), name));
}

const char *body_of(struct cel_value *message)
{
    return shown(cel_value_get(message, "body"));
}

/* --- comparing -------------------------------------------------------------------------------- */

struct names {
    char uuids[256][40];
    size_t count;
};

static bool is_random_uuid(struct str text)
{
    return text.len == 36 && text.ptr[8] == '-' && text.ptr[13] == '-' && text.ptr[23] == '-' &&
           !str_starts(text, STR("0000000"));
}

static struct cel_value *name_of(struct names *names, struct str uuid)
{
    char text[32];
    size_t i = 0;
    while (i < names->count && !str_equal(uuid, str_of(names->uuids[i])))
        i++;
    assert_true(i < 256);
    if (i == names->count)
        snprintf(names->uuids[names->count++], 40, "%.36s", uuid.ptr);
    snprintf(text, sizeof(text), "uuid %zu", i + 1);
    return cel_text(text);
}

static int by_key(const void *a, const void *b)
{
    return str_compare(((const struct cel_pair *)a)->key, ((const struct cel_pair *)b)->key);
}

/* What no reader needs: who sent it, with what, and Celery's notes to itself. The chord of a member that
 * is still in its header is set when the chord begins, by whoever sends it then; Celery writes it before,
 * and the group's id as the chord's own. */
static void strip(struct cel_value *map)
{
    static const char *const gone[] = {"reply_to",   "delivery_tag",   "origin",
                                       "lang",       "add_to_parent",  "argsrepr",
                                       "kwargsrepr", "correlation_id", "replaced_task_nesting"};
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        cel_value_free(value_take(map, str_of(gone[i])));
    if (str_equal(value_str(cel_value_get(map, "subtask_type")), STR("chord"))) {
        struct cel_value *kwargs = (struct cel_value *)cel_value_get(map, "kwargs");
        struct cel_value *header = (struct cel_value *)cel_value_get(kwargs, "header");
        /* Celery's worker forgets the id that the client has given the header, and makes another one. */
        cel_value_free(
            value_take((struct cel_value *)cel_value_get(header, "options"), STR("task_id")));
        const struct cel_value *tasks = cel_value_get(cel_value_get(header, "kwargs"), "tasks");
        cel_value_free(
            value_take((struct cel_value *)cel_value_get(map, "options"), STR("task_id")));
        cel_value_free(
            value_take((struct cel_value *)cel_value_get(header, "options"), STR("chord")));
        for (size_t i = 0; i < cel_value_count(tasks); i++) {
            struct cel_value *options =
                (struct cel_value *)cel_value_get(cel_value_at(tasks, i), "options");
            cel_value_free(value_take(options, STR("chord")));
            cel_value_free(value_take(options, STR("group_index")));
        }
    }
    if (cel_value_count(cel_value_get(map, "stamps")) ==
        0) /* Celery 5.6 says that there are none */
        cel_value_free(value_take(map, STR("stamps")));
    if (cel_value_get(map,
                      "task_id")) { /* options: whoever sends it says who its root and parent are */
        cel_value_free(value_take(map, STR("root_id")));
        cel_value_free(value_take(map, STR("parent_id")));
    }
    if (cel_value_count(cel_value_get(map, "chain")) == 0) /* an empty list or null */
        cel_value_free(value_take(map, STR("chain")));
    for (size_t i = cel_value_count(map); i-- > 0;) {
        if (cel_value_type(cel_value_at(map, i)) == CEL_NULL)
            cel_value_free(value_take(map, map->map.pairs[i].key));
    }
}

static void anonymize_at(struct names *names, struct cel_value **value)
{
    if (is_random_uuid(value_str(*value))) {
        struct cel_value *name = name_of(names, value_str(*value));
        cel_value_free(*value);
        *value = name;
    } else if (cel_value_type(*value) == CEL_LIST) {
        for (size_t i = 0; i < cel_value_count(*value); i++)
            anonymize_at(names, &(*value)->list.items[i]);
    } else if (cel_value_type(*value) == CEL_MAP) {
        strip(*value);
        if ((*value)->map.count > 0)
            qsort((*value)->map.pairs, (*value)->map.count, sizeof(struct cel_pair), by_key);
        for (size_t i = 0; i < cel_value_count(*value); i++)
            anonymize_at(names, &(*value)->map.pairs[i].value);
    }
}

void anonymize(struct cel_value *messages)
{
    struct names names = {.count = 0};
    anonymize_at(&names, &messages);
}

void assert_same_value(const struct cel_value *found, const struct cel_value *expected)
{
    if (value_equal(found, expected))
        return;
    char *a = cel_value_to_json(found), *b = cel_value_to_json(expected);
    fprintf(stderr, "found:    %s\nexpected: %s\n", a, b);
    free(a);
    free(b);
    fail();
}

struct cel_value *plan_messages(const struct plan *plan)
{
    struct cel_value *list = cel_list();
    for (size_t i = 0; i < plan->message_count; i++)
        assert_int_equal(cel_list_add(list, open_message(str_of(plan->messages[i].text))), 0);
    return list;
}

struct cel_value *vector_messages(const char *name)
{
    struct cel_value *vector = vectors_load(name), *list = cel_list();
    const struct cel_value *keys = cel_value_get(vector, "redis");
    for (size_t k = 0; k < cel_value_count(keys); k++) {
        const struct cel_value *texts =
            cel_value_get(cel_value_at(keys, k), "values_left_to_right");
        for (size_t i = cel_value_count(texts); i-- > 0;)
            assert_int_equal(cel_list_add(list, open_message(value_str(cel_value_at(texts, i)))),
                             0);
    }
    cel_value_free(vector);
    return list;
}

void assert_published(const struct plan *plan, const char *name)
{
    struct cel_value *found = plan_messages(plan), *expected = vector_messages(name);
    anonymize(found);
    anonymize(expected);
    assert_same_value(found, expected);
    cel_value_free(found);
    cel_value_free(expected);
}
