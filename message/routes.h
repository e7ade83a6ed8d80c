/*
 * Which queue a call goes to by the name of its task, when it names none itself: Celery's task_routes.
 */
#pragma once

#include "core/error.h"
#include "core/str.h"

struct route {
    char *pattern, *queue;
};
struct routes {
    struct route *items;
    size_t count;
};

/*
 * Adds those of a text, "shop.tasks.* = shop, mail.send = mail". 0; -EINVAL with what is wrong, or
 * -ENOMEM: then some may have been added.
 */
int routes_add(struct routes *routes, struct str text, struct cel_error *err) MUST_CHECK;
void routes_deinit(struct routes *routes);
/* The queue of the route that names `task`, else of the first whose pattern (with a star, as in
 * fnmatch) matches it; borrowed. Or `otherwise`. */
struct str routes_queue(const struct routes *routes, struct str task, struct str otherwise);
