/*
 * The client: enqueue tasks and read their results, from any C or C++ program.
 *
 * Thread rule: one handle, one thread at a time; any number of handles in any number of threads.
 * Every function that waits has one time limit for all it does: looking up the host, connecting,
 * authenticating, sending, repeating, confirming. It returns within that, and a little.
 * After fork() a handle belongs to the parent: the child opens its own (-EINVAL otherwise).
 * Nothing here installs a signal handler, raises SIGPIPE or keeps global state. Threads: libuv's,
 * for looking up the address of a broker that is given by a host name, and for a handle that is
 * closed during such a look-up one that frees it when the look-up has ended.
 *
 * Wire: Celery message protocol v2 over Redis (Celery documentation, "Message Protocol").
 */
#pragma once

#include "celeriac/call.h"
#include "celeriac/canvas.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CEL_ID_SIZE 37 /* a task id as text, with its terminating zero */

struct cel_client;
struct cel_result;

struct cel_client_options {
    const char
        *broker_url; /* NULL: $CELERIAC_BROKER_URL, $CELERY_BROKER_URL, redis://localhost:6379/0 */
    const char
        *result_backend;    /* NULL: $CELERIAC_RESULT_BACKEND, $CELERY_RESULT_BACKEND, the broker */
    const char *queue;      /* default queue; NULL: "celery" */
    const char *routes;     /* of calls that name no queue, by their task, as Celery's task_routes:
                               "shop.tasks.* = shop, mail.send = mail". A whole name comes before
                               patterns, of these the first. NULL: all go to the default queue */
    int64_t timeout_ms;     /* of each function that has none of its own; 0: 5000 */
    const char *key_prefix; /* Celery's global_keyprefix; NULL: none */
    /*
     * A task id that was sent to a queue within this time is not pushed there again: whoever sends
     * the same id (cel_call_id) twice, for want of an answer or by mistake, has sent it once. And
     * the library then repeats by itself what may or may not have arrived, until the time limit.
     * Redis keeps a key of 150 bytes for each id so long; its time for a message grows by 5 us.
     * 0: off; longer than timeout_ms, at most 30 days.
     */
    int64_t dedupe_ms;
    /* A sending returns only when so many replicas of the server have it: 0 (off) ... 100. */
    int confirm_replicas;
    /* A sending returns only when it is in the server's append-only file and on its disk (Redis 7.2
     * with appendonly yes). Without it, the server's appendfsync says what a crash may cost. */
    bool confirm_disk;
    /* For sentinel:// URLs that do not say it with ?master_name= and its like. User and password
     * are those of the sentinels; the URL's are those of the Redis behind them.
     * NULL: $CELERIAC_MASTER_NAME, $CELERIAC_SENTINEL_USERNAME, $CELERIAC_SENTINEL_PASSWORD. */
    const char *master_name, *sentinel_username, *sentinel_password;
};

/*
 * Opens a client. No connection is made yet: the first send makes it, and a lost one is made anew.
 * `options` may be NULL. -EINVAL: a URL that cannot be used; CEL_E_UNSUPPORTED: rediss.
 */
CEL_API int cel_client_open(const struct cel_client_options *options,
                            struct cel_client **ret_client,
                            struct cel_error *err);
/* Waits for nothing. Takes NULL, returns NULL. (A process that ends during the look-up of a host
 * name ends with it: libuv waits for its threads then.) */
CEL_API struct cel_client *cel_client_close(struct cel_client *client);

/*
 * Sends `call` and waits until Redis has it, and until that is confirmed when the client asks for
 * it. `ret_id` (CEL_ID_SIZE bytes, or NULL) receives the task's id; it is written before anything
 * is sent. (An id fixed by cel_call_id() that is longer than a UUID does not fit: then the text is
 * empty.) A failure says what has become of the call, by its code and at the head of its text:
 *
 *   CEL_E_UNCERTAIN     It may have arrived: the connection ended, or the time, with the command
 *                       under way. Sent again it may arrive twice, unless dedupe_ms is on and its
 *                       id was fixed.
 *   CEL_E_UNCONFIRMED   Sent, but replicas or disk have not confirmed it in time: err has how many.
 *                       It is executed; sent again it arrives twice, but for dedupe_ms as before.
 *   any other           Not sent. -ETIMEDOUT, -ECONNREFUSED ...: the server was not reached;
 *                       CEL_E_AUTH: it refused us; CEL_E_SERVER: it refused the message, its words
 *                       are in err ("OOM ...", "READONLY ..."); CEL_E_UNSUPPORTED: it knows no
 *                       confirm_disk; -EINVAL, CEL_E_FORMAT, CEL_E_LIMIT: the call cannot be sent.
 */
CEL_API int cel_send(struct cel_client *client,
                     const struct cel_call *call,
                     char *ret_id,
                     struct cel_error *err);

/*
 * Sends `count` calls in pipelined commands, much faster than one by one. `ret_ids` is NULL or an
 * array of `count`. All are checked before the first is sent. The time limit is one for all.
 * On failure `ret_sent` (or NULL) says how many are known to be with Redis: always the first ones.
 * The code speaks of the others: with CEL_E_UNCERTAIN those that follow may have arrived, err says
 * how many; with any other code none of them was sent. CEL_E_UNCONFIRMED: the first ones are not
 * all confirmed.
 */
CEL_API int cel_send_bulk(struct cel_client *client,
                          struct cel_call *const *calls,
                          size_t count,
                          char (*ret_ids)[CEL_ID_SIZE],
                          size_t *ret_sent,
                          struct cel_error *err);

/*
 * Sends a canvas. Tasks and chords that begin together are with Redis all or not at all: with a chord in
 * one step (with results on another server its keys are there first), else as cel_send_bulk sends them.
 * `ret_handle` (or NULL): where its results will be; the caller frees it. It is written before anything is
 * sent, and is NULL when nothing could be. Fails as cel_send_bulk (with a chord as cel_send), and with
 * CEL_E_CONFIG: a chord needs results in Redis.
 */
CEL_API int cel_send_canvas(struct cel_client *client,
                            const struct cel_signature *canvas,
                            struct cel_handle **ret_handle,
                            struct cel_error *err);

/*
 * The message that `call` becomes, for code that brings it to its queue by another way (outbox.h).
 * `queue` is where it goes when the call names none; NULL: "celery". Any thread. 0, or the first error
 * of a setter, CEL_E_FORMAT, CEL_E_LIMIT, -ENOMEM. `*ret` is freed with cel_message_free().
 */
CEL_API int cel_call_message(const struct cel_call *call,
                             const char *queue,
                             struct cel_message *ret,
                             struct cel_error *err);

/*
 * Waits until the task `id` has ended (SUCCESS, FAILURE, REVOKED) and hands out its result, which
 * the caller frees. Returns 0 whatever the end was: look at cel_result_state(). -ETIMEDOUT: not
 * ended within `timeout_ms` (0: not ended yet). A task with ignore_result never has a result.
 */
CEL_API int cel_result_wait(struct cel_client *client,
                            const char *id,
                            int64_t timeout_ms,
                            struct cel_result **ret_result,
                            struct cel_error *err);
/* What is stored now, without waiting for the end; state "PENDING" when nothing is. */
CEL_API int cel_result_get(struct cel_client *client,
                           const char *id,
                           struct cel_result **ret_result,
                           struct cel_error *err);
/*
 * Waits until the task has ended, or all of a group, within one time limit. `ret_results` is NULL or
 * has cel_handle_tasks(handle) places, for their results in that order, which the caller frees; it is
 * written on success only. Returns 0 whatever the ends were; -ETIMEDOUT: err names one that has not
 * ended. A task with ignore_result never has a result.
 */
CEL_API int cel_handle_wait(struct cel_client *client,
                            const struct cel_handle *handle,
                            int64_t timeout_ms,
                            struct cel_result **ret_results,
                            struct cel_error *err);
/* Stores a group, so that Celery's GroupResult.restore(id) finds it, as GroupResult.save() does; for a day. */
CEL_API int
cel_group_save(struct cel_client *client, const struct cel_handle *group, struct cel_error *err);

/* Deletes the stored result. 0 also when there was none. */
CEL_API int cel_result_forget(struct cel_client *client, const char *id, struct cel_error *err);

/*
 * Revokes `count` tasks: those that have not begun never run, and end as REVOKED (Celery's
 * TaskRevokedError). Redis remembers it for a day, so workers that are down now obey as well.
 * `signal_name` NULL: a task that runs goes on; "TERM", "KILL": its process is ended by that signal,
 * and no other task ever is. -EINVAL: an id or a signal that is none; else as for cel_send, but what
 * is uncertain may be repeated.
 */
CEL_API int cel_revoke(struct cel_client *client,
                       const char *const *ids,
                       size_t count,
                       const char *signal_name,
                       struct cel_error *err);
/* The same for all tasks whose stamped header `name` is, or holds, `value` (Celery 5.3's stamps). */
CEL_API int cel_revoke_stamped(struct cel_client *client,
                               const char *name,
                               const char *value,
                               const char *signal_name,
                               struct cel_error *err);

CEL_API struct cel_result *
cel_result_free(struct cel_result *result); /* takes NULL, returns NULL */

/* Readers; borrowed pointers live as long as the result. */
CEL_API const char *
cel_result_state(const struct cel_result *result);              /* "SUCCESS", "FAILURE", ... */
CEL_API bool cel_result_ready(const struct cel_result *result); /* ended, one way or another */
/* The return value; for PROGRESS and own states the meta data. NULL for exceptions. */
CEL_API const struct cel_value *cel_result_value(const struct cel_result *result);
CEL_API const char *
cel_result_error_type(const struct cel_result *result); /* "ValueError" or NULL */
CEL_API const char *cel_result_error_text(const struct cel_result *result); /* or NULL */
CEL_API const char *cel_result_traceback(const struct cel_result *result);  /* or NULL */
/* The whole document as stored. */
CEL_API const struct cel_value *cel_result_document(const struct cel_result *result);

#ifdef __cplusplus
}
#endif
