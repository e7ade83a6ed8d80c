/* What a task sees of its own message. */
#include "conformance.h"

#include <stdio.h>

static struct cel_value *text_or_null(const char *text)
{
    return text ? cel_text(text) : cel_null();
}

/* [root_id, parent_id, i] */
static struct cel_value *own_ids(struct cel_task *task)
{
    const struct cel_request *request = cel_request(task);
    struct cel_value *list = cel_list();
    cel_list_add(list, text_or_null(request->root_id));
    cel_list_add(list, text_or_null(request->parent_id));
    cel_list_add(list, cel_value_dup(cel_arg_value(task, "i")));
    return list;
}

int ids(struct cel_task *task)
{
    return cel_return(task, own_ids(task));
}

int collect_ids(struct cel_task *task)
{
    struct cel_value *list = cel_list();
    cel_list_add(list, cel_value_dup(cel_arg_value(task, "res")));
    cel_list_add(list, own_ids(task));
    return cel_return(task, list);
}

int return_priority(struct cel_task *task)
{
    char text[32];
    snprintf(text, sizeof(text), "Priority: %d", cel_request(task)->priority);
    return cel_return(task, cel_text(text));
}

int return_properties(struct cel_task *task)
{
    return cel_return(task, cel_value_dup(cel_properties(task)));
}
