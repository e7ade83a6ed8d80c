#include "canvas/handle.h"

#include <errno.h>

#include "canvas/signature.h"
#include "core/json.h"
#include "core/mem.h"

struct cel_handle *handle_free(struct cel_handle *handle)
{
    while (handle) {
        struct cel_handle *parent = handle->parent;
        for (size_t i = 0; i < handle->member_count; i++)
            handle_free(handle->members[i]);
        mem_free(handle->members);
        mem_free(handle->id);
        mem_free(handle);
        handle = parent;
    }
    return NULL;
}

/* A handle after `*tail`, which it then is. */
static int append(struct cel_handle **tail, const struct cel_value *signature, bool is_group)
{
    struct cel_handle *handle = mem_new(struct cel_handle);
    struct str id = signature_option_text(signature, STR("task_id"));
    if (!handle)
        return -ENOMEM;
    handle->id = str_dup(id.ptr ? id : STR(""));
    if (!handle->id) {
        mem_free(handle);
        return -ENOMEM;
    }
    handle->is_group = is_group;
    handle->parent = *tail;
    *tail = handle;
    return 0;
}

static int append_group(struct cel_handle **tail, const struct cel_value *group)
{
    const struct cel_value *tasks = signature_tasks(group);
    int r = append(tail, group, true);
    struct cel_handle *handle = *tail;
    if (r < 0)
        return r;
    handle->members = mem_array(cel_value_count(tasks), sizeof(struct cel_handle *));
    if (!handle->members)
        return -ENOMEM;
    for (size_t i = 0; i < cel_value_count(tasks); i++) {
        handle->members[i] = handle_new(cel_value_at(tasks, i));
        if (!handle->members[i])
            return -ENOMEM;
        handle->member_count++;
    }
    return 0;
}

static int append_all(struct cel_handle **tail, const struct cel_value *signature)
{
    const struct cel_value *tasks = signature_tasks(signature);
    int r = 0;
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
        for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++)
            r = append_all(tail, cel_value_at(tasks, i));
        return r;
    case SIGNATURE_GROUP:
        return append_group(tail, signature);
    case SIGNATURE_CHORD:
        r = append_group(tail, value_find(signature_kwargs(signature), STR("header")));
        return r == 0 ? append_all(tail, signature_body(signature)) : r;
    default:
        return append(tail, signature, false);
    }
}

struct cel_handle *handle_new(const struct cel_value *frozen)
{
    struct cel_handle *tail = NULL;
    if (append_all(&tail, frozen) < 0)
        return handle_free(tail);
    return tail;
}

struct cel_handle *handle_new_first(const struct cel_value *frozen)
{
    for (;;) {
        enum signature_type type = signature_type(frozen);
        if (type == SIGNATURE_CHAIN && cel_value_count(signature_tasks(frozen)) > 0)
            frozen = cel_value_at(signature_tasks(frozen), 0);
        else if (type == SIGNATURE_CHORD && cel_value_count(signature_header(frozen)) > 0)
            frozen = value_find(signature_kwargs(frozen), STR("header"));
        else if (type == SIGNATURE_CHORD)
            frozen = signature_body(frozen);
        else
            return handle_new(frozen);
    }
}

bool handle_is_nested(const struct cel_handle *group)
{
    for (size_t i = 0; i < group->member_count; i++) {
        if (group->members[i]->is_group)
            return true;
    }
    return false;
}

static void add_members(struct buf *buf, const struct cel_handle *handle)
{
    if (!handle->is_group) {
        buf_add_str(buf, STR("null"));
        return;
    }
    buf_add_char(buf, '[');
    for (size_t i = 0; i < handle->member_count; i++) {
        buf_add_str(buf, i > 0 ? STR(", ") : STR(""));
        handle_add_json(buf, handle->members[i]);
    }
    buf_add_char(buf, ']');
}

/* From the last one to the first each opens its tuple, and then they are closed the other way round: a
 * chain may be longer than a stack is deep. */
void handle_add_json(struct buf *buf, const struct cel_handle *handle)
{
    size_t count = 0;
    for (const struct cel_handle *at = handle; at; at = at->parent)
        count++;
    const struct cel_handle **row = mem_array(count, sizeof(*row));
    if (!row) {
        buf->status = buf->status ? buf->status : -ENOMEM;
        return;
    }
    for (const struct cel_handle *at = handle; at; at = at->parent) {
        row[--count] = at;
        buf_add_str(buf, STR("[["));
        json_add_text(buf, str_of(at->id));
        buf_add_str(buf, STR(", "));
    }
    buf_add_str(buf, STR("null"));
    for (;; count++) {
        buf_add_str(buf, STR("], "));
        add_members(buf, row[count]);
        buf_add_char(buf, ']');
        if (row[count] == handle)
            break;
    }
    mem_free(row);
}

/* --- celeriac/canvas.h ------------------------------------------------------------------------ */

struct cel_handle *cel_handle_free(struct cel_handle *handle)
{
    return handle_free(handle);
}

const char *cel_handle_id(const struct cel_handle *handle)
{
    return handle ? handle->id : NULL;
}

bool cel_handle_is_group(const struct cel_handle *handle)
{
    return handle && handle->is_group;
}

size_t cel_handle_count(const struct cel_handle *handle)
{
    return handle ? handle->member_count : 0;
}

const struct cel_handle *cel_handle_member(const struct cel_handle *handle, size_t index)
{
    return index < cel_handle_count(handle) ? handle->members[index] : NULL;
}

const struct cel_handle *cel_handle_parent(const struct cel_handle *handle)
{
    return handle ? handle->parent : NULL;
}

size_t cel_handle_tasks(const struct cel_handle *handle)
{
    size_t tasks = handle && !handle->is_group ? 1 : 0;
    for (size_t i = 0; i < cel_handle_count(handle); i++)
        tasks += cel_handle_tasks(handle->members[i]);
    return tasks;
}

/* Counts `*index` down on the way. */
static const char *find_task(const struct cel_handle *handle, size_t *index)
{
    if (!handle->is_group)
        return (*index)-- == 0 ? handle->id : NULL;
    for (size_t i = 0; i < handle->member_count; i++) {
        const char *id = find_task(handle->members[i], index);
        if (id)
            return id;
    }
    return NULL;
}

const char *cel_handle_task_id(const struct cel_handle *handle, size_t index)
{
    return handle ? find_task(handle, &index) : NULL;
}

char *cel_handle_to_json(const struct cel_handle *handle)
{
    struct buf text = BUF_INIT(HANDLE_BYTES_MAX);
    if (!handle)
        return NULL;
    handle_add_json(&text, handle);
    char *json = buf_status(&text) < 0 ? NULL : buf_take(&text, NULL);
    buf_deinit(&text);
    return json;
}
