/*
 * What `dead` and `delayed` have in common: an action, what it is done to and where, and what came of
 * it. The data of such a verb begins with a selection: that is how the flags here find it.
 */
#pragma once

#include "cli/table.h"
#include "cli/texts.h"
#include "cli/verb.h"

struct selection {
    const struct verb *verb;
    const char *action; /* one of the verb's */
    struct texts ids, names, queues;
    bool *is_found; /* of each id */
    bool all;
    uint64_t limit; /* rows of a list; 0: all */
    bool is_cut;    /* there was more */
    bool is_json;
    struct table outcome; /* what was done to each queue; no columns: nothing */
};
void selection_deinit(struct selection *selection);

int selection_take_queue(void *data, const char *value, struct cel_error *err);
int selection_take_name(void *data, const char *value, struct cel_error *err);
int selection_take_all(void *data, const char *value, struct cel_error *err);
int selection_take_limit(void *data, const char *value, struct cel_error *err);
#define SELECTION_FLAGS                                                                            \
    {"queue", "NAME", selection_take_queue, "In this queue, again for another; else in all"},      \
        {"name", "PATTERN", selection_take_name,                                                   \
         "Tasks of this name (* and ? stand for others), again for another"},                      \
        {"all", NULL, selection_take_all, "All of them"},                                          \
    {                                                                                              \
        "limit", "N", selection_take_limit, "list: at most so many rows; 1000, 0 is all"           \
    }

/*
 * Takes the arguments: one of `actions` ("list", "drop" ..., NULL behind the last), then ids. 0, or an
 * exit status, said. `has_more` tells that the verb's other flags choose something, too; without any
 * choice only "list" goes on.
 */
int selection_begin(struct selection *selection,
                    const struct verb_context *context,
                    const char *const *actions,
                    bool has_more) MUST_CHECK;
bool selection_does(const struct selection *selection, const char *action);

struct cel_client;
/* Unless queues were named: all that have something dead, or delayed. */
int selection_find_queues(struct selection *selection,
                          struct cel_client *client,
                          bool delayed,
                          struct cel_error *err) MUST_CHECK;

/* Whether ids (`entry` may be absent) and name are chosen. */
bool selection_takes(struct selection *selection,
                     struct str entry,
                     struct str task_id,
                     struct str task);

/* Whether a list has room for one more row, of which `table` has some. */
bool selection_has_room(struct selection *selection, const struct table *table);
/* What was done; `columns` are those of all these calls, the second is the number. */
void selection_add_outcome(struct selection *selection,
                           const struct table_column columns[2],
                           struct str queue,
                           uint64_t count);
/* Prints `table` (or the outcome, when NULL) and what is to be said at the end; an exit status. */
int selection_end(struct selection *selection, const struct table *table);
