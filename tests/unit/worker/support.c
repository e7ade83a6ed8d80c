#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

const char *message_with(const char *headers)
{
    static char message[4096];
    snprintf(
        message, sizeof(message),
        "{\"body\": \"W1tdLCB7fSwge31d\", \"content-encoding\": \"utf-8\", "
        "\"content-type\": \"application/json\", "
        "\"headers\": {\"task\": \"shop.add\", \"id\": \"id-1\"%s}, "
        "\"properties\": {\"correlation_id\": \"id-1\", \"reply_to\": \"r\", "
        "\"delivery_mode\": 2, \"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"q\"}, "
        "\"priority\": 4, \"body_encoding\": \"base64\", \"delivery_tag\": \"t-1\"}}",
        headers);
    return message;
}

struct request *
request_with(struct requests *requests, const char *message, const struct frame_task *task)
{
    struct broker_claim claim = {.queue = STR("q"), .tag = 7, .step = 3};
    struct request *request = request_new(requests, &claim, str_of(message));
    struct cel_error err = {0};
    assert_non_null(request);
    assert_int_equal(request_read(request, &err), 0);
    request->job.seq = 5;
    if (task)
        request_set_rules(request, task, 0, 0);
    return request;
}

struct frame_task task_rules(void)
{
    return (struct frame_task){.name = STR("shop.add"),
                               .queue = STR("celery"),
                               .max_retries = 3,
                               .retry_delay = 180 * USEC_PER_SEC,
                               .retry_delay_max = 600 * USEC_PER_SEC,
                               .max_crashes = 2};
}
