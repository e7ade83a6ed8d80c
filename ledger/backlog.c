#include "ledger/backlog.h"

#include "core/mem.h"

#define MINUTE_USEC (60 * USEC_PER_SEC)
enum {
    BATCH_ATTEMPTS = 1000,
    BATCH_BYTES = 1024 * 1024, /* with so many it is full, too */
    SPARE_BYTES = 512 * 1024,  /* of a batch that was written; more is not kept */
};

void backlog_init(struct backlog *backlog, enum ledger_detail detail, size_t most)
{
    *backlog = (struct backlog){.detail = detail, .most = most};
    if (detail == LEDGER_OFF)
        return;
    size_t half = (most + 1) / 2; /* one is filled while one is written */
    backlog->batch_max = half < BATCH_ATTEMPTS ? half : BATCH_ATTEMPTS;
    backlog->ring_size = detail == LEDGER_SUMMARY ? 1 : (most - 1) / backlog->batch_max + 1;
    backlog->ring = xgrow(NULL, backlog->ring_size, sizeof(*backlog->ring));
    for (size_t i = 0; i < backlog->ring_size; i++)
        backlog->ring[i] = (struct ledger_batch){.detail = detail, .rows = BUF_INIT(SIZE_MAX / 2)};
    if (detail == LEDGER_SUMMARY)
        backlog->sums = xgrow(NULL, most, sizeof(*backlog->sums));
}

static void forget_sums(struct backlog *backlog)
{
    for (size_t i = 0; i < backlog->sum_count; i++)
        mem_free((char *)backlog->sums[i].task.ptr);
    backlog->sum_count = 0;
}

void backlog_deinit(struct backlog *backlog)
{
    for (size_t i = 0; i < backlog->ring_size; i++)
        buf_deinit(&backlog->ring[i].rows);
    forget_sums(backlog);
    mem_free(backlog->ring);
    mem_free(backlog->sums);
    *backlog = (struct backlog){.detail = LEDGER_OFF};
}

/* --- attempts --------------------------------------------------------------------------------- */

static struct ledger_batch *nth(const struct backlog *backlog, size_t i)
{
    return &backlog->ring[(backlog->first + i) % backlog->ring_size];
}

static bool is_full(const struct backlog *backlog, const struct ledger_batch *batch)
{
    return batch->is_closed || batch->attempts >= backlog->batch_max ||
           batch->rows.len >= BATCH_BYTES;
}

static bool add_attempt(struct backlog *backlog, const struct ledger_attempt *attempt)
{
    if (backlog->used == 0 || is_full(backlog, nth(backlog, backlog->used - 1))) {
        if (backlog->used == backlog->ring_size)
            return false;
        backlog->used++;
    }
    return ledger_batch_add(nth(backlog, backlog->used - 1), attempt);
}

/* --- sums ------------------------------------------------------------------------------------- */

static int compare(const struct ledger_sum *a, const struct ledger_sum *b)
{
    if (a->minute_wall != b->minute_wall)
        return a->minute_wall < b->minute_wall ? -1 : 1;
    int order = str_compare(a->task, b->task);
    return order ? order : str_compare(a->outcome, b->outcome);
}

/* Where it stands, or would. */
static size_t find_sum(const struct backlog *backlog, const struct ledger_sum *wanted)
{
    size_t low = 0, high = backlog->sum_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&backlog->sums[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add_sum(struct backlog *backlog, const struct ledger_attempt *attempt)
{
    struct ledger_sum wanted = {.minute_wall =
                                    attempt->ended_wall - attempt->ended_wall % MINUTE_USEC,
                                .task = attempt->task.ptr ? attempt->task : STR(""),
                                .outcome = attempt->outcome};
    size_t at = find_sum(backlog, &wanted);
    struct ledger_sum *sum = &backlog->sums[at];
    if (at == backlog->sum_count || compare(sum, &wanted) != 0) {
        char *task = backlog->sum_count < backlog->most ? str_dup(wanted.task) : NULL;
        if (!task)
            return false;
        wanted.task.ptr = task;
        memmove(sum + 1, sum, (backlog->sum_count++ - at) * sizeof(*sum));
        *sum = wanted;
    }
    sum->attempts++;
    if (attempt->started_wall && attempt->started_wall < attempt->ended_wall)
        sum->run_usec += attempt->ended_wall - attempt->started_wall;
    return true;
}

static void gather_sums(struct backlog *backlog)
{
    struct ledger_batch *batch = backlog->ring;
    for (size_t i = 0; i < backlog->sum_count; i++) {
        if (!ledger_batch_add_sum(batch, &backlog->sums[i])) {
            backlog->lost += backlog->sums[i].attempts;
            backlog->waiting -= backlog->sums[i].attempts;
        }
    }
    forget_sums(backlog);
    backlog->used = 1;
}

/* --- both ------------------------------------------------------------------------------------- */

void backlog_add(struct backlog *backlog, const struct ledger_attempt *attempt)
{
    bool is_kept =
        backlog->detail == LEDGER_FULL ? add_attempt(backlog, attempt) : add_sum(backlog, attempt);
    if (is_kept)
        backlog->waiting++;
    else
        backlog->lost++;
}

bool backlog_is_due(const struct backlog *backlog)
{
    return backlog->used > 0 && is_full(backlog, nth(backlog, 0));
}

const struct ledger_batch *backlog_batch(struct backlog *backlog, bool any)
{
    if (backlog->used == 0 && any && backlog->sum_count > 0)
        gather_sums(backlog);
    if (backlog->used == 0 || (!any && !backlog_is_due(backlog)))
        return NULL;
    struct ledger_batch *batch = nth(backlog, 0);
    batch->is_closed = true;
    return batch;
}

static void empty(struct backlog *backlog, struct ledger_batch *batch)
{
    backlog->waiting -= batch->attempts;
    batch->attempts = 0;
    if (batch->rows.cap > SPARE_BYTES)
        buf_deinit(&batch->rows);
    else
        buf_clear(&batch->rows);
}

void backlog_end(struct backlog *backlog)
{
    struct ledger_batch *batch = nth(backlog, 0);
    empty(backlog, batch);
    batch->is_closed = false;
    backlog->first = (backlog->first + 1) % backlog->ring_size;
    backlog->used--;
}

void backlog_give_up(struct backlog *backlog)
{
    struct ledger_batch *batch = nth(backlog, 0);
    backlog->lost += batch->attempts;
    empty(backlog, batch);
}

bool backlog_is_empty(const struct backlog *backlog)
{
    return backlog->used == 0 && backlog->sum_count == 0;
}

uint64_t backlog_abandon(struct backlog *backlog)
{
    uint64_t waiting = backlog->waiting;
    while (backlog->used > 0)
        backlog_end(backlog);
    forget_sums(backlog);
    backlog->lost += waiting;
    backlog->waiting = 0;
    return waiting;
}
