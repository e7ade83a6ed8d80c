/*
 * The commands of remote control as the command line has them: their names, their arguments.
 */
#pragma once

#include "celeriac/value.h"
#include "cli/verb.h"

enum remote_kind {
    REMOTE_ANSWERED,
    REMOTE_SILENT,  /* it is not answered */
    REMOTE_REVOKES, /* --terminate and --signal mean something */
};

struct remote_command {
    const char *name;
    /*
     * Its arguments in their order: "task_name rate_limit", each with what it is behind it: none, a text;
     * "#", a number; "?", may be missing; "*", all that follow, a list.
     */
    const char *arguments;
    const char *summary;
    enum remote_kind kind;
};

/* Both end with one whose name is NULL. */
extern const struct remote_command remote_inspect[];
extern const struct remote_command remote_control[];

const struct remote_command *remote_command_find(const struct remote_command *commands,
                                                 const char *name);
/* The words of the command line as the map of arguments that is sent. CEL_E_CONFIG. */
int remote_command_arguments(const struct remote_command *command,
                             char **words,
                             size_t count,
                             struct cel_value **ret_arguments_take,
                             struct cel_error *err) MUST_CHECK;
/* One line for each. */
void remote_command_list(struct buf *buf, const struct remote_command *commands);
