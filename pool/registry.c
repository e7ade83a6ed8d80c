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

static void free_tasks(struct registry *registry)
{
    mem_free(registry->tasks);
    buf_deinit(&registry->texts);
}

static struct frame_task *find(const struct registry *registry, struct str name)
{
    if (registry->count == 0)
        return NULL;
    return bsearch(&name, registry->tasks, registry->count, sizeof(*registry->tasks), compare_key);
}

static void apply(struct registry *registry, const struct registry_limits *limits)
{
    struct frame_task *task = find(registry, str_of(limits->name));
    if (!task)
        return;
    task->soft_limit = limits->soft;
    task->hard_limit = limits->hard;
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
        free_tasks(&fresh);
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
    free_tasks(registry);
    registry->tasks = fresh.tasks;
    registry->count = fresh.count;
    registry->texts = fresh.texts;
    for (size_t i = 0; i < registry->limit_count; i++)
        apply(registry, &registry->limits[i]);
    return 0;
}

void registry_deinit(struct registry *registry)
{
    free_tasks(registry);
    for (size_t i = 0; i < registry->limit_count; i++)
        mem_free(registry->limits[i].name);
    mem_free(registry->limits);
    *registry = (struct registry){.texts = BUF_INIT(FRAME_BYTES_MAX)};
}

/* The entry of `name`, made if need be. */
static struct registry_limits *limits_of(struct registry *registry, struct str name)
{
    for (size_t i = 0; i < registry->limit_count; i++) {
        if (str_equal(str_of(registry->limits[i].name), name))
            return &registry->limits[i];
    }
    struct registry_limits *limits =
        mem_grow(registry->limits, registry->limit_count + 1, sizeof(*limits));
    if (!limits)
        return NULL;
    registry->limits = limits;
    limits += registry->limit_count;
    *limits = (struct registry_limits){.name = str_dup(name)};
    if (!limits->name)
        return NULL;
    registry->limit_count++;
    return limits;
}

int registry_set_limits(struct registry *registry, struct str name, usec_t soft, usec_t hard)
{
    if (!find(registry, name))
        return -ENOENT;
    struct registry_limits *limits = limits_of(registry, name);
    if (!limits)
        return -ENOMEM;
    limits->soft = soft;
    limits->hard = hard;
    apply(registry, limits);
    return 0;
}

const struct frame_task *registry_find(const struct registry *registry, struct str name)
{
    return find(registry, name);
}
