#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "redis/words.h"

#define SCRIPT_OF_6                                                                                \
    "ERR Error running script (call to f_4ca23e83): @user_script:1: @user_script: 1: "
#define SCRIPT_OF_7 " script: f_4ca23e83, on @user_script:1."

static void every_code_has_its_reaction(void **state)
{
    static const struct {
        const char *words;
        enum redis_reaction reaction;
        int status;
        const char *code;
    } cases[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", REDIS_LOAD, CEL_E_SERVER, "NOSCRIPT"},
        {"READONLY You can't write against a read only replica.", REDIS_LEAVE, CEL_E_SERVER,
         "READONLY"},
        {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
         REDIS_LEAVE, CEL_E_SERVER, "MASTERDOWN"},
        {"LOADING Redis is loading the dataset in memory", REDIS_LEAVE, CEL_E_SERVER, "LOADING"},
        {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
         "replica?)",
         REDIS_LEAVE, CEL_E_SERVER, "UNBLOCKED"},
        {"ERR max number of clients reached", REDIS_LEAVE, CEL_E_SERVER,
         "ERR max number of clients"},
        {"NOAUTH Authentication required.", REDIS_LEAVE, CEL_E_AUTH, "NOAUTH"},
        {"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
         REDIS_PAUSE, CEL_E_SERVER, "BUSY"},
        {"CLUSTERDOWN Hash slot not served", REDIS_PAUSE, CEL_E_SERVER, "CLUSTERDOWN"},
        {"TRYAGAIN Multiple keys request during rehashing of slot", REDIS_PAUSE, CEL_E_SERVER,
         "TRYAGAIN"},
        {"NOREPLICAS Not enough good replicas to write.", REDIS_PAUSE, CEL_E_SERVER, "NOREPLICAS"},
        {"OOM command not allowed when used memory > 'maxmemory'.", REDIS_TELL, CEL_E_SERVER,
         "OOM"},
        {"MISCONF Redis is configured to save RDB snapshots", REDIS_TELL, CEL_E_SERVER, "MISCONF"},
        {"WRONGPASS invalid username-password pair", REDIS_TELL, CEL_E_AUTH, "WRONGPASS"},
        {"NOPERM this user has no permissions", REDIS_TELL, CEL_E_AUTH, "NOPERM"},
        {"DENIED Redis is running in protected mode", REDIS_TELL, CEL_E_AUTH, "DENIED"},

        {"READONLY", REDIS_LEAVE, CEL_E_SERVER, "READONLY"},
        {"READONLY You can't write against a read only replica." SCRIPT_OF_7, REDIS_LEAVE,
         CEL_E_SERVER, "READONLY"},
        {SCRIPT_OF_6 "-READONLY You can't write against a read only replica.", REDIS_LEAVE,
         CEL_E_SERVER, "READONLY"},
        {SCRIPT_OF_6 "-OOM command not allowed when used memory > 'maxmemory'.", REDIS_TELL,
         CEL_E_SERVER, "OOM"},
        {SCRIPT_OF_6 "-MISCONF Redis is configured to save RDB snapshots", REDIS_TELL, CEL_E_SERVER,
         "MISCONF"},
        {SCRIPT_OF_6 "-NOREPLICAS Not enough good replicas to write.", REDIS_PAUSE, CEL_E_SERVER,
         "NOREPLICAS"},
        {SCRIPT_OF_6 "-WRONG: -BUSY x", REDIS_PAUSE, CEL_E_SERVER, "BUSY"},
        {"@user_script: 41: -READONLY You can't write against a read only replica.", REDIS_LEAVE,
         CEL_E_SERVER, "READONLY"},

        {"", REDIS_TELL, CEL_E_SERVER, NULL},
        {"ERR", REDIS_TELL, CEL_E_SERVER, NULL},
        {"WRONGTYPE Operation against a key", REDIS_TELL, CEL_E_SERVER, "WRONGTYPE"},
        {"ERR The user executing the script can't run this command or subcommand" SCRIPT_OF_7,
         REDIS_TELL, CEL_E_AUTH, "ERR The user executing the script"},
        {"BUSYGROUP Consumer Group name already exists", REDIS_TELL, CEL_E_SERVER, NULL},
        {"BUSYKEY Target key name already exists.", REDIS_TELL, CEL_E_SERVER, NULL},
        {"readonly x", REDIS_TELL, CEL_E_SERVER, NULL},
        {"READONL", REDIS_TELL, CEL_E_SERVER, NULL},
        {" READONLY x", REDIS_TELL, CEL_E_SERVER, NULL},
        {"ERR unknown command 'a: -READONLY x'", REDIS_TELL, CEL_E_SERVER, NULL},
        {SCRIPT_OF_6 "WRONGTYPE Operation", REDIS_TELL, CEL_E_SERVER, NULL},
        {SCRIPT_OF_6 "-", REDIS_TELL, CEL_E_SERVER, NULL},
        {SCRIPT_OF_6 ": -: -: -", REDIS_TELL, CEL_E_SERVER, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct redis_words *words = redis_words(str_of(cases[i].words));
        struct cel_error err = {0};
        if (words->reaction != cases[i].reaction || words->status != cases[i].status ||
            !words->code != !cases[i].code || (words->code && strcmp(words->code, cases[i].code)))
            fail_msg("%s: %s", cases[i].words, words->code ? words->code : "(none)");
        assert_int_equal(redis_words_error(str_of(cases[i].words), &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].words));
    }
    assert_null(redis_words(STR_NONE)->code);
}

static void the_operator_is_told_what_to_do(void **state)
{
    static char flood[2000] = "OOM ";
    struct cel_error err;
    (void)state;
    redis_words_error(STR("OOM command not allowed"), &err);
    assert_non_null(strstr(err.text, "nothing was written"));
    assert_non_null(strstr(err.text, "maxmemory; raise it"));
    redis_words_error(STR("MISCONF Redis is configured"), &err);
    assert_non_null(strstr(err.text, "nothing was written"));
    assert_non_null(strstr(err.text, "disk"));
    redis_words_error(STR("NOPERM this user has no permissions"), &err);
    assert_non_null(strstr(err.text, "ACL LOG"));
    redis_words_error(STR("WRONGTYPE celery is a string and no list"), &err);
    assert_non_null(strstr(err.text, "remove it"));
    memset(flood + 4, 'x', sizeof(flood) - 5);
    redis_words_error(str_of(flood), &err);
    assert_non_null(strstr(err.text, "remove keys"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_reaction),
        cmocka_unit_test(the_operator_is_told_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
