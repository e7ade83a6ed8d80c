/*
 * Ids stand in a tree of the C library, in which a hundred thousand are found as quickly as ten. Stamps
 * are few and are compared one by one; a call's own are read only when there are any.
 */
#include "worker/revocations.h"

#include <search.h>
#include <signal.h>
#include <string.h>

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/value.h"

#define DEADLINE_USEC (5 * USEC_PER_SEC)
enum { PAUSE_MS = 500 };

/* --- the store -------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    struct str x = ((const struct revocation *)a)->id, y = ((const struct revocation *)b)->id;
    size_t len = x.len < y.len ? x.len : y.len;
    int order = len ? memcmp(x.ptr, y.ptr, len) : 0;
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static int signal_of(struct str name)
{
    if (str_starts(name, STR("SIG")))
        name = str_n(name.ptr + 3, name.len - 3);
    for (int number = 1; number < NSIG; number++) {
        const char *known = sigabbrev_np(number);
        if (known && str_equal(name, str_of(known)))
            return number;
    }
    return name.len ? SIGTERM : 0;
}

static struct str keep(char **at, struct str text)
{
    struct str kept = str_n(*at, text.len);
    if (text.len)
        memcpy(*at, text.ptr, text.len);
    *at += text.len + 1;
    return kept;
}

static struct revocation *revocation_new(const struct broker_revocation *from)
{
    struct revocation *revocation =
        mem_alloc(sizeof(*revocation) + from->id.len + from->stamp.len + from->value.len + 3);
    if (!revocation)
        return NULL;
    char *at = revocation->texts;
    revocation->id = keep(&at, from->id);
    revocation->stamp = keep(&at, from->stamp);
    revocation->value = keep(&at, from->value);
    revocation->signal = signal_of(from->signal);
    revocation->at_wall = from->at_wall;
    return revocation;
}

static void forget(struct revocations *revocations, struct revocation *revocation)
{
    if (revocation->id.len) {
        list_remove(&revocations->ids_by_age, &revocation->link);
        tdelete(revocation, &revocations->ids, by_id);
    } else {
        list_remove(&revocations->stamps, &revocation->link);
    }
    mem_free(revocation);
}

static void forget_old(struct revocations *revocations, struct list *list)
{
    usec_t now = clock_wall();
    while (list->head) {
        struct revocation *oldest = container_of(list->head, struct revocation, link);
        if (oldest->at_wall + revocations->kept >= now)
            return;
        forget(revocations, oldest);
    }
}

/* False when memory is short: it is read again. */
static bool add(struct revocations *revocations, const struct broker_revocation *from)
{
    struct revocation *revocation = revocation_new(from);
    if (!revocation)
        return false;
    if (!revocation->id.len) {
        list_append(&revocations->stamps, &revocation->link);
    } else {
        struct revocation **known = tfind(revocation, &revocations->ids, by_id);
        if (known)
            forget(revocations, *known);
        if (!tsearch(revocation, &revocations->ids, by_id)) {
            mem_free(revocation);
            return false;
        }
        list_append(&revocations->ids_by_age, &revocation->link);
    }
    revocations->number = from->number;
    if (revocation->signal)
        revocations->events->on_terminate(revocations->data, revocation);
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void wait(struct revocations *revocations);

/* Takes what was read; false: it is to be read again. */
static bool
take(struct revocations *revocations, const struct broker_revocation *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (found[i].number > revocations->number && !add(revocations, &found[i]))
            return false;
    }
    forget_old(revocations, &revocations->ids_by_age);
    forget_old(revocations, &revocations->stamps);
    return true;
}

static void on_pause_over(uv_timer_t *timer)
{
    struct revocations *revocations = container_of(timer, struct revocations, pause);
    if (!revocations_are_current(revocations))
        revocations_refresh(revocations);
    wait(revocations);
}

static void read_again_later(struct revocations *revocations)
{
    if (!revocations->stopped)
        uv_timer_start(&revocations->pause, on_pause_over, PAUSE_MS, 0);
}

static void read_page(struct revocations *revocations);

static void on_page(void *data,
                    int status,
                    const struct broker_revocation *found,
                    size_t count,
                    bool has_more,
                    const struct cel_error *err)
{
    struct revocations *revocations = data;
    (void)err;
    revocations->is_refreshing = false;
    if (revocations->stopped)
        return;
    if (status < 0 || !take(revocations, found, count)) {
        read_again_later(revocations);
        return;
    }
    if (has_more) {
        read_page(revocations);
        return;
    }
    /* those that are numbered and not there have been forgotten */
    if (revocations->number < broker_newest_revocation(revocations->broker))
        revocations->number = broker_newest_revocation(revocations->broker);
    revocations->events->on_current(revocations->data);
}

static void read_page(struct revocations *revocations)
{
    revocations->is_refreshing =
        broker_revocations(revocations->broker, revocations->number, clock_mono() + DEADLINE_USEC,
                           on_page, revocations) == 0;
    if (!revocations->is_refreshing)
        read_again_later(revocations);
}

static void on_waited(void *data,
                      int status,
                      const struct broker_revocation *found,
                      size_t count,
                      bool has_more,
                      const struct cel_error *err)
{
    struct revocations *revocations = data;
    (void)has_more;
    (void)err;
    revocations->is_waiting = false;
    if (revocations->stopped)
        return;
    if (status < 0 || !take(revocations, found, count))
        read_again_later(revocations);
    else
        wait(revocations);
}

static void wait(struct revocations *revocations)
{
    if (revocations->is_waiting || revocations->stopped)
        return;
    revocations->is_waiting = broker_await_revocations(revocations->broker, revocations->number,
                                                       on_waited, revocations) == 0;
    if (!revocations->is_waiting)
        read_again_later(revocations);
}

/* --- from outside ----------------------------------------------------------------------------- */

void revocations_init(struct revocations *revocations,
                      uv_loop_t *loop,
                      struct broker *broker,
                      usec_t kept,
                      const struct revocations_events *events,
                      void *data)
{
    *revocations = (struct revocations){
        .broker = broker, .kept = kept, .events = events, .data = data, .stopped = true};
    uv_timer_init(loop, &revocations->pause);
}

void revocations_start(struct revocations *revocations)
{
    revocations->stopped = false;
    read_page(revocations);
    wait(revocations);
}

void revocations_stop(struct revocations *revocations)
{
    revocations->stopped = true;
    uv_timer_stop(&revocations->pause);
}

void revocations_deinit(struct revocations *revocations)
{
    while (revocations->ids_by_age.head)
        forget(revocations, container_of(revocations->ids_by_age.head, struct revocation, link));
    while (revocations->stamps.head)
        forget(revocations, container_of(revocations->stamps.head, struct revocation, link));
    uv_close((uv_handle_t *)&revocations->pause, NULL);
}

bool revocations_are_current(const struct revocations *revocations)
{
    return revocations->number >= broker_newest_revocation(revocations->broker);
}

void revocations_refresh(struct revocations *revocations)
{
    if (!revocations->is_refreshing && !revocations->stopped)
        read_page(revocations);
}

/* --- matching --------------------------------------------------------------------------------- */

static bool is_value(const struct cel_value *value, struct str text)
{
    size_t len;
    const char *found = cel_value_text(value, &len);
    return found && str_equal(str_n(found, len), text);
}

/* A stamp's value is text, or a list of texts. */
static bool has_stamp(const struct cel_value *stamps, const struct revocation *revocation)
{
    const struct cel_value *value = cel_value_get(stamps, revocation->stamp.ptr);
    if (!value || cel_value_type(value) != CEL_LIST)
        return value && is_value(value, revocation->value);
    for (size_t i = 0; i < cel_value_count(value); i++) {
        if (is_value(cel_value_at(value, i), revocation->value))
            return true;
    }
    return false;
}

/* The stamps of a call, which stand among the headers that the envelope does not know; or NULL. */
static struct cel_value *read_stamps(const struct envelope *envelope)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct cel_value *headers = NULL;
    if (!envelope->other_headers.len ||
        !memmem(envelope->other_headers.ptr, envelope->other_headers.len, "\"stamps\"", 8))
        return NULL;
    buf_add_char(&text, '{');
    buf_add_str(&text, envelope->other_headers);
    buf_add_char(&text, '}');
    if (buf_status(&text) < 0 || json_decode(buf_str(&text), &headers, NULL) < 0)
        return NULL;
    struct cel_value *stamps = cel_value_dup(cel_value_get(headers, "stamps"));
    cel_value_free(headers);
    return stamps;
}

bool revocation_matches(const struct revocation *revocation, const struct envelope *envelope)
{
    if (revocation->id.len)
        return str_equal(revocation->id, envelope->id);
    struct cel_value *stamps = read_stamps(envelope);
    bool matches = stamps && has_stamp(stamps, revocation);
    cel_value_free(stamps);
    return matches;
}

static const struct revocation *find_stamp(const struct revocations *revocations,
                                           const struct envelope *envelope)
{
    struct cel_value *stamps = read_stamps(envelope);
    const struct revocation *found = NULL;
    for (const struct list_link *link = revocations->stamps.head; stamps && link && !found;
         link = link->next) {
        const struct revocation *revocation = container_of(link, const struct revocation, link);
        if (has_stamp(stamps, revocation))
            found = revocation;
    }
    cel_value_free(stamps);
    return found;
}

const struct revocation *revocations_find(const struct revocations *revocations,
                                          const struct envelope *envelope)
{
    if (revocations->ids) {
        const struct revocation key = {.id = envelope->id};
        struct revocation *const *found = tfind(&key, &revocations->ids, by_id);
        if (found)
            return *found;
    }
    return revocations->stamps.head ? find_stamp(revocations, envelope) : NULL;
}
