/*
 * `celeriac demo`: the whole project at work for half a minute, on private servers. demo.c starts
 * and ends the processes and waits; demo_figures.c counts and prints what came of it.
 */
#pragma once

#include "celeriac/client.h"
#include "core/clock.h"
#include "core/error.h"

enum { DEMO_ORDERS = 500 };

struct demo_order {
    char id[CEL_ID_SIZE];
    usec_t sent_wall;
    usec_t latency;   /* sent to result stored; 0: not ended */
    int64_t attempts; /* of a success */
    bool ended, failed;
};

struct demo_figures {
    struct demo_order orders[DEMO_ORDERS];
    size_t ended, failed;
    usec_t begun_mono, ended_mono;
};

/* Looks at the results that were still missing; 0 or a negative code. */
int demo_collect(struct cel_client *client, struct demo_figures *figures, struct cel_error *err);
/* The mails in `folder`. */
size_t demo_count_mails(const char *folder);
/* The progress line (redrawn on a terminal, now and then elsewhere). */
void demo_progress(const struct demo_figures *figures, size_t mails);
/* The summary table. Returns whether all numbers add up in SQL; negative when SQL cannot be asked.
 */
int demo_summary(const struct demo_figures *figures,
                 size_t mails,
                 const char *database_url,
                 struct cel_error *err);

int demo_main(int argc, char **argv);
