/*
 * What happens to slots that pass unseen (beat stopped, Redis away, machine asleep) is decided
 * here: while beat runs, the latest one is fired once and the others are skipped; those that passed
 * while it did not run are skipped, since the first slot is the next one after the start.
 */
#include "beat/schedule.h"

#define HOUR_USEC ((usec_t)3600 * USEC_PER_SEC)
#define DAY_USEC  (24 * HOUR_USEC)

static const usec_t MARK_MIN = HOUR_USEC;
enum {
    MARK_COUNT = 36000
}; /* marks that one entry keeps in Redis, when MARK_MIN would mean more */
static const usec_t MARK_MAX = 32 * DAY_USEC;

static struct entry *entry_of(struct heap_node *node)
{
    return container_of(node, struct entry, node);
}

static bool wakes_before(const struct heap_node *a, const struct heap_node *b)
{
    const struct entry *first = container_of(a, const struct entry, node);
    const struct entry *second = container_of(b, const struct entry, node);

    if (first->wake_wall != second->wake_wall)
        return first->wake_wall < second->wake_wall;
    return first->index < second->index;
}

usec_t entry_next_slot(const struct entry *entry, usec_t after_wall)
{
    if (entry->every > 0)
        return (after_wall / entry->every + 1) * entry->every;
    return crontab_next(&entry->crontab, entry->zone, after_wall);
}

usec_t entry_mark_ttl(const struct entry *entry, usec_t slot)
{
    usec_t next = entry_next_slot(entry, slot);
    usec_t gap = next - slot;
    usec_t least = gap < MARK_MIN / MARK_COUNT ? gap * MARK_COUNT : MARK_MIN;

    if (next == USEC_NEVER || gap > MARK_MAX / 2)
        return MARK_MAX;
    return gap * 2 > least ? gap * 2 : least;
}

/* The latest slot within `due` ... `now`, of which `due` is one. A short way back is tried before a
 * long one: few slots lie between where it begins and now. */
static usec_t latest_slot(const struct entry *entry, usec_t due, usec_t now)
{
    static const usec_t ways_back[] = {120 * USEC_PER_SEC, HOUR_USEC, DAY_USEC, MARK_MAX};
    usec_t latest = due;

    if (entry->every > 0)
        return now / entry->every * entry->every;
    for (size_t i = 0; i < ARRAY_SIZE(ways_back) && latest == due; i++) {
        usec_t from = now > ways_back[i] && now - ways_back[i] > due ? now - ways_back[i] : due;
        for (usec_t next = from; next <= now; next = entry_next_slot(entry, next))
            latest = next > from ? next : latest;
    }
    return latest;
}

static void plan(struct entry *entry, usec_t due)
{
    entry->due_wall = due;
    entry->wake_wall = due;
    entry->attempts = 0;
}

/* There is room: schedule_init made it. */
static void insert(struct schedule *schedule, struct entry *entry)
{
    int status = heap_insert(&schedule->heap, &entry->node);
    ASSERT(status == 0);
}

int schedule_init(struct schedule *schedule, size_t count)
{
    schedule->heap = HEAP_INIT(wakes_before);
    return heap_reserve(&schedule->heap, count);
}

void schedule_deinit(struct schedule *schedule)
{
    heap_deinit(&schedule->heap);
}

void schedule_add(struct schedule *schedule, struct entry *entry, usec_t now_wall)
{
    plan(entry, entry_next_slot(entry, now_wall));
    insert(schedule, entry);
}

usec_t schedule_wake(const struct schedule *schedule)
{
    struct heap_node *first = heap_first(&schedule->heap);

    return first ? entry_of(first)->wake_wall : USEC_NEVER;
}

struct entry *schedule_take(struct schedule *schedule, usec_t now_wall, struct due *ret_due)
{
    struct entry *entry;
    struct due due;

    if (schedule_wake(schedule) > now_wall)
        return NULL;
    entry = entry_of(heap_first(&schedule->heap));
    due.first = entry->due_wall;
    due.slot = latest_slot(entry, due.first, now_wall);
    due.is_too_late = now_wall - due.slot > entry_mark_ttl(entry, due.slot) / 2;
    if (due.is_too_late) {
        plan(entry, entry_next_slot(entry, now_wall));
        heap_moved(&schedule->heap, &entry->node);
    } else {
        heap_remove(&schedule->heap, &entry->node);
    }
    *ret_due = due;
    return entry;
}

void schedule_done(struct schedule *schedule, struct entry *entry, usec_t slot, usec_t now_wall)
{
    plan(entry, entry_next_slot(entry, now_wall < slot ? now_wall : slot));
    insert(schedule, entry);
}

void schedule_retry(struct schedule *schedule, struct entry *entry, usec_t wake_wall)
{
    entry->wake_wall = wake_wall;
    entry->attempts++;
    insert(schedule, entry);
}

void schedule_replan(struct schedule *schedule, usec_t now_wall)
{
    struct heap *heap = &schedule->heap;

    for (size_t i = 0; i < heap->count; i++) {
        struct entry *entry = entry_of(heap->nodes[i]);
        plan(entry, entry_next_slot(entry, now_wall));
    }
    heap_rebuild(heap);
}
