#include "control/stats.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "redis/url.h"

static const struct control_host *host_of(const struct control *control)
{
    return control->options.host;
}

/* --- parts ------------------------------------------------------------------------------------ */

struct totals {
    struct cel_value *map;
    bool has_failed;
};

static void add_total(void *data, const struct control_task *task)
{
    struct totals *totals = data;
    if (task->runs)
        totals->has_failed |= value_set(totals->map, task->name, cel_int((int64_t)task->runs)) < 0;
}

static struct cel_value *total(struct control *control)
{
    struct totals totals = {.map = cel_map()};
    host_of(control)->each_task(control->options.host_data, add_total, &totals);
    return totals.has_failed ? cel_value_free(totals.map) : totals.map;
}

struct processes {
    struct cel_value *pids;
    struct buf shares, counts; /* "0.50, 0.50" and "1, 1" */
    uint64_t total, count;
    bool has_failed;
};

static void add_process(void *data, int64_t pid, uint64_t tasks)
{
    struct processes *processes = data;
    processes->total += tasks;
    processes->count++;
    processes->has_failed |= cel_list_add(processes->pids, cel_int(pid)) < 0;
    buf_addf(&processes->counts, "%s%llu", processes->counts.len ? ", " : "",
             (unsigned long long)tasks);
}

struct shares {
    struct buf *text;
    uint64_t total;
};

static void add_share(void *data, int64_t pid, uint64_t tasks)
{
    struct shares *shares = data;
    (void)pid;
    double share = shares->total ? (double)tasks / (double)shares->total : 0;
    buf_addf(shares->text, "%s%.2f", shares->text->len ? ", " : "", share);
}

static struct cel_value *text_of(const struct buf *buf)
{
    return cel_text(buf->len ? buf->ptr : "");
}

static struct cel_value *writes(struct processes *processes)
{
    struct cel_value *map = cel_map(), *queues = cel_map();
    char average[32];
    snprintf(average, sizeof(average), "%.2f",
             processes->count ? 1.0 / (double)processes->count : 0);
    if (cel_map_set(queues, "total", cel_int((int64_t)processes->count)) < 0 ||
        cel_map_set(queues, "active", cel_int(0)) < 0)
        queues = cel_value_free(queues);
    if (cel_map_set(map, "total", cel_int((int64_t)processes->total)) < 0 ||
        cel_map_set(map, "avg", cel_text(average)) < 0 ||
        cel_map_set(map, "all", text_of(&processes->shares)) < 0 ||
        cel_map_set(map, "raw", text_of(&processes->counts)) < 0 ||
        cel_map_set(map, "strategy", cel_text("fair")) < 0 ||
        cel_map_set(map, "inqueues", queues) < 0)
        return cel_value_free(map);
    return map;
}

static struct cel_value *limits(const struct control_numbers *numbers)
{
    struct cel_value *pair = cel_list();
    if (cel_list_add(pair, cel_int((int64_t)(numbers->soft_limit / USEC_PER_SEC))) < 0 ||
        cel_list_add(pair, cel_int((int64_t)(numbers->hard_limit / USEC_PER_SEC))) < 0)
        return cel_value_free(pair);
    return pair;
}

static struct cel_value *pool(struct control *control, const struct control_numbers *numbers)
{
    struct cel_value *map = cel_map();
    struct processes processes = {.pids = cel_list()};
    buf_init(&processes.shares, 64 * 1024);
    buf_init(&processes.counts, 64 * 1024);
    host_of(control)->each_process(control->options.host_data, add_process, &processes);
    struct shares shares = {.text = &processes.shares, .total = processes.total};
    host_of(control)->each_process(control->options.host_data, add_share, &shares);
    int64_t most = numbers->max_tasks_per_child;
    if (processes.has_failed)
        processes.pids = cel_value_free(processes.pids);
    if (cel_map_set(map, "implementation", cel_text("celeriac:pool")) < 0 ||
        cel_map_set(map, "max-concurrency", cel_int((int64_t)numbers->concurrency)) < 0 ||
        cel_map_set(map, "processes", processes.pids) < 0 ||
        cel_map_set(map, "max-tasks-per-child", most ? cel_int(most) : cel_text("N/A")) < 0 ||
        cel_map_set(map, "put-guarded-by-semaphore", cel_bool(false)) < 0 ||
        cel_map_set(map, "timeouts", limits(numbers)) < 0 ||
        cel_map_set(map, "writes", writes(&processes)) < 0)
        map = cel_value_free(map);
    buf_deinit(&processes.shares);
    buf_deinit(&processes.counts);
    return map;
}

/* --- the broker ------------------------------------------------------------------------------- */

static struct cel_value *text_or_null(const char *text)
{
    return text ? cel_text(text) : cel_null();
}

static struct cel_value *transport_options(const struct settings *settings)
{
    struct cel_value *map = cel_map();
    if (*settings->key_prefix &&
        cel_map_set(map, "global_keyprefix", cel_text(settings->key_prefix)) < 0)
        return cel_value_free(map);
    return map;
}

static struct cel_value *broker_of(const struct settings *settings, const struct url *url)
{
    struct cel_value *map = cel_map();
    char db[16];
    const char *transport = url->path ? "redis+socket" : url->sentinel_count ? "sentinel" : "redis";
    snprintf(db, sizeof(db), "%u", (unsigned)url->db);
    if (cel_map_set(map, "hostname", text_or_null(url->path ? url->path : url->host)) < 0 ||
        cel_map_set(map, "userid", text_or_null(url->user)) < 0 ||
        cel_map_set(map, "virtual_host", cel_text(db)) < 0 ||
        cel_map_set(map, "port", url->host ? cel_int(url->port) : cel_null()) < 0 ||
        cel_map_set(map, "insist", cel_bool(false)) < 0 ||
        cel_map_set(map, "ssl", cel_bool(false)) < 0 ||
        cel_map_set(map, "transport", cel_text(transport)) < 0 ||
        cel_map_set(map, "connect_timeout",
                    cel_int((int64_t)(url->connect_timeout / USEC_PER_SEC))) < 0 ||
        cel_map_set(map, "transport_options", transport_options(settings)) < 0 ||
        cel_map_set(map, "login_method", cel_null()) < 0 ||
        cel_map_set(map, "uri_prefix", cel_null()) < 0 ||
        cel_map_set(map, "heartbeat", cel_null()) < 0 ||
        cel_map_set(map, "failover_strategy", cel_text("round-robin")) < 0 ||
        cel_map_set(map, "alternates", cel_list()) < 0)
        return cel_value_free(map);
    return map;
}

static struct cel_value *broker(const struct settings *settings)
{
    const struct url_sentinel sentinel = {.master_name = settings->master_name,
                                          .user = settings->sentinel_username,
                                          .password = settings->sentinel_password};
    struct url url;
    if (url_parse(str_of(settings->broker_url), &sentinel, &url, NULL) < 0)
        return NULL;
    struct cel_value *map = broker_of(settings, &url);
    url_deinit(&url);
    return map;
}

/* --- the process ------------------------------------------------------------------------------ */

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static struct cel_value *usage(void)
{
    struct rusage usage;
    struct cel_value *map = cel_map();
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return map;
    const struct {
        const char *name;
        long value;
    } counts[] = {
        {"maxrss", usage.ru_maxrss}, {"ixrss", usage.ru_ixrss},     {"idrss", usage.ru_idrss},
        {"isrss", usage.ru_isrss},   {"minflt", usage.ru_minflt},   {"majflt", usage.ru_majflt},
        {"nswap", usage.ru_nswap},   {"inblock", usage.ru_inblock}, {"oublock", usage.ru_oublock},
        {"msgsnd", usage.ru_msgsnd}, {"msgrcv", usage.ru_msgrcv},   {"nsignals", usage.ru_nsignals},
        {"nvcsw", usage.ru_nvcsw},   {"nivcsw", usage.ru_nivcsw},
    };
    int r = cel_map_set(map, "utime", cel_float(seconds(usage.ru_utime)));
    if (r == 0)
        r = cel_map_set(map, "stime", cel_float(seconds(usage.ru_stime)));
    for (size_t i = 0; i < ARRAY_SIZE(counts) && r == 0; i++)
        r = cel_map_set(map, counts[i].name, cel_int(counts[i].value));
    return r < 0 ? cel_value_free(map) : map;
}

static struct cel_value *autoscaler(const struct control_autoscale *scale)
{
    struct cel_value *map = cel_map();
    if (cel_map_set(map, "max", cel_int(scale->max)) < 0 ||
        cel_map_set(map, "min", cel_int(scale->min)) < 0 ||
        cel_map_set(map, "current", cel_int(scale->current)) < 0 ||
        cel_map_set(map, "qty", cel_int(scale->current)) < 0)
        return cel_value_free(map);
    return map;
}

struct cel_value *stats_take(struct control *control)
{
    struct control_numbers numbers = {0};
    struct cel_value *map = cel_map();
    char clock[24];
    host_of(control)->numbers(control->options.host_data, &numbers);
    snprintf(clock, sizeof(clock), "%llu", (unsigned long long)control->clock->value);
    if (cel_map_set(map, "total", total(control)) < 0 ||
        cel_map_set(map, "pid", cel_int(getpid())) < 0 ||
        cel_map_set(map, "clock", cel_text(clock)) < 0 ||
        cel_map_set(map, "uptime", cel_int((int64_t)(numbers.uptime / USEC_PER_SEC))) < 0 ||
        cel_map_set(map, "pool", pool(control, &numbers)) < 0 ||
        cel_map_set(map, "broker", broker(control->options.settings)) < 0 ||
        cel_map_set(map, "prefetch_count", cel_int((int64_t)numbers.prefetch)) < 0 ||
        cel_map_set(map, "rusage", usage()) < 0)
        return cel_value_free(map);
    if (numbers.has_autoscale && cel_map_set(map, "autoscaler", autoscaler(&numbers.autoscale)) < 0)
        return cel_value_free(map);
    return map;
}
