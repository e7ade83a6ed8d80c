#include "core/value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/mem.h"
#include "core/typed.h"

static const char *const type_names[] = {
    [CEL_NULL] = "null",      [CEL_BOOL] = "boolean",    [CEL_INT] = "integer",
    [CEL_BIGINT] = "integer", [CEL_FLOAT] = "float",     [CEL_TEXT] = "text",
    [CEL_BYTES] = "bytes",    [CEL_DECIMAL] = "decimal", [CEL_DATETIME] = "datetime",
    [CEL_DATE] = "date",      [CEL_TIME] = "time",       [CEL_UUID] = "uuid",
    [CEL_LIST] = "list",      [CEL_MAP] = "map",
};

const char *cel_type_name(enum cel_type type)
{
    return (size_t)type < ARRAY_SIZE(type_names) ? type_names[type] : "unknown";
}

bool value_is_typed(enum cel_type type)
{
    return type == CEL_BIGINT || (type >= CEL_DECIMAL && type <= CEL_UUID);
}

static bool is_container(const struct cel_value *value)
{
    return value->type == CEL_LIST || value->type == CEL_MAP;
}

static bool has_text(const struct cel_value *value)
{
    return value->type == CEL_TEXT || value->type == CEL_BYTES || value_is_typed(value->type);
}

/* By mem_grow, because zeroed memory costs more and all of it is written here. */
static struct cel_value *value_new(enum cel_type type, size_t text_size)
{
    struct cel_value *value = mem_grow(NULL, 1, sizeof(*value) + text_size);
    if (value)
        *value = (struct cel_value){.type = type};
    return value;
}

static struct cel_value *value_new_text(enum cel_type type, struct str text)
{
    if (text.len > SIZE_MAX / 2)
        return NULL;
    struct cel_value *value = value_new(type, text.len + 1);
    if (!value)
        return NULL;
    char *copy = (char *)(value + 1);
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    value->text = str_n(copy, text.len);
    return value;
}

struct cel_value *cel_null(void)
{
    return value_new(CEL_NULL, 0);
}

struct cel_value *cel_bool(bool b)
{
    struct cel_value *value = value_new(CEL_BOOL, 0);
    if (value)
        value->boolean = b;
    return value;
}

struct cel_value *cel_int(int64_t i)
{
    struct cel_value *value = value_new(CEL_INT, 0);
    if (value)
        value->integer = i;
    return value;
}

struct cel_value *cel_float(double d)
{
    struct cel_value *value = value_new(CEL_FLOAT, 0);
    if (value)
        value->number = d;
    return value;
}

struct cel_value *value_text(struct str text)
{
    return value_new_text(CEL_TEXT, text);
}

struct cel_value *cel_text_n(const char *text, size_t length)
{
    struct str view = str_n(text, length);
    return (text || length == 0) && str_is_utf8(view) ? value_text(view) : NULL;
}

struct cel_value *cel_text(const char *text)
{
    return text ? cel_text_n(text, strlen(text)) : NULL;
}

struct cel_value *cel_bytes(const void *bytes, size_t length)
{
    return bytes || length == 0 ? value_new_text(CEL_BYTES, str_n(bytes, length)) : NULL;
}

struct cel_value *value_typed(enum cel_type type, struct str text)
{
    char room[TYPED_ROOM];
    int64_t integer;
    if (!text.ptr || !typed_form(type, text, room, &text))
        return NULL;
    if (type == CEL_BIGINT && str_parse_i64(text, &integer) == 0)
        return cel_int(integer);
    return value_new_text(type, text);
}

struct cel_value *cel_typed(enum cel_type type, const char *text)
{
    return value_typed(type, str_of(text));
}

struct cel_value *cel_list(void)
{
    return value_new(CEL_LIST, 0);
}

struct cel_value *cel_map(void)
{
    return value_new(CEL_MAP, 0);
}

int value_list_add(struct cel_value *list, struct cel_value *item)
{
    struct cel_value **items =
        mem_room(list->list.items, list->list.count, &list->list.cap, sizeof(struct cel_value *));
    if (!items)
        return -ENOMEM;
    list->list.items = items;
    items[list->list.count++] = item;
    return 0;
}

int value_map_add(struct cel_value *map, struct str key, struct cel_value *item)
{
    struct cel_pair *pairs =
        mem_room(map->map.pairs, map->map.count, &map->map.cap, sizeof(struct cel_pair));
    if (!pairs)
        return -ENOMEM;
    map->map.pairs = pairs;
    char *copy = str_dup(key);
    if (!copy)
        return -ENOMEM;
    pairs[map->map.count++] = (struct cel_pair){str_n(copy, key.len), item};
    return 0;
}

int cel_list_add(struct cel_value *list, struct cel_value *item)
{
    if (!item)
        return -ENOMEM;
    if (list == item)
        return -EINVAL;
    int r = -ENOMEM;
    if (list)
        r = list->type == CEL_LIST ? value_list_add(list, item) : -EINVAL;
    if (r < 0)
        cel_value_free(item);
    return r;
}

/* Looks for `key`; the number of pairs when it is not there. */
static size_t find_pair(const struct cel_value *map, struct str key)
{
    size_t i = 0;
    while (i < map->map.count && !str_equal(map->map.pairs[i].key, key))
        i++;
    return i;
}

static int map_set(struct cel_value *map, struct str key, struct cel_value *item)
{
    if (!map)
        return -ENOMEM;
    if (map->type != CEL_MAP || !key.ptr)
        return -EINVAL;
    size_t i = find_pair(map, key);
    if (i == map->map.count)
        return value_map_add(map, key, item);
    cel_value_free(map->map.pairs[i].value);
    map->map.pairs[i].value = item;
    return 0;
}

int value_set(struct cel_value *map, struct str key, struct cel_value *item)
{
    if (!item)
        return -ENOMEM;
    if (map == item)
        return -EINVAL;
    int r = map_set(map, key, item);
    if (r < 0)
        cel_value_free(item);
    return r;
}

struct cel_value *value_take(struct cel_value *map, struct str key)
{
    size_t i = cel_value_type(map) == CEL_MAP ? find_pair(map, key) : 0;
    if (i >= cel_value_count(map))
        return NULL;
    struct cel_pair *pair = &map->map.pairs[i];
    struct cel_value *value = pair->value;
    mem_free((char *)pair->key.ptr);
    memmove(pair, pair + 1, (--map->map.count - i) * sizeof(*pair));
    return value;
}

int cel_map_set(struct cel_value *map, const char *key, struct cel_value *item)
{
    struct str view = str_of(key);
    return value_set(map, str_is_utf8(view) ? view : STR_NONE, item);
}

/*
 * Freeing needs no memory and no recursion, however deep an application has nested its lists: the
 * way back up is kept in the field `cap` of the containers on it, which have no other use by then.
 */
static size_t *cap_of(struct cel_value *container)
{
    return container->type == CEL_LIST ? &container->list.cap : &container->map.cap;
}

/* Takes the last item out of a container; false when it is empty. Half-built maps hold NULL. */
static bool take_last(struct cel_value *container, struct cel_value **ret_item)
{
    if (container->type == CEL_LIST) {
        if (container->list.count == 0)
            return false;
        *ret_item = container->list.items[--container->list.count];
        return true;
    }
    if (container->map.count == 0)
        return false;
    struct cel_pair *pair = &container->map.pairs[--container->map.count];
    mem_free((char *)pair->key.ptr);
    *ret_item = pair->value;
    return true;
}

static void free_one(struct cel_value *value)
{
    if (value->type == CEL_LIST)
        mem_free(value->list.items);
    else if (value->type == CEL_MAP)
        mem_free(value->map.pairs);
    mem_free(value);
}

struct cel_value *cel_value_free(struct cel_value *value)
{
    struct cel_value *at = value, *item;
    while (at) {
        if (is_container(at) && take_last(at, &item)) {
            if (item && is_container(item)) {
                *cap_of(item) = (size_t)(uintptr_t)at;
                at = item;
            } else {
                mem_free(item);
            }
            continue;
        }
        struct cel_value *up = at == value ? NULL : (struct cel_value *)(uintptr_t)*cap_of(at);
        free_one(at);
        at = up;
    }
    return NULL;
}

static struct cel_value *dup_at(const struct cel_value *value, unsigned depth);

static int dup_items(const struct cel_value *value, struct cel_value *copy, unsigned depth)
{
    for (size_t i = 0; i < cel_value_count(value); i++) {
        struct cel_value *item = dup_at(cel_value_at(value, i), depth + 1);
        if (!item)
            return -ENOMEM;
        int r = value->type == CEL_LIST ? value_list_add(copy, item)
                                        : value_map_add(copy, value->map.pairs[i].key, item);
        if (r < 0) {
            cel_value_free(item);
            return r;
        }
    }
    return 0;
}

static struct cel_value *dup_at(const struct cel_value *value, unsigned depth)
{
    if (!value)
        return cel_null();
    if (has_text(value))
        return value_new_text(value->type, value->text);
    struct cel_value *copy = value_new(value->type, 0);
    if (!copy)
        return NULL;
    if (!is_container(value)) {
        *copy = *value;
        return copy;
    }
    if (depth >= VALUE_DEPTH_MAX || dup_items(value, copy, depth) < 0)
        return cel_value_free(copy);
    return copy;
}

struct cel_value *cel_value_dup(const struct cel_value *value)
{
    return dup_at(value, 0);
}

static bool same_number(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

static bool equal_at(const struct cel_value *a, const struct cel_value *b, unsigned depth);

static bool equal_items(const struct cel_value *a, const struct cel_value *b, unsigned depth)
{
    if (depth >= VALUE_DEPTH_MAX || cel_value_count(a) != cel_value_count(b))
        return false;
    for (size_t i = 0; i < cel_value_count(a); i++) {
        const struct cel_value *other = cel_value_at(b, i);
        if (a->type == CEL_MAP && !str_equal(a->map.pairs[i].key, b->map.pairs[i].key)) {
            size_t at = find_pair(b, a->map.pairs[i].key);
            if (at == b->map.count)
                return false;
            other = b->map.pairs[at].value;
        }
        if (!equal_at(cel_value_at(a, i), other, depth + 1))
            return false;
    }
    return true;
}

static bool equal_at(const struct cel_value *a, const struct cel_value *b, unsigned depth)
{
    enum cel_type type = cel_value_type(a);
    if (type != cel_value_type(b))
        return false;
    if (type == CEL_NULL)
        return true;
    if (type == CEL_BOOL)
        return a->boolean == b->boolean;
    if (type == CEL_INT)
        return a->integer == b->integer;
    if (type == CEL_FLOAT)
        return same_number(a->number, b->number);
    return has_text(a) ? str_equal(a->text, b->text) : equal_items(a, b, depth);
}

bool value_equal(const struct cel_value *a, const struct cel_value *b)
{
    return equal_at(a, b, 0);
}

enum cel_type cel_value_type(const struct cel_value *value)
{
    return value ? value->type : CEL_NULL;
}

bool cel_value_bool(const struct cel_value *value, bool otherwise)
{
    return value && value->type == CEL_BOOL ? value->boolean : otherwise;
}

int64_t cel_value_int(const struct cel_value *value, int64_t otherwise)
{
    return value && value->type == CEL_INT ? value->integer : otherwise;
}

double cel_value_float(const struct cel_value *value, double otherwise)
{
    enum cel_type type = cel_value_type(value);
    if (type == CEL_FLOAT)
        return value->number;
    if (type == CEL_INT)
        return (double)value->integer;
    /* Digits alone read the same in every locale; beyond the range it is infinity, as wanted. */
    return type == CEL_BIGINT ? strtod(value->text.ptr, NULL) : otherwise;
}

struct str value_str(const struct cel_value *value)
{
    return value && has_text(value) && value->type != CEL_BYTES ? value->text : STR_NONE;
}

const char *cel_value_text(const struct cel_value *value, size_t *ret_length)
{
    struct str text = value_str(value);
    if (text.ptr && ret_length)
        *ret_length = text.len;
    return text.ptr;
}

const void *cel_value_bytes(const struct cel_value *value, size_t *ret_length)
{
    enum cel_type type = cel_value_type(value);
    if (type != CEL_BYTES && type != CEL_TEXT)
        return NULL;
    if (ret_length)
        *ret_length = value->text.len;
    return value->text.ptr;
}

size_t cel_value_count(const struct cel_value *value)
{
    enum cel_type type = cel_value_type(value);
    return type == CEL_LIST ? value->list.count : type == CEL_MAP ? value->map.count : 0;
}

const struct cel_value *cel_value_at(const struct cel_value *value, size_t index)
{
    if (index >= cel_value_count(value))
        return NULL;
    return value->type == CEL_LIST ? value->list.items[index] : value->map.pairs[index].value;
}

const char *cel_value_key(const struct cel_value *map, size_t index)
{
    if (cel_value_type(map) != CEL_MAP || index >= map->map.count)
        return NULL;
    return map->map.pairs[index].key.ptr;
}

const struct cel_value *value_find(const struct cel_value *map, struct str key)
{
    if (cel_value_type(map) != CEL_MAP || !key.ptr)
        return NULL;
    size_t i = find_pair(map, key);
    return i < map->map.count ? map->map.pairs[i].value : NULL;
}

const struct cel_value *cel_value_get(const struct cel_value *map, const char *key)
{
    return value_find(map, str_of(key));
}
