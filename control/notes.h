/*
 * What this node was told and shall still know in its next life: rate limits, and queues that are consumed
 * or not, other than its settings say. Noted in Redis under its name, read and done again before it claims
 * anything.
 */
#pragma once

#include "control/command.h"

/* The command was done: the answer that it has goes out when this is noted, with an error if it cannot be.
 * Value absent: struck out. */
enum answer notes_keep(struct command *command, struct str kind, struct str name, struct str value);
#define NOTE_RATE      STR("rate_limit:")
#define NOTE_QUEUE     STR("queue:")
#define NOTE_CONSUMED  STR("consumed")
#define NOTE_CANCELLED STR("cancelled")
