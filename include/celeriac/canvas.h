/*
 * Canvases: tasks put together. A signature is one call, or a chain, a group or a chord of signatures;
 * whoever runs one of its tasks sends what follows. Workers of either language do.
 *
 *     struct cel_signature *sum = cel_chord(cel_group(), cel_signature(cel_call_new("app.tsum")));
 *     for (int i = 0; i < 3; i++) {
 *         struct cel_call *call = cel_call_new("app.add");
 *         cel_call_arg(call, cel_int(i));
 *         cel_call_arg(call, cel_int(i));
 *         cel_signature_add(sum, cel_signature(call));
 *     }
 *     cel_send_canvas(client, sum, &handle, &err);        ... client.h; from inside a task: task.h
 *     cel_handle_wait(client, handle, 10000, &result, &err); 
 *
 * In the terms of Celery's documentation, "Canvas: Designing Work-flows": the result of a task is put
 * before the arguments of what follows it, unless that is immutable; a chord's body gets the list of
 * the results of its header. docs/canvas.md names what is different.
 *
 * Functions adopt the signatures, calls and values that are put into others, in every case, and take
 * NULL as "memory was short". They keep the first error, sending reports it. A signature belongs to one
 * thread at a time, and may be sent any number of times; each sending makes new ids but for those that
 * were fixed.
 */
#pragma once

#include "celeriac/call.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cel_signature;
struct cel_handle;

/* A call as a signature, with all its options. NULL when memory is short, as from all constructors. */
CEL_API struct cel_signature *cel_signature(struct cel_call *call);
/* One after the other. / All at the same time. Both are empty at first. */
CEL_API struct cel_signature *cel_chain(void);
CEL_API struct cel_signature *cel_group(void);
/* A body that runs when all of `header` have ended: a group, or one task, to which more can be added. */
CEL_API struct cel_signature *cel_chord(struct cel_signature *header, struct cel_signature *body);
/* The task of `signature` called with each item of the list `it`, all within one task
 * (celery.map); with each item as its list of arguments (celery.starmap); the same as a group of tasks for
 * `n` items each. */
CEL_API struct cel_signature *cel_xmap(struct cel_signature *signature, struct cel_value *it);
CEL_API struct cel_signature *cel_xstarmap(struct cel_signature *signature, struct cel_value *it);
CEL_API struct cel_signature *
cel_chunks(struct cel_signature *signature, struct cel_value *it, int64_t n);
CEL_API struct cel_signature *cel_signature_free(struct cel_signature *signature);

/* Appends to a chain or group, or to the header of a chord. */
CEL_API void cel_signature_add(struct cel_signature *to, struct cel_signature *member);
/* What is to run when it has succeeded, with its result / failed, with its id. In Celery's way: of a
 * chain the last, of a chord the body is meant; errors of all tasks of a chain or group. */
CEL_API void cel_link(struct cel_signature *signature, struct cel_signature *callback);
CEL_API void cel_link_error(struct cel_signature *signature, struct cel_signature *errback);
/* It gets no result of what was before it. */
CEL_API void cel_immutable(struct cel_signature *signature);
/* Sets an option as Celery's Signature.set does: "task_id" (of a group or chord: the group's),
 * "queue", "countdown" ... Of a chain it means the first task, of a group all, of a chord header and body.
 */
CEL_API void
cel_signature_set(struct cel_signature *signature, const char *option, struct cel_value *value);

/* Celery's JSON form, terminated; the caller frees it with free(). NULL after an error. */
CEL_API char *cel_signature_to_json(const struct cel_signature *signature);
/* From that form, as any client writes it. CEL_E_FORMAT with the place, CEL_E_LIMIT, -ENOMEM. */
CEL_API int cel_signature_from_json(const char *json,
                                    size_t length,
                                    struct cel_signature **ret_signature,
                                    struct cel_error *err);

/*
 * Handles: where the results of a canvas will be. That of a chain is its last task or group, that of a
 * chord its body; what they came after is their parent. Pointers into a handle live as long as it does.
 */
CEL_API struct cel_handle *
cel_handle_free(struct cel_handle *handle); /* takes NULL, returns NULL */
/* The id of the task, or of the group. */
CEL_API const char *cel_handle_id(const struct cel_handle *handle);
CEL_API bool cel_handle_is_group(const struct cel_handle *handle);
/* Of a group: how many members; one of them, or NULL. */
CEL_API size_t cel_handle_count(const struct cel_handle *handle);
CEL_API const struct cel_handle *cel_handle_member(const struct cel_handle *handle, size_t index);
/* How many tasks have its results: one, or those of a group and of groups within it; and their ids. */
CEL_API size_t cel_handle_tasks(const struct cel_handle *handle);
CEL_API const char *cel_handle_task_id(const struct cel_handle *handle, size_t index);
/* What ran before it in a chain, the header of a chord before its body; NULL at the beginning. */
CEL_API const struct cel_handle *cel_handle_parent(const struct cel_handle *handle);
/* The result tuple as Celery writes it: [[id, parent], members], terminated; free it with free(). */
CEL_API char *cel_handle_to_json(const struct cel_handle *handle);

#ifdef __cplusplus
}
#endif
