/*
 * All settings of the program: one table (settings.c) that feeds the INI file, the environment, the
 * command line of each verb, --help and docs/operations.md. Every verb reads the same file, so
 * every verb knows every key.
 */
#pragma once

#include "core/config.h"

/* Which verbs take an option as a flag. */
enum {
    VERB_WORKER = 1 << 0,
    VERB_BEAT = 1 << 1,
    VERB_CALL = 1 << 2,
    VERB_RESULT = 1 << 3,
    VERB_QUEUES = 1 << 4,
    VERB_PURGE = 1 << 5,
    VERB_MIGRATE = 1 << 6,
    VERB_DEMO = 1 << 7,
    VERB_REVOKE = 1 << 8,
    VERB_AUDIT = 1 << 9,
    VERB_DEAD = 1 << 10,
    VERB_DELAYED = 1 << 11,
    VERB_HISTORY = 1 << 12,
    VERB_INSPECT = 1 << 13,
    VERB_CONTROL = 1 << 14,
    VERB_STATUS = 1 << 15,
    VERB_ALL = (1 << 16) - 1,
};

/* Times and sizes are zero where that switches something off; no string is NULL. */
struct settings {
    char *config_file; /* CELERIAC_CONFIG, --config; empty: none */

    /* [celeriac] */
    char *broker_url;     /* CELERIAC_BROKER_URL, CELERY_BROKER_URL, --broker -b */
    char *result_backend; /* CELERIAC_RESULT_BACKEND, CELERY_RESULT_BACKEND, --result-backend;
                              empty: the broker; "disabled"; "django-db", "db+postgresql://..." */
    char *
        result_tables; /* CELERIAC_RESULT_TABLES; PostgreSQL that has rows of results beside Redis */
    char *master_name; /* of sentinel:// URLs that name none: CELERIAC_MASTER_NAME */
    char *sentinel_username;
    char *sentinel_password; /* of the sentinels themselves: CELERIAC_SENTINEL_PASSWORD */
    usec_t result_expires;   /* 1d; 0: never */
    usec_t revoke_expires;   /* how long a revocation is remembered; 1d */
    char *key_prefix;        /* global_keyprefix */
    char *fanout_prefix;     /* of channels of events and remote control: "/{db}." */
    char *default_queue;     /* "celery" */
    char *log_level;         /* CELERIAC_LOG_LEVEL, -l --loglevel; info */
    char *log_format; /* CELERIAC_LOG_FORMAT, --log-format: text, logfmt, json; empty: text on a
                         terminal, else logfmt */

    /* [database]: free section, name = URI; this one, when not empty, is "default" */
    char *database_url; /* CELERIAC_DATABASE_URL, --database */

    /* [worker] */
    char *modules;                /* -A --app, list */
    char *queues;                 /* -Q --queues, list; empty: default_queue */
    char *queue_order;            /* --queue-order: round_robin, sorted, priority (strict) */
    int64_t concurrency;          /* -c --concurrency; 0: number of processors; 1 ... 1024 */
    char *node_name;              /* -n --hostname: "celery@%h" */
    char *autoscale;              /* --autoscale MAX,MIN; empty: concurrency, and so it stays */
    usec_t autoscale_keepalive;   /* AUTOSCALE_KEEPALIVE; 30 s */
    int64_t max_tasks_per_child;  /* --max-tasks-per-child; 0: no limit */
    int64_t max_memory_per_child; /* --max-memory-per-child; KiB; 0: no limit */
    usec_t soft_time_limit;       /* --soft-time-limit; 0: none */
    usec_t hard_time_limit;       /* --time-limit; 0: none */
    usec_t warm_shutdown_limit;   /* after that a warm shutdown turns cold; 0: never */
    usec_t database_max_age;      /* 600 s */
    int64_t dead_max;             /* quarantine entries kept a queue: 10000 */
    usec_t dead_max_age;          /* 0: whatever their age */
    usec_t lease;                 /* --lease; 15 s */
    int64_t max_deliveries;       /* 10; 0: any number */
    bool track_ids;               /* --track-ids: a ledger for `celeriac audit --ids` */
    bool track_started;           /* STARTED is stored, whatever the task says */
    bool result_extended;         /* documents have name, arguments, worker, retries, queue */
    char *ledger;                 /* --ledger: off, summary, full */
    char *ledger_database;        /* [database] name: "default" */
    int64_t ledger_days;          /* 30 */
    int64_t ledger_backlog;       /* attempts that wait for PostgreSQL: 50000 */
    bool task_events;             /* -E --task-events: tell monitors of each task */
    bool without_heartbeat;       /* --without-heartbeat: no events of the worker */
    bool remote_control;          /* --no-remote-control: obeys Celery's commands */

    /* [beat] */
    usec_t beat_max_interval; /* --max-interval; 5 min */

    /* what asks and does not stay: `call`, `queues`, `dead` ... */
    bool json;         /* --json */
    usec_t timeout;    /* --timeout: 5 s */
    char *destination; /* -d --destination, list; empty: all nodes */
};

extern const struct option settings_options[];
extern const size_t settings_option_count;
/* The URI of the database "default": database_url, or [database] default; NULL when there is none. */
const char *settings_database(const struct settings *settings, const struct config *config);
/* The same of any name. */
const char *settings_database_named(const struct settings *settings,
                                    const struct config *config,
                                    const char *name);
/* The section [routes] as text, "shop.* = shop, mail.send = mail"; freed by the caller. */
char *settings_routes(const struct config *config);
extern const char *const settings_free_sections[]; /* "settings", "database", "routes", "beat *" */

/* One of `queues`: "mail", or "mail:5" with a weight (1 ... 1000, else CEL_E_CONFIG). `*ret_weight`
 * 0: it has none. A name that ends in a colon and digits needs its weight. */
int settings_queue(struct str item,
                   struct str *ret_name,
                   unsigned *ret_weight,
                   struct cel_error *err) MUST_CHECK;

/*
 * Loads everything for one verb: the file is --config FILE, else $CELERIAC_CONFIG, else none. What
 * config_load leaves over stands in `config->arguments`, for VERB_CALL with unknown --flags. Sets
 * up `config` itself; config_deinit frees it and every string of `settings`, also after a failure.
 */
int settings_load(struct settings *settings,
                  struct config *config,
                  unsigned verb,
                  int argc,
                  char **argv,
                  struct cel_error *err) MUST_CHECK;
