#include "worker/autoscale.h"

#include <errno.h>

#include "core/log.h"

enum { STEP_MAX = 64 };

/* --- the arithmetic --------------------------------------------------------------------------- */

static bool parse_count(struct str text, unsigned *ret)
{
    uint64_t count;
    if (str_parse_u64(str_trim(text), &count) < 0 || count > POOL_SIZE_MAX)
        return false;
    *ret = (unsigned)count;
    return true;
}

int autoscale_parse(struct str text, struct autoscale_bounds *ret, struct cel_error *err)
{
    struct str rest = text, part = STR_NONE;
    unsigned first = 0, second = 0;
    bool is_good = str_split(&rest, ',', &part) && parse_count(part, &first) &&
                   (!rest.ptr || parse_count(rest, &second));
    if (!is_good || (first == 0 && second == 0))
        return error_set(err, CEL_E_CONFIG,
                         "autoscale \"" STR_FORMAT "\": two numbers are wanted, the most and the "
                         "fewest processes, as in \"10,3\"",
                         STR_ARGS(text));
    ret->max = first > second ? first : second;
    ret->min = first > second ? second : first;
    return 0;
}

static unsigned within(const struct autoscale_bounds *bounds, size_t size)
{
    size_t min = bounds->min > 0 ? bounds->min : 1;
    if (size > bounds->max)
        size = bounds->max;
    return (unsigned)(size > min ? size : min);
}

static size_t growth(struct autoscale *autoscale, bool is_short)
{
    size_t added = is_short && autoscale->was_short ? autoscale->step : 0;
    if (!is_short)
        autoscale->step = 1;
    else if (added > 0 && autoscale->step < STEP_MAX)
        autoscale->step *= 2;
    autoscale->was_short = is_short;
    return added;
}

static size_t surplus(struct autoscale *autoscale, size_t idle, usec_t now_mono)
{
    if (idle == 0) {
        autoscale->spare = SIZE_MAX;
        autoscale->since_mono = now_mono;
        return 0;
    }
    if (idle < autoscale->spare)
        autoscale->spare = idle;
    if (now_mono - autoscale->since_mono < autoscale->keepalive)
        return 0;
    size_t spare = autoscale->spare;
    autoscale->spare = SIZE_MAX;
    autoscale->since_mono = now_mono;
    return spare;
}

unsigned
autoscale_look(struct autoscale *autoscale, const struct autoscale_view *view, usec_t now_mono)
{
    bool is_short = view->idle == 0 && view->starting == 0 && view->work_waits;
    size_t added = growth(autoscale, is_short);
    size_t removed = surplus(autoscale, view->idle, now_mono);
    size_t size = view->size + added;
    return within(&autoscale->bounds, size > removed ? size - removed : 0);
}

/* --- the looks -------------------------------------------------------------------------------- */

static void resize(struct autoscale *autoscale, size_t now, unsigned size)
{
    if (size == now)
        return;
    log_info(size > now ? "There is more work: the pool grows"
                        : "There is less work: the pool shrinks",
             F_U64("from", now), F_U64("to", size));
    pool_resize(autoscale->pool, size);
}

static void on_timer(uv_timer_t *timer)
{
    struct autoscale *autoscale = container_of(timer, struct autoscale, timer);
    struct pool *pool = autoscale->pool;
    const struct autoscale_view view = {
        .size = pool_size(pool),
        .idle = pool_idle(pool),
        .starting = pool->shared.lists[SLOT_STARTING].count,
        .work_waits = credit_is_short(autoscale->credit),
    };
    resize(autoscale, view.size, autoscale_look(autoscale, &view, clock_mono()));
}

void autoscale_init(struct autoscale *autoscale,
                    uv_loop_t *loop,
                    struct pool *pool,
                    struct credit *credit,
                    const struct autoscale_bounds *bounds,
                    usec_t keepalive)
{
    *autoscale = (struct autoscale){.pool = pool,
                                    .credit = credit,
                                    .bounds = *bounds,
                                    .keepalive = keepalive,
                                    .step = 1,
                                    .spare = SIZE_MAX};
    uv_timer_init(loop, &autoscale->timer);
}

void autoscale_start(struct autoscale *autoscale)
{
    const uint64_t ms = AUTOSCALE_LOOK_USEC / USEC_PER_MSEC;
    if (autoscale->bounds.max == 0)
        return;
    autoscale->since_mono = clock_mono();
    uv_timer_start(&autoscale->timer, on_timer, ms, ms);
}

void autoscale_stop(struct autoscale *autoscale)
{
    uv_timer_stop(&autoscale->timer);
}

void autoscale_deinit(struct autoscale *autoscale)
{
    uv_close((uv_handle_t *)&autoscale->timer, NULL);
}

int autoscale_set(struct autoscale *autoscale, const struct autoscale_bounds *bounds)
{
    if (autoscale->bounds.max == 0 || bounds->max == 0 || bounds->max > POOL_SIZE_MAX ||
        bounds->min > bounds->max)
        return -EINVAL;
    size_t now = pool_size(autoscale->pool);
    autoscale->bounds = *bounds;
    resize(autoscale, now, within(bounds, now));
    return 0;
}
