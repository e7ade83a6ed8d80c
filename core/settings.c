#include "core/settings.h"

#include "core/buf.h"
#include "core/mem.h"

#define FIELD(name)  .offset = offsetof(struct settings, name)
#define ASKS_WORKERS (VERB_INSPECT | VERB_CONTROL | VERB_STATUS)
#define ASKS_REDIS                                                                                 \
    (VERB_CALL | VERB_RESULT | VERB_QUEUES | VERB_PURGE | VERB_REVOKE | VERB_AUDIT | VERB_DEAD |   \
     VERB_DELAYED | ASKS_WORKERS)
#define DAEMONS (VERB_WORKER | VERB_BEAT)

const struct option settings_options[] = {
    {FIELD(config_file), .type = OPTION_STRING, .otherwise = "", .env = {"CELERIAC_CONFIG"},
     .flag = "config", .argument = "FILE",
     .verbs = DAEMONS | ASKS_REDIS | VERB_MIGRATE | VERB_HISTORY, .help = "Read this INI file"},
    {FIELD(broker_url), .section = "celeriac", .key = "broker_url", .type = OPTION_STRING,
     .otherwise = "redis://localhost:6379/0", .min = 1, .max = 4096,
     .env = {"CELERIAC_BROKER_URL", "CELERY_BROKER_URL"}, .flag = "broker", .short_flag = 'b',
     .argument = "URL", .verbs = DAEMONS | ASKS_REDIS, .secret = true,
     .help = "Redis that holds the queues"},
    {FIELD(result_backend), .section = "celeriac", .key = "result_backend", .type = OPTION_STRING,
     .otherwise = "", .env = {"CELERIAC_RESULT_BACKEND", "CELERY_RESULT_BACKEND"},
     .flag = "result-backend", .argument = "URL",
     .verbs = DAEMONS | VERB_CALL | VERB_RESULT | VERB_DELAYED | VERB_AUDIT, .secret = true,
     .help = "Redis that holds the results; empty: the broker; disabled: no results; "
             "db+postgresql://... "
             "or django-db: Django's table"},
    {FIELD(result_tables), .section = "celeriac", .key = "result_tables", .type = OPTION_STRING,
     .otherwise = "", .env = {"CELERIAC_RESULT_TABLES"}, .secret = true,
     .help =
         "PostgreSQL with Django's table of results, which is written beside Redis; django-db: the "
         "database \"default\""},
    {FIELD(master_name), .section = "celeriac", .key = "master_name", .type = OPTION_STRING,
     .otherwise = "", .env = {"CELERIAC_MASTER_NAME"},
     .help = "Name of the master that sentinel:// URLs without ?master_name= mean"},
    {FIELD(sentinel_username), .section = "celeriac", .key = "sentinel_username",
     .type = OPTION_STRING, .otherwise = "", .env = {"CELERIAC_SENTINEL_USERNAME"},
     .help = "User for the sentinels themselves; the URL's is for the Redis behind them"},
    {FIELD(sentinel_password), .section = "celeriac", .key = "sentinel_password",
     .type = OPTION_STRING, .otherwise = "", .env = {"CELERIAC_SENTINEL_PASSWORD"}, .secret = true,
     .help = "Password for the sentinels themselves"},
    {FIELD(result_expires), .section = "celeriac", .key = "result_expires", .type = OPTION_DURATION,
     .otherwise = "1d", .help = "How long a result is kept; 0: for ever"},
    {FIELD(revoke_expires), .section = "celeriac", .key = "revoke_expires", .type = OPTION_DURATION,
     .otherwise = "1d", .min = (int64_t)USEC_PER_SEC, .max = 3650 * 86400 * (int64_t)USEC_PER_SEC,
     .flag = "expires", .argument = "TIME", .verbs = VERB_REVOKE,
     .help = "How long a revocation is remembered"},
    {FIELD(key_prefix), .section = "celeriac", .key = "key_prefix", .type = OPTION_STRING,
     .otherwise = "", .help = "Stands before every Redis key, as Celery's global_keyprefix"},
    {FIELD(fanout_prefix), .section = "celeriac", .key = "fanout_prefix", .type = OPTION_STRING,
     .otherwise = "/{db}.", .max = 255,
     .help = "Stands before channels of events and remote control, as Celery's transport option; "
             "{db}: the database's number"},
    {FIELD(default_queue), .section = "celeriac", .key = "default_queue", .type = OPTION_STRING,
     .otherwise = "celery", .min = 1, .max = 255, .help = "Queue of calls that name none"},
    {FIELD(log_level), .section = "celeriac", .key = "log_level", .type = OPTION_STRING,
     .otherwise = "info", .choices = "debug|info|warning|error|warn|critical|fatal",
     .env = {"CELERIAC_LOG_LEVEL"}, .flag = "loglevel", .short_flag = 'l', .argument = "LEVEL",
     .verbs = DAEMONS, .help = "Least level that is logged"},
    {FIELD(log_format), .section = "celeriac", .key = "log_format", .type = OPTION_STRING,
     .otherwise = "", .choices = "text|logfmt|json", .env = {"CELERIAC_LOG_FORMAT"},
     .flag = "log-format", .argument = "FORMAT", .verbs = DAEMONS,
     .help = "Form of the log; empty: text on a terminal, else logfmt"},
    {FIELD(database_url), .type = OPTION_STRING, .otherwise = "", .env = {"CELERIAC_DATABASE_URL"},
     .flag = "database", .argument = "URI",
     .verbs = VERB_WORKER | VERB_BEAT | VERB_MIGRATE | VERB_HISTORY, .secret = true,
     .help = "PostgreSQL that tasks know as \"default\" (in the file: [database] default)"},
    {FIELD(modules), .section = "worker", .key = "modules", .type = OPTION_LIST, .otherwise = "",
     .flag = "app", .short_flag = 'A', .argument = "MODULE.so", .verbs = VERB_WORKER,
     .help = "Shared objects with the task functions"},
    {FIELD(queues), .section = "worker", .key = "queues", .type = OPTION_LIST, .otherwise = "",
     .flag = "queues", .short_flag = 'Q', .argument = "NAME,...",
     .verbs = VERB_WORKER | VERB_QUEUES | VERB_PURGE | VERB_AUDIT,
     .help = "Queues that are served; empty: the default queue. A worker takes NAME:WEIGHT, too"},
    {FIELD(queue_order), .section = "worker", .key = "queue_order", .type = OPTION_STRING,
     .otherwise = "round_robin", .choices = "round_robin|sorted|priority|strict",
     .flag = "queue-order", .argument = "ORDER", .verbs = VERB_WORKER,
     .help =
         "Whose turn it is: by weight, by name, or as they stand in --queues (priority, strict)"},
    {FIELD(concurrency), .section = "worker", .key = "concurrency", .type = OPTION_INT,
     .otherwise = "0", .min = 0, .max = 1024, .flag = "concurrency", .short_flag = 'c',
     .argument = "N", .verbs = VERB_WORKER,
     .help = "Processes that run tasks; 0: one for each processor"},
    {FIELD(autoscale), .section = "worker", .key = "autoscale", .type = OPTION_STRING,
     .otherwise = "", .flag = "autoscale", .argument = "MAX,MIN", .verbs = VERB_WORKER,
     .help = "As many processes as there is work for, between these; empty: always `concurrency`"},
    {FIELD(autoscale_keepalive), .section = "worker", .key = "autoscale_keepalive",
     .type = OPTION_DURATION, .otherwise = "30s", .min = (int64_t)USEC_PER_SEC / 10,
     .max = INT64_MAX, .env = {"AUTOSCALE_KEEPALIVE"},
     .help = "Time that a process must have been too many before it ends"},
    {FIELD(node_name), .section = "worker", .key = "node_name", .type = OPTION_STRING,
     .otherwise = "celery@%h", .min = 1, .max = 255, .flag = "hostname", .short_flag = 'n',
     .argument = "NAME", .verbs = VERB_WORKER, .help = "Name of this node; %h is the host name"},
    {FIELD(max_tasks_per_child), .section = "worker", .key = "max_tasks_per_child",
     .type = OPTION_INT, .otherwise = "0", .min = 0, .max = INT64_MAX,
     .flag = "max-tasks-per-child", .argument = "N", .verbs = VERB_WORKER,
     .help = "Tasks after which a process is replaced; 0: never"},
    {FIELD(max_memory_per_child), .section = "worker", .key = "max_memory_per_child",
     .type = OPTION_INT, .otherwise = "0", .min = 0, .max = INT64_MAX / 1024,
     .flag = "max-memory-per-child", .argument = "KIB", .verbs = VERB_WORKER,
     .help = "Resident memory in KiB above which a process is replaced after its task; 0: never"},
    {FIELD(soft_time_limit), .section = "worker", .key = "soft_time_limit", .type = OPTION_DURATION,
     .otherwise = "0", .flag = "soft-time-limit", .argument = "TIME", .verbs = VERB_WORKER,
     .help = "Time after which a task is asked to end; 0: none"},
    {FIELD(hard_time_limit), .section = "worker", .key = "time_limit", .type = OPTION_DURATION,
     .otherwise = "0", .flag = "time-limit", .argument = "TIME", .verbs = VERB_WORKER,
     .help = "Time after which a task's process is killed; 0: none"},
    {FIELD(warm_shutdown_limit), .section = "worker", .key = "warm_shutdown_limit",
     .type = OPTION_DURATION, .otherwise = "0",
     .help = "Time after which a warm shutdown turns cold; 0: never"},
    {FIELD(database_max_age), .section = "worker", .key = "database_max_age",
     .type = OPTION_DURATION, .otherwise = "600s",
     .help = "Age at which an idle database connection is opened anew"},
    {FIELD(dead_max), .section = "worker", .key = "dead_max", .type = OPTION_INT,
     .otherwise = "10000", .min = 1, .max = INT64_MAX,
     .help = "Quarantined messages kept for each queue"},
    {FIELD(dead_max_age), .section = "worker", .key = "dead_max_age", .type = OPTION_DURATION,
     .otherwise = "0", .help = "Time after which a quarantined message is dropped; 0: never"},
    {FIELD(lease), .section = "worker", .key = "lease", .type = OPTION_DURATION, .otherwise = "15s",
     .min = 2 * (int64_t)USEC_PER_SEC, .max = 3600 * (int64_t)USEC_PER_SEC, .flag = "lease",
     .argument = "TIME", .verbs = DAEMONS,
     .help = "Time after which a worker that is silent is given up and its tasks go back"},
    {FIELD(max_deliveries), .section = "worker", .key = "max_deliveries", .type = OPTION_INT,
     .otherwise = "10", .min = 0, .max = INT64_MAX,
     .help = "Lost workers after which a message goes to quarantine; 0: any number"},
    {FIELD(track_ids), .section = "worker", .key = "track_ids", .type = OPTION_BOOL,
     .otherwise = "no", .flag = "track-ids", .verbs = VERB_WORKER,
     .help = "Note the ids of what is claimed, for celeriac audit --ids"},
    {FIELD(track_started), .section = "worker", .key = "track_started", .type = OPTION_BOOL,
     .otherwise = "no", .help = "Store STARTED when a task begins, whatever the task says"},
    {FIELD(result_extended), .section = "worker", .key = "result_extended", .type = OPTION_BOOL,
     .otherwise = "no",
     .help = "Results have the task's name, arguments, worker, retries and queue"},
    {FIELD(ledger), .section = "worker", .key = "ledger", .type = OPTION_STRING, .otherwise = "off",
     .choices = "off|summary|full", .flag = "ledger", .argument = "DETAIL", .verbs = VERB_WORKER,
     .help = "Write each attempt (full) or sums (summary) to PostgreSQL, for celeriac history"},
    {FIELD(ledger_database), .section = "worker", .key = "ledger_database", .type = OPTION_STRING,
     .otherwise = "default", .min = 1, .max = 255,
     .help = "Database of the ledger: a name of [database]"},
    {FIELD(ledger_days), .section = "worker", .key = "ledger_days", .type = OPTION_INT,
     .otherwise = "30", .min = 1, .max = 36500, .help = "Days that the ledger is kept"},
    {FIELD(ledger_backlog), .section = "worker", .key = "ledger_backlog", .type = OPTION_INT,
     .otherwise = "50000", .min = 1, .max = 10000000,
     .help = "Attempts (or sums) that wait while PostgreSQL is away; more are lost to the ledger"},
    {FIELD(task_events), .section = "worker", .key = "task_events", .type = OPTION_BOOL,
     .otherwise = "no", .flag = "task-events", .short_flag = 'E', .verbs = VERB_WORKER,
     .help = "Tell monitors what becomes of each task, from the beginning"},
    {FIELD(without_heartbeat), .section = "worker", .key = "without_heartbeat", .type = OPTION_BOOL,
     .otherwise = "no", .flag = "without-heartbeat", .verbs = VERB_WORKER,
     .help = "Tell monitors nothing of the worker itself: they will not see it"},
    {FIELD(remote_control), .section = "worker", .key = "remote_control", .type = OPTION_BOOL,
     .otherwise = "yes", .flag = "remote-control", .verbs = VERB_WORKER,
     .help = "Obey the commands of celeriac control, celery control and Flower"},
    {FIELD(beat_max_interval), .section = "beat", .key = "max_interval", .type = OPTION_DURATION,
     .otherwise = "5min", .min = 10 * (int64_t)USEC_PER_MSEC, .max = INT64_MAX,
     .flag = "max-interval", .argument = "TIME", .verbs = VERB_BEAT,
     .help = "Longest sleep between two looks at the schedule"},
    {FIELD(destination), .type = OPTION_LIST, .otherwise = "", .flag = "destination",
     .short_flag = 'd', .argument = "NODE,...", .verbs = ASKS_WORKERS,
     .help = "Nodes that are asked; empty: all"},
    {FIELD(json), .type = OPTION_BOOL, .otherwise = "no", .flag = "json",
     .verbs = ASKS_REDIS | VERB_MIGRATE | VERB_HISTORY, .help = "Print JSON instead of a table"},
    {FIELD(timeout), .type = OPTION_DURATION, .otherwise = "5s", .min = (int64_t)USEC_PER_MSEC,
     .max = INT64_MAX, .flag = "timeout", .argument = "TIME", .verbs = ASKS_REDIS | VERB_HISTORY,
     .help = "Longest wait for an answer"},
};

const size_t settings_option_count = ARRAY_SIZE(settings_options);
const char *const settings_free_sections[] = {"settings", "database", "routes", "beat *", NULL};

int settings_load(struct settings *settings,
                  struct config *config,
                  unsigned verb,
                  int argc,
                  char **argv,
                  struct cel_error *err)
{
    config_init(config, settings_options, settings_option_count, settings, settings_free_sections);
    config->verb = verb;
    config->keep_unknown = verb == VERB_CALL;
    /* Once without a file, to learn which file it is. */
    int r = config_load(config, NULL, argc, argv, err);
    if (r < 0 || config->wants_help || !*settings->config_file)
        return r;
    char *path = str_dup(str_of(settings->config_file));
    if (!path)
        return error_no_memory(err);
    r = config_load(config, path, argc, argv, err);
    mem_free(path);
    return r;
}

int settings_queue(struct str item,
                   struct str *ret_name,
                   unsigned *ret_weight,
                   struct cel_error *err)
{
    enum { WEIGHT_MAX = 1000 };
    int64_t weight = 0;
    size_t len = item.len;
    while (len > 0 && item.ptr[len - 1] >= '0' && item.ptr[len - 1] <= '9')
        len--;
    bool has_weight = len > 0 && len < item.len && item.ptr[len - 1] == ':';
    if (has_weight && (str_parse_i64(str_n(item.ptr + len, item.len - len), &weight) < 0 ||
                       weight < 1 || weight > WEIGHT_MAX))
        return error_set(err, CEL_E_CONFIG,
                         "queue \"" STR_FORMAT "\": a weight is 1 to %d, after a colon",
                         STR_ARGS(item), (int)WEIGHT_MAX);
    *ret_name = has_weight ? str_n(item.ptr, len - 1) : item;
    *ret_weight = (unsigned)weight;
    return 0;
}

char *settings_routes(const struct config *config)
{
    struct buf text = BUF_INIT(SIZE_MAX / 2);
    buf_add_c(&text, "");
    for (size_t i = 0; i < config->line_count; i++) {
        const struct config_line *line = &config->lines[i];
        if (strcmp(line->section, "routes") == 0)
            buf_addf(&text, "%s%s = %s", text.len > 0 ? ", " : "", line->key, line->value);
    }
    char *routes = buf_take(&text, NULL);
    buf_deinit(&text);
    return routes ? routes : xstrdup("");
}

const char *settings_database_named(const struct settings *settings,
                                    const struct config *config,
                                    const char *name)
{
    if (*settings->database_url && strcmp(name, "default") == 0)
        return settings->database_url;
    for (size_t i = 0; i < config->line_count; i++) {
        const struct config_line *line = &config->lines[i];
        if (strcmp(line->section, "database") == 0 && strcmp(line->key, name) == 0)
            return line->value;
    }
    return NULL;
}

const char *settings_database(const struct settings *settings, const struct config *config)
{
    return settings_database_named(settings, config, "default");
}
