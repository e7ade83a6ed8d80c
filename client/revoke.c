/*
 * Revoking: tasks that have not started never start, running ones end if that is wanted.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "client/handle.h"
#include "core/mem.h"
#include "message/envelope.h"

#define KEPT_DEFAULT (86400 * USEC_PER_SEC)
enum { SLICE = 256 }; /* the broker takes so many at a time */

int client_revoke(struct cel_client *client,
                  const struct broker_revocation *revocations,
                  size_t count,
                  usec_t kept,
                  struct cel_error *err)
{
    usec_t deadline = client_deadline(client);
    for (size_t done = 0; done < count;) {
        size_t slice = count - done < SLICE ? count - done : SLICE;
        struct client_wait wait = {0};
        int status = client_wait(client, &wait,
                                 broker_revoke(client->broker, revocations + done, slice, kept,
                                               deadline, on_client_done, &wait),
                                 err);
        if (status)
            return status;
        done += slice;
    }
    return 0;
}

bool client_knows_signal(const char *name)
{
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int number = 1; number < NSIG; number++) {
        const char *known = sigabbrev_np(number);
        if (known && strcmp(name, known) == 0)
            return true;
    }
    return false;
}

static int check_signal(const char *name, struct cel_error *err)
{
    if (!name || client_knows_signal(name))
        return 0;
    return error_set(err, -EINVAL, "\"%.32s\" is no signal; \"TERM\" or \"KILL\" is", name);
}

int cel_revoke(struct cel_client *client,
               const char *const *ids,
               size_t count,
               const char *signal_name,
               struct cel_error *err)
{
    int status = client_begin(client, err);
    if (!status)
        status = check_signal(signal_name, err);
    if (status)
        return status;
    if (count && !ids)
        return error_set(err, -EINVAL, "cel_revoke: ids is NULL");
    struct broker_revocation *revocations = mem_array(count ? count : 1, sizeof(*revocations));
    if (!revocations)
        return error_no_memory(err);
    for (size_t i = 0; i < count && !status; i++) {
        size_t len = ids[i] ? strnlen(ids[i], TASK_ID_MAX + 1) : 0;
        revocations[i] =
            (struct broker_revocation){.id = str_n(ids[i], len), .signal = str_of(signal_name)};
        if (len == 0 || len > TASK_ID_MAX)
            status = error_set(err, -EINVAL, "Id %zu of %zu is NULL, empty or longer than %d bytes",
                               i + 1, count, TASK_ID_MAX);
    }
    if (!status)
        status = client_revoke(client, revocations, count, KEPT_DEFAULT, err);
    mem_free(revocations);
    return status;
}

int cel_revoke_stamped(struct cel_client *client,
                       const char *name,
                       const char *value,
                       const char *signal_name,
                       struct cel_error *err)
{
    int status = client_begin(client, err);
    if (!status)
        status = check_signal(signal_name, err);
    if (status)
        return status;
    if (!name || !*name || !value)
        return error_set(err, -EINVAL, "A stamp has a name and a value");
    const struct broker_revocation revocation = {
        .stamp = str_of(name), .value = str_of(value), .signal = str_of(signal_name)};
    return client_revoke(client, &revocation, 1, KEPT_DEFAULT, err);
}
