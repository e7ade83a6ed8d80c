/*
 * One request of remote control under way, for the files that have the commands.
 */
#pragma once

#include "control/control.h"

enum answer {
    ANSWER_NOW,   /* `reply` is set */
    ANSWER_LATER, /* the command calls command_answer() */
    ANSWER_NEVER,
};

struct command {
    struct control *control;
    struct list_link link; /* of those that wait, when `is_waiting` */
    bool is_waiting;
    const char *method;
    const struct cel_value *arguments; /* a map, or NULL; good until the function returns */
    struct cel_value *reply;           /* owned; NULL: null */
    bool is_null;                      /* `reply` NULL is meant, not for want of memory */
    struct str ticket, exchange, key;  /* who asked; key absent: nobody wants an answer */
    char *texts;
};

typedef enum answer command_fn(struct command *command);
struct command_entry {
    const char *name;
    command_fn *run;
};
extern const struct command_entry inspect_commands[]; /* both end with a name that is NULL */
extern const struct command_entry change_commands[];

/* Sends `reply` and frees the command. */
void command_answer(struct command *command);

/* Ways to end a function. */
enum answer answer_value(struct command *command, struct cel_value *reply); /* adopted */
enum answer answer_null(struct command *command);
enum answer answer_ok(struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);
enum answer answer_error(struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);
/* What Python says of an argument that is not there. */
enum answer answer_missing(struct command *command, const char *argument);

/* Arguments; absent or of another type: STR_NONE. */
struct str argument_text(const struct command *command, const char *name);

static inline const struct control_host *host_of(const struct command *command)
{
    return command->control->options.host;
}
static inline void *host_data_of(const struct command *command)
{
    return command->control->options.host_data;
}
