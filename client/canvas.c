/*
 * Sending a canvas, and waiting for what its handle names.
 */
#include <errno.h>

#include "canvas/build.h"
#include "canvas/send.h"
#include "client/handle.h"
#include "core/mem.h"

/* --- sending ---------------------------------------------------------------------------------- */

static int push_plan(struct cel_client *client, const struct plan *plan, struct cel_error *err)
{
    struct broker_message *messages = mem_array(plan->message_count, sizeof(*messages));
    size_t sent;
    if (!messages)
        return error_no_memory(err);
    for (size_t i = 0; i < plan->message_count; i++) {
        const struct cel_message *message = &plan->messages[i];
        messages[i] = (struct broker_message){.queue = str_of(message->queue),
                                              .step = (unsigned)message->step,
                                              .bytes = str_of(message->text),
                                              .id = str_of(message->id)};
    }
    int r = client_push(client, messages, plan->message_count, plan->chords, plan->chord_count,
                        &sent, err);
    mem_free(messages);
    if (r < 0 && r != CEL_E_UNCERTAIN && r != CEL_E_UNCONFIRMED && sent > 0) {
        struct cel_error why = *err;
        r = error_set(err, CEL_E_UNCERTAIN, "%zu of %zu messages of the canvas were sent: %s", sent,
                      plan->message_count, why.text);
    }
    return r;
}

static struct str queue_of(void *data, struct str task)
{
    const struct cel_client *client = data;
    return routes_queue(&client->routes, task, str_of(client->queue));
}

static int plan_canvas(struct cel_client *client,
                       const struct cel_signature *canvas,
                       struct plan *plan,
                       struct cel_handle **ret_handle,
                       struct cel_error *err)
{
    const struct canvas_sender sender = {.origin = str_of(client->origin),
                                         .default_queue = str_of(client->queue),
                                         .now_wall = clock_wall(),
                                         .queue_of = queue_of,
                                         .data = client};
    const struct sending sending = {.pre_count = 0};
    const struct cel_value *value;
    int r = build_value(canvas, &value, err);
    if (r == 0)
        r = send_signature(value, &sending, &sender, plan, ret_handle, err);
    if (r == 0 && plan->chord_count > 0 && !client->has_results)
        r = error_set(
            err, CEL_E_CONFIG,
            "A chord needs results in Redis: the result backend is disabled, or no Redis");
    return r;
}

int cel_send_canvas(struct cel_client *client,
                    const struct cel_signature *canvas,
                    struct cel_handle **ret_handle,
                    struct cel_error *err)
{
    CLEANUP(plan_deinit) struct plan plan = PLAN_INIT;
    struct cel_handle *handle = NULL;
    struct cel_error unheard;
    if (!err)
        err = &unheard;
    if (ret_handle)
        *ret_handle = NULL;
    int r = client_begin(client, err);
    if (r == 0)
        r = plan_canvas(client, canvas, &plan, &handle, err);
    if (r < 0 || !ret_handle) {
        handle_free(handle);
        if (r < 0)
            return r;
    } else {
        *ret_handle = handle;
    }
    return plan.message_count > 0 ? push_plan(client, &plan, err) : 0; /* a group of none */
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int64_t ms_left(usec_t deadline_mono)
{
    usec_t now = clock_mono();
    return now < deadline_mono
               ? (int64_t)((deadline_mono - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC)
               : 0;
}

/* Each of those in `handle`, from `*next` on. */
static int wait_all(struct cel_client *client,
                    const struct cel_handle *handle,
                    usec_t deadline_mono,
                    struct cel_result **results,
                    size_t *next,
                    struct cel_error *err)
{
    int r = 0;
    if (!handle->is_group)
        return cel_result_wait(client, handle->id, ms_left(deadline_mono), &results[(*next)++],
                               err);
    for (size_t i = 0; r == 0 && i < handle->member_count; i++)
        r = wait_all(client, handle->members[i], deadline_mono, results, next, err);
    return r;
}

int cel_handle_wait(struct cel_client *client,
                    const struct cel_handle *handle,
                    int64_t timeout_ms,
                    struct cel_result **ret_results,
                    struct cel_error *err)
{
    if (!handle)
        return error_set(err, -EINVAL, "The handle is NULL");
    if (timeout_ms < 0)
        return error_set(err, -EINVAL, "A time limit of %lld ms is out of range",
                         (long long)timeout_ms);
    size_t count = cel_handle_tasks(handle), next = 0;
    struct cel_result **results = mem_array(count, sizeof(struct cel_result *));
    if (!results)
        return error_no_memory(err);
    int r = wait_all(client, handle, client_deadline_after(timeout_ms), results, &next, err);
    for (size_t i = 0; i < count; i++) {
        if (r == 0 && ret_results)
            ret_results[i] = results[i];
        else
            cel_result_free(results[i]);
    }
    mem_free(results);
    return r;
}

int cel_group_save(struct cel_client *client, const struct cel_handle *group, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf document = BUF_INIT(HANDLE_BYTES_MAX);
    struct client_wait wait = {0};
    if (!cel_handle_is_group(group))
        return error_set(err, -EINVAL, "The handle is not that of a group");
    int r = client_begin(client, err);
    if (r == 0 && !client->has_results)
        r = error_set(err, CEL_E_CONFIG,
                      "There are no results here: the result backend is disabled, or no Redis");
    if (r < 0)
        return r;
    buf_add_str(&document, STR("{\"result\": "));
    handle_add_json(&document, group);
    buf_add_char(&document, '}');
    if (buf_status(&document) < 0)
        return error_no_memory(err);
    return client_wait(client, &wait,
                       broker_store_group(client->broker, str_of(group->id), buf_str(&document),
                                          client_deadline(client), on_client_done, &wait),
                       err);
}
