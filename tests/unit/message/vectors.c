#include "vectors.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"
#include "message/scanner.h"

#define FOLDER TEST_DATA "/wire-vectors"

struct cel_value *vector_load(const char *name)
{
    char path[512];
    struct cel_error err = {0};
    struct cel_value *vector;
    snprintf(path, sizeof(path), FOLDER "/%s.json", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    size_t len = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    int r = json_decode(str_n(bytes, len), &vector, &err);
    if (r < 0)
        fail_msg("%s: %s", path, err.text);
    free(bytes);
    return vector;
}

static const char *wanted_prefix;

static int is_wanted(const struct dirent *entry)
{
    struct str name = str_of(entry->d_name);
    return str_starts(name, str_of(wanted_prefix)) && str_ends(name, STR(".json"));
}

char **vector_names(const char *prefix)
{
    struct dirent **entries;
    wanted_prefix = prefix;
    int count = scandir(FOLDER, &entries, is_wanted, alphasort);
    assert_true(count > 0);
    char **names = calloc((size_t)count + 1, sizeof(*names));
    assert_non_null(names);
    for (int i = 0; i < count; i++) {
        struct str name = str_of(entries[i]->d_name);
        names[i] = str_dup(str_n(name.ptr, name.len - strlen(".json")));
        free(entries[i]);
    }
    free(entries);
    return names;
}

void vector_names_free(char **names)
{
    for (size_t i = 0; names[i]; i++)
        free(names[i]);
    free(names);
}

struct visit {
    const char *name;
    vector_message_fn *fn;
    void *data;
    size_t count;
};

static void visit(struct visit *visit, struct str bytes)
{
    assert_non_null(bytes.ptr);
    visit->fn(visit->data, visit->name, visit->count++, bytes);
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

size_t vector_messages(const struct cel_value *vector, vector_message_fn *fn, void *data)
{
    static const char *const parts[] = {"redis", "while_stopping"};
    struct visit to = {cel_value_text(cel_value_get(vector, "name"), NULL), fn, data, 0};
    for (size_t part = 0; part < ARRAY_SIZE(parts); part++) {
        const struct cel_value *keys = cel_value_get(vector, parts[part]);
        for (size_t i = 0; i < cel_value_count(keys); i++)
            visit_key(&to, cel_value_at(keys, i));
    }
    if (cel_value_get(vector, "pushed"))
        visit(&to, value_str(cel_value_get(vector, "pushed")));
    return to.count;
}

static void keep_first(void *data, const char *name, size_t index, struct str bytes)
{
    struct str *first = data;
    (void)name;
    if (index > 0)
        return;
    char *copy = malloc(bytes.len);
    assert_non_null(copy);
    memcpy(copy, bytes.ptr, bytes.len);
    *first = str_n(copy, bytes.len);
}

struct str vector_message(const char *name)
{
    struct str first = STR_NONE;
    struct cel_value *vector = vector_load(name);
    assert_true(vector_messages(vector, keep_first, &first) > 0);
    cel_value_free(vector);
    return first;
}
