/*
 * The commands of results: storing, reading, waiting.
 */
#include "commands/redis_command_priv.h"

int redis_command_store(struct redis_request *request,
                        const struct key_space *space,
                        struct str id,
                        struct str document,
                        usec_t ttl)
{
    struct buf buf =
        script_begin(request, SCRIPT_store, 1, 2, space->prefix.len + id.len + document.len + 64);
    command_add_result(&buf, space, id);
    write_u64(&buf, seconds_up(ttl));
    write_arg(&buf, document);
    return redis_request_finish(request, &buf);
}

int redis_command_store_state(struct redis_request *request,
                              const struct key_space *space,
                              struct str in_flight,
                              const struct broker_claim *claim,
                              struct str id,
                              struct str document,
                              usec_t ttl)
{
    struct buf buf = script_begin(request, SCRIPT_store, in_flight.ptr ? 2 : 1, 3,
                                  space->prefix.len + in_flight.len + id.len + document.len + 96);
    command_add_result(&buf, space, id);
    if (in_flight.ptr)
        write_arg(&buf, in_flight);
    write_u64(&buf, seconds_up(ttl));
    write_arg(&buf, document);
    command_add_tag(&buf, claim);
    return redis_request_finish(request, &buf);
}

static int one_result(struct redis_request *request,
                      struct str command,
                      const struct key_space *space,
                      struct str id)
{
    struct buf buf = write_begin(2, space->prefix.len + id.len + 64);
    write_arg(&buf, command);
    command_add_result(&buf, space, id);
    return redis_request_finish(request, &buf);
}

int redis_command_get(struct redis_request *request, const struct key_space *space, struct str id)
{
    return one_result(request, STR("GET"), space, id);
}

int redis_command_forget(struct redis_request *request,
                         const struct key_space *space,
                         struct str id)
{
    return one_result(request, STR("DEL"), space, id);
}

int redis_command_subscribe(struct redis_request *request,
                            const struct key_space *space,
                            struct str id)
{
    return one_result(request, STR("SUBSCRIBE"), space, id);
}

int redis_command_unsubscribe(struct redis_request *request,
                              const struct key_space *space,
                              struct str id)
{
    return one_result(request, STR("UNSUBSCRIBE"), space, id);
}

bool redis_push_message(const struct redis_reply *push,
                        struct str *ret_channel,
                        struct str *ret_document)
{
    struct str channel = reply_text(reply_item(push, 1));
    struct str document = reply_text(reply_item(push, 2));
    if (!channel.ptr || !document.ptr)
        return false;
    *ret_channel = channel;
    *ret_document = document;
    return true;
}
