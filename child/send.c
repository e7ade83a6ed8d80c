/*
 * Calls made by a task. They are turned into messages at once and wait in the task; with its
 * success they go into the outcome, and the script that records the success pushes them.
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
    mem_free(send->queue);
    mem_free(send->bytes);
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

static struct str queue_for(const struct cel_task *task, const struct cel_call *call)
{
    const struct modules *modules = &task->child->modules;
    const struct child_task *known = modules_find(modules, str_of(call->name));
    return known ? known->rules.queue : str_of(modules->default_queue);
}

static int encode(struct cel_task *task,
                  const struct cel_call *call,
                  struct task_send *send,
                  struct cel_error *err)
{
    char id[UUID_SIZE], tag[UUID_SIZE];
    const struct envelope *parent = &task->envelope;
    struct call_context context = {
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = queue_for(task, call),
        .root_id = parent->root_id.ptr ? parent->root_id : parent->id,
        .parent_id = parent->id,
        .origin = task->child->node,
        .now_wall = clock_wall(),
    };
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct str own_id, queue;
    int r = call_encode(call, &context, &bytes, &own_id, &queue, err);
    if (r)
        return r;
    ASSERT(own_id.len < sizeof(send->id));
    memcpy(send->id, own_id.ptr, own_id.len);
    send->queue = str_dup(queue);
    send->bytes = buf_take(&bytes, &send->len);
    send->step = priority_step(call->priority);
    return send->queue && send->bytes ? 0 : error_no_memory(err);
}

static void append(struct cel_task *task, struct task_send *send)
{
    if (!task->last_send)
        task->last_send = &task->sends;
    *task->last_send = send;
    task->last_send = &send->next;
    task->send_count++;
    task->send_bytes += send->len;
}

/* The outcome is recorded too, so that a task may end with CEL_FAIL. */
static int refuse(struct cel_task *task, int code, const char *text)
{
    const char *type = code == -ENOMEM ? "MemoryError" : "ValueError";
    task_recordf(task, BY_HELPER, RECORDED_FAIL, type, "cel_task_send: %s", text);
    return code == -ENOMEM ? -ENOMEM : -EINVAL;
}

int cel_task_send(struct cel_task *task, const struct cel_call *call, char *ret_id)
{
    if (!call)
        return refuse(task, -ENOMEM, "there is no call");
    if (task->send_count >= SEND_COUNT_MAX)
        return refuse(task, -EINVAL, "too many calls from one task");
    struct task_send *send = mem_new(struct task_send);
    struct cel_error err = {0};
    int r = send ? encode(task, call, send, &err) : error_no_memory(&err);
    if (!r && task->send_bytes + send->len > SEND_BYTES_MAX)
        r = error_set(&err, -EINVAL, "the calls of one task are too large together");
    if (r) {
        send_free(send);
        return refuse(task, r, err.text);
    }
    append(task, send);
    if (ret_id) {
        bool fits = strlen(send->id) < UUID_SIZE; /* a longer one was fixed by the caller */
        memcpy(ret_id, fits ? send->id : "", fits ? strlen(send->id) + 1 : 1);
    }
    return 0;
}
