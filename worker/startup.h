/*
 * What a worker is told by its settings, in the form in which its parts want it: names of node and
 * queues, and the SETUP of its children.
 */
#pragma once

#include "child/frame.h"
#include "core/process.h"
#include "core/settings.h"
#include "intake/queues.h"
#include "store/ledger.h"
#include "worker/autoscale.h"

struct startup {
    struct settings settings;
    struct config config;
    char *name;    /* name@host, as Celery shows it */
    char *node;    /* <name>:<incarnation>, for the broker */
    char *display; /* the broker's URL without its password */
    struct queue_plans queues;
    struct str *modules;
    size_t module_count;
    enum credit_order order; /* of the queues */
    unsigned concurrency;    /* at the start */
    struct autoscale_bounds autoscale;
    struct frame_setup setup; /* of the children */
    struct frame_pair *settings_pairs, *databases;
    char *routes;
    enum ledger_detail ledger;
    const char *ledger_uri; /* or NULL */
};

/* 0; or the exit status, after one line on stderr. startup_deinit() in either case. Opens the log.
 */
int startup_load(struct startup *startup, int argc, char **argv) MUST_CHECK;
void startup_deinit(struct startup *startup);
/* A new incarnation. */
void startup_rename(struct startup *startup);

/* Replaces %h, %n, %d by the host's name, its first part, the rest, and %% by %; adds "@%h" where
 * there is no "@". The caller frees it. CEL_E_CONFIG for any other %. */
int startup_node_name(const char *pattern,
                      const char *hostname,
                      char **ret_name,
                      struct cel_error *err) MUST_CHECK;
