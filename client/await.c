/*
 * Reading results: wait, look, forget; and the readers of a result.
 */
#include <errno.h>

#include "client/handle.h"
#include "core/mem.h"
#include "message/envelope.h"
#include "message/result.h"

#define STATE_PENDING "PENDING"

struct cel_result {
    bool stored; /* false: nothing was there, `view` is empty */
    struct result_view view;
};

/* One look at a document; the head is what client_wait waits for. */
struct look {
    struct client_wait wait;
    struct cel_result *result;
};

/* client_begin, for functions that deal with the result of a task. */
static int begin(struct cel_client *client, const char *id, struct cel_error *err)
{
    if (!id || !*id)
        return error_set(err, -EINVAL, "The task id is %s", id ? "empty" : "NULL");
    if (strnlen(id, TASK_ID_MAX + 1) > TASK_ID_MAX)
        return error_set(err, -EINVAL, "The task id is longer than %d bytes", TASK_ID_MAX);
    int status = client_begin(client, err);
    if (!status && !client->has_results)
        return error_set(err, CEL_E_CONFIG,
                         "There are no results here: the result backend is disabled, or no Redis");
    return status;
}

static void on_document(void *data, int status, struct str document, const struct cel_error *err)
{
    struct look *look = data;
    struct cel_error reason = {0};
    if (!status && document.ptr) {
        status = result_decode(document, &look->result->view, &reason);
        look->result->stored = !status;
        err = &reason;
    }
    on_client_done(&look->wait, status, err);
}

/* A document that cannot be read ends the wait too: nothing says that a better one will come. */
static bool is_final(struct str document)
{
    struct result_view view;
    if (result_decode(document, &view, NULL))
        return true;
    bool ready = result_is_ready(view.status);
    result_view_deinit(&view);
    return ready;
}

static void result_cleanup(struct cel_result **result)
{
    cel_result_free(*result);
}

/* What is there now, or, with `awaiting`, once the task has ended. */
static int look_at(struct cel_client *client,
                   const char *id,
                   bool awaiting,
                   usec_t deadline_mono,
                   struct cel_result **ret_result,
                   struct cel_error *err)
{
    CLEANUP(result_cleanup) struct cel_result *result = mem_new(struct cel_result);
    if (!result)
        return error_no_memory(err);
    struct look look = {.result = result};
    struct broker *broker = client->broker;
    int started =
        awaiting
            ? broker_await_result(broker, str_of(id), is_final, deadline_mono, on_document, &look)
            : broker_get_result(broker, str_of(id), deadline_mono, on_document, &look);
    int status = client_wait(client, &look.wait, started, err);
    if (status)
        return status;
    *ret_result = result;
    result = NULL;
    return 0;
}

static int not_ended(const char *id, struct cel_error *err)
{
    return error_set(err, -ETIMEDOUT, "Task %s has not ended in time", id);
}

int cel_result_get(struct cel_client *client,
                   const char *id,
                   struct cel_result **ret_result,
                   struct cel_error *err)
{
    if (!ret_result)
        return error_set(err, -EINVAL, "ret_result is NULL");
    int status = begin(client, id, err);
    return status ? status : look_at(client, id, false, client_deadline(client), ret_result, err);
}

int cel_result_wait(struct cel_client *client,
                    const char *id,
                    int64_t timeout_ms,
                    struct cel_result **ret_result,
                    struct cel_error *err)
{
    if (!ret_result)
        return error_set(err, -EINVAL, "ret_result is NULL");
    if (timeout_ms < 0)
        return error_set(err, -EINVAL, "A time limit of %lld ms is out of range",
                         (long long)timeout_ms);
    int status = begin(client, id, err);
    if (status)
        return status;
    /* First a look: most often the task has ended already, and a server that cannot be reached is
     * named by it, which the wait could only report as a time limit. */
    usec_t deadline = timeout_ms ? client_deadline_after(timeout_ms) : client_deadline(client);
    CLEANUP(result_cleanup) struct cel_result *result = NULL;
    status = look_at(client, id, false, deadline, &result, err);
    if (!status && timeout_ms && !cel_result_ready(result)) {
        result = cel_result_free(result);
        status = look_at(client, id, true, deadline, &result, err);
        if (status == -ETIMEDOUT)
            return not_ended(id, err);
    }
    if (status)
        return status;
    if (!cel_result_ready(result))
        return not_ended(id, err);
    *ret_result = result;
    result = NULL;
    return 0;
}

int cel_result_forget(struct cel_client *client, const char *id, struct cel_error *err)
{
    int status = begin(client, id, err);
    if (status)
        return status;
    struct client_wait wait = {0};
    return client_wait(client, &wait,
                       broker_forget_result(client->broker, str_of(id), client_deadline(client),
                                            on_client_done, &wait),
                       err);
}

struct cel_result *cel_result_free(struct cel_result *result)
{
    if (result && result->stored)
        result_view_deinit(&result->view);
    mem_free(result);
    return NULL;
}

const char *cel_result_state(const struct cel_result *result)
{
    return result && result->stored ? result->view.status.ptr : STATE_PENDING;
}

bool cel_result_ready(const struct cel_result *result)
{
    return result && result->stored && result_is_ready(result->view.status);
}

const struct cel_value *cel_result_value(const struct cel_result *result)
{
    return result && result->stored ? result->view.value : NULL;
}

const char *cel_result_error_type(const struct cel_result *result)
{
    return result && result->stored ? result->view.exc_type.ptr : NULL;
}

const char *cel_result_error_text(const struct cel_result *result)
{
    return result && result->stored ? result->view.exc_text.ptr : NULL;
}

const char *cel_result_traceback(const struct cel_result *result)
{
    return result && result->stored ? result->view.traceback.ptr : NULL;
}

const struct cel_value *cel_result_document(const struct cel_result *result)
{
    return result && result->stored ? result->view.document : NULL;
}
