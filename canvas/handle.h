/*
 * Where the results of a canvas will be: the ids of its last task or group, of what stands before it in
 * a chain, and of a group's members. In JSON it is Celery's result tuple: [[id, parent], children].
 */
#pragma once

#include "celeriac/canvas.h"
#include "core/buf.h"
#include "core/value.h"

#define HANDLE_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of a result tuple */

struct cel_handle {
    char *id; /* of the task or of the group */
    bool is_group;
    struct cel_handle *parent;   /* owned; or NULL */
    struct cel_handle **members; /* of a group; owned */
    size_t member_count;
};

/* Of a frozen signature (freeze.h); NULL when memory is short. */
struct cel_handle *handle_new(const struct cel_value *frozen);
/* Of the part of it that is sent first: a chain's first task, a chord's header. */
struct cel_handle *handle_new_first(const struct cel_value *frozen);
struct cel_handle *handle_free(struct cel_handle *handle); /* takes NULL; returns NULL */

/* True when a member of this group is itself a group, or ends in one. */
bool handle_is_nested(const struct cel_handle *group);
/* Appends the result tuple; failures stick in `buf`. */
void handle_add_json(struct buf *buf, const struct cel_handle *handle);
