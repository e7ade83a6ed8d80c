/*
 * WAIT and WAITAOF speak of what their connection has written. So they go out behind the push in
 * one pipeline, and what they say counts only when every part of the push was answered on the same
 * connection as they were: on a new one they would speak of nothing.
 *
 * The server waits at most until shortly before the deadline, so that its number is here in time;
 * WAITAOF begins when WAIT has ended, so with both each has half of it. How much time there is, is
 * known only once the connection is made: one that is not is made first, by a question. For the
 * disk the question is whether the server knows WAITAOF, asked once a connection.
 */
#include "broker/confirm.h"

#include "core/mem.h"

#define MARGIN (150 * USEC_PER_MSEC) /* Redis looks ten times a second whether a wait is over */

struct confirm {
    struct redis_request probe, replicas, disk;
    struct broker *broker;
    unsigned replicas_wanted;
    bool disk_wanted;
    usec_t deadline_mono;
    usec_t connection_mono; /* `ready_mono` of the one that took the push; 0: none yet */
    bool is_cut;
    unsigned open;
    struct cel_error err; /* the first thing that is missing */
    const struct confirm_events *events;
    void *data;
};

/* --- before the push -------------------------------------------------------------------------- */

struct confirm *confirm_new(struct broker *broker,
                            const struct broker_promises *promises,
                            usec_t deadline_mono,
                            const struct confirm_events *events,
                            void *data)
{
    struct confirm *confirm = mem_new(struct confirm);
    if (!confirm)
        return NULL;
    confirm->broker = broker;
    confirm->replicas_wanted = promises->replicas;
    confirm->disk_wanted = promises->disk;
    confirm->deadline_mono = deadline_mono;
    confirm->events = events;
    confirm->data = data;
    return confirm;
}

void confirm_free(struct confirm *confirm)
{
    if (!confirm)
        return;
    redis_request_deinit(&confirm->probe);
    redis_request_deinit(&confirm->replicas);
    redis_request_deinit(&confirm->disk);
    mem_free(confirm);
}

bool confirm_is_able(const struct confirm *confirm)
{
    const struct broker *broker = confirm->broker;
    return broker->main->state == REDIS_READY &&
           (!confirm->disk_wanted || broker->disk_known_mono == broker->main->ready_mono);
}

static void on_probed(struct redis_request *request,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    struct confirm *confirm = container_of(request, struct confirm, probe);
    struct broker *broker = confirm->broker;
    struct cel_error own;
    if (status && reply && !confirm->disk_wanted)
        status = 0; /* a user who may not PING has a connection all the same */
    if (!status && confirm->disk_wanted) {
        if (redis_knows_command(reply)) {
            broker->disk_known_mono = broker->main->ready_mono;
        } else {
            status = error_set(&own, CEL_E_UNSUPPORTED,
                               "%s cannot confirm that a message is on its disk: it has no WAITAOF "
                               "(Redis 7.2)",
                               broker->url.display);
            err = &own;
        }
    }
    confirm->events->on_able(confirm->data, status, err);
}

int confirm_probe(struct confirm *confirm)
{
    int status = confirm->disk_wanted ? redis_command_knows_wait_disk(&confirm->probe)
                                      : redis_ping(&confirm->probe);
    if (status)
        return status;
    confirm->probe.on_reply = on_probed;
    confirm->probe.deadline_mono = confirm->deadline_mono;
    confirm->probe.repeatable = true;
    redis_connection_send(confirm->broker->main, &confirm->probe);
    return 0;
}

/* --- behind the push -------------------------------------------------------------------------- */

static void end_one(struct confirm *confirm)
{
    if (--confirm->open == 0)
        confirm->events->on_end(confirm->data, confirm->err.code, confirm->is_cut, &confirm->err);
}

/* True when the reply speaks of the push. */
static bool is_answer(struct confirm *confirm,
                      int status,
                      const struct redis_reply *reply,
                      const struct cel_error *err)
{
    if (!status && confirm->connection_mono == confirm->broker->main->ready_mono)
        return true;
    confirm->is_cut |= !reply || !status;
    if (!confirm->err.code)
        error_set(&confirm->err, CEL_E_UNCONFIRMED, "no confirmation came: %s",
                  status ? err->text : "the connection ended");
    return false;
}

static void on_replicas(struct redis_request *request,
                        int status,
                        const struct redis_reply *reply,
                        const struct cel_error *err)
{
    struct confirm *confirm = container_of(request, struct confirm, replicas);
    if (is_answer(confirm, status, reply, err)) {
        int64_t count = reply_integer(reply, 0);
        if (count < confirm->replicas_wanted && !confirm->err.code)
            error_set(&confirm->err, CEL_E_UNCONFIRMED,
                      "confirmed by only %lld of %u replicas in time", (long long)count,
                      confirm->replicas_wanted);
    }
    end_one(confirm);
}

static void on_disk(struct redis_request *request,
                    int status,
                    const struct redis_reply *reply,
                    const struct cel_error *err)
{
    struct confirm *confirm = container_of(request, struct confirm, disk);
    if (is_answer(confirm, status, reply, err) && reply_integer(reply_item(reply, 0), 0) < 1 &&
        !confirm->err.code)
        error_set(&confirm->err, CEL_E_UNCONFIRMED,
                  "not confirmed to be on the server's disk in time");
    end_one(confirm);
}

/* Of each question. */
static usec_t time_for_server(const struct confirm *confirm)
{
    usec_t questions = confirm->replicas_wanted && confirm->disk_wanted ? 2 : 1;
    usec_t now = clock_mono();
    usec_t each = now < confirm->deadline_mono ? (confirm->deadline_mono - now) / questions : 0;
    return each - (each / 2 < MARGIN ? each / 2 : MARGIN);
}

int confirm_format(struct confirm *confirm)
{
    usec_t limit = time_for_server(confirm);
    int status = 0;
    if (confirm->replicas_wanted)
        status = redis_command_wait_replicas(&confirm->replicas, confirm->replicas_wanted, limit);
    if (!status && confirm->disk_wanted)
        status = redis_command_wait_disk(&confirm->disk, limit);
    return status;
}

static void send_one(struct confirm *confirm, struct redis_request *request, redis_reply_fn *fn)
{
    request->on_reply = fn;
    request->deadline_mono = confirm->deadline_mono;
    confirm->open++;
    redis_connection_send(confirm->broker->main, request);
}

void confirm_send(struct confirm *confirm)
{
    if (confirm->replicas_wanted)
        send_one(confirm, &confirm->replicas, on_replicas);
    if (confirm->disk_wanted)
        send_one(confirm, &confirm->disk, on_disk);
}

void confirm_note_push(struct confirm *confirm)
{
    usec_t mono = confirm->broker->main->ready_mono;
    if (!confirm->connection_mono)
        confirm->connection_mono = mono;
    else if (confirm->connection_mono != mono)
        confirm->connection_mono = USEC_NEVER; /* the push took two: no answer speaks of all */
}

bool confirm_abandon(struct confirm *confirm)
{
    struct redis_connection *main = confirm->broker->main;
    unsigned before = confirm->open;
    if (redis_connection_recall(main, &confirm->replicas))
        confirm->open--;
    if (redis_connection_recall(main, &confirm->disk))
        confirm->open--;
    return before > 0 && confirm->open == 0;
}
