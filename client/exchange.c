#include "client/exchange.h"

#include <errno.h>

#include "core/mem.h"
#include "message/topic.h"

void queue_list_deinit(struct queue_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct queue_list){.items = NULL};
}

static int add(struct queue_list *list, struct str queue)
{
    for (size_t i = 0; i < list->count; i++) {
        if (str_equal(str_of(list->items[i]), queue))
            return 0;
    }
    char **items = mem_grow(list->items, list->count + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count] = str_dup(queue);
    if (!items[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

/* A topic exchange's bindings have a pattern besides their key; it is a regular expression made of
 * that key. */
static bool leads_to(const struct broker_binding *binding, struct str routing_key)
{
    return binding->pattern.len > 0 ? topic_matches(binding->routing_key, routing_key)
                                    : str_equal(binding->routing_key, routing_key);
}

struct find {
    struct client_wait wait;
    struct str routing_key;
    struct queue_list *list;
};

static void on_bindings(void *data,
                        int status,
                        const struct broker_binding *bindings,
                        size_t count,
                        const struct cel_error *err)
{
    struct find *find = data;
    struct cel_error own = {0};
    for (size_t i = 0; status == 0 && i < count; i++) {
        if (leads_to(&bindings[i], find->routing_key) && add(find->list, bindings[i].queue) < 0)
            status = error_no_memory(&own);
    }
    on_client_done(&find->wait, status, own.code ? &own : err);
}

int exchange_find(struct cel_client *client,
                  struct str exchange,
                  struct str routing_key,
                  usec_t deadline_mono,
                  struct queue_list *ret,
                  struct cel_error *err)
{
    struct find find = {.routing_key = routing_key, .list = ret};
    int status = client_wait(
        client, &find.wait,
        broker_bindings(client->broker, exchange, deadline_mono, on_bindings, &find), err);
    if (status == 0 && ret->count == 0)
        status = error_set(err, -ENOENT,
                           "no queue is bound to exchange \"" STR_FORMAT
                           "\" for routing key \"" STR_FORMAT "\"",
                           STR_ARGS(exchange), STR_ARGS(routing_key));
    if (status < 0)
        error_wrap(err, "Not sent");
    return status;
}
