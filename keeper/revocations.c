/*
 * Revocations stand in a tree of the C library, in which a hundred thousand ids are found as quickly as
 * ten. Stamps are few and are compared one by one; a call's own are read only when there are any.
 *
 * One reading goes on at a time, in pages, on the connection of the claims, and it alone changes what
 * is known. Waiting for newer ones only says when to read:
 *
 *      a claim knows of another newest one --+
 *                                            v
 *      pause after a failure ----------> reading --to the end--> waiting (some seconds at most)
 *                                            ^                        |
 *                                            +------------------------+
 */
#include "keeper/revocations.h"

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

static int by_what(const void *a, const void *b)
{
    const struct revocation *x = a, *y = b;
    int order = str_compare(x->id, y->id);
    if (!order)
        order = str_compare(x->stamp, y->stamp);
    return order ? order : str_compare(x->value, y->value);
}

static bool ends_first(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, const struct revocation, by_end)->until_wall <
           container_of(b, const struct revocation, by_end)->until_wall;
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
    revocation->until_wall = from->until_wall;
    return revocation;
}

static void forget(struct revocations *revocations, struct revocation *revocation)
{
    heap_remove(&revocations->by_end, &revocation->by_end);
    tdelete(revocation, &revocations->tree, by_what);
    if (!revocation->id.len)
        list_remove(&revocations->stamps, &revocation->link);
    mem_free(revocation);
}

static struct revocation *first_to_end(const struct revocations *revocations)
{
    struct heap_node *first = heap_first(&revocations->by_end);
    return first ? container_of(first, struct revocation, by_end) : NULL;
}

/* False when memory is short. */
static bool insert(struct revocations *revocations, struct revocation *revocation)
{
    if (heap_insert(&revocations->by_end, &revocation->by_end) < 0)
        return false;
    if (!tsearch(revocation, &revocations->tree, by_what)) {
        heap_remove(&revocations->by_end, &revocation->by_end);
        return false;
    }
    if (!revocation->id.len)
        list_append(&revocations->stamps, &revocation->link);
    return true;
}

/* False when memory is short: it is read again. */
static bool add(struct revocations *revocations, const struct broker_revocation *from)
{
    struct revocation *revocation = revocation_new(from);
    if (!revocation)
        return false;
    struct revocation **known = tfind(revocation, &revocations->tree, by_what);
    if (known) {
        if (revocation->until_wall < (*known)->until_wall)
            revocation->until_wall = (*known)->until_wall;
        forget(revocations, *known);
    }
    if (!insert(revocations, revocation)) {
        mem_free(revocation);
        return false;
    }
    if (revocation->signal)
        revocations->events->on_terminate(revocations->data, revocation);
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* False when memory is short. What is over is passed by: it must not end what runs now. */
static bool take(struct revocations *revocations, const struct broker_revocations *found)
{
    struct revocation *first;
    for (size_t i = 0; i < found->count; i++) {
        if (found->items[i].until_wall >= found->now_wall && !add(revocations, &found->items[i]))
            return false;
    }
    while ((first = first_to_end(revocations)) && first->until_wall < found->now_wall)
        forget(revocations, first);
    return true;
}

static void on_pause_over(uv_timer_t *timer)
{
    revocations_refresh(container_of(timer, struct revocations, pause));
}

static void read_again_later(struct revocations *revocations)
{
    if (!revocations->stopped)
        uv_timer_start(&revocations->pause, on_pause_over, PAUSE_MS, 0);
}

static void on_waited(void *data, int status, const struct cel_error *err)
{
    struct revocations *revocations = data;
    (void)err;
    revocations->is_waiting = false;
    if (status < 0)
        read_again_later(revocations);
    else
        revocations_refresh(revocations);
}

static void wait(struct revocations *revocations)
{
    if (revocations->is_waiting || revocations->stopped)
        return;
    revocations->is_waiting = broker_await_revocations(revocations->broker, revocations->last,
                                                       on_waited, revocations) == 0;
    if (!revocations->is_waiting)
        read_again_later(revocations);
}

static void
on_page(void *data, int status, const struct broker_revocations *found, const struct cel_error *err)
{
    struct revocations *revocations = data;
    revocations->is_refreshing = false;
    if (revocations->stopped)
        return;
    if (refusal_is(status) && refusal_note(&revocations->refusal, err))
        log_error("Revocations cannot be read; what is claimed waits until they can",
                  F_C("err", err->text));
    else if (!status && refusal_end(&revocations->refusal))
        log_info("Revocations can be read again");
    if (status < 0 || !take(revocations, found)) {
        read_again_later(revocations);
        return;
    }
    revocations->last = found->last;
    if (found->has_more) {
        revocations_refresh(revocations);
        return;
    }
    /* Also when the last claim told another one: then a failover came in between, and has lost it. */
    revocations->newest = found->newest;
    revocations->events->on_current(revocations->data);
    wait(revocations);
}

/* --- from outside ----------------------------------------------------------------------------- */

void revocations_init(struct revocations *revocations,
                      uv_loop_t *loop,
                      struct broker *broker,
                      const struct revocations_events *events,
                      void *data)
{
    *revocations = (struct revocations){.broker = broker,
                                        .by_end = HEAP_INIT(ends_first),
                                        .events = events,
                                        .data = data,
                                        .stopped = true};
    uv_timer_init(loop, &revocations->pause);
}

void revocations_start(struct revocations *revocations)
{
    revocations->stopped = false;
    revocations_refresh(revocations);
}

void revocations_stop(struct revocations *revocations)
{
    revocations->stopped = true;
    uv_timer_stop(&revocations->pause);
}

void revocations_deinit(struct revocations *revocations)
{
    struct revocation *first;
    while ((first = first_to_end(revocations)))
        forget(revocations, first);
    heap_deinit(&revocations->by_end);
    refusal_end(&revocations->refusal);
    uv_close((uv_handle_t *)&revocations->pause, NULL);
}

bool revocations_are_current(const struct revocations *revocations)
{
    return broker_revocation_id_equal(revocations->newest,
                                      broker_newest_revocation(revocations->broker));
}

void revocations_refresh(struct revocations *revocations)
{
    if (revocations->is_refreshing || revocations->stopped)
        return;
    revocations->is_refreshing =
        broker_revocations(revocations->broker, revocations->last, clock_mono() + DEADLINE_USEC,
                           on_page, revocations) == 0;
    if (!revocations->is_refreshing)
        read_again_later(revocations);
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
    const struct revocation key = {.id = envelope->id};
    struct revocation *const *found = tfind(&key, &revocations->tree, by_what);
    if (found)
        return *found;
    return revocations->stamps.head ? find_stamp(revocations, envelope) : NULL;
}

void revocations_each(const struct revocations *revocations,
                      void (*visit)(void *data, struct str id),
                      void *data)
{
    for (size_t i = 0; i < revocations->by_end.count; i++) {
        const struct revocation *revocation =
            container_of(revocations->by_end.nodes[i], const struct revocation, by_end);
        if (revocation->id.len)
            visit(data, revocation->id);
    }
}
