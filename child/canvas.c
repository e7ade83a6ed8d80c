/*
 * Canvases that a task sends, or puts in its own place. Like its calls they wait in the task's plan, and are begun in the
 * step that records its end.
 */
#include <errno.h>

#include "canvas/build.h"
#include "canvas/replace.h"
#include "canvas/send.h"
#include "child/follow.h"

static int refuse(struct cel_task *task, const char *type, const char *function, const char *text)
{
    return task_recordf(task, BY_HELPER, RECORDED_FAIL, type, "%s: %s", function, text);
}

static int refuse_canvas(struct cel_task *task, const char *function, int code, const char *text)
{
    return refuse(task, code == -ENOMEM ? "MemoryError" : "ValueError", function, text);
}

/* What is sent by the task is its child in the tree of calls. */
static struct canvas_sender sender_for(const struct cel_task *task)
{
    struct canvas_sender sender = child_sender(task->child);
    const struct envelope *envelope = &task->envelope;
    sender.root_id = envelope->root_id.ptr ? envelope->root_id : envelope->id;
    sender.parent_id = envelope->id;
    return sender;
}

int cel_task_send_canvas(struct cel_task *task,
                         const struct cel_signature *canvas,
                         struct cel_handle **ret_handle)
{
    const struct canvas_sender sender = sender_for(task);
    const struct sending sending = {.pre_count = 0};
    const struct cel_value *value;
    struct cel_error err = {0};
    int r = build_value(canvas, &value, &err);
    if (ret_handle)
        *ret_handle = NULL;
    if (!r)
        r = send_signature(value, &sending, &sender, &task->plan, ret_handle, &err);
    return r ? refuse_canvas(task, "cel_task_send_canvas", r, err.text) : 0;
}

int cel_replace(struct cel_task *task, const struct cel_signature *with)
{
    const struct canvas_sender sender = child_sender(task->child);
    const struct cel_value *value;
    struct cel_error err = {0};
    if (task->is_replaced)
        return refuse(task, "RuntimeError", "cel_replace", "the task was replaced already");
    if (task->registered->def->transaction == CEL_ONCE)
        return refuse(task, "RuntimeError", "cel_replace",
                      "a task with CEL_ONCE has an answer of its own, and cannot be replaced");
    int r = build_value(with, &value, &err);
    if (!r)
        r = canvas_replace(&task->envelope, task->body.embed, value, &sender, &task->plan, &err);
    if (r == CEL_E_CONFIG) /* in Celery's words */
        return task_record(task, BY_HELPER, RECORDED_FAIL, "celery.exceptions.ImproperlyConfigured",
                           err.text);
    if (r)
        return refuse_canvas(task, "cel_replace", r, err.text);
    task->is_replaced = true;
    return CEL_REPLACED;
}

int cel_add_to_chord(struct cel_task *task, const struct cel_signature *member)
{
    const struct canvas_sender sender = child_sender(task->child);
    const struct cel_value *value;
    struct cel_error err = {0};
    int r = build_value(member, &value, &err);
    if (!r)
        r = canvas_add_to_chord(&task->envelope, task->body.embed, value, &sender, &task->plan,
                                &err);
    return r ? refuse_canvas(task, "cel_add_to_chord", r, err.text) : 0;
}
