#include "pool/registry.h"

#include <errno.h>
#include <stdlib.h>

#include "core/mem.h"

static int compare_names(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static int compare_tasks(const void *a, const void *b)
{
    return compare_names(((const struct frame_task *)a)->name,
                         ((const struct frame_task *)b)->name);
}

static int compare_key(const void *key, const void *task)
{
    return compare_names(*(const struct str *)key, ((const struct frame_task *)task)->name);
}

int registry_set(struct registry *registry, const struct frame_hello *hello)
{
    struct registry fresh = {.count = hello->task_count, .texts = BUF_INIT(FRAME_BYTES_MAX)};
    fresh.tasks = mem_array(hello->task_count ? hello->task_count : 1, sizeof(*fresh.tasks));
    for (size_t i = 0; i < hello->task_count; i++) {
        buf_add_str(&fresh.texts, hello->tasks[i].name);
        buf_add_str(&fresh.texts, hello->tasks[i].queue);
        buf_add_str(&fresh.texts, hello->tasks[i].rate_limit);
    }
    if (!fresh.tasks || buf_status(&fresh.texts) < 0) {
        registry_deinit(&fresh);
        return -ENOMEM;
    }
    const char *at = fresh.texts.ptr;
    for (size_t i = 0; i < hello->task_count; i++) {
        struct frame_task *task = &fresh.tasks[i];
        *task = hello->tasks[i];
        task->name.ptr = at;
        task->queue.ptr = at + task->name.len;
        if (task->rate_limit.ptr)
            task->rate_limit.ptr = at + task->name.len + task->queue.len;
        at += task->name.len + task->queue.len + task->rate_limit.len;
    }
    qsort(fresh.tasks, fresh.count, sizeof(*fresh.tasks), compare_tasks);
    registry_deinit(registry);
    *registry = fresh;
    return 0;
}

void registry_deinit(struct registry *registry)
{
    mem_free(registry->tasks);
    buf_deinit(&registry->texts);
    *registry = (struct registry){.texts = BUF_INIT(FRAME_BYTES_MAX)};
}

const struct frame_task *registry_find(const struct registry *registry, struct str name)
{
    if (registry->count == 0)
        return NULL;
    return bsearch(&name, registry->tasks, registry->count, sizeof(*registry->tasks), compare_key);
}
