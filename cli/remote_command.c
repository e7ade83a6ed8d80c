#include "cli/remote_command.h"

#include <errno.h>

#include "core/mem.h"

const struct remote_command remote_inspect[] = {
    {"ping", "", "Nodes that are there", REMOTE_ANSWERED},
    {"active", "", "Tasks that run", REMOTE_ANSWERED},
    {"reserved", "", "Tasks that were fetched and have not begun", REMOTE_ANSWERED},
    {"scheduled", "", "Tasks that wait for their time", REMOTE_ANSWERED},
    {"query_task", "ids*", "Where these tasks are", REMOTE_ANSWERED},
    {"revoked", "", "Ids of revoked tasks", REMOTE_ANSWERED},
    {"registered", "taskinfoitems*?", "Tasks that can be run, with those of their attributes",
     REMOTE_ANSWERED},
    {"active_queues", "", "Queues that are consumed", REMOTE_ANSWERED},
    {"stats", "", "Counts, pool and broker", REMOTE_ANSWERED},
    {"conf", "", "Settings", REMOTE_ANSWERED},
    {"report", "", "A text about the node", REMOTE_ANSWERED},
    {"clock", "", "Logical clocks", REMOTE_ANSWERED},
    {"memsample", "", "Memory in use", REMOTE_ANSWERED},
    {NULL, NULL, NULL, REMOTE_ANSWERED},
};

const struct remote_command remote_control[] = {
    {"revoke", "task_id*", "Keep tasks from running", REMOTE_REVOKES},
    {"terminate", "signal task_id*", "The same, and end those that run by that signal",
     REMOTE_ANSWERED},
    {"revoke_by_stamped_headers", "headers*", "The same for all with a stamp: NAME=VALUE",
     REMOTE_REVOKES},
    {"rate_limit", "task_name rate_limit", "So many of a task: 10/s, 10/m, 10/h; 0: any number",
     REMOTE_ANSWERED},
    {"time_limit", "task_name soft# hard#?", "Seconds that a task may take", REMOTE_ANSWERED},
    {"add_consumer", "queue exchange? exchange_type? routing_key?", "Consume a queue",
     REMOTE_ANSWERED},
    {"cancel_consumer", "queue", "Consume a queue no more", REMOTE_ANSWERED},
    {"enable_events", "", "Tell monitors of tasks", REMOTE_ANSWERED},
    {"disable_events", "", "Tell monitors of tasks no more", REMOTE_ANSWERED},
    {"heartbeat", "", "Have a heartbeat sent", REMOTE_ANSWERED},
    {"pool_grow", "n#?", "More processes", REMOTE_ANSWERED},
    {"pool_shrink", "n#?", "Less processes", REMOTE_ANSWERED},
    {"autoscale", "max#? min#?", "Bounds of the number of processes", REMOTE_ANSWERED},
    {"pool_restart", "modules*?", "New processes with new code", REMOTE_ANSWERED},
    {"shutdown", "", "Warm stop", REMOTE_SILENT},
    {NULL, NULL, NULL, REMOTE_ANSWERED},
};

const struct remote_command *remote_command_find(const struct remote_command *commands,
                                                 const char *name)
{
    for (; commands->name; commands++) {
        if (strcmp(commands->name, name) == 0)
            return commands;
    }
    return NULL;
}

/* One argument as the table has it. */
struct argument {
    char *name;
    bool is_number, is_optional, is_list;
};

static struct argument read_argument(struct str text)
{
    struct argument argument = {.name = NULL};
    for (; text.len > 0 && strchr("#?*", text.ptr[text.len - 1]); text.len--) {
        argument.is_number |= text.ptr[text.len - 1] == '#';
        argument.is_optional |= text.ptr[text.len - 1] == '?';
        argument.is_list |= text.ptr[text.len - 1] == '*';
    }
    argument.name = xalloc(text.len + 1);
    memcpy(argument.name, text.ptr, text.len);
    return argument;
}

static int set_number(struct cel_value *map,
                      const struct argument *argument,
                      const char *word,
                      struct cel_error *err)
{
    int64_t whole;
    double number;
    if (str_parse_i64(str_of(word), &whole) == 0)
        ASSERT(!cel_map_set(map, argument->name, cel_int(whole)));
    else if (str_parse_double(str_of(word), &number) == 0)
        ASSERT(!cel_map_set(map, argument->name, cel_float(number)));
    else
        return error_set(err, CEL_E_CONFIG, "%s: \"%s\" is no number", argument->name, word);
    return 0;
}

static int
set_text(struct cel_value *map, const char *name, const char *word, struct cel_error *err)
{
    int r = cel_map_set(map, name, cel_text(word));
    return r < 0 ? error_set(err, CEL_E_CONFIG, "%s: it is not UTF-8", name) : 0;
}

static int
set_list(struct cel_value *map, const char *name, char **words, size_t count, struct cel_error *err)
{
    struct cel_value *list = cel_list();
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        r = cel_list_add(list, cel_text(words[i]));
    if (r == 0)
        return cel_map_set(map, name, list);
    cel_value_free(list);
    return error_set(err, CEL_E_CONFIG, "%s: it is not UTF-8", name);
}

/* Takes what the argument needs from the words at `*at`. */
static int take(struct cel_value *map,
                const struct argument *argument,
                char **words,
                size_t count,
                size_t *at,
                struct cel_error *err)
{
    size_t first = *at;
    if (first == count)
        return argument->is_optional
                   ? 0
                   : error_set(err, CEL_E_CONFIG, "%s is missing", argument->name);
    if (argument->is_list) {
        *at = count;
        return set_list(map, argument->name, words + first, count - first, err);
    }
    ++*at;
    return argument->is_number ? set_number(map, argument, words[first], err)
                               : set_text(map, argument->name, words[first], err);
}

int remote_command_arguments(const struct remote_command *command,
                             char **words,
                             size_t count,
                             struct cel_value **ret_arguments_take,
                             struct cel_error *err)
{
    struct cel_value *map = cel_map();
    struct str rest = str_of(command->arguments), text;
    size_t at = 0;
    int r = 0;
    while (r == 0 && rest.len > 0 && str_split(&rest, ' ', &text)) {
        struct argument argument = read_argument(text);
        r = take(map, &argument, words, count, &at, err);
        mem_free(argument.name);
    }
    if (r == 0 && at < count)
        r = error_set(err, CEL_E_CONFIG, "\"%s\" is one argument too many", words[at]);
    if (r < 0) {
        cel_value_free(map);
        return r;
    }
    *ret_arguments_take = map;
    return 0;
}

/* "TASK_NAME SOFT [HARD]" */
static void add_signature(struct buf *buf, const char *arguments)
{
    struct str rest = str_of(arguments), text;
    while (rest.len > 0 && str_split(&rest, ' ', &text)) {
        struct argument argument = read_argument(text);
        buf_add_c(buf, argument.is_optional ? " [" : " ");
        for (const char *c = argument.name; *c; c++)
            buf_add_char(buf, (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
        buf_add_c(buf, argument.is_list ? "..." : "");
        buf_add_c(buf, argument.is_optional ? "]" : "");
        mem_free(argument.name);
    }
}

void remote_command_list(struct buf *buf, const struct remote_command *commands)
{
    for (; commands->name; commands++) {
        CLEANUP(buf_deinit) struct buf left = BUF_INIT(256);
        buf_add_c(&left, commands->name);
        add_signature(&left, commands->arguments);
        buf_addf(buf, "  %-42s %s\n", left.ptr, commands->summary);
    }
}
