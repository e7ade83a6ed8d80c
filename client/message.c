/*
 * A call as a message for those who bring it to its queue by another way than this library's
 * connection (celeriac/outbox.h).
 */
#include "client/handle.h"
#include "core/id.h"
#include "message/call.h"

int cel_call_message(const struct cel_call *call,
                     const char *queue,
                     struct cel_message *ret,
                     struct cel_error *err)
{
    char id[UUID_SIZE], tag[UUID_SIZE], origin[CLIENT_ORIGIN_SIZE];
    const struct call_context context = {
        .id = uuid_new(id),
        .delivery_tag = uuid_new(tag),
        .default_queue = queue ? str_of(queue) : STR("celery"),
        .origin = client_origin(origin),
        .now_wall = clock_wall(),
    };
    return call_message(call, &context, ret, err);
}
