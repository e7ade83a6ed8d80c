/*
 * Exchanges: which queues a routing key leads to, by the bindings that kombu's consumers write down.
 */
#pragma once

#include "client/handle.h"

struct queue_list {
    char **items;
    size_t count;
};
void queue_list_deinit(struct queue_list *list);

/*
 * The queues of `exchange` that are bound to `routing_key`, each once: by an equal key, or, in a topic
 * exchange, by a pattern that matches. -ENOENT: there are none; else as for cel_send.
 */
int exchange_find(struct cel_client *client,
                  struct str exchange,
                  struct str routing_key,
                  usec_t deadline_mono,
                  struct queue_list *ret,
                  struct cel_error *err) MUST_CHECK;
