#include "message/routes.h"

#include <errno.h>
#include <fnmatch.h>

#include "core/mem.h"
#include "message/call.h"
#include "message/envelope.h"

void routes_deinit(struct routes *routes)
{
    if (!routes)
        return;
    for (size_t i = 0; i < routes->count; i++) {
        mem_free(routes->items[i].pattern);
        mem_free(routes->items[i].queue);
    }
    mem_free(routes->items);
    *routes = (struct routes){.items = NULL};
}

static int
append(struct routes *routes, struct str pattern, struct str queue, struct cel_error *err)
{
    struct route *items = mem_grow(routes->items, routes->count + 1, sizeof(*items));
    if (!items)
        return error_no_memory(err);
    routes->items = items;
    struct route route = {str_dup(pattern), str_dup(queue)};
    if (!route.pattern || !route.queue) {
        mem_free(route.pattern);
        mem_free(route.queue);
        return error_no_memory(err);
    }
    items[routes->count++] = route;
    return 0;
}

static int add_one(struct routes *routes, struct str text, struct cel_error *err)
{
    struct str queue = text, pattern;
    if (!str_split(&queue, '=', &pattern) || !queue.ptr || str_trim(pattern).len == 0)
        return error_set(err, -EINVAL, "route \"" STR_FORMAT "\": PATTERN = QUEUE is wanted",
                         STR_ARGS(text));
    int r = call_check_queue(str_trim(queue), err);
    if (r)
        return error_wrap(err, "route \"" STR_FORMAT "\"", STR_ARGS(text));
    return append(routes, str_trim(pattern), str_trim(queue), err);
}

int routes_add(struct routes *routes, struct str text, struct cel_error *err)
{
    struct str one;
    int r = 0;
    while (r == 0 && str_split(&text, ',', &one)) {
        one = str_trim(one);
        if (one.len > 0)
            r = add_one(routes, one, err);
    }
    return r;
}

/* Names in full come before patterns, as in Celery. */
struct str routes_queue(const struct routes *routes, struct str task, struct str otherwise)
{
    char name[TASK_NAME_MAX + 1];
    for (size_t i = 0; i < routes->count; i++) {
        if (str_equal(str_of(routes->items[i].pattern), task))
            return str_of(routes->items[i].queue);
    }
    if (routes->count == 0 || task.len >= sizeof(name))
        return otherwise;
    memcpy(name, task.ptr, task.len);
    name[task.len] = '\0';
    for (size_t i = 0; i < routes->count; i++) {
        const char *pattern = routes->items[i].pattern;
        if (strchr(pattern, '*') && fnmatch(pattern, name, FNM_NOESCAPE) == 0)
            return str_of(routes->items[i].queue);
    }
    return otherwise;
}
