/*
 * Calls made by a task. They are turned into messages at once and wait in the task; with its
 * success they go into the outcome, and the script that records the success pushes them. Those of
 * cel_db_send() go into the outbox at once.
 */
#include <errno.h>

#include "child/task.h"
#include "core/id.h"
#include "core/mem.h"
#include "message/call.h"

/* What one outcome may carry: its frame has a limit, and so has the script. */
#define SEND_BYTES_MAX ((size_t)64 * 1024 * 1024)
enum { SEND_COUNT_MAX = 100000 };

struct str child_queue_of(const struct child *child, struct str task)
{
    const struct child_task *known = modules_find(&child->modules, task);
    if (known && known->def->queue)
        return str_of(known->def->queue);
    return routes_queue(&child->routes, task, str_of(child->modules.default_queue));
}

/* The message of a call that this task makes. */
static int call_message_of(struct cel_task *task,
                           const struct cel_call *call,
                           struct cel_message *ret,
                           struct cel_error *err)
{
    if (!call)
        return error_set(err, -ENOMEM, "there is no call");
    char id[UUID_SIZE], tag[UUID_SIZE];
    const struct envelope *parent = &task->envelope;
    struct call_context context = {
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = child_queue_of(task->child, str_of(call->name)),
        .root_id = parent->root_id.ptr ? parent->root_id : parent->id,
        .parent_id = parent->id,
        .origin = task->child->node,
        .now_wall = clock_wall(),
    };
    return call_message(call, &context, ret, err);
}

/* The outcome is recorded too, so that a task may end with CEL_FAIL. */
static int refuse(struct cel_task *task, const char *function, int code, const char *text)
{
    const char *type = code == -ENOMEM ? "MemoryError" : "ValueError";
    return task_recordf(task, BY_HELPER, RECORDED_FAIL, type, "%s: %s", function, text);
}

static int refuse_send(struct cel_task *task, int code, const char *text)
{
    refuse(task, "cel_task_send", code, text);
    return code == -ENOMEM ? -ENOMEM : -EINVAL;
}

/* Room for one more message of so many bytes. */
static int check_room(const struct cel_task *task, size_t bytes, struct cel_error *err)
{
    if (task->plan.message_count >= SEND_COUNT_MAX)
        return error_set(err, -EINVAL, "too many calls from one task");
    if (task->send_bytes + bytes > SEND_BYTES_MAX)
        return error_set(err, -EINVAL, "the calls of one task are too large together");
    return 0;
}

int cel_task_send(struct cel_task *task, const struct cel_call *call, char *ret_id)
{
    struct cel_message message = {.id = NULL};
    struct cel_error err = {0};
    int r = call_message_of(task, call, &message, &err);
    size_t bytes = r ? 0 : strlen(message.text);
    if (!r)
        r = check_room(task, bytes, &err);
    if (r) {
        cel_message_free(&message);
        return refuse_send(task, r, err.text);
    }
    plan_add_child(&task->plan, str_of(message.id));
    if (ret_id)
        call_hand_out_id(str_of(message.id), ret_id);
    r = plan_add_message(&task->plan, &message, &err);
    if (!r)
        r = buf_status(&task->plan.children);
    if (r)
        return refuse_send(task, -ENOMEM, "out of memory");
    task->send_bytes += bytes;
    return 0;
}

int cel_db_send(struct cel_db *db, const struct cel_call *call, char *ret_id)
{
    struct cel_message message;
    struct cel_error err = {0};
    int r = call_message_of(db->task, call, &message, &err);
    if (r)
        return refuse(db->task, "cel_db_send", r, err.text);
    r = cel_query(db, "SELECT celeriac.enqueue_message($1, $2, $3, $4, $5)",
                  CEL_PARAMS(cel_p_text(message.id), cel_p_text(message.queue),
                             cel_p_int(message.step), cel_p_text(message.text),
                             cel_p_bool(message.ordered)),
                  NULL);
    if (!r && ret_id)
        call_hand_out_id(str_of(message.id), ret_id);
    cel_message_free(&message);
    return r;
}
