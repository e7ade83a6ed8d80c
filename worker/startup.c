#include "worker/startup.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <uv.h>

#include "core/id.h"
#include "core/log.h"
#include "core/mem.h"
#include "message/call.h"
#include "redis/url.h"

enum { NODE_NAME_MAX = 512, HOSTNAME_SIZE = 256, INCARNATION_LEN = 8 };

static int refuse(const struct cel_error *err, enum exit_status status)
{
    fprintf(stderr, "celeriac: %s\n", err->text);
    return (int)status;
}

/* --- names ------------------------------------------------------------------------------------ */

static void add_host(struct buf *buf, char part, const char *hostname)
{
    struct str domain = str_of(hostname), first;
    str_split(&domain, '.', &first);
    if (part == 'h')
        buf_add_c(buf, hostname);
    else
        buf_add_str(buf, part == 'n' ? first : domain);
}

int startup_node_name(const char *pattern,
                      const char *hostname,
                      char **ret_name,
                      struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(NODE_NAME_MAX);
    for (const char *at = pattern; *at; at++) {
        if (*at != '%') {
            buf_add_char(&buf, *at);
        } else if (at[1] == '%') {
            buf_add_char(&buf, *++at);
        } else if (at[1] && strchr("hnd", at[1])) {
            add_host(&buf, *++at, hostname);
        } else {
            return error_set(err, CEL_E_CONFIG,
                             "node name \"%s\": %%h, %%n, %%d and %%%% are known", pattern);
        }
    }
    if (!strchr(pattern, '@')) {
        buf_add_char(&buf, '@');
        buf_add_c(&buf, hostname);
    }
    int r = buf_status(&buf);
    if (r < 0)
        return error_set(err, CEL_E_CONFIG, "node name \"%s\": %s", pattern, cel_error_name(r));
    *ret_name = buf_take(&buf, NULL);
    return *ret_name ? 0 : error_no_memory(err);
}

void startup_rename(struct startup *startup)
{
    char random[UUID_SIZE];
    size_t size = strlen(startup->name) + 1 + INCARNATION_LEN + 1;
    uuid_new(random);
    mem_free(startup->node);
    startup->node = xalloc(size);
    snprintf(startup->node, size, "%s:%.*s", startup->name, INCARNATION_LEN, random);
}

static int name_node(struct startup *startup, struct cel_error *err)
{
    char hostname[HOSTNAME_SIZE];
    process_hostname(hostname, sizeof(hostname));
    int r = startup_node_name(startup->settings.node_name, hostname, &startup->name, err);
    if (r == 0)
        startup_rename(startup);
    return r;
}

/* The parts of a comma-separated list, each once; views into `text`. */
static size_t split(const char *text, struct str **ret_parts)
{
    struct str rest = str_of(text), part, *parts = NULL;
    size_t count = 0;
    while (str_split(&rest, ',', &part)) {
        bool known = (part = str_trim(part)).len == 0;
        for (size_t i = 0; i < count; i++)
            known |= str_equal(parts[i], part);
        if (known)
            continue;
        parts = xgrow(parts, count + 1, sizeof(*parts));
        parts[count++] = part;
    }
    *ret_parts = parts;
    return count;
}

/* --- queues ----------------------------------------------------------------------------------- */

static int
plan_queue(struct startup *startup, struct str item, bool *ret_weighted, struct cel_error *err)
{
    struct str name;
    unsigned weight;
    int r = settings_queue(item, &name, &weight, err);
    if (r == 0)
        r = call_check_queue(name, err);
    if (r < 0)
        return error_wrap(err, "worker");
    if (queue_plans_have(&startup->queues, name))
        return 0;
    *ret_weighted |= weight > 0;
    queue_plans_add(&startup->queues, name, weight ? weight : 1);
    return 0;
}

static int plan_queues(struct startup *startup, struct cel_error *err)
{
    const struct settings *settings = &startup->settings;
    const char *order = settings->queue_order;
    const char *text = *settings->queues ? settings->queues : settings->default_queue;
    struct str *parts = NULL;
    size_t count = split(text, &parts);
    bool is_weighted = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = plan_queue(startup, parts[i], &is_weighted, err);
    mem_free(parts);
    if (r < 0)
        return r;
    if (count == 0)
        return error_set(err, CEL_E_CONFIG, "worker: \"%s\" names no queue", text);
    startup->order = strcmp(order, "round_robin") == 0 ? CREDIT_ROUND_ROBIN
                     : strcmp(order, "sorted") == 0    ? CREDIT_SORTED
                                                       : CREDIT_PRIORITY;
    if (is_weighted && startup->order != CREDIT_ROUND_ROBIN)
        return error_set(err, CEL_E_CONFIG,
                         "worker: weights of queues are for --queue-order round_robin, not %s",
                         order);
    return 0;
}

/* The children use them; here it is said what is wrong. */
static int check_routes(struct startup *startup, struct cel_error *err)
{
    CLEANUP(routes_deinit) struct routes routes = {0};
    startup->routes = settings_routes(&startup->config);
    if (routes_add(&routes, str_of(startup->routes), err) == 0)
        return 0;
    error_wrap(err, "worker: [routes]");
    err->code = CEL_E_CONFIG;
    return CEL_E_CONFIG;
}

/* --- SETUP ------------------------------------------------------------------------------------ */

static size_t pairs_of(const struct config *config,
                       const char *section,
                       const char *but,
                       struct frame_pair **pairs)
{
    size_t count = 0;
    for (size_t i = 0; i < config->line_count; i++) {
        const struct config_line *line = &config->lines[i];
        if (strcmp(line->section, section) != 0 || (but && strcmp(line->key, but) == 0))
            continue;
        *pairs = xgrow(*pairs, count + 1, sizeof(**pairs));
        (*pairs)[count++] = (struct frame_pair){.name = str_of(line->key),
                                                .value = str_of(line->value),
                                                .origin = str_of(line->origin)};
    }
    return count;
}

static void set_databases(struct startup *startup)
{
    const char *url = startup->settings.database_url;
    struct frame_setup *setup = &startup->setup;
    setup->database_count =
        pairs_of(&startup->config, "database", *url ? "default" : NULL, &startup->databases);
    if (*url) {
        size_t count = setup->database_count++;
        startup->databases = xgrow(startup->databases, count + 1, sizeof(*startup->databases));
        startup->databases[count] =
            (struct frame_pair){.name = STR("default"),
                                .value = str_of(url),
                                .origin = STR("--database or CELERIAC_DATABASE_URL")};
    }
    setup->databases = startup->databases;
}

static void set_up_children(struct startup *startup, enum log_level level, enum log_format format)
{
    struct frame_setup *setup = &startup->setup;
    *setup = (struct frame_setup){.node = str_of(startup->name),
                                  .default_queue = str_of(startup->settings.default_queue),
                                  .routes = str_of(startup->routes),
                                  .log_level = level,
                                  .log_format = format,
                                  .database_max_age = startup->settings.database_max_age,
                                  .wants_peak_rss = startup->ledger == LEDGER_FULL,
                                  .wants_arguments = startup->settings.result_extended,
                                  .modules = startup->modules,
                                  .module_count = startup->module_count};
    setup->setting_count = pairs_of(&startup->config, "settings", NULL, &startup->settings_pairs);
    setup->settings = startup->settings_pairs;
    set_databases(startup);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int open_log(struct startup *startup, struct cel_error *err)
{
    enum log_level level = LOG_LEVEL_INFO;
    enum log_format format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_LOGFMT;
    const struct settings *settings = &startup->settings;
    if (log_level_parse(str_of(settings->log_level), &level) < 0 ||
        (*settings->log_format && log_format_parse(str_of(settings->log_format), &format) < 0))
        return error_set(err, CEL_E_CONFIG, "worker: unknown log level or format");
    log_open(level, format, STDERR_FILENO);
    set_up_children(startup, level, format);
    return 0;
}

static int find_ledger(struct startup *startup, struct cel_error *err)
{
    const struct settings *settings = &startup->settings;
    const char *database = settings->ledger_database;
    if (strcmp(settings->ledger, "off") == 0)
        return 0;
    startup->ledger = strcmp(settings->ledger, "full") == 0 ? LEDGER_FULL : LEDGER_SUMMARY;
    startup->ledger_uri = settings_database_named(settings, &startup->config, database);
    if (!startup->ledger_uri)
        return error_set(err, CEL_E_CONFIG, "worker: no database \"%s\" for the ledger", database);
    if (pg_uri_check(startup->ledger_uri, err))
        return error_wrap(err, "database \"%s\"", database);
    return 0;
}

static int count_children(struct startup *startup, struct cel_error *err)
{
    const struct settings *settings = &startup->settings;
    startup->concurrency =
        settings->concurrency > 0 ? (unsigned)settings->concurrency : uv_available_parallelism();
    if (!*settings->autoscale)
        return 0;
    int r = autoscale_parse(str_of(settings->autoscale), &startup->autoscale, err);
    if (r == 0)
        startup->concurrency = startup->autoscale.min > 0 ? startup->autoscale.min : 1;
    return r;
}

static int complete(struct startup *startup, struct cel_error *err)
{
    const struct settings *settings = &startup->settings;
    struct url url;
    startup->module_count = split(settings->modules, &startup->modules);
    int r = plan_queues(startup, err);
    if (r == 0)
        r = check_routes(startup, err);
    if (r == 0)
        r = count_children(startup, err);
    if (r < 0)
        return r;
    const struct url_sentinel sentinel = {
        .master_name = settings->master_name,
        .user = settings->sentinel_username,
        .password = settings->sentinel_password,
    };
    r = url_parse(str_of(settings->broker_url), &sentinel, &url, err);
    if (r < 0)
        return r;
    startup->display = xstrdup(url.display);
    url_deinit(&url);
    r = name_node(startup, err);
    if (r == 0)
        r = find_ledger(startup, err);
    return r < 0 ? r : open_log(startup, err);
}

int startup_load(struct startup *startup, int argc, char **argv)
{
    struct cel_error err = {0};
    *startup = (struct startup){0};
    int r = settings_load(&startup->settings, &startup->config, VERB_WORKER, argc, argv, &err);
    if (r < 0)
        return refuse(&err, startup->config.blames_flags ? EXIT_USAGE : process_exit_status(r));
    if (startup->config.argument_count > 0) {
        error_set(&err, -EINVAL, "worker: unexpected argument \"%s\"",
                  startup->config.arguments[0]);
        return refuse(&err, EXIT_USAGE);
    }
    r = complete(startup, &err);
    if (r < 0)
        return refuse(&err, process_exit_status(r));
    if (startup->module_count == 0) {
        error_set(&err, -EINVAL, "worker: no task module: name one with -A MODULE.so");
        return refuse(&err, EXIT_USAGE);
    }
    return 0;
}

void startup_deinit(struct startup *startup)
{
    config_deinit(&startup->config);
    mem_free(startup->name);
    mem_free(startup->node);
    mem_free(startup->display);
    queue_plans_deinit(&startup->queues);
    mem_free(startup->modules);
    mem_free(startup->settings_pairs);
    mem_free(startup->databases);
    mem_free(startup->routes);
    *startup = (struct startup){0};
}
