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

static struct task_send *send_free(struct task_send *send)
{
    if (!send)
        return NULL;
    cel_message_free(&send->message);
    mem_free(send);
    return NULL;
}

void task_sends_deinit(struct cel_task *task)
{
    while (task->sends) {
        struct task_send *next = task->sends->next;
        send_free(task->sends);
        task->sends = next;
    }
    task->last_send = NULL;
    task->send_count = task->send_bytes = 0;
}

/* The queue that the task's author gave it; or NULL. */
static const char *queue_of(const struct cel_task *task, const struct cel_call *call)
{
    const struct child_task *known = modules_find(&task->child->modules, str_of(call->name));
    return known ? known->def->queue : NULL;
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
    const char *own = queue_of(task, call);
    struct call_context context = {
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = str_of(own ? own : task->child->modules.default_queue),
        .routes = own ? NULL : &task->child->routes,
        .root_id = parent->root_id.ptr ? parent->root_id : parent->id,
        .parent_id = parent->id,
        .origin = task->child->node,
        .now_wall = clock_wall(),
    };
    return call_message(call, &context, ret, err);
}

static void hand_out_id(const char *id, char *ret_id)
{
    bool fits = strlen(id) < UUID_SIZE; /* a longer one was fixed by the caller */
    if (ret_id)
        memcpy(ret_id, fits ? id : "", fits ? strlen(id) + 1 : 1);
}

static void append(struct cel_task *task, struct task_send *send)
{
    if (!task->last_send)
        task->last_send = &task->sends;
    *task->last_send = send;
    task->last_send = &send->next;
    task->send_count++;
    task->send_bytes += strlen(send->message.text);
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

int cel_task_send(struct cel_task *task, const struct cel_call *call, char *ret_id)
{
    if (task->send_count >= SEND_COUNT_MAX)
        return refuse_send(task, -EINVAL, "too many calls from one task");
    struct task_send *send = mem_new(struct task_send);
    struct cel_error err = {0};
    int r = send ? call_message_of(task, call, &send->message, &err) : error_no_memory(&err);
    if (!r && task->send_bytes + strlen(send->message.text) > SEND_BYTES_MAX)
        r = error_set(&err, -EINVAL, "the calls of one task are too large together");
    if (r) {
        send_free(send);
        return refuse_send(task, r, err.text);
    }
    append(task, send);
    hand_out_id(send->message.id, ret_id);
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
    if (!r)
        hand_out_id(message.id, ret_id);
    cel_message_free(&message);
    return r;
}
