#include "control/revoke.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "message/repr.h"
#include "message/wrapper.h"

#define DEADLINE_USEC (5 * USEC_PER_SEC)
enum { SLICE = 256, REVOKED_MAX = 50000, SIGNAL_SIZE = 16 };

/* --- telling the broker ----------------------------------------------------------------------- */

/* What one request revokes; told in slices. */
struct revoking {
    struct command *command; /* or NULL: nobody waits */
    size_t pending;          /* slices, and one for whoever sends them */
    int status;              /* of the first that failed */
    struct cel_error err;
};

static void end_slice(struct revoking *revoking)
{
    struct command *command = revoking->command;
    if (--revoking->pending > 0)
        return;
    if (revoking->status < 0)
        log_error("What remote control revokes could not be kept", F_C("err", revoking->err.text));
    if (command && revoking->status < 0)
        answer_error(command, "OperationalError('Redis did not take it: %s')", revoking->err.text);
    if (command)
        command_answer(command);
    mem_free(revoking);
}

static void on_revoked(void *data, int status, const struct cel_error *err)
{
    struct revoking *revoking = data;
    if (status < 0 && !revoking->status) {
        revoking->status = status;
        revoking->err = *err;
    }
    end_slice(revoking);
}

/* Sends them; `command` (may be NULL) is answered with what it has as its reply when all are kept. */
static enum answer tell_broker(struct control *control,
                               struct command *command,
                               const struct broker_revocation *items,
                               size_t count)
{
    struct revoking *revoking = count ? mem_new(struct revoking) : NULL;
    if (count == 0)
        return ANSWER_NOW;
    if (!revoking)
        return command ? answer_value(command, NULL) : ANSWER_NEVER;
    *revoking = (struct revoking){.command = command, .pending = 1};
    for (size_t i = 0; i < count && !revoking->status; i += SLICE) {
        size_t slice = count - i < SLICE ? count - i : SLICE;
        int r = broker_revoke(control->broker, items + i, slice,
                              control->options.settings->revoke_expires,
                              clock_mono() + DEADLINE_USEC, on_revoked, revoking);
        if (r < 0)
            revoking->status = error_set(&revoking->err, r, "%s", cel_error_name(r));
        else
            revoking->pending++;
    }
    if (revoking->pending > 1) {
        revoking->pending--;
        return ANSWER_LATER;
    }
    if (command)
        answer_error(command, "OperationalError('%s')", revoking->err.text);
    mem_free(revoking);
    return ANSWER_NOW;
}

/* --- arguments -------------------------------------------------------------------------------- */

static const char *signal_name(const struct cel_value *value)
{
    size_t len;
    const char *text = cel_value_text(value, &len);
    int64_t number = cel_value_int(value, 0);
    if (!text)
        return number > 0 && number < NSIG ? sigabbrev_np((int)number) : NULL;
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < NSIG; i++) {
        const char *known = sigabbrev_np(i);
        if (known && strcmp(known, text) == 0)
            return known;
    }
    return NULL;
}

/* The signal that running ones get: absent, none. False when it makes no sense and that was answered. */
static bool read_signal(struct command *command, bool terminates, struct str *ret)
{
    const struct cel_value *value = cel_value_get(command->arguments, "signal");
    bool is_given = cel_value_type(value) != CEL_NULL;
    const char *name = is_given ? signal_name(value) : "TERM";
    *ret = terminates ? str_of(name) : STR("");
    if (name || !terminates)
        return true;
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(512);
    repr_value(&shown, value, false, 200);
    answer_error(command, "ValueError(\"%s is no signal\")", shown.ptr ? shown.ptr : "");
    return false;
}

static size_t count_of(const struct cel_value *value)
{
    return cel_value_type(value) == CEL_LIST ? cel_value_count(value) : value != NULL;
}

static struct str item_of(const struct cel_value *value, size_t index)
{
    return value_str(cel_value_type(value) == CEL_LIST ? cel_value_at(value, index) : value);
}

static void add_name(struct buf *buf, struct str name)
{
    buf_add_c(buf, buf->len ? ", " : "");
    buf_add_str(buf, name);
}

/* --- by id ------------------------------------------------------------------------------------ */

struct known {
    const struct cel_value *ids;
    struct buf *names;
};

static void note_known(void *data, const struct control_call *call)
{
    struct known *known = data;
    for (size_t i = 0; i < count_of(known->ids); i++) {
        if (str_equal(item_of(known->ids, i), call->envelope->id)) {
            add_name(known->names, call->envelope->id);
            return;
        }
    }
}

/* The words of a revocation that ends what runs: those that are here. */
static void answer_terminated(struct command *command, const struct cel_value *ids)
{
    CLEANUP(buf_deinit) struct buf names = BUF_INIT(WRAPPER_BYTES_MAX);
    struct known known = {ids, &names};
    host_of(command)->each_call(host_data_of(command), note_known, &known);
    if (names.len)
        answer_ok(command, "terminate: %s", names.ptr);
    else
        answer_ok(command, "terminate: tasks unknown");
}

static void answer_flagged(struct command *command, const struct cel_value *ids)
{
    CLEANUP(buf_deinit) struct buf names = BUF_INIT(WRAPPER_BYTES_MAX);
    for (size_t i = 0; i < count_of(ids); i++)
        add_name(&names, item_of(ids, i));
    answer_ok(command, "tasks %s flagged as revoked", names.ptr ? names.ptr : "");
}

static enum answer revoke_ids(struct command *command, bool terminates)
{
    const struct cel_value *ids = cel_value_get(command->arguments, "task_id");
    size_t count = count_of(ids);
    struct str signal;
    if (cel_value_type(ids) == CEL_NULL)
        return answer_missing(command, "task_id");
    for (size_t i = 0; i < count; i++) {
        size_t len = item_of(ids, i).len;
        if (len == 0 || len > TASK_ID_MAX)
            return answer_error(command, "ValueError('an id is a text of at most %d bytes')",
                                TASK_ID_MAX);
    }
    if (count > REVOKED_MAX)
        return answer_error(command, "ValueError('more than %d ids')", REVOKED_MAX);
    if (!read_signal(command, terminates, &signal))
        return ANSWER_NOW;
    struct broker_revocation *items = mem_array(count ? count : 1, sizeof(*items));
    if (!items)
        return answer_value(command, NULL);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct str id = item_of(ids, i);
        if (terminates || !host_of(command)->is_revoked(host_data_of(command), id))
            items[kept++] = (struct broker_revocation){.id = id, .signal = signal};
    }
    if (terminates)
        answer_terminated(command, ids);
    else
        answer_flagged(command, ids);
    log_info("Tasks are revoked by remote control", F_U64("tasks", count),
             F_STR("signal", signal.len ? signal : STR_NONE));
    enum answer answer = tell_broker(command->control, command, items, kept);
    mem_free(items);
    return answer;
}

enum answer revoke_run(struct command *command)
{
    return revoke_ids(command,
                      cel_value_bool(cel_value_get(command->arguments, "terminate"), false));
}

enum answer revoke_terminate(struct command *command)
{
    return revoke_ids(command, true);
}

/* --- by stamp --------------------------------------------------------------------------------- */

static size_t count_stamps(const struct cel_value *headers)
{
    size_t count = 0;
    for (size_t i = 0; i < cel_value_count(headers); i++)
        count += count_of(cel_value_at(headers, i));
    return count;
}

static size_t
list_stamps(const struct cel_value *headers, struct str signal, struct broker_revocation *items)
{
    size_t count = 0;
    for (size_t i = 0; i < cel_value_count(headers); i++) {
        const struct cel_value *values = cel_value_at(headers, i);
        for (size_t j = 0; j < count_of(values); j++) {
            struct str value = item_of(values, j);
            if (value.ptr)
                items[count++] = (struct broker_revocation){
                    .stamp = str_of(cel_value_key(headers, i)), .value = value, .signal = signal};
        }
    }
    return count;
}

/* ["tenant=a"], as the command line sends it, means {"tenant": ["a"]}. */
static struct cel_value *headers_take(const struct cel_value *given)
{
    if (cel_value_type(given) != CEL_LIST)
        return given ? cel_value_dup(given) : NULL;
    struct cel_value *headers = cel_map();
    for (size_t i = 0; i < cel_value_count(given); i++) {
        struct str value = value_str(cel_value_at(given, i)), name;
        struct cel_value *values = cel_list();
        if (!value.ptr || !str_split(&value, '=', &name) || !value.ptr ||
            cel_list_add(values, cel_text_n(value.ptr, value.len)) < 0)
            values = cel_value_free(values);
        if (!values || value_set(headers, name, values) < 0)
            return cel_value_free(headers);
    }
    return headers;
}

static bool
is_any_stamped(struct command *command, const struct broker_revocation *items, size_t count)
{
    const struct control_host *host = host_of(command);
    for (size_t i = 0; i < count; i++) {
        if (host->runs_stamped(host_data_of(command), items[i].stamp, items[i].value))
            return true;
    }
    return false;
}

enum answer revoke_stamped(struct command *command)
{
    bool terminates = cel_value_bool(cel_value_get(command->arguments, "terminate"), false);
    struct str signal;
    if (!cel_value_get(command->arguments, "headers"))
        return answer_missing(command, "headers");
    if (!read_signal(command, terminates, &signal))
        return ANSWER_NOW;
    struct cel_value *headers = headers_take(cel_value_get(command->arguments, "headers"));
    size_t most = cel_value_type(headers) == CEL_MAP ? count_stamps(headers) : 0;
    if (most == 0 || most > REVOKED_MAX) {
        cel_value_free(headers);
        return answer_error(command, "ValueError('headers: names and values of stamps')");
    }
    struct broker_revocation *items = mem_array(most, sizeof(*items));
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(WRAPPER_BYTES_MAX);
    enum answer answer = ANSWER_NOW;
    repr_value(&shown, headers, false, 64 * 1024);
    if (!items || buf_status(&shown) < 0) {
        answer_value(command, NULL);
    } else {
        size_t count = list_stamps(headers, signal, items);
        if (!terminates)
            answer_ok(command, "headers %s flagged as revoked, but not terminated", shown.ptr);
        else if (is_any_stamped(command, items, count))
            answer_ok(command, "headers %s revoked", shown.ptr);
        else
            answer_ok(command, "headers %s were not terminated", shown.ptr);
        answer = tell_broker(command->control, command, items, count);
    }
    mem_free(items);
    cel_value_free(headers);
    return answer;
}

/* --- of other workers ------------------------------------------------------------------------- */

void revoke_take_over(struct control *control, const struct cel_value *revoked)
{
    size_t count = cel_value_type(revoked) == CEL_MAP ? cel_value_count(revoked) : 0, kept = 0;
    if (count > REVOKED_MAX)
        count = REVOKED_MAX;
    struct broker_revocation *items = mem_array(count ? count : 1, sizeof(*items));
    for (size_t i = 0; i < count && items; i++) {
        struct str id = str_of(cel_value_key(revoked, i));
        if (id.len > 0 && id.len <= TASK_ID_MAX &&
            !control->options.host->is_revoked(control->options.host_data, id))
            items[kept++] = (struct broker_revocation){.id = id};
    }
    if (kept > 0) {
        log_info("Revocations of another worker are taken over", F_U64("tasks", kept));
        tell_broker(control, NULL, items, kept);
    }
    mem_free(items);
}
