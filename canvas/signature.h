/*
 * A signature: a task, or tasks put together, in Celery's JSON form
 *
 *     {"task": ..., "args": [...], "kwargs": {...}, "options": {...}, "subtask_type": ..., "immutable": ...}
 *
 * as a value. Here are its readers, which take what other clients leave out, and the copies that are
 * made of it. Nothing here knows how one is sent (publish.h).
 */
#pragma once

#include "core/error.h"
#include "core/value.h"

enum signature_type {
    SIGNATURE_TASK,
    SIGNATURE_CHAIN,
    SIGNATURE_GROUP,
    SIGNATURE_CHORD,
    SIGNATURE_MAP,
    SIGNATURE_STARMAP,
    SIGNATURE_CHUNKS,
};

/*
 * Looks at the whole of a signature, to CANVAS_DEPTH_MAX and at most PLAN_MESSAGES_MAX tasks: it and
 * those within it are objects with a task name, arguments that are a list, and so on; the others
 * here may then be called. Missing or null args, kwargs and options are none. CEL_E_FORMAT with the
 * place ("tasks[1].body: ..."), CEL_E_LIMIT.
 */
int signature_check(const struct cel_value *signature, struct cel_error *err) MUST_CHECK;

enum signature_type signature_type(const struct cel_value *signature);
struct str signature_task(const struct cel_value *signature);
bool signature_is_immutable(const struct cel_value *signature);
/* Lists and maps, or NULL for none. */
const struct cel_value *signature_args(const struct cel_value *signature);
const struct cel_value *signature_kwargs(const struct cel_value *signature);
const struct cel_value *signature_options(const struct cel_value *signature);
/* An option that is there and not null, or NULL. */
const struct cel_value *signature_option(const struct cel_value *signature, struct str name);
struct str signature_option_text(const struct cel_value *signature, struct str name);

/* A chain's or a group's tasks in their order (NULL for none); a chord's header as such a list, the
 * options of that header (or NULL), and its body (or NULL). */
const struct cel_value *signature_tasks(const struct cel_value *signature);
const struct cel_value *signature_header(const struct cel_value *chord);
const struct cel_value *signature_header_options(const struct cel_value *chord);
const struct cel_value *signature_body(const struct cel_value *chord);

/* A deep copy in which every key is there, with `overlay` (or NULL) as signature_overlay. NULL when
 * memory is short. */
struct cel_value *signature_dup(const struct cel_value *signature, const struct cel_value *overlay);
/* A new signature; adopts `args`, `kwargs` and `options` (NULL: memory was short). */
struct cel_value *signature_new(struct str task,
                                struct cel_value *args,
                                struct cel_value *kwargs,
                                struct cel_value *options,
                                enum signature_type type);
/* Sets every key that Python workers look for and that is not there. -ENOMEM. */
int signature_complete(struct cel_value *signature) MUST_CHECK;
/* Puts the options of `overlay` that are not null over a signature's own (a group_id of its own stays),
 * as copies. -ENOMEM. */
int signature_overlay(struct cel_value *signature, const struct cel_value *overlay) MUST_CHECK;
/* CEL_E_LIMIT when it is nested too deep to be written into a message. */
int signature_check_depth(const struct cel_value *signature, struct cel_error *err) MUST_CHECK;
/* Sets an option; adopts `value` in every case. -ENOMEM. */
int signature_set(struct cel_value *signature, struct str name, struct cel_value *value) MUST_CHECK;
