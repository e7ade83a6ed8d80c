/*
 * Requests for the unit tests of the supervisor, made from messages as they stand on the wire.
 */
#pragma once

#include "worker/request.h"

/* An envelope of the task shop.add with id "id-1", no arguments; `headers` (may be "") is put among
 * the headers, beginning with ", ". Static memory, until the next call. */
const char *message_with(const char *headers);
/* A request that holds `message`, with the rules of `task` (NULL: not set); still CLAIMED. */
struct request *
request_with(struct requests *requests, const char *message, const struct frame_task *task);
/* Rules as a child announces them: three retries, 180 s. */
struct frame_task task_rules(void);
