/*
 * A signature made ready to be sent, in place: every task, group and chord in it has its id, chains
 * within chains and groups within groups are one, a group that something follows is the header of a
 * chord, and the options of what holds others stand where they take effect. Doing it twice changes
 * nothing.
 */
#pragma once

#include "core/error.h"
#include "core/value.h"

/* What a signature is a member of, or belongs to as the last of it. */
struct member {
    struct str group;
    bool has_index;
    int64_t index;
    const struct cel_value *chord; /* the body, or NULL in a plain group */
};

/* `signature` is a copy of the caller's own that signature_check found good. CEL_E_LIMIT, -ENOMEM;
 * -EINVAL, a chain without tasks. */
int freeze(struct cel_value *signature, struct cel_error *err) MUST_CHECK;

/* Of a frozen signature: */

/* How many ends it has: one for a task, those of the last of a chain, of all of a group, of the body of
 * a chord. */
size_t freeze_size(const struct cel_value *signature);
/* Its end belongs to a group or a chord: sets group_id, group_index and chord there. -ENOMEM. */
int freeze_join(struct cel_value *signature, const struct member *member) MUST_CHECK;
/* Its end has this id, whatever it had; nothing when it ends in a group. -ENOMEM. */
int freeze_rename(struct cel_value *signature, struct str id) MUST_CHECK;
/* What is to run after all of it: a list in the order of a message's chain, the next one last; adopted.
 * What its option `chain` has runs before. -ENOMEM. */
int freeze_continue(struct cel_value *signature, struct cel_value *rest) MUST_CHECK;
/* Makes a chord of a group and what follows it; adopts both, and NULL as "memory was short". */
struct cel_value *freeze_upgrade(struct cel_value *group, struct cel_value *body);
