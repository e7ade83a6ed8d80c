/*
 * Patterns of routing keys, as kombu's topic exchange matches them.
 */
#pragma once

#include "core/str.h"

/*
 * "order.*.paid", "order.#". A star is at least one character and does not end with a dot, a hash is
 * anything: kombu's star spans dots, unlike AMQP's.
 */
bool topic_matches(struct str pattern, struct str routing_key);
