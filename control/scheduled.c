/*
 * One queue after the other, each page by page, what is due first comes first in each.
 */
#include "control/scheduled.h"

#include "control/call_info.h"
#include "core/log.h"
#include "core/mem.h"

#define DEADLINE_USEC (5 * USEC_PER_SEC)
enum { PRIORITY_OF_TIMERS = 6 }; /* what Celery's own timer says of all of them */

struct scheduled {
    struct command *command;
    struct str *queues; /* names, in `names` */
    size_t count, at;
    struct buf names;
    struct cel_value *list;
    bool is_safe;
    usec_t deadline_mono;
};

static void free_scheduled(struct scheduled *scheduled)
{
    cel_value_free(scheduled->list);
    buf_deinit(&scheduled->names);
    mem_free(scheduled->queues);
    mem_free(scheduled);
}

static void finish(struct scheduled *scheduled, int status, const struct cel_error *err)
{
    struct command *command = scheduled->command;
    if (status < 0)
        answer_error(command, "%s", err ? err->text : cel_error_name(status));
    else
        answer_value(command, scheduled->list);
    if (status >= 0)
        scheduled->list = NULL;
    free_scheduled(scheduled);
    command_answer(command);
}

/* --- entries ---------------------------------------------------------------------------------- */

static struct cel_value *
entry_of(const struct scheduled *scheduled, const struct envelope *envelope, usec_t due_wall)
{
    const struct control_call call = {.envelope = envelope};
    struct cel_value *entry = cel_map();
    char eta[ISOTIME_SIZE];
    isotime_format(envelope->eta_wall ? envelope->eta_wall : due_wall, eta);
    if (cel_map_set(entry, "eta", cel_text(eta)) < 0 ||
        cel_map_set(entry, "priority", cel_int(PRIORITY_OF_TIMERS)) < 0 ||
        cel_map_set(entry, "request",
                    call_info_take(&call, scheduled->command->control->options.node,
                                   scheduled->is_safe)) < 0)
        return cel_value_free(entry);
    return entry;
}

/* False when memory is short. What cannot be read is left out: its worker will bury it. */
static bool add(struct scheduled *scheduled, const struct broker_delayed *delayed)
{
    CLEANUP(buf_deinit) struct buf upgraded = BUF_INIT(2 * ENVELOPE_BYTES_MAX);
    struct envelope envelope;
    if (envelope_decode_any(delayed->message, &upgraded, &envelope, NULL) < 0)
        return true;
    bool is_added =
        cel_list_add(scheduled->list, entry_of(scheduled, &envelope, delayed->due_wall)) == 0;
    envelope_deinit(&envelope);
    return is_added;
}

/* --- pages ------------------------------------------------------------------------------------ */

static void look(struct scheduled *scheduled, struct str cursor);

static void on_page(void *data,
                    int status,
                    const struct broker_delayed *delayed,
                    size_t count,
                    struct str cursor,
                    const struct cel_error *err)
{
    struct scheduled *scheduled = data;
    size_t shown = status < 0 ? 0 : cel_value_count(scheduled->list);
    for (size_t i = 0; i < count && status >= 0 && shown < SCHEDULED_MAX; i++, shown++) {
        if (!add(scheduled, &delayed[i])) {
            finish(scheduled, -ENOMEM, NULL);
            return;
        }
    }
    if (status < 0) {
        finish(scheduled, status, err);
    } else if (shown >= SCHEDULED_MAX) {
        log_info("More calls are scheduled than remote control shows", F_U64("shown", shown));
        finish(scheduled, 0, NULL);
    } else {
        scheduled->at += cursor.len == 0;
        look(scheduled, cursor);
    }
}

static void look(struct scheduled *scheduled, struct str cursor)
{
    static const struct broker_delayed_range all = {.to_wall = USEC_NEVER};
    if (scheduled->at == scheduled->count) {
        finish(scheduled, 0, NULL);
        return;
    }
    int status =
        broker_list_delayed(scheduled->command->control->broker, scheduled->queues[scheduled->at],
                            cursor, &all, scheduled->deadline_mono, on_page, scheduled);
    if (status < 0)
        finish(scheduled, status, NULL);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void count_queue(void *data, const struct control_queue *queue)
{
    struct scheduled *scheduled = data;
    scheduled->count++;
    buf_add_str(&scheduled->names, queue->name);
}

static void note_queue(void *data, const struct control_queue *queue)
{
    struct scheduled *scheduled = data;
    const struct str *last = scheduled->at ? &scheduled->queues[scheduled->at - 1] : NULL;
    const char *place = last ? last->ptr + last->len : scheduled->names.ptr;
    scheduled->queues[scheduled->at++] = str_n(place, queue->name.len);
}

static int copy_queues(struct scheduled *scheduled)
{
    const struct command *command = scheduled->command;
    host_of(command)->each_queue(host_data_of(command), count_queue, scheduled);
    scheduled->queues = mem_array(scheduled->count ? scheduled->count : 1, sizeof(struct str));
    if (!scheduled->queues || buf_status(&scheduled->names) < 0)
        return -ENOMEM;
    host_of(command)->each_queue(host_data_of(command), note_queue, scheduled);
    scheduled->at = 0;
    return 0;
}

enum answer scheduled_run(struct command *command)
{
    struct scheduled *scheduled = mem_new(struct scheduled);
    if (!scheduled)
        return answer_value(command, NULL);
    buf_init(&scheduled->names, 1024 * 1024);
    scheduled->command = command;
    scheduled->list = cel_list();
    scheduled->is_safe = cel_value_bool(cel_value_get(command->arguments, "safe"), false);
    scheduled->deadline_mono = clock_mono() + DEADLINE_USEC;
    if (!scheduled->list || copy_queues(scheduled) < 0) {
        free_scheduled(scheduled);
        return answer_value(command, NULL);
    }
    int status = -EINVAL;
    if (scheduled->count > 0)
        status = broker_list_delayed(command->control->broker, scheduled->queues[0], STR_NONE,
                                     &(struct broker_delayed_range){.to_wall = USEC_NEVER},
                                     scheduled->deadline_mono, on_page, scheduled);
    if (status == 0)
        return ANSWER_LATER;
    struct cel_value *list = scheduled->list;
    size_t count = scheduled->count;
    scheduled->list = NULL;
    free_scheduled(scheduled);
    if (count == 0)
        return answer_value(command, list);
    cel_value_free(list);
    return answer_error(command, "%s", cel_error_name(status));
}
