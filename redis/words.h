/*
 * What the words of an error reply mean. Redis begins them with a code; each code that asks for
 * more than telling whoever asked has its reaction here.
 */
#pragma once

#include "core/error.h"
#include "core/str.h"

enum redis_reaction {
    REDIS_TELL,  /* whoever asked is told */
    REDIS_LOAD,  /* not run: the script is loaded, then the same is sent again */
    REDIS_PAUSE, /* not run: the same is sent again here, after a pause */
    REDIS_LEAVE, /* not run, nor would anything else be: the same is sent on another connection */
};

struct redis_words {
    const char *code; /* "READONLY"; NULL: none that is known */
    enum redis_reaction reaction;
    int status;         /* CEL_E_AUTH or CEL_E_SERVER, when it is told */
    const char *advice; /* a sentence for the operator, or NULL */
};

/* Never NULL. Finds the code of a command inside a script, too. */
const struct redis_words *redis_words(struct str words);
/* Fills `err` with what is told: the words and the advice. Returns the status. */
int redis_words_error(struct str words, struct cel_error *err);
