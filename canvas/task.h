/*
 * The message of one task of a canvas: its signature's options as the options of a call.
 */
#pragma once

#include "canvas/freeze.h"
#include "canvas/publish.h"

struct task {
    const struct cel_value *signature; /* frozen, of a task, a map or a starmap */
    const struct cel_value *const *pre;
    size_t pre_count;
    const struct cel_value *rest; /* what runs after it: a list, the next one last; or NULL */
    const struct member *member;  /* NULL: as its options say */
    const struct canvas_sender *sender;
};

/* CEL_E_FORMAT, CEL_E_LIMIT, CEL_E_UNSUPPORTED (a serializer), -EINVAL, -ENOMEM. */
int task_message(const struct task *task,
                 struct cel_message *ret,
                 struct cel_error *err) MUST_CHECK;
