/*
 * Messages of remote control and events: what comes over pub/sub, where anybody may write. What begins with
 * '>' is the body of one. Whatever is read can be asked whom it is for, and says the same when it is
 * written (unless it is what no reader would take) and read again.
 */
#include "control/match.h"
#include "message/event.h"
#include "tests/fuzz/fuzz.h"

static void write_again(const struct control_request *request)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4 * WRAPPER_BYTES_MAX);
    struct control_request again;
    if (control_request_encode(&text, request, STR("tag")) < 0)
        return;
    int r = control_request_decode(buf_str(&text), &again, NULL);
    ASSERT(r == 0);
    ASSERT(str_equal(again.method, request->method) && str_equal(again.pattern, request->pattern));
    ASSERT(value_equal(again.arguments, request->arguments));
    ASSERT(value_equal(again.destination, request->destination));
    ASSERT(again.clock == request->clock);
    control_request_deinit(&again);
}

static void try_message(struct str message)
{
    struct control_request request;
    struct control_reply reply;
    struct wrapped wrapped;
    struct cel_value *event = NULL;
    struct cel_error err = {0};
    int r = control_request_decode(message, &request, &err);
    ASSERT(r == 0 || (r < 0 && err.text[0]));
    if (r == 0) {
        r = match_request(STR("w1@host.example"), &request, &err);
        ASSERT(r <= 1);
        write_again(&request);
        control_request_deinit(&request);
    }
    if (control_reply_decode(message, &reply, &wrapped, NULL) == 0)
        wrapped_deinit(&wrapped);
    if (event_decode(message, &event, NULL) == 0)
        cel_value_free(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(WRAPPER_BYTES_MAX);
    if (size == 0 || data[0] != '>') {
        try_message(str_n(data, size));
        return 0;
    }
    const struct wrapper wrapper = {.body_json = str_n(data + 1, size - 1),
                                    .headers_json = STR("\"clock\": 7"),
                                    .exchange = STR("e"),
                                    .routing_key = STR(""),
                                    .delivery_tag = STR("t")};
    int r = wrapper_encode(&message, &wrapper);
    ASSERT(r == 0);
    try_message(buf_str(&message));
    return 0;
}
