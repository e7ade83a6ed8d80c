/*
 * Canvases for tests: written as JSON, published, and compared with what Celery published, whatever ids
 * and tags were random.
 */
#pragma once

#include "canvas/follow.h"
#include "canvas/plan.h"
#include "canvas/publish.h"
#include "core/value.h"

#define NOW_WALL ((usec_t)1893456000000000) /* 2030-01-01 */

/* "0000000N-CCCC-4000-8000-000000000000", the fixed ids of the recorded vectors. */
#define ID(n, c) "0000000" #n "-" #c "-4000-8000-000000000000"
/* Signatures as JSON text: of a task, with `args` and `options` inside their brackets. */
#define TASK(task, args, options)                                                                  \
    "{\"task\": \"" task "\", \"args\": [" args "], \"kwargs\": {}, \"options\": {" options        \
    "}, \"subtask_type\": null, \"immutable\": false}"
#define WITH_ID(n, c) "\"task_id\": \"" ID(n, c) "\""
#define CHAIN_OF(tasks, options)                                                                   \
    "{\"task\": \"celery.chain\", \"args\": [], \"kwargs\": {\"tasks\": [" tasks                   \
    "]}, \"options\": {" options "}, \"subtask_type\": \"chain\", \"immutable\": false}"
#define GROUP_OF(tasks, options)                                                                   \
    "{\"task\": \"celery.group\", \"args\": [], \"kwargs\": {\"tasks\": [" tasks                   \
    "]}, \"options\": {" options "}, \"subtask_type\": \"group\", \"immutable\": false}"
#define CHORD_OF(header, body, options)                                                            \
    "{\"task\": \"celery.chord\", \"args\": [], \"kwargs\": {\"kwargs\": {}, \"header\": [" header \
    "], \"body\": " body "}, \"options\": {" options                                               \
    "}, \"subtask_type\": \"chord\", \"immutable\": false}"

/* Never NULL; the caller frees it. */
struct cel_value *read_json(const char *text);
struct cel_value *read_json_str(struct str text);

/* A client that sends at NOW_WALL. */
struct canvas_sender a_client(void);
/* Publishes; fails the test when that fails. */
void publish(const char *signature, struct plan *plan, struct buf *ret_handle);

/* A message as one map: its envelope, with "body" decoded. The caller frees it. */
struct cel_value *open_message(struct str text);
/* A member of its headers, as JSON text in a buffer that the next call reuses. */
const char *header_of(struct cel_value *message, const char *name);
const char *body_of(struct cel_value *message);

/*
 * Makes two lists of opened messages comparable, in place: random UUIDs become "uuid 1", "uuid 2" in the
 * order in which they are met; what differs from sender to sender, and options that are null, go.
 */
void anonymize(struct cel_value *messages);
void assert_same_value(const struct cel_value *found, const struct cel_value *expected);

/* The lists of the vector `name`, oldest first, opened. */
struct cel_value *vector_messages(const char *name);
struct cel_value *plan_messages(const struct plan *plan);
/* That a plan has just the messages of a vector, in the same order. */
void assert_published(const struct plan *plan, const char *name);
