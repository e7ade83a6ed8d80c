/*
 * A call: which task, with which arguments and options. Built by the application, sent by
 * cel_send() (client.h) or by cel_task_send() from inside a task (task.h).
 *
 *     struct cel_call *call = cel_call_new("products.tasks.process_order");
 *     cel_call_arg(call, cel_int(order_id));
 *     cel_call_countdown_ms(call, 10000);
 *     ... send ...
 *     cel_call_free(call);
 *
 * Setters keep the first error (no memory, a value out of range); sending reports it. A call may be
 * sent any number of times; each sending is a task of its own unless cel_call_id() fixed the id.
 * A call belongs to one thread at a time. Options mean what Celery's apply_async options mean.
 */
#pragma once

#include "celeriac/value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cel_call;

enum cel_serializer {
    CEL_JSON, /* readable by every Celery; decimal, dates, UUID go as plain text, as Celery 5.2
                 writes them; bytes are refused */
    CEL_JSON_TYPED, /* kombu's typed JSON: needs Celery 5.3 or later on the other side */
    CEL_MSGPACK,    /* needs accept_content = ['json', 'msgpack'] on a Python worker */
};

enum cel_compression {
    CEL_UNCOMPRESSED,
    CEL_ZLIB,  /* what Celery calls gzip and zlib */
    CEL_BZIP2, /* bzip2 */
    CEL_LZMA,  /* lzma: .xz */
    CEL_ZSTD,  /* zstd; Python needs the package zstandard */
};

/* A new call of the task `name` (1 ... 255 bytes of UTF-8). NULL when memory is short. */
CEL_API struct cel_call *cel_call_new(const char *name);
CEL_API struct cel_call *cel_call_free(struct cel_call *call); /* takes NULL, returns NULL */

/* Appends a positional argument / sets a keyword argument. Adopts `value` in every case. */
CEL_API void cel_call_arg(struct cel_call *call, struct cel_value *value);
CEL_API void cel_call_kwarg(struct cel_call *call, const char *name, struct cel_value *value);

/* Fixes the task's id, 1 ... 255 bytes; default: a new UUID each sending. One that comes from what
 * is to be done ("order-42-paid") makes sending again harmless where the client has a dedupe_ms. */
CEL_API void cel_call_id(struct cel_call *call, const char *id);
CEL_API void cel_call_queue(struct cel_call *call,
                            const char *queue); /* default: the client's, "celery" */
/*
 * To every queue that is bound to the exchange by this routing key, direct or topic, instead of a
 * queue; as kombu's consumers have written it down (Celery documentation: "Exchanges, queues, and
 * routing keys"). By cel_send() alone: -EINVAL elsewhere.
 */
CEL_API void
cel_call_exchange(struct cel_call *call, const char *exchange, const char *routing_key);
CEL_API void cel_call_priority(struct cel_call *call, int priority); /* 0 (first) ... 9 (last) */
CEL_API void cel_call_countdown_ms(struct cel_call *call,
                                   int64_t ms); /* start so much after sending */
CEL_API void cel_call_eta_ms(struct cel_call *call,
                             int64_t unix_ms); /* start not before this moment */
CEL_API void cel_call_expires_in_ms(struct cel_call *call,
                                    int64_t ms); /* revoked if not started by then */
CEL_API void cel_call_expires_at_ms(struct cel_call *call, int64_t unix_ms);
CEL_API void cel_call_retries(struct cel_call *call, int64_t retries); /* retries already made */
CEL_API void cel_call_ignore_result(struct cel_call *call, bool ignore);
CEL_API void cel_call_time_limit_ms(struct cel_call *call,
                                    int64_t soft_ms,
                                    int64_t hard_ms); /* 0: the task's own */
CEL_API void cel_call_shadow(struct cel_call *call,
                             const char *name); /* name shown in logs and tools */
CEL_API void
cel_call_header(struct cel_call *call, const char *name, struct cel_value *value); /* adopts */
CEL_API void cel_call_serializer(struct cel_call *call, enum cel_serializer serializer);
CEL_API void cel_call_compression(struct cel_call *call, enum cel_compression compression);
/* For the outbox (outbox.h, cel_db_send): published after all that were put there before with this. */
CEL_API void cel_call_ordered(struct cel_call *call, bool ordered);

/* A call as the message that it becomes (cel_call_message() in client.h). */
struct cel_message {
    char *id, *queue, *text;
    int step; /* of the priority: 0 3 6 9 */
    bool ordered;
};
CEL_API void cel_message_free(struct cel_message *message); /* what it holds; takes NULL */

#ifdef __cplusplus
}
#endif
