#include "keeper/census.h"

#include "core/log.h"
#include "core/mem.h"

#define DEADLINE_USEC (5 * USEC_PER_SEC)
enum { LOOK_MS = 10000 };

static bool is_known(const struct census *census, struct str name)
{
    for (size_t i = 0; i < census->count; i++) {
        if (str_equal(census->names[i], name))
            return true;
    }
    return false;
}

static void add(struct census *census, struct str name)
{
    char *copy = str_dup(name);
    if (!copy)
        return; /* found again soon */
    struct str owned = str_n(copy, name.len);
    census->names = xgrow(census->names, census->count + 1, sizeof(*census->names));
    census->names[census->count++] = owned;
    promoter_add(census->promoter, owned);
    rescuer_add(census->rescuer, owned);
    log_debug("Queue looked after", F_STR("queue", name));
}

static void
on_names(void *data, int status, const struct str *names, size_t count, const struct cel_error *err)
{
    struct census *census = data;
    (void)err; /* others say that Redis is away */
    census->under_way = false;
    for (size_t i = 0; status == 0 && !census->stopped && i < count; i++) {
        if (!is_known(census, names[i]))
            add(census, names[i]);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct census *census = container_of(timer, struct census, timer);
    if (!census->under_way)
        census->under_way = broker_known_queues(census->broker, clock_mono() + DEADLINE_USEC,
                                                on_names, census) == 0;
}

void census_init(struct census *census,
                 uv_loop_t *loop,
                 struct broker *broker,
                 struct promoter *promoter,
                 struct rescuer *rescuer)
{
    *census = (struct census){
        .broker = broker, .promoter = promoter, .rescuer = rescuer, .stopped = true};
    uv_timer_init(loop, &census->timer);
}

void census_start(struct census *census)
{
    census->stopped = false;
    uv_timer_start(&census->timer, on_timer, 0, LOOK_MS);
}

void census_stop(struct census *census)
{
    census->stopped = true;
    uv_timer_stop(&census->timer);
}

void census_deinit(struct census *census)
{
    for (size_t i = 0; i < census->count; i++)
        mem_free((char *)(uintptr_t)census->names[i].ptr);
    mem_free(census->names);
    uv_close((uv_handle_t *)&census->timer, NULL);
}
