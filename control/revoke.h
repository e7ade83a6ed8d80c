/*
 * The commands that revoke. Redis remembers what they revoke for as long as `celeriac revoke` would have
 * it (revoke_expires), and each worker reads it there; the answer comes when Redis has it.
 */
#pragma once

#include "control/command.h"

enum answer revoke_run(struct command *command);
enum answer revoke_terminate(struct command *command);
enum answer revoke_stamped(struct command *command);
/* What another worker knows to be revoked, a map by id: those that are new here are revoked for all. */
void revoke_take_over(struct control *control, const struct cel_value *revoked);
