/*
 * Texts, copied, that live as long as a verb needs them.
 */
#pragma once

#include "core/str.h"

struct texts {
    struct str *items;
    size_t count, cap;
};

struct str texts_add(struct texts *texts, struct str text); /* the copy */
void texts_clear(struct texts *texts);
void texts_deinit(struct texts *texts);
