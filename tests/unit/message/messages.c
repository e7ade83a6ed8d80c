#include "messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "message/scanner.h"
#include "tests/support/vectors.h"

struct visit {
    const char *name;
    message_fn *fn;
    size_t count;
};

static void visit(struct visit *visit, struct str bytes)
{
    assert_non_null(bytes.ptr);
    visit->fn(visit->name, visit->count++, bytes);
}

/* An entry of "unacked" is [envelope, exchange, routing key]: the text of its first element. */
static struct str envelope_of(struct str entry)
{
    struct scanner scan;
    scan_init(&scan, entry, 64);
    assert_true(scan_open(&scan, '['));
    const char *begin = scan.pos;
    assert_int_equal(scan_skip(&scan), 0);
    return str_n(begin, (size_t)(scan.pos - begin));
}

static void visit_key(struct visit *to, const struct cel_value *key)
{
    const struct cel_value *list = cel_value_get(key, "values_left_to_right");
    const struct cel_value *hash = cel_value_get(key, "fields");
    for (size_t i = 0; i < cel_value_count(list); i++)
        visit(to, value_str(cel_value_at(list, i)));
    for (size_t i = 0; i < cel_value_count(hash); i++)
        visit(to, envelope_of(value_str(cel_value_at(hash, i))));
}

size_t messages_each(const char *name, const struct cel_value *vector, message_fn *fn)
{
    static const char *const parts[] = {"redis", "while_stopping"};
    struct visit to = {name, fn, 0};
    for (size_t part = 0; part < ARRAY_SIZE(parts); part++) {
        const struct cel_value *keys = cel_value_get(vector, parts[part]);
        for (size_t i = 0; i < cel_value_count(keys); i++)
            visit_key(&to, cel_value_at(keys, i));
    }
    if (cel_value_get(vector, "pushed"))
        visit(&to, value_str(cel_value_get(vector, "pushed")));
    return to.count;
}

bool messages_in(const char *name)
{
    return strchr("qmub", name[0]) && name[1] == '-';
}

static struct str first_message;

static void keep_first(const char *name, size_t index, struct str bytes)
{
    (void)name;
    if (index > 0)
        return;
    char *copy = malloc(bytes.len);
    assert_non_null(copy);
    memcpy(copy, bytes.ptr, bytes.len);
    first_message = str_n(copy, bytes.len);
}

struct str message_load(const char *name)
{
    struct cel_value *vector = vectors_load(name);
    assert_true(messages_each(name, vector, keep_first) > 0);
    cel_value_free(vector);
    return first_message;
}
