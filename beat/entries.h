/*
 * The entries of the configuration: one [beat NAME] section each (docs/beat.md has the keys).
 */
#pragma once

#include "beat/schedule.h"
#include "core/config.h"

struct entries {
    struct entry **items; /* in the order of the file; an entry never moves */
    size_t count;
    struct zones zones;
};

/*
 * Reads every [beat NAME] of `config`. CEL_E_CONFIG with place, section, key and reason, also when
 * there is none; -ENOMEM. On failure nothing needs entries_deinit. The entries borrow from
 * `config`.
 */
int entries_load(const struct config *config,
                 struct entries *ret,
                 struct cel_error *err) MUST_CHECK;
void entries_deinit(struct entries *entries); /* takes NULL */
