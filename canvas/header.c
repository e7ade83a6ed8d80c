#include "canvas/header.h"

#include <errno.h>
#include <stdlib.h>

#include "core/json.h"
#include "core/mem.h"
#include "message/repr.h"
#include "message/result.h"
#include "message/scanner.h"

enum { REASON_MAX = 64 * 1024 };

/* A part as it was reported, and what it says. */
struct entry {
    struct cel_value *value; /* [1, id, state, result] */
    struct str id, state;
};
struct header {
    struct entry *entries;
    size_t count;
    struct buf *reason;
};

static int failed(struct header *header, const char *words, struct str what)
{
    buf_add_c(header->reason, words);
    buf_add_str(header->reason, what);
    return HEADER_FAILED;
}

/* --- gathering -------------------------------------------------------------------------------- */

static int read_entry(struct header *header, struct str text)
{
    struct cel_error err = {0};
    struct entry *entry = &header->entries[header->count];
    *entry = (struct entry){.value = NULL};
    int r = json_decode(text, &entry->value, &err);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return failed(header, "Join error: a part cannot be read: ", str_of(err.text));
    header->count++;
    entry->id = value_str(cel_value_at(entry->value, 1));
    entry->state = value_str(cel_value_at(entry->value, 2));
    if (cel_value_type(entry->value) != CEL_LIST || cel_value_count(entry->value) != 4 ||
        !entry->id.ptr || !entry->state.ptr)
        return failed(header, "Join error: a part is not [1, id, state, result]: ",
                      str_n(text.ptr, text.len < 100 ? text.len : 100));
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return str_compare(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

/* --- who has failed --------------------------------------------------------------------------- */

/* As Python's repr of the exception: ValueError('boom', 3). */
static void add_exception(struct buf *buf, const struct cel_value *exception)
{
    struct str type = value_str(cel_value_get(exception, "exc_type"));
    const struct cel_value *message = cel_value_get(exception, "exc_message");
    bool is_list = cel_value_type(message) == CEL_LIST;
    size_t count = is_list ? cel_value_count(message) : 1;
    if (!type.ptr) {
        repr_value(buf, exception, false, REASON_MAX / 2);
        return;
    }
    for (size_t i = type.len; i-- > 0;) { /* a qualified name: the last of it */
        if (type.ptr[i] == '.') {
            type = str_n(type.ptr + i + 1, type.len - i - 1);
            break;
        }
    }
    buf_add_str(buf, type);
    buf_add_char(buf, '(');
    for (size_t i = 0; i < count; i++) {
        buf_add_str(buf, i > 0 ? STR(", ") : STR(""));
        repr_value(buf, is_list ? cel_value_at(message, i) : message, false, REASON_MAX / 2);
    }
    buf_add_char(buf, ')');
}

static bool is_failure(struct str state)
{
    return str_equal(state, STR("FAILURE")) || str_equal(state, STR("REVOKED"));
}

static int tell_failure(struct header *header, struct str id, const struct cel_value *exception)
{
    buf_add_str(header->reason, STR("Dependency "));
    buf_add_str(header->reason, id);
    buf_add_str(header->reason, STR(" raised "));
    add_exception(header->reason, exception);
    return HEADER_FAILED;
}

/* --- results ---------------------------------------------------------------------------------- */

static int list_flat(struct header *header, struct cel_value *results)
{
    for (size_t i = 0; i < header->count; i++) {
        struct cel_value **item = &header->entries[i].value->list.items[3];
        int r = value_list_add(results, *item);
        if (r < 0)
            return r;
        *item = NULL;
    }
    return 0;
}

/* The result of a leaf that has reported no part: its document's. */
static int from_document(struct header *header,
                         const struct plan_joined *joined,
                         struct str id,
                         struct cel_value **ret)
{
    struct result_view view;
    for (size_t i = 0; i < joined->leaf_count; i++) {
        if (!str_equal(joined->leaves[i].id, id) || !joined->leaves[i].text.ptr)
            continue;
        int r = result_decode(joined->leaves[i].text, &view, NULL);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            return failed(header, "Join error: a document cannot be read: ", id);
        if (is_failure(view.status))
            r = tell_failure(header, id, cel_value_get(view.document, "result"));
        else if (!result_is_ready(view.status))
            r = failed(header, "Join error: there is no result of ", id);
        else if (!(*ret = cel_value_dup(view.value)))
            r = -ENOMEM;
        result_view_deinit(&view);
        return r;
    }
    return failed(header, "Join error: there is no result of ", id);
}

static int take_result(struct header *header,
                       const struct plan_joined *joined,
                       struct str id,
                       struct cel_value **ret)
{
    struct entry key = {.id = id};
    struct entry *entry = header->count == 0 ? NULL
                                             : bsearch(&key, header->entries, header->count,
                                                       sizeof(key), compare_ids);
    if (!entry)
        return from_document(header, joined, id, ret);
    *ret = cel_value_dup(cel_value_at(entry->value, 3));
    return *ret ? 0 : -ENOMEM;
}

/* One walk over the tuple of a saved header: [[id, parent], children]. */
struct tuple {
    struct header *header;
    const struct plan_joined *joined;
    struct scanner scan;
    struct buf scratch; /* of an id with escapes */
};

static int read_tuple(struct tuple *tuple, struct cel_value *results);

static int misformed(struct tuple *tuple)
{
    return failed(tuple->header, "Join error: the saved header cannot be read", STR(""));
}

/* [id, parent]; the parent does not matter. */
static int read_id(struct tuple *tuple, struct str *ret)
{
    struct scan_text text;
    if (!scan_open(&tuple->scan, '[') || scan_peek(&tuple->scan) != '"' ||
        scan_text(&tuple->scan, &text) < 0)
        return misformed(tuple);
    while (scan_next(&tuple->scan, ']')) {
        if (scan_skip(&tuple->scan) < 0)
            return misformed(tuple);
    }
    if (tuple->scan.status < 0)
        return misformed(tuple);
    *ret = text.raw;
    if (!text.has_escapes)
        return 0;
    buf_clear(&tuple->scratch);
    char *room = buf_reserve(&tuple->scratch, text.raw.len);
    if (!room)
        return buf_status(&tuple->scratch);
    buf_added(&tuple->scratch, scan_unescape(text.raw, room));
    *ret = buf_str(&tuple->scratch);
    return 0;
}

static int read_children(struct tuple *tuple, struct cel_value *results)
{
    struct cel_value *list = cel_list();
    int r = list ? 0 : -ENOMEM;
    for (bool more = scan_open(&tuple->scan, '['); r == 0 && more;
         more = scan_next(&tuple->scan, ']'))
        r = read_tuple(tuple, list);
    if (r == 0 && tuple->scan.status < 0)
        r = misformed(tuple);
    if (r == 0)
        return cel_list_add(results, list);
    cel_value_free(list);
    return r;
}

/* Appends the result of a task, or the list of a group's. */
static int read_tuple(struct tuple *tuple, struct cel_value *results)
{
    struct str id;
    struct cel_value *result = NULL;
    if (!scan_open(&tuple->scan, '['))
        return misformed(tuple);
    int r = read_id(tuple, &id);
    if (r != 0)
        return r;
    if (!scan_next(&tuple->scan, ']'))
        return misformed(tuple);
    if (scan_peek(&tuple->scan) == '[') {
        r = read_children(tuple, results);
    } else if (scan_skip(&tuple->scan) < 0) {
        r = misformed(tuple);
    } else {
        r = take_result(tuple->header, tuple->joined, id, &result);
        if (r == 0)
            r = cel_list_add(results, result);
    }
    if (r == 0 && (scan_next(&tuple->scan, ']') || tuple->scan.status < 0))
        r = misformed(tuple);
    return r;
}

/* {"result": <tuple>}; the tuple of the header gives the one list that is wanted. */
static int
list_nested(struct header *header, const struct plan_joined *joined, struct cel_value *results)
{
    enum { TUPLE_DEPTH_MAX = 1000 };
    struct tuple tuple = {header, joined, .scratch = BUF_INIT(VALUE_BYTES_MAX)};
    int r = 0, found = 0;
    qsort(header->entries, header->count, sizeof(header->entries[0]), compare_ids);
    scan_init(&tuple.scan, joined->saved, TUPLE_DEPTH_MAX);
    for (bool more = scan_open(&tuple.scan, '{'); r == 0 && more;
         more = scan_next(&tuple.scan, '}')) {
        struct scan_text key;
        if (scan_key(&tuple.scan, &key) < 0)
            break;
        if (!str_equal(key.raw, STR("result")) || found++ > 0)
            r = scan_skip(&tuple.scan) < 0 ? misformed(&tuple) : 0;
        else
            r = read_tuple(&tuple, results);
    }
    if (r == 0 && (tuple.scan.status < 0 || !found))
        r = misformed(&tuple);
    buf_deinit(&tuple.scratch);
    return r;
}

/* The list that stands in `*wrapped` alone. */
static int unwrap(struct header *header, struct cel_value **wrapped)
{
    struct cel_value *list = (*wrapped)->list.items[0];
    if (cel_value_type(list) != CEL_LIST)
        return failed(header, "Join error: the saved header is no group", STR(""));
    (*wrapped)->list.count = 0;
    cel_value_free(*wrapped);
    *wrapped = list;
    return 0;
}

/* --- all -------------------------------------------------------------------------------------- */

static int join(struct header *header, const struct plan_joined *joined, struct cel_value **results)
{
    for (size_t i = 0; i < header->count; i++) {
        const struct entry *entry = &header->entries[i];
        if (is_failure(entry->state))
            return tell_failure(header, entry->id, cel_value_at(entry->value, 3));
    }
    if (!joined->saved.ptr)
        return list_flat(header, *results);
    int r = list_nested(header, joined, *results);
    return r == 0 ? unwrap(header, results) : r;
}

int header_join(const struct plan_joined *joined,
                struct cel_value **ret_results_take,
                struct buf *reason)
{
    struct header header = {.reason = reason};
    struct cel_value *results = cel_list();
    header.entries = mem_array(joined->part_count + 1, sizeof(header.entries[0]));
    int r = header.entries && results ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < joined->part_count; i++)
        r = read_entry(&header, joined->parts[i]);
    if (r == 0)
        r = join(&header, joined, &results);
    if (r == HEADER_FAILED && buf_status(reason) == -ENOMEM) /* one that is too long is cut */
        r = -ENOMEM;
    for (size_t i = 0; i < header.count; i++)
        cel_value_free(header.entries[i].value);
    mem_free(header.entries);
    if (r == 0)
        *ret_results_take = results;
    else
        cel_value_free(results);
    return r;
}
