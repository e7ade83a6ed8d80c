#include "control/conf.h"

#include <sys/utsname.h>

#include "core/json.h"
#include "redis/url.h"

/* --- values ----------------------------------------------------------------------------------- */

static struct cel_value *texts(const char *one, const char *two)
{
    struct cel_value *list = cel_list();
    if ((one && cel_list_add(list, cel_text(one)) < 0) ||
        (two && cel_list_add(list, cel_text(two)) < 0))
        return cel_value_free(list);
    return list;
}

static struct cel_value *split(const char *text)
{
    struct str rest = str_of(text), part;
    struct cel_value *list = cel_list();
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.len && cel_list_add(list, cel_text_n(part.ptr, part.len)) < 0)
            return cel_value_free(list);
    }
    return list;
}

/* A URL without its password. */
static struct cel_value *shown_url(const char *text, const struct settings *settings)
{
    const struct url_sentinel sentinel = {.master_name = settings->master_name};
    struct url url;
    if (!*text)
        return cel_null();
    if (url_parse(str_of(text), &sentinel, &url, NULL) < 0)
        return cel_text("********"); /* of PostgreSQL */
    struct cel_value *shown = cel_text(url.display);
    url_deinit(&url);
    return shown;
}

static struct cel_value *duration(usec_t time)
{
    if (!time)
        return cel_null();
    return time % USEC_PER_SEC ? cel_float((double)time / (double)USEC_PER_SEC)
                               : cel_int((int64_t)(time / USEC_PER_SEC));
}

static struct cel_value *transport_options(const struct settings *settings)
{
    struct cel_value *map = cel_map();
    if (cel_map_set(map, "global_keyprefix", cel_text(settings->key_prefix)) < 0 ||
        cel_map_set(map, "fanout_prefix", cel_text(settings->fanout_prefix)) < 0 ||
        cel_map_set(map, "master_name", cel_text(settings->master_name)) < 0)
        return cel_value_free(map);
    return map;
}

static struct cel_value *results_of(const struct settings *s)
{
    return shown_url(*s->result_backend ? s->result_backend : s->broker_url, s);
}

/* --- the table -------------------------------------------------------------------------------- */

static int set_fixed(struct cel_value *map)
{
    static const struct {
        const char *name, *text; /* NULL: null */
    } values[] = {
        {"deprecated_settings", NULL}, {"task_serializer", "json"}, {"result_serializer", "json"},
        {"timezone", "UTC"},           {"broker_heartbeat", NULL},  {"worker_pool", "prefork"},
    };
    static const struct {
        const char *name;
        bool flag;
    } flags[] = {
        {"enable_utc", true},           {"worker_hijack_root_logger", false},
        {"worker_log_color", false},    {"worker_enable_remote_control", true},
        {"worker_pool_restarts", true}, {"task_send_sent_event", false},
        {"task_acks_late", true},
    };
    int r = 0;
    for (size_t i = 0; i < ARRAY_SIZE(values) && r == 0; i++)
        r = cel_map_set(map, values[i].name,
                        values[i].text ? cel_text(values[i].text) : cel_null());
    for (size_t i = 0; i < ARRAY_SIZE(flags) && r == 0; i++)
        r = cel_map_set(map, flags[i].name, cel_bool(flags[i].flag));
    return r;
}

struct cel_value *conf_take(struct control *control)
{
    const struct settings *s = control->options.settings;
    struct cel_value *map = cel_map();
    if (cel_map_set(map, "broker_url", shown_url(s->broker_url, s)) < 0 ||
        cel_map_set(map, "result_backend", results_of(s)) < 0 ||
        cel_map_set(map, "broker_transport_options", transport_options(s)) < 0 ||
        cel_map_set(map, "accept_content", texts("json", "msgpack")) < 0 ||
        cel_map_set(map, "include", split(s->modules)) < 0 ||
        cel_map_set(map, "task_default_queue", cel_text(s->default_queue)) < 0 ||
        cel_map_set(map, "task_time_limit", duration(s->hard_time_limit)) < 0 ||
        cel_map_set(map, "task_soft_time_limit", duration(s->soft_time_limit)) < 0 ||
        cel_map_set(map, "result_expires", duration(s->result_expires)) < 0 ||
        cel_map_set(map, "worker_concurrency", cel_int(s->concurrency)) < 0 ||
        cel_map_set(map, "worker_max_tasks_per_child",
                    s->max_tasks_per_child ? cel_int(s->max_tasks_per_child) : cel_null()) < 0 ||
        cel_map_set(map, "worker_send_task_events", cel_bool(s->task_events)) < 0 ||
        cel_map_set(map, "task_track_started", cel_bool(s->track_started)) < 0 ||
        cel_map_set(map, "result_extended", cel_bool(s->result_extended)) < 0 || set_fixed(map) < 0)
        return cel_value_free(map);
    return map;
}

void conf_add_report(struct buf *buf, struct control *control)
{
    struct utsname host = {.sysname = ""};
    struct cel_value *conf = conf_take(control);
    uname(&host);
    buf_addf(buf, "\nsoftware -> celeriac:%s\nplatform -> system:%s release:%s machine:%s\n",
             CELERIAC_VERSION, host.sysname, host.release, host.machine);
    buf_add_c(buf, "loader   -> shared objects\nsettings -> transport:redis\n\n");
    for (size_t i = 0; i < cel_value_count(conf); i++) {
        buf_addf(buf, "%s: ", cel_value_key(conf, i));
        if (json_encode(buf, cel_value_at(conf, i), JSON_PLAIN) < 0)
            break;
        buf_add_char(buf, '\n');
    }
    cel_value_free(conf);
}
