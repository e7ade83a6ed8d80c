/*
 * Publishing as the other files of this room need it: within a chain, and with a handle to keep.
 */
#pragma once

#include "canvas/handle.h"
#include "canvas/publish.h"

struct sending {
    const struct cel_value *const *pre; /* arguments put before its own */
    size_t pre_count;
    const struct cel_value *rest; /* what runs after it: a list, the next one last; or NULL */
};

/* As canvas_publish. `ret_handle_take` may be NULL; the caller frees the handle. On failure the plan is
 * as it was. */
int send_signature(const struct cel_value *signature,
                   const struct sending *sending,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct cel_handle **ret_handle_take,
                   struct cel_error *err) MUST_CHECK;
/* A group that is made here of `signatures`, without copying it first: adopted in every case. */
int send_group(struct cel_value *signatures_adopt,
               const struct sending *sending,
               const struct canvas_sender *sender,
               struct plan *plan,
               struct cel_error *err) MUST_CHECK;
/* The same for a signature that is the caller's own copy: it is frozen and changed. */
int send_own(struct cel_value *signature,
             const struct sending *sending,
             const struct canvas_sender *sender,
             struct plan *plan,
             struct cel_handle **ret_handle_take,
             struct cel_error *err) MUST_CHECK;
