/*
 * A table has one row for each key; a row's function checks the value and stores it. What only the
 * whole section can tell (no task, two schedules) is checked when all its lines were read.
 */
#include "beat/entries.h"

#include <errno.h>
#include <stdlib.h>

#include "core/json.h"
#include "core/mem.h"
#include "message/call.h"
#include "message/envelope.h"

#define PREFIX STR("beat ")

/* One section while it is read. */
struct section {
    struct entry *entry;
    struct zones *zones;
    struct str task, queue, crontab, timezone;
    struct cel_value *args, *kwargs;
    uint64_t priority;
    usec_t expires;
    bool has_priority;
};

static int bad(struct cel_error *err, const char *rule)
{
    return error_set(err, CEL_E_CONFIG, "%s", rule);
}

/* --- keys ------------------------------------------------------------------------------------- */

static bool is_name(struct str value, size_t max)
{
    if (value.len == 0 || value.len > max || !str_is_utf8(value))
        return false;
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 127)
            return false;
    return true;
}

static int read_task(struct section *section, struct str value, struct cel_error *err)
{
    if (!is_name(value, TASK_NAME_MAX))
        return bad(err, "a task name has 1 to 255 bytes");
    section->task = value;
    return 0;
}

static int read_queue(struct section *section, struct str value, struct cel_error *err)
{
    section->queue = value;
    return call_check_queue(value, err);
}

static int read_crontab(struct section *section, struct str value, struct cel_error *err)
{
    section->crontab = value;
    return crontab_parse(value, &section->entry->crontab, err);
}

static int read_every(struct section *section, struct str value, struct cel_error *err)
{
    usec_t every;

    if (str_parse_duration(value, &every) < 0 || every < ENTRY_EVERY_MIN || every > ENTRY_EVERY_MAX)
        return bad(err, "a duration from 10ms to 3660d, like 30s, 5min or 1d");
    section->entry->every = every;
    return 0;
}

static int read_timezone(struct section *section, struct str value, struct cel_error *err)
{
    section->timezone = value;
    return zones_find(section->zones, value, &section->entry->zone, err);
}

static int
read_json(struct str value, enum cel_type type, struct cel_value **ret, struct cel_error *err)
{
    struct cel_value *json;
    int status = json_decode(value, &json, err);

    if (status < 0)
        return status;
    if (cel_value_type(json) != type) {
        cel_value_free(json);
        return bad(err, type == CEL_LIST ? "a JSON list, like [1, \"two\"]"
                                         : "a JSON object, like {\"key\": 1}");
    }
    *ret = json;
    return 0;
}

static int read_args(struct section *section, struct str value, struct cel_error *err)
{
    return read_json(value, CEL_LIST, &section->args, err);
}

static int read_kwargs(struct section *section, struct str value, struct cel_error *err)
{
    return read_json(value, CEL_MAP, &section->kwargs, err);
}

static int read_priority(struct section *section, struct str value, struct cel_error *err)
{
    section->has_priority = true;
    if (str_parse_u64(value, &section->priority) < 0 || section->priority > 9)
        return bad(err, "a number from 0 (first) to 9 (last)");
    return 0;
}

static int read_expires(struct section *section, struct str value, struct cel_error *err)
{
    if (str_parse_duration(value, &section->expires) < 0 || section->expires < USEC_PER_MSEC ||
        section->expires > ENTRY_EVERY_MAX)
        return bad(err, "a duration from 1ms to 3660d, like 30s, 5min or 1d");
    return 0;
}

static int read_enabled(struct section *section, struct str value, struct cel_error *err)
{
    if (str_parse_bool(value, &section->entry->enabled) < 0)
        return bad(err, "yes or no");
    return 0;
}

static const struct {
    const char *name;
    int (*read)(struct section *section, struct str value, struct cel_error *err);
} keys[] = {
    {"task", read_task},         {"crontab", read_crontab},   {"every", read_every},
    {"timezone", read_timezone}, {"args", read_args},         {"kwargs", read_kwargs},
    {"queue", read_queue},       {"priority", read_priority}, {"expires", read_expires},
    {"enabled", read_enabled},
};

static int read_key(struct section *section, const struct config_line *line, struct cel_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, line->key) == 0)
            return keys[i].read(section, str_of(line->value), err);
    return bad(err, "unknown key (task, crontab, every, timezone, args, kwargs, queue, priority, "
                    "expires and enabled are known)");
}

/* --- sections --------------------------------------------------------------------------------- */

static struct entry *entry_free(struct entry *entry)
{
    if (entry) {
        cel_call_free(entry->call);
        mem_free(entry->name);
        mem_free(entry);
    }
    return NULL;
}

/* A configuration's fault keeps its sentence and gets the code of all such faults. */
static int blame(struct cel_error *err, int status, const char *origin, const char *section)
{
    if (err && status != -ENOMEM)
        err->code = CEL_E_CONFIG;
    error_wrap(err, "%s: [%s]", origin, section);
    return status == -ENOMEM ? status : CEL_E_CONFIG;
}

static int check_section(const struct section *section, struct cel_error *err)
{
    bool has_crontab = section->crontab.ptr != NULL;

    if (!is_name(str_of(section->entry->name), ENTRY_NAME_MAX))
        return bad(err, "the name of an entry has 1 to 200 bytes");
    if (!section->task.ptr)
        return bad(err, "task is missing");
    if (has_crontab && section->entry->every > 0)
        return bad(err, "either crontab or every, not both");
    if (!has_crontab && section->entry->every == 0)
        return bad(err, "crontab or every is missing");
    if (section->timezone.ptr && !has_crontab)
        return bad(err, "timezone belongs to crontab; every counts from 1970-01-01T00:00:00Z");
    return 0;
}

static int build_call(const struct section *section, struct cel_error *err)
{
    char *task = str_dup(section->task);
    char *queue = str_dup(section->queue.ptr ? section->queue : STR(""));
    struct cel_call *call = task && queue ? cel_call_new(task) : NULL;

    section->entry->call = call;
    if (call && *queue)
        cel_call_queue(call, queue);
    mem_free(task);
    mem_free(queue);
    if (!call)
        return error_no_memory(err);
    for (size_t i = 0; i < cel_value_count(section->args); i++)
        cel_call_arg(call, cel_value_dup(cel_value_at(section->args, i)));
    for (size_t i = 0; i < cel_value_count(section->kwargs); i++)
        cel_call_kwarg(call, cel_value_key(section->kwargs, i),
                       cel_value_dup(cel_value_at(section->kwargs, i)));
    if (section->has_priority)
        cel_call_priority(call, (int)section->priority);
    if (section->expires > 0)
        cel_call_expires_in_ms(call, (int64_t)(section->expires / USEC_PER_MSEC));
    return call->error.code < 0 ? error_set(err, call->error.code, "%s", call->error.text) : 0;
}

static int finish_section(struct section *section, struct cel_error *err)
{
    int status = check_section(section, err);

    if (status == 0 && !section->entry->zone)
        status = zones_find(section->zones, STR("UTC"), &section->entry->zone, err);
    if (status == 0)
        status = build_call(section, err);
    return status;
}

/* Reads the section of `count` lines that begins with line `first`. */
static int read_section(const struct config_line *lines,
                        size_t count,
                        struct section *section,
                        struct cel_error *err)
{
    int status;

    for (size_t i = 0; i < count; i++) {
        status = read_key(section, &lines[i], err);
        if (status < 0) {
            error_wrap(err, "%s", lines[i].key);
            return blame(err, status, lines[i].origin, lines[i].section);
        }
    }
    status = finish_section(section, err);
    return status < 0 ? blame(err, status, lines->origin, lines->section) : 0;
}

static int add_section(struct entries *entries,
                       const struct config_line *lines,
                       size_t count,
                       struct cel_error *err)
{
    struct section section = {.zones = &entries->zones, .entry = mem_new(struct entry)};
    struct entry **items = mem_grow(entries->items, entries->count + 1, sizeof(struct entry *));
    int status = -ENOMEM;

    if (items)
        entries->items = items;
    if (section.entry) {
        section.entry->name = str_dup(str_trim(str_of(lines->section + PREFIX.len)));
        section.entry->origin = lines->origin;
        section.entry->index = entries->count;
        section.entry->enabled = true;
    }
    if (!items || !section.entry || !section.entry->name)
        error_no_memory(err);
    else
        status = read_section(lines, count, &section, err);
    cel_value_free(section.args);
    cel_value_free(section.kwargs);
    if (status < 0)
        entry_free(section.entry);
    else
        entries->items[entries->count++] = section.entry;
    return status;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *const *first = a, *const *second = b;
    int order = strcmp((*first)->name, (*second)->name);

    return order ? order
                 : ((*first)->index > (*second)->index) - ((*first)->index < (*second)->index);
}

/* Two entries of one name would share the marks of their slots. */
static int check_names(const struct entries *entries, struct cel_error *err)
{
    struct entry **sorted = mem_dup(entries->items, entries->count * sizeof(struct entry *));
    int status = 0;

    if (!sorted)
        return error_no_memory(err);
    qsort(sorted, entries->count, sizeof(struct entry *), by_name);
    for (size_t i = 1; i < entries->count && status == 0; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            status = error_set(err, CEL_E_CONFIG, "%s: [beat %s]: given twice (first in %s)",
                               sorted[i]->origin, sorted[i]->name, sorted[i - 1]->origin);
    mem_free(sorted);
    return status;
}

static int read_all(struct entries *entries, const struct config *config, struct cel_error *err)
{
    size_t count;

    for (size_t i = 0; i < config->line_count; i += count) {
        const struct config_line *lines = &config->lines[i];
        for (count = 1; i + count < config->line_count; count++)
            if (strcmp(lines[count].section, lines->section) != 0)
                break;
        if (!str_starts(str_of(lines->section), PREFIX))
            continue;
        int status = add_section(entries, lines, count, err);
        if (status < 0)
            return status;
    }
    return check_names(entries, err);
}

int entries_load(const struct config *config, struct entries *ret, struct cel_error *err)
{
    struct entries entries = {0};
    int status = read_all(&entries, config, err);

    if (status < 0)
        entries_deinit(&entries);
    else
        *ret = entries;
    return status;
}

void entries_deinit(struct entries *entries)
{
    if (!entries)
        return;
    for (size_t i = 0; i < entries->count; i++)
        entry_free(entries->items[i]);
    mem_free(entries->items);
    zones_deinit(&entries->zones);
    *entries = (struct entries){0};
}
