#include "cli/queue_names.h"

#include "core/mem.h"

void queue_names_deinit(struct queue_names *names)
{
    mem_free(names->items);
}

static void add(struct queue_names *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (str_equal(names->items[i], name))
            return;
    }
    names->items = xgrow(names->items, names->count + 1, sizeof(*names->items));
    names->items[names->count++] = name;
}

void queue_names_of(struct queue_names *names, const struct verb_context *context)
{
    for (size_t i = 0; i < context->config.argument_count; i++)
        add(names, str_of(context->config.arguments[i]));
    struct str rest = str_of(context->settings.queues), name;
    while (str_split(&rest, ',', &name)) {
        struct str item = str_trim(name);
        unsigned weight; /* is the workers' affair */
        if (settings_queue(item, &name, &weight, NULL) < 0)
            name = item;
        if (name.len > 0)
            add(names, name);
    }
}
