/* A good module that cannot start without a setting. */
#include <celeriac/task.h>

static int secret_length(struct cel_task *task)
{
    const char *secret = cel_setting(task, "needy_secret");
    int64_t length = 0;
    while (secret[length])
        length++;
    return cel_return(task, cel_int(length));
}

CEL_TASKS({.name = "needy.secret_length", .run = secret_length, .params = ""});
CEL_SETTINGS({.name = "needy_secret", .help = "the word that opens the door"},
             {.name = "probe_greeting", .otherwise = "good day"});
