#include "redis/words.h"

enum { WORDS_SHOWN = 300 }; /* the advice behind them has room */
#define NOTHING_WRITTEN "; nothing was written: "
#define NOT_ALLOWED                                                                                \
    "; the user of the URL lacks a permission: ACL LOG on the server names the command or the key"

static const struct redis_words table[] = {
    {"NOSCRIPT", REDIS_LOAD, CEL_E_SERVER, NULL},

    /* A replica, one that has lost its master, one that reads its file, one that was a master until
     * now (this ends a blocking command): the master may be elsewhere, or here in a moment. */
    {"READONLY", REDIS_LEAVE, CEL_E_SERVER, NULL},
    {"MASTERDOWN", REDIS_LEAVE, CEL_E_SERVER, NULL},
    {"LOADING", REDIS_LEAVE, CEL_E_SERVER, NULL},
    {"UNBLOCKED", REDIS_LEAVE, CEL_E_SERVER, NULL},
    {"ERR max number of clients", REDIS_LEAVE, CEL_E_SERVER, NULL},
    /* The user was changed under us: the greeting of the next connection tells whether it may. */
    {"NOAUTH", REDIS_LEAVE, CEL_E_AUTH, NULL},

    {"BUSY", REDIS_PAUSE, CEL_E_SERVER, NULL},
    {"CLUSTERDOWN", REDIS_PAUSE, CEL_E_SERVER, NULL},
    {"TRYAGAIN", REDIS_PAUSE, CEL_E_SERVER, NULL},
    {"NOREPLICAS", REDIS_PAUSE, CEL_E_SERVER, NULL},

    /* These last until somebody acts, and other commands still run. */
    {"OOM", REDIS_TELL, CEL_E_SERVER,
     NOTHING_WRITTEN "the server has reached its maxmemory; raise it, or remove keys"},
    {"MISCONF", REDIS_TELL, CEL_E_SERVER,
     NOTHING_WRITTEN "the server cannot save to its disk; see its log, its folder, the free space"},
    {"WRONGPASS", REDIS_TELL, CEL_E_AUTH, NULL},
    {"NOPERM", REDIS_TELL, CEL_E_AUTH, NOT_ALLOWED},
    /* the same of a command in a script, before Redis 7.2 */
    {"ERR The user executing the script", REDIS_TELL, CEL_E_AUTH, NOT_ALLOWED},
    {"DENIED", REDIS_TELL, CEL_E_AUTH, NULL},
    {"WRONGTYPE", REDIS_TELL, CEL_E_SERVER,
     "; a key of another program is in the way: remove it, or give Celeriac a key_prefix"},
};
static const struct redis_words others = {NULL, REDIS_TELL, CEL_E_SERVER, NULL};

static const struct redis_words *find(struct str words)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        size_t len = strlen(table[i].code);
        if (str_starts(words, str_n(table[i].code, len)) &&
            (words.len == len || words.ptr[len] == ' '))
            return &table[i];
    }
    return NULL;
}

/* Before version 7 a script's error has its own words in front of those of the command that it
 * called: "ERR Error running script (call to f_...): @user_script:1: @user_script: 1: -READONLY
 * You can't ...", or, returned by the script, "@user_script: 1: -READONLY You can't ...". */
static bool is_of_script(struct str words)
{
    return str_starts(words, STR("ERR Error running script")) ||
           str_starts(words, STR("@user_script:"));
}

static const struct redis_words *find_in_script(struct str words)
{
    static const char mark[] = ": -";
    const struct redis_words *found = NULL;
    while (!found && words.len >= sizeof(mark)) {
        const char *at = memmem(words.ptr, words.len, mark, sizeof(mark) - 1);
        if (!at)
            break;
        at += sizeof(mark) - 1;
        words = str_n(at, words.len - (size_t)(at - words.ptr));
        found = find(words);
    }
    return found;
}

const struct redis_words *redis_words(struct str words)
{
    const struct redis_words *found = find(words);
    if (!found && is_of_script(words))
        found = find_in_script(words);
    return found ? found : &others;
}

int redis_words_error(struct str words, struct cel_error *err)
{
    const struct redis_words *known = redis_words(words);
    if (words.len > WORDS_SHOWN)
        words.len = WORDS_SHOWN;
    return error_set(err, known->status, "Redis answered: " STR_FORMAT "%s", STR_ARGS(words),
                     known->advice ? known->advice : "");
}
